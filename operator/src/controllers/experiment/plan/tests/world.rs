//! A cluster that does what Kubernetes would, one random step at a time.

use super::{experiment, owner, valid};
use crate::act::Refused;
use crate::action::{Action, Plan, pass};
use crate::children::{Child, Children, Kind};
use crate::controllers::experiment::facts::{Observed, Since};
use crate::made::Made;
use crate::parts::pods::{JobState, ended_jobs, is_pending, job_state};
use bakeoff_crds::conditions::{self, SUCCEEDED};
use bakeoff_crds::names;
use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::run::{
    Failure, Handover, NodeCalibration, NodeFacts, Progress, RunPlan, Stage, Termination,
    WantedFault,
};
use bakeoff_crds::status::{MAX_STATUS_BYTES, TrialCounts};
use bakeoff_crds::{Experiment, ExperimentStatus};
use bakeoff_rules::queue::Pool;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is wrong with a cluster.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ground {
    /// It refuses to make or remove objects of this kind, from one second of `uptime` to another.
    pub(super) refuses: Option<(Kind, u64, u64)>,
    /// Generators, report and cleanup are made, and their pods never come.
    pub(super) podless: bool,
    /// Pods that are removed stay where they are, as on a node that is lost.
    pub(super) lost: bool,
    /// Nobody reaches the generators.
    pub(super) unheard: bool,
}

/// A cluster that does what Kubernetes would, one random step at a time.
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) experiment: Experiment,
    pub(super) children: Children,
    pub(super) secrets: BTreeMap<String, BTreeSet<String>>,
    pub(super) made: Made,
    pub(super) ends: Since,
    /// Seconds since the process began, on a clock that does not jump.
    pub(super) uptime: u64,
    pub(super) begun: Instant,
    pub(super) died: bool,
    /// A calibration that finds no place never ends.
    pub(super) calibration_hangs: bool,
    /// The restarts of generators that were told, since the start or the last resumption.
    pub(super) restarts: BTreeSet<String>,
    /// The nodes that take pods now.
    pub(super) nodes: BTreeSet<&'static str>,
    /// How far the clock of the API server is ahead, seconds.
    pub(super) ahead: i64,
    pub(super) durable: i32,
    pub(super) planned: i32,
    pub(super) failures_left: u32,
    /// What is wrong with the cluster.
    pub(super) ground: Ground,
    /// What it refuses, and since when, seconds of `uptime`.
    pub(super) refused: BTreeMap<(Kind, String), u64>,
    /// The fault that the generators ask for.
    pub(super) wanted: Option<WantedFault>,
    /// The pods that were killed, each with the fault that stood in the status.
    pub(super) killed: Vec<(String, String)>,
    pub(super) rng: SplitMix64,
    pub(super) gone: bool,
}

impl World {
    pub(super) fn new(seed: u64, external: bool, replicas: i32, failures: u32) -> Self {
        Self::of(experiment(external, replicas), seed, failures)
    }

    pub(super) fn of(experiment: Experiment, seed: u64, failures: u32) -> Self {
        let planned = valid(&experiment).trials;
        let keys = BTreeSet::from([
            names::SECRET_ACCESS_KEY_ID.to_owned(),
            names::SECRET_SECRET_ACCESS_KEY.to_owned(),
        ]);
        Self {
            now: "2026-01-01T00:00:01Z".parse().unwrap(),
            experiment,
            children: Children::default(),
            secrets: BTreeMap::from([("aws".to_owned(), keys)]),
            made: Made::default(),
            ends: Since::default(),
            uptime: 0,
            begun: Instant::now(),
            died: false,
            calibration_hangs: seed.is_multiple_of(4),
            restarts: BTreeSet::new(),
            nodes: BTreeSet::from(["bench-1", "bench-2"]),
            ahead: (seed % 3).cast_signed() * 20 - 20,
            durable: 0,
            planned,
            failures_left: failures,
            ground: Ground::default(),
            refused: BTreeMap::new(),
            wanted: None,
            killed: Vec::new(),
            rng: SplitMix64::new(seed),
            gone: false,
        }
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.rng.below(100) < percent
    }

