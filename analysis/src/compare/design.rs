//! Whether two runs put the same load on their backends, and under which surroundings each did.

use std::collections::{BTreeMap, BTreeSet};

use bakeoff_crds::run::{Environment, NodeFacts, ResolvedBackend, RunPlan};
use bakeoff_crds::spec::{Equipment, ExperimentSpec, Levels, Workload};
use serde_json::Value;

/// How the designs of two runs differ, a sentence each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// In what was asked of the backends: figures of the two answer different questions.
    pub load: Vec<String>,
    /// In what surrounded the measurement: a difference may come from it.
    pub surroundings: Vec<String>,
}

/// Compares the designs of two runs. Levels of factors are left out: cells are matched by them.
#[must_use]
pub fn differences(base: &RunPlan, subject: &RunPlan) -> Differences {
    Differences {
        load: load(&base.spec, &subject.spec),
        surroundings: surroundings(base, subject),
    }
}

/// What differs, as `base` and `subject` have it.
#[derive(Default)]
struct Said(Vec<String>);

impl Said {
    fn differ<T: PartialEq>(
        &mut self,
        what: &str,
        base: &T,
        subject: &T,
        said: impl Fn(&T) -> String,
    ) {
        if base != subject {
            self.0
                .push(format!("{what}: {} and {}", said(base), said(subject)));
        }
    }

    fn differ_as_shown<T: PartialEq + ToString>(&mut self, what: &str, base: &T, subject: &T) {
        self.differ(what, base, subject, T::to_string);
    }

