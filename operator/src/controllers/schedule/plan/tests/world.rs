//! A cluster with one schedule in it.

use super::super::{Observed, plan};
use super::at;
use crate::action::Plan;
use crate::errands::ground::Ground;
use crate::runs::{Answer, Answers, Run, RunAction};
use crate::settings::{Settings, sample};
use crate::stored::Stored;
use bakeoff_crds::conditions::{self, SUCCEEDED, Truth};
use bakeoff_crds::experiment_schedule::{ExperimentScheduleStatus, MAX_STATUS_BYTES};
use bakeoff_crds::identity::Identity;
use bakeoff_crds::{Experiment, ExperimentSchedule, ExperimentScheduleSpec, ExperimentStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde_json::json;
use std::collections::BTreeSet;

/// A cluster with one schedule in it.
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) schedule: ExperimentSchedule,
    pub(super) id: Identity,
    pub(super) runs: Vec<Experiment>,
    /// What the operator remembers of what it made.
    pub(super) answers: Answers,
    /// Names of experiments that others have made.
    pub(super) foreign: BTreeSet<String>,
    /// The API server makes nothing, and says so.
    pub(super) refuses: Option<String>,
    /// The template would be refused.
    pub(super) refused: Option<String>,
    /// All names that were ever made.
    pub(super) ever: BTreeSet<String>,
    /// Where its own Jobs are.
    pub(super) ground: Ground,
    settings: Settings,
}

impl World {
    pub(super) fn new(schedule: &str, zone: &str) -> Self {
        let schedule: ExperimentSchedule = serde_json::from_value(json!({
            "apiVersion": "bakeoff.dev/v1alpha1", "kind": "ExperimentSchedule",
            "metadata": {"name": "nightly", "namespace": "lab", "uid": "0", "generation": 1, "creationTimestamp": "2026-03-01T12:00:00Z"},
            "spec": {"schedule": schedule, "timeZone": zone, "template": {"spec": {
                "backends": [{"name": "m", "minio": {"version": "v"}}],
                "workloads": [{"name": "c", "consistency": {}}],
            }}},
        }))
        .unwrap();
        Self {
            now: at("2026-03-01T12:00:00Z"),
            id: Identity::of(&schedule.metadata).unwrap(),
            schedule,
            runs: Vec::new(),
            answers: Answers::new(),
            foreign: BTreeSet::new(),
            refuses: None,
            refused: None,
            ever: BTreeSet::new(),
            ground: Ground::default(),
            settings: sample(),
        }
    }

    pub(super) fn until(&mut self, instant: &str) {
        self.now = at(instant);
    }

    pub(super) fn edit(&mut self, edit: impl FnOnce(&mut ExperimentScheduleSpec)) {
        edit(&mut self.schedule.spec);
        let generation = self.schedule.metadata.generation.unwrap();
        self.schedule.metadata.generation = Some(generation + 1);
    }

    pub(super) fn status(&self) -> ExperimentScheduleStatus {
        self.schedule.status.clone().unwrap()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.runs.iter().map(ResourceExt::name_any).collect()
    }

    pub(super) fn reason(&self, type_: &str) -> String {
        let status = self.status();
        let condition = conditions::get(&status.conditions, type_).unwrap();
        condition.reason.clone()
    }

    pub(super) fn truth(&self, type_: &str) -> String {
        let status = self.status();
        let condition = conditions::get(&status.conditions, type_).unwrap();
        condition.status.clone()
    }

    pub(super) fn observe(&self) -> Observed {
        let runs = self.runs.iter().map(|run| {
            let stored = Stored::Read(Box::new(run.clone()));
            Run::of(&stored)
        });
        let runs: Vec<Run> = runs.collect();
        let mut answers = self.answers.clone();
        answers.retain(|name, _| runs.iter().all(|run| run.name != *name));
        Observed {
            now: self.now,
            runs,
            answers,
            refused: self.refused.clone(),
            errands: self.ground.seen.clone(),
        }
    }

    pub(super) fn plan(&self) -> Plan<ExperimentScheduleStatus, RunAction> {
        self.plan_of(&self.observe())
    }

    pub(super) fn plan_of(&self, observed: &Observed) -> Plan<ExperimentScheduleStatus, RunAction> {
        plan(&self.schedule, &self.id, observed, &self.settings)
    }

    /// One pass; what people are told.
    pub(super) fn pass(&mut self) -> Vec<String> {
        let plan = self.plan();
        let names = self.names();
        self.answers.retain(|name, _| !names.contains(name));
        self.write(plan.status);
        for action in plan.actions {
            self.act(action);
        }
        self.ground.work();
        plan.events.into_iter().map(|note| note.message).collect()
    }

    pub(super) fn write(&mut self, status: ExperimentScheduleStatus) {
        let bytes = serde_json::to_vec(&status).unwrap().len();
        assert!(bytes <= MAX_STATUS_BYTES, "a status of {bytes} bytes");
        self.schedule.status = Some(status);
    }

    pub(super) fn act(&mut self, action: RunAction) {
        match action {
            RunAction::Create(run) => {
                let name = run.name_any();
                let answer = if let Some(why) = &self.refuses {
                    Answer::Refused(why.clone())
                } else if self.foreign.contains(&name) {
                    Answer::Taken
                } else {
                    if !self.names().contains(&name) {
                        assert!(
                            self.ever.insert(name.clone()),
                            "{name} is made a second time"
                        );
                        let mut run = *run;
                        run.metadata.uid = Some(name.clone());
                        run.metadata.creation_timestamp = Some(Time(self.now));
                        self.runs.push(run);
                    }
                    Answer::Made
                };
                self.answers.insert(name, answer);
            }
            RunAction::Cancel { name, .. } => {
                for run in self.runs.iter_mut().filter(|run| run.name_any() == name) {
                    run.spec.cancel = true;
                }
            }
            RunAction::Delete { name, .. } => self.runs.retain(|run| run.name_any() != name),
            RunAction::Errand(action) => self.ground.act(action, self.now),
        }
    }

    /// A run is where this word says.
    pub(super) fn state(&mut self, run: usize, reason: &str) {
        let now = self.now;
        let status = self.runs[run].status.get_or_insert_default();
        let conditions = &mut status.conditions;
        conditions::set(conditions, SUCCEEDED, Truth::Unknown, reason, "", None, now);
    }

    /// A run leaves the queue.
    pub(super) fn begin(&mut self, run: usize) {
        self.state(run, "Running");
        let status = self.runs[run].status.get_or_insert_default();
        status.start_time = Some(self.now);
    }

    /// A run ends.
    pub(super) fn end(&mut self, run: usize, reason: &str) {
        let now = self.now;
        let status: &mut ExperimentStatus = self.runs[run].status.get_or_insert_default();
        let truth = Truth::from(reason == "Completed");
        let conditions = &mut status.conditions;
        conditions::set(conditions, SUCCEEDED, truth, reason, "it ended", None, now);
        status.completion_time = Some(now);
    }

    /// A run ends, and says this of the history.
    pub(super) fn says(&mut self, run: usize, state: &str) {
        self.begin(run);
        self.end(run, "Completed");
        let verdict = json!({"state": state, "message": format!("it says {state}")});
        let status = self.runs[run].status.get_or_insert_default();
        status.regression = Some(serde_json::from_value(verdict).unwrap());
    }

    /// A further look changes nothing and tells nothing.
    pub(super) fn is_settled(&self) {
        let again = self.plan();
        assert!(again.actions.is_empty(), "{:?}", again.actions);
        assert!(again.events.is_empty(), "{:?}", again.events);
        assert_eq!(Some(again.status), self.schedule.status);
    }
}
