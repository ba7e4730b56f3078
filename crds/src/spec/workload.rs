//! The measured work: one kind, with its parameters, for each experiment of the plan.

use super::{CasRace, HeadRow, Load, Retention, Soak};
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

/// B1: puts small objects of incompressible bytes, each under a new key, across many prefixes.
/// Measures the latency, the throughput and the throttling of PUT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SmallObjectPut {
    /// Factor: bytes of an object, each level 1 to 64Mi. Default 1Ki, 4Ki, 16Ki, 64Ki.
    #[serde(default = "default_sizes")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = Rule::new("self.all(s, isQuantity(s) && quantity(s).compareTo(quantity('1')) >= 0 && quantity(s).compareTo(quantity('64Mi')) <= 0)").message("objectSize must be between 1 and 64Mi"))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("objectSize lists a level twice"))]
    pub object_size: Vec<Quantity>,
    /// Prefixes that the keys are spread over, as runs would. 1 to 1000000, default 1000.
    #[serde(default = "default_prefixes")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub prefixes: i32,
    /// How the operations arrive.
    pub load: Load,
}

fn default_sizes() -> Vec<Quantity> {
    ["1Ki", "4Ki", "16Ki", "64Ki"].map(Quantity::from).to_vec()
}
fn default_prefixes() -> i32 {
    1_000
}

/// B3: reads runs back: lists the keys of a run page by page, then gets every object that was listed.
/// Locates where the cold path becomes expensive for long runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ColdRead {
    /// Factor: objects (states) of one run, each level 1 to 100000. Default 10, 100, 1000, 5000.
    #[serde(default = "default_objects_per_run")]
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 100_000)))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("objectsPerRun lists a level twice"))]
    pub objects_per_run: Vec<i32>,
    /// Factor: how the keys are listed. Default ListPrefix and StartAfter.
    #[serde(default = "default_modes")]
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("modes lists a mode twice"))]
    pub modes: Vec<ReadMode>,
    /// Bytes of an object. 1 to 64Mi, default 4Ki.
    #[serde(default = "default_object_size")]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).compareTo(quantity('1')) >= 0 && quantity(self).compareTo(quantity('64Mi')) <= 0").message("objectSize must be between 1 and 64Mi"))]
    pub object_size: Quantity,
    /// Keys per LIST page in the mode TokenPaging. 1 to 1000, default 100.
    #[serde(default = "default_page_size")]
    #[schemars(range(min = 1, max = 1_000))]
    pub page_size: i32,
    /// Runs read at the same time. 1 to 256, default 1.
    #[serde(default = "default_readers")]
    #[schemars(range(min = 1, max = 256))]
    pub readers: i32,
    /// GETs in flight for one run. 1 to 256, default 16.
    #[serde(default = "default_fan_out")]
    #[schemars(range(min = 1, max = 256))]
    pub get_concurrency: i32,
}

fn default_objects_per_run() -> Vec<i32> {
    vec![10, 100, 1_000, 5_000]
}
fn default_modes() -> Vec<ReadMode> {
    vec![ReadMode::ListPrefix, ReadMode::StartAfter]
}
fn default_object_size() -> Quantity {
    "4Ki".into()
}
fn default_page_size() -> i32 {
    100
}
fn default_readers() -> i32 {
    1
}
fn default_fan_out() -> i32 {
    16
}

/// How a cold read lists the keys of a run.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum ReadMode {
    /// All states: the prefix of the run, pages of 1000, continuation tokens.
    ListPrefix,
    /// The states since a seeded random one: `start-after`, each page listed afresh.
    StartAfter,
    /// All states in small pages by continuation token, which some servers answer from a cached listing.
    TokenPaging,
}

impl ReadMode {
    /// The name as it stands in a spec.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ListPrefix => "ListPrefix",
            Self::StartAfter => "StartAfter",
            Self::TokenPaging => "TokenPaging",
        }
    }
}

