//! Holds events against the grammar, and measures them on the way.

use std::collections::HashMap;

use super::{Reason, Repair, Repairs};
use crate::Error;
use crate::format::{Counts, Distributions, Event, Kind, MOST_MICROS, Open};
use crate::quantile::Histogram;

/// A run that is open.
#[derive(Clone, Copy, Debug)]
struct OpenRun {
    number: u32,
    seq: u32,
    events: u32,
    /// The time of its creation, if it was created here.
    created: Option<u64>,
    last: u64,
}

/// A run that is open after the last event.
pub(crate) struct StillOpen {
    pub(crate) number: u32,
    /// When it has moved last; 0 if it was there at the start and did nothing since.
    pub(crate) last_micros: u64,
    pub(crate) seq: u32,
}

/// An event that fits, and what it means for its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The event, repaired if that was asked for.
    pub event: Event,
    /// The sequence number that its run reaches by it: 0 by creation, one more by each event after it.
    pub seq: u32,
    /// Microseconds since the event of the run before it.
    pub gap_micros: Option<u64>,
    /// Microseconds since its creation, where the event ends the run.
    pub life_micros: Option<u64>,
}

/// What was measured of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Runs that appear.
    pub runs: u64,
    /// Events by kind.
    pub counts: Counts,
    /// Runs that are open.
    pub open: Open,
    /// How runs look.
    pub quantiles: Distributions,
}

/// Holds events against the grammar, one after the other, and measures them. Memory grows with the runs that are open.
pub struct Checker {
    repair: Option<Repair>,
    repairs: Repairs,
    open: HashMap<u32, OpenRun>,
    runs: u64,
    last: u64,
    counts: Counts,
    peak: u64,
    /// Microseconds that runs were open, summed up to `last`.
    open_micros: u128,
    events_per_run: Histogram,
    gaps: Histogram,
    lives: Histogram,
}

impl Checker {
    /// Nothing has happened yet. Without a repair, an event that does not fit is an error.
    #[must_use]
    pub fn new(repair: Option<Repair>) -> Self {
        Self {
            repair,
            repairs: Repairs::default(),
            open: HashMap::new(),
            runs: 0,
            last: 0,
            counts: Counts::default(),
            peak: 0,
            open_micros: 0,
            events_per_run: Histogram::default(),
            gaps: Histogram::default(),
            lives: Histogram::default(),
        }
    }

    /// Takes the next event. `None`: it is left out, by repair.
    ///
    /// # Errors
    /// It does not fit, and no repair was asked for. `line` is where it stands, for the message.
    pub fn admit(&mut self, line: u64, mut event: Event) -> Result<Option<Step>, Error> {
        while let Some(reason) = self.misfit(&event) {
            let Some(repair) = self.repair else {
                return Err(Error::Grammar { line, reason });
            };
            // Each bend removes a reason for good, so that this ends.
            let bent = repair == Repair::Clamp && self.bend(&mut event, reason);
            if !bent {
                self.repairs.drop(reason);
                return Ok(None);
            }
            self.repairs.repair(reason);
        }
        Ok(Some(self.step(event)))
    }

    /// What is wrong with an event.
    fn misfit(&self, event: &Event) -> Option<Reason> {
        let begins = matches!(event.kind, Kind::Open | Kind::Created);
        if event.at_micros > MOST_MICROS {
            Some(Reason::TooLate)
        } else if event.kind == Kind::Open && event.value.is_none() {
            Some(Reason::BadValue)
        } else if event.at_micros < self.last {
            Some(Reason::TimeRunsBackwards)
        } else if event.kind == Kind::Open && (event.at_micros > 0 || self.counts.events() > 0) {
            Some(Reason::OpenLate)
        } else if begins && self.open.contains_key(&event.run) {
            Some(Reason::CreatedTwice)
        } else if begins && self.repair != Some(Repair::Clamp) && u64::from(event.run) != self.runs
        {
            let before = u64::from(event.run) < self.runs;
            Some(if before {
                Reason::CreatedTwice
            } else {
                Reason::NotDense
            })
        } else if begins && self.runs > u64::from(u32::MAX) {
            Some(Reason::NotDense)
        } else if !begins && !self.open.contains_key(&event.run) {
            let before = u64::from(event.run) < self.runs;
            Some(if before {
                Reason::AfterTheEnd
            } else {
                Reason::UnknownRun
            })
        } else {
            None
        }
    }

