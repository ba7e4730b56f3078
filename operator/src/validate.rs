//! From a stored Experiment to one that can be built without failing. (Pure.)
//!
//! Admission has refused what schema and CEL can see. Here is the rest: what needs the catalogue, the
//! nodes, the Secrets or a compiler. Every refusal has a reason for the condition and a message that
//! says how to mend it.

mod refusal;

pub use refusal::Refusal;

use crate::facts::Observed;
use crate::settings::Settings;
use bakeoff_crds::names;
use bakeoff_crds::run::{ExperimentId, NodeFacts};
use bakeoff_crds::schedule;
use bakeoff_crds::spec::{
    Backend, BackendKind, BackendSpec, Experiment, ExperimentSpec, MAX_TRIALS, PostgresUrlBackend,
    RedisLock, Resources, S3Backend,
};
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
    /// Where it is, if it was there before.
    pub external: Option<External>,
    /// Server settings of the spec, by name.
    pub settings: BTreeMap<String, String>,
}

/// A system that was there before the experiment and stays after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum External {
    /// An S3 endpoint.
    S3(S3Backend),
    /// A Postgres server.
    Postgres(PostgresUrlBackend),
}

impl External {
    fn of(backend: &Backend) -> Option<Self> {
        match backend.member()? {
            BackendSpec::S3(s3) => Some(Self::S3(s3.clone())),
            BackendSpec::PostgresUrl(postgres) => Some(Self::Postgres(postgres.clone())),
            BackendSpec::Minio(_) | BackendSpec::Seaweedfs(_) | BackendSpec::Postgres(_) => None,
        }
    }

    /// The Secret in the experiment's namespace by which it is reached, and the keys that it needs.
    #[must_use]
    pub fn secret(&self) -> (&str, Vec<String>) {
        match self {
            Self::S3(s3) => s3_secret(s3),
            Self::Postgres(postgres) => {
                let at = &postgres.secret_ref;
                let keys = [&at.key].into_iter().chain(&postgres.ca_key);
                (&at.name, keys.cloned().collect())
            }
        }
    }
}

fn s3_secret(s3: &S3Backend) -> (&str, Vec<String>) {
    let keys = [names::SECRET_ACCESS_KEY_ID, names::SECRET_SECRET_ACCESS_KEY];
    (
        &s3.credentials_secret_ref.name,
        keys.map(str::to_owned).to_vec(),
    )
}

impl Validated {
    /// The Secrets of the user by which external systems are reached, the results store included, and the keys that
    /// each needs.
    pub fn user_secrets(&self) -> impl Iterator<Item = (&str, Vec<String>)> {
        let backends = self.backends.iter();
        let external = backends.filter_map(|backend| backend.external.as_ref());
        external
            .map(External::secret)
            .chain(self.spec.results.s3.as_ref().map(s3_secret))
    }

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

    /// Whether test objects are written to buckets, or tables to databases, that were there before.
    #[must_use]
    pub fn has_external(&self) -> bool {
        self.backends
            .iter()
            .any(|backend| backend.external.is_some())
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
            external: External::of(backend),
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
    for need in bakeoff_analysis::decision::needs(decision.rule) {
        if !need.is_met(spec) {
            return Err(Refusal::Decision {
                rule: decision.rule.as_str(),
                problem: need.to_string(),
            });
        }
    }
    Ok(())
}

fn backend(backend: &Backend, settings: &Settings) -> Result<ValidBackend, Refusal> {
    let union = || Refusal::Union(format!("backend {}", backend.name));
    let kind = backend.kind().ok_or_else(union)?;
    if let Some(external) = External::of(backend) {
        return Ok(ValidBackend {
            name: backend.name.clone(),
            kind,
            version: String::new(),
            image: String::new(),
            external: Some(external),
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
        version: lock.version.to_string(),
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
        version: lock.version.to_string(),
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
    for (secret, keys) in valid.user_secrets() {
        let secret = secret.to_owned();
        let Some(found) = observed.secrets.get(&secret) else {
            return Err(Refusal::SecretMissing { secret, keys });
        };
        if let Some(key) = keys.iter().find(|key| !found.contains(*key)) {
            let key = key.clone();
            return Err(Refusal::SecretIncomplete { secret, key, keys });
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
