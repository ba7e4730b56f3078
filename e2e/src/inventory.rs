//! What there is in a namespace. (I/O: asks the API server.)

use k8s_openapi::api::core::v1::PersistentVolume;
use kube::api::{Api, DynamicObject, ListParams, PartialObjectMeta};
use kube::discovery::{ApiResource, Discovery, Scope, verbs};
use kube::{Client, ResourceExt};
use std::collections::BTreeSet;
use tokio::sync::OnceCell;

static KINDS: OnceCell<Vec<ApiResource>> = OnceCell::const_new();

/// The kinds of namespaced objects that can be listed, but for experiments and events.
async fn kinds(client: &Client) -> anyhow::Result<&'static [ApiResource]> {
    let kinds = KINDS.get_or_try_init(async || {
        let found = Discovery::new(client.clone()).run().await?;
        let mut kinds = Vec::new();
        for group in found.groups() {
            for (kind, can) in group.recommended_resources() {
                let counts = kind.kind != "Event"
                    && kind.kind != "Experiment"
                    && !kind.group.contains("metrics.k8s.io");
                if counts && can.scope == Scope::Namespaced && can.supports_operation(verbs::LIST) {
                    kinds.push(kind);
                }
            }
        }
        anyhow::Ok(kinds)
    });
    Ok(kinds.await?)
}

/// Every object in a namespace, of every kind that can be listed, but for experiments and events; and the volumes that
/// are bound to it. They are called as `kubectl get -o name` does.
pub(crate) async fn of(client: &Client, namespace: &str) -> anyhow::Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for kind in kinds(client).await? {
        type Any = PartialObjectMeta<DynamicObject>;
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, kind);
        let group = if kind.group.is_empty() { "" } else { "." };
        let group = format!("{group}{}", kind.group);
        let found: Vec<Any> = api.list_metadata(&ListParams::default()).await?.items;
        let called = |object: Any| {
            let (kind, name) = (kind.kind.to_lowercase(), object.name_any());
            format!("{kind}{group}/{name}")
        };
        all.extend(found.into_iter().map(called));
    }
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    for volume in volumes.list(&ListParams::default()).await? {
        let claim = volume
            .spec
            .as_ref()
            .and_then(|spec| spec.claim_ref.as_ref());
        if claim.and_then(|claim| claim.namespace.as_deref()) == Some(namespace) {
            all.insert(format!("persistentvolume/{}", volume.name_any()));
        }
    }
    Ok(all)
}
