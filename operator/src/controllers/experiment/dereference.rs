//! Collects what a decision needs: from the caches, and by asking. (I/O: a client is required.)

use super::build::{jobs, server_names};
use super::context::Context;
use super::facts::{Observed, image_sizes, node_facts};
use super::plan::heard;
use crate::error::{Error, api};
use bakeoff_crds::Experiment;
use bakeoff_rules::pool::{Machines, Wanted};
use bakeoff_rules::queue::Pool;
use bakeoff_rules::validate::{Absent, AbsentKind, Remains};
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::Api;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that a decision about this experiment needs.
///
/// # Errors
/// A Secret or a ConfigMap could not be read.
pub async fn dereference(
    experiment: &Experiment,
    remains: &Remains,
    ctx: &Context,
) -> Result<Observed, Error> {
    let id = &remains.id;
    let status = experiment.status.as_ref();
    if status.is_some_and(|status| status.completion_time.is_some()) {
        return Ok(Observed {
            now: Timestamp::now(),
            children: ctx.caches.children::<Experiment>(id),
            ..Default::default()
        });
    }
    // What takes time comes first: all else is of one instant, and the clock is read after what it is to date. A start that was
    // dated before its pool was looked at would lie within the run of another.
    let (absent, secrets, config_maps) = tokio::try_join!(
        absent(experiment, remains, ctx),
        secrets(experiment, remains, ctx),
        config_maps(experiment, remains, ctx),
    )?;
    let children = ctx.caches.children::<Experiment>(id);
    let made = ctx.writer.unseen(&id.uid, &children);
    let ended = ctx.ended(&id.uid, &children);
    let machines = ctx.machines();
    let wanted = Wanted::of(&remains.spec.equipment);
    let open = wanted.open(&machines);
    let mut members = ctx.caches.nodes.state();
    members.retain(|node| open.contains(&node.name_any()));
    let image_bytes = members.iter().flat_map(|node| image_sizes(node)).collect();
    let mut nodes: Vec<_> = members.iter().filter_map(|node| node_facts(node)).collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let measures =
        status.is_some_and(|status| status.start_time.is_some() && status.ending.is_none());
    let progress = if measures {
        let heard = heard(
            status.and_then(|status| status.fault.as_ref()),
            Timestamp::now(),
        );
        ctx.answers.latest(remains, &children, &heard, &ctx.wake)
    } else {
        None
    };
    let told = ctx.warnings.latest(id, &children, &ctx.client, &ctx.wake);
    let pool = free(experiment, remains, &machines, ctx);
    Ok(Observed {
        now: Timestamp::now(),
        nodes,
        shut: wanted.shut(&machines),
        absent,
        image_bytes,
        ended,
        down: ctx.down(remains, &children),
        failing: ctx.failing(&id.uid, &children),
        refused: ctx.writer.refused(&id.uid),
        told,
        made,
        secrets,
        config_maps,
        pool,
        progress,
        children,
    })
}

/// Whether its pool is free for it.
fn free(experiment: &Experiment, remains: &Remains, machines: &Machines, ctx: &Context) -> Pool {
    let status = experiment.status.as_ref();
    let started = status.is_some_and(|status| status.start_time.is_some());
    match ctx.pool(experiment, &ctx.seats.admitted(), machines) {
        // A deleted experiment gives its pool up before its pods have ended.
        Pool::Free if !started => {
            let nodes = Wanted::of(&remains.spec.equipment).pool(machines);
            match ctx.caches.stranger::<Experiment>(&remains.id.uid, &nodes) {
                Some(by) => Pool::Taken { by, ahead: 1 },
                None => Pool::Free,
            }
        }
        pool => pool,
    }
}

