//! The Jobs of the load generator: calibrate, run, report, clean up. (Pure.)
//!
//! `backoffLimit: 0` and `restartPolicy: Never` everywhere: a retry is a new attempt that the schedule
//! knows of, under a name of its own.

use super::server_names::credentials_name;
use super::server_pod::on_same_host;
use super::{metadata, selector};
use crate::children::Children;
use crate::parts::loadgen_job::{
    Mounts, PLAN, PLAN_FILE, RESULTS_FOLDER, Shape, in_volume, mount, of_loadgen,
    results_secret_of, whole,
};
use crate::parts::objects::Role;
use crate::settings::Settings;
use bakeoff_analysis::index::sha256;
use bakeoff_crds::names;
use bakeoff_crds::spec::{External, PostgresUrlBackend, Resources};
use bakeoff_rules::validate::Remains;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    Affinity, ConfigMapVolumeSource, ContainerPort, KeyToPath, NodeAffinity, NodeSelector,
    NodeSelectorRequirement, NodeSelectorTerm, PodAntiAffinity, PodSpec, ProjectedVolumeSource,
    SecretProjection, SecretVolumeSource, Service, ServicePort, ServiceSpec, Volume,
    VolumeProjection, WeightedPodAffinityTerm,
};
use std::collections::BTreeMap;

/// Where traces are mounted, each in a folder that is called as its ConfigMap.
pub const TRACES: &str = "/etc/bakeoff/traces";
/// How the experiment ends, for the report, beside it.
pub const ENDING_FILE: &str = "ending.json";

/// The Job of a generator attempt.
#[must_use]
pub fn run_name(of: &Remains, attempt: i32) -> String {
    of.child(&format!("run-{attempt}"))
}

/// The attempt of the newest generator Job.
#[must_use]
pub fn latest_attempt(of: &Remains, children: &Children) -> Option<i32> {
    (0..=of.spec.generators.backoff_limit)
        .rev()
        .find(|attempt| children.job(&run_name(of, *attempt)).is_some())
}

/// The Job of a report attempt.
#[must_use]
pub fn report_name(of: &Remains, attempt: i32) -> String {
    of.child(&format!("report-{attempt}"))
}

/// The Job that removes test objects from external buckets and schemas from external databases.
#[must_use]
pub fn cleanup_name(of: &Remains) -> String {
    of.child("cleanup")
}

/// The Job that calibrates the node of this name. Nodes come and go while others are looked at, so that a position
/// among them says nothing; their names are too long to stand in that of a Job.
#[must_use]
pub fn calibration_name(of: &Remains, node: &str) -> String {
    let key: String = sha256(node.as_bytes()).chars().take(10).collect();
    of.child(&format!("calibrate-{key}"))
}

/// The ConfigMap with the plan of a Job.
#[must_use]
pub fn run_plan_name(job: &str) -> String {
    job.to_owned()
}

/// The headless Service by which generators find index 0.
#[must_use]
pub fn generator_service(of: &Remains) -> Service {
    Service {
        metadata: metadata(of, of.child("generators"), Role::Generator),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            selector: Some(selector(of, Role::Generator)),
            // The barrier is asked while pods start, before they are ready.
            publish_not_ready_addresses: Some(true),
            ports: Some(vec![ServicePort {
                name: Some("http".to_owned()),
                port: names::GENERATOR_PORT,
                ..Default::default()
            }]),
            ..Default::default()
        }),
        status: None,
    }
}

struct Own<'a> {
    name: String,
    role: Role,
    arguments: Vec<String>,
    resources: Resources,
    replicas: i32,
    node: Option<&'a str>,
    plan: bool,
    grace_seconds: i64,
}

/// Runs the trials, resuming after those that are durable.
#[must_use]
pub fn run(of: &Remains, settings: &Settings, attempt: i32) -> Job {
    let name = run_name(of, attempt);
    let barrier = format!(
        "http://{name}-0.{}.{}.svc:{}",
        of.child("generators"),
        of.id.namespace,
        names::GENERATOR_PORT
    );
    let mut job = job(
        of,
        settings,
        Own {
            name,
            role: Role::Generator,
            arguments: [
                "run",
                "--plan",
                &format!("{PLAN}/{PLAN_FILE}"),
                "--barrier",
                &barrier,
            ]
            .map(str::to_owned)
            .to_vec(),
            resources: of.spec.generators.resources.clone(),
            replicas: of.spec.generators.replicas,
            node: None,
            plan: true,
            grace_seconds: 30,
        },
    );
    if let Some(pod) = job
        .spec
        .as_mut()
        .and_then(|spec| spec.template.spec.as_mut())
    {
        pod.subdomain = Some(of.child("generators"));
        pod.affinity = Some(apart_from_backends(of));
        mount_traces(of, pod);
        for container in &mut pod.containers {
            container.ports = Some(vec![ContainerPort {
                name: Some("http".to_owned()),
                container_port: names::GENERATOR_PORT,
                ..Default::default()
            }]);
        }
    }
    job
}

