//! A2: writers that race for the same runs.

use super::{Factor, Levels, Measured, WorkloadTraits, listed};
use crate::cell::factor;
use crate::spec::load::number;
use crate::spec::{Ground, Version};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A2: writers race for the same runs. Each reads a run, takes its lock where the mode has one, and moves
/// the run to its next step; at the last step the run is deleted and begins again as another
/// incarnation. Locks run out while they are held, connections are killed and writers are paused; the whole
/// history is kept and checked for anomalies. In the modes other than `Guarded` anomalies are wanted: they
/// show that the race and the checks can find them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.faults.pauseWriterMilliseconds == 0 || self.faults.pauseWriterMilliseconds > self.leaseMilliseconds").message("faults.pauseWriterMilliseconds must be longer than leaseMilliseconds, so that a paused writer loses its lock, or 0"))]
pub struct CasRace {
    /// Writers of all generators together, each with a connection of its own. 2 to 64, default 8.
    #[serde(default = "default_writers")]
    #[schemars(range(min = 2, max = 64))]
    pub writers: i32,
    /// Runs that are raced for by the writers of all generators; the fewer, the harder. 1 to 10000, default 4.
    #[serde(default = "default_runs")]
    #[schemars(range(min = 1, max = 10_000))]
    pub runs: i32,
    /// Steps of a run before it is deleted and begins again. 1 to 1000, default 12.
    #[serde(default = "default_transitions")]
    #[schemars(range(min = 1, max = 1_000))]
    pub transitions_per_run: i32,
    /// Milliseconds after which the lock of a run ends by itself, whatever its holder does. 10 to 60000,
    /// default 200.
    #[serde(default = "default_lease")]
    #[schemars(range(min = 10, max = 60_000))]
    pub lease_milliseconds: i32,
    /// Factor: what keeps two writers from winning the same step. Default all four, which the decision
    /// rule CasIsBackstop needs.
    #[serde(default = "default_modes")]
    #[schemars(length(min = 1, max = 4))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("modes lists a mode twice"))]
    pub modes: Vec<GuardMode>,
    /// Where the locks of the runs are kept. Default: `table`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<RaceLock>,
    /// What goes wrong on purpose.
    #[serde(default)]
    pub faults: RaceFaults,
}

pub(super) const TRAITS: WorkloadTraits = WorkloadTraits {
    is_control: |cell| {
        cell.get(factor::MODE).map(String::as_str) != Some(GuardMode::Guarded.as_str())
    },
    ..WorkloadTraits::new("casRace", Ground::Postgres, &[Levels::List("modes")])
};

impl Measured for CasRace {
    fn factors(&self) -> Vec<Factor> {
        let modes: Vec<&str> = self.modes.iter().map(|mode| mode.as_str()).collect();
        vec![listed(factor::MODE, &modes)]
    }

    fn is_open(&self) -> bool {
        false
    }

    /// Its writers; and in each generator one that prepares and one that inflicts faults.
    fn sessions(&self, generators: usize) -> usize {
        number(self.writers) + 2 * generators
    }
}

impl CasRace {
    /// The Redis server that keeps the locks, where one is asked for.
    #[must_use]
    pub fn redis_lock(&self) -> Option<&RedisLock> {
        self.lock.as_ref().and_then(|lock| lock.redis.as_ref())
    }
}

/// Where the locks of the runs are kept. Exactly one of `table` and `redis` is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.table) != has(self.redis)").message("lock sets exactly one of table and redis"))]
pub struct RaceLock {
    /// Rows of a table beside the runs, which end by the clock of the Postgres server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableLock>,
    /// Keys of a Redis server, provisioned for the experiment and removed after it: `SET key token NX PX`
    /// takes a lock, and a script that deletes the key only while it holds the own token lets it go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisLock>,
}

/// Locks in a table of the backend; nothing is to be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct TableLock {}

/// Locks in a Redis server that keeps them in memory alone: one node, nothing persisted, a quarter of a core
/// and 128Mi. All races of an experiment share one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisLock {
    /// A release of the chart's catalogue, for example `"7.0.15"`. Quote it, it is a string.
    pub version: Version,
}

fn default_writers() -> i32 {
    8
}
fn default_runs() -> i32 {
    4
}
fn default_transitions() -> i32 {
    12
}
fn default_lease() -> i32 {
    200
}
fn default_modes() -> Vec<GuardMode> {
    GuardMode::ALL.to_vec()
}

/// What keeps two writers from winning the same step.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum GuardMode {
    /// The compare-and-swap, behind the lock: the UPDATE names the incarnation and the step that it
    /// expects. This is what is to be shown right. In half of the turns in which the lock is held by another the
    /// writer goes ahead all the same, as where the lock service is away: then the guard alone decides.
    Guarded,
    /// Nothing: the UPDATE names the run alone. A control that has to fail.
    Unguarded,
    /// A SELECT whose answer the writer compares itself, then an UPDATE that names the run alone. A control
    /// that has to fail.
    SelectThenUpdate,
    /// The lock, and under it a SELECT and an UPDATE that names the run alone. A control that has to fail
    /// once the lock runs out while it is held.
    LockOnly,
}

impl GuardMode {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Guarded,
        Self::Unguarded,
        Self::SelectThenUpdate,
        Self::LockOnly,
    ];

    /// The name as it stands in a spec.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guarded => "Guarded",
            Self::Unguarded => "Unguarded",
            Self::SelectThenUpdate => "SelectThenUpdate",
            Self::LockOnly => "LockOnly",
        }
    }
}

/// What goes wrong on purpose during a race.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RaceFaults {
    /// Connections killed by the server in a minute, at random instants, under writers taken in turn; the
    /// outcome of what was under way is unknown. 0 to 6000, default 30.
    #[serde(default = "default_kills")]
    #[schemars(range(min = 0, max = 6_000))]
    pub kill_connections_per_minute: i32,
    /// Locks deleted in a minute, at random instants, whether or not they are held. 0 to 6000, default 120.
    #[serde(default = "default_deleted")]
    #[schemars(range(min = 0, max = 6_000))]
    pub delete_locks_per_minute: i32,
    /// Milliseconds for which a writer is paused between its read and its write, on average once in five
    /// seconds, and longer than its lock lasts: what a stopped process or a long collection of garbage does.
    /// 0 to 60000, default 500; 0 pauses none.
    #[serde(default = "default_pause")]
    #[schemars(range(min = 0, max = 60_000))]
    pub pause_writer_milliseconds: i32,
}

fn default_kills() -> i32 {
    30
}
fn default_deleted() -> i32 {
    120
}
fn default_pause() -> i32 {
    500
}

impl Default for RaceFaults {
    fn default() -> Self {
        Self {
            kill_connections_per_minute: default_kills(),
            delete_locks_per_minute: default_deleted(),
            pause_writer_milliseconds: default_pause(),
        }
    }
}
