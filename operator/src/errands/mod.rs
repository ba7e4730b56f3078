//! Small Jobs that a schedule or a plan has done for it in its own namespace: its report is written, somebody is told.
//! (Pure.)
//!
//! The operator itself has no client of stores or receivers: whatever leaves the cluster leaves from the namespace of whoever
//! asked for it, with the Secrets of that namespace.

pub mod build;
#[cfg(test)]
pub mod ground;
pub mod notices;

use crate::act::Refused;
use crate::action::Action;
use crate::children::{Child, Children, Kind};
use crate::parts::pods::{JobState, container_end, job_state, termination};
use crate::parts::trouble;
use bakeoff_crds::run::Termination;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What the API server refuses for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is there of the errands of an owner.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Jobs, their pods, and what they read.
    pub children: Children,
    /// What was made and no watch has shown yet.
    pub made: BTreeSet<(Kind, String)>,
    /// What the API server refuses.
    pub refused: BTreeMap<(Kind, String), Refused>,
}

/// How far an errand is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Nobody was sent.
    Absent,
    /// It is under way, up to this instant.
    Works(Timestamp),
    /// It is done.
    Done,
    /// It could not be done, and why.
    Failed(String),
}

impl Seen {
    /// How far the errand of this name is, which may take so many seconds.
    #[must_use]
    pub fn errand(&self, name: &str, now: Timestamp, seconds: i64) -> Errand {
        let job = self.children.job(name);
        match job_state(job) {
            JobState::Absent if self.made.contains(&(Kind::Job, name.to_owned())) => {
                let soon = now.saturating_add(SignedDuration::from_secs(1));
                Errand::Works(soon.unwrap_or(now))
            }
            // What was refused may have been done all the same, where the API server did not know: one that is there works.
            JobState::Absent => {
                let given_up = |refused: &&Refused| refused.for_good || refused.since >= PATIENCE;
                let refused = self.refused.values().find(given_up);
                refused.map_or(Errand::Absent, |refused| {
                    Errand::Failed(refused.message.clone())
                })
            }
            JobState::Active | JobState::Failing { .. } => {
                let made = job.and_then(|job| job.metadata.creation_timestamp.as_ref());
                let made = made.map_or(now, |time| time.0);
                let until = made.saturating_add(SignedDuration::from_secs(seconds));
                let until = until.unwrap_or(Timestamp::MAX);
                if now < until {
                    return Errand::Works(until);
                }
                let pods = self.children.pods_of_job(name);
                let trouble = pods
                    .filter_map(|pod| trouble::of_pod(pod, now, 0, None))
                    .next();
                let why = trouble.map_or_else(String::new, |why| format!(": {}", why.message));
                Errand::Failed(format!("it took longer than {seconds} s{why}"))
            }
            JobState::Succeeded => Errand::Done,
            JobState::Failed(cause) => {
                let said = self.children.pods_of_job(name).find_map(|pod| {
                    let reported = match termination(pod) {
                        Some(Termination::Failed(failure)) => Some(failure.message),
                        _ => None,
                    };
                    reported.or_else(|| container_end(pod))
                });
                Errand::Failed(said.unwrap_or(cause))
            }
        }
    }

    /// What makes these, as far as they are not there.
    pub fn ensure(&self, children: impl IntoIterator<Item = Child>) -> Vec<Action> {
        let absent = |child: &Child| {
            let (kind, name) = child.key();
            !self.children.has(kind, &name) && !self.made.contains(&(kind, name))
        };
        let absent = children.into_iter().filter(absent);
        absent.map(Action::Apply).collect()
    }

    /// What ends an errand of this name. What was refused is let go of, also where others need it: the next errand asks for it anew,
    /// since what refuses may have been mended.
    #[must_use]
    pub fn end(&self, name: &str) -> Vec<Action> {
        let own = [Kind::Job, Kind::ConfigMap].map(|kind| (kind, name.to_owned()));
        let refused = self.refused.keys().cloned();
        let all: BTreeSet<_> = own.into_iter().chain(refused).collect();
        all.into_iter()
            .map(|(kind, name)| Action::Delete(kind, name))
            .collect()
    }

    /// What removes all that is left.
    #[must_use]
    pub fn clear(&self) -> Vec<Action> {
        let standing = self.children.standing().into_iter();
        standing
            .map(|(kind, name)| Action::Delete(kind, name))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_asked_for_anew_by_the_next_errand() {
        let policy = (Kind::NetworkPolicy, "nightly-errands".to_owned());
        let refused = Refused {
            message: "denied the request".to_owned(),
            since: PATIENCE,
            for_good: false,
        };
        let seen = Seen {
            refused: BTreeMap::from([(policy.clone(), refused)]),
            ..Seen::default()
        };
        let now = Timestamp::UNIX_EPOCH;
        assert!(matches!(seen.errand("first", now, 60), Errand::Failed(_)));
        // The writer forgets what it was refused once something else becomes of the object.
        let ends: Vec<_> = seen
            .end("first")
            .iter()
            .filter_map(Action::target)
            .collect();
        assert!(ends.contains(&policy), "{ends:?}");
        assert!(ends.contains(&(Kind::Job, "first".to_owned())) && ends.len() == 3);
    }
}