/// What the spec refers to by name among the objects of the cluster and is not there. Asked for before the start alone; an
/// operator that may not read them learns it from the pods.
async fn absent(
    experiment: &Experiment,
    remains: &Remains,
    ctx: &Context,
) -> Result<Vec<Absent>, Error> {
    let status = experiment.status.as_ref();
    if status.is_some_and(|status| status.start_time.is_some() || status.ending.is_some()) {
        return Ok(Vec::new());
    }
    let equipment = &remains.spec.equipment;
    let storage = equipment.storage.storage_class_name.as_ref();
    // Servers alone have volumes.
    let storage = storage.filter(|name| !name.is_empty() && !remains.servers().is_empty());
    let priority = equipment.priority_class_name.as_ref();
    let (storage, priority) = tokio::try_join!(
        missing::<StorageClass>(ctx, AbsentKind::StorageClass, storage),
        missing::<PriorityClass>(ctx, AbsentKind::PriorityClass, priority),
    )?;
    Ok(storage.into_iter().chain(priority).collect())
}

/// An object of the cluster that is asked for and not there.
async fn missing<K>(
    ctx: &Context,
    kind: AbsentKind,
    name: Option<&String>,
) -> Result<Option<Absent>, Error>
where
    K: Resource<DynamicType = ()>
        + k8s_openapi::Resource
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let Some(name) = name else {
        return Ok(None);
    };
    match Api::<K>::all(ctx.client.clone())
        .get_metadata_opt(name)
        .await
    {
        Ok(None) => Ok(Some(Absent {
            kind,
            name: name.clone(),
        })),
        Ok(Some(_)) => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
        Err(error) => Err(api(format!("read {} {name}", kind.as_str()))(error)),
    }
}

/// The keys of the Secrets that matter now. The operator may read Secrets but not list or watch them: it asks for
/// those of the user before the start and for its own when they are to go or are needed at the end, and never in between.
async fn secrets(
    experiment: &Experiment,
    remains: &Remains,
    ctx: &Context,
) -> Result<BTreeMap<String, BTreeSet<String>>, Error> {
    let status = experiment.status.as_ref();
    let started = status.is_some_and(|status| status.start_time.is_some());
    let ending = status.is_some_and(|status| status.ending.is_some());
    let deleted = experiment.metadata.deletion_timestamp.is_some();
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    if !started && !ending && !deleted {
        wanted.extend(remains.user_secrets().into_iter().map(|(name, _)| name));
    } else if ending || deleted || remains.spec.suspend {
        let servers = remains.servers().into_iter();
        wanted.extend(servers.map(|server| server_names::credentials_name(remains, server)));
        if remains.spec.results.s3.is_none() {
            wanted.insert(jobs::results_secret(remains));
        }
    }
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), remains.id.namespace.as_str());
    let secrets = &secrets;
    let reads = wanted.into_iter().map(|name| async move {
        let read = secrets.get_opt(&name).await;
        let secret = read.map_err(api(format!("read Secret {name}")))?;
        Ok(secret.map(|secret| (name, secret.data.unwrap_or_default().into_keys().collect())))
    });
    Ok(try_join_all(reads).await?.into_iter().flatten().collect())
}

/// The keys of the ConfigMaps with traces, which are the user's; asked for before the start alone.
async fn config_maps(
    experiment: &Experiment,
    remains: &Remains,
    ctx: &Context,
) -> Result<BTreeMap<String, BTreeSet<String>>, Error> {
    let status = experiment.status.as_ref();
    if status.is_some_and(|status| status.start_time.is_some() || status.ending.is_some()) {
        return Ok(BTreeMap::new());
    }
    let maps: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), remains.id.namespace.as_str());
    let maps = &maps;
    let reads = remains.trace_maps().into_iter().map(|name| async move {
        let read = maps.get_opt(name).await;
        let map = read.map_err(api(format!("read ConfigMap {name}")))?;
        Ok(map.map(|map| {
            let text = map.data.unwrap_or_default().into_keys();
            let binary = map.binary_data.unwrap_or_default().into_keys();
            (name.to_owned(), text.chain(binary).collect())
        }))
    });
    Ok(try_join_all(reads).await?.into_iter().flatten().collect())
}
