//! Objectives and the rule that decides.

use super::ExperimentSpec;
use super::backend::{Backend, Origin};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A condition that the summary must meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Objective {
    /// A name for conditions, events and the report.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// A CEL expression over the summary that yields a boolean, for example
    /// `consistency.listMisses == 0` or `backends.minio.put.p99 < 50000` (latencies in microseconds).
    #[schemars(length(min = 1, max = 1_024))]
    pub expression: String,
}

/// The rule that turns the summary into a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.incumbent) || !has(self.challenger) || self.incumbent != self.challenger").message("decision.incumbent and decision.challenger must differ"))]
pub struct Decision {
    /// The built-in rule.
    pub rule: DecisionRule,
    /// The backend that stays unless another is clearly better. Default: the first provisioned `minio` backend, else the
    /// first provisioned one. A rule that judges one backend judges this one; its default is the first of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 30))]
    pub incumbent: Option<String>,
    /// The backend that may replace it. Default: each one that is provisioned beside the incumbent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 30))]
    pub challenger: Option<String>,
    /// How much better counts as clearly better, in per cent. 0 to 1000, default 10.
    #[serde(default = "default_margin")]
    #[schemars(range(min = 0, max = 1_000))]
    pub margin_percent: i32,
    /// The time in milliseconds that the rule calls tolerable, where it asks for one: a latency
    /// (`BatchingTolerable`, `ColdReadCap`), detaching and dropping a partition (`DropOrDelete`). 1 to 3600000, default 1000.
    #[serde(default = "default_bound")]
    #[schemars(range(min = 1, max = 3_600_000))]
    pub bound_milliseconds: i32,
    /// Whether writes may speak for a backend that promises less than the other when it acknowledges them. If so, the
    /// decision says it first; else such a figure settles nothing. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accept_weaker_durability: bool,
}

fn default_margin() -> i32 {
    10
}
fn default_bound() -> i32 {
    1_000
}

/// The built-in decision rules, one for each question of the experiment plan.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum DecisionRule {
    /// Experiment C: does the challenger become the recommended backend for small objects?
    SmallObjectBackend,
    /// Experiment B2: is the latency that batching adds tolerable?
    BatchingTolerable,
    /// Experiment B3: up to how many objects per run is a cold read fast enough?
    ColdReadCap,
    /// Experiment A0: does one plain head table hold, so that no partitioning is needed?
    SimpleSchema,
    /// Experiment A2: is the compare-and-swap a backstop that holds when the lock does not?
    CasIsBackstop,
    /// Experiment A1: do old runs leave by dropping a partition, or does a bulk delete do?
    DropOrDelete,
    /// Soak: do dead rows and index size plateau, so that the simple schema holds for good?
    SoakPlateau,
    /// Sustain: does one primary carry the target with its headroom, or how many shards does it take?
    ShardThreshold,
}

impl DecisionRule {
    /// The name as it stands in a spec.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SmallObjectBackend => "SmallObjectBackend",
            Self::BatchingTolerable => "BatchingTolerable",
            Self::ColdReadCap => "ColdReadCap",
            Self::SimpleSchema => "SimpleSchema",
            Self::CasIsBackstop => "CasIsBackstop",
            Self::DropOrDelete => "DropOrDelete",
            Self::SoakPlateau => "SoakPlateau",
            Self::ShardThreshold => "ShardThreshold",
        }
    }
}

impl ExperimentSpec {
    /// Among how many questions the decision divides the level at which it is taken: one for each challenger; 1 without a decision.
    #[must_use]
    pub fn questions(&self) -> usize {
        match &self.decision {
            Some(decision) if decision.rule == DecisionRule::SmallObjectBackend => {
                decision.challengers(&self.backends).max(1)
            }
            _ => 1,
        }
    }
}

impl Decision {
    /// How many of the backends are judged against another: those that are provisioned, but for the one that is there already.
    fn challengers(&self, backends: &[Backend]) -> usize {
        if self.challenger.is_some() {
            return 1;
        }
        let provisioned = backends
            .iter()
            .filter(|backend| matches!(backend.origin(), Some(Origin::Provisioned(_))));
        match &self.incumbent {
            Some(incumbent) => provisioned.filter(|one| one.name != *incumbent).count(),
            None => provisioned.count().saturating_sub(1),
        }
    }
}
