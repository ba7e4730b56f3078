//! Collects what a decision needs. (I/O.)

use crate::build::{backend, jobs};
use crate::context::Context;
use crate::error::{Error, api};
use crate::facts::{Children, Observed, Pool, image_sizes, is_ready, node_facts};
use crate::queue::{self, NodeLabels};
use crate::validate::{self, Validated};
use bakeoff_crds::run::Progress;
use bakeoff_crds::{Experiment, names};
use bytes::Bytes;
use futures::future::try_join_all;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::Api;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::net::TcpStream;

const PROGRESS_TIMEOUT: Duration = Duration::from_millis(800);
const PROGRESS_LIMIT: usize = 64 * 1024;

/// Everything that a decision about this experiment needs.
///
/// # Errors
/// A Secret could not be read.
pub async fn observe(experiment: &Experiment, ctx: &Context) -> Result<Observed, Error> {
    let namespace = experiment.namespace().unwrap_or_default();
    let uid = experiment.uid().unwrap_or_default();
    let children = ctx.caches.children(&namespace, &uid);
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
    let valid = validate::spec(experiment, &ctx.settings)
        .ok()
        .or_else(|| validate::salvage(experiment));
    let secrets = match &valid {
        Some(valid) => secrets(experiment, valid, &children, ctx).await?,
        None => BTreeMap::new(),
    };
    let progress = match &valid {
        Some(valid) if status.start_time.is_some() && status.ending.is_none() => {
            progress(valid, &children).await
        }
        _ => None,
    };
    Ok(Observed {
        now: Timestamp::now(),
        nodes,
        image_bytes,
        children,
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

/// The keys of the Secrets that matter now. The operator may read Secrets but not list or watch them.
async fn secrets(
    experiment: &Experiment,
    valid: &Validated,
    children: &Children,
    ctx: &Context,
) -> Result<BTreeMap<String, BTreeSet<String>>, Error> {
    let status = experiment.status.as_ref();
    let started = status.is_some_and(|status| status.start_time.is_some());
    let ending = status.is_some_and(|status| status.ending.is_some());
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    if !started && !ending {
        wanted.extend(valid.user_secrets().map(|(secret, _)| secret.to_owned()));
    } else if ending || valid.spec.suspend || children.job(&jobs::run_name(valid, 0)).is_none() {
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

/// What generator 0 says, if it runs.
async fn progress(valid: &Validated, children: &Children) -> Option<Progress> {
    let attempt = (0..=valid.spec.generators.backoff_limit)
        .rev()
        .find(|attempt| children.job(&jobs::run_name(valid, *attempt)).is_some())?;
    let job = jobs::run_name(valid, attempt);
    let pod = children.pods_of_job(&job).find(|pod| {
        crate::facts::completion_index(pod).unwrap_or(0) == 0
            && (is_ready(pod) || pod.status.is_some())
    })?;
    let address = pod.status.as_ref()?.pod_ip.clone()?;
    match tokio::time::timeout(PROGRESS_TIMEOUT, ask(&address)).await {
        Ok(Ok(progress)) => Some(progress),
        Ok(Err(error)) => {
            tracing::debug!(%error, "generator 0 does not answer");
            None
        }
        Err(_) => None,
    }
}

async fn ask(address: &str) -> anyhow::Result<Progress> {
    let authority = if address.contains(':') {
        format!("[{address}]:{}", names::GENERATOR_PORT)
    } else {
        format!("{address}:{}", names::GENERATOR_PORT)
    };
    let stream = TcpStream::connect(&authority).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = hyper::Request::get("/progress")
        .header("host", &authority)
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let body = Limited::new(response.into_body(), PROGRESS_LIMIT)
        .collect()
        .await
        .map_err(|error| anyhow::anyhow!("{error}"))?
        .to_bytes();
    driver.abort();
    Ok(serde_json::from_slice(&body)?)
}
