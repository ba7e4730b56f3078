//! The frame of a trial, whatever its workload: the common start, the recorder, the load, and what goes on beside it.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use super::{Context, Gate, Part, WorkloadError};
use crate::instrument::arrivals::Pace;
use crate::instrument::clock;
use crate::instrument::drive::{Counts, Timing, Worker, drive, drive_planned};
use crate::instrument::meter::Meter;
use crate::instrument::record::{Operation, Recorded, Recorder};

/// What is offered, and what is recorded of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Closed or open, and how much of it.
    pub pace: Pace,
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
    let (open_loop, offered_per_second) = match load.pace {
        Pace::Open { rate, .. } => (true, rate),
        Pace::Closed { .. } => (false, 0.0),
    };
    let planned_kind = load.kinds.first().copied().unwrap_or(Operation::Operation);
    let ready = Ready::at(context, gate, open_loop, load.kinds).await?;
    let (workers, beside) = prepare(&ready);
    let label = context.label("arrivals");
    let (pace, seed) = (load.pace, context.seed());
    let driven = drive(
        pace,
        ready.timing,
        seed,
        &label,
        workers,
        &ready.recorder,
        planned_kind,
    );
    let (mut part, beside) = framed(&ready, open_loop, planned_kind, driven, beside).await?;
    part.recorded = finished(ready.recorder)?;
    part.offered_per_second = offered_per_second;
    Ok((part, beside))
}

/// The same for a load whose instants are planned one by one. How many there are, and so what was offered and expected, is
/// left to the caller.
///
/// # Errors
/// Those of [`measure`].
pub(super) async fn measure_planned<W: Worker, B: Future>(
    context: &Context<'_>,
    gate: &dyn Gate,
    offsets: Box<dyn Iterator<Item = u64> + Send>,
    kinds: &'static [Operation],
    prepare: impl FnOnce(&Ready) -> (Vec<W>, B),
) -> Result<(Part, B::Output), WorkloadError> {
    let planned_kind = kinds.first().copied().unwrap_or(Operation::Operation);
    let ready = Ready::at(context, gate, true, kinds).await?;
    let (workers, beside) = prepare(&ready);
    let recorder = &ready.recorder;
    let driven = drive_planned(offsets, ready.timing, workers, recorder, planned_kind);
    let (mut part, beside) = framed(&ready, true, planned_kind, driven, beside).await?;
    part.recorded = finished(ready.recorder)?;
    Ok((part, beside))
}

/// What is driven, metered, beside what goes on meanwhile. The recorder is not taken back yet.
async fn framed<B: Future>(
    ready: &Ready,
    open_loop: bool,
    planned_kind: Operation,
    driven: impl Future<Output = std::io::Result<Counts>>,
    beside: B,
) -> Result<(Part, B::Output), WorkloadError> {
    let start_skew = ready.late();
    let window = ready.window();
    let (counts, usage, beside) = tokio::join!(driven, Meter::over(window.0, window.1), beside);
    let part = Part {
        counts: counts?,
        window,
        planned_kind: planned_kind.as_str(),
        open_loop,
        start_skew,
        usage,
        ..Part::default()
    };
    Ok((part, beside))
}
