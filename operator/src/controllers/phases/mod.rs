//! Plans: experiments in phases. A pass over one is
//! 1. *dereference*: its runs, and what the API server says of its templates (a client is required),
//! 2. *plan*: which phase has its outcome, which is run next (no client; infallible),
//! 3. *act*: the status first, on which what follows depends, then the runs (a client is required).

mod build;
mod plan;
mod reconcile;

pub use reconcile::{on_error, reconcile};

use crate::runs;
use crate::stored::Stored;
use bakeoff_crds::ExperimentPlan;

/// A plan as it is watched.
pub type Watched = Stored<ExperimentPlan>;

/// What a reconcile holds on to.
pub type Context = runs::Context<ExperimentPlan>;
