//! B4: what an S3 server answers, held against what was written.

use super::{Factor, Measured, WorkloadTraits};
use crate::spec::Ground;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// B4: writers put, overwrite and delete objects while readers get and listers list them; every
/// answer is checked against the history. A trial lasts until its operations are done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Consistency {
    /// Clients that write, each over keys of its own. 1 to 64, default 4.
    #[serde(default = "default_writers")]
    #[schemars(range(min = 1, max = 64))]
    pub writers: i32,
    /// Clients that list while others write; one for each generator at least, unless it is 0. 0 to 64, default 2.
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

pub(super) const TRAITS: WorkloadTraits = WorkloadTraits::new("consistency", Ground::S3, &[]);

impl Measured for Consistency {
    fn factors(&self) -> Vec<Factor> {
        Vec::new()
    }

    fn is_open(&self) -> bool {
        false
    }
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
