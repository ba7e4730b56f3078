//! What a reconcile holds on to. (I/O handles; the decisions are elsewhere.)

use crate::caches::{Caches, Wake};
use crate::made::Made;
use crate::metrics::Metrics;
use crate::progress::Asked;
use crate::settings::Settings;
use bakeoff_crds::Experiment;
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
    memory: Mutex<Memory>,
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
    /// Puts the parts together.
    pub fn new(
        client: Client,
        recorder: Recorder,
        settings: Settings,
        caches: Arc<Caches>,
        experiments: Store<Experiment>,
        metrics: Arc<Metrics>,
        wake: Wake,
    ) -> Self {
        Self {
            client,
            recorder,
            settings,
            caches,
            experiments,
            metrics,
            wake,
            memory: Mutex::default(),
        }
    }

    /// The memory. A panic elsewhere cannot leave it half-written in a way that matters.
    pub fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
