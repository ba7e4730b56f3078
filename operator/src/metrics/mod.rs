//! The operator's own metrics. Labels are constant words; names of objects have only those of schedules and plans.

mod owners;

use bakeoff_crds::ExperimentStatus;
use bakeoff_crds::conditions::reasons;
use owners::Owners;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeMap;

/// A reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// The reason, as in conditions and errors.
    pub reason: String,
}

/// A state of an experiment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct State {
    /// The reason of the condition `Succeeded`.
    pub state: String,
}

/// An outcome of a trial.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TrialOutcome {
    /// `done`, `invalid`, `repeated` or `interrupted`.
    pub outcome: &'static str,
}

/// All metrics.
pub struct Metrics {
    /// Reconciles that ended well.
    pub reconciles: Counter,
    /// Reconciles that failed, by reason.
    pub errors: Family<Reason, Counter>,
    /// Seconds of a reconcile.
    pub duration: Histogram,
    /// Status writes.
    pub status_writes: Counter,
    /// Experiments, by state.
    pub experiments: Family<State, Gauge>,
    /// Experiments that wait for their pool.
    pub queued: Gauge,
    /// Trials of finished experiments, by outcome.
    pub trials: Family<TrialOutcome, Counter>,
    /// Decisions of finished experiments, by outcome.
    pub decisions: Family<Reason, Counter>,
    /// Experiments that left something behind.
    pub left_behind: Counter,
    /// Experiments that this version cannot read.
    pub unreadable: Gauge,
    /// Whether this replica leads.
    pub leading: Gauge,
    owners: Owners,
    registry: Registry,
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        let buckets = [
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
        ];
        let mut registry = Registry::with_prefix("bakeoff");
        let reconciles = Counter::default();
        let errors = Family::default();
        let duration = Histogram::new(buckets);
        let status_writes = Counter::default();
        let experiments = Family::default();
        let queued = Gauge::default();
        let trials = Family::default();
        let decisions = Family::default();
        let left_behind = Counter::default();
        let unreadable = Gauge::default();
        let leading = Gauge::default();
        registry.register(
            "reconciles",
            "Reconciles that ended well",
            reconciles.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Reconciles that failed, by reason",
            Family::clone(&errors),
        );
        registry.register_with_unit(
            "reconcile_duration",
            "Duration of a reconcile",
            Unit::Seconds,
            duration.clone(),
        );
        registry.register(
            "status_writes",
            "Writes of an experiment's status",
            status_writes.clone(),
        );
        registry.register(
            "experiments",
            "Experiments, by state",
            Family::clone(&experiments),
        );
        registry.register(
            "queued_experiments",
            "Experiments that wait for their node pool",
            queued.clone(),
        );
        registry.register(
            "trials",
            "Trials of experiments that ended, by outcome",
            Family::clone(&trials),
        );
        registry.register(
            "decisions",
            "Decisions of experiments that ended, by outcome",
            Family::clone(&decisions),
        );
        registry.register(
            "left_behind",
            "Experiments that left something behind, as their conditions say",
            left_behind.clone(),
        );
        registry.register(
            "unreadable_experiments",
            "Experiments that this version of the operator cannot read",
            unreadable.clone(),
        );
        registry.register("leading", "1 while this replica leads", leading.clone());
        let owners = Owners::default();
        owners.register(&mut registry);
        let build = Info::new([("version", crate::settings::VERSION)]);
        registry.register("build", "The version of the operator", build);
        Self {
            reconciles,
            errors,
            duration,
            status_writes,
            experiments,
            queued,
            trials,
            decisions,
            left_behind,
            unreadable,
            leading,
            owners,
            registry,
        }
    }

    /// Counts an experiment that has just ended.
    pub fn ended(&self, status: &ExperimentStatus) {
        let trials = status.progress.as_ref().map(|progress| progress.trials);
        let trials = trials.unwrap_or_default();
        let counts = [
            ("done", trials.done),
            ("invalid", trials.invalid),
            ("repeated", trials.repeated),
            ("interrupted", trials.interrupted),
        ];
        for (outcome, count) in counts {
            let count = u64::try_from(count).unwrap_or(0);
            let outcome = TrialOutcome { outcome };
            self.trials.get_or_create(&outcome).inc_by(count);
        }
        if let Some(decision) = &status.decision {
            let reason = decision.outcome.as_str().to_owned();
            self.decisions.get_or_create(&Reason { reason }).inc();
        }
    }

    /// Counts the experiments that there are, by the reason of their condition `Succeeded`; `None` stands for one that
    /// cannot be read.
    pub fn standing<'a>(&self, all: impl Iterator<Item = Option<&'a str>>) {
        let (mut states, mut unreadable) = (BTreeMap::<&str, i64>::new(), 0);
        for reason in all {
            match reason {
                Some(reason) => *states.entry(reason).or_default() += 1,
                None => unreadable += 1,
            }
        }
        self.unreadable.set(unreadable);
        let queued = states.get(reasons::QUEUED).copied();
        self.queued.set(queued.unwrap_or(0));
        self.experiments.clear();
        for (state, count) in states {
            let state = state.to_owned();
            self.experiments.get_or_create(&State { state }).set(count);
        }
    }

    /// The OpenMetrics text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
