//! From a stored Experiment to one that can be built without failing. (Pure.)
//!
//! Admission has refused what schema and CEL can see. Here is the rest: what needs the catalogue, the
//! nodes, the Secrets or a compiler. Every refusal has a reason for the condition and a message that
//! says how to mend it.

mod postgres;
mod refusal;
mod remains;

pub use refusal::Refusal;
pub use remains::{Remains, ServerName};

use crate::catalogue::Catalogue;
use bakeoff_crds::run::NodeFacts;
use bakeoff_crds::schedule;
use bakeoff_crds::spec::{
    Backend, BackendKind, ExperimentSpec, External, MAX_TRIALS, Origin, Product, Release,
    Resources, Share, TRACE_EVENTS, TRACE_MANIFEST,
};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of an experiment after its check.
#[derive(Clone, Debug)]
pub enum Known {
    /// It can be planned.
    Valid(Validated),
    /// It is refused; what was made of it before can still be reported and removed.
    Refused(Remains, Refusal),
}

impl Known {
    /// What is known in either case.
    #[must_use]
    pub fn remains(&self) -> &Remains {
        match self {
            Self::Valid(valid) => &valid.remains,
            Self::Refused(remains, _) => remains,
        }
    }
}

/// An experiment that can be planned.
#[derive(Clone, Debug)]
pub struct Validated {
    /// Whose it is, and what is asked for.
    pub remains: Remains,
    /// The backends, with the images of those that are provisioned.
    pub backends: Vec<ValidBackend>,
    /// The Redis server that keeps the locks of races, where a workload asks for one; not measured itself.
    pub lock: Option<Server>,
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
    /// Where it is.
    pub place: Place,
}

/// Where a backend is.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// The operator makes it.
    Provisioned(Server),
    /// It was there before.
    External(External),
}

/// A server that can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// What is asked for.
    pub release: Release,
    /// The image of that version.
    pub image: String,
    /// What each of its pods gets.
    pub shares: Vec<Share>,
}

impl Place {
    /// The server, where it is made.
    #[must_use]
    pub fn server(&self) -> Option<&Server> {
        match self {
            Self::Provisioned(server) => Some(server),
            Self::External(_) => None,
        }
    }
}

impl Validated {
    /// The servers that the operator provisions: backends, and the one that keeps locks.
    pub fn servers(&self) -> impl Iterator<Item = (ServerName<'_>, &Server)> {
        let backends = self.backends.iter().filter_map(|backend| {
            let server = backend.place.server()?;
            Some((ServerName::Backend(&backend.name), server))
        });
        backends.chain(self.lock.as_ref().map(|server| (ServerName::Lock, server)))
    }
}

/// What an installation offers to experiments.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Images of the servers.
    pub catalogue: &'a Catalogue,
    /// Images, or their repositories, that experiments may describe as servers.
    pub server_images: &'a [String],
    /// Whether it has a results store of its own.
    pub results_store: bool,
}

/// Checks the spec by itself.
#[must_use]
pub fn check(remains: Remains, offer: Offer<'_>) -> Known {
    match validated(&remains.spec, offer) {
        Ok((backends, lock, trials)) => Known::Valid(Validated {
            remains,
            backends,
            lock,
            trials,
        }),
        Err(refusal) => Known::Refused(remains, refusal),
    }
}

type Found = (Vec<ValidBackend>, Option<Server>, i32);

