//! Why an experiment is refused: a reason for the condition, and a message that says how to mend it. (Pure.)

use super::{Absent, AbsentKind};
use bakeoff_crds::quantity;
use bakeoff_crds::spec::{MAX_TRIALS, SplitError, TRACE_EVENTS, TRACE_MANIFEST};

/// Why an experiment is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A union does not have exactly one member.
    #[error("{0} sets none or several of the members of its union: set exactly one")]
    Union(String),
    /// The catalogue does not know the version.
    #[error(
        "{server}: {product} version {version} is not in the catalogue; known: {known}. Choose one of these or add the image to the chart's values (catalogue.{product})"
    )]
    UnknownVersion {
        /// The backend, or whose lock it is.
        server: String,
        /// The program, as the catalogue writes it.
        product: &'static str,
        /// The version asked for.
        version: String,
        /// The known ones.
        known: String,
    },
    /// An objective does not compile.
    #[error("objective {name}: {problem}")]
    Objective {
        /// The objective.
        name: String,
        /// What is wrong and how to mend it.
        problem: String,
    },
    /// A figure of the series is none.
    #[error("metric {name} of series.regression: {problem}")]
    Metric {
        /// The metric.
        name: String,
        /// What is wrong and how to mend it.
        problem: String,
    },
    /// A Secret is missing.
    #[error("Secret {secret} does not exist in the experiment's namespace: {}", create(.secret, .keys))]
    SecretMissing {
        /// The Secret.
        secret: String,
        /// The keys that it is to have.
        keys: Vec<String>,
    },
    /// A Secret lacks a key.
    #[error("Secret {secret} lacks the key {key}: {}", create(.secret, .keys))]
    SecretIncomplete {
        /// The Secret.
        secret: String,
        /// The key.
        key: String,
        /// The keys that it is to have.
        keys: Vec<String>,
    },
    /// A ConfigMap with a trace is missing.
    #[error("ConfigMap {config_map} does not exist in the experiment's namespace: {}", map_of(.config_map))]
    TraceMissing {
        /// The ConfigMap.
        config_map: String,
    },
    /// A ConfigMap lacks a part of a trace.
    #[error("ConfigMap {config_map} lacks the key {key}: {}", map_of(.config_map))]
    TraceIncomplete {
        /// The ConfigMap.
        config_map: String,
        /// The key.
        key: &'static str,
    },
    /// No results store is configured.
    #[error(
        "no results store: set spec.results.s3, or install the chart with resultsStore.enabled=true"
    )]
    NoResultsStore,
    /// No node has the labels.
    #[error(
        "no node has the labels {0}: label the bench nodes (kubectl label node NAME {0}) or change equipment.nodeSelector"
    )]
    NoNodes(String),
    /// The nodes that have the labels take no pods of it.
    #[error(
        "no node{} takes its pods: {}; tolerate the taint in equipment.tolerations, open the node (kubectl uncordon) or change equipment.nodeSelector",
        having(.labels), few(.shut)
    )]
    NodesShut {
        /// The labels; empty for any node.
        labels: String,
        /// Those nodes, each with the cause.
        shut: Vec<String>,
    },
    /// What is referred to in the cluster is not there.
    #[error("{} {} does not exist: make it, or change {}", .0.kind.as_str(), .0.name, .0.kind.field())]
    Absent(Absent),
    /// The equipment fits on no node.
    #[error(
        "no node of the pool can hold {what}: it needs {need}, and the largest node, {node}, offers {offer}; ask for less in {field}"
    )]
    EquipmentTooLarge {
        /// A backend or a generator.
        what: &'static str,
        /// What it needs.
        need: String,
        /// The largest node.
        node: String,
        /// What that offers.
        offer: String,
        /// The field to change.
        field: &'static str,
    },
    /// A quantity cannot be read.
    #[error("{field}: {problem}")]
    Quantity {
        /// The field.
        field: &'static str,
        /// What is wrong.
        problem: quantity::QuantityError,
    },
    /// The equipment is too little for the pods of a server.
    #[error("{server}: {problem}")]
    Split {
        /// The backend.
        server: String,
        /// What each of them would get, and the mend.
        problem: SplitError,
    },
    /// The image of a described server is not one of those that are allowed.
    #[error(
        "{server}: the image {image} is not allowed here (allowed: {allowed}): name it by digest from an allowed repository, or have it added to the chart value experiments.serverImages"
    )]
    ImageNotAllowed {
        /// The backend.
        server: String,
        /// Its image.
        image: String,
        /// What is allowed.
        allowed: String,
    },
    /// A setting lets in too few connections.
    #[error(
        "{server}: the workloads need {needed} connections at once, with those that watch, and its setting max_connections is {set}: \
         set it to {needed} at least, or leave it out"
    )]
    Connections {
        /// The backend.
        server: String,
        /// What the setting says.
        set: usize,
        /// What is needed.
        needed: usize,
    },
    /// More sessions than the memory holds.
    #[error(
        "{server}: the workloads need {needed} connections at once, whose sessions take {memory}Mi with the shared buffers: set \
         equipment.resources.memory to more than that, or lower concurrency or maxInFlight"
    )]
    Sessions {
        /// The backend.
        server: String,
        /// How many connections are needed.
        needed: usize,
        /// The memory that they take at the least, MiB.
        memory: i64,
    },
    /// A setting with which no standby could follow.
    #[error(
        "{server}: synchronousStandbys is {standbys}, and its setting {setting} is {set}, with which they could not follow: set it to \
         {mend}, or leave it out"
    )]
    Standbys {
        /// The backend.
        server: String,
        /// How many standbys it is to have.
        standbys: i32,
        /// The setting.
        setting: &'static str,
        /// What it says.
        set: String,
        /// What it has to be.
        mend: String,
    },
    /// Too many trials.
    #[error(
        "the experiment plans {0} trials, more than {MAX_TRIALS}: use fewer factor levels, backends or blocks"
    )]
    TooManyTrials(usize),
    /// The decision rule lacks a backend.
    #[error("decision {rule}: {problem}")]
    Decision {
        /// The rule.
        rule: &'static str,
        /// What is missing and how to mend it.
        problem: String,
    },
}

