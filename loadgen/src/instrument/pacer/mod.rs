//! The pacer: hands each planned instant to a worker when it is due.
//!
//! Tokio's timer is a millisecond wheel and would report its own lateness as the backend's latency, so what
//! wakes the runtime is a timer of the kernel for absolute instants (`timerfd`, which has no slack), on the
//! thread that carries the workers: one wake between plan and send, where a pacing thread takes two. It is set
//! ahead of the instant by what such a wake takes on this machine.
//!
//! A worker that becomes free looks at the clock itself and takes what has become due, so a busy thread is late
//! by no more than what it is doing. What is due while all workers are busy waits in line with its planned
//! instant, so that the wait is part of its response time; nothing is skipped. Of several that are free the one that became
//! so last is woken, whose connection is the warmest; or, where each has something of its own, the one that has waited longest
//! (ADR 25).

use std::collections::VecDeque;
use std::future::Future;
use std::iter::Peekable;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hdrhistogram::Histogram;

use crate::instrument::arrivals::Offsets;
use crate::instrument::clock;
use crate::instrument::record::histogram;
pub use realtime::{RealTime, real_time};
use timer::Timer;

mod realtime;
mod timer;

/// Due operations that may wait in line; beyond that they count as never started at once, which
/// bounds the memory of a hopelessly overloaded run.
pub(crate) const MAX_WAITING: usize = 1 << 20;

/// An operation that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When it was planned, monotonic nanoseconds.
    pub planned: u64,
    /// Whether every worker was busy at that instant, so that it had to wait for one: a wait that the
    /// system under test caused, and no fault of the generator.
    pub queued: bool,
    /// The how-manieth of all that were planned, from 0. Those that are dropped count as well.
    pub index: u64,
}

/// What is still to become due.
#[derive(Debug)]
struct Schedule {
    offsets: Peekable<Offsets>,
    start: u64,
    end: u64,
}

impl Schedule {
    /// The next planned instant, unless the window closes before it.
    fn peek(&mut self) -> Option<u64> {
        let offset = *self.offsets.peek()?;
        let planned = self.start.saturating_add(offset);
        (planned < self.end).then_some(planned)
    }
}

#[derive(Debug, Default)]
struct Line {
    schedule: Option<Schedule>,
    due: VecDeque<Due>,
    /// In the order in which they became so.
    idle: VecDeque<Waker>,
    /// Whether they take turns.
    in_turn: bool,
    /// Nothing more will be offered; what waits is still served.
    ended: bool,
    /// Nothing is served any more.
    closed: bool,
    counted_from: u64,
    offered: u64,
    dropped: u64,
    /// How late the pacer itself was, microseconds, for instants of the window.
    lateness: Option<Histogram<u64>>,
}

