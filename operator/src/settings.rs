//! What the operator is configured with: plain data that the pure parts may hold. (Pure.)

use bakeoff_crds::spec::{IdentityMode, Marks};
use bakeoff_rules::catalogue::{Catalogue, repository};
use bakeoff_rules::validate::Offer;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Everything the pure parts need to know of the installation.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Images of the backends.
    pub catalogue: Catalogue,
    /// The image of the load generator.
    pub loadgen_image: String,
    /// The pull policy of all images.
    pub pull_policy: String,
    /// The operator's own namespace, from which generators may be asked for their progress.
    pub namespace: String,
    /// The chart's own results store.
    pub results: Option<DefaultResults>,
    /// What all pods of experiments get.
    pub pods: PodDefaults,
    /// The version of the API server.
    pub kubernetes_version: String,
    /// The domain of the cluster's names, for example `cluster.local`, where it is known.
    pub cluster_domain: Option<String>,
}

impl Settings {
    /// The repositories of all images that experiments use.
    #[must_use]
    pub fn repositories(&self) -> BTreeSet<String> {
        let images = self.catalogue.images();
        let described = self.pods.server_images.iter().map(String::as_str);
        let images = images.chain([self.loadgen_image.as_str()]).chain(described);
        images.map(|image| repository(image).to_owned()).collect()
    }

    /// What experiments may ask for.
    #[must_use]
    pub fn offer(&self) -> Offer<'_> {
        Offer {
            catalogue: &self.catalogue,
            server_images: &self.pods.server_images,
            results_store: self.results.is_some(),
        }
    }
}

/// The domain of the cluster's names, by what a pod is told of its resolver (`/etc/resolv.conf`).
#[must_use]
pub fn cluster_domain(resolver: &str) -> Option<String> {
    let lines = resolver.lines().map(str::split_whitespace);
    let mut searched = lines
        .filter_map(|mut words| (words.next() == Some("search")).then_some(words))
        .flatten();
    let domain = searched.find_map(|domain| domain.strip_prefix("svc."))?;
    Some(domain.trim_end_matches('.').to_owned())
}

/// What the installation gives to all pods of experiments. The chart writes it as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodDefaults {
    /// Annotations.
    pub annotations: Marks,
    /// Labels.
    pub labels: Marks,
    /// Secrets with credentials of a registry, in the namespace of the experiment.
    pub image_pull_secrets: Vec<String>,
    /// Who chooses user ids.
    pub identity: IdentityMode,
    /// The namespace of what scrapes the metrics of generators; empty: none.
    pub monitoring_namespace: String,
    /// Images that experiments may describe as servers, or repositories of which they may by digest.
    pub server_images: Vec<String>,
}

/// The chart's own results store. Its credentials are copied into a Secret beside each experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultResults {
    /// `http://host:port`.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// Whether the bucket stands in the path.
    pub path_style: bool,
    /// The Secret with its credentials, in the operator's namespace.
    pub secret: String,
    /// The key of the Secret with the authorities that are trusted beside the public ones.
    pub ca_key: Option<String>,
}

/// The version of the operator, as it stands in manifests and metrics.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// An installation as the tests have it.
#[cfg(test)]
#[must_use]
pub fn sample() -> Settings {
    Settings {
        catalogue: Catalogue::new([
            ("minio.R1".to_owned(), "minio:R1".to_owned()),
            ("seaweedfs.4.48".to_owned(), "weed:4.48".to_owned()),
            ("postgres.18.4".to_owned(), "postgres:18.4".to_owned()),
            ("redis.7.0.15".to_owned(), "redis:7.0.15".to_owned()),
        ]),
        loadgen_image: "loadgen:1".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        namespace: "bakeoff-system".to_owned(),
        results: Some(DefaultResults {
            endpoint: "http://results:8333".to_owned(),
            region: "us-east-1".to_owned(),
            bucket: "results".to_owned(),
            path_style: true,
            secret: "results".to_owned(),
            ca_key: None,
        }),
        pods: Default::default(),
        kubernetes_version: "v1.35.4".to_owned(),
        cluster_domain: Some("cluster.local".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::cluster_domain;

    #[test]
    fn the_domain_of_the_cluster_stands_among_what_is_searched() {
        let of = |text: &str| cluster_domain(text);
        let usual = "nameserver 10.0.0.10\nsearch lab.svc.cluster.local svc.cluster.local cluster.local example.com\noptions ndots:5\n";
        assert_eq!(of(usual).as_deref(), Some("cluster.local"));
        assert_eq!(
            of("search a.svc.k8s.corp. svc.k8s.corp.").as_deref(),
            Some("k8s.corp")
        );
        assert_eq!(of("search example.com\nnameserver 1.1.1.1\n"), None);
        assert_eq!(of(""), None);
    }
}
