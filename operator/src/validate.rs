//! From a stored Experiment to one that can be built without failing. (Pure.)
//!
//! Admission has refused what schema and CEL can see. Here is the rest: what needs the catalogue, the
//! nodes, the Secrets or a compiler. Every refusal has a reason for the condition and a message that
//! says how to mend it.

use crate::facts::Observed;
use crate::settings::Settings;
use bakeoff_crds::names;
use bakeoff_crds::run::{ExperimentId, NodeFacts};
use bakeoff_crds::spec::{
    Backend, BackendKind, BackendSpec, DecisionRule, Experiment, ExperimentSpec, MAX_TRIALS,
    RedisLock, Resources, S3Backend, WorkloadKind,
};
use bakeoff_crds::{quantity, schedule};
use std::collections::BTreeMap;

/// An experiment that can be planned.
#[derive(Clone, Debug)]
pub struct Validated {
    /// Whose it is.
    pub id: ExperimentId,
    /// What is asked for.
    pub spec: ExperimentSpec,
    /// The backends with their images.
    pub backends: Vec<ValidBackend>,
    /// The Redis server that keeps the locks of races, where a workload asks for one; not measured itself.
    pub lock: Option<ValidBackend>,
    /// Trials of the schedule.
    pub trials: i32,
}

/// A backend whose union and version are known to be right.
#[derive(Clone, Debug)]
pub struct ValidBackend {
    /// The name in the spec.
    pub name: String,
    /// What it is.
    pub kind: BackendKind,
    /// The version; empty for an external one.
    pub version: String,
    /// The image; empty for an external one.
    pub image: String,
    /// The external endpoint.
    pub external: Option<S3Backend>,
    /// Server settings of the spec, by name.
    pub settings: BTreeMap<String, String>,
}

impl Validated {
    /// The name of a child.
    #[must_use]
    pub fn child(&self, role: &str) -> String {
        names::child(&self.id.name, &self.id.uid, role, names::MAX_NAME)
    }

    /// The servers that the operator provisions: backends, and the one that keeps locks.
    pub fn provisioned(&self) -> impl Iterator<Item = &ValidBackend> {
        let backends = self
            .backends
            .iter()
            .filter(|backend| backend.external.is_none());
        backends.chain(&self.lock)
    }

    /// Whether test objects are written to buckets outside the cluster.
    #[must_use]
    pub fn has_external(&self) -> bool {
        self.backends
            .iter()
            .any(|backend| backend.external.is_some())
    }
}

/// Why an experiment is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The resource has no uid, name or namespace yet.
    #[error("the resource is incomplete: {0}")]
    Incomplete(&'static str),
    /// A union does not have exactly one member.
    #[error("{0} sets none or several of the members of its union: set exactly one")]
    Union(String),
    /// The catalogue does not know the version.
    #[error(
        "{backend}: {kind} version {version} is not in the catalogue; known: {known}. Choose one of these or add the image to the chart's values (catalogue.{kind})"
    )]
    UnknownVersion {
        /// The backend, or whose lock it is.
        backend: String,
        /// The kind of the server, as the catalogue writes it.
        kind: &'static str,
        /// The version asked for.
        version: String,
        /// The known ones.
        known: String,
    },
    /// An objective does not compile.
    #[error("objective {name}: {problem}")]
    Objective {
        /// The objective.
        name: String,
        /// What is wrong and how to mend it.
        problem: String,
    },
    /// A Secret is missing.
    #[error(
        "Secret {0} does not exist in the experiment's namespace: create it with the keys accessKeyId and secretAccessKey"
    )]
    SecretMissing(String),
    /// A Secret lacks a key.
    #[error(
        "Secret {secret} lacks the key {key}: kubectl create secret generic {secret} --from-literal=accessKeyId=… --from-literal=secretAccessKey=…"
    )]
    SecretIncomplete {
        /// The Secret.
        secret: String,
        /// The key.
        key: &'static str,
    },
    /// No results store is configured.
    #[error(
        "no results store: set spec.results.s3, or install the chart with resultsStore.enabled=true"
    )]
    NoResultsStore,
    /// No node has the labels.
    #[error(
        "no schedulable node has the labels {0}: label the bench nodes (kubectl label node NAME {0}) or change equipment.nodeSelector"
    )]
    NoNodes(String),
    /// The equipment fits on no node.
    #[error(
        "no node of the pool can hold {what}: it needs {need}, and the largest node, {node}, offers {offer}; ask for less in {field}"
    )]
    EquipmentTooLarge {
        /// A backend or a generator.
        what: &'static str,
        /// What it needs.
        need: String,
        /// The largest node.
        node: String,
        /// What that offers.
        offer: String,
        /// The field to change.
        field: &'static str,
    },
    /// A quantity cannot be read.
    #[error("{field}: {problem}")]
    Quantity {
        /// The field.
        field: &'static str,
        /// What is wrong.
        problem: quantity::QuantityError,
    },
    /// Too many trials.
    #[error(
        "the experiment plans {0} trials, more than {MAX_TRIALS}: use fewer factor levels, backends or blocks"
    )]
    TooManyTrials(usize),
    /// The decision rule lacks a backend.
    #[error("decision {rule}: {problem}")]
    Decision {
        /// The rule.
        rule: &'static str,
        /// What is missing and how to mend it.
        problem: String,
    },
}

