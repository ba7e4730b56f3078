//! Decides what each event is to its run, while the events come run by run.

use super::record::{ByRun, ByTime};
use super::{Settings, What};
use crate::Error;
use crate::format::{Kind, MOST_MICROS};
use crate::grammar::{Reason, Repair, Repairs};
use crate::sort::Sorter;

/// The run whose events are coming.
struct Current {
    key: u128,
    number: u32,
    /// The time and place of the event before, for the order.
    at_micros: u64,
    sequence: u64,
    /// The place of its first event in the input.
    first: u64,
    /// The latest time so far, in microseconds since 1970.
    latest: i64,
    /// Events before the window, none of which is written.
    before: u32,
    /// Whether anything of the run was written.
    written: bool,
    ended: bool,
    /// The event that came last: what it is depends on whether one follows.
    held: Option<ByRun>,
}

impl Current {
    /// Whether the run is over, as far as is known.
    fn is_over(&self) -> bool {
        let held = self.held.as_ref();
        held.is_some_and(|held| matches!(What::from(held.what), What::Done | What::Over))
    }
}

/// Goes through the events of all runs.
pub(super) struct Runs {
    start: i64,
    repair: Option<Repair>,
    of_rows: bool,
    repairs: Repairs,
    current: Option<Current>,
    runs: u32,
    index: u64,
}

impl Runs {
    pub(super) fn new(start: i64, settings: &Settings, repairs: Repairs) -> Self {
        Self {
            start,
            repair: settings.repair,
            of_rows: settings.of_rows,
            repairs,
            current: None,
            runs: 0,
            index: 0,
        }
    }

    pub(super) fn push(&mut self, event: ByRun, out: &mut Sorter<ByTime>) -> Result<(), Error> {
        if self
            .current
            .as_ref()
            .is_none_or(|current| current.key != event.run || self.returns(current, &event))
        {
            self.end_run(out)?;
            self.current = Some(Current {
                key: event.run,
                number: self.runs,
                at_micros: 0,
                sequence: 0,
                first: event.sequence,
                latest: i64::MIN,
                before: 0,
                written: false,
                ended: false,
                held: None,
            });
            self.runs = self.runs.checked_add(1).ok_or_else(|| {
                Error::Options(
                    "there are more than 4294967295 runs: import a shorter window".to_owned(),
                )
            })?;
        }
        let Some(mut current) = self.current.take() else {
            return Ok(());
        };
        let taken = self.take(&mut current, event, out);
        self.current = Some(current);
        taken
    }

    /// Whether the event creates another run, which has the key of one that has ended.
    fn returns(&self, current: &Current, event: &ByRun) -> bool {
        self.of_rows && What::from(event.what) == What::Created && current.is_over()
    }

    /// An event does not fit. Whether it is bent; if not, it is left out.
    fn bends(&mut self, line: u64, reason: Reason) -> Result<bool, Error> {
        match self.repair {
            None => Err(Error::Grammar { line, reason }),
            Some(Repair::Drop) => {
                self.repairs.drop(reason);
                Ok(false)
            }
            Some(Repair::Clamp) => {
                self.repairs.repair(reason);
                Ok(true)
            }
        }
    }

    fn take(
        &mut self,
        current: &mut Current,
        mut event: ByRun,
        out: &mut Sorter<ByTime>,
    ) -> Result<(), Error> {
        let mut what = What::from(event.what);
        if self.of_rows && current.is_over() && matches!(what, What::Done | What::Over) {
            // The row says once more that its run has ended, which it did the first time.
            self.repairs.drop(Reason::AfterTheEnd);
            return Ok(());
        }
        if event.at < current.latest {
            if !self.bends(event.line, Reason::TimeRunsBackwards)? {
                return Ok(());
            }
            event.at = current.latest;
        }
        let over = current.is_over();
        if let Some(mut held) = current.held.take() {
            if over {
                // Something follows the end: either it is left out, or that was not the end.
                if !self.bends(event.line, Reason::AfterTheEnd)? {
                    current.held = Some(held);
                    return Ok(());
                }
                held.what = match What::from(held.what) {
                    What::Over => What::There,
                    _ => What::Transition,
                }
                .into();
            }
            if what == What::Created {
                if !self.bends(event.line, Reason::CreatedTwice)? {
                    current.held = Some(held);
                    return Ok(());
                }
                what = What::Transition;
            }
            self.write(current, held, false, out)?;
        }
        current.latest = event.at;
        event.what = what.into();
        current.held = Some(event);
        Ok(())
    }

    /// What was done to events, and how many are left.
    pub(super) fn finish(mut self, out: &mut Sorter<ByTime>) -> Result<(Repairs, u64), Error> {
        self.end_run(out)?;
        Ok((self.repairs, self.index))
    }

    fn end_run(&mut self, out: &mut Sorter<ByTime>) -> Result<(), Error> {
        let Some(mut current) = self.current.take() else {
            return Ok(());
        };
        if let Some(held) = current.held.take() {
            self.write(&mut current, held, true, out)?;
        }
        if current.before > 0 && !current.written && !current.ended {
            self.open(&mut current, out)?;
        }
        Ok(())
    }

    /// The run was there at the start.
    fn open(&mut self, current: &mut Current, out: &mut Sorter<ByTime>) -> Result<(), Error> {
        let seq = current.before.saturating_sub(1);
        self.put(current, 0, 0, Kind::Open, Some(seq), out)
    }

    /// Writes an event of which it is known whether it is the last one of its run.
    fn write(
        &mut self,
        current: &mut Current,
        event: ByRun,
        last: bool,
        out: &mut Sorter<ByTime>,
    ) -> Result<(), Error> {
        let what = What::from(event.what);
        if what == What::Over {
            // Nothing of it lies within the recording.
            current.ended = true;
            return Ok(());
        }
        let first = !current.written && current.before == 0;
        let done = what == What::Done || (last && !first && what == What::Unknown { ends: true });
        let created = first && matches!(what, What::Created | What::Unknown { .. } | What::There);
        if event.at < self.start {
            if what != What::There {
                self.repairs.drop(Reason::OutsideWindow);
            }
            // One that moves before anything is known of it was created earlier.
            current.before = current
                .before
                .saturating_add(if created || !first { 1 } else { 2 });
            current.ended = done;
            return Ok(());
        }
        if !current.written && !created {
            self.open(current, out)?;
        }
        let kind = match (created, done) {
            (true, _) => Kind::Created,
            (false, true) => Kind::Done,
            (false, false) => Kind::Transition,
        };
        let at_micros = (i128::from(event.at) - i128::from(self.start)) as u128;
        if at_micros > u128::from(MOST_MICROS) {
            return Err(Error::Options(
                "the events span more than 3000 years: state the unit of the times, or a window"
                    .to_owned(),
            ));
        }
        self.put(
            current,
            at_micros as u64,
            event.sequence,
            kind,
            event.value,
            out,
        )
    }

    fn put(
        &mut self,
        current: &mut Current,
        at_micros: u64,
        sequence: u64,
        kind: Kind,
        value: Option<u32>,
        out: &mut Sorter<ByTime>,
    ) -> Result<(), Error> {
        let same = current.written && at_micros == current.at_micros;
        current.sequence = if same {
            sequence.max(current.sequence)
        } else {
            sequence
        };
        current.at_micros = at_micros;
        current.written = true;
        self.index += 1;
        out.push(ByTime {
            at_micros,
            sequence: current.sequence,
            // Runs that are open at the start come in the order of the input.
            index: if kind == Kind::Open {
                current.first
            } else {
                self.index
            },
            run: current.number,
            kind,
            value,
        })
    }
}
