//! The pacer: a thread of its own that waits for each planned instant and hands it over.
//!
//! Tokio's timer is a millisecond wheel and would report its own lateness as the backend's
//! latency, so instants come from `clock_nanosleep(TIMER_ABSTIME)` with a timer slack of 1 ns. The
//! thread wakes an idle worker directly: one hand-off between plan and send. What is due while
//! all workers are busy waits in line with its planned instant, so that the wait is part of its
//! response time; nothing is skipped.

use std::collections::VecDeque;
use std::future::Future;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

use hdrhistogram::Histogram;
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

use rustix::thread::{ClockId, Timespec, clock_nanosleep_absolute, set_current_timer_slack};

use crate::arrivals::Instants;
use crate::clock::{self, SECOND};
use crate::record::histogram;

/// Due operations that may wait in line; beyond that they count as never started at once, which
/// bounds the memory of a hopelessly overloaded run.
const MAX_WAITING: usize = 1 << 20;

/// An operation that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When it was planned, monotonic nanoseconds.
    pub planned: u64,
    /// Whether every worker was busy at that instant, so that it had to wait for one: a wait that the
    /// system under test caused, and no fault of the generator.
    pub queued: bool,
}

#[derive(Debug, Default)]
struct Line {
    due: VecDeque<Due>,
    idle: Vec<Waker>,
    /// Nothing more will be offered; what waits is still served.
    ended: bool,
    /// Nothing is served any more.
    closed: bool,
    counted_from: u64,
    dropped: u64,
    /// How late the pacer itself was, microseconds, for instants of the window.
    lateness: Option<Histogram<u64>>,
}

/// The line between the pacer and the workers. Its lock is held for a few instructions, and only
/// the pacer and the one runtime thread ever ask for it.
#[derive(Clone, Debug, Default)]
pub struct Handoff {
    line: Arc<Mutex<Line>>,
}

