//! How long to wait after errors, and the word about what cannot be read: the same for every kind of owner. (I/O.)

use crate::act::Writer;
use crate::action::Note;
use crate::error::Error;
use crate::metrics::{Metrics, Reason};
use crate::owner;
use crate::remembered::Remembered;
use crate::stored::{Stored, Unreadable};
use bakeoff_crds::conditions::reasons;
use bakeoff_crds::identity::Uid;
use bakeoff_crds::names;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use std::time::Duration;

/// A lost race is tried again so soon.
const LOST: Duration = Duration::from_millis(250);
/// The longest wait is two to this power, seconds.
const MOST_DOUBLINGS: u32 = 6;

/// What went wrong with an owner.
#[derive(Default)]
struct Troubled {
    /// Failed reconciles in a row.
    failures: u32,
    /// The version of an unreadable one that was told.
    told: String,
}

/// Who is in trouble, for how long.
#[derive(Default)]
pub struct Troubles(Remembered<Troubled>);

impl Troubles {
    /// A pass ended well.
    pub fn over(&self, uid: &Uid) {
        self.0.lock().remove(uid);
    }

    /// Forgets all owners but those that still need something.
    pub fn keep(&self, needed: impl Fn(&Uid) -> bool) {
        self.0.keep(needed);
    }

    /// Waits longer after each failure in a row; a lost race is tried again at once.
    pub fn after<K>(&self, owner: &K, error: &Error, metrics: &Metrics) -> Action
    where
        K: Resource<DynamicType = ()>,
    {
        let reason = error.reason().to_owned();
        metrics.errors.get_or_create(&Reason { reason }).inc();
        let (kind, name) = (K::kind(&()), owner.name_any());
        match error {
            // The process ends in a moment, or the API server shows nothing that could be worked on.
            Error::NotLeading | Error::Incomplete => return Action::await_change(),
            Error::Conflict(_) | Error::PoolTaken(_) => {
                tracing::debug!(%error, %kind, %name, "lost a race");
                return Action::requeue(LOST);
            }
            _ => {}
        }
        tracing::warn!(
            %error, reason = error.reason(), %kind, %name,
            namespace = owner.namespace().unwrap_or_default(), "reconcile failed"
        );
        let uid = Uid::from(owner.uid().unwrap_or_default());
        let mut troubles = self.0.lock();
        let failures = &mut troubles.entry(uid).or_default().failures;
        *failures = failures.saturating_add(1);
        Action::requeue(Duration::from_secs(
            1_u64 << (*failures).min(MOST_DOUBLINGS),
        ))
    }

    /// What this version cannot read it leaves alone, with all that belongs to it, and says so once for each version of it.
    pub async fn unreadable<K>(
        &self,
        stored: &Stored<K>,
        object: &Unreadable,
        writer: &Writer,
    ) -> Action
    where
        K: Resource<DynamicType = ()>,
    {
        let (kind, name) = (K::kind(&()), stored.name_any());
        let namespace = stored.namespace().unwrap_or_default();
        let version = stored.resource_version().unwrap_or_default();
        let uid = Uid::from(stored.uid().unwrap_or_default());
        let told = std::mem::replace(
            &mut self.0.lock().entry(uid).or_default().told,
            version.clone(),
        );
        if told == version {
            return Action::await_change();
        }
        tracing::error!(%kind, %name, %namespace, error = %object.error, "it cannot be read");
        let guarded = owner::has_finalizer(stored);
        let blocked = if object.metadata.deletion_timestamp.is_some() && guarded {
            format!(
                "; it is being deleted and stays until it can be read or loses the finalizer {}, which guards what is left outside the cluster",
                names::FINALIZER
            )
        } else {
            String::new()
        };
        let message = format!(
            "this version of the operator cannot read it: {}; nothing is done about it, and what it holds it keeps: mend or delete it, or install the version that made it{blocked}",
            object.error
        );
        let note = Note::new(true, reasons::UNREADABLE, &message);
        writer.tell(stored, &[note]).await;
        Action::await_change()
    }
}
