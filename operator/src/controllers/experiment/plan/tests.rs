//! Simulation: random experiments in a simulated cluster, with failures, crashes between any two actions,
//! stale observations, clock jumps, and people who cancel, suspend and delete.

use super::plan;
use crate::action::{Action, Plan, pass};
use crate::children::{Child, Children, Kind};
use crate::controllers::experiment::build::{backend, jobs, profile::profile};
use crate::controllers::experiment::facts::{Ends, JobState, Observed, job_state};
use crate::made::Made;
use crate::settings::{DefaultResults, Settings};
use bakeoff_crds::conditions::{self, SUCCEEDED};
use bakeoff_crds::identity::Uid;
use bakeoff_crds::names;
use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::run::{
    Failure, NodeCalibration, NodeFacts, Outcome, Progress, RunPlan, Stage, Termination,
};
use bakeoff_crds::status::{MAX_STATUS_BYTES, TrialCounts};
use bakeoff_crds::{Experiment, ExperimentStatus};
use bakeoff_rules::catalogue::Catalogue;
use bakeoff_rules::queue::Pool;
use bakeoff_rules::validate::{self, Known, Remains, Validated};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn settings() -> Settings {
    Settings {
        catalogue: Catalogue::new([
            ("minio.R1".to_owned(), "minio:R1".to_owned()),
            ("seaweedfs.4.48".to_owned(), "weed:4.48".to_owned()),
            ("postgres.18.4".to_owned(), "postgres:18.4".to_owned()),
            ("redis.7.0.15".to_owned(), "redis:7.0.15".to_owned()),
        ]),
        loadgen_image: "loadgen:1".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        namespace: "bakeoff-system".to_owned(),
        results: Some(DefaultResults {
            endpoint: "http://results:8333".to_owned(),
            region: "us-east-1".to_owned(),
            bucket: "results".to_owned(),
            secret: "results".to_owned(),
        }),
        kubernetes_version: "v1.35.4".to_owned(),
    }
}

fn known(experiment: &Experiment, settings: &Settings) -> Known {
    validate::check(Remains::of(experiment).unwrap(), settings.offer())
}

fn valid(experiment: &Experiment) -> Validated {
    match known(experiment, &settings()) {
        Known::Valid(valid) => valid,
        Known::Refused(_, refusal) => panic!("{refusal}"),
    }
}

/// What is planned for an experiment by an installation with these settings.
fn planned(
    experiment: &Experiment,
    settings: &Settings,
    observed: &Observed,
) -> Plan<ExperimentStatus> {
    plan(experiment, &known(experiment, settings), settings, observed)
}

/// The one owner of the simulation.
fn owner() -> Uid {
    "0123abcd-0000-4000-8000-000000000000".into()
}

fn experiment(external: bool, replicas: i32) -> Experiment {
    let mut backends = vec![
        json!({"name": "minio", "minio": {"version": "R1"}}),
        json!({"name": "seaweedfs", "seaweedfs": {"version": "4.48"}}),
    ];
    if external {
        backends.push(json!({"name": "aws", "s3": {
            "endpoint": "https://s3.example.com", "bucket": "bucket", "credentialsSecretRef": {"name": "aws"},
        }}));
    }
    serde_json::from_value(json!({
        "apiVersion": "bakeoff.dev/v1alpha1", "kind": "Experiment",
        "metadata": {
            "name": "phase1-c", "namespace": "lab", "uid": "0123abcd-0000-4000-8000-000000000000", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "backends": backends,
            "workloads": [{"name": "consistency", "consistency": {}}],
            "generators": {"replicas": replicas},
        },
    }))
    .unwrap()
}

/// Writers that race for locks in Redis, which is provisioned beside the backend and is none itself.
fn race(replicas: i32) -> Experiment {
    let mut experiment = experiment(false, replicas);
    experiment.spec = serde_json::from_value(json!({
        "backends": [{"name": "pg", "postgres": {"version": "18.4"}}],
        "workloads": [{"name": "race", "casRace": {"lock": {"redis": {"version": "7.0.15"}}}}],
        "generators": {"replicas": replicas},
    }))
    .unwrap();
    experiment
}

fn subject_of(number: u8, replicas: i32) -> Experiment {
    match number {
        0 => experiment(false, replicas),
        1 => experiment(true, replicas),
        2 => race(replicas),
        _ => {
            let mut external = race(replicas);
            let backend = json!([{"name": "theirs", "postgresUrl": {"secretRef": {"name": "aws", "key": names::SECRET_ACCESS_KEY_ID}}}]);
            external.spec.backends = serde_json::from_value(backend).unwrap();
            external
        }
    }
}

