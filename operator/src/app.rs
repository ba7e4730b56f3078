//! Wiring: client, caches, lease, controllers, HTTP. (I/O.)

use crate::act::Writer;
use crate::caches::{Caches, Wake, Waker};
use crate::config::Config;
use crate::controllers::experiment::{self, Context, Parents, Watched, facts};
use crate::controllers::{phases, schedule};
use crate::http::{self, Shown};
use crate::lease::{self, Tenure};
use crate::metrics::Metrics;
use crate::runs::Maker;
use crate::settings::Settings;
use bakeoff_crds::names::FIELD_MANAGER;
use bakeoff_crds::{Experiment, ExperimentPlan, ExperimentSchedule};
use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, DynamicObject};
use kube::runtime::controller::{self, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
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
    stop_on_signal(stop.clone())?;
    let shown = Shown {
        metrics: Arc::new(Metrics::new()),
        ready: Arc::new(AtomicBool::new(false)),
        look_up: Arc::new(OnceLock::new()),
    };
    let listener = http::listen(config.http_address).await?;
    let server = tokio::spawn(http::serve(listener, shown.clone(), stop.clone()));
    let mut lease = Candidate::new(&client, &config);

    let bells = Bells::default();
    let repositories = settings.repositories();
    let wakers = vec![
        Waker::of::<Experiment, _>(&bells.experiments.wake),
        Waker::of::<ExperimentSchedule, _>(&bells.schedules.wake),
        Waker::of::<ExperimentPlan, _>(&bells.plans.wake),
    ];
    let (caches, watches) = Caches::start(
        &client,
        config.watched_namespace(),
        wakers,
        &lease.leading,
        move |node| facts::trim(node, &repositories),
    );
    let mut tasks = JoinSet::new();
    for watch in watches {
        tasks.spawn(watch);
    }
    caches.ready().await;
    shown.ready.store(true, Ordering::Relaxed);
    tracing::info!(identity = %config.identity, "caches are filled; waiting for the lease");

    let leader = Leader {
        client,
        config,
        settings,
        caches: Arc::new(caches),
        shown,
        tenure: lease.tenure.clone(),
        stop: stop.clone(),
    };
    let mut leading = lease.leading.clone();
    let lost = tokio::select! {
        // The guard that `wait_for` returns locks the channel: it must not live while the lease is renewed.
        _ = async { leading.wait_for(|leads| *leads).await.is_ok() } => tokio::select! {
            () = leader.lead(bells) => false,
            _ = &mut lease.held => true,
        },
        () = stop.cancelled() => false,
        _ = &mut lease.held => true,
    };
    // Only now, when no reconcile writes any more, another replica may lead.
    stop.cancel();
    if !lost {
        lease.give_back().await;
    }
    tasks.abort_all();
    server.await??;
    anyhow::ensure!(!lost, "the lease was lost");
    tracing::info!("stopped");
    Ok(())
}

/// How the resources of a kind are woken.
struct Bell<W: Resource<DynamicType = ()>> {
    wake: Wake<W>,
    woken: UnboundedReceiver<ObjectRef<W>>,
}

impl<W: Resource<DynamicType = ()>> Default for Bell<W> {
    fn default() -> Self {
        let (wake, woken) = futures::channel::mpsc::unbounded();
        Self { wake, woken }
    }
}

/// Those of all kinds.
#[derive(Default)]
struct Bells {
    experiments: Bell<Watched>,
    schedules: Bell<schedule::Watched>,
    plans: Bell<phases::Watched>,
}

/// A replica that leads or would like to.
struct Candidate {
    tenure: Tenure,
    leading: watch::Receiver<bool>,
    stop: CancellationToken,
    /// Ends when the lease is lost or was given back.
    held: JoinHandle<()>,
}

impl Candidate {
    fn new(client: &Client, config: &Config) -> Self {
        let (tell, leading) = watch::channel(false);
        let (tenure, stop) = (Tenure::default(), CancellationToken::new());
        let held = tokio::spawn(lease::hold(
            Api::namespaced(client.clone(), &config.namespace),
            config.lease_name.clone(),
            config.identity.clone(),
            tenure.clone(),
            tell,
            stop.clone(),
        ));
        Self {
            tenure,
            leading,
            stop,
            held,
        }
    }

    async fn give_back(self) {
        self.stop.cancel();
        let _ = self.held.await;
    }
}

/// What one needs to lead.
struct Leader {
    client: Client,
    config: Config,
    settings: Settings,
    caches: Arc<Caches>,
    shown: Shown,
    tenure: Tenure,
    stop: CancellationToken,
}

