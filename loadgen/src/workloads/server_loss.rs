//! The loss of a server: small PUTs, and in the middle of the window a server is killed.
//!
//! The PUTs are those of `smallObjectPut`. They are recorded a second time by the phase in which they were due: before the fault, from it
//! until all servers were back, and after that. When the fault was made is known only afterwards, so what is due around it is kept and
//! told apart in the end. What was acknowledged around the fault is read again when all servers are back.

mod reading;
mod witness;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bakeoff_crds::figure::Figure;
use bakeoff_crds::quantity::Quantity;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{Fault, ServerLoss};

use self::reading::Reading;
use self::witness::{Ended, Phases, Witnessed};
use super::small_object_put::Putters;
use super::trial::{Load, Ready, measure};
use super::{Context, FaultDesk, Gate, Part, Working, Workload, WorkloadError};
use crate::failure::{Failure, FailureClass};
use crate::instrument::clock::{self, SECOND};
use crate::instrument::record::{Operation, Recorder};

const PUT: Operation = Operation::Put;

/// How often it is looked whether the fault was made and mended.
const LOOK: Duration = Duration::from_millis(50);
/// The fault has to be made so soon after it was due.
const MOST_DELAY: u64 = 60 * SECOND;
/// How long all servers have to come back.
const MOST_RECOVERY: u64 = 180 * SECOND;

impl Workload for ServerLoss {
    fn run<'a>(&'a self, context: &'a Context<'_>, gate: &'a dyn Gate) -> Working<'a, Part> {
        Box::pin(run(context, self, gate))
    }

    fn runs_on_null(&self) -> bool {
        true
    }
}

/// What came of the fault: instants of the monotonic clock.
#[derive(Clone, Copy, Debug)]
struct Loss {
    due: u64,
    made: u64,
    /// When all servers were back; none where they were not within the wait for them.
    mended: Option<u64>,
    /// When it was last looked.
    looked: u64,
}

/// Asks for the fault at its instant and waits until it is mended.
async fn lose(
    desk: &dyn FaultDesk,
    id: &str,
    backend: &str,
    due: u64,
    witnessed: &RefCell<Witnessed>,
) -> Result<Loss, Failure> {
    clock::sleep_until(due).await;
    desk.ask(id, backend);
    let late = || {
        Failure::new(
            FailureClass::Client,
            "no server was killed in time: the operator did not hear that it was due, or may not delete pods".to_owned(),
        )
    };
    let loss = loop {
        tokio::time::sleep(LOOK).await;
        let (seen, looked) = (desk.seen(id), clock::now());
        let Some(made) = seen.made else {
            if looked.saturating_sub(due) > MOST_DELAY {
                break Err(late());
            }
            continue;
        };
        witnessed.borrow_mut().hear();
        let waited = looked.saturating_sub(made);
        if seen.mended.is_some() || waited > MOST_RECOVERY {
            let mended = seen.mended;
            break Ok(Loss {
                due,
                made,
                mended,
                looked,
            });
        }
    };
    desk.withdraw();
    loss
}

