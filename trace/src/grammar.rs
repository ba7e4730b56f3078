//! What events of runs may look like: `(o|c) t* d?`, in an order of time, with dense numbers, each `o` before all else.
//!
//! Whoever wants something done about events that do not fit says so: nothing is repaired in silence, and what is repaired
//! is counted by reason.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::format::{Counts, Distributions, Event, Kind, Open};
use crate::quantile::Histogram;

/// What is done about an event that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Repair {
    /// It is bent until it fits: a time that runs backwards becomes that of the event before, a second creation becomes a
    /// transition. What cannot be bent is left out.
    Clamp,
    /// It is left out.
    Drop,
}

/// Why an event does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It is earlier than the event before it.
    TimeRunsBackwards,
    /// Its run was created already, or was open at the start.
    CreatedTwice,
    /// Its run does not exist (yet).
    UnknownRun,
    /// Its run has ended.
    AfterTheEnd,
    /// A run that is open at the start does not come at time 0, before all that happens.
    OpenLate,
    /// A new run does not have the next number.
    NotDense,
    /// It has no time, or one that cannot be read.
    NoTime,
    /// It says not which run it is of.
    NoRun,
    /// It has a value that is no number of bytes.
    BadValue,
    /// It lies outside the window that was asked for.
    OutsideWindow,
}

impl Reason {
    /// The name under which it is counted.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TimeRunsBackwards => "timeRunsBackwards",
            Self::CreatedTwice => "createdTwice",
            Self::UnknownRun => "unknownRun",
            Self::AfterTheEnd => "afterTheEnd",
            Self::OpenLate => "openLate",
            Self::NotDense => "notDense",
            Self::NoTime => "noTime",
            Self::NoRun => "noRun",
            Self::BadValue => "badValue",
            Self::OutsideWindow => "outsideWindow",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimeRunsBackwards => "the event is earlier than the one before it",
            Self::CreatedTwice => "its run was there already and is created again",
            Self::UnknownRun => "its run was neither created nor open at the start",
            Self::AfterTheEnd => "its run has ended before",
            Self::OpenLate => {
                "a run that is open at the start comes at time 0, before all that happens"
            }
            Self::NotDense => "a new run takes the next number, which this one does not",
            Self::NoTime => "the event has no time that can be read",
            Self::NoRun => "the event says not which run it is of",
            Self::BadValue => "the value is no number of bytes below 4294967296",
            Self::OutsideWindow => "the event lies outside the window",
        })
    }
}

/// What was done to events, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    dropped: BTreeMap<Reason, u64>,
    repaired: BTreeMap<Reason, u64>,
}

impl Repairs {
    pub(crate) fn drop(&mut self, reason: Reason) {
        *self.dropped.entry(reason).or_default() += 1;
    }

    pub(crate) fn repair(&mut self, reason: Reason) {
        *self.repaired.entry(reason).or_default() += 1;
    }

    /// Events that were left out.
    #[must_use]
    pub fn dropped(&self) -> BTreeMap<String, u64> {
        named(&self.dropped)
    }

    /// Events that were changed.
    #[must_use]
    pub fn repaired(&self) -> BTreeMap<String, u64> {
        named(&self.repaired)
    }
}

fn named(counts: &BTreeMap<Reason, u64>) -> BTreeMap<String, u64> {
    counts
        .iter()
        .map(|(reason, count)| (reason.name().to_owned(), *count))
        .collect()
}

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
        if event.at_micros < self.last {
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

    /// When each of the open runs has moved last; 0 for those that were there at the start and did nothing since.
    pub(crate) fn last_moves(&self) -> impl Iterator<Item = u64> + '_ {
        self.open.values().map(|run| run.last)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::parse;

    fn admit(lines: &[&str], repair: Option<Repair>) -> (Result<Vec<String>, String>, Repairs) {
        let mut checker = Checker::new(repair);
        let mut kept = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            match checker.admit(index as u64 + 2, parse(line.as_bytes()).unwrap()) {
                Ok(Some(step)) => {
                    let mut line = String::new();
                    step.event.write_line(&mut line);
                    kept.push(line.trim_end().to_owned());
                }
                Ok(None) => {}
                Err(error) => return (Err(error.to_string()), checker.repairs().clone()),
            }
        }
        (Ok(kept), checker.repairs().clone())
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_line() {
        for (lines, said) in [
            (vec!["5,0,c,", "4,0,t,"], "line 3: the event is earlier"),
            (
                vec!["5,0,c,", "5,0,c,"],
                "line 3: its run was there already",
            ),
            (vec!["5,0,c,", "5,1,t,"], "line 3: its run was neither"),
            (
                vec!["5,0,c,", "5,0,d,", "6,0,t,"],
                "line 4: its run has ended",
            ),
            (
                vec!["5,0,o,3"],
                "line 2: a run that is open at the start comes at time 0",
            ),
            (vec!["5,1,c,"], "line 2: a new run takes the next number"),
            (
                vec!["5,0,c,", "6,0,d,", "7,0,c,"],
                "line 4: its run was there already",
            ),
        ] {
            let (found, _) = admit(&lines, None);
            assert!(
                found.clone().unwrap_err().starts_with(said),
                "{lines:?}: {found:?}"
            );
        }
    }

    #[test]
    fn clamping_bends_and_dropping_leaves_out_and_both_count() {
        let lines = [
            "5,0,c,", "4,0,t,9", "6,0,c,", "6,7,c,", "7,7,t,", "8,0,d,", "9,0,t,",
        ];
        let (kept, repairs) = admit(&lines, Some(Repair::Clamp));
        assert_eq!(
            kept.unwrap(),
            ["5,0,c,", "5,0,t,9", "6,0,t,", "6,1,c,", "7,1,t,", "8,0,d,"]
        );
        assert_eq!(repairs.repaired().len(), 3, "{repairs:?}");
        assert_eq!(repairs.dropped()["afterTheEnd"], 1);
        let (kept, repairs) = admit(&lines, Some(Repair::Drop));
        assert_eq!(kept.unwrap(), ["5,0,c,", "8,0,d,"]);
        assert_eq!(repairs.dropped().values().sum::<u64>(), 5);
        assert!(repairs.repaired().is_empty());
    }

    #[test]
    fn what_was_measured_follows_from_the_events() {
        let mut checker = Checker::new(None);
        for line in ["0,0,o,3", "10,1,c,", "20,0,t,", "30,1,t,", "40,1,d,"] {
            checker.admit(0, parse(line.as_bytes()).unwrap()).unwrap();
        }
        assert_eq!(checker.shortest_span(), 41);
        let measured = checker.finish(100);
        // Run 0 is open for all 100, run 1 from 10 to 40.
        assert_eq!(
            measured.open,
            Open {
                at_start: 1,
                at_end: 1,
                peak: 2,
                mean_thousandths: 1_300
            }
        );
        assert_eq!(measured.counts.events(), 4);
        assert_eq!(measured.quantiles.life_micros.unwrap().max, 30);
        assert_eq!(measured.quantiles.gap_micros.unwrap().max, 20);
        assert_eq!(measured.quantiles.events_per_run.unwrap().p50, 1);
    }
}
