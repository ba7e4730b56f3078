//! A plan in the making. (Pure.)

use super::{Action, Child, Note, Plan};
use crate::controllers::experiment::facts::{Kind, Observed};
use crate::controllers::experiment::trouble::Trouble;
use crate::made::TRUSTED_SECONDS;
use crate::settings::Settings;
use bakeoff_crds::EndReason;
use bakeoff_crds::conditions::{self, Truth, reasons};
use bakeoff_crds::names;
use bakeoff_crds::status::EndingStatus;
use bakeoff_crds::{Experiment, ExperimentStatus};
use jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};

/// A plan in the making: starts from the status that stands.
pub struct Draft<'a> {
    pub experiment: &'a Experiment,
    pub settings: &'a Settings,
    pub observed: &'a Observed,
    pub status: ExperimentStatus,
    actions: Vec<Action>,
    events: Vec<Note>,
    stage_event: Option<Note>,
    look_again_at: Option<Timestamp>,
}

impl<'a> Draft<'a> {
    pub fn new(experiment: &'a Experiment, settings: &'a Settings, observed: &'a Observed) -> Self {
        let mut status = experiment.status.clone().unwrap_or_default();
        status.observed_generation = experiment.metadata.generation;
        let mut draft = Self {
            experiment,
            settings,
            observed,
            status,
            actions: Vec::new(),
            events: Vec::new(),
            stage_event: None,
            look_again_at: None,
        };
        if draft.awaits_children() {
            // A watch event wakes the experiment; this is for a child that was deleted before there was any.
            draft.wake_after(TRUSTED_SECONDS);
        }
        draft
    }

    pub fn now(&self) -> Timestamp {
        self.observed.now
    }

    /// Sets a condition.
    pub fn condition(&mut self, type_: &str, truth: Truth, reason: &str, message: &str) {
        let generation = self.experiment.metadata.generation;
        let now = self.now();
        conditions::set(
            &mut self.status.conditions,
            type_,
            truth,
            reason,
            message,
            generation,
            now,
        );
    }

    /// Says where the work stands, in the conditions and, when the reason is new, as an event.
    pub fn stage(&mut self, succeeded: Truth, reason: &str, message: &str) {
        self.say(succeeded, succeeded == Truth::False, reason, message);
    }

    /// Says what keeps the work from going on, though it may yet.
    pub fn trouble(&mut self, trouble: &Trouble) {
        self.say(Truth::Unknown, true, trouble.reason, &trouble.message);
    }

    fn say(&mut self, succeeded: Truth, warning: bool, reason: &str, message: &str) {
        let status = self.experiment.status.as_ref();
        let stood =
            status.and_then(|status| conditions::get(&status.conditions, conditions::SUCCEEDED));
        // Of several stages in one plan only the last one stands, so only that one is told.
        self.stage_event = stood
            .is_none_or(|stood| stood.reason != reason)
            .then(|| Note {
                warning,
                reason: reason.to_owned(),
                message: conditions::shorten(message, 1_000),
            });
        let failed = succeeded == Truth::False;
        self.condition(conditions::SUCCEEDED, succeeded, reason, message);
        self.condition(
            conditions::RECONCILING,
            (succeeded == Truth::Unknown).into(),
            reason,
            message,
        );
        self.condition(conditions::STALLED, failed.into(), reason, message);
    }

    pub fn note(&mut self, warning: bool, reason: &str, message: String) {
        self.events.push(Note {
            warning,
            reason: reason.to_owned(),
            message,
        });
    }

    /// Whether the experiment carries our finalizer.
    pub fn has_finalizer(&self) -> bool {
        let finalizers = self.experiment.finalizers();
        finalizers.iter().any(|name| name == names::FINALIZER)
    }

    pub fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Applies a child unless it is there already. Children do not change once made: their content is a
    /// function of a spec that is fixed.
    pub fn ensure(&mut self, child: impl Into<Child>) {
        let child = child.into();
        let (kind, name) = child.key();
        if !self.exists(kind, &name) {
            self.act(Action::Apply(child));
        }
    }

    /// Whether it is there, or on its way into the caches.
    pub fn exists(&self, kind: Kind, name: &str) -> bool {
        self.observed.children.has(kind, name) || self.is_coming(kind, name)
    }

    /// Whether it was made and no watch has shown it yet.
    pub fn is_coming(&self, kind: Kind, name: &str) -> bool {
        self.observed.made.contains(&(kind, name.to_owned()))
    }

    /// Whether a child is left, or on its way into the caches.
    pub fn has_children(&self) -> bool {
        self.awaits_children() || !self.observed.children.is_empty()
    }

    fn awaits_children(&self) -> bool {
        let mut made = self.observed.made.iter();
        made.any(|(kind, _)| *kind != Kind::Secret)
    }

    /// What is left, for people.
    pub fn left(&self) -> String {
        if self.observed.children.is_empty() {
            return "what was made last".to_owned();
        }
        self.observed.children.describe()
    }

    /// Deletes every child that is left.
    pub fn tear_down(&mut self) {
        let children = &self.observed.children;
        let mut targets: Vec<(Kind, String)> = Vec::new();
        macro_rules! all {
            ($($field:ident => $kind:ident),*) => {
                $(targets.extend(
                    children.$field.iter().filter(|o| o.meta().deletion_timestamp.is_none())
                        .map(|o| (Kind::$kind, o.name_any()))
                );)*
            };
        }
        all!(jobs => Job, stateful_sets => StatefulSet, services => Service, config_maps => ConfigMap,
            network_policies => NetworkPolicy, disruption_budgets => DisruptionBudget, claims => Claim);
        for (kind, name) in targets {
            self.act(Action::Delete(kind, name));
        }
    }

    /// Asks to be woken after so many seconds at the latest.
    pub fn wake_after(&mut self, seconds: i64) {
        self.wake_at(self.now() + SignedDuration::from_secs(seconds.max(0)));
    }

    /// Asks to be woken at this instant at the latest.
    pub fn wake_at(&mut self, instant: Timestamp) {
        self.look_again_at = Some(
            self.look_again_at
                .map_or(instant, |other| other.min(instant)),
        );
    }

    /// Does not go on: the spec or its surroundings must change first.
    pub fn refuse(mut self, reason: &str, message: &str) -> Plan {
        self.stage(Truth::False, reason, message);
        self.done()
    }

    /// Remembers how the experiment ends, before anything is done about it.
    pub fn begin_ending(mut self, reason: EndReason, message: &str) -> Plan {
        let told = format!("ends as {reason}: {message}");
        self.status.ending = Some(EndingStatus {
            reason,
            message: conditions::shorten(message, 900),
            reported_time: None,
            cleaned_up_time: None,
        });
        self.stage(Truth::Unknown, reasons::ENDING, &told);
        self.remember()
    }

    /// The plan, with a fact that must stand before anything else is done.
    pub fn remember(mut self) -> Plan {
        self.actions.clear();
        let mut plan = self.done();
        plan.remember = true;
        plan
    }

    pub fn done(mut self) -> Plan {
        self.events.extend(self.stage_event.take());
        Plan {
            status: self.status,
            remember: false,
            actions: self.actions,
            events: self.events,
            look_again_at: self.look_again_at,
        }
    }
}
