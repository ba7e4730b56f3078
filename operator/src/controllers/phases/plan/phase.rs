//! Runs one phase.

use super::draft::Draft;
use super::gate::Gate;
use crate::controllers::phases::build;
use crate::runs::{Answer, Run, RunAction, RunEnd, build::hash};
use bakeoff_crds::EndReason;
use bakeoff_crds::conditions::reasons;
use bakeoff_crds::experiment_plan::{
    Approval, DecisionAction, Order, Phase, PhaseOutcome, PhaseState, PhaseStatus, PlanState, Step,
    StepStatus,
};
use bakeoff_crds::notify::Occasion;
use bakeoff_crds::status::DecisionOutcome;

/// What was made is looked for again after this time, seconds, and what was refused is tried again.
const AGAIN: i64 = 10;

/// Whether the plan can go on to the next phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Free,
    Barred,
}

/// What is said of a phase that was changed.
fn drift(phase: &Phase) -> String {
    format!(
        "the experiments of {} were changed after it had begun; what it began with is used, and no more is made of it: put them back, or make another plan",
        phase.name
    )
}

impl Draft<'_> {
    /// Goes through the phases up to the first that is not done.
    pub(super) fn advance(&mut self) {
        let spec = self.spec;
        if !self.unchanged {
            // Also of those that are not gone on with now.
            let changed = spec.phases.iter().find(|phase| self.is_changed(phase));
            self.drifted = changed.map(drift);
        }
        for phase in &spec.phases {
            if self.one(phase) == Way::Barred {
                self.status.phase = Some(phase.name.clone());
                return;
            }
            let outcome = self.of(&phase.name).and_then(|status| status.outcome);
            if let Some(outcome) = outcome.filter(|outcome| phase.stop_on.contains(outcome)) {
                self.stop(phase, outcome);
                return;
            }
        }
        self.complete();
    }

    fn one(&mut self, phase: &Phase) -> Way {
        let mut status = self
            .of(&phase.name)
            .cloned()
            .unwrap_or_else(|| PhaseStatus {
                name: phase.name.clone(),
                ..Default::default()
            });
        if status.state == PhaseState::Done {
            return Way::Free;
        }
        if status.start_time.is_none() {
            match self.gate(phase) {
                Gate::Run(reason) => {
                    if !self.is_reported(None) {
                        return Way::Barred;
                    }
                    if self.spec.suspend {
                        self.stands(
                            PlanState::Suspended,
                            "no experiment is begun until suspend is taken back",
                        );
                        return Way::Barred;
                    }
                    self.begin(phase, &mut status, reason);
                }
                Gate::Skip(reason) => {
                    self.tell(
                        false,
                        reasons::PHASE_SKIPPED,
                        &format!("{} is not run: {reason}", phase.name),
                    );
                    status.reason = Some(reason);
                    self.finish(status, PhaseOutcome::Skipped);
                    return Way::Free;
                }
                Gate::Wait(reason) => {
                    if !self.is_reported(None) {
                        return Way::Barred;
                    }
                    let message = format!(
                        "whether {} is run has to be decided, because {reason}: add {{phase: {}, action: Run or Skip, reason, by}} to spec.decisions",
                        phase.name, phase.name
                    );
                    self.wait_for_a_person(status, PhaseState::Waiting, &message);
                    return Way::Barred;
                }
            }
        }
        self.run_experiments(phase, &mut status);
        let outcomes = status.experiments.iter().map(|step| step.outcome);
        let outcomes: Option<Vec<PhaseOutcome>> = outcomes.collect();
        let Some(outcomes) = outcomes.filter(|all| all.len() == phase.experiments.len()) else {
            self.set(status);
            return Way::Barred;
        };
        self.take(phase, status, &outcomes)
    }

    fn begin(&mut self, phase: &Phase, status: &mut PhaseStatus, reason: Option<String>) {
        status.start_time = Some(self.now);
        status.state = PhaseState::Running;
        status.templates = Some(hash(&phase.experiments));
        status.reason = reason;
        self.status.start_time = self.status.start_time.or(Some(self.now));
        self.tell(
            false,
            reasons::PHASE_STARTED,
            &format!("{}: {}", phase.name, phase.question),
        );
        self.remember();
    }

    /// Has every experiment of the phase run, in its order, as often as it may.
    fn run_experiments(&mut self, phase: &Phase, status: &mut PhaseStatus) {
        let templates = hash(&phase.experiments);
        // A newer version of the operator may write the same templates in other words.
        if self.unchanged && status.templates.as_ref() != Some(&templates) {
            status.templates = Some(templates.clone());
            self.remember();
        }
        let drifted = status.templates.as_ref() != Some(&templates);
        let mut message = String::new();
        for step in &phase.experiments {
            if !status.experiments.iter().any(|one| one.name == step.name) {
                if phase.order == Order::Serial
                    && status.experiments.iter().any(|one| one.outcome.is_none())
                {
                    break;
                }
                status.experiments.push(StepStatus {
                    name: step.name.clone(),
                    experiment: self.name_of(phase, step, 1),
                    attempt: 1,
                    ..Default::default()
                });
            }
            let Some(one) = status
                .experiments
                .iter_mut()
                .find(|one| one.name == step.name)
            else {
                continue;
            };
            if one.outcome.is_some() {
                continue;
            }
            message = self.attempt(phase, step, one, drifted);
        }
        if drifted {
            self.drifted = Some(drift(phase));
        }
        let state = if self.spec.suspend {
            PlanState::Suspended
        } else {
            PlanState::Running
        };
        self.stands(state, &message);
    }

    /// Whether the experiments of a phase that has begun and is not done are others than those that it began with.
    fn is_changed(&self, phase: &Phase) -> bool {
        self.of(&phase.name).is_some_and(|one| {
            one.start_time.is_some()
                && one.state != PhaseState::Done
                && one.templates.as_ref() != Some(&hash(&phase.experiments))
        })
    }

    fn name_of(&self, phase: &Phase, step: &Step, attempt: i32) -> String {
        match &step.r#ref {
            Some(named) => named.name.clone(),
            None => build::name(&self.id.name, &phase.name, &step.name, attempt),
        }
    }

    /// Looks at the last attempt, or makes it; what it waits for, in words.
    fn attempt(
        &mut self,
        phase: &Phase,
        step: &Step,
        one: &mut StepStatus,
        drifted: bool,
    ) -> String {
        let name = one.experiment.clone();
        let observed = self.observed;
        let run = match &step.r#ref {
            Some(named) => observed.named.get(&named.name),
            None => observed.runs.iter().find(|run| run.name == name),
        };
        if let Some(run) = run {
            return self.look_at(phase, step, one, run);
        }
        if step.r#ref.is_some() {
            self.wake_in(AGAIN);
            return format!(
                "{} waits for the Experiment {name}, which is not there",
                phase.name
            );
        }
        if one.uid.is_some() {
            one.outcome = Some(PhaseOutcome::Failed);
            one.reason = Some(format!("{name} was removed before it had ended"));
            self.remember();
            return String::new();
        }
        let waits = match observed.answers.get(&name) {
            Some(Answer::Made) => return format!("{name} was made"),
            Some(Answer::Taken) => {
                one.outcome = Some(PhaseOutcome::Failed);
                one.reason = Some(format!(
                    "an Experiment {name} is there that the plan has not made"
                ));
                self.remember();
                return String::new();
            }
            Some(Answer::Refused(why)) => format!("{name} cannot be made: {why}"),
            None => format!("{name} is made"),
        };
        if self.spec.suspend {
            return "no experiment is begun until suspend is taken back".to_owned();
        }
        if drifted {
            return format!(
                "{name} is not made, because the templates were changed after the phase had begun"
            );
        }
        if let Some(run) = build::run(self.id, phase, step, one.attempt) {
            self.actions.push(RunAction::Create(Box::new(run)));
            self.wake_in(AGAIN);
        }
        waits
    }

    fn look_at(&mut self, phase: &Phase, step: &Step, one: &mut StepStatus, run: &Run) -> String {
        if one.uid.as_ref() != Some(&run.uid) {
            one.uid = Some(run.uid.clone());
            self.remember();
        }
        let Some(end) = &run.end else {
            return format!("{} is {}", run.name, run.state);
        };
        let outcome = outcome(end);
        let cancelled = end.reason == EndReason::Cancelled;
        // What somebody has ended is not begun again behind their back.
        if outcome == PhaseOutcome::Failed
            && !cancelled
            && step.template.is_some()
            && one.attempt <= phase.retries
        {
            one.attempt += 1;
            let next = self.name_of(phase, step, one.attempt);
            self.tell(
                true,
                reasons::RUN_FINISHED,
                &format!(
                    "{} ended as {}, and is tried again as {next}: {}",
                    run.name, end.reason, end.message
                ),
            );
            one.experiment = next;
            one.uid = None;
            self.remember();
            self.wake_in(0);
            return format!("{} failed and is tried again", run.name);
        }
        one.outcome = Some(outcome);
        one.reason = Some(reason(end));
        one.consequence = end
            .decision
            .as_ref()
            .map(|decision| decision.consequence.clone());
        one.report.clone_from(&end.report);
        self.remember();
        // The next one is begun at once.
        self.wake_in(0);
        String::new()
    }

    /// The outcome of the phase, by its experiments or by a person.
    fn take(&mut self, phase: &Phase, mut status: PhaseStatus, outcomes: &[PhaseOutcome]) -> Way {
        let found = worst(outcomes);
        let among = [DecisionAction::Go, DecisionAction::NoGo];
        let decision = self.decided(&phase.name, among).cloned();
        let asks = match phase.approval {
            Approval::Never => false,
            Approval::OnInconclusive => found == PhaseOutcome::Inconclusive,
            Approval::Always => true,
        };
        let outcome = match decision {
            Some(decision) => {
                status.reason = Some(format!(
                    "decided by {}: {} (the experiments say {})",
                    decision.by,
                    decision.reason,
                    found.as_str()
                ));
                if decision.action == DecisionAction::Go {
                    PhaseOutcome::Go
                } else {
                    PhaseOutcome::NoGo
                }
            }
            None if asks => {
                let message = format!(
                    "the experiments of {} say {}; how that is taken has to be decided: add {{phase: {}, action: Go or NoGo, reason, by}} to spec.decisions",
                    phase.name,
                    found.as_str(),
                    phase.name
                );
                self.wait_for_a_person(status, PhaseState::AwaitingApproval, &message);
                return Way::Barred;
            }
            None => {
                let decisive = status
                    .experiments
                    .iter()
                    .find(|one| one.outcome == Some(found));
                status.reason = decisive
                    .and_then(|one| Some(format!("{}: {}", one.name, one.reason.as_ref()?)));
                found
            }
        };
        let why = status.reason.clone().unwrap_or_default();
        let message = format!("{} is {}: {why}", phase.name, outcome.as_str());
        self.tell(
            outcome == PhaseOutcome::Failed,
            reasons::PHASE_DECIDED,
            &message,
        );
        self.notify(Occasion::PhaseDecided, &message);
        self.finish(status, outcome);
        Way::Free
    }

    fn finish(&mut self, mut status: PhaseStatus, outcome: PhaseOutcome) {
        status.state = PhaseState::Done;
        status.outcome = Some(outcome);
        status.completion_time = Some(self.now);
        self.set(status);
        self.remember();
    }

    fn wait_for_a_person(&mut self, mut status: PhaseStatus, state: PhaseState, message: &str) {
        let told = self
            .of(&status.name)
            .is_some_and(|before| before.state == state && before.reason.is_some());
        if !told {
            self.tell(true, reasons::APPROVAL_NEEDED, message);
            self.notify(Occasion::ApprovalNeeded, message);
            self.remember();
        }
        status.state = state;
        status.reason = Some(message.to_owned());
        self.set(status);
        self.waits = Some(message.to_owned());
        self.stands(PlanState::Waiting, message);
    }
}

