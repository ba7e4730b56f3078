//! Wiring: client, caches, lease, controller, HTTP. (I/O.)

use crate::act;
use crate::caches::Caches;
use crate::config::Config;
use crate::context::Context;
use crate::controllers::experiment::observe::observe;
use crate::controllers::experiment::plan::plan;
use crate::error::Error;
use crate::http::{self, Shown};
use crate::lease::{self, Tenure};
use crate::metrics::{Metrics, Reason};
use bakeoff_crds::Experiment;
use bakeoff_crds::names::FIELD_MANAGER;
use futures::StreamExt;
use kube::api::Api;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Reconciles at the same time. A pass waits for the API server and hardly for anything else: more of them at once
/// make each one longer and none of them earlier.
const CONCURRENCY: u16 = 4;

/// Runs until SIGTERM or until the lease is lost.
///
/// # Errors
/// The API server is out of reach at the start, the configuration is unusable, or the lease is lost.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let client = Client::try_default().await?;
    let version = client.apiserver_version().await?.git_version;
    let settings = config.settings(version)?;
    let stop = CancellationToken::new();
    let (leading_tx, mut leading) = watch::channel(false);
    let (wake, woken) = futures::channel::mpsc::unbounded();
    let watched = (!config.watch_namespace.is_empty()).then_some(config.watch_namespace.as_str());
    let (caches, watches) = Caches::start(&client, watched, &wake, &leading);
    let caches = Arc::new(caches);
    let shown = Shown {
        metrics: Arc::new(Metrics::new()),
        ready: Arc::new(AtomicBool::new(false)),
        experiments: Arc::new(OnceLock::new()),
    };

    let mut tasks = JoinSet::new();
    for watch in watches {
        tasks.spawn(watch);
    }
    let listener = tokio::net::TcpListener::bind(config.http_address).await?;
    let server = tokio::spawn(http::serve(listener, shown.clone(), stop.clone()));
    stop_on_signal(stop.clone())?;

    let lease_stop = CancellationToken::new();
    let leases = Api::namespaced(client.clone(), &config.namespace);
    let tenure = Tenure::default();
    let mut lease = tokio::spawn(lease::hold(
        leases,
        config.lease_name.clone(),
        config.identity.clone(),
        tenure.clone(),
        leading_tx,
        lease_stop.clone(),
    ));

    caches.ready().await;
    shown.ready.store(true, Ordering::Relaxed);
    tracing::info!(identity = %config.identity, "caches are filled; waiting for the lease");

    let mut lost = false;
    tokio::select! {
        // The guard that `wait_for` returns locks the channel: it must not live while the lease is renewed.
        _ = async { leading.wait_for(|leads| *leads).await.is_ok() } => {
            tracing::info!("leading");
            shown.metrics.leading.set(1);
            let experiments = match watched {
                Some(namespace) => Api::namespaced(client.clone(), namespace),
                None => Api::all(client.clone()),
            };
            let controller = Controller::new(experiments, watcher::Config::default())
                .with_config(controller::Config::default().concurrency(CONCURRENCY))
                .graceful_shutdown_on({ let stop = stop.clone(); async move { stop.cancelled().await } })
                .reconcile_on(woken);
            let store = controller.store();
            let _ = shown.experiments.set(store.clone());
            let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(config.identity.clone()) };
            let recorder = Recorder::new(client.clone(), reporter);
            let ctx = Arc::new(Context {
                client,
                recorder,
                settings,
                caches,
                experiments: store,
                metrics: shown.metrics.clone(),
                wake,
                tenure,
                remembered: Mutex::default(),
            });
            let gone = ctx.clone();
            let work = controller.run(reconcile, on_error, ctx).for_each(move |result| {
                match result {
                    // The last children of a deleted experiment woke it: its pool may be free now.
                    Err(controller::Error::ObjectNotFound(_)) => act::forget_deleted(&gone),
                    Err(error) => tracing::debug!(%error, "reconcile"),
                    Ok(_) => {}
                }
                std::future::ready(())
            });
            tokio::select! {
                () = work => {}
                _ = &mut lease => lost = true,
            }
        }
        () = stop.cancelled() => {}
        _ = &mut lease => lost = true,
    }
    // Only now, when no reconcile writes any more, another replica may lead.
    stop.cancel();
    lease_stop.cancel();
    if !lost {
        let _ = lease.await;
    }
    tasks.abort_all();
    server.await??;
    anyhow::ensure!(!lost, "the lease was lost");
    tracing::info!("stopped");
    Ok(())
}

fn stop_on_signal(stop: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("draining");
        stop.cancel();
    });
    Ok(())
}

async fn reconcile(experiment: Arc<Experiment>, ctx: Arc<Context>) -> Result<Action, Error> {
    let begun = Instant::now();
    let observed = observe(&experiment, &ctx).await?;
    let plan = plan(&experiment, &ctx.settings, &observed);
    let uid = experiment.uid().unwrap_or_default();
    let deleted = experiment.metadata.deletion_timestamp.is_some();
    let wait = act::execute(&experiment, plan, &ctx).await?;
    if deleted && experiment.finalizers().is_empty() {
        act::forget(&uid, &ctx);
    }
    ctx.memory().failures.remove(&uid);
    ctx.metrics.reconciles.inc();
    ctx.metrics.duration.observe(begun.elapsed().as_secs_f64());
    Ok(wait.map_or_else(Action::await_change, Action::requeue))
}

/// Waits longer after each failure in a row; a lost race is tried again at once.
fn on_error(experiment: Arc<Experiment>, error: &Error, ctx: Arc<Context>) -> Action {
    ctx.metrics
        .errors
        .get_or_create(&Reason {
            reason: error.reason().to_owned(),
        })
        .inc();
    // The process ends in a moment.
    if matches!(error, Error::NotLeading) {
        return Action::await_change();
    }
    if matches!(error, Error::Conflict(_) | Error::PoolTaken(_)) {
        tracing::debug!(%error, experiment = %experiment.name_any(), "lost a race");
        return Action::requeue(Duration::from_millis(250));
    }
    tracing::warn!(
        %error, reason = error.reason(), experiment = %experiment.name_any(),
        namespace = experiment.namespace().unwrap_or_default(), "reconcile failed"
    );
    let mut memory = ctx.memory();
    let failures = memory
        .failures
        .entry(experiment.uid().unwrap_or_default())
        .or_default();
    *failures = failures.saturating_add(1);
    Action::requeue(Duration::from_secs(1_u64 << (*failures).min(6)))
}
