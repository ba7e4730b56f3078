//! A plan in the making.

use super::Observed;
use crate::action::{Note, Plan};
use crate::errands::notices::Notices;
use crate::runs::build::hash;
use crate::runs::{Answer, REFUSED_SECONDS, Run, RunAction};
use crate::settings::Settings;
use bakeoff_crds::conditions::{self, ACCEPTED, RECONCILING, STALLED, Truth, reasons};
use bakeoff_crds::experiment_schedule::{
    ExperimentSchedule, ExperimentScheduleSpec, ExperimentScheduleStatus, SkipReason, Skipped,
};
use bakeoff_crds::identity::Identity;
use bakeoff_crds::notify::Occasion;
use bakeoff_rules::cron::{self, Cron};
use jiff::{SignedDuration, Timestamp};

/// What runs when it changes is taken to do so once a day.
const DAYS: i32 = 365;
/// A look at least so often: a clock may step, a machine may sleep.
const LOOK: SignedDuration = SignedDuration::from_mins(10);
/// A tick that is so far ahead of the clock was answered by a clock that went wrong.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// A plan in the making.
pub(super) struct Draft<'a> {
    pub(super) id: &'a Identity,
    pub(super) spec: &'a ExperimentScheduleSpec,
    pub(super) observed: &'a Observed,
    pub(super) now: Timestamp,
    pub(super) generation: i64,
    /// The hash of the template.
    pub(super) template: String,
    /// Before its first tick no schedule was there.
    made: Timestamp,
    pub(super) status: ExperimentScheduleStatus,
    pub(super) actions: Vec<RunAction>,
    events: Vec<Note>,
    wake_at: Timestamp,
    remember: bool,
    /// Whether it can run.
    pub(super) accepted: bool,
    /// Its clock.
    cron: Option<Cron>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        schedule: &'a ExperimentSchedule,
        id: &'a Identity,
        observed: &'a Observed,
    ) -> Self {
        let now = observed.now;
        let made = schedule.metadata.creation_timestamp.as_ref();
        let generation = schedule.metadata.generation.unwrap_or_default();
        let mut draft = Self {
            id,
            spec: &schedule.spec,
            observed,
            now,
            generation,
            template: hash(&schedule.spec.template),
            made: made.map_or(now, |time| time.0),
            status: schedule.status.clone().unwrap_or_default(),
            actions: Vec::new(),
            events: Vec::new(),
            wake_at: now.saturating_add(LOOK).unwrap_or(Timestamp::MAX),
            remember: false,
            accepted: false,
            cron: None,
        };
        draft.begin();
        draft
    }

    /// What a change of the spec means for what is remembered.
    fn begin(&mut self) {
        let ticking = self.spec.schedule.as_ref();
        let ticking = ticking.map(|schedule| format!("{schedule} {}", self.spec.time_zone));
        let status = &mut self.status;
        if status.observed_generation != Some(self.generation) {
            status.consecutive_failures = 0;
        }
        let resumed = status.suspended && !self.spec.suspend;
        let other = status.ticking != ticking;
        let first = status.last_tick_time.is_none();
        if first {
            status.last_tick_time = Some(self.made);
        }
        // Nothing is caught up that was due by another schedule, or while there was to be none.
        if !first && (resumed || other) {
            status.last_tick_time = Some(self.now);
        }
        let far = self.now.saturating_add(AHEAD).unwrap_or(Timestamp::MAX);
        if status.last_tick_time.is_some_and(|last| last > far) {
            status.last_tick_time = Some(self.now);
        }
        status.ticking = ticking;
        status.suspended = self.spec.suspend;
        status.observed_generation = Some(self.generation);
    }

    /// Up to when every tick has its answer.
    pub(super) fn last_tick(&self) -> Timestamp {
        self.status.last_tick_time.unwrap_or(self.made)
    }

    pub(super) fn deadline(&self, due: Timestamp) -> Timestamp {
        let seconds = SignedDuration::from_secs(self.spec.starting_deadline_seconds);
        due.saturating_add(seconds).unwrap_or(Timestamp::MAX)
    }

    /// How many runs a year are looked at.
    pub(super) fn looks(&self) -> i32 {
        let cron = self.cron.as_ref();
        cron.map_or(DAYS, |cron| cron.in_a_year(self.now))
    }

    /// Runs that are under way, those among them that were made and are not seen yet, and those that this pass makes.
    pub(super) fn active(&self) -> usize {
        let answers = self.observed.answers.values();
        let unseen = answers.filter(|answer| **answer == Answer::Made).count();
        let making = |action: &&RunAction| matches!(action, RunAction::Create(_));
        self.status.active.len() + unseen + self.actions.iter().filter(making).count()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.spec.stops_after(self.status.consecutive_failures)
    }

    /// Whether it can run, and by which clock. What cannot is said, and how to mend it.
    pub(super) fn accept(&mut self) -> Option<Cron> {
        let spec = self.spec;
        let cron = match &spec.schedule {
            Some(schedule) => Cron::read(schedule, &spec.time_zone, self.now).map(Some),
            None => cron::zone(&spec.time_zone).map(|_| None),
        };
        let cron = match cron {
            Ok(cron) => cron,
            Err(refusal) => {
                self.accepted_is(Truth::False, refusal.reason(), &refusal.to_string());
                return None;
            }
        };
        if let Some(why) = &self.observed.refused {
            let message = format!("the template would be refused: {why}");
            self.accepted_is(Truth::False, reasons::INVALID_TEMPLATE, &message);
            // A policy or a quota may be mended, of which nobody tells.
            self.wake_in(REFUSED_SECONDS);
            return cron;
        }
        self.accepted = true;
        self.cron.clone_from(&cron);
        let (reason, message) = if self.is_stopped() {
            let message = format!(
                "{} runs in a row failed, and no more is begun: mend the template, or set suspend and take it back, which begins anew",
                self.status.consecutive_failures
            );
            (reasons::FAILURES_STOPPED, message)
        } else if spec.suspend {
            let message = "no run is begun until suspend is taken back".to_owned();
            (reasons::SUSPENDED, message)
        } else {
            let message = match &spec.schedule {
                Some(schedule) => format!("runs {schedule} in {}", spec.time_zone),
                None => "runs when the template changes".to_owned(),
            };
            (reasons::SCHEDULED, message)
        };
        self.accepted_is(Truth::True, reason, &message);
        cron
    }

    fn accepted_is(&mut self, truth: Truth, reason: &str, message: &str) {
        let before = conditions::get(&self.status.conditions, ACCEPTED);
        let news = before.is_none_or(|before| before.reason != reason || before.message != message);
        let stopped = self.accepted && self.is_stopped();
        if news && (stopped || truth == Truth::False) {
            self.tell(true, reason, message);
        }
        if news && stopped {
            self.notify(Occasion::Failed, message);
        }
        self.condition(ACCEPTED, truth, reason, message);
        let stalled = Truth::from(truth == Truth::False);
        self.condition(STALLED, stalled, reason, message);
        self.condition(RECONCILING, Truth::False, reason, message);
    }

    pub(super) fn condition(&mut self, type_: &str, truth: Truth, reason: &str, message: &str) {
        let (generation, now) = (Some(self.generation), self.now);
        let conditions = &mut self.status.conditions;
        conditions::set(conditions, type_, truth, reason, message, generation, now);
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

    /// Sees to the messages that wait to be sent, and removes what they have left.
    pub(super) fn send_notices(&mut self, settings: &Settings) {
        let (spec, errands) = (self.spec, &self.observed.errands);
        let equipment = &spec.template.spec.equipment;
        let (id, now) = (self.id, self.now);
        let to = (spec.notify.as_slice(), equipment);
        let mut notices = self.notices();
        let sent = notices.send::<ExperimentSchedule>(id, to, errands, settings, now);
        let mut actions = sent.actions;
        if self.status.notices.is_empty() && actions.is_empty() {
            actions = errands.clear();
        }
        self.actions
            .extend(actions.into_iter().map(RunAction::Errand));
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

    /// The status carries an answer that must stand before anything follows from it.
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

    pub(super) fn is_recorded(&self, run: &Run) -> bool {
        self.status.runs.iter().any(|ended| ended.name == run.name)
    }

    pub(super) fn skip(&mut self, at: Timestamp, reason: SkipReason, message: &str) {
        let counts = &mut self.status.counts;
        let (event, warning) = if reason == SkipReason::Missed {
            counts.missed += 1;
            (reasons::RUN_MISSED, true)
        } else {
            counts.skipped += 1;
            (reasons::RUN_SKIPPED, reason == SkipReason::NameTaken)
        };
        self.status.last_skip = Some(Skipped { time: at, reason });
        self.tell(warning, event, message);
        if reason == SkipReason::Missed {
            self.notify(Occasion::Missed, message);
        }
        self.remember();
    }

    /// What is shown of the future.
    pub(super) fn look_ahead(&mut self, cron: Option<&Cron>) {
        let next = cron.and_then(|cron| cron.next(self.last_tick().max(self.now)));
        if let Some(next) = next {
            self.wake_by(next);
        }
        let runs = self.accepted && !self.spec.suspend && !self.is_stopped();
        self.status.next_schedule_time = next.filter(|_| runs);
    }

    pub(super) fn done(mut self) -> Plan<ExperimentScheduleStatus, RunAction> {
        self.status.active_display = match self.status.active.as_slice() {
            [] => None,
            [one] => Some(one.name.clone()),
            many => Some(format!("{} runs", many.len())),
        };
        Plan {
            status: self.status,
            remember: self.remember,
            actions: self.actions,
            events: self.events,
            wake_at: Some(self.wake_at),
        }
    }
}
