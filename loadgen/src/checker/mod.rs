//! Correctness checks: pure functions of a history, in linear time but for one sort.

pub mod cas_history;
pub mod s3_history;