    pub(super) fn observe(&self) -> Observed {
        let node = |name: &str| NodeFacts {
            name: name.to_owned(),
            allocatable_cpu_millis: 4_000,
            allocatable_memory_bytes: 8 << 30,
            ..Default::default()
        };
        let running = self.children.jobs.iter().any(|job| {
            job.name_any().contains("-run-") && job_state(Some(job)) == JobState::Active
        });
        Observed {
            now: self.now,
            nodes: self.nodes.iter().map(|name| node(name)).collect(),
            shut: Vec::new(),
            absent: Vec::new(),
            image_bytes: BTreeMap::new(),
            children: self.children.clone(),
            refused: BTreeMap::new(),
            told: Vec::new(),
            ended: BTreeMap::new(),
            down: BTreeMap::new(),
            failing: BTreeMap::new(),
            made: BTreeSet::new(),
            secrets: self.asked_secrets(),
            config_maps: BTreeMap::new(),
            pool: Pool::Free,
            progress: (running && !self.ground.unheard).then(|| Progress {
                stage: Stage::Measuring,
                trials: self.counts(),
                fault: self.wanted.clone(),
                ..Default::default()
            }),
        }
    }

    /// Like `observe`, which asks for Secrets before the start and when they are to go.
    pub(super) fn asked_secrets(&self) -> BTreeMap<String, BTreeSet<String>> {
        let status = self.status();
        let deleted = self.experiment.metadata.deletion_timestamp.is_some();
        let asks = status.start_time.is_none() || status.ending.is_some() || deleted;
        if asks || self.experiment.spec.suspend {
            self.secrets.clone()
        } else {
            BTreeMap::new()
        }
    }

    pub(super) fn counts(&self) -> TrialCounts {
        TrialCounts {
            planned: self.planned,
            done: self.durable,
            ..Default::default()
        }
    }

    /// Executes a plan like `act`: the status first, then the steps. It may die in any of them, and then any of
    /// the actions of that step, which are under way at once, may have been done.
    pub(super) fn execute(&mut self, plan: Plan<ExperimentStatus>, may_crash: bool) {
        let bytes = serde_json::to_vec(&plan.status).unwrap().len();
        assert!(bytes <= MAX_STATUS_BYTES, "a status of {bytes} bytes");
        if plan.remember {
            assert!(
                plan.actions.is_empty(),
                "a fact is remembered before anything is done about it"
            );
        }
        if plan.status.start_time.is_none() {
            self.restarts.clear();
        }
        for event in plan.events {
            let (attempt, _) = event.message.split_once(" ended").unwrap_or_default();
            let restart = event.reason == "GeneratorRestarted";
            let again = restart && !self.restarts.insert(attempt.to_owned());
            assert!(self.died || !again, "told twice: {}", event.message);
        }
        is_as_a_job_has_it(&plan.status);
        self.experiment.status = Some(plan.status);
        for step in pass(plan.actions).0 {
            let dies = may_crash && self.chance(20);
            let mut refused = false;
            for action in step {
                if !dies || self.chance(50) {
                    refused |= self.refuses(&action);
                    if !self.refuses(&action) {
                        self.act(action);
                    }
                }
            }
            if dies {
                (self.made, self.ends, self.died) = (Made::default(), Since::default(), true);
                self.refused.clear();
                return;
            }
            if refused {
                return;
            }
        }
    }

    /// Whether the API server refuses an action; the writer remembers it until it is taken.
    fn refuses(&mut self, action: &Action) -> bool {
        let Some((kind, name)) = action.target() else {
            return false;
        };
        let refuses = self.ground.refuses.is_some_and(|(refused, from, until)| {
            refused == kind && (from..until).contains(&self.uptime)
        });
        if refuses {
            self.refused.entry((kind, name)).or_insert(self.uptime);
        } else {
            self.refused.remove(&(kind, name));
        }
        refuses
    }

    pub(super) fn act(&mut self, action: Action) {
        let made = action.made();
        if let Some((kind, name)) = &made {
            assert!(
                self.died || !self.children.has(*kind, name),
                "{kind:?} {name} is made twice"
            );
        }
        match action {
            Action::Apply(child) => self.apply(child),
            Action::CreateSecret(secret, _) => {
                assert!(secret.data.is_none() && secret.string_data.is_none());
                self.secrets.entry(secret.name_any()).or_default();
            }
            Action::Delete(kind, name) => {
                self.delete(kind, &name);
                self.made.remove(&owner(), kind, &name);
            }
            Action::Kill { pod, uid } => {
                let stands =
                    |one: &Arc<Pod>| one.name_any() == pod && one.uid().as_deref() == Some(&uid);
                if self.children.pods.iter().any(stands) {
                    self.children.pods.retain(|one| !stands(one));
                    let fault = self.status().fault.clone().unwrap();
                    self.killed.push((fault.id, pod));
                }
            }
            Action::Finalizer(on) => {
                self.experiment.metadata.finalizers = on.then(|| vec![names::FINALIZER.to_owned()]);
            }
            Action::DeleteOwner => self.gone = true,
        }
        if let Some((kind, name)) = made {
            let now = self.monotonic();
            self.made.insert(&owner(), kind, name, now);
        }
    }

