//! What was made a moment ago and the watches have not shown yet. (Pure; the clock is passed in.)
//!
//! The first object that is made wakes its owner while the others are still on their way through the
//! watches. Without this memory that pass would make them once more, and would count them as gone when the
//! owner ends just then. (Controllers of Kubernetes keep such *expectations* for the same reason.)

use crate::children::{Children, Kind};
use bakeoff_crds::identity::Uid;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// How long a child is taken for there that no watch has shown. Watches are milliseconds behind; an object that
/// was made and deleted between two events is never shown, and must not be believed in for ever.
pub const TRUSTED_SECONDS: i64 = 10;
const TRUSTED: Duration = Duration::from_secs(TRUSTED_SECONDS.unsigned_abs());

/// What one process has made. Losing it is harmless: whatever is made may be made again.
#[derive(Debug, Default)]
pub struct Made(HashMap<Uid, HashMap<(Kind, String), Instant>>);

impl Made {
    /// Remembers that an object of the owner with this uid was made.
    pub fn insert(&mut self, uid: &Uid, kind: Kind, name: String, now: Instant) {
        let of = self.0.entry(uid.clone()).or_default();
        of.insert((kind, name), now);
    }

    /// The object was deleted.
    pub fn remove(&mut self, uid: &Uid, kind: Kind, name: &str) {
        if let Some(of) = self.0.get_mut(uid) {
            of.remove(&(kind, name.to_owned()));
        }
    }

    /// Keeps what belongs to these owners only.
    pub fn keep(&mut self, needed: impl Fn(&Uid) -> bool) {
        self.0.retain(|uid, _| needed(uid));
    }

    /// What was made and is not among the children that the watches show. One that they have shown is forgotten, so
    /// that its absence means from then on that it is gone. Secrets are not watched, and are there until they are removed:
    /// to try again and again would cost quota in a namespace that counts them.
    pub fn unseen(
        &mut self,
        uid: &Uid,
        children: &Children,
        now: Instant,
    ) -> BTreeSet<(Kind, String)> {
        let Some(of) = self.0.get_mut(uid) else {
            return BTreeSet::new();
        };
        of.retain(|(kind, name), at| {
            let trusted = now.saturating_duration_since(*at) < TRUSTED;
            !kind.is_watched() || trusted && !children.has(*kind, name)
        });
        of.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Service;
    use std::sync::Arc;

    fn u() -> Uid {
        "u".into()
    }

    fn with_service(name: &str) -> Children {
        let mut service = Service::default();
        service.metadata.name = Some(name.to_owned());
        Children {
            services: vec![Arc::new(service)],
            ..Default::default()
        }
    }

    #[test]
    fn an_object_is_believed_in_until_a_watch_has_shown_it() {
        let (mut made, now) = (Made::default(), Instant::now());
        made.insert(&u(), Kind::Service, "a".to_owned(), now);
        made.insert(&u(), Kind::Service, "b".to_owned(), now);
        let expected = BTreeSet::from([(Kind::Service, "b".to_owned())]);
        assert_eq!(made.unseen(&u(), &with_service("a"), now), expected);
        // Shown once, it is gone when it is no longer shown.
        assert_eq!(made.unseen(&u(), &Children::default(), now), expected);
        assert!(
            made.unseen(&"v".into(), &Children::default(), now)
                .is_empty()
        );
    }

    #[test]
    fn one_that_is_never_shown_or_was_deleted_is_given_up() {
        let (mut made, now) = (Made::default(), Instant::now());
        made.insert(&u(), Kind::Job, "a".to_owned(), now);
        made.insert(&u(), Kind::Secret, "s".to_owned(), now);
        made.remove(&u(), Kind::Job, "a");
        let secret = BTreeSet::from([(Kind::Secret, "s".to_owned())]);
        assert_eq!(made.unseen(&u(), &Children::default(), now), secret);
        made.insert(&u(), Kind::Job, "a".to_owned(), now);
        let later = now + TRUSTED;
        assert_eq!(made.unseen(&u(), &Children::default(), later), secret);
        made.remove(&u(), Kind::Secret, "s");
        assert!(made.unseen(&u(), &Children::default(), later).is_empty());
        made.insert(&u(), Kind::Job, "a".to_owned(), now);
        made.keep(|uid| *uid != u());
        assert!(made.unseen(&u(), &Children::default(), now).is_empty());
    }
}
