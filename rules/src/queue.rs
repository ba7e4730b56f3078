//! Who may measure on a node pool: one experiment at a time, first come first served. (Pure.)

use crate::pool::{Machines, Wanted};
use bakeoff_crds::Experiment;
use bakeoff_crds::conditions::{self, STALLED};
use bakeoff_crds::identity::Uid;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// Whether the node pool is free.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pool {
    /// It is, or this experiment holds it.
    #[default]
    Free,
    /// Another one holds it, or is first in the queue.
    Taken {
        /// `namespace/name` of that one.
        by: String,
        /// How many are before this one, the holder included.
        ahead: usize,
    },
}

/// What an experiment asks of its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It measures there, or has not stopped yet what does. What is left of it after that is removed beside the next
    /// one: a volume that will not go must not hold the pool.
    Holds,
    /// It would like to.
    Waits,
    /// It could not start as it was. By now it may: then it is admitted before anybody has read that it is stalled no more.
    Stalled,
    /// It has ended, or is not to start.
    Rests,
}

/// What an experiment asks of which pool, and since when.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    metadata: &'a ObjectMeta,
    /// `None` where it cannot be read: then it may be any node.
    wanted: Option<Wanted<'a>>,
    standing: Standing,
}

impl<'a> Claim<'a> {
    /// That of an experiment.
    #[must_use]
    pub fn of(experiment: &'a Experiment) -> Self {
        let status = experiment.status.as_ref();
        let started = status.is_some_and(|status| status.start_time.is_some());
        let ended = status.is_some_and(|status| status.completion_time.is_some());
        let stalled = status.is_some_and(|status| conditions::holds(&status.conditions, STALLED));
        let metadata = &experiment.metadata;
        let spec = &experiment.spec;
        let deleted = metadata.deletion_timestamp.is_some();
        let measured = status
            .and_then(|status| status.ending.as_ref())
            .is_some_and(|ending| ending.cleaned_up_time.is_some());
        let standing = if ended || measured {
            Standing::Rests
        } else if started {
            Standing::Holds
        } else if spec.suspend || spec.cancel || deleted {
            Standing::Rests
        } else if stalled {
            Standing::Stalled
        } else {
            Standing::Waits
        };
        Self {
            metadata,
            wanted: Some(Wanted::of(&spec.equipment)),
            standing,
        }
    }

    /// That of an experiment that this version cannot read: what it had begun goes on without it, so it keeps its pool,
    /// and it begins nothing.
    #[must_use]
    pub fn of_unreadable(metadata: &'a ObjectMeta, raw: &Value) -> Self {
        let is_set = |path: &str| raw.pointer(path).is_some_and(|value| !value.is_null());
        let over = is_set("/status/completionTime") || is_set("/status/ending/cleanedUpTime");
        let holds = is_set("/status/startTime") && !over;
        let wanted = || {
            let equipment = raw.pointer("/spec/equipment").unwrap_or(&Value::Null);
            let selector = read(equipment.get("nodeSelector"))?;
            let tolerations = read(equipment.get("tolerations"))?;
            Some(Wanted::new(selector, tolerations))
        };
        Self {
            metadata,
            wanted: wanted(),
            standing: if holds {
                Standing::Holds
            } else {
                Standing::Rests
            },
        }
    }

    fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// First come, first served; of those that came in the same second the one with the lower uid.
    fn order(&self) -> (Option<Timestamp>, &str) {
        let created = self.metadata.creation_timestamp.as_ref();
        (created.map(|time| time.0), self.uid())
    }

    fn nodes(&self, machines: &Machines) -> BTreeSet<String> {
        match &self.wanted {
            Some(wanted) => wanted.pool(machines),
            None => machines.keys().cloned().collect(),
        }
    }

    fn is_admitted(&self, just_admitted: &BTreeSet<Uid>) -> bool {
        just_admitted.iter().any(|uid| uid.as_str() == self.uid())
    }
}