/// A cluster that does what Kubernetes would, one random step at a time.
struct World {
    now: Timestamp,
    experiment: Experiment,
    children: Children,
    secrets: BTreeMap<String, BTreeSet<String>>,
    made: Made,
    ends: Ends,
    /// Seconds since the process began, on a clock that does not jump.
    uptime: u64,
    begun: Instant,
    died: bool,
    /// A calibration that finds no place never ends.
    calibration_hangs: bool,
    /// The restarts of generators that were told, since the start or the last resumption.
    restarts: BTreeSet<String>,
    /// The nodes that take pods now.
    nodes: BTreeSet<&'static str>,
    /// How far the clock of the API server is ahead, seconds.
    ahead: i64,
    durable: i32,
    planned: i32,
    failures_left: u32,
    rng: SplitMix64,
    gone: bool,
}

impl World {
    fn new(seed: u64, external: bool, replicas: i32, failures: u32) -> Self {
        Self::of(experiment(external, replicas), seed, failures)
    }

    fn of(experiment: Experiment, seed: u64, failures: u32) -> Self {
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
            ends: Ends::default(),
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
            rng: SplitMix64::new(seed),
            gone: false,
        }
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.rng.below(100) < percent
    }

    fn observe(&self) -> Observed {
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
            image_bytes: BTreeMap::new(),
            children: self.children.clone(),
            ended: BTreeMap::new(),
            made: BTreeSet::new(),
            secrets: self.asked_secrets(),
            pool: Pool::Free,
            progress: running.then(|| Progress {
                stage: Stage::Measuring,
                trials: self.counts(),
                ..Default::default()
            }),
        }
    }

    /// Like `observe`, which asks for Secrets before the start and when they are to go.
    fn asked_secrets(&self) -> BTreeMap<String, BTreeSet<String>> {
        let status = self.status();
        let asks = status.start_time.is_none() || status.ending.is_some();
        if asks || self.experiment.spec.suspend {
            self.secrets.clone()
        } else {
            BTreeMap::new()
        }
    }

    fn counts(&self) -> TrialCounts {
        TrialCounts {
            planned: self.planned,
            done: self.durable,
            ..Default::default()
        }
    }

    /// Executes a plan like `act`: the status first, then the steps. It may die in any of them, and then any of
    /// the actions of that step, which are under way at once, may have been done.
    fn execute(&mut self, plan: Plan<ExperimentStatus>, may_crash: bool) {
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
        self.experiment.status = Some(plan.status);
        for step in pass(plan.actions).0 {
            let dies = may_crash && self.chance(20);
            for action in step {
                if !dies || self.chance(50) {
                    self.act(action);
                }
            }
            if dies {
                (self.made, self.ends, self.died) = (Made::default(), Ends::default(), true);
                return;
            }
        }
    }

    fn act(&mut self, action: Action) {
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

    fn monotonic(&self) -> Instant {
        self.begun + Duration::from_secs(self.uptime)
    }

    /// What the operator sees through caches that show these children.
    fn through(&mut self, shown: Observed) -> Observed {
        let now = self.monotonic();
        Observed {
            now: self.now,
            ended: self.ends.seen(&owner(), &shown.children, now),
            made: self.made.unseen(&owner(), &shown.children, now),
            ..shown
        }
    }

    fn apply(&mut self, child: Child) {
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
                    for index in 0..replicas {
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
    fn expect_one_report(&self, name: &str) {
        let mut jobs = self.children.jobs.iter();
        let done = jobs.any(|job| {
            job.name_any().contains("-report-") && job_state(Some(job)) == JobState::Succeeded
        });
        let second = name.contains("-report-") && done;
        assert!(self.died || !second, "a second report");
    }

    fn delete(&mut self, kind: Kind, name: &str) {
        self.children.remove(kind, name);
        self.secrets
            .retain(|secret, _| kind != Kind::Secret || secret != name);
        // Kubernetes removes the pods.
        let set = format!("{name}-0");
        self.children.pods.retain(|pod| {
            let job = pod.labels().get("batch.kubernetes.io/job-name");
            match kind {
                Kind::Job => job.is_none_or(|job| job != name),
                Kind::StatefulSet => pod.name_any() != set,
                _ => true,
            }
        });
    }

    /// Something happens in the cluster.
    fn step(&mut self) {
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
        for set in sets {
            let name = format!("{}-0", set.name_any());
            if !self.children.pods.iter().any(|p| p.name_any() == name) {
                let pod = serde_json::from_value(json!({
                    "metadata": {"name": name, "labels": set.spec.as_ref().unwrap().template.metadata.as_ref().unwrap().labels,
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
            if job_state(Some(&job)) != JobState::Active || !self.chance(50) {
                continue;
            }
            if name.contains("-run-") {
                if self.failures_left > 0 && self.chance(20) {
                    self.failures_left -= 1;
                    let failure = Failure {
                        reason: "Lost".into(),
                        message: "lost".into(),
                        retryable: true,
                    };
                    self.finish(&name, false, Some(&Termination::Failed(failure)));
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
                    let outcome = Outcome {
                        trials: self.counts(),
                        index_sha256: "00".into(),
                        ..Default::default()
                    };
                    let end = bakeoff_analysis::outcome::termination(&outcome).unwrap();
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

    fn finish(&mut self, name: &str, succeeded: bool, termination: Option<&Termination>) {
        let at = (self.now + SignedDuration::from_secs(self.ahead)).to_string();
        let type_ = if succeeded { "Complete" } else { "Failed" };
        for job in &mut self.children.jobs {
            if job.name_any() == name {
                let job = Arc::make_mut(job);
                job.status = serde_json::from_value(
                    json!({"conditions": [{"type": type_, "status": "True", "lastTransitionTime": at}]}),
                )
                .unwrap();
            }
        }
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

    fn reason(&self) -> String {
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

    fn status(&self) -> ExperimentStatus {
        self.experiment.status.clone().unwrap_or_default()
    }

    fn left(&self) -> String {
        let secrets: Vec<&String> = self.secrets.keys().filter(|name| *name != "aws").collect();
        format!("{} {secrets:?}", self.children.describe())
    }
}

/// The nodes that a run plan tells of; none of anything else.
fn nodes_of(plan: &str) -> Vec<NodeFacts> {
    let plan = serde_json::from_str::<RunPlan>(plan);
    plan.map(|plan| plan.environment.nodes).unwrap_or_default()
}

/// The node that a calibration has to run on.
fn node_of(job: &Job) -> String {
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

fn pod(job: &Job, index: i32, now: Timestamp) -> Pod {
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("{}-{index}", job.name_any()),
            "labels": {"batch.kubernetes.io/job-name": job.name_any(), names::LABEL_ROLE: "x"},
            "annotations": {"batch.kubernetes.io/job-completion-index": index.to_string()},
            "creationTimestamp": now.to_string(),
        },
        "status": {"phase": "Running"},
    }))
    .unwrap()
}

/// What people and the cluster do to an experiment at random steps.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Intervention {
    Nothing,
    Cancel,
    Deadline,
    SuspendAndResume,
    ClockJump,
    /// The installation forgets the version of a backend.
    CatalogueShrinks,
}

fn drive(world: &mut World, intervention: Intervention, at: usize, crashes: bool) {
    let mut settings = settings();
    let mut stale = world.observe();
    for round in 0..400 {
        if round == at {
            match intervention {
                Intervention::Nothing => {}
                Intervention::Cancel => world.experiment.spec.cancel = true,
                Intervention::Deadline => world.experiment.spec.active_deadline_seconds = Some(30),
                Intervention::SuspendAndResume => world.experiment.spec.suspend = true,
                Intervention::ClockJump => {
                    world.now -= SignedDuration::from_secs(3_600);
                }
                Intervention::CatalogueShrinks => {
                    settings.catalogue = Catalogue::new([("redis.7.0.15".into(), "redis".into())]);
                }
            }
        }
        if round == at + 60 {
            world.experiment.spec.suspend = false;
        }
        let mut observed = if world.chance(20) {
            stale.clone()
        } else {
            world.observe()
        };
        // Pods and Jobs are watched apart, and pods are shown one by one.
        if world.chance(30) {
            for pod in &mut observed.children.pods {
                let name = pod.name_any();
                let mut before = stale.children.pods.iter();
                if let Some(before) = before.find(|pod| pod.name_any() == name)
                    && world.chance(70)
                {
                    pod.clone_from(before);
                }
            }
        }
        let before = world.status().ending;
        let observed = world.through(observed);
        let next = planned(&world.experiment, &settings, &observed);
        // Caches may lag so far that they do not show what this pass makes.
        let lagging = world.observe();
        world.execute(next, crashes);
        if let Some(before) = before {
            let after = world.status().ending.unwrap();
            assert!(
                after.reason == before.reason || before.reason.succeeded(),
                "an ending changed its reason"
            );
        }
        stale = lagging;
        world.step();
        if world.status().completion_time.is_some() && round > at + 60 {
            break;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_experiment_ends_and_leaves_nothing(
        seed in any::<u64>(),
        subject in 0_u8..4,
        replicas in 1_i32..3,
        failures in 0_u32..6,
        crashes in any::<bool>(),
        at in 0_usize..40,
        intervention in prop_oneof![
            Just(Intervention::Nothing), Just(Intervention::Cancel), Just(Intervention::Deadline),
            Just(Intervention::SuspendAndResume), Just(Intervention::ClockJump), Just(Intervention::CatalogueShrinks),
        ],
    ) {
        let mut world = World::of(subject_of(subject, replicas), seed, failures);
        drive(&mut world, intervention, at, crashes);
        let status = world.status();
        // One that is refused before its start waits for its mend.
        let refused = intervention == Intervention::CatalogueShrinks && world.reason() == "UnknownVersion";
        let waits = refused && status.start_time.is_none();
        prop_assert!(waits || status.completion_time.is_some(), "stuck in {} with {}", world.reason(), world.left());
        // What a stale look or a crash re-created after the end is removed by the next look.
        let last = planned(&world.experiment, &settings(), &world.observe());
        world.execute(last, false);
        prop_assert!(world.children.is_empty(), "left: {}", world.left());
        prop_assert!(world.experiment.finalizers().is_empty());
        let reason = world.reason();
        let expected = match intervention {
            Intervention::Cancel => vec!["Cancelled", "Completed", "GeneratorFailed", "ReportFailed", "Lost"],
            Intervention::Deadline => vec!["DeadlineExceeded", "Completed", "GeneratorFailed", "ReportFailed", "Lost"],
            Intervention::CatalogueShrinks => vec!["UnknownVersion", "Completed", "GeneratorFailed", "ReportFailed", "Lost"],
            _ => vec!["Completed", "GeneratorFailed", "ReportFailed", "Lost"],
        };
        prop_assert!(expected.contains(&reason.as_str()), "{reason}");
        // Whatever was measured is reported, also by an installation that could not measure it any more.
        let measured = status.progress.as_ref().is_some_and(|progress| progress.trials.done > 0);
        if reason == "UnknownVersion" && measured && failures == 0 {
            prop_assert!(status.results.is_some(), "what was measured is not reported");
        }
        if reason == "Completed" {
            prop_assert_eq!(status.progress.unwrap().trials.done, world.planned);
            prop_assert!(status.results.is_some());
        }
        // A second look changes nothing.
        let again = planned(&world.experiment, &settings(), &world.observe());
        prop_assert!(again.actions.is_empty() && again.events.is_empty());
        prop_assert_eq!(Some(again.status), world.experiment.status);
    }
}

#[test]
fn what_completed_says_is_what_ran() {
    let valid = valid(&experiment(false, 1));
    let of = |done: i32| {
        let counts = TrialCounts {
            planned: valid.trials,
            done,
            ..Default::default()
        };
        super::running::completed(&valid, Some(counts))
    };
    let all = format!("{} trials on 2 backends", valid.trials);
    assert_eq!(of(valid.trials), all);
    let early = format!("3 of {all}: the decision was settled early");
    assert_eq!(of(3), early);
    let unknown = super::running::completed(&valid, None);
    assert!(
        unknown.contains("planned") && !unknown.contains("early"),
        "{unknown}"
    );
}

/// More nodes than are looked at, and another joins before them: nobody loses what was found.
#[test]
fn a_node_that_joins_takes_no_calibration_away() {
    let mut world = World::new(1, false, 1, 0);
    let names = ["n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"];
    world.nodes = BTreeSet::from(names);
    world.calibration_hangs = false;
    for _ in 0..400 {
        let observed = world.observe();
        let observed = world.through(observed);
        let next = planned(&world.experiment, &settings(), &observed);
        world.execute(next, false);
        let jobs = || {
            world
                .children
                .jobs
                .iter()
                .filter(|job| job.name_any().contains("-calibrate-"))
        };
        if jobs().count() == names.len()
            && jobs().all(|job| job_state(Some(job)) == JobState::Succeeded)
        {
            break;
        }
        world.step();
        world.nodes = BTreeSet::from(names);
    }
    world.nodes.insert("n0");
    let valid = valid(&world.experiment);
    let settings = settings();
    let observed = world.observe();
    let draft = super::Draft::new(&world.experiment, &valid.remains, &settings, &observed);
    let nodes = super::preparing::calibrated_nodes(&draft);
    let known = nodes.iter().filter(|node| node.calibration.is_some());
    assert_eq!(known.count(), names.len(), "{nodes:?}");
}

fn first_plan(change: impl FnOnce(&mut Experiment)) -> Plan<ExperimentStatus> {
    let mut world = World::new(1, false, 1, 0);
    change(&mut world.experiment);
    planned(&world.experiment, &settings(), &world.observe())
}

fn refused(plan: &Plan<ExperimentStatus>) -> (String, String) {
    assert!(
        plan.actions.is_empty(),
        "nothing is provisioned for what is refused: {:?}",
        plan.actions
    );
    assert!(plan.status.start_time.is_none());
    let condition = conditions::get(&plan.status.conditions, SUCCEEDED).unwrap();
    assert_eq!(condition.status, "False");
    (condition.reason.clone(), condition.message.clone())
}

#[test]
fn an_objective_that_does_not_compile_is_refused_with_its_name() {
    let plan = first_plan(|experiment| {
        let objective = json!([{"name": "no-loss", "expression": "consistency.listMisses =="}]);
        experiment.spec.objectives = serde_json::from_value(objective).unwrap();
    });
    let (reason, message) = refused(&plan);
    assert_eq!(reason, "InvalidObjective");
    assert!(message.contains("no-loss"), "{message}");
}

#[test]
fn an_unknown_version_is_refused_with_the_known_ones() {
    let plan = first_plan(|experiment| {
        experiment.spec.backends[0].minio.as_mut().unwrap().version = "R2".into()
    });
    let (reason, message) = refused(&plan);
    assert_eq!(reason, "UnknownVersion");
    assert!(message.contains("known: R1"), "{message}");
}

#[test]
fn equipment_that_fits_no_node_is_refused_with_the_largest_node() {
    let plan = first_plan(|experiment| experiment.spec.equipment.resources.cpu = "64".into());
    let (reason, message) = refused(&plan);
    assert_eq!(reason, "EquipmentTooLarge");
    assert!(message.contains("4000m"), "{message}");
}

#[test]
fn a_missing_secret_is_refused_with_its_name() {
    let mut world = World::new(1, true, 1, 0);
    world.secrets.clear();
    let plan = planned(&world.experiment, &settings(), &world.observe());
    let (reason, message) = refused(&plan);
    assert_eq!(reason, "SecretMissing");
    assert!(message.contains("Secret aws"), "{message}");
    assert!(plan.look_again_at.is_some(), "a Secret is looked for again");
}

#[test]
fn a_queued_experiment_names_the_one_it_waits_for() {
    let world = World::new(1, false, 1, 0);
    let pool = Pool::Taken {
        by: "lab/other".into(),
        ahead: 1,
    };
    let plan = planned(
        &world.experiment,
        &settings(),
        &Observed {
            pool,
            ..world.observe()
        },
    );
    assert!(plan.actions.is_empty() && plan.status.start_time.is_none());
    let condition = conditions::get(&plan.status.conditions, SUCCEEDED).unwrap();
    assert_eq!(condition.reason, "Queued");
    assert!(condition.message.contains("lab/other"));
}

#[test]
fn pods_meet_the_restricted_standard_and_are_guaranteed() {
    for experiment in [experiment(false, 2), race(2)] {
        restricted_and_guaranteed(&experiment);
    }
}

fn restricted_and_guaranteed(experiment: &Experiment) {
    let valid = valid(experiment);
    let of = &valid.remains;
    let mut specs = vec![
        jobs::run(of, &settings(), 0),
        jobs::report(of, &settings(), 0),
    ]
    .into_iter()
    .map(|job| job.spec.unwrap().template.spec.unwrap())
    .collect::<Vec<_>>();
    for (name, server) in valid.servers() {
        let profile = profile(&server.release, &of.spec.equipment);
        let set = backend::stateful_set(of, (name, &server.image), &profile, &settings(), &[]);
        specs.push(set.spec.unwrap().template.spec.unwrap());
    }
    for pod in specs {
        assert_eq!(pod.automount_service_account_token, Some(false));
        let security = pod.security_context.unwrap();
        assert_eq!(security.run_as_non_root, Some(true));
        assert_eq!(security.seccomp_profile.unwrap().type_, "RuntimeDefault");
        for container in pod.containers {
            let own = container.security_context.unwrap();
            assert_eq!(own.allow_privilege_escalation, Some(false));
            assert_eq!(own.read_only_root_filesystem, Some(true));
            assert_eq!(own.capabilities.unwrap().drop.unwrap(), ["ALL"]);
            let resources = container.resources.unwrap();
            assert_eq!(resources.limits, resources.requests);
        }
    }
}
