//! The run plan that generators get, and the ConfigMap that carries it. (Pure.)

use super::jobs::{ENDING_FILE, run_name, run_plan_name};
use super::metadata;
use super::profile::{Profile, Words, profile};
use super::server_names::{endpoint, pod_endpoint, set_name};
use crate::children::Children;
use crate::controllers::experiment::facts::Observed;
use crate::parts::loadgen_job::{CREDENTIALS, PLAN_FILE, store_at};
use crate::parts::objects::Role;
use crate::parts::pods::{is_ready, own_container, ready_since, strange_containers};
use crate::settings::{Settings, VERSION};
use bakeoff_crds::durability::Durability;
use bakeoff_crds::names;
use bakeoff_crds::run::{
    Ending, Environment, NodeFacts, RUN_SCHEMA, ResolvedBackend, ResolvedLock, ResolvedPod,
    RunPlan, StoreTarget,
};
use bakeoff_crds::spec::{External, PostgresSslMode};
use bakeoff_crds::upkeep::Upkeep;
use bakeoff_rules::validate::{Place, Remains, Server, ServerName, ValidBackend, Validated};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};

/// The plan of an attempt.
#[must_use]
pub fn run_plan(
    valid: &Validated,
    settings: &Settings,
    observed: &Observed,
    environment: Environment,
    attempt: i32,
) -> RunPlan {
    let of = &valid.remains;
    let backends = valid.backends.iter();
    RunPlan {
        schema_version: RUN_SCHEMA.to_owned(),
        experiment: of.id.clone(),
        spec: of.spec.clone(),
        backends: backends
            .map(|backend| resolve(of, backend, observed))
            .collect(),
        lock: valid
            .lock
            .as_ref()
            .map(|lock| resolve_lock(of, lock, observed)),
        results: store(of, settings),
        environment,
        attempt,
    }
}

/// The plan of the newest attempt of the generators, as it was written: of an experiment that could not be planned now
/// it says under which conditions was measured what there is to report.
#[must_use]
pub fn written(of: &Remains, children: &Children) -> Option<RunPlan> {
    let mut attempts = (0..=of.spec.generators.backoff_limit).rev();
    let map = attempts.find_map(|attempt| {
        let name = run_plan_name(&run_name(of, attempt));
        let mut maps = children.config_maps.iter();
        maps.find(|map| map.metadata.name.as_ref() == Some(&name))
    })?;
    serde_json::from_str(map.data.as_ref()?.get(PLAN_FILE)?).ok()
}

/// What is known of the machines and of the generators on them.
#[must_use]
pub fn environment(
    settings: &Settings,
    nodes: Vec<NodeFacts>,
    inequalities: Vec<String>,
    generator_image_id: String,
) -> Environment {
    Environment {
        nodes,
        inequalities,
        kubernetes_version: settings.kubernetes_version.clone(),
        bakeoff_version: VERSION.to_owned(),
        generator_image: settings.loadgen_image.clone(),
        generator_image_id,
    }
}

fn resolve(of: &Remains, backend: &ValidBackend, observed: &Observed) -> ResolvedBackend {
    match &backend.place {
        Place::External(external) => resolve_external(of, backend, external),
        Place::Provisioned(server) => resolve_server(of, backend, server, observed),
    }
}

fn resolve_server(
    of: &Remains,
    backend: &ValidBackend,
    server: &Server,
    observed: &Observed,
) -> ResolvedBackend {
    let profile = profile(&server.release, &of.spec.equipment);
    let name = ServerName::Backend(&backend.name);
    let ready: Vec<&Pod> = observed
        .children
        .pods_of_backend(&backend.name)
        .filter(|pod| is_ready(pod))
        .collect();
    // One that clients talk to; of a server of one pod, that one.
    let talks = set_name(of, name, profile.pods.member);
    let pod = ready
        .iter()
        .find(|pod| pod.name_any().starts_with(&talks))
        .copied();
    let nodes: BTreeSet<String> = ready.iter().filter_map(|pod| node_name(pod)).collect();
    let topology = &server.release.topology;
    let several = topology.pods() > 1;
    let caveats = caveats(profile.caveats.clone(), &ready, several && nodes.len() < 2);
    ResolvedBackend {
        name: backend.name.clone(),
        kind: backend.kind,
        version: server.release.version.to_string(),
        image: server.image.clone(),
        image_bytes: image_bytes(pod, &server.image, observed),
        image_id: pod.and_then(image_id).unwrap_or_default(),
        endpoint: endpoint(of, name, profile.scheme, profile.pods.port),
        region: profile.region.to_string(),
        bucket: profile.bucket.to_owned(),
        prefix: String::new(),
        path_style: true,
        credentials_dir: format!("{CREDENTIALS}/{}", name.as_str()),
        ca_key: None,
        sign_payload: false,
        metrics_url: profile
            .pods
            .metrics
            .as_ref()
            .filter(|_| !several)
            .map(|(port, path)| format!("{}{path}", endpoint(of, name, "http", *port))),
        pods: if several {
            resolve_pods(of, (name, server), &profile, &ready)
        } else {
            Vec::new()
        },
        bytes_stored_per_byte: (several || topology.volumes() > 1)
            .then(|| topology.bytes_stored_per_byte()),
        provisioned: true,
        settings: told(&profile, several),
        durability: profile.durability,
        upkeep: profile.upkeep,
        node: nodes.into_iter().collect::<Vec<_>>().join(", "),
        time_to_ready_seconds: ready.iter().filter_map(|pod| time_to_ready(pod)).max(),
        caveats,
    }
}

