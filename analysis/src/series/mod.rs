//! Whether a history of runs got worse. (Pure.)
//!
//! The unit is the run: what repeats inside a run does not show how much runs differ from each other. Each new run is held
//! against the newest comparable ones before it; when it is worse than all of them, further runs of the same template confirm
//! or refute that, and an exact rank test over those and the baseline decides. Confirmations stand beside the history, so
//! that what was looked at more often does not weigh more in it; runs whose suspicion was refuted stay in it, because to leave
//! them out would make the baseline better than it is.
//!
//! The bound: let X be any run, and Y the confirmations that it would get, made or not. While nothing changes, the runs
//! before X, X and Y are exchangeable, whatever decides when to run. So the test is wrong about X with probability of at most
//! α; over the looks of a year and all metrics, α = falseAlarmsPerYear / (metrics · looks) keeps the expectation below
//! falseAlarmsPerYear. Neither a distribution nor the independence of the metrics is assumed.

mod judge;
mod machine;
pub mod rank;
pub mod record;

pub use judge::{held_against, judge};

#[cfg(test)]
mod tests;
