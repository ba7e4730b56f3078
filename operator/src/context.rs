//! What a reconcile holds on to. (I/O handles; the decisions are elsewhere.)

use crate::caches::{Caches, Wake};
use crate::controllers::experiment::progress::Asked;
use crate::error::Error;
use crate::lease::Tenure;
use crate::made::Made;
use crate::metrics::Metrics;
use crate::settings::Settings;
use bakeoff_crds::Experiment;
use bakeoff_rules::queue::Pool;
use kube::Client;
use kube::runtime::events::Recorder;
use kube::runtime::reflector::Store;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What a reconcile holds on to.
pub struct Context {
    /// Talks to the API server.
    pub client: Client,
    /// Publishes events; shared, so that equal ones aggregate.
    pub recorder: Recorder,
    /// The configuration of the installation.
    pub settings: Settings,
    /// Children and nodes.
    pub caches: Arc<Caches>,
    /// All experiments.
    pub experiments: Store<Experiment>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Wakes other experiments.
    pub wake: Wake,
    /// How long this replica may write.
    pub tenure: Tenure,
    /// What is remembered; to be asked for by [`Context::memory`].
    pub remembered: Mutex<Memory>,
}

/// What is remembered between two reconciles of one process. Losing it is harmless.
#[derive(Default)]
pub struct Memory {
    /// Experiments that were admitted to their pool, perhaps not yet visible in the cache.
    pub admitted: BTreeSet<String>,
    /// What was made and is not in the caches yet.
    pub made: Made,
    /// What generators were asked and have answered, by uid.
    pub asked: HashMap<String, Asked>,
    /// When the status was last written, by uid.
    pub written: HashMap<String, Instant>,
    /// Failed reconciles in a row, by uid.
    pub failures: HashMap<String, u32>,
}

/// The seat of an experiment in its pool, taken before its start is written: it is given back if that was refused.
pub struct Seat<'a> {
    memory: &'a Mutex<Memory>,
    uid: String,
    kept: bool,
}

impl<'a> Seat<'a> {
    /// Takes the seat if the pool is free, given who was admitted a moment ago: nobody else is asked in between.
    fn take(
        memory: &'a Mutex<Memory>,
        uid: &str,
        pool: impl FnOnce(&BTreeSet<String>) -> Pool,
    ) -> Result<Self, Error> {
        let mut inside = lock(memory);
        if let Pool::Taken { by, .. } = pool(&inside.admitted) {
            return Err(Error::PoolTaken(by));
        }
        // One that has its seat already may have started, though a cache that lags does not show it: it keeps it.
        let new = inside.admitted.insert(uid.to_owned());
        Ok(Self {
            memory,
            uid: uid.to_owned(),
            kept: !new,
        })
    }

    /// The start stands.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if !self.kept {
            lock(self.memory).admitted.remove(&self.uid);
        }
    }
}

/// A panic elsewhere cannot leave the memory half-written in a way that matters.
fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// Forgets an experiment that no longer needs its pool.
    pub fn forget(&mut self, uid: &str) {
        self.keep(|other| other != uid);
    }

    /// Forgets all experiments but those that still need something.
    pub fn keep(&mut self, needed: impl Fn(&str) -> bool) {
        self.admitted.retain(|uid| needed(uid));
        self.made.keep(&needed);
        self.asked.retain(|uid, _| needed(uid));
        self.written.retain(|uid, _| needed(uid));
        self.failures.retain(|uid, _| needed(uid));
    }
}

impl Context {
    /// To be asked before each write.
    ///
    /// # Errors
    /// Another replica may lead by now.
    pub fn leads(&self) -> Result<(), Error> {
        if self.tenure.is_current(tokio::time::Instant::now()) {
            Ok(())
        } else {
            Err(Error::NotLeading)
        }
    }

    /// The memory.
    pub fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.remembered)
    }

    /// Takes the seat of an experiment in its pool, if that is free given who was admitted a moment ago.
    ///
    /// # Errors
    /// It is taken.
    pub fn seat(
        &self,
        uid: &str,
        pool: impl FnOnce(&BTreeSet<String>) -> Pool,
    ) -> Result<Seat<'_>, Error> {
        Seat::take(&self.remembered, uid, pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_does_not_come_to_stand_gives_its_seat_back() {
        let memory = Mutex::<Memory>::default();
        let taken = |uid: &str| lock(&memory).admitted.contains(uid);
        let take = |uid: &str| Seat::take(&memory, uid, |_| Pool::Free);
        let seat = take("a").unwrap();
        assert!(taken("a"), "nobody else may start meanwhile");
        drop(seat);
        assert!(!taken("a"));
        take("b").unwrap().keep();
        drop(take("b").unwrap());
        assert!(
            taken("b"),
            "a second try from a stale cache takes nothing away"
        );
        let lost: Result<(), Error> = (|| {
            let _seat = take("c")?;
            Err(Error::Conflict("write the status".to_owned()))
        })();
        assert!(lost.is_err() && !taken("c"));
        let full = |admitted: &BTreeSet<String>| {
            assert_eq!(*admitted, BTreeSet::from(["b".to_owned()]));
            let by = "n/b".to_owned();
            Pool::Taken { by, ahead: 1 }
        };
        assert!(Seat::take(&memory, "d", full).is_err() && !taken("d"));
    }
}
