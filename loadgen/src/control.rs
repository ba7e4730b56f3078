//! What generator 0 shows and how several generators start together.
//!
//! The server runs on a thread and runtime of its own, so that a scrape does not wait behind the
//! load and the load not behind a scrape. The barrier is pulled: other generators ask for the
//! next step, say that they are prepared, and are told an absolute instant of the wall clock. They
//! estimate how far their clock is off by the usual exchange (Cristian, 1989), so that no common
//! time service is needed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bakeoff_crds::run::{Progress, Stage};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::record::LiveCounts;

/// How long a question for the next step may wait before it is answered with "ask again".
/// How long a generator that has heard that the run is over waits for that to be acknowledged.
const LAST_WORD: Duration = Duration::from_secs(3);
const LONG_POLL: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(10);
/// How far ahead of the last "prepared" the common start lies.
const AHEAD: u64 = 300_000_000;

/// One step of a run, as other generators see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
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
    step: Option<Step>,
    ready: BTreeSet<usize>,
    start_wall: Option<u64>,
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

    /// Announces the next step to the other generators.
    pub fn announce(&self, trial: &str, attempt: i32, rate: Option<f64>) {
        let mut shared = self.lock();
        let number = shared.step.as_ref().map_or(1, |step| step.number + 1);
        shared.step = Some(Step {
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
    let listener = std::net::TcpListener::bind(listen)?;
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
            get(|State(control): State<Arc<Control>>| async move { Json(control.progress()) }),
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
        .route("/barrier/step", get(step))
        .route("/barrier/ready", get(ready))
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

async fn step(
    State(control): State<Arc<Control>>,
    Query(After { after }): Query<After>,
) -> Response {
    let deadline = tokio::time::Instant::now() + LONG_POLL;
    loop {
        {
            let shared = control.lock();
            let over = shared.progress.stage == Stage::Done;
            // A step whose start has passed is too late to join.
            if let Some(step) = shared
                .step
                .as_ref()
                .filter(|step| step.number != after && (shared.start_wall.is_none() || over))
            {
                return Json(step.clone()).into_response();
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
                .step
                .as_ref()
                .is_none_or(|step| step.number != query.number)
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

/// Why another generator could not follow generator 0.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// Generator 0 was not heard of for too long.
    #[error("generator 0 at {url} has not answered for {seconds} s: {last}")]
    Lost {
        /// Its address.
        url: String,
        /// For how long.
        seconds: u64,
        /// The last error.
        last: String,
    },
    /// The step was given up by generator 0.
    #[error("generator 0 went on without this one")]
    Gone,
}

impl FollowError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Lost { .. } => "BarrierLost",
            Self::Gone => "BarrierGone",
        }
    }
}

/// How two clocks differ, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockOffset {
    /// By how much that of generator 0 is ahead of the own one.
    pub ahead: i64,
    /// By how much this may be wrong: half the round trip.
    pub error: i64,
}

impl ClockOffset {
    /// The offset over a time that was looked at before and after: half-way between both, and as much as they
    /// differ less certain, because clocks of two machines drift.
    #[must_use]
    pub fn over(before: Self, after: Self) -> Self {
        let drift = after.ahead.saturating_sub(before.ahead);
        Self {
            ahead: before.ahead.saturating_add(drift / 2),
            error: before
                .error
                .max(after.error)
                .saturating_add(drift.saturating_abs()),
        }
    }

    /// An instant of the own clock on that of generator 0, nanoseconds.
    #[must_use]
    pub fn shift(self, instant: u64) -> u64 {
        instant.saturating_add_signed(self.ahead)
    }
}

/// The side of the other generators.
#[derive(Clone, Debug)]
pub struct Follower {
    /// `http://host:port` of generator 0.
    pub url: String,
    /// The index of this generator.
    pub index: usize,
    /// How long generator 0 may be silent: while it starts, or is replaced.
    pub patience: Duration,
}

impl Follower {
    async fn ask(&self, path: &str) -> Result<Option<String>, FollowError> {
        let url = format!("{}{path}", self.url);
        let silent_since = tokio::time::Instant::now();
        loop {
            let last = match crate::net::request(
                http::Method::GET,
                &url,
                LONG_POLL + Duration::from_secs(5),
            )
            .await
            {
                Ok((200, body)) => return Ok(Some(String::from_utf8_lossy(&body).into_owned())),
                Ok((204, _)) => return Ok(None),
                Ok((410, _)) => return Err(FollowError::Gone),
                Ok((status, _)) => format!("HTTP {status}"),
                Err(error) => error.to_string(),
            };
            if silent_since.elapsed() >= self.patience {
                let seconds = self.patience.as_secs();
                return Err(FollowError::Lost {
                    url: self.url.clone(),
                    seconds,
                    last,
                });
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// The next step after `after`.
    ///
    /// # Errors
    /// When generator 0 is silent for too long.
    pub async fn next(&self, after: u64) -> Result<Step, FollowError> {
        loop {
            if let Some(text) = self.ask(&format!("/barrier/step?after={after}")).await?
                && let Ok(step) = serde_json::from_str(&text)
            {
                return Ok(step);
            }
        }
    }

    /// Says that this generator is prepared; answers when load begins, on its own monotonic clock, and
    /// how far that clock is from generator 0's.
    ///
    /// # Errors
    /// When generator 0 is silent or went on.
    pub async fn ready(&self, number: u64) -> Result<(u64, ClockOffset), FollowError> {
        let offset = self.clock_ahead().await?;
        loop {
            let path = format!("/barrier/ready?number={number}&index={}", self.index);
            if let Some(text) = self.ask(&path).await?
                && let Ok(start) = text.parse::<i128>()
            {
                let own = u64::try_from(start - i128::from(offset.ahead)).unwrap_or(0);
                return Ok((clock::monotonic_at_wall(own), offset));
            }
        }
    }

    /// Says that this generator has heard that the run is over. Generator 0 may be gone before it answers, so the
    /// answer is not waited for longer than a moment: the run is over either way.
    pub async fn farewell(&self, number: u64) {
        let path = format!("/barrier/ready?number={number}&index={}", self.index);
        let _ = tokio::time::timeout(LAST_WORD, self.ask(&path)).await;
    }

    /// By how many nanoseconds the wall clock of generator 0 is ahead of this one.
    async fn clock_ahead(&self) -> Result<ClockOffset, FollowError> {
        Ok(self.exchange("/barrier/clock", clock::wall).await?.0)
    }

    /// By how much the monotonic clock of generator 0 is ahead of this one. It is the same clock, and the offset
    /// zero, where both run on one machine: that is told by its boot id, and by what is measured, because a
    /// container may have a clock of its own.
    ///
    /// # Errors
    /// When generator 0 is silent for too long.
    pub async fn monotonic_ahead(&self) -> Result<ClockOffset, FollowError> {
        let (offset, boot) = self.exchange("/barrier/monotonic", clock::now).await?;
        let same = !boot.is_empty() && boot == clock::boot();
        if same && offset.ahead.unsigned_abs() <= offset.error.unsigned_abs() {
            return Ok(ClockOffset::default());
        }
        Ok(offset)
    }

    /// How a clock of generator 0 differs from the own one, from the quickest of a few exchanges, good to half its
    /// round trip; and what else the answer said.
    async fn exchange(
        &self,
        path: &str,
        own: fn() -> u64,
    ) -> Result<(ClockOffset, String), FollowError> {
        let mut best: Option<ClockOffset> = None;
        let mut more = String::new();
        for _ in 0..5 {
            let asked = own();
            let Some(text) = self.ask(path).await? else {
                continue;
            };
            let answered = own();
            let (number, rest) = text.split_once(' ').unwrap_or((&text, ""));
            let Ok(theirs) = number.parse::<i128>() else {
                continue;
            };
            rest.clone_into(&mut more);
            let trip = answered.saturating_sub(asked);
            let ahead = theirs - i128::from(asked) - i128::from(trip / 2);
            let offset = ClockOffset {
                ahead: i64::try_from(ahead).unwrap_or(i64::MAX),
                error: i64::try_from(trip / 2).unwrap_or(i64::MAX),
            };
            if best.is_none_or(|best| offset.error < best.error) {
                best = Some(offset);
            }
        }
        Ok((best.unwrap_or_default(), more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generators_meet_at_one_instant() {
        let control = Arc::new(Control::default());
        let address = serve(Arc::clone(&control), ([127, 0, 0, 1], 0).into()).unwrap();
        let follower = Follower {
            url: format!("http://{address}"),
            index: 1,
            patience: Duration::from_secs(5),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            control.announce("t0", 1, Some(12.5));
            let step = follower.next(0).await.unwrap();
            assert_eq!(
                (step.number, step.trial.as_str(), step.attempt, step.rate),
                (1, "t0", 1, Some(12.5))
            );
            let (theirs, ours) =
                tokio::join!(follower.ready(1), control.gather(1, Duration::from_secs(5)));
            let ours = clock::monotonic_at_wall(ours.unwrap());
            let (theirs, offset) = theirs.unwrap();
            assert!(theirs.abs_diff(ours) < 5_000_000);
            // One host, one clock: what is left is within the stated error.
            assert!(offset.ahead.abs() <= offset.error, "{offset:?}");
            // On one machine the monotonic clock is one.
            let same = follower.monotonic_ahead().await.unwrap();
            assert_eq!(same, ClockOffset::default());
            // Too late to join a step that has begun; the next one is there for it.
            control.announce("t1", 1, None);
            assert_eq!(follower.next(1).await.unwrap().trial, "t1");
            assert_eq!(control.gather(2, Duration::from_millis(30)).await, None);
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
            let step = here.next(0).await.unwrap();
            let ((), heard) = tokio::join!(
                here.farewell(step.number),
                control.gather(1, Duration::from_secs(5))
            );
            assert!(heard.is_some());
            // Nobody listens there any more.
            let gone = at("http://127.0.0.1:1".to_owned());
            tokio::time::timeout(Duration::from_secs(60), gone.farewell(step.number))
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

    #[test]
    fn clocks_that_drift_are_less_certain() {
        let at = |ahead, error| ClockOffset { ahead, error };
        assert_eq!(ClockOffset::over(at(0, 0), at(0, 0)), at(0, 0));
        assert_eq!(
            ClockOffset::over(at(1_000, 30), at(1_000, 50)),
            at(1_000, 50)
        );
        assert_eq!(
            ClockOffset::over(at(1_000, 30), at(1_200, 20)),
            at(1_100, 230)
        );
        assert_eq!(ClockOffset::over(at(-500, 30), at(-700, 20)), at(-600, 230));
        assert_eq!(at(-600, 0).shift(1_000), 400);
        assert_eq!(at(-600, 0).shift(100), 0);
    }
}
