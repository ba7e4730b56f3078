//! The rates of a search by holds: what the holds of a cell showed so far gives the rate of the next. (Pure.)
//!
//! A hold is a trial, in the store before the next one begins, and nothing else is remembered of a search: one that was
//! interrupted goes on with what the store holds.

use bakeoff_analysis::sustain::{Bounds, Observation, hold, next};
use bakeoff_crds::capacity::CapacityRecord;
use bakeoff_crds::figure::Figure;
use bakeoff_crds::result::{TrialRecord, Verdict};
use bakeoff_crds::schedule::Trial;
use bakeoff_crds::spec::{ExperimentSpec, Sustain};

/// The outcomes of all holds of a run.
#[derive(Clone, Debug, Default)]
pub struct Holds(Vec<Seen>);

#[derive(Clone, Debug)]
struct Seen {
    workload: String,
    cell_index: i32,
    backend: String,
    observation: Observation,
}

impl Seen {
    fn is_of(&self, trial: &Trial) -> bool {
        self.workload == trial.workload
            && self.cell_index == trial.cell_index
            && self.backend == trial.backend
    }
}

fn sustain<'a>(spec: &'a ExperimentSpec, trial: &Trial) -> Option<&'a Sustain> {
    let mut workloads = spec.workloads.iter();
    let named = workloads.find(|workload| workload.name == trial.workload)?;
    named.sustain.as_ref()
}

/// What is recorded of the rate of a hold, also of one of which nothing else is: else the search would not know that it was tried.
#[must_use]
pub fn offered(spec: &ExperimentSpec, trial: &Trial, rate: Option<f64>) -> Option<(Figure, f64)> {
    let rate = rate.filter(|_| sustain(spec, trial).is_some())?;
    Some((Figure::OfferedPerSecond, rate))
}

impl Holds {
    /// Takes note of an attempt that ended; one of another kind of workload, or that never had a rate, is none.
    pub fn note(&mut self, spec: &ExperimentSpec, record: &TrialRecord) {
        let trial = &record.trial;
        let Some(sustain) = sustain(spec, trial) else {
            return;
        };
        let observation = match record.verdict {
            Verdict::Valid => {
                hold::judge(trial.block, &record.figures, sustain).map(|held| held.observation())
            }
            Verdict::Invalid(_) => {
                let rate = record.figures.get(&Figure::OfferedPerSecond);
                rate.map(|rate| Observation {
                    rate: rate.round() as u32,
                    held: None,
                })
            }
        };
        self.0.extend(observation.map(|observation| Seen {
            workload: trial.workload.clone(),
            cell_index: trial.cell_index,
            backend: trial.backend.clone(),
            observation,
        }));
    }

    /// The rate of a hold, operations per second; nothing where the trial is of another kind.
    ///
    /// # Errors
    /// When its ramp is not known or found no rate; in words.
    pub fn rate(
        &self,
        spec: &ExperimentSpec,
        trial: &Trial,
        found: &[CapacityRecord],
    ) -> Result<Option<f64>, String> {
        let Some(sustain) = sustain(spec, trial) else {
            return Ok(None);
        };
        let ramp = found.iter().find(|record| {
            record.workload == trial.workload
                && record.cell == trial.cell
                && record.backend == trial.backend
        });
        let ramp = ramp.ok_or_else(|| format!("the ramp of {} is not known", trial.id))?;
        if ramp.sustained_per_second <= 0.0 {
            return Err(format!(
                "the ramp of {} met the objective at no rate, so there is none to hold: raise objective.p99Milliseconds or \
                 lower ramp.from",
                trial.describe()
            ));
        }
        let bounds = Bounds {
            ramp: ramp.sustained_per_second,
            top: sustain.ramp.to.unsigned_abs(),
            close: 1.0 + f64::from(sustain.hold.resolution_percent) / 100.0,
        };
        let own = self.0.iter().filter(|seen| seen.is_of(trial));
        let seen: Vec<Observation> = own.map(|seen| seen.observation).collect();
        Ok(Some(f64::from(next(&bounds, &seen))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakeoff_crds::capacity::{CAPACITY_SCHEMA, CapacityLimit};
    use bakeoff_crds::result::{InvalidCode, InvalidReason, LoadCounts, TRIAL_SCHEMA};
    use bakeoff_crds::schedule::trials;
    use serde_json::json;

    fn restarted(trial: &Trial) -> TrialRecord {
        let at = "2026-01-01T00:00:00Z";
        let verdict = Verdict::Invalid(vec![InvalidReason {
            code: InvalidCode::BackendRestarted,
            detail: String::new(),
        }]);
        serde_json::from_value(json!({
            "schemaVersion": TRIAL_SCHEMA, "trial": trial, "attempt": 1, "startedAt": at, "endedAt": at,
            "window": {"start": at, "end": at, "micros": 0}, "verdict": verdict, "load": LoadCounts::default(), "operations": {},
        }))
        .unwrap()
    }

    /// A hold that the server did not live through has no figure but its rate, and the search must know that it was tried.
    #[test]
    fn a_rate_at_which_nothing_was_measured_is_not_tried_for_ever() {
        let spec: ExperimentSpec = serde_json::from_value(json!({
            "backends": [{"name": "pg", "postgres": {"version": "18.4"}}],
            "workloads": [{"name": "most", "sustain": {"activeRuns": [1_000]}}],
        }))
        .unwrap();
        let trial = &trials(&spec)[0];
        let ramp = CapacityRecord {
            schema_version: CAPACITY_SCHEMA.to_owned(),
            workload: trial.workload.clone(),
            cell: trial.cell.clone(),
            backend: trial.backend.clone(),
            sustained_per_second: 1_000.0,
            limit: CapacityLimit::Objective,
            steps: Vec::new(),
        };
        let mut holds = Holds::default();
        let rate = |holds: &Holds| {
            holds
                .rate(&spec, trial, std::slice::from_ref(&ramp))
                .unwrap()
        };
        let first = rate(&holds);
        for _ in 0..2 {
            let record = TrialRecord {
                figures: offered(&spec, trial, first).into_iter().collect(),
                ..restarted(trial)
            };
            holds.note(&spec, &record);
        }
        assert!(rate(&holds) < first, "{first:?}");
    }
}