    pub(super) fn monotonic(&self) -> Instant {
        self.begun + Duration::from_secs(self.uptime)
    }

    /// What the operator sees through caches that show these children.
    pub(super) fn through(&mut self, shown: Observed) -> Observed {
        let now = self.monotonic();
        Observed {
            now: self.now,
            refused: self
                .refused
                .iter()
                .map(|(target, at)| {
                    let since = Duration::from_secs(self.uptime - at);
                    let message = "the API server refuses: exceeded quota".to_owned();
                    (
                        target.clone(),
                        Refused {
                            message,
                            since,
                            for_good: false,
                        },
                    )
                })
                .collect(),
            ended: self.ends.seen(ended_jobs(&shown.children), now),
            made: self.made.unseen(&owner(), &shown.children, now),
            ..shown
        }
    }

    pub(super) fn apply(&mut self, child: Child) {
        let created = Some(Time(self.now));
        match child {
            Child::Job(mut job) => {
                job.metadata.creation_timestamp = created;
                let active = self
                    .children
                    .jobs
                    .iter()
                    .filter(|j| j.name_any().contains("-run-"));
                let active = active.filter(|j| {
                    job_state(Some(j)) == JobState::Active && j.name_any() != job.name_any()
                });
                if job.name_any().contains("-run-") {
                    assert_eq!(active.count(), 0, "two generator attempts at the same time");
                }
                if job.name_any().contains("-calibrate-") {
                    let mut plans = self.children.config_maps.iter();
                    let launched = plans.any(|plan| plan.name_any().contains("-run-"));
                    assert!(
                        self.died || !launched,
                        "a calibration beside the generators"
                    );
                }
                self.expect_one_report(&job.name_any());
                if self.children.job(&job.name_any()).is_none() {
                    let replicas = job.spec.as_ref().unwrap().completions.unwrap();
                    let podless = self.ground.podless && !job.name_any().contains("-calibrate-");
                    for index in (0..replicas).filter(|_| !podless) {
                        let pod = pod(&job, index, self.now);
                        self.children.pods.push(Arc::new(pod));
                    }
                    self.children.jobs.push(Arc::new(*job));
                }
            }
            Child::StatefulSet(set) => {
                if !self
                    .children
                    .stateful_sets
                    .iter()
                    .any(|s| s.name_any() == set.name_any())
                {
                    self.children.stateful_sets.push(Arc::new(*set));
                }
            }
            Child::ConfigMap(object) => {
                self.expect_one_report(&object.name_any());
                for node in object
                    .data
                    .iter()
                    .flatten()
                    .flat_map(|(_, plan)| nodes_of(plan))
                {
                    let found = node.calibration.map(|found| found.file_system);
                    assert!(
                        found.is_none_or(|of| of == node.name),
                        "{} has another's",
                        node.name
                    );
                }
                self.children.put(Child::ConfigMap(object));
            }
            other => self.children.put(other),
        }
    }

    /// What is made of a report when another one has succeeded.
    pub(super) fn expect_one_report(&self, name: &str) {
        let mut jobs = self.children.jobs.iter();
        let done = jobs.any(|job| {
            job.name_any().contains("-report-") && job_state(Some(job)) == JobState::Succeeded
        });
        let second = name.contains("-report-") && done;
        assert!(self.died || !second, "a second report");
    }

