//! What a plan asks for: printable data, executed elsewhere. (Pure.)

use crate::children::{Child, Kind};
use bakeoff_crds::conditions;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::time::Duration;

/// The shortest wait between two looks.
const SHORTEST: Duration = Duration::from_millis(100);

/// What is to be done about an owner now, whose status is an `S`, by actions of the sort `A`.
#[derive(Clone, Debug)]
pub struct Plan<S, A = Action> {
    /// The status that is to stand.
    pub status: S,
    /// Whether the status carries a new fact (start, ending, …) that later actions depend on. It is then
    /// written against the version that was read, and nothing else is done before it stands.
    pub remember: bool,
    /// What is to be done to the cluster, as [`pass`] divides it.
    pub actions: Vec<A>,
    /// What people are to be told.
    pub events: Vec<Note>,
    /// When to look again even if nothing changes.
    pub wake_at: Option<Timestamp>,
}

impl<S, A> Plan<S, A> {
    /// Whether the status may not wait until the next time that statuses are written.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.remember || !self.events.is_empty()
    }

    /// How long to wait until the next look, if nothing changes.
    #[must_use]
    pub fn wait(&self, now: Timestamp) -> Option<Duration> {
        let left = self.wake_at?.duration_since(now);
        Some(Duration::try_from(left).unwrap_or_default().max(SHORTEST))
    }
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
    /// Kill the pod of this name and uid, and no other.
    Kill {
        /// Its name.
        pod: String,
        /// Its uid.
        uid: String,
    },
    /// Put the finalizer on, or take it off.
    Finalizer(bool),
    /// Delete the owner itself: its time to live is over.
    DeleteOwner,
}

impl Action {
    /// Actions of one rank may be done at once; a lower rank comes first. What pods need and what guards
    /// them (policies, Secrets, names) stands before the pods, what must not run beside them is gone, and the
    /// finalizer goes last.
    fn rank(&self) -> u8 {
        match self {
            Self::Finalizer(true) => 0,
            Self::Apply(Child::StatefulSet(_) | Child::Job(_)) => 2,
            Self::CreateSecret(..) | Self::Apply(_) | Self::Delete(..) | Self::Kill { .. } => 1,
            Self::Finalizer(false) | Self::DeleteOwner => 3,
        }
    }

    /// What it makes or removes.
    #[must_use]
    pub fn target(&self) -> Option<(Kind, String)> {
        match self {
            Self::Delete(kind, name) => Some((*kind, name.clone())),
            _ => self.made(),
        }
    }

    /// What it makes.
    #[must_use]
    pub fn made(&self) -> Option<(Kind, String)> {
        match self {
            Self::Apply(child) => Some(child.key()),
            Self::CreateSecret(secret, _) => Some((Kind::Secret, secret.name_any())),
            Self::Delete(..) | Self::Kill { .. } | Self::Finalizer(_) | Self::DeleteOwner => None,
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

/// The longest text of an event, bytes: the API server takes 1,024.
const MOST_NOTE: usize = 1_000;

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

impl Note {
    /// One with this text, cut where it is longer than the API server takes.
    #[must_use]
    pub fn new(warning: bool, reason: &str, message: &str) -> Self {
        Self {
            warning,
            reason: reason.to_owned(),
            message: conditions::shorten(message, MOST_NOTE),
        }
    }
}
