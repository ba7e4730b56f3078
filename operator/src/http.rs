//! `/healthz`, `/readyz` and `/metrics`. (I/O.)

use crate::metrics::{Metrics, State};
use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use bakeoff_crds::Experiment;
use bakeoff_crds::conditions::{self, SUCCEEDED};
use kube::runtime::reflector::Store;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the endpoints show.
#[derive(Clone)]
pub struct Shown {
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Whether the caches are filled.
    pub ready: Arc<AtomicBool>,
    /// All experiments, once this replica leads.
    pub experiments: Arc<OnceLock<Store<Experiment>>>,
}

/// Serves until `stop`.
///
/// # Errors
/// The address cannot be bound, or the server fails.
pub async fn serve(
    listener: TcpListener,
    shown: Shown,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(shown);
    axum::serve(listener, routes)
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
}

async fn readyz(Shared(shown): Shared<Shown>) -> impl IntoResponse {
    if shown.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the caches are not filled yet\n",
        )
    }
}

async fn metrics(Shared(shown): Shared<Shown>) -> impl IntoResponse {
    if let Some(experiments) = shown.experiments.get() {
        let mut states: BTreeMap<String, i64> = BTreeMap::new();
        for experiment in experiments.state() {
            let status = experiment.status.as_ref();
            let reason = status
                .and_then(|status| conditions::get(&status.conditions, SUCCEEDED))
                .map_or("Pending", |condition| condition.reason.as_str());
            *states.entry(reason.to_owned()).or_default() += 1;
        }
        shown
            .metrics
            .queued
            .set(states.get("Queued").copied().unwrap_or(0));
        shown.metrics.experiments.clear();
        for (state, count) in states {
            shown
                .metrics
                .experiments
                .get_or_create(&State { state })
                .set(count);
        }
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], shown.metrics.encode())
}