/// What the programs of a server were told: settings, command lines and environment. Of a server of several sorts of pods each stands
/// under the name of the sort.
fn told(profile: &Profile, several: bool) -> BTreeMap<String, String> {
    let mut told = profile.settings.clone();
    for pods in profile.all_pods() {
        let of = if several && !profile.others.is_empty() {
            format!("{}.", pods.member.as_str())
        } else {
            String::new()
        };
        let line: Vec<String> = pods.command.iter().chain(&pods.args).cloned().collect();
        told.insert(format!("{of}command"), line.join(" "));
        let clear = pods.env.iter();
        told.extend(clear.map(|(name, value)| (format!("{of}{name}"), value.to_string())));
    }
    told
}

fn resolve_pods(
    of: &Remains,
    (name, server): (ServerName<'_>, &Server),
    profile: &Profile,
    ready: &[&Pod],
) -> Vec<ResolvedPod> {
    let shares = server.shares.iter();
    let each = shares.flat_map(|share| (0..share.pods).map(move |index| (share, index)));
    each.map(|(share, index)| {
        let pod_name = format!("{}-{index}", set_name(of, name, share.member));
        let pod = ready.iter().find(|pod| pod.name_any() == pod_name);
        let mut sorts = profile.all_pods();
        let metrics = sorts
            .find(|pods| pods.member == share.member)
            .and_then(|pods| pods.metrics.as_ref());
        let at = |port| pod_endpoint(of, (name, server), (share.member, index), port);
        ResolvedPod {
            member: share.member,
            resources: share.resources.clone(),
            storage: share.storage.clone(),
            metrics_url: metrics.map(|(port, path)| format!("{}{path}", at(*port))),
            image_id: pod.and_then(|pod| image_id(pod)).unwrap_or_default(),
            node: pod.and_then(|pod| node_name(pod)).unwrap_or_default(),
            name: pod_name,
        }
    })
    .collect()
}

/// What stands beside every figure of a server: what is known of the program, that all of its pods share a machine, and what others have
/// put into them.
fn caveats(known: Vec<Words>, ready: &[&Pod], on_one_node: bool) -> Vec<String> {
    let mut caveats: Vec<String> = known.into_iter().map(Words::into_owned).collect();
    if on_one_node {
        caveats.push(
            "all of its pods run on one node: what a network between them costs, and what the loss of a node would do, is not seen"
                .to_owned(),
        );
    }
    let strangers: BTreeSet<&str> = ready
        .iter()
        .flat_map(|pod| strange_containers(pod))
        .collect();
    if !strangers.is_empty() {
        caveats.push(format!(
            "its pod has containers that Bakeoff did not put there ({}): they take a share of the node, and a proxy would be measured as well",
            strangers.into_iter().collect::<Vec<_>>().join(", ")
        ));
    }
    caveats
}

/// The prefix of everything that an experiment writes to buckets that were there before.
#[must_use]
pub fn external_prefix(of: &Remains) -> String {
    format!("bakeoff/{}", of.id.uid)
}

fn resolve_external(of: &Remains, backend: &ValidBackend, external: &External) -> ResolvedBackend {
    let outside = ResolvedBackend {
        name: backend.name.clone(),
        kind: backend.kind,
        version: String::new(),
        image: String::new(),
        image_id: String::new(),
        image_bytes: None,
        endpoint: String::new(),
        region: String::new(),
        bucket: String::new(),
        prefix: external_prefix(of),
        path_style: true,
        credentials_dir: format!("{CREDENTIALS}/{}", backend.name),
        ca_key: None,
        sign_payload: false,
        metrics_url: None,
        pods: Vec::new(),
        bytes_stored_per_byte: None,
        provisioned: false,
        durability: Durability::default(),
        upkeep: Upkeep::default(),
        settings: BTreeMap::new(),
        node: String::new(),
        time_to_ready_seconds: None,
        caveats: vec!["external endpoint: its equipment and its distance are its own".to_owned()],
    };
    match external {
        External::S3(s3) => ResolvedBackend {
            endpoint: s3.endpoint.trim_end_matches('/').to_owned(),
            region: s3.region.clone(),
            bucket: s3.bucket.clone(),
            path_style: s3.path_style,
            ca_key: s3.ca_key.clone(),
            sign_payload: s3.sign_payload,
            durability: Durability::as_its_owner_states(s3.durability),
            ..outside
        },
        // Its address is in its URL, which the generators alone read; its settings say how durable it is.
        External::Postgres(postgres) => ResolvedBackend {
            settings: stated(postgres.ssl_mode),
            caveats: vec![
                "external server: its equipment, its distance and its replicas are its own, and others may use it"
                    .to_owned(),
            ],
            ..outside
        },
    }
}

/// The mode by which a URL that names none is completed.
fn stated(mode: Option<PostgresSslMode>) -> BTreeMap<String, String> {
    let setting = |mode: PostgresSslMode| (names::SSL_MODE_SETTING, mode.as_str());
    let stated = mode.map(setting).into_iter();
    stated
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn resolve_lock(of: &Remains, lock: &Server, observed: &Observed) -> ResolvedLock {
    let profile = profile(&lock.release, &of.spec.equipment);
    let name = ServerName::Lock;
    let pods = observed.children.pods_of_backend(name.as_str());
    let pod = pods.into_iter().find(|pod| is_ready(pod));
    ResolvedLock {
        version: lock.release.version.to_string(),
        image: lock.image.clone(),
        image_id: pod.and_then(image_id).unwrap_or_default(),
        endpoint: endpoint(of, name, profile.scheme, profile.pods.port),
        credentials_dir: format!("{CREDENTIALS}/{}", name.as_str()),
        settings: BTreeMap::from([(
            ResolvedBackend::COMMAND.to_owned(),
            profile.pods.command.join(" "),
        )]),
        node: pod.and_then(node_name).unwrap_or_default(),
    }
}

/// Where results go.
#[must_use]
pub fn store(of: &Remains, settings: &Settings) -> StoreTarget {
    store_at(&of.spec.results, settings, of.id.prefix())
}

/// The image that a pod runs, by digest.
#[must_use]
pub fn image_id(pod: &Pod) -> Option<String> {
    own_container(pod).map(|container| container.image_id.clone())
}

/// The size of the image that a pod runs, as a node lists it by digest or by the name that was asked for.
fn image_bytes(pod: Option<&Pod>, image: &str, observed: &Observed) -> Option<i64> {
    let id = pod.and_then(image_id);
    let names = id.as_deref().into_iter().chain([image]);
    names
        .filter_map(|name| observed.image_bytes.get(name))
        .next()
        .copied()
}

/// The node that a pod runs on.
#[must_use]
pub fn node_name(pod: &Pod) -> Option<String> {
    pod.spec.as_ref()?.node_name.clone()
}

/// Seconds from the creation of a pod until it was ready.
#[must_use]
pub fn time_to_ready(pod: &Pod) -> Option<i64> {
    let created = pod.metadata.creation_timestamp.as_ref()?.0;
    Some(ready_since(pod)?.duration_since(created).as_secs().max(0))
}

/// The ConfigMap that carries a plan, and the ending for the report.
#[must_use]
pub fn config_map(
    of: &Remains,
    job: &str,
    role: Role,
    plan: &RunPlan,
    ending: Option<&Ending>,
) -> ConfigMap {
    let json = |value: Result<String, serde_json::Error>| value.unwrap_or_default();
    let mut data = BTreeMap::from([(
        PLAN_FILE.to_owned(),
        json(serde_json::to_string_pretty(plan)),
    )]);
    if let Some(ending) = ending {
        data.insert(
            ENDING_FILE.to_owned(),
            json(serde_json::to_string_pretty(ending)),
        );
    }
    ConfigMap {
        metadata: metadata(of, run_plan_name(job), role),
        data: Some(data),
        ..Default::default()
    }
}
