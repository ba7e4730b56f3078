//! Experiments: observe, validate, plan; what is planned is done by `act`.

pub mod build;
pub mod facts;
pub mod observe;
pub mod plan;
pub mod progress;
pub mod trouble;
