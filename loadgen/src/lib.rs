//! The load generator of Bakeoff: what it offers, measures, checks and reports.
//!
//! What measures is in [`instrument`], how servers are spoken to in [`drivers`], what is done with them in [`workloads`], and the
//! order of all of it in [`run`]; [`report`] and [`errands`] come after it, [`capture`] before. [`checker`], [`s3`] and a good
//! part of the others are pure, as their first lines say; [`standby`], [`garage`], [`setter`] and [`killer`] run beside a server
//! in its pod. The measured path runs on one current-thread runtime, signs by itself, keeps one connection per worker and never
//! retries.

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
