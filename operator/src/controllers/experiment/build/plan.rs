//! The run plan that generators get, and the ConfigMap that carries it. (Pure.)

use super::backend::endpoint;
use super::jobs::{CREDENTIALS, RESULTS_FOLDER, plan_name};
use super::profile::profile;
use super::{Role, metadata};
use crate::controllers::experiment::facts::{Observed, is_ready, ready_since};
use crate::settings::{Settings, VERSION};
use bakeoff_crds::run::{
    Ending, Environment, NodeFacts, RUN_SCHEMA, ResolvedBackend, ResolvedLock, RunPlan, StoreTarget,
};
use bakeoff_rules::validate::{External, ValidBackend, Validated};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use std::collections::BTreeMap;

/// The plan of an attempt.
#[must_use]
pub fn run_plan(
    valid: &Validated,
    settings: &Settings,
    observed: &Observed,
    environment: Environment,
    attempt: i32,
) -> RunPlan {
    RunPlan {
        schema_version: RUN_SCHEMA.to_owned(),
        experiment: valid.id.clone(),
        spec: valid.spec.clone(),
        backends: valid
            .backends
            .iter()
            .filter_map(|backend| resolve(valid, backend, observed))
            .collect(),
        lock: valid
            .lock
            .as_ref()
            .and_then(|lock| resolve_lock(valid, lock, observed)),
        results: store(valid, settings),
        environment,
        attempt,
    }
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

/// `None` never happens: what is not external has a profile.
fn resolve(
    valid: &Validated,
    backend: &ValidBackend,
    observed: &Observed,
) -> Option<ResolvedBackend> {
    let credentials_dir = format!("{CREDENTIALS}/{}", backend.name);
    if let Some(external) = &backend.external {
        return Some(resolve_external(valid, backend, external, credentials_dir));
    }
    let profile = profile(valid, backend)?;
    let pod = observed
        .children
        .pods_of_backend(&backend.name)
        .find(|pod| is_ready(pod));
    let mut settings = profile.settings;
    settings.insert("command".to_owned(), profile.command.join(" "));
    let clear = profile.env.iter();
    settings.extend(clear.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Some(ResolvedBackend {
        name: backend.name.clone(),
        kind: backend.kind,
        version: backend.version.clone(),
        image: backend.image.clone(),
        image_bytes: image_bytes(pod, &backend.image, observed),
        image_id: pod.and_then(image_id).unwrap_or_default(),
        endpoint: endpoint(valid, backend, profile.scheme, profile.port),
        region: "us-east-1".to_owned(),
        bucket: profile.bucket.to_owned(),
        prefix: String::new(),
        path_style: true,
        credentials_dir,
        metrics_url: profile
            .metrics
            .map(|(port, path)| format!("{}{path}", endpoint(valid, backend, "http", port))),
        provisioned: true,
        durability: profile.durability,
        settings,
        node: pod.and_then(node_name).unwrap_or_default(),
        time_to_ready_seconds: pod.and_then(time_to_ready),
        caveats: profile.caveats.into_iter().map(str::to_owned).collect(),
    })
}

fn resolve_external(
    valid: &Validated,
    backend: &ValidBackend,
    external: &External,
    credentials_dir: String,
) -> ResolvedBackend {
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
        prefix: format!("bakeoff/{}", valid.id.uid),
        path_style: true,
        credentials_dir,
        metrics_url: None,
        provisioned: false,
        durability: String::new(),
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
            durability: "as the operator of this endpoint states it".to_owned(),
            ..outside
        },
        // Its address is in its URL, which the generators alone read; its settings say how durable it is.
        External::Postgres(_) => ResolvedBackend {
            caveats: vec![
                "external server: its equipment, its distance and its replicas are its own, and others may use it"
                    .to_owned(),
            ],
            ..outside
        },
    }
}

/// `None` never happens: the server has a profile.
fn resolve_lock(
    valid: &Validated,
    lock: &ValidBackend,
    observed: &Observed,
) -> Option<ResolvedLock> {
    let profile = profile(valid, lock)?;
    let pods = observed.children.pods_of_backend(&lock.name);
    let pod = pods.into_iter().find(|pod| is_ready(pod));
    Some(ResolvedLock {
        version: lock.version.clone(),
        image: lock.image.clone(),
        image_id: pod.and_then(image_id).unwrap_or_default(),
        endpoint: endpoint(valid, lock, profile.scheme, profile.port),
        credentials_dir: format!("{CREDENTIALS}/{}", lock.name),
        settings: BTreeMap::from([("command".to_owned(), profile.command.join(" "))]),
        node: pod.and_then(node_name).unwrap_or_default(),
    })
}

/// Where results go.
#[must_use]
pub fn store(valid: &Validated, settings: &Settings) -> StoreTarget {
    let credentials_dir = format!("{CREDENTIALS}/{RESULTS_FOLDER}");
    match (&valid.spec.results.s3, &settings.results) {
        (Some(s3), _) => StoreTarget {
            endpoint: s3.endpoint.trim_end_matches('/').to_owned(),
            region: s3.region.clone(),
            bucket: s3.bucket.clone(),
            prefix: valid.id.prefix(),
            path_style: s3.path_style,
            credentials_dir,
        },
        (None, own) => StoreTarget {
            endpoint: own
                .as_ref()
                .map(|own| own.endpoint.clone())
                .unwrap_or_default(),
            region: own
                .as_ref()
                .map(|own| own.region.clone())
                .unwrap_or_default(),
            bucket: own
                .as_ref()
                .map(|own| own.bucket.clone())
                .unwrap_or_default(),
            prefix: valid.id.prefix(),
            path_style: true,
            credentials_dir,
        },
    }
}

/// The image that a pod runs, by digest.
#[must_use]
pub fn image_id(pod: &Pod) -> Option<String> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.first().map(|container| container.image_id.clone())
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
    valid: &Validated,
    job: &str,
    role: Role,
    plan: &RunPlan,
    ending: Option<&Ending>,
) -> ConfigMap {
    let json = |value: Result<String, serde_json::Error>| value.unwrap_or_default();
    let mut data = BTreeMap::from([(
        "plan.json".to_owned(),
        json(serde_json::to_string_pretty(plan)),
    )]);
    if let Some(ending) = ending {
        data.insert(
            "ending.json".to_owned(),
            json(serde_json::to_string_pretty(ending)),
        );
    }
    ConfigMap {
        metadata: metadata(valid, plan_name(job), role),
        data: Some(data),
        ..Default::default()
    }
}
