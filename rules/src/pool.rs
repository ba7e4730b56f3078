//! Which nodes are an experiment's: those with the labels that it asks for and without a taint that it does not tolerate.
//! (Pure.)

use bakeoff_crds::names;
use bakeoff_crds::spec::{Equipment, TaintEffect, Toleration, TolerationOperator};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// A taint of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value; empty for none.
    pub value: String,
    /// What it does to pods.
    pub effect: String,
}

impl std::fmt::Display for Taint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.value.as_str() {
            "" => write!(f, "{}:{}", self.key, self.effect),
            value => write!(f, "{}={value}:{}", self.key, self.effect),
        }
    }
}

impl Taint {
    /// Whether pods that do not tolerate it are kept away.
    fn keeps_away(&self) -> bool {
        [TaintEffect::NoSchedule, TaintEffect::NoExecute]
            .iter()
            .any(|effect| effect.as_str() == self.effect)
    }

    /// Whether Kubernetes set it because of the state of the node, which passes.
    fn is_of_the_moment(&self) -> bool {
        self.key.starts_with("node.kubernetes.io/")
    }

    fn is_tolerated(&self, tolerations: &[Toleration]) -> bool {
        tolerations.iter().any(|toleration| {
            let key = toleration.key.as_ref().is_none_or(|key| *key == self.key);
            let effect = toleration.effect;
            let effect = effect.is_none_or(|effect| effect.as_str() == self.effect);
            let value = match toleration.operator {
                TolerationOperator::Exists => true,
                TolerationOperator::Equal => {
                    toleration.value.as_deref().unwrap_or_default() == self.value
                }
            };
            key && effect && value
        })
    }
}

/// What of a node says whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// Whether it is closed to new pods (`kubectl cordon`).
    pub cordoned: bool,
}

/// The nodes of the cluster, by name.
pub type Machines = BTreeMap<String, Machine>;

/// The nodes that an experiment asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted<'a> {
    selector: Cow<'a, BTreeMap<String, String>>,
    tolerations: Cow<'a, [Toleration]>,
}

impl<'a> Wanted<'a> {
    /// Those that this equipment asks for.
    #[must_use]
    pub fn of(equipment: &'a Equipment) -> Self {
        Self {
            selector: Cow::Borrowed(&equipment.node_selector),
            tolerations: Cow::Borrowed(&equipment.tolerations),
        }
    }

    /// Those with these labels and without taints that keep others than these away.
    #[must_use]
    pub fn new(selector: BTreeMap<String, String>, tolerations: Vec<Toleration>) -> Self {
        Self {
            selector: Cow::Owned(selector),
            tolerations: Cow::Owned(tolerations),
        }
    }

    fn is_labelled(&self, machine: &Machine) -> bool {
        let labels = &machine.labels;
        let (key, ours) = names::NODE_SYSTEM;
        let mut selector = self.selector.iter();
        labels.get(key).is_none_or(|system| system == ours)
            && selector.all(|(key, value)| labels.get(key) == Some(value))
    }

    fn untolerated<'b>(&'b self, machine: &'b Machine) -> impl Iterator<Item = &'b Taint> {
        let taints = machine.taints.iter();
        taints.filter(|taint| taint.keeps_away() && !taint.is_tolerated(&self.tolerations))
    }

    /// The nodes on which it may measure, now or when they are well again: a node that is cordoned or not ready may hold
    /// pods of a running experiment.
    #[must_use]
    pub fn pool(&self, machines: &Machines) -> BTreeSet<String> {
        let own = machines.iter().filter(|(_, machine)| {
            self.is_labelled(machine) && self.untolerated(machine).all(Taint::is_of_the_moment)
        });
        own.map(|(name, _)| name.clone()).collect()
    }

    /// Those of them that take its pods now.
    #[must_use]
    pub fn open(&self, machines: &Machines) -> BTreeSet<String> {
        let open = machines.iter().filter(|(_, machine)| {
            self.is_labelled(machine)
                && !machine.cordoned
                && self.untolerated(machine).next().is_none()
        });
        open.map(|(name, _)| name.clone()).collect()
    }

