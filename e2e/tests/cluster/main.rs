//! Bakeoff on a real cluster: the chart is installed, the nodes of the bench pool are real.
//!
//! `make e2e` brings the cluster up, installs the chart and runs these with `--test-threads=2`: one after
//! the other, but for the soak, which takes its time beside them.

mod admission;
mod lifecycle;
mod postgres;
mod refusals;
mod run;
mod store;
