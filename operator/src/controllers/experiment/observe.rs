//! Collects what a decision needs. (I/O.)

use crate::context::Context;
use crate::controllers::experiment::build::{backend, jobs};
use crate::controllers::experiment::facts::{Observed, image_sizes, node_facts};
use crate::controllers::experiment::progress;
use crate::error::{Error, api};
use bakeoff_crds::Experiment;
use bakeoff_rules::queue::Pool;
use bakeoff_rules::queue::{self, NodeLabels};
use bakeoff_rules::validate::{self, Validated};
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::Api;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// Everything that a decision about this experiment needs.
///
/// # Errors
/// A Secret could not be read.
pub async fn observe(experiment: &Experiment, ctx: &Arc<Context>) -> Result<Observed, Error> {
    let namespace = experiment.namespace().unwrap_or_default();
    let uid = experiment.uid().unwrap_or_default();
    let children = ctx.caches.children(&namespace, &uid);
    let made = ctx.memory().made.unseen(&uid, &children, Instant::now());
    let labels = node_labels(ctx);
    let pool = queue::pool(experiment, &labels);
    let mut members = ctx.caches.nodes.state();
    members.retain(|node| pool.contains(&node.name_any()));
    let image_bytes = members.iter().flat_map(|node| image_sizes(node)).collect();
    let mut nodes: Vec<_> = members.iter().filter_map(|node| node_facts(node)).collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let status = experiment.status.clone().unwrap_or_default();
    if status.completion_time.is_some() {
        return Ok(Observed {
            now: Timestamp::now(),
            children,
            ..Default::default()
        });
    }
    let valid = validate::spec(experiment, ctx.settings.offer())
        .ok()
        .or_else(|| validate::salvage(experiment));
    let secrets = match &valid {
        Some(valid) => secrets(experiment, valid, ctx).await?,
        None => BTreeMap::new(),
    };
    let progress = match &valid {
        Some(valid) if status.start_time.is_some() && status.ending.is_none() => {
            progress::latest(experiment, valid, &children, ctx)
        }
        _ => None,
    };
    Ok(Observed {
        now: Timestamp::now(),
        nodes,
        image_bytes,
        children,
        made,
        secrets,
        pool: queue_state(experiment, ctx, &labels),
        progress,
    })
}

/// The labels of every schedulable node.
pub fn node_labels(ctx: &Context) -> NodeLabels {
    let nodes = ctx.caches.nodes.state();
    nodes
        .iter()
        .filter(|node| node_facts(node).is_some())
        .map(|node| (node.name_any(), node.labels().clone()))
        .collect()
}

fn queue_state(experiment: &Experiment, ctx: &Context, labels: &NodeLabels) -> Pool {
    let admitted = ctx.memory().admitted.clone();
    let pool = queue::admit(experiment, &ctx.experiments.state(), &admitted, labels);
    let started = experiment
        .status
        .as_ref()
        .is_some_and(|status| status.start_time.is_some());
    match pool {
        // A deleted experiment gives its pool up before its pods have ended.
        Pool::Free if !started => match ctx
            .caches
            .stranger(experiment, &queue::pool(experiment, labels))
        {
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
    valid: &Validated,
    ctx: &Context,
) -> Result<BTreeMap<String, BTreeSet<String>>, Error> {
    let status = experiment.status.as_ref();
    let started = status.is_some_and(|status| status.start_time.is_some());
    let ending = status.is_some_and(|status| status.ending.is_some());
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    if !started && !ending {
        wanted.extend(valid.user_secrets().map(|(secret, _)| secret.to_owned()));
    } else if ending || valid.spec.suspend {
        wanted.extend(
            valid
                .provisioned()
                .map(|backend| backend::credentials_name(valid, backend)),
        );
        if valid.spec.results.s3.is_none() {
            wanted.insert(jobs::results_secret(valid));
        }
    }
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), &valid.id.namespace);
    let secrets = &secrets;
    let reads = wanted.into_iter().map(|name| async move {
        let read = secrets.get_opt(&name).await;
        let secret = read.map_err(api(format!("read Secret {name}")))?;
        Ok(secret.map(|secret| (name, secret.data.unwrap_or_default().into_keys().collect())))
    });
    Ok(try_join_all(reads).await?.into_iter().flatten().collect())
}
