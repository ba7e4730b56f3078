//! A namespace in which errands are done, fail or hang, for the tests of those who have them done.

use super::Seen;
use crate::action::Action;
use crate::children::{Child, Kind};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What comes of a Job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Comes {
    /// It is done.
    #[default]
    Done,
    /// It fails.
    Failed,
    /// It hangs.
    Hangs,
}

/// The namespace.
#[derive(Debug, Default)]
pub struct Ground {
    /// What is seen of it.
    pub seen: Seen,
    /// What comes of Jobs.
    pub comes: Comes,
    /// What the Jobs were told that there ever were, by their names.
    pub told: BTreeMap<String, serde_json::Value>,
    /// The Secrets that are there.
    pub secrets: BTreeSet<String>,
}

impl Ground {
    /// Does what was planned.
    pub fn act(&mut self, action: Action, now: Timestamp) {
        match action {
            Action::Apply(mut child) => {
                if let Child::Job(job) = &mut child {
                    job.metadata.creation_timestamp = Some(Time(now));
                }
                if let Child::ConfigMap(map) = &child {
                    let plan = &map.data.as_ref().unwrap()["plan.json"];
                    let plan = serde_json::from_str(plan).unwrap();
                    self.told.insert(map.name_any(), plan);
                }
                let (kind, name) = child.key();
                self.seen.children.remove(kind, &name);
                self.seen.children.put(child);
            }
            Action::CreateSecret(secret, _) => {
                self.secrets.insert(secret.name_any());
            }
            Action::Delete(Kind::Secret, name) => {
                self.secrets.remove(&name);
            }
            Action::Delete(kind, name) => self.seen.children.remove(kind, &name),
            other => panic!("{other:?}"),
        }
    }

    /// Jobs that are there come to their ends.
    pub fn work(&mut self) {
        let type_ = match self.comes {
            Comes::Done => "Complete",
            Comes::Failed => "Failed",
            Comes::Hangs => return,
        };
        for job in &mut self.seen.children.jobs {
            let job: &mut Job = Arc::make_mut(job);
            job.status.get_or_insert_default().conditions = Some(vec![JobCondition {
                type_: type_.to_owned(),
                status: "True".to_owned(),
                reason: Some("BackoffLimitExceeded".to_owned()),
                ..Default::default()
            }]);
        }
    }

    /// Whether nothing is left.
    pub fn is_clean(&self) -> bool {
        self.seen.children.is_empty() && self.secrets.is_empty()
    }
}
