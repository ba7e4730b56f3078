//! The frame of a trial, whatever its workload: the common start, the recorder, the load, and what goes on beside it.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use super::{Context, Gate, Part, WorkloadError};
use crate::instrument::arrivals::Plan;
use crate::instrument::clock;
use crate::instrument::drive::{Timing, Worker, drive};
use crate::instrument::meter::Meter;
use crate::instrument::record::{Operation, Recorded, Recorder};

/// What is offered, and what is recorded of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Closed or open, and how much of it.
    pub plan: Plan,
    /// Every kind of operation; first the one that the load plans.
    pub kinds: &'static [Operation],
}

/// A trial whose start is agreed upon: when it begins and ends, and who records it.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub timing: Timing,
    pub recorder: Rc<RefCell<Recorder>>,
}

impl Ready {
    /// Says that this generator is prepared, and waits for the others.
    ///
    /// # Errors
    /// When they are not met, or nothing can be recorded.
    pub async fn at(
        context: &Context<'_>,
        gate: &dyn Gate,
        open_loop: bool,
        kinds: &[Operation],
    ) -> Result<Self, WorkloadError> {
        let start = gate.open().await?;
        let timing = context.timing(start);
        let wall = clock::wall() + timing.window_start.saturating_sub(clock::now());
        let recorder = Recorder::new(
            timing.window_start,
            timing.window_end,
            wall,
            open_loop,
            kinds,
            context.live.clone(),
        )?;
        Ok(Self {
            timing,
            recorder: Rc::new(RefCell::new(recorder)),
        })
    }

    /// The window on the monotonic clock.
    pub fn window(&self) -> (u64, u64) {
        (self.timing.window_start, self.timing.window_end)
    }

    /// How long ago the trial was to start.
    pub fn late(&self) -> u64 {
        clock::now().saturating_sub(self.timing.start)
    }
}

/// Takes the recorder back from the workers. Aborted tasks drop theirs only at their next turn,
/// so a share may be left: then what it holds is taken in its place.
pub(super) fn finished(recorder: Rc<RefCell<Recorder>>) -> Result<Recorded, WorkloadError> {
    let recorder = match Rc::try_unwrap(recorder) {
        Ok(cell) => cell.into_inner(),
        Err(shared) => shared.replace(Recorder::new(0, 0, 0, false, &[], Arc::default())?),
    };
    Ok(recorder.finish()?)
}

/// Waits for the common start, drives the load through warm-up, window and drain, and answers what was measured and what
/// came of that which went on beside it. `prepare` makes the workers, as many as the plan has, once the start is known.
///
/// # Errors
/// When recording or pacing fails, or the other generators are not met.
pub(super) async fn measure<W: Worker, B: Future>(
    context: &Context<'_>,
    gate: &dyn Gate,
    load: Load,
    prepare: impl FnOnce(&Ready) -> (Vec<W>, B),
) -> Result<(Part, B::Output), WorkloadError> {
    let (open_loop, offered_per_second) = match load.plan {
        Plan::Open { rate, .. } => (true, rate),
        Plan::Closed { .. } => (false, 0.0),
    };
    let planned_kind = load.kinds.first().copied().unwrap_or(Operation::Operation);
    let ready = Ready::at(context, gate, open_loop, load.kinds).await?;
    let (workers, beside) = prepare(&ready);
    let start_skew = ready.late();
    let label = context.label("arrivals");
    let window = ready.window();
    let (counts, usage, beside) = tokio::join!(
        drive(
            load.plan,
            ready.timing,
            context.seed(),
            &label,
            workers,
            &ready.recorder,
            planned_kind
        ),
        Meter::over(window.0, window.1),
        beside
    );
    let part = Part {
        counts: counts?,
        offered_per_second,
        recorded: finished(ready.recorder)?,
        window,
        planned_kind: planned_kind.as_str(),
        open_loop,
        start_skew,
        usage,
        ..Part::default()
    };
    Ok((part, beside))
}
