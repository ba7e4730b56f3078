//! What generator 0 shows and how several generators start together.
//!
//! The server runs on a thread and runtime of its own, so that a scrape does not wait behind the
//! load and the load not behind a scrape. The barrier is pulled: other generators ask for the
//! next turn, say that they are prepared, and are told an absolute instant of the wall clock. They
//! estimate how far their clock is off by the usual exchange (Cristian, 1989), so that no common
//! time service is needed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bakeoff_crds::run::{FaultHeard, Progress, Stage, WantedFault};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};

use crate::instrument::clock;
use crate::instrument::record::LiveCounts;
use crate::net;
use crate::workloads::{FaultDesk, FaultSeen};
pub use follow::{FollowError, Follower};

mod follow;

/// How long a question for the next turn may wait before it is answered with "ask again".
const LONG_POLL: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(10);
/// How far ahead of the last "prepared" the common start lies.
const AHEAD: u64 = 300_000_000;

/// One turn of a run, as other generators see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Turn {
    /// Its number, from 1, ascending within one life of generator 0.
    pub number: u64,
    /// The id of the trial; empty when the run is over.
    pub trial: String,
    /// The attempt.
    pub attempt: i32,
    /// The rate of a load in shares of capacity, operations per second of all generators together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
}

#[derive(Debug, Default)]
struct Shared {
    progress: Progress,
    turn: Option<Turn>,
    ready: BTreeSet<usize>,
    start_wall: Option<u64>,
    /// The fault that was heard of last, and what is known of it.
    fault: Option<(String, FaultSeen)>,
}

/// The state that the server shows.
#[derive(Debug, Default)]
pub struct Control {
    shared: Mutex<Shared>,
    live: Arc<LiveCounts>,
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Nothing that holds the lock can panic half-way.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The live counts that workloads add to.
    #[must_use]
    pub fn live(&self) -> Arc<LiveCounts> {
        Arc::clone(&self.live)
    }

    /// Changes what `/progress` answers.
    pub fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.lock().progress);
    }

    /// What `/progress` answers.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.lock().progress.clone()
    }

    /// Announces the next turn to the other generators.
    pub fn announce(&self, trial: &str, attempt: i32, rate: Option<f64>) {
        let mut shared = self.lock();
        let number = shared.turn.as_ref().map_or(1, |turn| turn.number + 1);
        shared.turn = Some(Turn {
            number,
            trial: trial.to_owned(),
            attempt,
            rate,
        });
        shared.ready.clear();
        shared.start_wall = None;
    }

    /// Waits until `others` generators are prepared and sets the common start; `None` when they
    /// are not within `patience`.
    pub async fn gather(&self, others: usize, patience: Duration) -> Option<u64> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            {
                let mut shared = self.lock();
                if shared.ready.len() >= others {
                    let start = clock::wall() + AHEAD;
                    shared.start_wall = Some(start);
                    return Some(start);
                }
            }
            if tokio::time::Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(TICK).await;
        }
    }
}

impl FaultDesk for Control {
    fn ask(&self, id: &str, backend: &str) {
        self.update(|progress| {
            progress.fault = Some(WantedFault {
                id: id.to_owned(),
                backend: backend.to_owned(),
            });
        });
    }

    fn seen(&self, id: &str) -> FaultSeen {
        let shared = self.lock();
        let heard = shared.fault.as_ref().filter(|(of, _)| of == id);
        heard.map_or_else(FaultSeen::default, |(_, seen)| *seen)
    }

    fn withdraw(&self) {
        self.update(|progress| progress.fault = None);
    }
}

impl Control {
    /// Takes note of what the operator says of a fault. It says how long ago something was: its clock is another one.
    fn hear(&self, heard: &FaultHeard) {
        let now = clock::now();
        let at = |millis: Option<u64>| Some(now.saturating_sub(millis?.saturating_mul(1_000_000)));
        let mut shared = self.lock();
        let known = shared.fault.take().filter(|(id, _)| *id == heard.fault);
        let known = known.map(|(_, seen)| seen).unwrap_or_default();
        // The first word is the nearest to the instant.
        let seen = FaultSeen {
            made: known.made.or(at(heard.made_ago)),
            mended: known.mended.or(at(heard.mended_ago)),
        };
        shared.fault = Some((heard.fault.clone(), seen));
    }
}