/// The line between the plan and the workers. Its lock is held for a few instructions, and only the one
/// runtime thread ever asks for it.
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

    /// The same, but of the workers that are free the one that has waited longest is woken, so that all have as much to do.
    #[must_use]
    pub fn in_turn(self) -> Self {
        self.lock().in_turn = true;
        self
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // The guarded code cannot panic half-way, so a poisoned line is still whole.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a planned instant to an idle worker, or puts it in line. `now` says how late that is.
    pub fn offer(&self, planned: u64, now: u64) {
        let waker = self.lock().offer(planned, now, true);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Hands over what has become due by `now`; answers the next planned instant, `None` after the last.
    fn release(&self, now: u64) -> Option<u64> {
        loop {
            let mut line = self.lock();
            let planned = line.schedule.as_mut()?.peek()?;
            if planned > now {
                return Some(planned);
            }
            let waker = line.take_next(planned, now, true);
            drop(line);
            if let Some(waker) = waker {
                waker.wake();
            }
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

impl Line {
    /// Puts an instant that is due in line. Answers who is to be woken for it: an idle worker, where `wake` asks
    /// for one.
    fn offer(&mut self, planned: u64, now: u64, wake: bool) -> Option<Waker> {
        if planned >= self.counted_from
            && let Some(lateness) = &mut self.lateness
        {
            lateness.saturating_record(now.saturating_sub(planned).div_ceil(1_000).max(1));
        }
        let index = self.offered;
        self.offered += 1;
        if self.closed || self.due.len() >= MAX_WAITING {
            self.dropped += u64::from(planned >= self.counted_from);
            return None;
        }
        let queued = self.idle.is_empty();
        self.due.push_back(Due {
            planned,
            queued,
            index,
        });
        match wake {
            true if self.in_turn => self.idle.pop_front(),
            true => self.idle.pop_back(),
            false => None,
        }
    }

    fn take_next(&mut self, planned: u64, now: u64, wake: bool) -> Option<Waker> {
        if let Some(schedule) = &mut self.schedule {
            schedule.offsets.next();
        }
        self.offer(planned, now, wake)
    }
}

impl Future for Next<'_> {
    type Output = Option<Due>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Due>> {
        let mut line = self.handoff.lock();
        if line.closed {
            return Poll::Ready(None);
        }
        // The worker that asks is awake already: it takes what has become due since the timer was set, and
        // nobody else needs to be woken for it.
        if line.due.is_empty()
            && let Some(planned) = line.schedule.as_mut().and_then(Schedule::peek)
        {
            let now = clock::now();
            if planned <= now {
                line.take_next(planned, now, false);
            }
        }
        if let Some(due) = line.due.pop_front() {
            return Poll::Ready(Some(due));
        }
        if line.ended {
            return Poll::Ready(None);
        }
        if !line.idle.iter().any(|waker| waker.will_wake(cx.waker())) {
            line.idle.push_back(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// Gives the handoff its plan, instants that lie `offsets` after `start` on the monotonic clock, until the
/// first at or after `end`. To be called on [`crate::instrument::runtime::local`]: the pacer is a task of it.
///
/// # Errors
/// When the kernel gives no timer.
pub fn start(handoff: Handoff, offsets: Offsets, start: u64, end: u64) -> std::io::Result<()> {
    let mut timer = Timer::new()?;
    handoff.lock().schedule = Some(Schedule {
        offsets: offsets.peekable(),
        start,
        end,
    });
    tokio::task::spawn_local(async move {
        if let Err(error) = pace(&handoff, &mut timer, end).await {
            // What was planned and is not offered is missed by the count of the window.
            tracing::error!(%error, "the pacer's timer failed");
        }
        handoff.end();
    });
    Ok(())
}

async fn pace(handoff: &Handoff, timer: &mut Timer, end: u64) -> std::io::Result<()> {
    while let Some(next) = handoff.release(clock::now()) {
        timer.until(next).await?;
    }
    // The line takes nothing before the window has passed, however few the instants are.
    timer.until(end).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instrument::arrivals::Instants;
    use crate::instrument::clock::SECOND;
    use crate::testing::local;
    use bakeoff_crds::spec::Arrivals;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn every_instant_is_handed_over_in_order_and_not_early() {
        let (got, handoff) = local(async {
            let handoff = Handoff::default();
            let begin = clock::now() + 2_000_000;
            let instants = Offsets::Drawn(Instants::new(4_000.0, Arrivals::Constant, 1, "t"));
            start(handoff.clone(), instants, begin, begin + 50_000_000).unwrap();
            let mut got = Vec::new();
            while let Some(due) = handoff.next().await {
                assert!(clock::now() >= due.planned);
                got.push(due.planned);
            }
            // The line ends with the window and not before it.
            assert!(clock::now() >= begin + 50_000_000);
            (got, handoff)
        });
        assert_eq!(got.len(), 200);
        assert!(got.windows(2).all(|pair| pair[1] - pair[0] == 250_000));
        assert_eq!(handoff.never_started(), 0);
    }

    #[test]
    fn what_became_due_while_the_thread_was_busy_is_taken_without_the_timer() {
        local(async {
            let handoff = Handoff::new(0);
            let begin = clock::now();
            let instants = Offsets::Drawn(Instants::new(1_000.0, Arrivals::Constant, 1, "t"));
            start(handoff.clone(), instants, begin, begin + SECOND).unwrap();
            // The pacer's task has had no turn yet, and this one takes its time.
            std::thread::sleep(std::time::Duration::from_millis(20));
            for expected in 0..20 {
                // No await that would let the pacer run: the first poll has to answer.
                let mut next = std::pin::pin!(handoff.next());
                let context = &mut Context::from_waker(Waker::noop());
                let Poll::Ready(Some(due)) = next.as_mut().poll(context) else {
                    panic!("instant {expected} was not there")
                };
                assert_eq!(due.planned, begin + expected * 1_000_000);
                // Nobody was idle when it became due.
                assert!(due.queued);
            }
            assert!(handoff.lateness_p99() >= 19_000);
        });
    }

    /// Which of four workers is woken, twelve times, where each is done at once.
    fn woken(handoff: &Handoff) -> Vec<usize> {
        #[derive(Default)]
        struct Told(AtomicU64);
        impl std::task::Wake for Told {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let workers: Vec<Arc<Told>> = (0..4).map(|_| Arc::default()).collect();
        let ask = |worker: &Arc<Told>| {
            let waker = Waker::from(Arc::clone(worker));
            let mut next = std::pin::pin!(handoff.next());
            next.as_mut().poll(&mut Context::from_waker(&waker))
        };
        let told = || -> Vec<u64> {
            let each = workers.iter();
            each.map(|worker| worker.0.load(Ordering::Relaxed))
                .collect()
        };
        assert!(workers.iter().all(|worker| ask(worker).is_pending()));
        let instants = 0..12;
        let turns = instants.map(|planned| {
            let before = told();
            handoff.offer(planned, planned);
            let after = told();
            let news: Vec<usize> = (0..4).filter(|&n| after[n] != before[n]).collect();
            let [turn] = news[..] else {
                panic!("instant {planned} wakes {news:?}")
            };
            assert!(ask(&workers[turn]).is_ready());
            assert!(ask(&workers[turn]).is_pending());
            turn
        });
        turns.collect()
    }

    /// Where each worker has rows of its own, those of one that is never woken stay as they are for the whole window; where they
    /// have none, the warmest connection is used.
    #[test]
    fn workers_take_turns_where_they_have_something_of_their_own() {
        let turns = [0, 1, 2, 3];
        assert_eq!(woken(&Handoff::new(0).in_turn()), turns.repeat(3));
        assert_eq!(woken(&Handoff::new(0)), [3; 12]);
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
            index: 0,
        };
        assert_eq!(runtime.block_on(handoff.next()), Some(due));
        assert_eq!(runtime.block_on(handoff.next()), None);
        assert_eq!(handoff.never_started(), 0);
        // Two milliseconds late, and said so.
        assert!((2_000..2_010).contains(&handoff.lateness_p99()));
    }
}
