//! The measured work: one kind, with its parameters, for each experiment of the plan.

mod batching;
mod cas_race;
mod cold_read;
mod consistency;
mod head_row;
mod retention;
mod small_object_put;
mod soak;

pub use batching::{Batching, PriceList};
pub use cas_race::{CasRace, GuardMode, RaceFaults, RaceLock, RedisLock, TableLock};
pub use cold_read::{ColdRead, ReadMode};
pub use consistency::{Consistency, KeyShape};
pub use head_row::{HeadRow, SECONDS_PER_MONTH};
pub use retention::{Retention, RetentionCleanup, RetentionMethod};
pub use small_object_put::SmallObjectPut;
pub use soak::{AutovacuumProfile, MOST_SEGMENT_SECONDS, SnapshotHeld, Soak};

use crate::quantity::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Measured work with its factors. Exactly one of the kinds is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.smallObjectPut), has(self.coldRead), has(self.consistency), has(self.batching), has(self.headRow), has(self.casRace), has(self.retention), has(self.soak)].filter(x, x).size() == 1").message("a workload sets exactly one of smallObjectPut, coldRead, consistency, batching, headRow, casRace, retention and soak"))]
pub struct Workload {
    /// The name used in results, objectives and the report: lower-case letters, digits and dashes.
    #[schemars(
        length(min = 1, max = 30),
        regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$")
    )]
    #[x_kube(validation = Rule::new("self != 'backends'").message("a workload may not be called backends: objectives use that word"))]
    pub name: String,
    /// B1: puts small objects across many prefixes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub small_object_put: Option<SmallObjectPut>,
    /// B3: reads all states of a run, or those since a given one, that no cache holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cold_read: Option<ColdRead>,
    /// B4: writes, then reads and lists at once, and checks what comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<Consistency>,
    /// B2: collects snapshots into one object before writing it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batching: Option<Batching>,
    /// A0: creates, moves and completes runs in one head table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_row: Option<HeadRow>,
    /// A2: lets writers race for the same runs and checks what they were told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cas_race: Option<CasRace>,
    /// A1: how old runs leave the table, Postgres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// Soak: one head table over hours or days, in segments that follow each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Soak>,
}

/// Bytes of an object where a workload names none.
fn default_object_size() -> Quantity {
    "4Ki".into()
}

/// The kinds of measured work.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum WorkloadKind {
    /// B1
    SmallObjectPut,
    /// B3
    ColdRead,
    /// B4
    Consistency,
    /// B2
    Batching,
    /// A0
    HeadRow,
    /// A2
    CasRace,
    /// A1
    Retention,
    /// Soak
    Soak,
}

impl WorkloadKind {
    /// Whether the work is done on Postgres; the rest is done on S3.
    #[must_use]
    pub fn on_postgres(self) -> bool {
        match self {
            Self::SmallObjectPut | Self::ColdRead | Self::Consistency | Self::Batching => false,
            Self::HeadRow | Self::CasRace | Self::Retention | Self::Soak => true,
        }
    }
}

/// The one member of a workload's union that is set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WorkloadSpec<'a> {
    /// B1
    SmallObjectPut(&'a SmallObjectPut),
    /// B3
    ColdRead(&'a ColdRead),
    /// B4
    Consistency(&'a Consistency),
    /// B2
    Batching(&'a Batching),
    /// A0
    HeadRow(&'a HeadRow),
    /// A2
    CasRace(&'a CasRace),
    /// A1
    Retention(&'a Retention),
    /// Soak
    Soak(&'a Soak),
}

impl Workload {
    /// The member that is set, or `None` unless exactly one is.
    #[must_use]
    pub fn member(&self) -> Option<WorkloadSpec<'_>> {
        let members = [
            self.small_object_put
                .as_ref()
                .map(WorkloadSpec::SmallObjectPut),
            self.cold_read.as_ref().map(WorkloadSpec::ColdRead),
            self.consistency.as_ref().map(WorkloadSpec::Consistency),
            self.batching.as_ref().map(WorkloadSpec::Batching),
            self.head_row.as_ref().map(WorkloadSpec::HeadRow),
            self.cas_race.as_ref().map(WorkloadSpec::CasRace),
            self.retention.as_ref().map(WorkloadSpec::Retention),
            self.soak.as_ref().map(WorkloadSpec::Soak),
        ];
        let mut set = members.into_iter().flatten();
        let first = set.next()?;
        set.next().is_none().then_some(first)
    }

    /// What the workload is, or `None` unless exactly one member is set.
    #[must_use]
    pub fn kind(&self) -> Option<WorkloadKind> {
        self.member().map(|member| match member {
            WorkloadSpec::SmallObjectPut(_) => WorkloadKind::SmallObjectPut,
            WorkloadSpec::ColdRead(_) => WorkloadKind::ColdRead,
            WorkloadSpec::Consistency(_) => WorkloadKind::Consistency,
            WorkloadSpec::Batching(_) => WorkloadKind::Batching,
            WorkloadSpec::HeadRow(_) => WorkloadKind::HeadRow,
            WorkloadSpec::CasRace(_) => WorkloadKind::CasRace,
            WorkloadSpec::Retention(_) => WorkloadKind::Retention,
            WorkloadSpec::Soak(_) => WorkloadKind::Soak,
        })
    }
}
