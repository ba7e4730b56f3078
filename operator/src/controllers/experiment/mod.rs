//! Experiments. A pass over one is
//! 1. *dereference*: what there is of it in the cluster (a client is required),
//! 2. *validate*: whether it can be run at all (no client; the rules are a crate of their own),
//! 3. *plan*: what is to be done (no client; infallible),
//! 4. *act*: do it (a client is required).

pub mod admission;
pub mod build;
pub mod context;
pub mod dereference;
pub mod facts;
mod parents;
pub mod plan;
pub mod progress;
mod reconcile;
pub mod warnings;

pub use context::Context;
pub use parents::Parents;
pub use reconcile::{gone, look_up, on_error, reconcile};

use crate::stored::Stored;
use bakeoff_crds::Experiment;

/// An experiment as it is watched.
pub type Watched = Stored<Experiment>;
