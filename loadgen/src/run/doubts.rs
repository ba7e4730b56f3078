//! What was seen around an attempt that keeps its figures from being used.

use bakeoff_crds::result::{BackendUsage, InvalidCode, InvalidReason};

use super::Backend;
use crate::drivers::observation::Observation;

/// Why the figures of an attempt may say nothing.
#[derive(Debug, Default)]
pub(super) struct Doubts(pub(super) Vec<InvalidReason>);

impl Doubts {
    pub(super) fn add(&mut self, code: InvalidCode, detail: String) {
        self.0.push(InvalidReason { code, detail });
    }

    /// Where operations failed and the credentials are refused now, they were changed in the midst of the trial: the probe before it
    /// was answered with them. A backend that refuses good ones under load takes them now, and its failures stay its own.
    pub(super) async fn credentials(&mut self, backend: &Backend, failed: i64) {
        if failed == 0 {
            return;
        }
        let driver = backend.access.driver();
        if let Some(said) = driver.refusal(&backend.resolved).await {
            let detail = format!(
                "{failed} operations failed, and the credentials that were good before the trial are refused after it ({said}): they \
                 were changed or lost rights meanwhile"
            );
            self.add(InvalidCode::CredentialsRefused, detail);
        }
    }

    /// What the backend used between two looks, and whether it is the same process that was seen.
    pub(super) fn used(
        &mut self,
        backend: &Backend,
        before: Option<Observation>,
        after: Option<Observation>,
    ) -> Option<BackendUsage> {
        let access = backend.access.driver();
        match (before, after) {
            (Some(before), Some(after)) => {
                if let Some(detail) = after.restarted_since(&before) {
                    self.add(InvalidCode::BackendRestarted, detail);
                }
                return access.usage(&before, &after);
            }
            (Some(_), None) => {
                let detail = "the backend could be observed before the trial and not after it";
                self.add(InvalidCode::BackendUnavailable, detail.to_owned());
            }
            (None, _) if access.observable(&backend.resolved) => {
                let detail = "the backend could not be observed before the trial, so a restart would not be seen";
                self.add(InvalidCode::BackendUnobserved, detail.to_owned());
            }
            (None, _) => {}
        }
        None
    }
}
