//! The Experiment API, the result schema and the trial schedule.
pub mod rng;
