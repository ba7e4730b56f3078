//! One folder for each resource that the operator sees to.

pub mod experiment;
pub mod phases;
pub mod schedule;