impl Leader {
    /// Sees to experiments, schedules and plans until it is told to stop.
    async fn lead(self, bells: Bells) {
        tracing::info!("leading");
        self.shown.metrics.leading.set(1);
        let controller = self.controller::<Watched>(bells.experiments.woken);
        let experiments = controller.store();
        let of_schedules = self.controller::<schedule::Watched>(bells.schedules.woken);
        let of_plans = self.controller::<phases::Watched>(bells.plans.woken);
        let seen = (experiments.clone(), of_schedules.store(), of_plans.store());
        let _ = self.shown.look_up.set(Box::new(move |metrics| {
            experiment::look_up(&seen.0, metrics);
            let (schedules, plans) = (seen.1.state(), seen.2.state());
            metrics.schedules(schedules.iter().filter_map(|stored| stored.read()));
            metrics.plans(plans.iter().filter_map(|stored| stored.read()));
        }));
        let schedule = Arc::new(schedule::Context {
            maker: self.maker(&experiments),
            owners: of_schedules.store(),
            metrics: self.shown.metrics.clone(),
            troubles: Default::default(),
        });
        let phase = Arc::new(phases::Context {
            maker: self.maker(&experiments),
            owners: of_plans.store(),
            metrics: self.shown.metrics.clone(),
            troubles: Default::default(),
        });
        let parents = Parents {
            schedules: bells.schedules.wake,
            plans: bells.plans.wake,
            all_plans: of_plans.store(),
            all_schedules: of_schedules.store(),
        };
        let ctx = Arc::new(Context {
            writer: self.writer(),
            client: self.client,
            settings: self.settings,
            caches: self.caches,
            experiments: experiments.clone(),
            metrics: self.shown.metrics,
            wake: bells.experiments.wake,
            parents,
            seats: Default::default(),
            answers: Default::default(),
            warnings: Default::default(),
            ends: Default::default(),
            outages: Default::default(),
            failures: Default::default(),
            troubles: Default::default(),
        });
        let gone = ctx.clone();
        let running = controller
            .run(experiment::reconcile, experiment::on_error, ctx)
            .for_each(|result| passed(result, |one| experiment::gone(&gone, one)));
        let gone = schedule.clone();
        let scheduling = of_schedules
            .run(schedule::reconcile, schedule::on_error, schedule)
            .for_each(|result| passed(result, |_| gone.forget_deleted()));
        let gone = phase.clone();
        let planning = of_plans
            .run(phases::reconcile, phases::on_error, phase)
            .for_each(|result| passed(result, |_| gone.forget_deleted()));
        let owners = async {
            // A run that is not seen is taken for one that somebody has removed.
            if experiments.wait_until_ready().await.is_ok() {
                tokio::join!(scheduling, planning);
            }
        };
        tokio::join!(running, owners);
    }

    /// What sees to the resources of a kind, woken by its own watch and by what else is told.
    fn controller<W>(&self, woken: UnboundedReceiver<ObjectRef<W>>) -> Controller<W>
    where
        W: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let stop = self.stop.clone();
        Controller::new(self.api::<W>(), watcher::Config::default())
            .with_config(controller::Config::default().concurrency(CONCURRENCY))
            .graceful_shutdown_on(async move { stop.cancelled().await })
            .reconcile_on(woken)
    }

    /// The resources of a kind, as far as this installation sees to them.
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self.config.watched_namespace() {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    /// What makes the runs of one controller's owners.
    fn maker(&self, experiments: &Store<Watched>) -> Maker {
        Maker::new(
            self.writer(),
            self.settings.clone(),
            experiments.clone(),
            self.caches.clone(),
        )
    }

    /// A way to write for one controller: what it remembers is of that controller's owners alone.
    fn writer(&self) -> Writer {
        let reporter = Reporter {
            controller: FIELD_MANAGER.to_owned(),
            instance: Some(self.config.identity.clone()),
        };
        Writer::new(
            self.client.clone(),
            self.tenure.clone(),
            Recorder::new(self.client.clone(), reporter),
            (
                self.settings.results.clone(),
                self.settings.namespace.clone(),
            ),
            self.shown.metrics.status_writes.clone(),
        )
    }
}

/// What comes of a pass, for the log; what was named and is not there any more is told.
fn passed<T, E: std::error::Error + 'static>(
    result: Result<T, controller::Error<E, watcher::Error>>,
    gone: impl FnOnce(&ObjectRef<DynamicObject>),
) -> std::future::Ready<()> {
    match result {
        Err(controller::Error::ObjectNotFound(one)) => gone(&one),
        Err(error) => tracing::debug!(%error, "reconcile"),
        Ok(_) => {}
    }
    std::future::ready(())
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
