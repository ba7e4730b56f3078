//! `/healthz`, `/readyz` and `/metrics`. (I/O.)

use crate::metrics::Metrics;
use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Sets the metrics that are looked up when they are asked for.
pub type LookUp = Box<dyn Fn(&Metrics) + Send + Sync>;

/// What the endpoints show.
#[derive(Clone)]
pub struct Shown {
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Whether the caches are filled.
    pub ready: Arc<AtomicBool>,
    /// Sets what is looked up and not counted, once this replica leads.
    pub look_up: Arc<OnceLock<LookUp>>,
}

/// Listens there. Where that is every address of both families and this machine has no IPv6, every one of IPv4.
///
/// # Errors
/// The address cannot be bound.
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
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
    if let Some(look_up) = shown.look_up.get() {
        look_up(&shown.metrics);
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], shown.metrics.encode())
}
