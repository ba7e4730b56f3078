//! B3: runs read back that no cache holds.

use super::{Factor, Levels, Measured, WorkloadTraits, listed};
use crate::cell::factor;
use crate::quantity::Quantity;
use crate::spec::Ground;
use crate::spec::cel;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// B3: reads runs back: lists the keys of a run page by page, then gets every object that was listed.
/// Locates where the cold path becomes expensive for long runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ColdRead {
    /// Factor: objects (states) of one run, each level 1 to 1000000. Default 10, 100, 1000, 5000.
    #[serde(default = "default_objects_per_run")]
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 1_000_000)))]
    #[x_kube(validation = cel::levels_differ("objectsPerRun"))]
    pub objects_per_run: Vec<i32>,
    /// Factor: how the keys are listed. Default ListPrefix and StartAfter.
    #[serde(default = "default_modes")]
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("modes lists a mode twice"))]
    pub modes: Vec<ReadMode>,
    /// Bytes of an object. 1 to 64Mi, default 4Ki.
    #[serde(default = "super::default_object_size")]
    #[x_kube(validation = cel::size("objectSize", "64Mi"))]
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
    /// Whether the objects are read once they are listed. Without it a read is the listing alone, as comparisons of listings have
    /// it. Default true.
    #[serde(default = "default_gets")]
    pub gets: bool,
}

pub(super) const TRAITS: WorkloadTraits = WorkloadTraits::new(
    "coldRead",
    Ground::S3,
    &[Levels::List("objectsPerRun"), Levels::List("modes")],
);

impl Measured for ColdRead {
    fn factors(&self) -> Vec<Factor> {
        let modes: Vec<&str> = self.modes.iter().map(|mode| mode.as_str()).collect();
        vec![
            listed(factor::OBJECTS_PER_RUN, &self.objects_per_run),
            listed(factor::MODE, &modes),
        ]
    }

    fn is_open(&self) -> bool {
        false
    }
}

fn default_objects_per_run() -> Vec<i32> {
    vec![10, 100, 1_000, 5_000]
}
fn default_modes() -> Vec<ReadMode> {
    vec![ReadMode::ListPrefix, ReadMode::StartAfter]
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
fn default_gets() -> bool {
    true
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