impl Refusal {
    /// The reason of the condition, the event and the metric.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Incomplete(_) | Self::Union(_) | Self::Quantity { .. } => "InvalidSpec",
            Self::UnknownVersion { .. } => "UnknownVersion",
            Self::Objective { .. } => "InvalidObjective",
            Self::SecretMissing(_) => "SecretMissing",
            Self::SecretIncomplete { .. } => "SecretIncomplete",
            Self::NoResultsStore => "NoResultsStore",
            Self::NoNodes(_) => "NoNodes",
            Self::EquipmentTooLarge { .. } => "EquipmentTooLarge",
            Self::TooManyTrials(_) => "TooManyTrials",
            Self::Decision { .. } => "InvalidDecision",
        }
    }
}

/// Checks the spec by itself.
///
/// # Errors
/// The first refusal, in the order in which a reader would mend them.
pub fn spec(experiment: &Experiment, settings: &Settings) -> Result<Validated, Refusal> {
    let meta = &experiment.metadata;
    let id = ExperimentId {
        namespace: meta
            .namespace
            .clone()
            .ok_or(Refusal::Incomplete("metadata.namespace"))?,
        name: meta
            .name
            .clone()
            .ok_or(Refusal::Incomplete("metadata.name"))?,
        uid: meta
            .uid
            .clone()
            .ok_or(Refusal::Incomplete("metadata.uid"))?,
    };
    let spec = &experiment.spec;
    let backends = spec
        .backends
        .iter()
        .map(|b| backend(b, settings))
        .collect::<Result<Vec<_>, _>>()?;
    for workload in &spec.workloads {
        if workload.member().is_none() || schedule::cells(workload).is_empty() {
            return Err(Refusal::Union(format!("workload {}", workload.name)));
        }
    }
    let total = schedule::total(spec);
    let trials = i32::try_from(total).map_err(|_| Refusal::TooManyTrials(total))?;
    if i64::from(trials) > MAX_TRIALS {
        return Err(Refusal::TooManyTrials(total));
    }
    for objective in &spec.objectives {
        bakeoff_analysis::objective::compile(&objective.expression, spec).map_err(|problem| {
            Refusal::Objective {
                name: objective.name.clone(),
                problem: problem.to_string(),
            }
        })?;
    }
    decision(spec)?;
    if spec.results.s3.is_none() && settings.results.is_none() {
        return Err(Refusal::NoResultsStore);
    }
    Ok(Validated {
        id,
        spec: spec.clone(),
        backends,
        lock: lock(spec, settings)?,
        trials,
    })
}

