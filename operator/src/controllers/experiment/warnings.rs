//! Asks what Kubernetes says of children that do not come to be: it says so in events alone. (I/O.)
//!
//! Asked and not watched: warnings of a whole cluster would be a burden that a sound experiment never needs.

use super::facts::Told;
use super::trouble::suspects;
use crate::children::Children;
use bakeoff_crds::identity::{Identity, Uid};
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::Client;
use kube::api::{Api, ListParams};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// They are not asked for more often.
const INTERVAL: Duration = Duration::from_secs(3);
/// So many are read at most.
const MOST: u32 = 500;

/// What was said of the children of each experiment, and when it was asked for. Losing it is harmless.
#[derive(Default)]
pub struct Warnings(Mutex<HashMap<Uid, (Instant, Vec<Told>)>>);

impl Warnings {
    /// The last warning about each child that has not come to be. One that cannot be had is said in the log: it only
    /// explains.
    pub async fn latest(&self, id: &Identity, children: &Children, client: &Client) -> Vec<Told> {
        let suspects = suspects(children, Timestamp::now());
        if suspects.is_empty() {
            self.lock().remove(&id.uid);
            return Vec::new();
        }
        let fresh = match self.lock().get(&id.uid) {
            Some((asked, told)) if asked.elapsed() < INTERVAL => Some(told.clone()),
            _ => None,
        };
        let told = match fresh {
            Some(told) => told,
            None => {
                let events: Api<Event> = Api::namespaced(client.clone(), id.namespace.as_str());
                let warnings = ListParams::default().fields("type=Warning").limit(MOST);
                let told = match events.list(&warnings).await {
                    Ok(list) => newest(list.items),
                    Err(error) => {
                        tracing::warn!(%error, namespace = %id.namespace, "events cannot be read");
                        Vec::new()
                    }
                };
                let asked = (Instant::now(), told.clone());
                self.lock().insert(id.uid.clone(), asked);
                told
            }
        };
        let about = |told: &Told| suspects.contains(&told.about);
        told.into_iter().filter(about).collect()
    }

    /// Forgets all experiments but those that still need something.
    pub fn keep(&self, needed: impl Fn(&Uid) -> bool) {
        self.lock().retain(|uid, _| needed(uid));
    }

    /// A panic elsewhere cannot leave it half-written in a way that matters.
    fn lock(&self) -> MutexGuard<'_, HashMap<Uid, (Instant, Vec<Told>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest of each object.
fn newest(events: Vec<Event>) -> Vec<Told> {
    let mut by_object: BTreeMap<String, (Option<Timestamp>, Told)> = BTreeMap::new();
    for event in events {
        let Some(about) = event.regarding.as_ref().and_then(|of| of.name.clone()) else {
            continue;
        };
        let series = event.series.as_ref();
        let at = series
            .map(|series| series.last_observed_time.0)
            .or(event.deprecated_last_timestamp.as_ref().map(|time| time.0))
            .or(event.event_time.as_ref().map(|time| time.0));
        let told = Told {
            about: about.clone(),
            reason: event.reason.unwrap_or_default(),
            message: event.note.unwrap_or_default(),
        };
        let known = by_object.get(&about);
        if known.is_none_or(|(before, _)| *before <= at) {
            by_object.insert(about, (at, told));
        }
    }
    by_object.into_values().map(|(_, told)| told).collect()
}