impl Refusal {
    /// The reason of the condition, the event and the metric.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Union(_) | Self::Quantity { .. } | Self::Standbys { .. } => "InvalidSpec",
            Self::UnknownVersion { .. } => "UnknownVersion",
            Self::ImageNotAllowed { .. } => "ImageNotAllowed",
            Self::Objective { .. } => "InvalidObjective",
            Self::Metric { .. } => "InvalidMetric",
            Self::SecretMissing { .. } => "SecretMissing",
            Self::SecretIncomplete { .. } => "SecretIncomplete",
            Self::TraceMissing { .. } => "TraceMissing",
            Self::TraceIncomplete { .. } => "TraceIncomplete",
            Self::NoResultsStore => "NoResultsStore",
            Self::NoNodes(_) | Self::NodesShut { .. } => "NoNodes",
            Self::Absent(absent) => match absent.kind {
                AbsentKind::StorageClass => "StorageClassMissing",
                AbsentKind::PriorityClass => "PriorityClassMissing",
            },
            Self::EquipmentTooLarge { .. } => "EquipmentTooLarge",
            Self::Connections { .. } => "ConnectionsTooFew",
            Self::Sessions { .. } | Self::Split { .. } => "EquipmentTooSmall",
            Self::TooManyTrials(_) => "TooManyTrials",
            Self::Decision { .. } => "InvalidDecision",
        }
    }
}

fn having(labels: &str) -> String {
    match labels {
        "" => String::new(),
        labels => format!(" with the labels {labels}"),
    }
}

/// The first of them, and how many more there are.
fn few(all: &[String]) -> String {
    const FEW: usize = 5;
    let first = all.iter().take(FEW).cloned().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(FEW) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// The command that makes a ConfigMap of a trace.
fn map_of(config_map: &str) -> String {
    format!(
        "kubectl create configmap {config_map} --from-file=FOLDER/{TRACE_MANIFEST} --from-file=FOLDER/{TRACE_EVENTS}"
    )
}

/// The command that makes a Secret.
fn create(secret: &str, keys: &[String]) -> String {
    let literals: Vec<String> = keys
        .iter()
        .map(|key| format!("--from-literal={key}=…"))
        .collect();
    format!(
        "kubectl create secret generic {secret} {}",
        literals.join(" ")
    )
}
