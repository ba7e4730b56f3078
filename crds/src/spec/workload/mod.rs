//! The measured work: one kind, with its parameters, for each experiment of the plan.
//!
//! What there is to know of a kind stands in its own file: its fields, its factors, its rules. The table below names
//! the kinds once; the union of a spec, the lists in admission rules and the count of trials follow from it.

mod batching;
mod cas_race;
mod cold_read;
mod consistency;
mod head_row;
mod replay;
mod retention;
mod rules;
mod server_loss;
mod small_object_put;
mod soak;
mod sustain;

pub use batching::{Batching, PriceList};
pub use cas_race::{CasRace, GuardMode, RaceFaults, RaceLock, RedisLock, TableLock};
pub use cold_read::{ColdRead, ReadMode};
pub use consistency::{Consistency, KeyShape};
pub use head_row::{HeadRow, SECONDS_PER_MONTH};
pub use replay::{
    ConfigMapRef, Replay, Stretch, TRACE_EVENTS, TRACE_MANIFEST, TraceShift, TraceSource,
};
pub use retention::{Retention, RetentionCleanup, RetentionMethod};
pub use server_loss::ServerLoss;
pub use small_object_put::SmallObjectPut;
pub use soak::{AutovacuumProfile, MOST_SEGMENT_SECONDS, SnapshotHeld, Soak};
pub use sustain::{
    MOST_HOLD_SECONDS, Sustain, SustainHold, SustainLives, SustainObjective, SustainRamp,
    SustainReplay, SustainRows, SustainShape, SustainTarget,
};