impl Collector for Control {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (completed, failed) = self.live.read();
        let progress = self.progress();
        let counters: [(&str, &str, u64); 2] = [
            (
                "bakeoff_operations_completed",
                "Operations that ended well, warm-up included",
                completed,
            ),
            (
                "bakeoff_operations_failed",
                "Operations that failed, warm-up included",
                failed,
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(
                name,
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        let gauges: [(&str, &str, i64); 3] = [
            (
                "bakeoff_trials_planned",
                "Trials of the schedule",
                progress.trials.planned.into(),
            ),
            (
                "bakeoff_trials_done",
                "Trials whose outcome is durable",
                progress.trials.done.into(),
            ),
            (
                "bakeoff_trials_invalid",
                "Attempts that were invalid",
                progress.trials.invalid.into(),
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone)]
struct Server(Arc<Control>);

impl Collector for Server {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.encode(encoder)
    }
}

/// Starts the server on a thread of its own; answers the address it listens on.
///
/// # Errors
/// When the address cannot be listened on or the thread not be started.
pub fn serve(control: Arc<Control>, listen: SocketAddr) -> std::io::Result<SocketAddr> {
    let listener = net::listen(listen)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("control".into())
        .spawn(move || {
            let served = runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, router(control)).await
            });
            if let Err(error) = served {
                tracing::error!(%error, "control server");
            }
        })?;
    Ok(address)
}

fn router(control: Arc<Control>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route(
            "/progress",
            get(
                |State(control): State<Arc<Control>>, Query(heard): Query<FaultHeard>| async move {
                    if !heard.fault.is_empty() {
                        control.hear(&heard);
                    }
                    Json(control.progress())
                },
            ),
        )
        .route("/metrics", get(metrics))
        .route(
            "/barrier/clock",
            get(|| async { clock::wall().to_string() }),
        )
        .route(
            "/barrier/monotonic",
            get(|| async { format!("{} {}", clock::now(), clock::boot()) }),
        )
        .route("/barrier/step", get(turn))
        .route("/barrier/ready", post(ready))
        .with_state(control)
}

