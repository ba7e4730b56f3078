//! What events of runs may look like: `(o|c) t* d?`, in an order of time, with dense numbers, each `o` before all else.
//!
//! Whoever wants something done about events that do not fit says so: nothing is repaired in silence, and what is repaired
//! is counted by reason.

mod checker;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, named};
pub use crate::reason::Reason;
pub(crate) use checker::StillOpen;
pub use checker::{Checker, Measured, Step};

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

impl std::str::FromStr for Repair {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        named(
            "repair",
            text,
            &[("clamp", Self::Clamp), ("drop", Self::Drop)],
        )
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
        by_name(&self.dropped)
    }

    /// Events that were changed.
    #[must_use]
    pub fn repaired(&self) -> BTreeMap<String, u64> {
        by_name(&self.repaired)
    }
}

fn by_name(counts: &BTreeMap<Reason, u64>) -> BTreeMap<String, u64> {
    counts
        .iter()
        .map(|(reason, count)| (reason.name().to_owned(), *count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Event, Kind, Open, parse};

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
    fn what_could_not_be_read_again_is_not_taken() {
        let event = |at_micros, kind| Event {
            at_micros,
            run: 0,
            kind,
            value: None,
        };
        for event in [event(0, Kind::Open), event(u64::MAX, Kind::Created)] {
            assert!(Checker::new(None).admit(2, event).is_err(), "{event:?}");
            assert_eq!(
                Checker::new(Some(Repair::Clamp)).admit(2, event).unwrap(),
                None
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