    pub(super) fn delete(&mut self, kind: Kind, name: &str) {
        self.children.remove(kind, name);
        self.secrets
            .retain(|secret, _| kind != Kind::Secret || secret != name);
        if self.ground.lost {
            let since = Time(self.now);
            for pod in &mut self.children.pods {
                let job = pod.labels().get("batch.kubernetes.io/job-name");
                let of =
                    job.is_some_and(|job| job == name) || pod.name_any() == format!("{name}-0");
                if of && !is_pending(pod) {
                    let metadata = &mut Arc::make_mut(pod).metadata;
                    metadata.deletion_timestamp.get_or_insert(since.clone());
                }
            }
            return;
        }
        // Kubernetes removes the pods.
        let of_set = |pod: &str| {
            let index = pod
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('-'));
            index.is_some_and(|index| index.parse::<u32>().is_ok())
        };
        self.children.pods.retain(|pod| {
            let job = pod.labels().get("batch.kubernetes.io/job-name");
            match kind {
                Kind::Job => job.is_none_or(|job| job != name),
                Kind::StatefulSet => !of_set(&pod.name_any()),
                _ => true,
            }
        });
    }

    /// Something happens in the cluster.
    pub(super) fn step(&mut self) {
        let seconds = 1 + self.rng.below(4);
        self.now += SignedDuration::from_secs(seconds.cast_signed());
        self.uptime += seconds;
        // Nodes are cordoned, come back and join.
        if self.chance(20) {
            let name = ["bench-0", "bench-1", "bench-2", "bench-3"][self.rng.below(4) as usize];
            if !self.nodes.remove(name) || self.nodes.is_empty() {
                self.nodes.insert(name);
            }
        }
        let sets = self.children.stateful_sets.clone();
        let pods = sets.iter().flat_map(|set| {
            let replicas = set.spec.as_ref().unwrap().replicas.unwrap();
            (0..replicas).map(move |index| (format!("{}-{index}", set.name_any()), set))
        });
        for (name, set) in pods {
            if !self.children.pods.iter().any(|p| p.name_any() == name) {
                let pod = serde_json::from_value(json!({
                    "metadata": {"name": name, "uid": format!("{name}-{}", self.uptime), "labels": set.spec.as_ref().unwrap().template.metadata.as_ref().unwrap().labels,
                        "creationTimestamp": self.now.to_string()},
                    "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": self.now.to_string()}]},
                }));
                self.children.pods.push(Arc::new(pod.unwrap()));
            }
        }
        let names: Vec<String> = self
            .children
            .jobs
            .iter()
            .map(|job| job.name_any())
            .collect();
        for name in names {
            let job = self.children.job(&name).unwrap().clone();
            let state = job_state(Some(&job));
            if matches!(state, JobState::Failing { .. }) && self.chance(50) {
                self.conclude(&name, "Failed");
            }
            if state != JobState::Active || !self.chance(50) {
                continue;
            }
            if self.children.pods_of_job(&name).next().is_none() || !self.is_mounted(&job) {
                continue;
            }
            if name.contains("-run-") {
                if self.failures_left > 0 && self.chance(20) {
                    self.failures_left -= 1;
                    let failure = Failure {
                        reason: "Lost".into(),
                        message: "lost".into(),
                        retryable: true,
                        stopped: false,
                    };
                    self.fail(&name, &Termination::Failed(failure));
                    continue;
                }
                self.durable = (self.durable + 5).min(self.planned);
                if self.durable == self.planned {
                    let counts = self.counts();
                    self.finish(&name, true, Some(&Termination::Ran(counts)));
                }
            } else if name.contains("-report-") {
                if self.failures_left > 0 && self.chance(10) {
                    self.failures_left -= 1;
                    self.finish(&name, false, None);
                } else {
                    let outcome = Handover {
                        trials: self.counts(),
                        index_sha256: "00".into(),
                        ..Default::default()
                    };
                    let end = bakeoff_analysis::handover::termination(&outcome).unwrap();
                    self.finish(&name, true, Some(&end));
                }
            } else if name.contains("-calibrate-") {
                if self.calibration_hangs {
                    continue;
                }
                self.finish(
                    &name,
                    true,
                    Some(&Termination::Calibrated(NodeCalibration {
                        file_system: node_of(&job),
                        ..Default::default()
                    })),
                );
            } else {
                self.finish(&name, true, Some(&Termination::CleanedUp(1)));
            }
        }
    }

    /// Whether the Secrets that its pods mount are there: the kubelet starts none without them.
    fn is_mounted(&self, job: &Job) -> bool {
        let pod = job.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        let secrets = pod.volumes.iter().flatten().filter_map(|volume| {
            let secret = volume.secret.as_ref()?;
            secret.secret_name.as_ref()
        });
        secrets.clone().all(|name| self.secrets.contains_key(name))
    }

    /// Says in a condition how a Job ends.
    pub(super) fn conclude(&mut self, name: &str, type_: &str) {
        let at = (self.now + SignedDuration::from_secs(self.ahead)).to_string();
        let condition = json!({"type": type_, "status": "True", "lastTransitionTime": at});
        let jobs = &mut self.children.jobs;
        for job in jobs.iter_mut().filter(|job| job.name_any() == name) {
            let status = json!({"conditions": [condition]});
            Arc::make_mut(job).status = serde_json::from_value(status).unwrap();
        }
    }

    /// A generator fails: some Jobs say at first that they will have failed, and the pods of some are gone by then.
    fn fail(&mut self, name: &str, termination: &Termination) {
        self.finish(name, false, Some(termination));
        if self.chance(50) {
            self.conclude(name, "FailureTarget");
        }
        if self.chance(30) {
            let of = |pod: &Pod| {
                pod.labels()
                    .get("batch.kubernetes.io/job-name")
                    .is_some_and(|job| job == name)
            };
            self.children.pods.retain(|pod| !of(pod));
        }
    }

    pub(super) fn finish(
        &mut self,
        name: &str,
        succeeded: bool,
        termination: Option<&Termination>,
    ) {
        self.conclude(name, if succeeded { "Complete" } else { "Failed" });
        let message = termination.map(|end| serde_json::to_string(end).unwrap());
        for pod in &mut self.children.pods {
            if pod
                .labels()
                .get("batch.kubernetes.io/job-name")
                .is_some_and(|job| job == name)
            {
                let pod = Arc::make_mut(pod);
                pod.status = serde_json::from_value(json!({
                    "phase": if succeeded { "Succeeded" } else { "Failed" },
                    "containerStatuses": [{"name": "loadgen", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                        "state": {"terminated": {"exitCode": i32::from(!succeeded), "message": message}}}],
                }))
                .unwrap();
            }
        }
    }

    pub(super) fn reason(&self) -> String {
        let conditions = self
            .experiment
            .status
            .as_ref()
            .map(|s| s.conditions.as_slice())
            .unwrap_or_default();
        conditions::get(conditions, SUCCEEDED)
            .map(|c| c.reason.clone())
            .unwrap_or_default()
    }

    pub(super) fn status(&self) -> ExperimentStatus {
        self.experiment.status.clone().unwrap_or_default()
    }

    pub(super) fn left(&self) -> String {
        let secrets: Vec<&String> = self.secrets.keys().filter(|name| *name != "aws").collect();
        format!("{} {secrets:?}", self.children.describe())
    }
}