async fn metrics(State(control): State<Arc<Control>>) -> Response {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Server(control)));
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(axum::http::header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[derive(Deserialize)]
struct After {
    after: u64,
}

async fn turn(
    State(control): State<Arc<Control>>,
    Query(After { after }): Query<After>,
) -> Response {
    let deadline = tokio::time::Instant::now() + LONG_POLL;
    loop {
        {
            let shared = control.lock();
            let over = shared.progress.stage == Stage::Done;
            // A turn whose start has passed is too late to join.
            if let Some(turn) = shared
                .turn
                .as_ref()
                .filter(|turn| turn.number != after && (shared.start_wall.is_none() || over))
            {
                return Json(turn.clone()).into_response();
            }
        }
        if tokio::time::Instant::now() >= deadline {
            return StatusCode::NO_CONTENT.into_response();
        }
        tokio::time::sleep(TICK).await;
    }
}

#[derive(Deserialize)]
struct Ready {
    number: u64,
    index: usize,
}

async fn ready(State(control): State<Arc<Control>>, Query(query): Query<Ready>) -> Response {
    let deadline = tokio::time::Instant::now() + LONG_POLL;
    loop {
        {
            let mut shared = control.lock();
            if shared
                .turn
                .as_ref()
                .is_none_or(|turn| turn.number != query.number)
            {
                return StatusCode::GONE.into_response();
            }
            shared.ready.insert(query.index);
            if let Some(start) = shared.start_wall {
                return start.to_string().into_response();
            }
        }
        if tokio::time::Instant::now() >= deadline {
            return StatusCode::NO_CONTENT.into_response();
        }
        tokio::time::sleep(TICK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instrument::clock_offset::ClockOffset;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn generators_meet_at_one_instant() {
        let control = Arc::new(Control::default());
        let address = serve(Arc::clone(&control), ([127, 0, 0, 1], 0).into()).unwrap();
        let follower = Follower {
            url: format!("http://{address}"),
            index: 1,
            patience: PATIENCE,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            control.announce("t0", 1, Some(12.5));
            let turn = follower.next(0).await.unwrap();
            assert_eq!(
                (turn.number, turn.trial.as_str(), turn.attempt, turn.rate),
                (1, "t0", 1, Some(12.5))
            );
            let (theirs, ours) = tokio::join!(follower.ready(1), control.gather(1, PATIENCE));
            let asked = clock::now();
            let ours = clock::monotonic_at_wall(ours.unwrap());
            let reading = i64::try_from(clock::now() - asked).unwrap();
            let (theirs, offset) = theirs.unwrap();
            // As near as the exchange of the clocks says, and reading the two of a machine takes.
            let apart = i64::try_from(theirs.abs_diff(ours)).unwrap();
            assert!(
                apart <= offset.error + reading + 5_000_000,
                "{apart} ns apart, {offset:?}"
            );
            // One host, one clock: what is left is within the stated error.
            assert!(offset.ahead.abs() <= offset.error, "{offset:?}");
            // On one machine the monotonic clock is one.
            let same = follower.monotonic_ahead().await.unwrap();
            assert_eq!(same, ClockOffset::default());
            // Too late to join a turn that has begun; the next one is there for it.
            control.announce("t1", 1, None);
            assert_eq!(follower.next(1).await.unwrap().trial, "t1");
            assert_eq!(control.gather(2, Duration::from_millis(30)).await, None);
        });
    }

    /// Whoever only looks, as a browser or a probe does, is nobody's generator.
    #[test]
    fn a_look_at_the_barrier_counts_for_nobody() {
        let control = Arc::new(Control::default());
        let address = serve(Arc::clone(&control), ([127, 0, 0, 1], 0).into()).unwrap();
        control.announce("t0", 1, None);
        let url = format!("http://{address}/barrier/ready?number=1&index=1");
        crate::testing::local(async {
            let answer = crate::net::request(http::Method::GET, &url, PATIENCE).await;
            assert_eq!(answer.unwrap().0, 405);
            assert_eq!(control.gather(1, Duration::ZERO).await, None);
        });
    }

    /// Generator 0 ends as soon as everybody has heard, so whoever told it may get no answer.
    #[test]
    fn a_farewell_is_counted_and_waits_for_nobody() {
        let control = Arc::new(Control::default());
        let address = serve(Arc::clone(&control), ([127, 0, 0, 1], 0).into()).unwrap();
        let at = |url: String| Follower {
            url,
            index: 1,
            patience: Duration::from_secs(600),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            control.announce("", 0, None);
            let here = at(format!("http://{address}"));
            let turn = here.next(0).await.unwrap();
            let ((), heard) = tokio::join!(here.farewell(turn.number), control.gather(1, PATIENCE));
            assert!(heard.is_some());
            // Nobody listens there any more.
            let gone = at("http://127.0.0.1:1".to_owned());
            tokio::time::timeout(Duration::from_secs(60), gone.farewell(turn.number))
                .await
                .unwrap();
        });
    }

    #[test]
    fn metrics_are_open_metrics_text() {
        let control = Arc::new(Control::default());
        control.update(|progress| progress.trials.planned = 7);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let text = runtime.block_on(async {
            let response = metrics(State(control)).await;
            let body = axum::body::to_bytes(response.into_body(), 1 << 20)
                .await
                .unwrap();
            String::from_utf8(body.to_vec()).unwrap()
        });
        assert!(text.contains("bakeoff_trials_planned 7"), "{text}");
        assert!(
            text.contains("bakeoff_operations_completed_total 0"),
            "{text}"
        );
    }
}
