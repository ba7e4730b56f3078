//! Who may measure on a node pool: one experiment at a time, first come first served. (Pure.)

use bakeoff_crds::Experiment;
use bakeoff_crds::conditions::{self, STALLED};
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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

/// The labels of a node, by its name.
pub type NodeLabels = BTreeMap<String, BTreeMap<String, String>>;

/// The names of the nodes that an experiment's pool selects.
#[must_use]
pub fn pool(experiment: &Experiment, nodes: &NodeLabels) -> BTreeSet<String> {
    let selector = &experiment.spec.equipment.node_selector;
    let selected =
        |labels: &BTreeMap<String, String>| selector.iter().all(|(k, v)| labels.get(k) == Some(v));
    nodes
        .iter()
        .filter(|(_, labels)| selected(labels))
        .map(|(name, _)| name.clone())
        .collect()
}

fn holds(experiment: &Experiment) -> bool {
    experiment
        .status
        .as_ref()
        .is_some_and(|status| status.start_time.is_some() && status.completion_time.is_none())
}

fn waits(experiment: &Experiment) -> bool {
    let status = experiment.status.as_ref();
    let finished = status.is_some_and(|status| status.completion_time.is_some());
    let stalled = status
        .and_then(|status| conditions::get(&status.conditions, STALLED))
        .is_some_and(|condition| condition.status == "True");
    let spec = &experiment.spec;
    !(finished
        || stalled
        || spec.suspend
        || spec.cancel
        || experiment.metadata.deletion_timestamp.is_some())
}

/// Whether the pool of `mine` is free, given all experiments, those admitted a moment ago included.
#[must_use]
pub fn admit(
    mine: &Experiment,
    all: &[Arc<Experiment>],
    just_admitted: &BTreeSet<String>,
    nodes: &NodeLabels,
) -> Pool {
    let uid = mine.uid().unwrap_or_default();
    if holds(mine) || just_admitted.contains(&uid) {
        return Pool::Free;
    }
    let pool_of_mine = pool(mine, nodes);
    let order = |experiment: &Experiment| {
        (
            experiment
                .metadata
                .creation_timestamp
                .as_ref()
                .map(|time| time.0),
            experiment.uid(),
        )
    };
    let mut before: Vec<&Arc<Experiment>> = all
        .iter()
        .filter(|other| other.uid().as_deref() != Some(uid.as_str()))
        .filter(|other| {
            let admitted = other.uid().is_some_and(|uid| just_admitted.contains(&uid));
            holds(other) || (waits(other) && (admitted || order(other) < order(mine)))
        })
        .filter(|other| !pool(other, nodes).is_disjoint(&pool_of_mine))
        .collect();
    before.sort_by_key(|other| (!holds(other), order(other)));
    match before.first() {
        None => Pool::Free,
        Some(first) => Pool::Taken {
            by: format!(
                "{}/{}",
                first.namespace().unwrap_or_default(),
                first.name_any()
            ),
            ahead: before.len(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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

    fn nodes() -> NodeLabels {
        BTreeMap::from([(
            "a".to_owned(),
            BTreeMap::from([("pool".to_owned(), "bench".to_owned())]),
        )])
    }

    #[test]
    fn first_come_first_served() {
        let all = [
            experiment("x", 1, json!({})),
            experiment("y", 2, json!({})),
            experiment("z", 3, json!({})),
        ];
        let none = BTreeSet::new();
        assert_eq!(admit(&all[0], &all, &none, &nodes()), Pool::Free);
        assert_eq!(
            admit(&all[2], &all, &none, &nodes()),
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
        assert_eq!(
            admit(&all[0], &all, &BTreeSet::new(), &nodes()),
            Pool::Taken {
                by: "n/y".into(),
                ahead: 1
            }
        );
        assert_eq!(admit(&all[1], &all, &BTreeSet::new(), &nodes()), Pool::Free);
    }

    #[test]
    fn one_that_was_admitted_a_moment_ago_holds_the_pool() {
        let all = [experiment("x", 1, json!({})), experiment("y", 2, json!({}))];
        let admitted = BTreeSet::from(["y".to_owned()]);
        assert!(matches!(
            admit(&all[0], &all, &admitted, &nodes()),
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
        assert_eq!(admit(&all[2], &all, &BTreeSet::new(), &nodes()), Pool::Free);
    }
}
