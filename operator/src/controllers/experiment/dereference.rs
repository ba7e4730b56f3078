//! Collects what a decision needs: from the caches, and by asking. (I/O: a client is required.)

use super::build::{backend, jobs};
use super::context::Context;
use super::facts::{Observed, image_sizes, node_facts};
use crate::error::{Error, api};
use bakeoff_crds::Experiment;
use bakeoff_rules::queue::{self, NodeLabels, Pool};
use bakeoff_rules::validate::Remains;
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::Api;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that a decision about this experiment needs.
///
/// # Errors
/// A Secret could not be read.
pub async fn dereference(
    experiment: &Experiment,
    remains: &Remains,
    ctx: &Context,
) -> Result<Observed, Error> {
    let id = &remains.id;
    let children = ctx.caches.children::<Experiment>(id);
    let status = experiment.status.as_ref();
    if status.is_some_and(|status| status.completion_time.is_some()) {
        return Ok(Observed {
            now: Timestamp::now(),
            children,
            ..Default::default()
        });
    }
    let made = ctx.writer.unseen(&id.uid, &children);
    let ended = ctx.ended(&id.uid, &children);
    let labels = ctx.node_labels();
    let pool = queue::pool(&remains.spec.equipment.node_selector, &labels);
    let mut members = ctx.caches.nodes.state();
    members.retain(|node| pool.contains(&node.name_any()));
    let image_bytes = members.iter().flat_map(|node| image_sizes(node)).collect();
    let mut nodes: Vec<_> = members.iter().filter_map(|node| node_facts(node)).collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let measures =
        status.is_some_and(|status| status.start_time.is_some() && status.ending.is_none());
    let progress = if measures {
        ctx.answers.latest(remains, &children, &ctx.wake)
    } else {
        None
    };
    let told = ctx.warnings.latest(id, &children, &ctx.client, &ctx.wake);
    Ok(Observed {
        now: Timestamp::now(),
        nodes,
        image_bytes,
        ended,
        refused: ctx.writer.refused(&id.uid),
        told,
        made,
        secrets: secrets(experiment, remains, ctx).await?,
        pool: free(experiment, remains, &labels, &pool, ctx),
        progress,
        children,
    })
}

/// Whether its pool is free for it.
fn free(
    experiment: &Experiment,
    remains: &Remains,
    labels: &NodeLabels,
    nodes: &BTreeSet<String>,
    ctx: &Context,
) -> Pool {
    let status = experiment.status.as_ref();
    let started = status.is_some_and(|status| status.start_time.is_some());
    match ctx.pool(experiment, &ctx.seats.admitted(), labels) {
        // A deleted experiment gives its pool up before its pods have ended.
        Pool::Free if !started => match ctx.caches.stranger::<Experiment>(&remains.id.uid, nodes) {
            Some(by) => Pool::Taken { by, ahead: 1 },
            None => Pool::Free,
        },
        pool => pool,
    }
}

/// The keys of the Secrets that matter now. The operator may read Secrets but not list or watch them: it asks for
/// those of the user before the start and for its own when they are to go, and never in between.
async fn secrets(
    experiment: &Experiment,
    remains: &Remains,
    ctx: &Context,
) -> Result<BTreeMap<String, BTreeSet<String>>, Error> {
    let status = experiment.status.as_ref();
    let started = status.is_some_and(|status| status.start_time.is_some());
    let ending = status.is_some_and(|status| status.ending.is_some());
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    if !started && !ending {
        wanted.extend(remains.user_secrets().into_iter().map(|(name, _)| name));
    } else if ending || remains.spec.suspend {
        let servers = remains.servers().into_iter();
        wanted.extend(servers.map(|server| backend::credentials_name(remains, server)));
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
