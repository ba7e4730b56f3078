//! The report of the plan, which a Job writes anew whenever phases have come to their outcomes.

use super::draft::Draft;
use crate::action::Action;
use crate::children::Kind;
use crate::errands::Errand;
use crate::errands::build::{Task, copied_secret, errand, results_folder};
use crate::parts::loadgen_job::results_secret_of;
use crate::parts::loadgen_job::store_at;
use crate::parts::objects::Role;
use crate::runs::RunAction;
use bakeoff_crds::EndReason;
use bakeoff_crds::experiment_plan::{
    PLAN_REPORT_SCHEMA, PhaseState, PlanReport, PlanReportStatus, PlanState, ReportedPhase,
};
use bakeoff_crds::spec::{Equipment, ExperimentSpec, Results};
use bakeoff_crds::{ExperimentPlan, names};

/// How long the Job may take, seconds. It reads a summary for each experiment.
const SECONDS: i64 = 300;

/// How a plan ends.
#[derive(Clone, Copy)]
pub(super) struct End<'a> {
    pub(super) state: PlanState,
    pub(super) message: &'a str,
}

impl Draft<'_> {
    /// Whether the report says all that there is to say, as far as it can be had; sees to it where it does not.
    ///
    /// The next phase waits for it: a person may want to read it before deciding, and a Job of ours must not run beside
    /// what we measure.
    pub(super) fn is_reported(&mut self, end: Option<End<'_>>) -> bool {
        let phases = self.status.phases.iter();
        let done = phases.filter(|phase| phase.state == PhaseState::Done);
        let done = i32::try_from(done.count()).unwrap_or(i32::MAX);
        let whole = end.is_some();
        let said = |report: &PlanReportStatus| report.phases == done && report.whole >= whole;
        let store_is_known = self.settings.results.is_some() || self.results().s3.is_some();
        if done == 0 || !store_is_known || self.status.report.as_ref().is_some_and(said) {
            return true;
        }
        let name = self.report_name(done, whole);
        match self.observed.errands.errand(&name, self.now, SECONDS) {
            Errand::Absent => {
                self.ask_for_a_report(&name, end);
                self.wake_in(1);
            }
            Errand::Works(until) => self.wake_by(until),
            Errand::Done => self.reported(&name, done, whole, None),
            Errand::Failed(why) => self.reported(&name, done, whole, Some(why)),
        }
        let message = format!("writes the report of {done} phases");
        self.stands(PlanState::Reporting, &message);
        false
    }

    fn report_name(&self, done: i32, whole: bool) -> String {
        let role = if whole {
            "report".to_owned()
        } else {
            format!("report-{done}")
        };
        names::child(&self.id.name, self.id.uid.as_str(), &role)
    }

    fn ask_for_a_report(&mut self, name: &str, end: Option<End<'_>>) {
        let content = self.content(end);
        let (results, equipment) = (self.results(), self.equipment());
        let task = Task {
            name,
            role: Role::Report,
            command: "plan-report",
            content: &content,
            equipment: &equipment,
            credentials: results_folder(self.id, &results),
        };
        let children = errand::<ExperimentPlan, _>(self.id, self.settings, task);
        let secret = copied_secret::<ExperimentPlan>(self.id, &results);
        let credentials = crate::action::Credentials::OfResultsStore;
        let secret = secret.map(|secret| Action::CreateSecret(Box::new(secret), credentials));
        let made = &self.observed.errands.made;
        let secret = secret.filter(|secret| secret.made().is_none_or(|key| !made.contains(&key)));
        let actions = secret
            .into_iter()
            .chain(self.observed.errands.ensure(children));
        self.actions.extend(actions.map(RunAction::Errand));
    }

    /// What the Job is told of the plan.
    fn content(&self, end: Option<End<'_>>) -> PlanReport {
        let phases = self.spec.phases.iter().map(|phase| ReportedPhase {
            name: phase.name.clone(),
            question: phase.question.clone(),
            when: phase.when.clone(),
            undecided: phase.undecided,
            status: self.of(&phase.name).cloned(),
        });
        let folder = PlanReport::folder(self.id);
        PlanReport {
            schema_version: PLAN_REPORT_SCHEMA.to_owned(),
            plan: self.id.clone(),
            start_time: self.status.start_time,
            state: end.map_or(PlanState::Running, |end| end.state),
            message: end.map_or_else(String::new, |end| end.message.to_owned()),
            phases: phases.collect(),
            decisions: self.spec.decisions.clone(),
            results: store_at(&self.results(), self.settings, folder),
        }
    }

    fn reported(&mut self, name: &str, phases: i32, whole: bool, failure: Option<String>) {
        let folder = PlanReport::folder(self.id);
        let before = self.status.report.take();
        let url = match &failure {
            None => {
                let store = store_at(&self.results(), self.settings, folder);
                Some(format!("{}/report.html", store.url()))
            }
            Some(why) => {
                let message = format!(
                    "the report of the plan could not be written: {why}; the reports of its experiments are there"
                );
                self.tell(true, EndReason::ReportFailed.as_str(), &message);
                before.and_then(|before| before.url)
            }
        };
        self.status.report = Some(PlanReportStatus {
            url,
            phases,
            whole,
            failure,
        });
        let gone = self.observed.errands.end(name).into_iter();
        self.actions.extend(gone.map(RunAction::Errand));
        self.remember();
        self.wake_in(0);
    }

    /// Removes what errands have left, once there are none to come.
    pub(super) fn clear_errands(&mut self) {
        let mut gone = self.observed.errands.clear();
        let results = self.results();
        if !gone.is_empty() && results.s3.is_none() {
            gone.push(Action::Delete(
                Kind::Secret,
                results_secret_of(self.id, &results),
            ));
        }
        self.actions.extend(gone.into_iter().map(RunAction::Errand));
    }

    /// Its report is where the results of its first experiment are.
    fn results(&self) -> Results {
        self.first()
            .map(|spec| spec.results.clone())
            .unwrap_or_default()
    }

    /// Its errands run where that may run.
    pub(super) fn equipment(&self) -> Equipment {
        self.first()
            .map(|spec| spec.equipment.clone())
            .unwrap_or_default()
    }

    fn first(&self) -> Option<&ExperimentSpec> {
        let steps = self.spec.phases.iter().flat_map(|phase| &phase.experiments);
        let mut templates = steps.filter_map(|step| step.template.as_ref());
        templates.next().map(|template| &template.spec)
    }
}