impl Handoff {
    /// An empty line. Instants before `counted_from`, the start of the window, are not counted
    /// when they are dropped.
    #[must_use]
    pub fn new(counted_from: u64) -> Self {
        Self {
            line: Arc::new(Mutex::new(Line {
                counted_from,
                lateness: histogram().ok(),
                ..Line::default()
            })),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // The guarded code cannot panic half-way, so a poisoned line is still whole.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a planned instant to an idle worker, or puts it in line. `now` says how late the pacer is.
    pub fn offer(&self, planned: u64, now: u64) {
        let waker = {
            let mut line = self.lock();
            if planned >= line.counted_from
                && let Some(lateness) = &mut line.lateness
            {
                lateness.saturating_record(now.saturating_sub(planned).div_ceil(1_000).max(1));
            }
            if line.closed || line.due.len() >= MAX_WAITING {
                line.dropped += u64::from(planned >= line.counted_from);
                return;
            }
            let waker = line.idle.pop();
            let queued = waker.is_none();
            line.due.push_back(Due { planned, queued });
            waker
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Says that nothing more will be offered: workers end once what waits is served.
    pub fn end(&self) {
        let idle = {
            let mut line = self.lock();
            line.ended = true;
            std::mem::take(&mut line.idle)
        };
        idle.into_iter().for_each(Waker::wake);
    }

    /// The 99th percentile of how late the pacer was, microseconds; 0 when it had nothing to do.
    #[must_use]
    pub fn lateness_p99(&self) -> u64 {
        let line = self.lock();
        match &line.lateness {
            Some(lateness) if !lateness.is_empty() => lateness.value_at_quantile(0.99),
            _ => 0,
        }
    }

    /// Closes the line: what still waits was never started, see [`Self::never_started`].
    pub fn close(&self) {
        let idle = {
            let mut line = self.lock();
            line.closed = true;
            std::mem::take(&mut line.idle)
        };
        idle.into_iter().for_each(Waker::wake);
    }

    /// How many operations of the window nobody took before the line closed, or were dropped
    /// because it was full.
    #[must_use]
    pub fn never_started(&self) -> u64 {
        let line = self.lock();
        let waiting = line
            .due
            .iter()
            .filter(|due| due.planned >= line.counted_from)
            .count();
        line.dropped + waiting as u64
    }

    /// The next due operation; `None` once the line is closed, or has ended and is empty.
    #[must_use]
    pub fn next(&self) -> Next<'_> {
        Next { handoff: self }
    }
}

/// The future of [`Handoff::next`].
#[derive(Debug)]
pub struct Next<'a> {
    handoff: &'a Handoff,
}

impl Future for Next<'_> {
    type Output = Option<Due>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Due>> {
        let mut line = self.handoff.lock();
        if line.closed {
            return Poll::Ready(None);
        }
        if let Some(due) = line.due.pop_front() {
            return Poll::Ready(Some(due));
        }
        if line.ended {
            return Poll::Ready(None);
        }
        if !line.idle.iter().any(|waker| waker.will_wake(cx.waker())) {
            line.idle.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// Starts the pacing thread: hands over each planned instant, which lie `instants` after `start`
/// on the monotonic clock, until the first at or after `end`.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(
    handoff: Handoff,
    instants: Instants,
    start: u64,
    end: u64,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("pacer".into())
        .spawn(move || {
            if let Err(error) = real_time() {
                tracing::debug!(%error, "the pacer is an ordinary thread");
            }
            // Best effort: with the default slack of 50 µs the run is valid, only its send lag larger.
            if let Err(error) = set_current_timer_slack(NonZeroU64::new(1)) {
                tracing::debug!(%error, "timer slack not set");
            }
            for offset in instants {
                let planned = start.saturating_add(offset);
                if planned >= end {
                    break;
                }
                sleep_until(planned);
                handoff.offer(planned, clock::now());
            }
            // The line takes nothing before the window has passed, however few the instants are.
            sleep_until(end);
            handoff.end();
        })
}

/// Makes the calling thread run before all ordinary ones (`SCHED_FIFO`, lowest priority), which needs
/// CAP_SYS_NICE or an RLIMIT_RTPRIO. The pacer sleeps nearly always, so nothing starves; without it
/// the pacer waits its turn on a busy machine, and the send lag shows by how much.
///
/// # Errors
/// When the process may not.
pub fn real_time() -> Result<(), String> {
    set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Min,
        ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo),
    )
    .map_err(|error| error.to_string())
}

fn sleep_until(instant: u64) {
    while clock::now() < instant {
        let at = Timespec {
            tv_sec: i64::try_from(instant / SECOND).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(instant % SECOND).unwrap_or(0),
        };
        // An interrupted sleep sleeps on; the deadline is absolute.
        if clock_nanosleep_absolute(ClockId::Monotonic, &at).is_ok() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakeoff_crds::spec::Arrivals;

    #[test]
    fn every_instant_is_handed_over_in_order_and_not_early() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let handoff = Handoff::default();
        let begin = clock::now() + 2_000_000;
        let end = begin + 50_000_000;
        let pacer = start(
            handoff.clone(),
            Instants::new(4_000.0, Arrivals::Constant, 1, "t"),
            begin,
            end,
        )
        .unwrap();
        let got = runtime.block_on(async {
            let mut got = Vec::new();
            while got.len() < 200 {
                let due = handoff.next().await.unwrap();
                assert!(clock::now() >= due.planned);
                got.push(due.planned);
            }
            got
        });
        pacer.join().unwrap();
        assert!(got.windows(2).all(|pair| pair[1] - pair[0] == 250_000));
        assert_eq!(handoff.never_started(), 0);
    }

    #[test]
    fn what_waits_when_the_line_closes_was_never_started() {
        let handoff = Handoff::new(2);
        handoff.offer(1, 1);
        handoff.offer(2, 2);
        handoff.close();
        handoff.offer(3, 3);
        assert_eq!(handoff.never_started(), 2);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        assert_eq!(runtime.block_on(handoff.next()), None);
    }

    #[test]
    fn what_waits_when_the_offers_end_is_still_served_and_marked_as_queued() {
        let handoff = Handoff::new(0);
        handoff.offer(7, 2_000_007);
        handoff.end();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let due = Due {
            planned: 7,
            queued: true,
        };
        assert_eq!(runtime.block_on(handoff.next()), Some(due));
        assert_eq!(runtime.block_on(handoff.next()), None);
        assert_eq!(handoff.never_started(), 0);
        // Two milliseconds late, and said so.
        assert!((2_000..2_010).contains(&handoff.lateness_p99()));
    }
}