/// B4: writers put, overwrite and delete objects while readers get and listers list them; every
/// answer is checked against the history. A trial lasts until its operations are done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Consistency {
    /// Clients that write, each over keys of its own. 1 to 64, default 4.
    #[serde(default = "default_writers")]
    #[schemars(range(min = 1, max = 64))]
    pub writers: i32,
    /// Clients that list while others write. 0 to 64, default 2.
    #[serde(default = "default_listers")]
    #[schemars(range(min = 0, max = 64))]
    pub listers: i32,
    /// Writes of one trial, all writers together. 10 to 1000000, default 10000.
    #[serde(default = "default_operations")]
    #[schemars(range(min = 10, max = 1_000_000))]
    pub operations: i32,
    /// Keys per LIST page; the listers take turns. Each 1 to 1000. Default 2, 100, 1000.
    #[serde(default = "default_page_sizes")]
    #[schemars(length(min = 1, max = 8), inner(range(min = 1, max = 1_000)))]
    pub page_sizes: Vec<i32>,
    /// Shapes of keys that are used. Default all.
    #[serde(default = "default_key_shapes")]
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("keyShapes lists a shape twice"))]
    pub key_shapes: Vec<KeyShape>,
}

fn default_writers() -> i32 {
    4
}
fn default_listers() -> i32 {
    2
}
fn default_operations() -> i32 {
    10_000
}
fn default_page_sizes() -> Vec<i32> {
    vec![2, 100, 1_000]
}
fn default_key_shapes() -> Vec<KeyShape> {
    vec![KeyShape::Flat, KeyShape::Nested, KeyShape::Unicode]
}

/// The shape of keys in a consistency trial.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum KeyShape {
    /// `00000042`
    Flat,
    /// `a`, `a/b`, `a-b`: keys that are prefixes of others.
    Nested,
    /// Keys with multi-byte UTF-8 characters.
    Unicode,
}

/// B2: snapshots arrive at a rate and are collected into one object before it is written.
/// Measures the number of PUTs, their monthly cost and the latency that buffering adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Batching {
    /// Factor: snapshots per object, each level 1 to 10000. Default 1, 10, 20, 50.
    #[serde(default = "default_snapshots_per_object")]
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 10_000)))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("snapshotsPerObject lists a level twice"))]
    pub snapshots_per_object: Vec<i32>,
    /// Factor: snapshots per second, Poisson, each level 1 to 100000.
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 100_000)))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("arrivalsPerSecond lists a level twice"))]
    pub arrivals_per_second: Vec<i32>,
    /// Bytes of a snapshot. 1 to 1Mi, default 4Ki.
    #[serde(default = "default_object_size")]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).compareTo(quantity('1')) >= 0 && quantity(self).compareTo(quantity('1Mi')) <= 0").message("snapshotSize must be between 1 and 1Mi"))]
    pub snapshot_size: Quantity,
    /// Milliseconds after which a buffer that is not full is written all the same. 1 to 600000, default 1000.
    #[serde(default = "default_max_buffer")]
    #[schemars(range(min = 1, max = 600_000))]
    pub max_buffer_milliseconds: i32,
    /// Snapshots per month that the monthly cost is computed for. 1 and up, default 1000000000.
    #[serde(default = "default_per_month")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub snapshots_per_month: i64,
    /// The prices that the monthly cost is computed from.
    #[serde(default)]
    pub price_list: PriceList,
}

fn default_snapshots_per_object() -> Vec<i32> {
    vec![1, 10, 20, 50]
}
fn default_max_buffer() -> i32 {
    1_000
}
fn default_per_month() -> i64 {
    1_000_000_000
}

/// Prices in millionths of the currency unit, so that no price is rounded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PriceList {
    /// The currency, an ISO 4217 code. Default USD.
    #[serde(default = "default_currency")]
    #[schemars(regex(pattern = "^[A-Z]{3}$"), length(min = 3, max = 3))]
    pub currency: String,
    /// Millionths of the currency unit for a thousand PUT requests. 0 and up, default 5000 (0.005).
    #[serde(default = "default_put_price")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub put_per_thousand_micros: i64,
}

fn default_currency() -> String {
    "USD".to_owned()
}
fn default_put_price() -> i64 {
    5_000
}

impl Default for PriceList {
    fn default() -> Self {
        Self {
            currency: default_currency(),
            put_per_thousand_micros: default_put_price(),
        }
    }
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
