//! A1: how the rows of a past range of time leave the table.

use super::{Factor, Levels, Measured, WorkloadTraits, listed, of_load};
use crate::cell::factor;
use crate::spec::cel;
use crate::spec::{Ground, Load};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A1: old runs leave a table that goes on living. One third into the window the oldest range of
/// `created_at` is reclaimed, once, by a connection of its own, while runs are inserted and moved. Measures
/// how long that takes, the locks it holds and makes others wait for, the space it gives back, what is left
/// of bloat, and the latency of inserts before, during and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.load.open)").message("retention takes load.open: inserts that wait behind a lock show only against planned instants"))]
pub struct Retention {
    /// Factor: how the oldest range leaves. Default DropPartition and BulkDelete.
    #[serde(default = "default_methods")]
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("methods lists a method twice"))]
    pub methods: Vec<RetentionMethod>,
    /// Factor: runs in the table at the start, each level 1000 to 20000000. Default 100000. The table is
    /// loaded with them before each trial, spread evenly over the ranges.
    #[serde(default = "default_active_runs")]
    #[schemars(length(min = 1, max = 8), inner(range(min = 1_000, max = 20_000_000)))]
    #[x_kube(validation = cel::levels_differ("activeRuns"))]
    pub active_runs: Vec<i32>,
    /// Ranges of `created_at` that these runs are spread over; the oldest is reclaimed, and the runs of the
    /// newest are those that move. 2 to 100, default 6.
    #[serde(default = "default_partitions")]
    #[schemars(range(min = 2, max = 100))]
    pub partitions: i32,
    /// Share of the runs of the past ranges that are still open: retention has to keep them, so they are
    /// migrated forward where their partition is dropped. Percent, 0 to 99, default 5.
    #[serde(default = "default_sleepers")]
    #[schemars(range(min = 0, max = 99))]
    pub sleeper_percent: i32,
    /// Transitions of a run between its insertion and its end. 1 to 1000, default 5.
    #[serde(default = "default_transitions")]
    #[schemars(range(min = 1, max = 1_000))]
    pub transitions_per_run: i32,
    /// Bytes of the state that each transition rewrites. 0 to 2000, default 200.
    #[serde(default = "default_state_bytes")]
    #[schemars(range(min = 0, max = 2_000))]
    pub state_bytes: i32,
    /// Rows that one statement of a bulk delete removes, about: each takes a stretch of the table that
    /// holds so many. 0 deletes all in one statement. 0 to 1000000, default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub delete_batch_rows: i32,
    /// Who gives the space of deleted rows back: `Autovacuum` (default) as the server's settings have it, or
    /// `Vacuum`, a statement right after the delete.
    #[serde(default)]
    pub cleanup: RetentionCleanup,
    /// How the operations arrive: insertions and transitions together, in the mix that holds the
    /// number of runs that move.
    pub load: Load,
}

pub(super) const TRAITS: WorkloadTraits = WorkloadTraits::new(
    "retention",
    Ground::Postgres,
    &[
        Levels::List("activeRuns"),
        Levels::List("methods"),
        Levels::Load,
    ],
);

impl Measured for Retention {
    fn factors(&self) -> Vec<Factor> {
        let methods: Vec<&str> = self.methods.iter().map(|one| one.as_str()).collect();
        vec![
            listed(factor::ACTIVE_RUNS, &self.active_runs),
            listed(factor::METHOD, &methods),
            of_load(&self.load),
        ]
    }

    fn is_open(&self) -> bool {
        true
    }

    /// The one that reclaims, the one that looks at locks and the one that loads, beside the workers.
    fn sessions(&self, generators: usize) -> usize {
        self.load.sessions(generators) + 3
    }
}

fn default_methods() -> Vec<RetentionMethod> {
    vec![RetentionMethod::DropPartition, RetentionMethod::BulkDelete]
}
fn default_active_runs() -> Vec<i32> {
    vec![100_000]
}
fn default_partitions() -> i32 {
    6
}
fn default_sleepers() -> i32 {
    5
}
fn default_transitions() -> i32 {
    5
}
fn default_state_bytes() -> i32 {
    200
}

/// How the rows of the oldest range leave the table.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum RetentionMethod {
    /// The table is partitioned by ranges of `created_at`. Open runs are moved out of the oldest partition
    /// (they get a new `created_at`), then it is detached concurrently and dropped.
    DropPartition,
    /// One plain table: `DELETE` of the rows that have ended, then vacuum makes their space reusable.
    BulkDelete,
}

impl RetentionMethod {
    /// The name as it stands in a spec.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DropPartition => "DropPartition",
            Self::BulkDelete => "BulkDelete",
        }
    }

    /// The method of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::DropPartition, Self::BulkDelete]
            .into_iter()
            .find(|method| method.as_str() == name)
    }
}

/// Who gives the space of deleted rows back for reuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RetentionCleanup {
    /// Autovacuum, when its settings make it come; if it does not within the window, that is the result.
    #[default]
    Autovacuum,
    /// `VACUUM`, sent right after the delete.
    Vacuum,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_plan() {
        let spec: Retention = serde_json::from_value(serde_json::json!({
            "load": {"open": {"ratePerSecond": [100]}}
        }))
        .unwrap();
        assert_eq!(spec.methods, default_methods());
        assert_eq!(
            (spec.partitions, spec.delete_batch_rows, spec.cleanup),
            (6, 0, RetentionCleanup::Autovacuum)
        );
        for method in spec.methods {
            assert_eq!(RetentionMethod::parse(method.as_str()), Some(method));
            let text = serde_json::to_value(method).unwrap();
            assert_eq!(text, method.as_str());
        }
        assert_eq!(RetentionMethod::parse("Truncate"), None);
    }
}
