//! Bakeoff on a real cluster: the chart is installed, the nodes of the bench pool are real.
//!
//! `make e2e` brings the cluster up, installs the chart and begins all of these at once; each waits for what it needs,
//! see `bakeoff_e2e::Needs`.

mod admission;
mod bad_specs;
mod deletions;
mod gitops;
mod ground;
mod lifecycle;
mod placing;
mod plans;
mod policies;
mod postgres;
mod refusals;
mod run;
mod schedules;
mod soak;
mod store;
mod stores;
mod topologies;
mod traces;
