//! A cluster with one plan in it.

use super::super::{Observed, plan};
use crate::action::Plan;
use crate::errands::ground::Ground;
use crate::runs::{Answer, Answers, Run, RunAction};
use crate::settings::{Settings, sample};
use crate::stored::Stored;
use bakeoff_crds::conditions::{self, SUCCEEDED, Truth};
use bakeoff_crds::experiment_plan::{
    ExperimentPlan, ExperimentPlanSpec, ExperimentPlanStatus, MAX_STATUS_BYTES,
};
use bakeoff_crds::identity::Identity;
use bakeoff_crds::status::DecisionStatus;
use bakeoff_crds::{Experiment, ExperimentStatus};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A cluster with one plan in it.
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) plan: ExperimentPlan,
    pub(super) id: Identity,
    pub(super) runs: Vec<Experiment>,
    /// Those that others have made.
    pub(super) others: Vec<Experiment>,
    pub(super) answers: Answers,
    pub(super) refused: Vec<String>,
    /// All names that were ever made.
    pub(super) ever: BTreeSet<String>,
    /// Where its own Jobs are.
    pub(super) ground: Ground,
    settings: Settings,
}

fn template() -> Value {
    json!({"spec": {
        "backends": [{"name": "m", "minio": {"version": "v"}}],
        "workloads": [{"name": "c", "consistency": {}}],
    }})
}

impl World {
    /// A plan of these phases; `"template": {}` stands for one.
    pub(super) fn new(mut phases: Value) -> Self {
        for phase in phases.as_array_mut().unwrap() {
            for step in phase["experiments"].as_array_mut().unwrap() {
                if step.get("template").is_some() {
                    step["template"] = template();
                }
            }
        }
        let plan: ExperimentPlan = serde_json::from_value(json!({
            "apiVersion": "bakeoff.dev/v1alpha1", "kind": "ExperimentPlan",
            "metadata": {"name": "ladder", "namespace": "lab", "uid": "0", "generation": 1},
            "spec": {"phases": phases},
        }))
        .unwrap();
        Self {
            now: "2026-03-01T12:00:00Z".parse().unwrap(),
            id: Identity::of(&plan.metadata).unwrap(),
            plan,
            runs: Vec::new(),
            others: Vec::new(),
            answers: Answers::new(),
            refused: Vec::new(),
            ever: BTreeSet::new(),
            ground: Ground::default(),
            settings: sample(),
        }
    }

    /// The spec, to be changed: another generation.
    pub(super) fn spec(&mut self) -> &mut ExperimentPlanSpec {
        *self.plan.metadata.generation.get_or_insert(0) += 1;
        &mut self.plan.spec
    }

    pub(super) fn status(&self) -> ExperimentPlanStatus {
        self.plan.status.clone().unwrap()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.runs.iter().map(ResourceExt::name_any).collect()
    }

    pub(super) fn reason(&self, type_: &str) -> String {
        let status = self.status();
        conditions::get(&status.conditions, type_)
            .unwrap()
            .reason
            .clone()
    }

    pub(super) fn truth(&self, type_: &str) -> String {
        let status = self.status();
        conditions::get(&status.conditions, type_)
            .unwrap()
            .status
            .clone()
    }

    pub(super) fn observe(&self) -> Observed {
        let of = |run: &Experiment| Run::of(&Stored::Read(Box::new(run.clone())));
        let runs: Vec<Run> = self.runs.iter().map(of).collect();
        let mut answers = self.answers.clone();
        answers.retain(|name, _| runs.iter().all(|run| run.name != *name));
        Observed {
            now: self.now,
            runs,
            named: self
                .others
                .iter()
                .map(|run| (run.name_any(), of(run)))
                .collect(),
            answers,
            refused: self.refused.clone(),
            errands: self.ground.seen.clone(),
        }
    }

    pub(super) fn next(&self) -> Plan<ExperimentPlanStatus, RunAction> {
        self.next_of(&self.observe())
    }

    pub(super) fn next_of(&self, observed: &Observed) -> Plan<ExperimentPlanStatus, RunAction> {
        plan(&self.plan, &self.id, observed, &self.settings)
    }

    /// One pass; what people are told.
    pub(super) fn pass(&mut self) -> Vec<String> {
        let next = self.next();
        self.answers.clear();
        self.write(next.status);
        for action in next.actions {
            self.act(action);
        }
        self.ground.work();
        next.events.into_iter().map(|note| note.message).collect()
    }

    /// Passes until nothing changes any more.
    pub(super) fn settle(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for _ in 0..20 {
            let before = self.plan.status.clone();
            told.extend(self.pass());
            self.now += SignedDuration::from_secs(1);
            if self.plan.status == before && self.next().actions.is_empty() {
                return told;
            }
        }
        panic!("it does not settle: {:?}", self.status());
    }

    pub(super) fn write(&mut self, status: ExperimentPlanStatus) {
        let bytes = serde_json::to_vec(&status).unwrap().len();
        assert!(bytes <= MAX_STATUS_BYTES, "a status of {bytes} bytes");
        self.plan.status = Some(status);
    }

    pub(super) fn act(&mut self, action: RunAction) {
        match action {
            RunAction::Create(run) => {
                let name = run.name_any();
                if !self.names().contains(&name) {
                    assert!(
                        self.ever.insert(name.clone()),
                        "{name} is made a second time"
                    );
                    let mut run = *run;
                    run.metadata.uid = Some(name.clone());
                    self.runs.push(run);
                }
                self.answers.insert(name, Answer::Made);
            }
            RunAction::Cancel { name, .. } => {
                for run in self.runs.iter_mut().filter(|run| run.name_any() == name) {
                    run.spec.cancel = true;
                }
            }
            RunAction::Delete { name, .. } => panic!("{name} is removed"),
            RunAction::Errand(action) => self.ground.act(action, self.now),
        }
    }

    pub(super) fn is_running(&self, name: &str) -> bool {
        let run = self.runs.iter().find(|run| run.name_any() == name).unwrap();
        let status = run.status.as_ref();
        status.is_none_or(|status| status.completion_time.is_none())
    }

    /// An experiment ends, with what its rule concludes.
    pub(super) fn end(&mut self, name: &str, reason: &str, decision: Option<&str>) {
        let now = self.now;
        let mut runs = self.runs.iter_mut();
        let run = runs.find(|run| run.name_any() == name);
        end(
            run.unwrap_or_else(|| panic!("no {name}")),
            now,
            reason,
            decision,
        );
    }

    /// An experiment that others have made, and that has ended.
    pub(super) fn theirs(&mut self, name: &str, decision: Option<&str>) {
        let mut run = Experiment::new(
            name,
            serde_json::from_value(template()["spec"].clone()).unwrap(),
        );
        run.metadata.uid = Some(name.to_owned());
        end(&mut run, self.now, "Completed", decision);
        self.others.push(run);
    }
}

fn end(run: &mut Experiment, now: Timestamp, reason: &str, decision: Option<&str>) {
    let status: &mut ExperimentStatus = run.status.get_or_insert_default();
    let truth = Truth::from(reason == "Completed");
    let message = "it ended ".repeat(60);
    conditions::set(
        &mut status.conditions,
        SUCCEEDED,
        truth,
        reason,
        &message,
        None,
        now,
    );
    status.completion_time = Some(now);
    status.decision = decision.map(|outcome| DecisionStatus {
        rule: "SimpleSchema".to_owned(),
        outcome: serde_json::from_value(json!(outcome)).unwrap(),
        reason: "the figures say so".to_owned(),
        consequence: "nothing changes".to_owned(),
    });
}