use super::{CapacityLoad, Ground, Load};
use crate::cell::{Cell, factor};
use crate::quantity::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A factor and its levels, in the order of the spec, as they stand in cells.
pub type Factor = (&'static str, Vec<String>);

/// What the schedule and the other crates ask of a workload, whatever its kind.
pub trait Measured {
    /// The factors in the order of the spec. A cell is one combination of their levels; the last factor varies fastest.
    fn factors(&self) -> Vec<Factor>;

    /// Whether operations are due at planned instants, and latency counts from these.
    fn is_open(&self) -> bool;

    /// The most connections to a Postgres server that all generators together have open at once for it, without those with which
    /// each run looks at the server. 0 where it needs none.
    fn sessions(&self, _generators: usize) -> usize {
        0
    }

    /// The trace that it replays, where it does.
    fn trace(&self) -> Option<&TraceSource> {
        None
    }

    /// The load in shares of capacity, where there is one.
    fn capacity(&self) -> Option<CapacityLoad> {
        None
    }
}

/// What is true of every workload of a kind, whatever its parameters.
#[derive(Debug)]
pub struct WorkloadTraits {
    /// The member of the spec's union.
    pub name: &'static str,
    /// What it can be measured on.
    pub ground: Ground,
    /// The same factors as [`Measured::factors`], as admission counts their levels.
    pub levels: &'static [Levels],
    /// Whether the blocks of a cell follow from those before them, as the segments of a soak and the holds of a search do:
    /// they follow each other, and no test may treat them as repeats.
    pub in_segments: bool,
    /// Whether servers are killed in it on purpose: that one restarted says nothing against the backend then.
    pub kills_servers: bool,
    /// Whether a cell is a negative control: the violations that it finds show that the checks can find them, and say
    /// nothing against the backend.
    pub is_control: fn(&Cell) -> bool,
}

impl WorkloadTraits {
    /// A kind of which only the name, the ground and the factors are to be said.
    const fn new(name: &'static str, ground: Ground, levels: &'static [Levels]) -> Self {
        Self {
            name,
            ground,
            levels,
            in_segments: false,
            kills_servers: false,
            is_control: |_| false,
        }
    }
}

/// Where the levels of a factor stand in a spec.
#[derive(Clone, Copy, Debug)]
pub enum Levels {
    /// In the list of this name.
    List(&'static str),
    /// In the `load`.
    Load,
    /// In the list of this name, or else in the `load`.
    ListOrLoad(&'static str),
    /// In the list of this name; without it there is no such factor.
    OptionalList(&'static str),
}

macro_rules! kinds {
    ($($(#[doc = $doc:tt])+ $member:ident: $kind:ident,)+) => {
        /// Measured work with its factors. Exactly one of the kinds is set.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
        #[serde(rename_all = "camelCase")]
        #[x_kube(validation = rules::one_kind_of_workload())]
        pub struct Workload {
            /// The name used in results, objectives and the report: lower-case letters, digits and dashes.
            #[schemars(
                length(min = 1, max = 30),
                regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$")
            )]
            #[x_kube(validation = rules::no_workload_is_called_backends())]
            pub name: String,
            $(
                $(#[doc = $doc])+
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $member: Option<$kind>,
            )+
        }

        /// The kinds of measured work.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(rename_all = "camelCase")]
        pub enum WorkloadKind {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl WorkloadKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// What is true of every workload of the kind.
            #[must_use]
            pub fn traits(self) -> &'static WorkloadTraits {
                match self {
                    $(Self::$kind => &$member::TRAITS,)+
                }
            }
        }

        /// The one member of a workload's union that is set.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum WorkloadSpec<'a> {
            $($(#[doc = $doc])+ $kind(&'a $kind),)+
        }

        impl<'a> WorkloadSpec<'a> {
            /// What it is.
            #[must_use]
            pub fn kind(self) -> WorkloadKind {
                match self {
                    $(Self::$kind(_) => WorkloadKind::$kind,)+
                }
            }

            /// What the schedule asks of it.
            #[must_use]
            pub fn measured(self) -> &'a dyn Measured {
                match self {
                    $(Self::$kind(spec) => spec,)+
                }
            }
        }

        impl Workload {
            /// The trace that it replays, where it does.
            #[must_use]
            pub fn trace(&self) -> Option<&TraceSource> {
                self.member()?.measured().trace()
            }

            /// The member that is set, or `None` unless exactly one is.
            #[must_use]
            pub fn member(&self) -> Option<WorkloadSpec<'_>> {
                let members = [$(self.$member.as_ref().map(WorkloadSpec::$kind)),+];
                let mut set = members.into_iter().flatten();
                let first = set.next()?;
                set.next().is_none().then_some(first)
            }
        }
    };
}

kinds! {
    /// B1: puts small objects across many prefixes.
    small_object_put: SmallObjectPut,
    /// B3: reads all states of a run, or those since a given one, that no cache holds.
    cold_read: ColdRead,
    /// B4: writes, then reads and lists at once, and checks what comes back.
    consistency: Consistency,
    /// B2: collects snapshots into one object before writing it.
    batching: Batching,
    /// A0: creates, moves and completes runs in one head table.
    head_row: HeadRow,
    /// A2: lets writers race for the same runs and checks what they were told.
    cas_race: CasRace,
    /// A1: how old runs leave the table, Postgres.
    retention: Retention,
    /// Soak: one head table over hours or days, in segments that follow each other.
    soak: Soak,
    /// Replay: the life of runs in one head table, as a trace recorded it.
    replay: Replay,
    /// The loss of a server in the middle of a window, S3.
    server_loss: ServerLoss,
    /// Sustain: the highest rate that one primary carries for good, by holds, Postgres.
    sustain: Sustain,
}

impl Workload {
    /// What the workload is, or `None` unless exactly one member is set.
    #[must_use]
    pub fn kind(&self) -> Option<WorkloadKind> {
        self.member().map(WorkloadSpec::kind)
    }
}

/// A factor whose levels stand in a list.
fn listed<T: ToString>(name: &'static str, levels: &[T]) -> Factor {
    (name, levels.iter().map(ToString::to_string).collect())
}

/// The factor of a load and its levels.
fn of_load(load: &Load) -> Factor {
    match (&load.closed, &load.open, &load.capacity) {
        (Some(closed), _, _) => listed(factor::CONCURRENCY, &closed.concurrency),
        (None, Some(open), _) => listed(factor::RATE_PER_SECOND, &open.rate_per_second),
        (None, None, Some(capacity)) => {
            listed(factor::CAPACITY_PERCENT, &capacity.percent_of_weakest)
        }
        (None, None, None) => (factor::CONCURRENCY, Vec::new()),
    }
}

/// Bytes of an object where a workload names none.
fn default_object_size() -> Quantity {
    "4Ki".into()
}