    /// Whatever differs below, by its path in the manifest.
    fn differ_below(&mut self, path: &str, base: &Value, subject: &Value) {
        match (base, subject) {
            (Value::Object(a), Value::Object(b)) => {
                let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
                for key in keys {
                    let of = |map: &serde_json::Map<String, Value>| {
                        map.get(key).cloned().unwrap_or(Value::Null)
                    };
                    self.differ_below(&format!("{path}.{key}"), &of(a), &of(b));
                }
            }
            (a, b) => self.differ(path, a, b, shown),
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn load(base: &ExperimentSpec, subject: &ExperimentSpec) -> Vec<String> {
    let mut said = Said::default();
    let (a, b) = (&base.trials, &subject.trials);
    said.differ_as_shown("trials.warmupSeconds", &a.warmup_seconds, &b.warmup_seconds);
    said.differ_as_shown("trials.windowSeconds", &a.window_seconds, &b.window_seconds);
    said.differ_as_shown("trials.drainSeconds", &a.drain_seconds, &b.drain_seconds);
    let (a, b) = (&base.generators, &subject.generators);
    said.differ_as_shown("generators.replicas", &a.replicas, &b.replicas);
    for workload in &subject.workloads {
        let same =
            |other: &&Workload| other.name == workload.name && other.kind() == workload.kind();
        if let Some(before) = base.workloads.iter().find(same) {
            said.differ_below(
                &format!("workload {}", workload.name),
                &without_levels(before),
                &without_levels(workload),
            );
        }
    }
    said.0
}

/// The parameters of a workload without the lists of levels of its factors.
fn without_levels(workload: &Workload) -> Value {
    // Plain numbers, words and lists: serialising cannot fail.
    let mut json = serde_json::to_value(workload).unwrap_or_default();
    let Some(kind) = workload.kind() else {
        return json;
    };
    let traits = kind.traits();
    let Some(Value::Object(fields)) = json.get_mut(traits.name) else {
        return json;
    };
    for levels in traits.levels {
        let (list, in_load) = match levels {
            Levels::List(list) | Levels::OptionalList(list) => (Some(*list), false),
            Levels::Load => (None, true),
            Levels::ListOrLoad(list) => (Some(*list), true),
        };
        if let Some(list) = list {
            fields.remove(list);
        }
        let Some(Value::Object(kinds)) = fields.get_mut("load").filter(|_| in_load) else {
            continue;
        };
        for kind in kinds.values_mut().filter_map(Value::as_object_mut) {
            kind.retain(|_, value| !value.is_array());
        }
    }
    json
}

fn surroundings(base: &RunPlan, subject: &RunPlan) -> Vec<String> {
    let mut said = Said::default();
    let (a, b) = (&base.spec, &subject.spec);
    said.differ(
        "generators.resources",
        &a.generators.resources,
        &b.generators.resources,
        |r| format!("cpu {}, memory {}", r.cpu, r.memory),
    );
    said.differ(
        "environment",
        &a.environment,
        &b.environment,
        |environment| {
            environment.as_ref().map_or_else(
                || "none".to_owned(),
                |e| format!("{} in {}", e.hardware, e.region),
            )
        },
    );
    for backend in &subject.backends {
        if let Some(before) = base
            .backends
            .iter()
            .find(|other| other.name == backend.name)
        {
            let equipment = |spec: &ExperimentSpec| equipment(spec, &backend.name);
            for (field, before, after) in pairs(&equipment(a), &equipment(b)) {
                said.differ(
                    &format!("{field} of {}", backend.name),
                    &before,
                    &after,
                    |t| t.clone(),
                );
            }
            differing_backend(&mut said, before, backend);
        }
    }
    nodes(&mut said, &base.environment, &subject.environment);
    said.0
}

/// What a backend had of the machines, by field.
fn equipment(spec: &ExperimentSpec, backend: &str) -> BTreeMap<String, String> {
    let mut all = spec.backends.iter();
    let own = all
        .find(|one| one.name == backend)
        .and_then(|one| one.equipment.as_ref());
    let Equipment {
        resources, storage, ..
    } = own.unwrap_or(&spec.equipment);
    let class = storage
        .storage_class_name
        .as_deref()
        .unwrap_or("the default");
    [
        ("CPU", resources.cpu.to_string()),
        ("memory", resources.memory.to_string()),
        ("storage", storage.size.to_string()),
        ("storage class", class.to_owned()),
    ]
    .map(|(field, value)| (field.to_owned(), value))
    .into()
}

fn differing_backend(said: &mut Said, base: &ResolvedBackend, subject: &ResolvedBackend) {
    let name = &subject.name;
    let settings = pairs(&base.settings, &subject.settings);
    // A command line repeats the settings that it sets.
    let is_command = |setting: &str| setting == ResolvedBackend::COMMAND;
    let others = settings
        .iter()
        .any(|(setting, a, b)| !is_command(setting) && a != b);
    for (setting, before, after) in settings {
        if others && is_command(&setting) {
            continue;
        }
        said.differ(&format!("{setting} of {name}"), &before, &after, |t| {
            t.clone()
        });
    }
    said.differ_as_shown(
        &format!("durability of {name}"),
        &base.durability.text,
        &subject.durability.text,
    );
    if !subject.provisioned || !base.provisioned {
        said.differ_as_shown(
            &format!("endpoint of {name}"),
            &base.endpoint,
            &subject.endpoint,
        );
    }
}

/// What is true of all nodes of a run.
fn nodes(said: &mut Said, base: &Environment, subject: &Environment) {
    type Fact = (&'static str, fn(&NodeFacts) -> String);
    const FACTS: [Fact; 6] = [
        ("the CPU of the nodes", |node| {
            node.calibration
                .as_ref()
                .map_or_else(|| "unknown".to_owned(), |found| found.cpu_model.clone())
        }),
        ("the cores of the nodes", |node| {
            format!("{}m", node.allocatable_cpu_millis)
        }),
        ("the memory of the nodes", |node| {
            format!("{}Mi", node.allocatable_memory_bytes >> 20)
        }),
        ("the kernel of the nodes", |node| {
            node.kernel_version.clone()
        }),
        ("the container runtime", |node| {
            node.container_runtime.clone()
        }),
        ("the file system of the nodes", |node| {
            node.calibration
                .as_ref()
                .map_or_else(|| "unknown".to_owned(), |found| found.file_system.clone())
        }),
    ];
    let list = |values: BTreeSet<String>| match values.len() {
        0 => "unknown".to_owned(),
        _ => values.into_iter().collect::<Vec<_>>().join(", "),
    };
    for (what, fact) in FACTS {
        let of = |environment: &Environment| list(environment.nodes.iter().map(fact).collect());
        said.differ_as_shown(what, &of(base), &of(subject));
    }
    let names = |environment: &Environment| {
        list(
            environment
                .nodes
                .iter()
                .map(|node| node.name.clone())
                .collect(),
        )
    };
    said.differ_as_shown("the nodes", &names(base), &names(subject));
    let said_unequal = |environment: &Environment| match environment.inequalities.len() {
        0 => "equal".to_owned(),
        _ => environment.inequalities.join("; "),
    };
    said.differ_as_shown(
        "whether the nodes are equal",
        &said_unequal(base),
        &said_unequal(subject),
    );
}

/// The values of both under every key of either; a value that one does not have is `none`.
fn pairs(
    base: &BTreeMap<String, String>,
    subject: &BTreeMap<String, String>,
) -> Vec<(String, String, String)> {
    let keys: BTreeSet<&String> = base.keys().chain(subject.keys()).collect();
    let of = |map: &BTreeMap<String, String>, key: &String| {
        map.get(key).cloned().unwrap_or_else(|| "none".to_owned())
    };
    keys.into_iter()
        .map(|key| (key.clone(), of(base, key), of(subject, key)))
        .collect()
}