/// What is known of an experiment even if it is refused now, for example because its version has left the
/// catalogue: enough to report what was measured and to remove what was made.
#[must_use]
pub fn salvage(experiment: &Experiment) -> Option<Validated> {
    let meta = &experiment.metadata;
    let id = ExperimentId {
        namespace: meta.namespace.clone()?,
        name: meta.name.clone()?,
        uid: meta.uid.clone()?,
    };
    let backend = |backend: &Backend| {
        Some(ValidBackend {
            name: backend.name.clone(),
            kind: backend.kind()?,
            version: backend.version().unwrap_or_default().to_owned(),
            image: String::new(),
            external: backend.s3.clone(),
            settings: settings_of(backend),
        })
    };
    let spec = experiment.spec.clone();
    let backends = spec
        .backends
        .iter()
        .map(backend)
        .collect::<Option<Vec<_>>>()?;
    let trials = i32::try_from(schedule::total(&spec)).ok()?;
    let lock = spec.redis_lock().map(|lock| lock_server(lock, ""));
    Some(Validated {
        id,
        spec,
        backends,
        lock,
        trials,
    })
}

/// A rule without the data that it asks for would always be inconclusive: better refused at once.
fn decision(spec: &ExperimentSpec) -> Result<(), Refusal> {
    let Some(decision) = &spec.decision else {
        return Ok(());
    };
    let needs = |kind: WorkloadKind, name: &str| {
        if spec
            .workloads
            .iter()
            .any(|workload| workload.kind() == Some(kind))
        {
            return Ok(());
        }
        let problem =
            format!("it needs a workload of the kind {name}; add one or choose another rule");
        Err(Refusal::Decision {
            rule: decision.rule.as_str(),
            problem,
        })
    };
    match decision.rule {
        DecisionRule::SmallObjectBackend => {
            if spec.backends.len() < 2 {
                let problem = "it compares two backends; add a second one".to_owned();
                return Err(Refusal::Decision {
                    rule: decision.rule.as_str(),
                    problem,
                });
            }
            needs(WorkloadKind::SmallObjectPut, "smallObjectPut")
        }
        DecisionRule::SimpleSchema => needs(WorkloadKind::HeadRow, "headRow"),
        DecisionRule::CasIsBackstop => needs(WorkloadKind::CasRace, "casRace"),
        DecisionRule::DropOrDelete => needs(WorkloadKind::Retention, "retention"),
        DecisionRule::SoakPlateau => needs(WorkloadKind::Soak, "soak"),
        DecisionRule::BatchingTolerable => needs(WorkloadKind::Batching, "batching"),
        DecisionRule::ColdReadCap => needs(WorkloadKind::ColdRead, "coldRead"),
    }
}

fn backend(backend: &Backend, settings: &Settings) -> Result<ValidBackend, Refusal> {
    let union = || Refusal::Union(format!("backend {}", backend.name));
    let member = backend.member().ok_or_else(union)?;
    let kind = backend.kind().ok_or_else(union)?;
    if let BackendSpec::S3(external) = member {
        return Ok(ValidBackend {
            name: backend.name.clone(),
            kind,
            version: String::new(),
            image: String::new(),
            external: Some(external.clone()),
            settings: BTreeMap::new(),
        });
    }
    let version = backend.version().unwrap_or_default();
    let image = settings
        .catalogue
        .image(kind, version)
        .ok_or_else(|| Refusal::UnknownVersion {
            backend: format!("backend {}", backend.name),
            kind: kind.as_str(),
            version: version.to_owned(),
            known: known(settings, kind),
        })?;
    Ok(ValidBackend {
        name: backend.name.clone(),
        kind,
        version: version.to_owned(),
        image: image.to_owned(),
        external: None,
        settings: settings_of(backend),
    })
}

/// The known versions of a kind, for people.
fn known(settings: &Settings, kind: BackendKind) -> String {
    let versions = settings.catalogue.versions(kind);
    if versions.is_empty() {
        "none".to_owned()
    } else {
        versions.join(", ")
    }
}

