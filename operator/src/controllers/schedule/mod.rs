//! Schedules. A pass over one is
//! 1. *dereference*: its runs, and what the API server says of its template (a client is required),
//! 2. *plan*: which ticks have their answer, what is begun, ended and removed (no client; infallible),
//! 3. *act*: the status first, which is memory, then the runs (a client is required).

mod build;
mod plan;
mod reconcile;

pub use reconcile::{on_error, reconcile};

use crate::runs;
use crate::stored::Stored;
use bakeoff_crds::ExperimentSchedule;

/// A schedule as it is watched.
pub type Watched = Stored<ExperimentSchedule>;

/// What a reconcile holds on to.
pub type Context = runs::Context<ExperimentSchedule>;