/// The first refusal comes in the order in which a reader would mend them.
fn validated(spec: &ExperimentSpec, offer: Offer<'_>) -> Result<Found, Refusal> {
    let backends = spec.backends.iter().map(|b| backend(b, spec, offer));
    let backends = backends.collect::<Result<Vec<_>, _>>()?;
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
    let regression = spec
        .series
        .as_ref()
        .and_then(|series| series.regression.as_ref());
    for metric in regression
        .into_iter()
        .flat_map(|regression| &regression.metrics)
    {
        bakeoff_analysis::objective::check_figure(&metric.expression, spec).map_err(|problem| {
            Refusal::Metric {
                name: metric.name.clone(),
                problem: problem.to_string(),
            }
        })?;
    }
    decision(spec)?;
    if spec.results.s3.is_none() && !offer.results_store {
        return Err(Refusal::NoResultsStore);
    }
    let lock = spec.redis_lock().map(|lock| {
        let release = Release::of(Product::Redis, &lock.version);
        server("casRace.lock", release, spec, offer)
    });
    Ok((backends, lock.transpose()?, trials))
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

fn backend(
    backend: &Backend,
    spec: &ExperimentSpec,
    offer: Offer<'_>,
) -> Result<ValidBackend, Refusal> {
    let what = format!("backend {}", backend.name);
    let (Some(kind), Some(origin)) = (backend.kind(), backend.origin()) else {
        return Err(Refusal::Union(what));
    };
    let place = match origin {
        Origin::External(external) => Place::External(external),
        Origin::Provisioned(mut release) => {
            postgres::settled(&what, &mut release, spec)?;
            Place::Provisioned(server(&what, release, spec, offer)?)
        }
    };
    Ok(ValidBackend {
        name: backend.name.clone(),
        kind,
        place,
    })
}

fn server(
    what: &str,
    release: Release,
    spec: &ExperimentSpec,
    offer: Offer<'_>,
) -> Result<Server, Refusal> {
    let image = image(what, &release, offer)?;
    let shares = release.topology.shares(&spec.equipment);
    Ok(Server {
        image,
        shares: shares.map_err(|problem| Refusal::Split {
            server: what.to_owned(),
            problem,
        })?,
        release,
    })
}

fn image(what: &str, release: &Release, offer: Offer<'_>) -> Result<String, Refusal> {
    if let Some(declared) = &release.declared {
        let image = declared.image.clone();
        return if allows(offer.server_images, &image) {
            Ok(image)
        } else {
            Err(Refusal::ImageNotAllowed {
                server: what.to_owned(),
                image,
                allowed: listed(offer.server_images),
            })
        };
    }
    let image = offer.catalogue.image(release.product, &release.version);
    let image = image.ok_or_else(|| Refusal::UnknownVersion {
        server: what.to_owned(),
        product: release.product.as_str(),
        version: release.version.to_string(),
        known: known(offer, release.product),
    })?;
    Ok(image.to_owned())
}

/// Whether an image is allowed: an entry is the image, or its repository and the image has a digest.
#[must_use]
pub fn allows(allowed: &[String], image: &str) -> bool {
    let by_digest = |entry: &str| {
        let digest = image
            .strip_prefix(entry)
            .and_then(|rest| rest.strip_prefix("@sha256:"));
        digest.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let mut entries = allowed.iter().filter(|entry| !entry.is_empty());
    entries.any(|entry| entry == image || by_digest(entry))
}

fn listed(allowed: &[String]) -> String {
    if allowed.is_empty() {
        "none".to_owned()
    } else {
        allowed.join(", ")
    }
}

/// The known versions of a program, for people.
fn known(offer: Offer<'_>, product: Product) -> String {
    let versions = offer.catalogue.versions(product);
    if versions.is_empty() {
        "none".to_owned()
    } else {
        versions.join(", ")
    }
}

/// What an experiment finds around it before it starts.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The keys of each Secret that it refers to and that exists.
    pub secrets: &'a BTreeMap<String, BTreeSet<String>>,
    /// The keys of each ConfigMap that it refers to and that exists.
    pub config_maps: &'a BTreeMap<String, BTreeSet<String>>,
    /// The nodes that take its pods.
    pub nodes: &'a [NodeFacts],
    /// The nodes with its labels that do not, each with the cause.
    pub shut: &'a [String],
    /// What it refers to by name in the cluster and is not there.
    pub absent: &'a [Absent],
}

/// An object of the cluster that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// Its kind.
    pub kind: AbsentKind,
    /// Its name.
    pub name: String,
}