/// The nodes that a run plan tells of; none of anything else.
pub(super) fn nodes_of(plan: &str) -> Vec<NodeFacts> {
    let plan = serde_json::from_str::<RunPlan>(plan);
    plan.map(|plan| plan.environment.nodes).unwrap_or_default()
}

/// The node that a calibration has to run on.
pub(super) fn node_of(job: &Job) -> String {
    let pod = job.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    let affinity = pod
        .affinity
        .as_ref()
        .unwrap()
        .node_affinity
        .as_ref()
        .unwrap();
    let required = affinity
        .required_during_scheduling_ignored_during_execution
        .as_ref();
    let term = &required.unwrap().node_selector_terms[0];
    term.match_fields.as_ref().unwrap()[0]
        .values
        .as_ref()
        .unwrap()[0]
        .clone()
}

pub(super) fn pod(job: &Job, index: i32, now: Timestamp) -> Pod {
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("{}-{index}", job.name_any()),
            "labels": {"batch.kubernetes.io/job-name": job.name_any(), names::LABEL_ROLE: job.labels()[names::LABEL_ROLE]},
            "annotations": {"batch.kubernetes.io/job-completion-index": index.to_string()},
            "creationTimestamp": now.to_string(),
        },
        "status": {"phase": "Running"},
    }))
    .unwrap()
}

/// What tools that follow kstatus make of it: ready once it is queued or has begun, and never failed because somebody wanted it so.
fn is_as_a_job_has_it(status: &ExperimentStatus) {
    let truth = |type_: &str| {
        let condition = conditions::get(&status.conditions, type_);
        condition.map(|condition| (condition.status.as_str(), condition.reason.as_str()))
    };
    let Some((reconciling, reason)) = truth(conditions::RECONCILING) else {
        return;
    };
    let under_way = status.start_time.is_some() || ["Queued", "Suspended"].contains(&reason);
    assert!(!under_way || reconciling == "False", "{status:?}");
    assert!(
        truth(conditions::STALLED) != Some(("True", "Cancelled")),
        "{status:?}"
    );
}
