//! The load generator of Bakeoff: arrival schedule, pacing, recording, S3 and Postgres drivers, workloads.
//!
//! The pure core is `arrivals`, `record`, `sigv4`, `checker`; everything that touches the network
//! or the clock is at the edges. The measured path runs on one current-thread runtime, signs by
//! itself, keeps one connection per worker and never retries.

pub mod capture;
pub mod checker;
pub mod cli;
pub mod conformance;
pub mod credentials;
pub mod drivers;
pub mod errands;
pub mod failure;
pub mod garage;
pub mod history;
pub mod instrument;
pub mod killer;
pub mod net;
pub mod report;
pub mod run;
pub mod s3;
pub mod setter;
pub mod standby;
pub mod store;
#[cfg(test)]
mod testing;
pub mod traces;
pub mod trust;
pub mod workloads;
