//! A run without Kubernetes: a plan made from a file of workloads and the endpoints on the command
//! line.

use crate::drivers::address;
use bakeoff_crds::durability::Durability;
use bakeoff_crds::identity::Identity;
use bakeoff_crds::run::{
    Environment, RUN_SCHEMA, ResolvedBackend, ResolvedLock, RunPlan, StoreTarget,
};
use bakeoff_crds::spec::{BackendKind, ExperimentSpec};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum StandaloneError {
    /// The file is not YAML, or not of the API.
    #[error("{file}: {detail}")]
    File {
        /// The file.
        file: String,
        /// What is wrong.
        detail: String,
    },
    /// An endpoint is named twice, or malformed.
    #[error("--endpoint {0}: give each its own name, as in minio=http://127.0.0.1:9000")]
    Endpoint(String),
    /// Nobody can kill a server.
    #[error(
        "workload {0}: serverLoss needs a cluster, where the operator kills a server; leave the workload out"
    )]
    NoFaults(String),
    /// An address holds credentials, which would be printed and recorded.
    #[error(transparent)]
    Secret(#[from] address::HoldsSecret),
}

impl StandaloneError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::File { .. } | Self::NoFaults(_) => "WorkloadFileInvalid",
            Self::Endpoint(_) | Self::Secret(_) => "EndpointInvalid",
        }
    }
}

/// What stands on the command line.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// `[NAME=]URL`.
    pub endpoints: Vec<String>,
    /// `[NAME=]URL` of Prometheus metrics.
    pub metrics: Vec<String>,
    /// The bucket on each.
    pub bucket: String,
    /// The region.
    pub region: String,
    /// Whether the bucket stands in the path.
    pub path_style: bool,
    /// Whether the SHA-256 of each body is signed.
    pub sign_payload: bool,
    /// Whether the bucket may be created.
    pub create_bucket: bool,
    /// `redis://host:port` of the server that keeps the locks of races.
    pub lock: Option<String>,
}

fn named(text: &str) -> (&str, &str) {
    match text.split_once('=') {
        Some((name, url)) if !name.contains(':') => (name, url),
        _ => ("target", text),
    }
}

fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// The document of a file that is an Experiment, where there are several: a ConfigMap with a trace may stand beside it.
fn experiment_of(text: &str) -> &str {
    let mut documents = text.split("\n---\n");
    let experiment = |document: &&str| document.lines().any(|line| line == "kind: Experiment");
    documents.find(experiment).unwrap_or(text)
}

/// The spec in a file: a whole `Experiment`, its `spec`, or just `workloads` and what else the
/// user wants to set. Its backends are replaced by the endpoints.
///
/// # Errors
/// When the text is no such file.
pub fn spec(file: &str, text: &str, names: &[&str]) -> Result<ExperimentSpec, StandaloneError> {
    let refused = |detail: String| StandaloneError::File {
        file: file.to_owned(),
        detail,
    };
    let document: Value =
        serde_saphyr::from_str(experiment_of(text)).map_err(|error| refused(error.to_string()))?;
    let mut spec: Map<String, Value> = match document {
        Value::Object(mut document) => match document.remove("spec") {
            Some(Value::Object(spec)) => spec,
            Some(_) => return Err(refused("spec is no mapping".into())),
            None => document,
        },
        _ => return Err(refused("not a mapping".into())),
    };
    // The backends of an endpoint on the command line: what provisions them is out of reach here.
    let backends: Vec<Value> = names
        .iter()
        .map(|name| {
            json!({"name": name, "s3": {"endpoint": "http://standalone", "bucket": "standalone",
                   "credentialsSecretRef": {"name": "standalone"}}})
        })
        .collect();
    spec.insert("backends".into(), Value::Array(backends));
    serde_json::from_value(Value::Object(spec)).map_err(|error| refused(error.to_string()))
}

/// The backends at the endpoints, for the run `uid`.
///
/// # Errors
/// When an endpoint is named twice or malformed, or an address holds credentials.
pub fn resolved(on: &Endpoints, uid: &str) -> Result<Vec<ResolvedBackend>, StandaloneError> {
    address::check(on.endpoints.iter().chain(&on.metrics).chain(&on.lock))?;
    let named_endpoints: Vec<(&str, &str)> = on.endpoints.iter().map(|text| named(text)).collect();
    for (position, (name, url)) in named_endpoints.iter().enumerate() {
        if named_endpoints
            .iter()
            .take(position)
            .any(|(other, _)| other == name)
        {
            return Err(StandaloneError::Endpoint((*url).to_owned()));
        }
    }
    Ok(named_endpoints
        .iter()
        .map(|(name, url)| ResolvedBackend {
            name: (*name).to_owned(),
            kind: if is_postgres(url) {
                BackendKind::Postgres
            } else {
                BackendKind::S3
            },
            version: String::new(),
            image: String::new(),
            image_id: String::new(),
            image_bytes: None,
            endpoint: (*url).to_owned(),
            region: on.region.clone(),
            bucket: if is_postgres(url) {
                "postgres".to_owned()
            } else {
                on.bucket.clone()
            },
            prefix: format!("bakeoff/{uid}"),
            path_style: on.path_style,
            credentials_dir: String::new(),
            ca_key: None,
            sign_payload: on.sign_payload,
            metrics_url: on
                .metrics
                .iter()
                .map(|text| named(text))
                .find(|(of, _)| of == name)
                .map(|(_, url)| url.to_owned()),
            pods: Vec::new(),
            bytes_stored_per_byte: None,
            provisioned: on.create_bucket,
            durability: Durability::not_stated(),
            upkeep: Default::default(),
            settings: Default::default(),
            node: String::new(),
            time_to_ready_seconds: None,
            caveats: Vec::new(),
        })
        .collect())
}

