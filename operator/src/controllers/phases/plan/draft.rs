//! A plan in the making, of a plan.

use super::Observed;
use crate::action::{Note, Plan};
use crate::errands::notices::Notices;
use crate::runs::RunAction;
use crate::settings::Settings;
use bakeoff_crds::conditions::{self, DRIFTED, SUCCEEDED, Truth, WAITING, reasons};
use bakeoff_crds::experiment_plan::{
    ExperimentPlan, ExperimentPlanSpec, ExperimentPlanStatus, PhaseOutcome, PhaseState,
    PhaseStatus, PlanState,
};
use bakeoff_crds::identity::Identity;
use bakeoff_crds::notify::Occasion;
use jiff::{SignedDuration, Timestamp};

/// A look at least so often.
const LOOK: SignedDuration = SignedDuration::from_mins(10);

/// A plan in the making.
pub(super) struct Draft<'a> {
    pub(super) id: &'a Identity,
    pub(super) spec: &'a ExperimentPlanSpec,
    pub(super) observed: &'a Observed,
    pub(super) settings: &'a Settings,
    pub(super) now: Timestamp,
    pub(super) generation: Option<i64>,
    pub(super) status: ExperimentPlanStatus,
    pub(super) actions: Vec<RunAction>,
    events: Vec<Note>,
    wake_at: Timestamp,
    pub(super) remember: bool,
    /// What a person has to decide.
    pub(super) waits: Option<String>,
    /// What was changed and may not be.
    pub(super) drifted: Option<String>,
    /// Whether this is the spec that was looked at last, and it was as it had begun.
    pub(super) unchanged: bool,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        plan: &'a ExperimentPlan,
        id: &'a Identity,
        observed: &'a Observed,
        settings: &'a Settings,
    ) -> Self {
        let now = observed.now;
        let mut status = plan.status.clone().unwrap_or_default();
        let drifted = conditions::holds(&status.conditions, DRIFTED);
        let same = status.observed_generation.is_some()
            && status.observed_generation == plan.metadata.generation;
        status.observed_generation = plan.metadata.generation;
        Self {
            id,
            spec: &plan.spec,
            observed,
            settings,
            now,
            generation: plan.metadata.generation,
            status,
            actions: Vec::new(),
            events: Vec::new(),
            wake_at: now.saturating_add(LOOK).unwrap_or(Timestamp::MAX),
            remember: false,
            waits: None,
            drifted: None,
            unchanged: same && !drifted,
        }
    }

    /// The status of a phase; one that was not looked at yet has none.
    pub(super) fn of(&self, phase: &str) -> Option<&PhaseStatus> {
        self.status.phases.iter().find(|one| one.name == phase)
    }

    pub(super) fn set(&mut self, phase: PhaseStatus) {
        let stands = self.status.phases.iter_mut();
        match stands.into_iter().find(|one| one.name == phase.name) {
            Some(one) => *one = phase,
            None => self.status.phases.push(phase),
        }
    }

    pub(super) fn condition(&mut self, type_: &str, truth: Truth, reason: &str, message: &str) {
        let (generation, now) = (self.generation, self.now);
        let conditions = &mut self.status.conditions;
        conditions::set(conditions, type_, truth, reason, message, generation, now);
    }

    /// Sets the two conditions that most plans never see.
    pub(super) fn side_conditions(&mut self) {
        let waits = self.waits.take();
        let reason = if waits.is_some() {
            reasons::APPROVAL_NEEDED
        } else {
            reasons::NOTHING_TO_DECIDE
        };
        let message = waits.as_deref().unwrap_or("nobody has to decide anything");
        self.condition(WAITING, Truth::from(waits.is_some()), reason, message);
        let drifted = self.drifted.take();
        let reason = if drifted.is_some() {
            reasons::TEMPLATE_CHANGED
        } else {
            reasons::UNCHANGED
        };
        let message = drifted.as_deref().unwrap_or("what was begun is as it was");
        self.condition(DRIFTED, Truth::from(drifted.is_some()), reason, message);
    }

    /// Where the plan stands while it goes on.
    pub(super) fn stands(&mut self, state: PlanState, message: &str) {
        self.status.state = state;
        self.condition(SUCCEEDED, Truth::Unknown, state.as_str(), message);
    }

    pub(super) fn tell(&mut self, warning: bool, reason: &str, message: &str) {
        self.events.push(Note::new(warning, reason, message));
    }

    /// Tells those who want to hear of such an occasion, beside the event.
    pub(super) fn notify(&mut self, occasion: Occasion, message: &str) {
        let (spec, now) = (self.spec, self.now);
        let given_up = self.notices().of(&spec.notify, occasion, message, now);
        self.events.extend(given_up);
        self.remember();
    }

    /// Sees to the messages that wait to be sent.
    pub(super) fn send_notices(&mut self) {
        let equipment = self.equipment();
        let (id, spec, now) = (self.id, self.spec, self.now);
        let (errands, settings) = (&self.observed.errands, self.settings);
        let to = (spec.notify.as_slice(), &equipment);
        let mut notices = self.notices();
        let sent = notices.send::<ExperimentPlan>(id, to, errands, settings, now);
        self.actions
            .extend(sent.actions.into_iter().map(RunAction::Errand));
        self.events.extend(sent.notes);
        self.remember |= sent.changed;
        if let Some(at) = sent.wake_at {
            self.wake_by(at);
        }
    }

    fn notices(&mut self) -> Notices<'_> {
        Notices {
            pending: &mut self.status.notices,
            made: &mut self.status.notices_made,
        }
    }

    pub(super) fn remember(&mut self) {
        self.remember = true;
    }

    pub(super) fn wake_in(&mut self, seconds: i64) {
        let at = self.now.saturating_add(SignedDuration::from_secs(seconds));
        self.wake_by(at.unwrap_or(Timestamp::MAX));
    }

    pub(super) fn wake_by(&mut self, at: Timestamp) {
        self.wake_at = self.wake_at.min(at);
    }

    pub(super) fn done(mut self) -> Plan<ExperimentPlanStatus, RunAction> {
        let phases = &self.status.phases;
        let over = |phase: &&PhaseStatus| phase.state == PhaseState::Done;
        let done = phases.iter().filter(over).count();
        let ran = phases.iter().rev().filter_map(|phase| phase.outcome);
        let outcome = ran
            .into_iter()
            .find(|outcome| *outcome != PhaseOutcome::Skipped);
        self.status.outcome = outcome;
        self.status.progress = Some(format!("{done}/{}", self.spec.phases.len()));
        Plan {
            status: self.status,
            remember: self.remember,
            actions: self.actions,
            events: self.events,
            wake_at: Some(self.wake_at),
        }
    }
}
