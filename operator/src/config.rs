//! All flags and environment variables, read once.

use crate::settings::{DefaultResults, Settings, cluster_domain};
use anyhow::Context as _;
use bakeoff_rules::catalogue::Catalogue;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where a pod is told of its resolver.
const RESOLVER: &str = "/etc/resolv.conf";

/// `operator run`
#[derive(Debug, clap::Args)]
pub struct Config {
    /// The operator's own namespace.
    #[arg(long, env = "POD_NAMESPACE", default_value = "bakeoff-system")]
    pub namespace: String,
    /// The name under which this replica holds the lease.
    #[arg(long, env = "POD_NAME", default_value = "operator")]
    pub identity: String,
    /// The only namespace whose experiments are seen to; empty: all.
    #[arg(long, env = "WATCH_NAMESPACE", default_value = "")]
    pub watch_namespace: String,
    /// A folder with one file for each known version, named `minio.<version>`, holding the image.
    #[arg(long, env = "CATALOGUE_DIR", default_value = "/etc/bakeoff/catalogue")]
    pub catalogue_dir: PathBuf,
    /// The image of the load generator.
    #[arg(long, env = "LOADGEN_IMAGE")]
    pub loadgen_image: String,
    /// The pull policy of all images.
    #[arg(long, env = "PULL_POLICY", default_value = "IfNotPresent")]
    pub pull_policy: String,
    /// What all pods of experiments get, as JSON.
    #[arg(long, env = "EXPERIMENT_PODS", default_value = "{}")]
    pub experiment_pods: String,
    /// The endpoint of the chart's results store; empty: none.
    #[arg(long, env = "RESULTS_ENDPOINT", default_value = "")]
    pub results_endpoint: String,
    /// Its region.
    #[arg(long, env = "RESULTS_REGION", default_value = "us-east-1")]
    pub results_region: String,
    /// Its bucket.
    #[arg(long, env = "RESULTS_BUCKET", default_value = "bakeoff-results")]
    pub results_bucket: String,
    /// Whether the bucket stands in the host name and not in the path.
    #[arg(long, env = "RESULTS_VIRTUAL_HOST")]
    pub results_virtual_host: bool,
    /// The key of the Secret below with the authorities that are trusted beside the public ones; empty: none.
    #[arg(long, env = "RESULTS_CA_KEY", default_value = "")]
    pub results_ca_key: String,
    /// The Secret with its credentials, in the operator's namespace.
    #[arg(long, env = "RESULTS_SECRET", default_value = "bakeoff-results")]
    pub results_secret: String,
    /// The Lease that elects the leader.
    #[arg(long, env = "LEASE_NAME", default_value = "bakeoff-operator")]
    pub lease_name: String,
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, env = "HTTP_ADDRESS", default_value = "[::]:8080")]
    pub http_address: SocketAddr,
}

impl Config {
    /// The only namespace whose experiments are seen to, if there is one.
    #[must_use]
    pub fn watched_namespace(&self) -> Option<&str> {
        (!self.watch_namespace.is_empty()).then_some(self.watch_namespace.as_str())
    }

    /// The part that the decisions need.
    ///
    /// # Errors
    /// The catalogue cannot be read or is empty; what pods get is not what it should be.
    pub fn settings(&self, kubernetes_version: String) -> anyhow::Result<Settings> {
        let catalogue = Catalogue::new(read_catalogue(&self.catalogue_dir)?);
        let results = (!self.results_endpoint.is_empty()).then(|| DefaultResults {
            endpoint: self.results_endpoint.trim_end_matches('/').to_owned(),
            region: self.results_region.clone(),
            bucket: self.results_bucket.clone(),
            path_style: !self.results_virtual_host,
            secret: self.results_secret.clone(),
            ca_key: (!self.results_ca_key.is_empty()).then(|| self.results_ca_key.clone()),
        });
        Ok(Settings {
            catalogue,
            loadgen_image: self.loadgen_image.clone(),
            pull_policy: self.pull_policy.clone(),
            namespace: self.namespace.clone(),
            results,
            pods: serde_json::from_str(&self.experiment_pods)
                .context("EXPERIMENT_PODS cannot be read")?,
            kubernetes_version,
            // Outside a cluster there is none.
            cluster_domain: cluster_domain(&std::fs::read_to_string(RESOLVER).unwrap_or_default()),
        })
    }
}

fn read_catalogue(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let unreadable = || format!("the catalogue {} cannot be read", folder.display());
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        // A mounted ConfigMap also holds folders and links of its own, which start with two dots.
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if !name.starts_with("..") && path.is_file() {
            entries.push((
                name.to_owned(),
                std::fs::read_to_string(&path).with_context(unreadable)?,
            ));
        }
    }
    anyhow::ensure!(
        !entries.is_empty(),
        "the catalogue {} is empty",
        folder.display()
    );
    Ok(entries)
}
