//! Experiments as they are made from a template. (Pure.)

use crate::owner;
use bakeoff_crds::Experiment;
use bakeoff_crds::experiment_schedule::ExperimentTemplate;
use bakeoff_crds::identity::Identity;
use kube::Resource;
use kube::core::ObjectMeta;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// How many bytes of a hash are kept: enough to tell two templates of one owner apart.
const KEPT: usize = 8;

/// An experiment of this name, owned by a `K`.
#[must_use]
pub fn run<K>(owner: &Identity, template: &ExperimentTemplate, name: &str) -> Experiment
where
    K: Resource<DynamicType = ()>,
{
    let marks = template.metadata.clone().unwrap_or_default();
    Experiment {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(owner.namespace.to_string()),
            labels: Some(marks.labels),
            annotations: Some(marks.annotations),
            owner_references: Some(vec![owner::reference::<K>(owner)]),
            ..Default::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// What is asked of the API server to learn whether it would take a template.
#[must_use]
pub fn trial<K>(owner: &Identity, template: &ExperimentTemplate) -> Experiment
where
    K: Resource<DynamicType = ()>,
{
    let mut run = run::<K>(owner, template, "");
    run.metadata.name = None;
    run.metadata.generate_name = Some(format!("{}-", owner.name));
    run
}

/// A hash of templates: whether they have changed.
#[must_use]
pub fn hash(of: &impl Serialize) -> String {
    // Templates have no maps with keys that are no text, and nothing else can fail.
    let text = serde_json::to_vec(of).unwrap_or_default();
    let mut hex = String::with_capacity(2 * KEPT);
    for byte in Sha256::digest(text).iter().take(KEPT) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