/// A kind of what an experiment refers to in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbsentKind {
    /// Of the volumes of servers.
    StorageClass,
    /// Of the pods of an experiment.
    PriorityClass,
}

impl AbsentKind {
    /// The kind, as Kubernetes calls it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StorageClass => "StorageClass",
            Self::PriorityClass => "PriorityClass",
        }
    }

    /// The field of a spec that names one.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::StorageClass => "equipment.storage.storageClassName",
            Self::PriorityClass => "equipment.priorityClassName",
        }
    }
}

/// Checks the spec against its surroundings: Secrets, ConfigMaps, classes and nodes. Only before the start; afterwards the
/// pods themselves tell.
///
/// # Errors
/// The first refusal.
pub fn surroundings(valid: &Validated, around: Surroundings<'_>) -> Result<(), Refusal> {
    let spec = &valid.remains.spec;
    let nodes = around.nodes;
    if let Some(absent) = around.absent.first() {
        return Err(Refusal::Absent(absent.clone()));
    }
    for (secret, keys) in valid.remains.user_secrets() {
        let Some(found) = around.secrets.get(&secret) else {
            return Err(Refusal::SecretMissing { secret, keys });
        };
        if let Some(key) = keys.iter().find(|key| !found.contains(*key)) {
            let key = key.clone();
            return Err(Refusal::SecretIncomplete { secret, key, keys });
        }
    }
    for config_map in valid.remains.trace_maps() {
        let Some(found) = around.config_maps.get(config_map) else {
            let config_map = config_map.to_owned();
            return Err(Refusal::TraceMissing { config_map });
        };
        let wanted = [TRACE_MANIFEST, TRACE_EVENTS];
        if let Some(key) = wanted.into_iter().find(|key| !found.contains(*key)) {
            let config_map = config_map.to_owned();
            return Err(Refusal::TraceIncomplete { config_map, key });
        }
    }
    if nodes.is_empty() {
        let labels: Vec<String> = spec
            .equipment
            .node_selector
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        return Err(if around.shut.is_empty() {
            Refusal::NoNodes(labels.join(","))
        } else {
            Refusal::NodesShut {
                labels: labels.join(","),
                shut: around.shut.to_vec(),
            }
        });
    }
    let backends = valid.backends.iter();
    let shares = backends.filter_map(|backend| Some(&backend.place.server()?.shares));
    for share in shares.flatten() {
        fits(
            "a pod of a backend",
            "equipment.resources",
            &share.resources,
            nodes,
        )?;
    }
    fits(
        "a generator",
        "generators.resources",
        &spec.generators.resources,
        nodes,
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

#[cfg(test)]
mod tests {
    use super::allows;

    #[test]
    fn images_are_allowed_by_name_or_by_the_digest_of_an_allowed_repository() {
        let digest = format!("@sha256:{}", "0a".repeat(32));
        let allowed = ["docker.io/a/b".to_owned(), "localhost:5000/c:1".to_owned()];
        let by = |image: &str| allows(&allowed, image);
        assert!(by("localhost:5000/c:1"));
        assert!(by(&format!("docker.io/a/b{digest}")));
        for refused in [
            "docker.io/a/b:latest".to_owned(),
            "docker.io/a/bc".to_owned(),
            format!("docker.io/a/b/c{digest}"),
            format!("docker.io/a/b:1{digest}"),
            format!("docker.io/a/bc{digest}"),
            "docker.io/a/b@sha256:00".to_owned(),
            format!("docker.io/a/b@sha256:{}", "x".repeat(64)),
            "localhost:5000/c:2".to_owned(),
            format!("localhost:5000/c{digest}"),
            String::new(),
        ] {
            assert!(!by(&refused), "{refused}");
        }
        assert!(!allows(&[], "docker.io/a/b"));
        assert!(
            !allows(&[String::new()], &digest),
            "an empty entry allows nothing"
        );
    }
}
