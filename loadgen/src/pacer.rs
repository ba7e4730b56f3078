//! The pacer: hands each planned instant to a worker when it is due.
//!
//! Tokio's timer is a millisecond wheel and would report its own lateness as the backend's latency, so what
//! wakes the runtime is a timer of the kernel that is set to the absolute instant (`timerfd`, which has no slack), on the
//! thread that carries the workers: one wake between plan and send, where a pacing thread takes
//! two. A worker that becomes free looks at the clock itself and takes what has become due, so a busy thread
//! is late by no more than what it is doing. What is due while all workers are busy waits in line with its planned
//! instant, so that the wait is part of its response time; nothing is skipped.

use std::collections::VecDeque;
use std::future::Future;
use std::iter::Peekable;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hdrhistogram::Histogram;
use rustix::process::{getpriority_process, setpriority_process};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use thread_priority::{
    NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

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

/// What is still to become due.
#[derive(Debug)]
struct Schedule {
    offsets: Peekable<Instants>,
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
        if self.closed || self.due.len() >= MAX_WAITING {
            self.dropped += u64::from(planned >= self.counted_from);
            return None;
        }
        let queued = self.idle.is_empty();
        self.due.push_back(Due { planned, queued });
        if wake { self.idle.pop() } else { None }
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
            line.idle.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// A timer of the kernel for absolute instants of the monotonic clock.
struct Timer {
    fd: AsyncFd<OwnedFd>,
}

impl Timer {
    // The constructor that replaces this one is unsafe, because a type may change the descriptor that it answers
    // with; an OwnedFd keeps its own.
    #[expect(deprecated)]
    fn new() -> std::io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self {
            fd: AsyncFd::with_interest(fd, Interest::READABLE)?,
        })
    }

    /// Waits until the instant; one that is past is waited for no longer.
    async fn until(&self, instant: u64) -> std::io::Result<()> {
        if clock::now() >= instant {
            return Ok(());
        }
        let spec = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec {
                tv_sec: i64::try_from(instant / SECOND).unwrap_or(i64::MAX),
                tv_nsec: i64::try_from(instant % SECOND).unwrap_or(0),
            },
        };
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &spec)?;
        loop {
            // Setting it anew takes back an expiry that nobody read, but not one that was announced.
            self.fd.readable().await?.clear_ready();
            if clock::now() >= instant {
                return Ok(());
            }
        }
    }
}

/// Gives the handoff its plan, instants that lie `instants` after `start` on the monotonic clock, until the
/// first at or after `end`. To be called inside a `LocalSet`: the pacer is a task of it.
///
/// # Errors
/// When the kernel gives no timer.
pub fn start(handoff: Handoff, instants: Instants, start: u64, end: u64) -> std::io::Result<()> {
    let timer = Timer::new()?;
    handoff.lock().schedule = Some(Schedule {
        offsets: instants.peekable(),
        start,
        end,
    });
    tokio::task::spawn_local(async move {
        if let Err(error) = pace(&handoff, &timer, end).await {
            // What was planned and is not offered is missed by the count of the window.
            tracing::error!(%error, "the pacer's timer failed");
        }
        handoff.end();
    });
    Ok(())
}

async fn pace(handoff: &Handoff, timer: &Timer, end: u64) -> std::io::Result<()> {
    while let Some(next) = handoff.release(clock::now()) {
        timer.until(next).await?;
    }
    // The line takes nothing before the window has passed, however few the instants are.
    timer.until(end).await
}

/// While it lives, the calling thread runs before all ordinary ones, where the process may.
#[derive(Debug)]
pub struct RealTime {
    /// The nice value to go back to; absent where nothing was granted.
    nice: Option<i32>,
}

impl RealTime {
    /// For as long as this is kept: the thread that paces and sends waits for no other. An open load leaves it
    /// idle most of the time, so nothing starves; a process that may not goes on as an ordinary thread, and
    /// the send lag shows by how much.
    #[must_use]
    pub fn begin() -> Self {
        // Without a process named, Linux answers for the calling thread.
        let nice = getpriority_process(None).unwrap_or(0);
        match real_time() {
            Ok(()) => Self { nice: Some(nice) },
            Err(error) => {
                tracing::debug!(%error, "the generator is an ordinary thread");
                Self { nice: None }
            }
        }
    }
}

impl Drop for RealTime {
    fn drop(&mut self) {
        let Some(nice) = self.nice else {
            return;
        };
        let ordinary = set_thread_priority_and_policy(
            thread_native_id(),
            ThreadPriority::Min,
            ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other),
        );
        if let Err(error) = ordinary {
            tracing::warn!(%error, "the generator stays a real-time thread");
        }
        // The least priority of an ordinary thread is nice 19, which is not what it was.
        if let Err(error) = setpriority_process(None, nice) {
            tracing::warn!(%error, nice, "the generator stays nice");
        }
    }
}

/// Makes the calling thread run before all ordinary ones (`SCHED_FIFO`, lowest priority), which needs
/// CAP_SYS_NICE or an RLIMIT_RTPRIO.
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

#[cfg(test)]
mod tests {
    use super::*;
    use bakeoff_crds::spec::Arrivals;

    fn local<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, work)
    }

    #[test]
    fn every_instant_is_handed_over_in_order_and_not_early() {
        let (got, handoff) = local(async {
            let handoff = Handoff::default();
            let begin = clock::now() + 2_000_000;
            let instants = Instants::new(4_000.0, Arrivals::Constant, 1, "t");
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
            let instants = Instants::new(1_000.0, Arrivals::Constant, 1, "t");
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

    /// Where the tests may not, nothing is taken and nothing is given back.
    #[test]
    fn a_thread_is_as_it_was_after_real_time() {
        use thread_priority::{ThreadSchedulePolicy, thread_schedule_policy};
        let before = (thread_schedule_policy().unwrap(), getpriority_process(None));
        let real_time = RealTime::begin();
        if real_time.nice.is_some() {
            assert_eq!(
                thread_schedule_policy().unwrap(),
                ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo)
            );
        }
        drop(real_time);
        let after = (thread_schedule_policy().unwrap(), getpriority_process(None));
        assert_eq!(before, after);
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
