//! What a reconcile of an experiment holds on to. (I/O handles; the decisions are elsewhere.)

use super::Watched;
use super::admission::{Seat, Seats};
use super::facts::{Since, machine, servers_down};
use super::parents::Parents;
use super::progress::Answers;
use super::warnings::Warnings;
use crate::act::Writer;
use crate::caches::{Caches, Wake};
use crate::children::Children;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::parts::pods::ended_jobs;
use crate::parts::trouble;
use crate::remembered::Remembered;
use crate::settings::Settings;
use crate::stored::Stored;
use crate::troubles::Troubles;
use bakeoff_crds::Experiment;
use bakeoff_crds::identity::Uid;
use bakeoff_rules::pool::Machines;
use bakeoff_rules::queue::{self, Claim, Pool};
use bakeoff_rules::validate::Remains;
use jiff::Timestamp;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What a reconcile holds on to.
pub struct Context {
    /// Reads what is not watched.
    pub client: Client,
    /// Writes.
    pub writer: Writer,
    /// The configuration of the installation.
    pub settings: Settings,
    /// Children and nodes.
    pub caches: Arc<Caches>,
    /// All experiments.
    pub experiments: Store<Watched>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Wakes other experiments.
    pub wake: Wake<Watched>,
    /// Who was admitted to its pool.
    pub seats: Seats,
    /// What generators have answered.
    pub answers: Answers,
    /// What Kubernetes says of children that do not come to be.
    pub warnings: Warnings,
    /// Since when Jobs have ended.
    pub ends: Remembered<Since>,
    /// Since when servers are down.
    pub outages: Remembered<Since>,
    /// Since when containers of pods are not begun.
    pub failures: Remembered<Since>,
    /// Who is in trouble for how long.
    pub troubles: Troubles,
    /// Wakes what they are runs of.
    pub parents: Parents,
}

impl Context {
    /// For how long the Jobs of an experiment are seen to have ended.
    pub fn ended(&self, uid: &Uid, children: &Children) -> BTreeMap<String, Duration> {
        self.ends.seen(uid, ended_jobs(children))
    }

    /// For how long its servers are seen to be down.
    pub fn down(&self, remains: &Remains, children: &Children) -> BTreeMap<String, Duration> {
        self.outages
            .seen(&remains.id.uid, servers_down(remains, children))
    }

    /// For how long containers of its pods are seen not to be begun.
    pub fn failing(&self, uid: &Uid, children: &Children) -> BTreeMap<String, Duration> {
        self.failures
            .seen(uid, trouble::failing(children, Timestamp::now()))
    }

    /// The nodes of the cluster.
    #[must_use]
    pub fn machines(&self) -> Machines {
        let nodes = self.caches.nodes.state();
        let machines = nodes.iter().map(|node| (node.name_any(), machine(node)));
        machines.collect()
    }

    /// Whether the pool of an experiment is free, given who was admitted a moment ago.
    #[must_use]
    pub fn pool(
        &self,
        experiment: &Experiment,
        admitted: &BTreeSet<Uid>,
        machines: &Machines,
    ) -> Pool {
        let experiments = self.experiments.state();
        let claims = experiments.iter().map(|stored| claim(stored));
        queue::admit(&Claim::of(experiment), claims, admitted, machines)
    }

    /// Takes the seat of an experiment in its pool, if that is free.
    ///
    /// # Errors
    /// It is taken.
    pub fn seat(&self, experiment: &Experiment, uid: &Uid) -> Result<Seat<'_>, Error> {
        let machines = self.machines();
        self.seats
            .take(uid, |admitted| self.pool(experiment, admitted, &machines))
    }

    /// Forgets an experiment that no longer needs its pool, and wakes those that wait.
    pub fn forget(&self, uid: &Uid) {
        self.keep(|other| other != uid);
        self.wake_waiting();
    }

    /// Forgets the experiments that exist no longer, and wakes those that wait.
    pub fn forget_deleted(&self) {
        let experiments = self.experiments.state();
        let left: BTreeSet<Uid> = experiments
            .iter()
            .filter_map(|stored| stored.uid().map(Uid::from))
            .collect();
        self.keep(|uid| left.contains(uid));
        self.wake_waiting();
    }

    fn keep(&self, needed: impl Fn(&Uid) -> bool) {
        self.seats.keep(&needed);
        self.writer.keep(&needed);
        self.answers.keep(&needed);
        self.ends.keep(&needed);
        self.outages.keep(&needed);
        self.failures.keep(&needed);
        self.warnings.keep(&needed);
        self.troubles.keep(&needed);
    }

    /// Wakes the experiments that have not started.
    fn wake_waiting(&self) {
        for other in self.experiments.state() {
            let waits = matches!(&*other, Stored::Read(experiment)
                if experiment.status.as_ref().is_none_or(|status| status.start_time.is_none()));
            if waits {
                let _ = self.wake.unbounded_send(ObjectRef::from_obj(&*other));
            }
        }
    }
}

/// What an experiment asks of its pool.
fn claim(stored: &Watched) -> Claim<'_> {
    match stored {
        Stored::Read(experiment) => Claim::of(experiment),
        Stored::Unreadable(object) => Claim::of_unreadable(&object.metadata, &object.raw),
    }
}