/// Runs the trial.
///
/// # Errors
/// When the trial does not fit the spec, nobody makes the fault, or recording or pacing fails.
async fn run(
    context: &Context<'_>,
    spec: &ServerLoss,
    gate: &dyn Gate,
) -> Result<Part, WorkloadError> {
    if context.generators != 1 {
        return Err(WorkloadError::Spec("serverLoss takes one generator".into()));
    }
    let [fault] = spec.faults[..] else {
        return Err(WorkloadError::Spec("serverLoss takes one fault".into()));
    };
    let dialer = context.access.s3()?;
    dialer.count_servers().await;
    let pace = context.pace(&spec.load)?;
    let text = context.trial.cell.get(factor::OBJECT_SIZE);
    let size = Quantity::from(text.map_or("", String::as_str)).units()?;
    let size = usize::try_from(size).unwrap_or(0);
    let load = Load {
        pace,
        kinds: &[PUT],
    };
    let witnessed = Rc::new(RefCell::new(Witnessed::default()));
    let bodies = Rc::new(context.bodies(size));
    let id = format!("{}/{}", context.trial.id, context.attempt);
    let prepare = |ready: &Ready| {
        let putters = Putters {
            context,
            dialer,
            bodies: Rc::clone(&bodies),
            prefixes: spec.prefixes,
            // One generator is all.
            place: 0,
        };
        let workers = putters.workers(pace.workers(), ready, &witnessed);
        let (id, due) = (id.as_str(), due(&fault, ready.window()));
        let witnessed = &witnessed;
        let beside = async move {
            match context.faults {
                Some(desk) => Some(lose(desk, id, &context.trial.backend, due, witnessed).await),
                // The null server loses nothing.
                None => None,
            }
        };
        (workers, beside)
    };
    let (mut part, loss) = measure(context, gate, load, prepare).await?;
    let Some(loss) = loss.transpose()? else {
        return Ok(part);
    };
    if loss.made >= part.window.1 {
        let detail = format!(
            "the server was killed {} s after the window had ended: lengthen trials.windowSeconds",
            (loss.made - part.window.1) / SECOND
        );
        return Err(Failure::new(FailureClass::Client, detail).into());
    }
    let mut witnessed = witnessed.take();
    let phases = Phases {
        made: loss.made,
        mended: loss.mended.unwrap_or(u64::MAX),
    };
    let around = witnessed.around(loss.made);
    let read = Reading::new(dialer, &bodies).read_back(&around).await;
    part.figures = figures(&loss, &witnessed.ended, read[0].checked, part.window);
    part.checks = read.into();
    part.recorded.operations.extend(by_phase(
        phases,
        &witnessed.ended,
        part.window,
        part.open_loop,
    )?);
    part.disturbed = true;
    Ok(part)
}

/// When a fault is due in a window.
fn due(fault: &Fault, (start, end): (u64, u64)) -> u64 {
    let percent = u64::try_from(fault.at.clamp(0, 100)).unwrap_or(0);
    start + (end - start) / 100 * percent
}

/// The operations of the window by the phase in which they were due.
fn by_phase(
    phases: Phases,
    ended: &[Ended],
    (start, end): (u64, u64),
    open_loop: bool,
) -> Result<BTreeMap<String, bakeoff_crds::result::OperationRecord>, WorkloadError> {
    let mut recorder = Recorder::new(start, end, 0, open_loop, &Phases::KINDS, Arc::default())?;
    for one in ended {
        let kind = phases.of(one.planned());
        match one {
            Ended::Well(sample) => recorder.success(kind, *sample),
            Ended::Badly {
                planned,
                ended,
                failure,
            } => {
                recorder.failure(kind, *planned, *planned, *ended, failure);
            }
        }
    }
    Ok(recorder.finish()?.operations)
}

/// What the loss did. (Pure.)
fn figures(
    loss: &Loss,
    ended: &[Ended],
    read: i64,
    (_, closes): (u64, u64),
) -> BTreeMap<Figure, f64> {
    let millis = |nanos: u64| nanos as f64 / 1e6;
    let mut well: Vec<u64> = ended
        .iter()
        .filter_map(|one| match one {
            Ended::Well(sample) => Some(sample.ended),
            Ended::Badly { .. } => None,
        })
        .filter(|ended| (loss.made..closes).contains(ended))
        .collect();
    well.sort_unstable();
    // Also from the fault to the first of them, and from the last one to the end of the window.
    let ends = [loss.made].into_iter().chain(well.iter().copied());
    let nexts = well.iter().copied().chain([closes]);
    let outage = ends
        .zip(nexts)
        .map(|(one, next)| next.saturating_sub(one))
        .max();
    let failed = ended.iter().filter(|one| match one {
        Ended::Well(_) => false,
        Ended::Badly { ended, .. } => *ended >= loss.made,
    });
    let recovered = loss.mended.unwrap_or(loss.looked).saturating_sub(loss.made);
    BTreeMap::from([
        (Figure::OutageMilliseconds, millis(outage.unwrap_or(0))),
        (Figure::FailedDuring, failed.count() as f64),
        (Figure::RecoveryMilliseconds, millis(recovered)),
        (
            Figure::Recovered,
            f64::from(u8::from(loss.mended.is_some())),
        ),
        (Figure::ReadBackObjects, read as f64),
        (
            Figure::FaultDelayMilliseconds,
            millis(loss.made.saturating_sub(loss.due)),
        ),
    ])
}

#[cfg(test)]
mod tests;
