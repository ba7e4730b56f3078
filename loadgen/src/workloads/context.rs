//! What a workload needs to know of its trial.

use std::sync::Arc;

use bakeoff_crds::schedule::{Trial, factor};
use bakeoff_crds::spec::{ExperimentSpec, Load};

use super::body::Bodies;
use super::{FaultDesk, WorkloadError};
use crate::drivers::access::Access;
use crate::drivers::redis::LockServer;
use crate::instrument::arrivals::Pace;
use crate::instrument::drive::Timing;
use crate::instrument::record::LiveCounts;
use crate::traces::Traces;

/// What a workload needs to know of its trial.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// What was asked for.
    pub spec: &'a ExperimentSpec,
    /// The trial.
    pub trial: &'a Trial,
    /// The attempt at it, from 1.
    pub attempt: i32,
    /// Connections to the backend.
    pub access: Access,
    /// The Redis server that keeps locks, where the experiment has one.
    pub lock: Option<&'a LockServer>,
    /// The prefix of everything this run writes there; empty or ending with a slash.
    pub prefix: String,
    /// The index of this generator, from 0.
    pub generator: usize,
    /// How many generators share the load.
    pub generators: usize,
    /// The rate of a load in shares of capacity, operations per second of all generators together.
    pub rate: Option<f64>,
    /// Open runs at most, whatever the trial has.
    pub most_runs: u64,
    /// Who makes faults; nobody outside a cluster, and on a server that keeps nothing.
    pub faults: Option<&'a dyn FaultDesk>,
    /// Where the traces are that are replayed.
    pub traces: &'a Traces,
    /// Live counts for metrics.
    pub live: Arc<LiveCounts>,
}

impl Context<'_> {
    /// The seed of the experiment.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.spec.seed.unsigned_abs()
    }

    /// A label for random streams of this trial and generator. Attempts and backends differ only
    /// where `own` says more: the same trial on two backends meets the same arrivals and sizes.
    #[must_use]
    pub fn label(&self, own: &str) -> String {
        format!(
            "{own}/{}/{}/{}/{}",
            self.trial.block, self.trial.workload, self.trial.cell_index, self.generator
        )
    }

    /// What is written to a store: no two generators, backends, trials, attempts or runs write the same, which some stores would
    /// keep once.
    pub(super) fn bodies(&self, size: usize) -> Bodies {
        let label = format!("{}{}", self.attempt_prefix(), self.generator);
        Bodies::new(size, self.seed(), &label)
    }

    /// The prefix of the objects of this attempt.
    #[must_use]
    pub fn attempt_prefix(&self) -> String {
        format!("{}t/{}/{}/", self.prefix, self.trial.id, self.attempt)
    }

    /// A level of the trial's cell.
    ///
    /// # Errors
    /// When the cell has no such factor or it is no number.
    pub fn level(&self, factor: &str) -> Result<u64, WorkloadError> {
        let text = self.trial.cell.get(factor).ok_or_else(|| {
            WorkloadError::Spec(format!("trial {} has no factor {factor}", self.trial.id))
        })?;
        text.parse()
            .map_err(|_| WorkloadError::Spec(format!("{factor}={text} is no number")))
    }

    /// This generator's share of clients: as even as whole numbers allow.
    #[must_use]
    pub fn share(&self, clients: usize) -> usize {
        share(clients, self.generator, self.generators)
    }

    /// How many of so many clients the generators before this one have.
    #[must_use]
    pub fn before(&self, clients: usize) -> usize {
        let earlier = 0..self.generator;
        earlier
            .map(|one| share(clients, one, self.generators))
            .sum()
    }

    /// The timing of the trial that starts at `start`.
    #[must_use]
    pub fn timing(&self, start: u64) -> Timing {
        Timing::new(start, &self.spec.trials)
    }

    /// The load plan of a workload with a `load`, from the cell.
    ///
    /// # Errors
    /// When the cell or the load does not fit the spec.
    pub(super) fn pace(&self, load: &Load) -> Result<Pace, WorkloadError> {
        match (&load.closed, &load.open, &load.capacity) {
            (Some(_), None, None) => {
                let clients =
                    usize::try_from(self.level(factor::CONCURRENCY)?).unwrap_or(usize::MAX);
                Ok(Pace::Closed {
                    clients: self.share(clients),
                })
            }
            (None, Some(open), None) => {
                let rate = self.level(factor::RATE_PER_SECOND)? as f64 / self.generators as f64;
                let max_in_flight = usize::try_from(open.max_in_flight).unwrap_or(1);
                Ok(Pace::Open {
                    rate,
                    arrivals: open.arrivals,
                    max_in_flight,
                })
            }
            (None, None, Some(capacity)) => {
                let rate = self.rate.ok_or_else(|| {
                    WorkloadError::Spec("the rate of this share of capacity is not known".into())
                })?;
                Ok(Pace::Open {
                    rate: rate / self.generators as f64,
                    arrivals: capacity.arrivals,
                    max_in_flight: usize::try_from(capacity.max_in_flight).unwrap_or(1),
                })
            }
            _ => Err(WorkloadError::Spec(
                "load sets exactly one of closed, open and capacity".into(),
            )),
        }
    }
}

/// One generator's share of clients: as even as whole numbers allow. (Pure.)
pub(super) fn share(clients: usize, generator: usize, generators: usize) -> usize {
    clients / generators + usize::from(generator < clients % generators)
}

/// The places of one generator's workers among those of all generators, where each has its [`share`]: every place is somebody's, and
/// nobody else's. (Pure.)
pub(super) fn places(
    workers: usize,
    generator: usize,
    generators: usize,
) -> impl Iterator<Item = u64> {
    (0..workers).map(move |worker| (worker * generators + generator) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_one_workers() {
        for (clients, generators) in (0..40).flat_map(|n| (1..9).map(move |g| (n, g))) {
            let mut all: Vec<u64> = (0..generators)
                .flat_map(|one| places(share(clients, one, generators), one, generators))
                .collect();
            all.sort_unstable();
            assert_eq!(all, Vec::from_iter(0..clients as u64), "{generators}");
        }
    }
}