/// The plan of a standalone run whose results go to the folder `out`.
///
/// # Errors
/// When the file or an endpoint is malformed.
pub fn plan(file: &str, text: &str, on: &Endpoints, out: &str) -> Result<RunPlan, StandaloneError> {
    let uid = format!("{:x}", Timestamp::now().as_millisecond());
    let backends = resolved(on, &uid)?;
    let names: Vec<&str> = backends.iter().map(|at| at.name.as_str()).collect();
    let spec = spec(file, text, &names)?;
    if let Some(workload) = spec.server_losses().next() {
        return Err(StandaloneError::NoFaults(workload.name.clone()));
    }
    Ok(RunPlan {
        schema_version: RUN_SCHEMA.to_owned(),
        experiment: Identity {
            namespace: "standalone".into(),
            name: "run".into(),
            uid: uid.into(),
        },
        spec,
        backends,
        lock: on.lock.as_ref().map(|endpoint| ResolvedLock {
            endpoint: endpoint.clone(),
            ..Default::default()
        }),
        results: StoreTarget {
            endpoint: String::new(),
            region: String::new(),
            bucket: out.to_owned(),
            prefix: String::new(),
            path_style: true,
            credentials_dir: String::new(),
            ca_key: None,
        },
        environment: Environment {
            bakeoff_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Default::default()
        },
        attempt: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(endpoints: &[&str]) -> Endpoints {
        Endpoints {
            endpoints: endpoints.iter().map(|&text| text.to_owned()).collect(),
            metrics: vec!["b=http://b:1/metrics".into()],
            bucket: "data".into(),
            region: "us-east-1".into(),
            path_style: true,
            sign_payload: false,
            create_bucket: true,
            lock: None,
        }
    }

    const WORKLOAD: &str = "workloads:\n- name: put\n  smallObjectPut:\n    objectSize: [4Ki]\n    \
                            load: {closed: {concurrency: [2]}}\ntrials: {blocks: 1}\n";

    #[test]
    fn a_loss_that_nobody_could_bring_about_is_refused() {
        let text = WORKLOAD.replace("smallObjectPut", "serverLoss");
        let refused = plan("w.yaml", &text, &endpoints(&["a=http://a:1"]), "out").unwrap_err();
        assert_eq!(refused.reason(), "WorkloadFileInvalid");
        assert!(refused.to_string().contains("workload put"), "{refused}");
    }

    #[test]
    fn a_short_file_and_a_whole_experiment_are_both_understood() {
        let plan = plan(
            "w.yaml",
            WORKLOAD,
            &endpoints(&["a=http://a:1", "b=http://b:1"]),
            "out",
        )
        .unwrap();
        assert_eq!(plan.spec.trials.blocks, 1);
        let names: Vec<_> = plan
            .spec
            .backends
            .iter()
            .map(|backend| backend.name.as_str())
            .collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(
            plan.backends[1].metrics_url.as_deref(),
            Some("http://b:1/metrics")
        );
        let whole = format!(
            "apiVersion: bakeoff.dev/v1alpha1\nkind: Experiment\nmetadata: {{name: x}}\nspec:\n{}",
            WORKLOAD
                .lines()
                .map(|line| format!("  {line}\n"))
                .collect::<String>()
        );
        assert_eq!(spec("x", &whole, &["target"]).unwrap().workloads.len(), 1);
    }

    #[test]
    fn an_experiment_is_found_beside_the_config_map_of_its_trace() {
        let text = "kind: ConfigMap\ndata: {a: 'kind: Experiment'}\n---\nkind: Experiment\nspec:\n  workloads:\n    - {name: w, \
                    replay: {trace: {configMapRef: {name: t}}, speedPercent: [100]}}\n";
        assert_eq!(spec("x", text, &["target"]).unwrap().workloads.len(), 1);
    }

    #[test]
    fn mistakes_are_named() {
        let twice = plan(
            "w",
            WORKLOAD,
            &endpoints(&["http://a:1", "http://b:1"]),
            "o",
        )
        .unwrap_err();
        assert_eq!(twice.reason(), "EndpointInvalid");
        let error = spec("w.yaml", "workloads: 3", &[]).unwrap_err();
        assert!(error.to_string().starts_with("w.yaml: "), "{error}");
    }
}