/// What a field says, its default where it says nothing, `None` where that cannot be read.
fn read<T: Default + for<'de> Deserialize<'de>>(field: Option<&Value>) -> Option<T> {
    match field {
        None | Some(Value::Null) => Some(T::default()),
        Some(value) => T::deserialize(value).ok(),
    }
}

/// Whether the pool of `mine` is free, given what all ask for, those admitted a moment ago included.
#[must_use]
pub fn admit<'a>(
    mine: &Claim<'_>,
    all: impl IntoIterator<Item = Claim<'a>>,
    just_admitted: &BTreeSet<Uid>,
    machines: &Machines,
) -> Pool {
    if mine.standing == Standing::Holds || mine.is_admitted(just_admitted) {
        return Pool::Free;
    }
    let my_nodes = mine.nodes(machines);
    let mut before: Vec<Claim<'a>> = all
        .into_iter()
        .filter(|other| other.uid() != mine.uid())
        .filter(|other| match other.standing {
            Standing::Holds => true,
            Standing::Waits => other.is_admitted(just_admitted) || other.order() < mine.order(),
            Standing::Stalled => other.is_admitted(just_admitted),
            Standing::Rests => false,
        })
        .filter(|other| !other.nodes(machines).is_disjoint(&my_nodes))
        .collect();
    before.sort_by(|a, b| {
        let key = |claim: &Claim<'_>| claim.standing != Standing::Holds;
        (key(a), a.order()).cmp(&(key(b), b.order()))
    });
    match before.first() {
        None => Pool::Free,
        Some(first) => Pool::Taken {
            by: format!(
                "{}/{}",
                first.metadata.namespace.as_deref().unwrap_or_default(),
                first.metadata.name.as_deref().unwrap_or_default()
            ),
            ahead: before.len(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Machine;
    use serde_json::json;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn experiment(name: &str, second: i64, status: serde_json::Value) -> Arc<Experiment> {
        let spec = json!({
            "backends": [{"name": "m", "minio": {"version": "v"}}],
            "workloads": [{"name": "c", "consistency": {}}],
            "equipment": {"nodeSelector": {"pool": "bench"}},
        });
        Arc::new(
            serde_json::from_value(json!({
                "apiVersion": "bakeoff.dev/v1alpha1", "kind": "Experiment",
                "metadata": {
                    "name": name, "namespace": "n", "uid": name,
                    "creationTimestamp": jiff::Timestamp::from_second(second).unwrap().to_string(),
                },
                "spec": spec, "status": status,
            }))
            .unwrap(),
        )
    }

    fn claims(all: &[Arc<Experiment>]) -> Vec<Claim<'_>> {
        all.iter().map(|experiment| Claim::of(experiment)).collect()
    }

    fn nodes() -> Machines {
        let machine = Machine {
            labels: BTreeMap::from([("pool".to_owned(), "bench".to_owned())]),
            ..Default::default()
        };
        BTreeMap::from([("a".to_owned(), machine)])
    }

    #[test]
    fn first_come_first_served() {
        let all = [
            experiment("x", 1, json!({})),
            experiment("y", 2, json!({})),
            experiment("z", 3, json!({})),
        ];
        let claims = claims(&all);
        let none = BTreeSet::new();
        assert_eq!(
            admit(&claims[0], claims.clone(), &none, &nodes()),
            Pool::Free
        );
        assert_eq!(
            admit(&claims[2], claims.clone(), &none, &nodes()),
            Pool::Taken {
                by: "n/x".into(),
                ahead: 2
            }
        );
    }

    #[test]
    fn a_running_one_holds_the_pool_even_if_it_came_later() {
        let all = [
            experiment("x", 1, json!({})),
            experiment("y", 2, json!({"startTime": "2026-01-01T00:00:00Z"})),
        ];
        let claims = claims(&all);
        assert_eq!(
            admit(&claims[0], claims.clone(), &BTreeSet::new(), &nodes()),
            Pool::Taken {
                by: "n/y".into(),
                ahead: 1
            }
        );
        assert_eq!(
            admit(&claims[1], claims.clone(), &BTreeSet::new(), &nodes()),
            Pool::Free
        );
    }

    #[test]
    fn one_that_was_admitted_a_moment_ago_holds_the_pool() {
        let all = [experiment("x", 1, json!({})), experiment("y", 2, json!({}))];
        let claims = claims(&all);
        let admitted = BTreeSet::from([Uid::from("y")]);
        assert!(matches!(
            admit(&claims[0], claims.clone(), &admitted, &nodes()),
            Pool::Taken { .. }
        ));
    }

    #[test]
    fn finished_and_stalled_ones_do_not_block() {
        let stalled = json!({"conditions": [{
            "type": "Stalled", "status": "True", "reason": "x", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]});
        let done =
            json!({"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:10:00Z"});
        let all = [
            experiment("x", 1, stalled),
            experiment("y", 2, done),
            experiment("z", 3, json!({})),
        ];
        let claims = claims(&all);
        assert_eq!(
            admit(&claims[2], claims.clone(), &BTreeSet::new(), &nodes()),
            Pool::Free
        );
    }

    /// Two that lacked the same Secret find the pool free at the same moment, and the status of both says that they are stalled.
    #[test]
    fn of_two_that_were_stalled_one_is_admitted() {
        let stalled = || {
            json!({"conditions": [{
                "type": "Stalled", "status": "True", "reason": "x", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]})
        };
        let mut suspended = experiment("z", 3, stalled());
        Arc::make_mut(&mut suspended).spec.suspend = true;
        let all = [
            experiment("x", 1, stalled()),
            experiment("y", 2, stalled()),
            suspended,
        ];
        let claims = claims(&all);
        let of_second = |admitted: &[&str]| {
            let admitted = admitted.iter().map(|uid| Uid::from(*uid)).collect();
            admit(&claims[1], claims.clone(), &admitted, &nodes())
        };
        assert_eq!(of_second(&[]), Pool::Free);
        let taken = Pool::Taken {
            by: "n/x".into(),
            ahead: 1,
        };
        assert_eq!(of_second(&["x"]), taken);
        // A seat that was kept of one that is not to start holds nobody up.
        assert_eq!(of_second(&["z"]), Pool::Free);
    }

    #[test]
    fn one_that_cannot_be_read_keeps_the_pool_that_it_had_and_takes_none() {
        let mine = experiment("x", 1, json!({}));
        let claim = |raw: &serde_json::Value| {
            let metadata = ObjectMeta {
                name: Some("y".to_owned()),
                namespace: Some("n".to_owned()),
                uid: Some("y".to_owned()),
                ..Default::default()
            };
            let all = [Claim::of(&mine), Claim::of_unreadable(&metadata, raw)];
            admit(&all[0], all.clone(), &BTreeSet::new(), &nodes())
        };
        let running = json!({"startTime": "2026-01-01T00:00:00Z"});
        let taken = Pool::Taken {
            by: "n/y".into(),
            ahead: 1,
        };
        let selecting = |selector: serde_json::Value| json!({"spec": {"equipment": {"nodeSelector": selector}}, "status": running});
        for raw in [
            json!({"spec": 3, "status": running}),
            selecting(json!({"pool": "bench"})),
            selecting(json!("every")),
            selecting(json!(null)),
        ] {
            assert_eq!(claim(&raw), taken, "{raw}");
        }
        let ended = json!({"startTime": 1, "completionTime": "2026-01-01T00:10:00Z"});
        for raw in [
            json!(null),
            json!({"spec": {}, "status": {}}),
            json!({"spec": [], "status": ended}),
            selecting(json!({"pool": "other"})),
        ] {
            assert_eq!(claim(&raw), Pool::Free, "{raw}");
        }
    }
}