    fn bend(&self, event: &mut Event, reason: Reason) -> bool {
        match reason {
            Reason::TimeRunsBackwards => event.at_micros = self.last,
            Reason::OpenLate => (event.kind, event.value) = (Kind::Created, None),
            Reason::CreatedTwice if self.open.contains_key(&event.run) => {
                // The value of `o` is no size.
                event.value = event.value.filter(|_| event.kind == Kind::Created);
                event.kind = Kind::Transition;
            }
            _ => return false,
        }
        true
    }

    fn step(&mut self, mut event: Event) -> Step {
        self.open_micros += u128::from(event.at_micros - self.last) * self.open.len() as u128;
        self.last = event.at_micros;
        let mut gap_micros = None;
        let mut life_micros = None;
        let seq;
        if matches!(event.kind, Kind::Open | Kind::Created) {
            let created = event.kind == Kind::Created;
            seq = event.value.filter(|_| !created).unwrap_or(0);
            let run = OpenRun {
                // At most the largest number, which was looked at.
                number: self.runs as u32,
                seq,
                events: u32::from(created),
                created: created.then_some(event.at_micros),
                last: event.at_micros,
            };
            self.open.insert(event.run, run);
            if u64::from(event.run) != self.runs {
                // Taken by clamping only: a number is given, not kept.
                self.repairs.repair(Reason::NotDense);
            }
            event.run = run.number;
            self.runs += 1;
            self.peak = self.peak.max(self.open.len() as u64);
            *(if created {
                &mut self.counts.created
            } else {
                &mut self.counts.open
            }) += 1;
        } else {
            let original = event.run;
            let mut run = self.open.get(&original).copied().unwrap_or(OpenRun {
                number: original,
                seq: 0,
                events: 0,
                created: None,
                last: event.at_micros,
            });
            if run.events > 0 {
                let gap = event.at_micros.saturating_sub(run.last);
                self.gaps.record(gap);
                gap_micros = Some(gap);
            }
            run.seq = run.seq.saturating_add(1);
            run.events = run.events.saturating_add(1);
            run.last = event.at_micros;
            seq = run.seq;
            event.run = run.number;
            if event.kind == Kind::Done {
                self.open.remove(&original);
                self.counts.done += 1;
                self.events_per_run.record(u64::from(run.events));
                life_micros = run
                    .created
                    .map(|created| event.at_micros.saturating_sub(created));
                life_micros
                    .into_iter()
                    .for_each(|life| self.lives.record(life));
            } else {
                self.open.insert(original, run);
                self.counts.transition += 1;
            }
        }
        Step {
            event,
            seq,
            gap_micros,
            life_micros,
        }
    }

    /// Runs that are open now.
    #[must_use]
    pub fn open_now(&self) -> u64 {
        self.open.len() as u64
    }

    /// What was done so far.
    #[must_use]
    pub fn repairs(&self) -> &Repairs {
        &self.repairs
    }

    /// The shortest recording that holds all events so far: every event lies before its end.
    #[must_use]
    pub fn shortest_span(&self) -> u64 {
        if self.counts.lines() == 0 {
            0
        } else {
            self.last + 1
        }
    }

    /// The runs that are open.
    pub(crate) fn still_open(&self) -> impl Iterator<Item = StillOpen> + '_ {
        self.open.values().map(|run| StillOpen {
            number: run.number,
            last_micros: run.last,
            seq: run.seq,
        })
    }

    /// Microseconds that runs were open up to the end of a recording of this length, summed.
    pub(crate) fn open_micros(&self, span_micros: u64) -> u128 {
        self.open_micros
            + u128::from(span_micros.saturating_sub(self.last)) * self.open.len() as u128
    }

    /// What was measured over a recording of this length.
    #[must_use]
    pub fn finish(mut self, span_micros: u64) -> Measured {
        let open_micros = self.open_micros(span_micros);
        for run in self.open.values() {
            self.events_per_run.record(u64::from(run.events));
        }
        let span = u128::from(span_micros.max(1));
        Measured {
            runs: self.runs,
            counts: self.counts,
            open: Open {
                at_start: self.counts.open,
                at_end: self.open.len() as u64,
                peak: self.peak,
                mean_thousandths: ((open_micros * 1_000 + span / 2) / span)
                    .try_into()
                    .unwrap_or(u64::MAX),
            },
            quantiles: Distributions {
                events_per_run: self.events_per_run.quantiles(),
                gap_micros: self.gaps.quantiles(),
                life_micros: self.lives.quantiles(),
            },
        }
    }
}