/// The server that keeps locks, as it is known without the catalogue.
fn lock_server(lock: &RedisLock, image: &str) -> ValidBackend {
    ValidBackend {
        name: names::LOCK_SERVER.to_owned(),
        kind: BackendKind::Redis,
        version: lock.version.clone(),
        image: image.to_owned(),
        external: None,
        settings: BTreeMap::new(),
    }
}

fn lock(spec: &ExperimentSpec, settings: &Settings) -> Result<Option<ValidBackend>, Refusal> {
    let Some(lock) = spec.redis_lock() else {
        return Ok(None);
    };
    let kind = BackendKind::Redis;
    let image = settings.catalogue.image(kind, &lock.version);
    let image = image.ok_or_else(|| Refusal::UnknownVersion {
        backend: "casRace.lock".to_owned(),
        kind: kind.as_str(),
        version: lock.version.clone(),
        known: known(settings, kind),
    })?;
    Ok(Some(lock_server(lock, image)))
}

fn settings_of(backend: &Backend) -> BTreeMap<String, String> {
    let settings = backend
        .postgres
        .iter()
        .flat_map(|postgres| &postgres.settings);
    settings
        .map(|(name, value)| (name.clone(), value.0.clone()))
        .collect()
}

/// Checks the spec against its surroundings: Secrets and nodes. Only before the start; afterwards the
/// pods themselves tell.
///
/// # Errors
/// The first refusal.
pub fn surroundings(valid: &Validated, observed: &Observed) -> Result<(), Refusal> {
    let external = valid
        .backends
        .iter()
        .filter_map(|backend| backend.external.as_ref());
    for s3 in external.chain(valid.spec.results.s3.as_ref()) {
        let secret = &s3.credentials_secret_ref.name;
        let keys = observed
            .secrets
            .get(secret)
            .ok_or_else(|| Refusal::SecretMissing(secret.clone()))?;
        for key in [names::SECRET_ACCESS_KEY_ID, names::SECRET_SECRET_ACCESS_KEY] {
            if !keys.contains(key) {
                return Err(Refusal::SecretIncomplete {
                    secret: secret.clone(),
                    key,
                });
            }
        }
    }
    if observed.nodes.is_empty() {
        let labels: Vec<String> = valid
            .spec
            .equipment
            .node_selector
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        return Err(Refusal::NoNodes(if labels.is_empty() {
            "(any)".to_owned()
        } else {
            labels.join(",")
        }));
    }
    if valid.backends.iter().any(|b| b.external.is_none()) {
        fits(
            "a backend",
            "equipment.resources",
            &valid.spec.equipment.resources,
            &observed.nodes,
        )?;
    }
    fits(
        "a generator",
        "generators.resources",
        &valid.spec.generators.resources,
        &observed.nodes,
    )
}

fn fits(
    what: &'static str,
    field: &'static str,
    wanted: &Resources,
    nodes: &[NodeFacts],
) -> Result<(), Refusal> {
    let unreadable = |problem| Refusal::Quantity { field, problem };
    let cpu = wanted.cpu.millis().map_err(unreadable)?;
    let memory = wanted.memory.units().map_err(unreadable)?;
    let holds = |node: &NodeFacts| {
        node.allocatable_cpu_millis >= cpu && node.allocatable_memory_bytes >= memory
    };
    if nodes.iter().any(holds) {
        return Ok(());
    }
    let largest = nodes
        .iter()
        .max_by_key(|node| (node.allocatable_cpu_millis, node.allocatable_memory_bytes));
    let (node, offer) = largest.map_or_else(Default::default, |node| {
        let offer = format!(
            "cpu {}m, memory {}Mi",
            node.allocatable_cpu_millis,
            node.allocatable_memory_bytes >> 20
        );
        (node.name.clone(), offer)
    });
    Err(Refusal::EquipmentTooLarge {
        what,
        need: format!("cpu {}, memory {}", wanted.cpu, wanted.memory),
        node,
        offer,
        field,
    })
}
