//! The load generator of Bakeoff: arrival schedule, pacing, recording, S3 and Postgres drivers, workloads.
//!
//! The pure core is `arrivals`, `record`, `sigv4`, `checker`; everything that touches the network
//! or the clock is at the edges. The measured path runs on one current-thread runtime, signs by
//! itself, keeps one connection per worker and never retries.

pub mod access;
pub mod arrivals;
pub mod assemble;
pub mod backend_metrics;
pub mod calibrate;
pub mod capacity;
pub mod cgroup;
pub mod checker;
pub mod cli;
pub mod clock;
pub mod control;
pub mod credentials;
pub mod drive;
pub mod early;
pub mod failure;
pub mod judge;
pub mod ledger;
pub mod lock_server;
pub mod net;
pub mod null_postgres;
pub mod null_s3;
pub mod pacer;
pub mod pg;
pub mod probe;
pub mod record;
pub mod report;
pub mod run;
pub mod runtime;
pub mod s3;
pub mod sigv4;
pub mod stall;
pub mod standalone;
pub mod store;
#[cfg(test)]
mod testing;
pub mod workloads;