    /// The nodes with its labels that do not take its pods, each with the cause: `bench-1 (taint dedicated=bench:NoSchedule)`.
    #[must_use]
    pub fn shut(&self, machines: &Machines) -> Vec<String> {
        let labelled = machines.iter().filter(|(_, m)| self.is_labelled(m));
        labelled
            .filter_map(|(name, machine)| {
                let taints: Vec<String> = self.untolerated(machine).map(Taint::to_string).collect();
                if !taints.is_empty() {
                    Some(format!("{name} (taint {})", taints.join(", ")))
                } else if machine.cordoned {
                    Some(format!("{name} (cordoned)"))
                } else {
                    None
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn machine(labels: &[(&str, &str)], taints: &[(&str, &str, &str)], cordoned: bool) -> Machine {
        let labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        let taints = taints.iter().map(|(key, value, effect)| Taint {
            key: (*key).into(),
            value: (*value).into(),
            effect: (*effect).into(),
        });
        Machine {
            labels: labels.collect(),
            taints: taints.collect(),
            cordoned,
        }
    }

    fn machines() -> Machines {
        let bench = [("pool", "bench")];
        BTreeMap::from([
            ("free".into(), machine(&bench, &[], false)),
            (
                "soft".into(),
                machine(&bench, &[("slow", "", "PreferNoSchedule")], false),
            ),
            (
                "kept".into(),
                machine(&bench, &[("dedicated", "bench", "NoSchedule")], false),
            ),
            (
                "ill".into(),
                machine(
                    &bench,
                    &[("node.kubernetes.io/not-ready", "", "NoExecute")],
                    false,
                ),
            ),
            ("shut".into(), machine(&bench, &[], true)),
            ("other".into(), machine(&[], &[], false)),
        ])
    }

    fn wanted(tolerations: serde_json::Value) -> Wanted<'static> {
        let selector = BTreeMap::from([("pool".to_owned(), "bench".to_owned())]);
        Wanted::new(selector, serde_json::from_value(tolerations).unwrap())
    }

    fn names(set: BTreeSet<String>) -> String {
        set.into_iter().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_node_with_a_taint_that_is_not_tolerated_is_not_of_the_pool() {
        let all = machines();
        let plain = wanted(json!([]));
        assert_eq!(names(plain.open(&all)), "free soft");
        assert_eq!(names(plain.pool(&all)), "free ill shut soft");
        assert_eq!(
            plain.shut(&all),
            [
                "ill (taint node.kubernetes.io/not-ready:NoExecute)",
                "kept (taint dedicated=bench:NoSchedule)",
                "shut (cordoned)",
            ]
        );
    }

    /// Where any node will do, clusters have some on which no image of ours runs.
    #[test]
    fn a_node_of_another_system_is_not_of_the_pool() {
        let os = "kubernetes.io/os";
        let all = BTreeMap::from([
            ("linux".to_owned(), machine(&[(os, "linux")], &[], false)),
            (
                "windows".to_owned(),
                machine(&[(os, "windows")], &[], false),
            ),
            ("untold".to_owned(), machine(&[], &[], false)),
        ]);
        let any = Wanted::new(BTreeMap::new(), Vec::new());
        assert_eq!(names(any.open(&all)), "linux untold");
        assert_eq!(names(any.pool(&all)), "linux untold");
    }

    #[test]
    fn tolerations_are_those_of_kubernetes() {
        let all = machines();
        for (tolerations, kept) in [
            (json!([{"key": "dedicated", "value": "bench"}]), true),
            (
                json!([{"key": "dedicated", "operator": "Equal", "value": "bench", "effect": "NoSchedule"}]),
                true,
            ),
            (json!([{"key": "dedicated", "operator": "Exists"}]), true),
            (json!([{"operator": "Exists"}]), true),
            (
                json!([{"operator": "Exists", "effect": "NoExecute"}]),
                false,
            ),
            (json!([{"key": "dedicated"}]), false),
            (json!([{"key": "dedicated", "value": "other"}]), false),
            (
                json!([{"key": "dedicated", "value": "bench", "effect": "NoExecute"}]),
                false,
            ),
        ] {
            let open = wanted(tolerations.clone()).open(&all);
            assert_eq!(open.contains("kept"), kept, "{tolerations}");
        }
    }
}
