//! What a plan asks for: printable data, executed elsewhere. (Pure.)

use crate::controllers::experiment::facts::Kind;
use bakeoff_crds::ExperimentStatus;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use std::collections::BTreeMap;

/// What is to be done about an experiment now.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The status that is to stand.
    pub status: ExperimentStatus,
    /// Whether the status carries a new fact (start, ending, …) that later actions depend on. It is then
    /// written against the version that was read, and nothing else is done before it stands.
    pub remember: bool,
    /// What is to be done to the cluster, as [`pass`] divides it.
    pub actions: Vec<Action>,
    /// What people are to be told.
    pub events: Vec<Note>,
    /// When to look again even if nothing changes.
    pub look_again_at: Option<Timestamp>,
}

/// One change to the cluster.
#[derive(Clone, Debug)]
pub enum Action {
    /// Server-side apply.
    Apply(Child),
    /// Create a Secret unless it exists. What is secret in it is filled in then: a plan may be printed.
    CreateSecret(Box<Secret>, Credentials),
    /// Delete a child; it is no error if it is gone.
    Delete(Kind, String),
    /// Put the finalizer on, or take it off.
    Finalizer(bool),
    /// Delete the experiment itself: its time to live is over.
    DeleteExperiment,
}

impl Action {
    /// Actions of one rank may be done at once; a lower rank comes first. What pods need and what guards
    /// them (policies, Secrets, names) stands before the pods, what must not run beside them is gone, and the
    /// finalizer goes last.
    fn rank(&self) -> u8 {
        match self {
            Self::Finalizer(true) => 0,
            Self::Apply(Child::StatefulSet(_) | Child::Job(_)) => 2,
            Self::CreateSecret(..) | Self::Apply(_) | Self::Delete(..) => 1,
            Self::Finalizer(false) | Self::DeleteExperiment => 3,
        }
    }

    /// What it makes.
    #[must_use]
    pub fn made(&self) -> Option<(Kind, String)> {
        match self {
            Self::Apply(child) => Some(child.key()),
            Self::CreateSecret(secret, _) => Some((Kind::Secret, secret.name_any())),
            Self::Delete(..) | Self::Finalizer(_) | Self::DeleteExperiment => None,
        }
    }
}

/// What a pass does, and whether something is left for the next one.
///
/// The actions of a step may be done at once, and the steps go one after the other: one request after the other
/// would make a pass as long as the sum of a dozen answers of the API server. A step that makes something is the
/// last one of its pass, for the same reason; what is left is planned anew, and at once.
#[must_use]
pub fn pass(actions: Vec<Action>) -> (Vec<Vec<Action>>, bool) {
    let mut ranked = BTreeMap::<u8, Vec<Action>>::new();
    for action in actions {
        ranked.entry(action.rank()).or_default().push(action);
    }
    let mut left = ranked.into_values();
    let mut steps = Vec::new();
    for step in left.by_ref() {
        let makes = step.iter().any(|action| action.made().is_some());
        steps.push(step);
        if makes {
            break;
        }
    }
    let more = left.next().is_some();
    (steps, more)
}

/// Where the credentials in a Secret come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Drawn at random.
    Drawn,
    /// Copied from the chart's results store.
    OfResultsStore,
}

/// A child that can be applied.
#[derive(Clone, Debug)]
pub enum Child {
    /// A backend.
    StatefulSet(Box<StatefulSet>),
    /// A name for pods.
    Service(Box<Service>),
    /// A run plan.
    ConfigMap(Box<ConfigMap>),
    /// Work of the load generator.
    Job(Box<Job>),
    /// Who may reach pods.
    NetworkPolicy(Box<NetworkPolicy>),
    /// Against eviction.
    DisruptionBudget(Box<PodDisruptionBudget>),
}

impl Child {
    /// What it is and how it is called.
    #[must_use]
    pub fn key(&self) -> (Kind, String) {
        match self {
            Self::StatefulSet(object) => (Kind::StatefulSet, object.name_any()),
            Self::Service(object) => (Kind::Service, object.name_any()),
            Self::ConfigMap(object) => (Kind::ConfigMap, object.name_any()),
            Self::Job(object) => (Kind::Job, object.name_any()),
            Self::NetworkPolicy(object) => (Kind::NetworkPolicy, object.name_any()),
            Self::DisruptionBudget(object) => (Kind::DisruptionBudget, object.name_any()),
        }
    }
}

macro_rules! child_from {
    ($($object:ident => $variant:ident),*) => {
        $(impl From<$object> for Child {
            fn from(object: $object) -> Self {
                Self::$variant(Box::new(object))
            }
        })*
    };
}
child_from!(StatefulSet => StatefulSet, Service => Service, ConfigMap => ConfigMap, Job => Job,
    NetworkPolicy => NetworkPolicy, PodDisruptionBudget => DisruptionBudget);

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether it tells of trouble.
    pub warning: bool,
    /// The reason, as in the condition.
    pub reason: String,
    /// In words.
    pub message: String,
}
