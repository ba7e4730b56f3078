//! Asks what Kubernetes says of children that do not come to be: it says so in events alone. (I/O.)
//!
//! Asked and not watched: warnings of a whole cluster would be a burden that a sound experiment never needs.

use super::Watched;
use crate::caches::Wake;
use crate::children::Children;
use crate::parts::trouble::Told;
use crate::parts::trouble::suspects;
use crate::remembered::Remembered;
use bakeoff_crds::identity::{Identity, Uid};
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::Client;
use kube::api::{Api, ListParams};
use kube::runtime::reflector::ObjectRef;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// They are not asked for more often.
const INTERVAL: Duration = Duration::from_secs(5);
/// So many are read at most.
const MOST: u32 = 500;

/// What was said of the children of one experiment.
#[derive(Default)]
struct Said {
    asked: Option<Instant>,
    told: Vec<Told>,
}

/// What was said of the children of each experiment. Losing it is harmless.
#[derive(Clone, Default)]
pub struct Warnings(Remembered<Said>);

impl Warnings {
    /// The last warning about each child that has not come to be. Asks anew where it is time, beside the pass and not in it,
    /// and wakes the experiment by an answer that brings news.
    pub fn latest(
        &self,
        id: &Identity,
        children: &Children,
        client: &Client,
        wake: &Wake<Watched>,
    ) -> Vec<Told> {
        let suspects = suspects(children, Timestamp::now());
        let mut all = self.0.lock();
        if suspects.is_empty() {
            all.remove(&id.uid);
            return Vec::new();
        }
        let said = all.entry(id.uid.clone()).or_default();
        let known = said.told.clone();
        let due = said.asked.is_none_or(|asked| asked.elapsed() >= INTERVAL);
        if due {
            said.asked = Some(Instant::now());
        }
        drop(all);
        if due {
            let (warnings, id) = (self.clone(), id.clone());
            let (client, wake) = (client.clone(), wake.clone());
            tokio::spawn(async move { warnings.ask(&id, client, &wake).await });
        }
        let about = |told: &Told| suspects.contains(&told.about);
        known.into_iter().filter(about).collect()
    }

    /// A list that cannot be had is said in the log: it only explains.
    async fn ask(&self, id: &Identity, client: Client, wake: &Wake<Watched>) {
        let events: Api<Event> = Api::namespaced(client, id.namespace.as_str());
        let warnings = ListParams::default().fields("type=Warning").limit(MOST);
        let told = match events.list(&warnings).await {
            Ok(list) => newest(list.items),
            Err(error) => {
                return tracing::warn!(%error, namespace = %id.namespace, "events cannot be read");
            }
        };
        let mut all = self.0.lock();
        // Nobody waits for it any more.
        let Some(said) = all.get_mut(&id.uid) else {
            return;
        };
        if said.told != told {
            said.told = told;
            let experiment = ObjectRef::new(&id.name).within(id.namespace.as_str());
            let _ = wake.unbounded_send(experiment);
        }
    }

    /// Forgets all experiments but those that still need something.
    pub fn keep(&self, needed: impl Fn(&Uid) -> bool) {
        self.0.keep(needed);
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
