//! What backends and generators get of the machines.

use super::pods::{Marks, PodIdentity, SecretName, Toleration};
use crate::quantity::Quantity;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What every provisioned backend gets. Requests equal limits, so the pods are of class Guaranteed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Equipment {
    /// CPU and memory of a backend, all of its pods together. Default one core and 2Gi.
    #[serde(default = "Resources::backend_default")]
    pub resources: Resources,
    /// The storage of a backend, all of its volumes together.
    #[serde(default)]
    pub storage: Storage,
    /// The node pool: backends and generators run only on nodes with all of these labels. Empty: any node.
    /// One experiment at a time measures on a pool.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.size() <= 8").message("nodeSelector may have at most 8 labels"))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that backends and generators tolerate. A node with another one (`NoSchedule`, `NoExecute`) is not of the pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// The PriorityClass of the experiment's pods: nothing of a lower one takes their place while they measure. Default: the
    /// cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub priority_class_name: Option<String>,
    /// Secrets of the namespace with credentials of a registry, beside those of the chart (`experiments.imagePullSecrets`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub image_pull_secrets: Vec<SecretName>,
    /// Annotations of the experiment's pods. By default service meshes are told to leave them alone: a proxy before a
    /// backend would be measured as well.
    #[serde(default, skip_serializing_if = "Marks::is_empty")]
    #[x_kube(validation = rules::marks_are_few("podAnnotations"))]
    pub pod_annotations: Marks,
    /// Labels of the experiment's pods, beside those by which Bakeoff finds them.
    #[serde(default, skip_serializing_if = "Marks::is_empty")]
    #[x_kube(validation = rules::marks_are_few("podLabels"))]
    #[x_kube(validation = rules::labels_are_not_ours())]
    pub pod_labels: Marks,
    /// Under which user ids the pods run. Default: as the chart says (`securityContext.mode`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<PodIdentity>,
}

mod rules {
    use crate::names;
    use kube::core::Rule;

    /// As many as a person reads.
    pub fn marks_are_few(field: &str) -> Rule {
        Rule::new("self.size() <= 16").message(&*format!("{field} may have at most 16 entries"))
    }

    /// By name, and not by prefix: keys have no bound of length by which the API server could tell what looking into each
    /// would cost.
    pub fn labels_are_not_ours() -> Rule {
        let ours: Vec<String> = names::POD_LABELS
            .iter()
            .map(|label| format!("'{label}'"))
            .collect();
        let ours = ours.join(", ");
        Rule::new(format!("[{ours}].all(label, !(label in self))")).message(&*format!(
            "podLabels may not set {}: by these Bakeoff finds its pods",
            names::POD_LABELS.join(", ")
        ))
    }
}

/// CPU and memory, used as request and as limit alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("isQuantity(self.cpu) && quantity(self.cpu).compareTo(quantity('50m')) >= 0 && quantity(self.cpu).compareTo(quantity('256')) <= 0").message("cpu must be between 50m and 256 cores"))]
#[x_kube(validation = Rule::new("isQuantity(self.memory) && quantity(self.memory).compareTo(quantity('32Mi')) >= 0 && quantity(self.memory).compareTo(quantity('4Ti')) <= 0").message("memory must be between 32Mi and 4Ti"))]
pub struct Resources {
    /// Cores, from `50m` to `256`. Whole cores let the static CPU manager pin them.
    pub cpu: Quantity,
    /// Bytes, from `32Mi` to `4Ti`.
    pub memory: Quantity,
}

impl Default for Resources {
    fn default() -> Self {
        Self::backend_default()
    }
}

impl Resources {
    /// One core and 2Gi.
    #[must_use]
    pub fn backend_default() -> Self {
        Self {
            cpu: "1".into(),
            memory: "2Gi".into(),
        }
    }

    /// One core and 512Mi.
    #[must_use]
    pub fn generator_default() -> Self {
        Self {
            cpu: "1".into(),
            memory: "512Mi".into(),
        }
    }
}

/// The storage of a backend, all of its volumes together; it is deleted with the backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("isQuantity(self.size) && quantity(self.size).compareTo(quantity('64Mi')) >= 0 && quantity(self.size).compareTo(quantity('64Ti')) <= 0").message("storage size must be between 64Mi and 64Ti"))]
pub struct Storage {
    /// Bytes, from `64Mi` to `64Ti`. Default 10Gi.
    #[serde(default = "default_storage_size")]
    pub size: Quantity,
    /// The StorageClass. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub storage_class_name: Option<String>,
}

fn default_storage_size() -> Quantity {
    "10Gi".into()
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            size: default_storage_size(),
            storage_class_name: None,
        }
    }
}
