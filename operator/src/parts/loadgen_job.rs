//! Jobs of the load generator, whoever has them done. (Pure.)

use super::frame::{self, LOADGEN, USER, container_security};
use super::objects::{guaranteed, pull_policy, scratch};
use crate::settings::Settings;
use bakeoff_crds::identity::Identity;
use bakeoff_crds::names;
use bakeoff_crds::run::StoreTarget;
use bakeoff_crds::spec::{Equipment, Resources, Results};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, PodSpec, SecretVolumeSource, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;

/// Where credentials are mounted, one folder for each backend and one for the results store.
pub const CREDENTIALS: &str = "/etc/bakeoff/credentials";
/// The folder of the results store among them. No backend can be called so: the name has a dot.
pub const RESULTS_FOLDER: &str = "results.store";
/// Where it is mounted what a Job is to do.
pub const PLAN: &str = "/etc/bakeoff/plan";
/// The run plan in its ConfigMap.
pub const PLAN_FILE: &str = "plan.json";

/// A Job of the load generator, whoever has it done.
pub struct Shape {
    /// Its name and labels, and whose it is.
    pub metadata: ObjectMeta,
    /// What it is told.
    pub arguments: Vec<String>,
    /// What each of its pods gets.
    pub resources: Resources,
    /// How many pods there are.
    pub replicas: i32,
    /// How long a pod has to end, seconds.
    pub grace_seconds: i64,
    /// What is mounted below [`PLAN`] and [`CREDENTIALS`]; the volumes have no names yet.
    pub mounts: Option<Mounts>,
}

/// What a Job reads.
pub struct Mounts {
    /// The ConfigMap with what it is to do.
    pub plan: String,
    /// Secrets, by folder.
    pub credentials: BTreeMap<String, Volume>,
}

/// A Job of the load generator on this equipment. Its pods have its labels.
#[must_use]
pub fn of_loadgen(equipment: &Equipment, settings: &Settings, shape: Shape) -> Job {
    let mut arguments = shape.arguments;
    arguments.extend(["--termination-log", "/dev/termination-log"].map(str::to_owned));
    let mut volumes = vec![scratch()];
    let mut mounts = vec![mount("tmp", "/tmp", false)];
    if let Some(read) = shape.mounts {
        volumes.push(Volume {
            name: "plan".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: read.plan,
                ..Default::default()
            }),
            ..Default::default()
        });
        mounts.push(mount("plan", PLAN, true));
        for (position, (folder, source)) in read.credentials.into_iter().enumerate() {
            let name = format!("credentials-{position}");
            mounts.push(mount(&name, &format!("{CREDENTIALS}/{folder}"), true));
            volumes.push(Volume { name, ..source });
        }
    }
    let container = Container {
        name: LOADGEN.to_owned(),
        image: Some(settings.loadgen_image.clone()),
        image_pull_policy: pull_policy(settings),
        args: Some(arguments),
        env: Some(vec![
            frame::field("NODE_NAME", "spec.nodeName"),
            frame::field("POD_IP", "status.podIP"),
        ]),
        resources: Some(guaranteed(&shape.resources)),
        security_context: Some(container_security()),
        termination_message_policy: Some("File".to_owned()),
        volume_mounts: Some(mounts),
        ..Default::default()
    };
    let pod = PodSpec {
        restart_policy: Some("Never".to_owned()),
        termination_grace_period_seconds: Some(shape.grace_seconds),
        volumes: Some(volumes),
        ..frame::pod(equipment, settings, USER, (Vec::new(), vec![container]))
    };
    let labels = shape.metadata.labels.clone().unwrap_or_default();
    Job {
        metadata: shape.metadata,
        spec: Some(JobSpec {
            completion_mode: Some("Indexed".to_owned()),
            completions: Some(shape.replicas),
            parallelism: Some(shape.replicas),
            backoff_limit: Some(0),
            template: frame::template(equipment, settings, labels, pod),
            ..Default::default()
        }),
        status: None,
    }
}

/// The whole of a Secret as a volume, which has no name yet.
#[must_use]
pub fn whole(secret: String) -> Volume {
    in_volume(SecretVolumeSource {
        secret_name: Some(secret),
        ..Default::default()
    })
}

/// A Secret, or some of it, as a volume, which has no name yet.
#[must_use]
pub fn in_volume(secret: SecretVolumeSource) -> Volume {
    Volume {
        secret: Some(secret),
        ..Default::default()
    }
}

/// The Secret with the credentials of a results store: the user's, or a copy of the chart's.
#[must_use]
pub fn results_secret_of(id: &Identity, results: &Results) -> String {
    match &results.s3 {
        Some(s3) => s3.credentials_secret_ref.name.clone(),
        None => names::child(&id.name, id.uid.as_str(), "results"),
    }
}

/// A folder of a results store.
#[must_use]
pub fn store_at(results: &Results, settings: &Settings, prefix: String) -> StoreTarget {
    let credentials_dir = format!("{CREDENTIALS}/{RESULTS_FOLDER}");
    match (&results.s3, &settings.results) {
        (Some(s3), _) => StoreTarget {
            endpoint: s3.endpoint.trim_end_matches('/').to_owned(),
            region: s3.region.clone(),
            bucket: s3.bucket.clone(),
            prefix,
            path_style: s3.path_style,
            credentials_dir,
            ca_key: s3.ca_key.clone(),
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
            prefix,
            path_style: own.as_ref().is_none_or(|own| own.path_style),
            credentials_dir,
            ca_key: own.as_ref().and_then(|own| own.ca_key.clone()),
        },
    }
}

/// A volume at a path.
#[must_use]
pub fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(read_only),
        ..Default::default()
    }
}