/// What an experiment came to. One without a rule has measured what was asked, and its objectives say whether it is well.
fn outcome(end: &RunEnd) -> PhaseOutcome {
    if !end.reason.succeeded() {
        return PhaseOutcome::Failed;
    }
    match (&end.decision, end.objectives_met) {
        (Some(decision), _) => match decision.outcome {
            DecisionOutcome::Go => PhaseOutcome::Go,
            DecisionOutcome::NoGo => PhaseOutcome::NoGo,
            DecisionOutcome::Inconclusive => PhaseOutcome::Inconclusive,
        },
        (None, Some(false)) => PhaseOutcome::NoGo,
        (None, _) => PhaseOutcome::Go,
    }
}

fn reason(end: &RunEnd) -> String {
    let text = match &end.decision {
        Some(decision) if end.reason.succeeded() => &decision.reason,
        _ => &end.message,
    };
    // A status has room for 16 phases of 8 of them.
    bakeoff_crds::conditions::shorten(text, 200)
}

/// Failed before NoGo before Inconclusive before Go.
fn worst(outcomes: &[PhaseOutcome]) -> PhaseOutcome {
    let rank = |outcome: &PhaseOutcome| match outcome {
        PhaseOutcome::Failed => 4,
        PhaseOutcome::NoGo => 3,
        PhaseOutcome::Inconclusive => 2,
        PhaseOutcome::Go => 1,
        PhaseOutcome::Skipped => 0,
    };
    let worst = outcomes.iter().max_by_key(|outcome| rank(outcome));
    worst.copied().unwrap_or(PhaseOutcome::Go)
}
