//! What the operator is configured with: plain data that the pure parts may hold. (Pure.)

use bakeoff_rules::catalogue::Catalogue;
use bakeoff_rules::validate::Offer;

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
    /// The version of the API server.
    pub kubernetes_version: String,
}

impl Settings {
    /// What experiments may ask for.
    #[must_use]
    pub fn offer(&self) -> Offer<'_> {
        Offer {
            catalogue: &self.catalogue,
            results_store: self.results.is_some(),
        }
    }
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