/// Mounts the traces that generators replay, and says where they are.
fn mount_traces(of: &Remains, pod: &mut PodSpec) {
    for (position, map) in of.trace_maps().into_iter().enumerate() {
        let name = format!("trace-{position}");
        for container in &mut pod.containers {
            let folder = mount(&name, &format!("{TRACES}/{map}"), true);
            container.volume_mounts.get_or_insert_default().push(folder);
            if position == 0 {
                let said = ["--traces", TRACES].map(str::to_owned);
                container.args.get_or_insert_default().extend(said);
            }
        }
        pod.volumes.get_or_insert_default().push(Volume {
            name,
            config_map: Some(ConfigMapVolumeSource {
                name: map.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        });
    }
}

/// Looks at one node.
#[must_use]
pub fn calibrate(of: &Remains, settings: &Settings, node: &str) -> Job {
    job(
        of,
        settings,
        Own {
            name: calibration_name(of, node),
            role: Role::Calibration,
            arguments: ["calibrate", "--directory", "/tmp"]
                .map(str::to_owned)
                .to_vec(),
            resources: of.spec.generators.resources.clone(),
            replicas: 1,
            node: Some(node),
            plan: false,
            grace_seconds: 1,
        },
    )
}

/// Merges, decides, writes summary, report and index.
#[must_use]
pub fn report(of: &Remains, settings: &Settings, attempt: i32) -> Job {
    job(
        of,
        settings,
        Own {
            name: report_name(of, attempt),
            role: Role::Report,
            arguments: [
                "report",
                "--plan",
                &format!("{PLAN}/{PLAN_FILE}"),
                "--ending",
                &format!("{PLAN}/{ENDING_FILE}"),
            ]
            .map(str::to_owned)
            .to_vec(),
            resources: of.spec.generators.resources.clone(),
            replicas: 1,
            node: None,
            plan: true,
            grace_seconds: 5,
        },
    )
}

/// Removes test objects from external buckets and schemas from external databases.
#[must_use]
pub fn cleanup(of: &Remains, settings: &Settings) -> Job {
    job(
        of,
        settings,
        Own {
            name: cleanup_name(of),
            role: Role::Cleanup,
            arguments: ["cleanup", "--plan", &format!("{PLAN}/{PLAN_FILE}")]
                .map(str::to_owned)
                .to_vec(),
            resources: Resources {
                cpu: "100m".into(),
                memory: "128Mi".into(),
            },
            replicas: 1,
            node: None,
            plan: true,
            grace_seconds: 5,
        },
    )
}

fn job(of: &Remains, settings: &Settings, own: Own<'_>) -> Job {
    let mounts = own.plan.then(|| Mounts {
        plan: run_plan_name(&own.name),
        credentials: credential_folders(of),
    });
    let shape = Shape {
        metadata: metadata(of, own.name, own.role),
        arguments: own.arguments,
        resources: own.resources,
        replicas: own.replicas,
        grace_seconds: own.grace_seconds,
        mounts,
    };
    let mut job = of_loadgen(&of.spec.equipment, settings, shape);
    let spec = job.spec.as_mut();
    if let Some(pod) = spec.and_then(|spec| spec.template.spec.as_mut()) {
        pod.affinity = own.node.map(on_node);
    }
    job
}

/// The Secrets that are mounted into generators, by folder; the volumes have no names yet.
#[must_use]
pub fn credential_folders(of: &Remains) -> BTreeMap<String, Volume> {
    let mut folders: BTreeMap<String, Volume> = BTreeMap::new();
    for server in of.servers() {
        let source = whole(credentials_name(of, server));
        folders.insert(server.as_str().to_owned(), source);
    }
    for (name, external) in of.externals() {
        let source = match &external {
            External::S3(s3) => whole(s3.credentials_secret_ref.name.clone()),
            External::Postgres(postgres) => of_url(postgres),
        };
        folders.insert(name.to_owned(), source);
    }
    folders.insert(RESULTS_FOLDER.to_owned(), whole(results_secret(of)));
    folders
}

/// The URL and the authorities alone, under names that do not depend on the user's: what else the Secret holds is
/// nothing to the generators. Where the authorities are in another Secret, one folder is made of both.
fn of_url(postgres: &PostgresUrlBackend) -> Volume {
    let item = |key: &String, path: &str| KeyToPath {
        key: key.clone(),
        path: path.to_owned(),
        mode: None,
    };
    let url = item(&postgres.secret_ref.key, names::FILE_URL);
    let Some(apart) = &postgres.ca_secret_ref else {
        let authorities = postgres.ca_key.iter().map(|key| item(key, names::FILE_CA));
        return in_volume(SecretVolumeSource {
            secret_name: Some(postgres.secret_ref.name.clone()),
            items: Some([url].into_iter().chain(authorities).collect()),
            ..Default::default()
        });
    };
    let part = |secret: &String, item: KeyToPath| VolumeProjection {
        secret: Some(SecretProjection {
            name: secret.clone(),
            items: Some(vec![item]),
            ..Default::default()
        }),
        ..Default::default()
    };
    let sources = vec![
        part(&postgres.secret_ref.name, url),
        part(&apart.name, item(&apart.key, names::FILE_CA)),
    ];
    Volume {
        projected: Some(ProjectedVolumeSource {
            sources: Some(sources),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The Secret with the credentials of the results store: the user's, or a copy of the chart's.
#[must_use]
pub fn results_secret(of: &Remains) -> String {
    results_secret_of(&of.id, &of.spec.results)
}

/// On the node of this name, which its label `kubernetes.io/hostname` need not tell.
fn on_node(node: &str) -> Affinity {
    let name = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                node_selector_terms: vec![NodeSelectorTerm {
                    match_fields: Some(vec![name]),
                    ..Default::default()
                }],
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn apart_from_backends(of: &Remains) -> Affinity {
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                WeightedPodAffinityTerm {
                    weight: 100,
                    pod_affinity_term: on_same_host(selector(of, Role::Backend)),
                },
            ]),
            ..Default::default()
        }),
        ..Default::default()
    }
}
