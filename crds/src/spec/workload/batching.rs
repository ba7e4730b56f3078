//! B2: snapshots that are collected into one object.

use super::{Factor, Levels, Measured, WorkloadTraits, listed};
use crate::cell::factor;
use crate::quantity::Quantity;
use crate::spec::Ground;
use crate::spec::cel;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// B2: snapshots arrive at a rate and are collected into one object before it is written.
/// Measures the number of PUTs, their monthly cost and the latency that buffering adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Batching {
    /// Factor: snapshots per object, each level 1 to 10000. Default 1, 10, 20, 50.
    #[serde(default = "default_snapshots_per_object")]
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 10_000)))]
    #[x_kube(validation = cel::levels_differ("snapshotsPerObject"))]
    pub snapshots_per_object: Vec<i32>,
    /// Factor: snapshots per second, Poisson, each level 1 to 100000.
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 100_000)))]
    #[x_kube(validation = cel::levels_differ("arrivalsPerSecond"))]
    pub arrivals_per_second: Vec<i32>,
    /// Bytes of a snapshot. 1 to 1Mi, default 4Ki.
    #[serde(default = "super::default_object_size")]
    #[x_kube(validation = cel::size("snapshotSize", "1Mi"))]
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

pub(super) const TRAITS: WorkloadTraits = WorkloadTraits::new(
    "batching",
    Ground::S3,
    &[
        Levels::List("snapshotsPerObject"),
        Levels::List("arrivalsPerSecond"),
    ],
);

impl Measured for Batching {
    fn factors(&self) -> Vec<Factor> {
        vec![
            listed(factor::SNAPSHOTS_PER_OBJECT, &self.snapshots_per_object),
            listed(factor::ARRIVALS_PER_SECOND, &self.arrivals_per_second),
        ]
    }

    fn is_open(&self) -> bool {
        true
    }
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
