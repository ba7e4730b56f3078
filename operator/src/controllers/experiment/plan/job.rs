//! How far a Job is, with its deadline. (Pure.)

use super::Draft;
use crate::parts::pods::{JobState, exit_code, job_state, strange_containers};
use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

/// How far a Job is.
pub(super) enum JobStep {
    /// It is not there.
    Absent,
    /// It works.
    Active,
    /// It has worked for longer than it may.
    Overdue,
    /// It has ended or is about to, and what its pods said is still on its way: they are watched apart from it.
    Unheard,
    /// All its pods succeeded.
    Succeeded,
    /// It failed, in the words of Kubernetes.
    Failed(String),
}

impl Draft<'_> {
    /// How far the Job of this name is, which may take so many seconds from its creation on. Asks to be woken when that
    /// may have changed without an event.
    pub(super) fn job(&mut self, name: &str, seconds: Option<i32>) -> JobStep {
        let children = &self.observed.children;
        let job = children.job(name);
        let state = job_state(job);
        match state {
            JobState::Absent => JobStep::Absent,
            JobState::Active => {
                if let Some(step) = self.beside_strangers(name, job) {
                    return step;
                }
                let Some(seconds) = seconds else {
                    return JobStep::Active;
                };
                if self.is_overdue(job, seconds) {
                    JobStep::Overdue
                } else {
                    JobStep::Active
                }
            }
            JobState::Failing { since, cause } => {
                if let Some(step) = self.beside_strangers(name, job) {
                    return step;
                }
                let patience = i64::from(self.remains.spec.limits.stop_seconds);
                let by = since + SignedDuration::from_secs(patience);
                if self.now() >= by {
                    return JobStep::Failed(cause);
                }
                self.wake_at(by);
                JobStep::Unheard
            }
            _ if self.observed.awaits_pod(name) => {
                self.wake_after(1);
                JobStep::Unheard
            }
            JobState::Succeeded => JobStep::Succeeded,
            JobState::Failed(cause) => JobStep::Failed(cause),
        }
    }

    /// How a Job has ended by its own containers, where one that others have put into its pods keeps it from ending.
    fn beside_strangers(&self, name: &str, job: Option<&Job>) -> Option<JobStep> {
        let pods: Vec<&Pod> = self.observed.children.pods_of_job(name).collect();
        let strangers = pods
            .iter()
            .any(|pod| strange_containers(pod).next().is_some());
        let wanted = job?.spec.as_ref()?.completions?;
        if !strangers || i32::try_from(pods.len()).ok()? < wanted {
            return None;
        }
        let ends: Option<Vec<i32>> = pods.iter().map(|pod| exit_code(pod)).collect();
        Some(if ends?.iter().all(|code| *code == 0) {
            JobStep::Succeeded
        } else {
            JobStep::Failed("a container of it failed".to_owned())
        })
    }

    /// Whether a Job was made so many seconds ago; asks to be woken when it was.
    pub(super) fn is_overdue(&mut self, job: Option<&Job>, seconds: i32) -> bool {
        let created = job.and_then(|job| job.metadata.creation_timestamp.as_ref());
        let deadline = created.map_or(self.now(), |time| time.0)
            + SignedDuration::from_secs(i64::from(seconds));
        self.wake_at(deadline);
        self.now() >= deadline
    }
}
