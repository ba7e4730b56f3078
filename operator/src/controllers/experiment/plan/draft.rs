//! A plan in the making. (Pure.)

use crate::act::Refused;
use crate::action::{Action, Note, Plan};
use crate::children::{Child, Kind};
use crate::controllers::experiment::build::{jobs, server_names};
use crate::controllers::experiment::facts::Observed;
use crate::made::TRUSTED_SECONDS;
use crate::owner;
use crate::parts::trouble::{self, Trouble};
use crate::settings::Settings;
use bakeoff_crds::EndReason;
use bakeoff_crds::conditions::{self, Truth, reasons};
use bakeoff_crds::status::EndingStatus;
use bakeoff_crds::{Experiment, ExperimentStatus};
use bakeoff_rules::validate::Remains;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;

/// For how many seconds the API server has to refuse before that is the last word, however long there was time for it.
const LEAST_REFUSED: i32 = 60;

/// Whether anything is left in the namespace of an experiment.
pub enum Cleared {
    /// Nothing.
    Yes,
    /// This, for people.
    Left(String),
}

/// How the work of an experiment stands, from which its conditions follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    UnderWay,
    /// For its turn, or for a person who suspended it.
    Waits,
    Troubled,
    Succeeded,
    Cancelled,
    /// Or refused.
    Failed,
}

impl Standing {
    fn succeeded(self) -> Truth {
        match self {
            Self::UnderWay | Self::Waits | Self::Troubled => Truth::Unknown,
            Self::Succeeded => Truth::True,
            Self::Cancelled | Self::Failed => Truth::False,
        }
    }

    /// Whether it is on its way to running. As a Job has it: what waits for its turn or runs is as it is to be, and nobody's
    /// deployment waits for its end.
    fn reconciles(self) -> bool {
        matches!(self, Self::UnderWay | Self::Troubled)
    }

    fn warns(self) -> bool {
        matches!(self, Self::Troubled | Self::Cancelled | Self::Failed)
    }
}

/// The longest message of an ending, bytes: a condition has room for it and for what is added in the end.
pub(super) const MOST_MESSAGE: usize = 900;

/// How often is asked why a child does not come to be.
const SUSPICION_SECONDS: i64 = 5;

/// A plan in the making: starts from the status that stands.
pub struct Draft<'a> {
    pub experiment: &'a Experiment,
    pub remains: &'a Remains,
    pub settings: &'a Settings,
    pub observed: &'a Observed,
    pub status: ExperimentStatus,
    actions: Vec<Action>,
    events: Vec<Note>,
    stage_event: Option<Note>,
    wake_at: Option<Timestamp>,
    refused: Option<&'a Refused>,
}

impl<'a> Draft<'a> {
    pub fn new(
        experiment: &'a Experiment,
        remains: &'a Remains,
        settings: &'a Settings,
        observed: &'a Observed,
    ) -> Self {
        let mut status = experiment.status.clone().unwrap_or_default();
        status.observed_generation = experiment.metadata.generation;
        let mut draft = Self {
            experiment,
            remains,
            settings,
            observed,
            status,
            actions: Vec::new(),
            events: Vec::new(),
            stage_event: None,
            wake_at: None,
            refused: None,
        };
        let run = observed.generators_run();
        if let Some(progress) = draft.status.progress.as_mut().filter(|_| run) {
            // Whatever else is planned: what runs may measure, also if nobody hears of it.
            progress.generators_start_time.get_or_insert(observed.now);
        }
        if draft.awaits_children() {
            // A watch event wakes the experiment; this is for a child that was deleted before there was any.
            draft.wake_after(TRUSTED_SECONDS);
        }
        if trouble::awaits(&observed.children) {
            // Why it does not come to be stands in events, of which nobody is woken.
            draft.wake_after(SUSPICION_SECONDS);
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

    /// Says which step the work is at.
    pub fn stage(&mut self, reason: &str, message: &str) {
        self.say(Standing::UnderWay, reason, message);
    }

    /// Says what the work waits for, which is nobody's fault.
    pub fn waits(&mut self, reason: &str, message: &str) {
        self.say(Standing::Waits, reason, message);
    }

    /// Says what keeps the work from going on, though it may yet.
    pub fn trouble(&mut self, trouble: &Trouble) {
        self.say(Standing::Troubled, trouble.cause.as_str(), &trouble.message);
    }

    /// Says how the work ended.
    pub fn ended(&mut self, reason: &EndReason, message: &str) {
        let standing = match reason {
            EndReason::Completed => Standing::Succeeded,
            EndReason::Cancelled => Standing::Cancelled,
            _ => Standing::Failed,
        };
        self.say(standing, reason.as_str(), message);
    }

    /// Says it in the conditions and, when the reason is new, as an event.
    fn say(&mut self, standing: Standing, reason: &str, message: &str) {
        let status = self.experiment.status.as_ref();
        let stood =
            status.and_then(|status| conditions::get(&status.conditions, conditions::SUCCEEDED));
        // Of several stages in one plan only the last one stands, so only that one is told.
        self.stage_event = stood
            .is_none_or(|stood| stood.reason != reason)
            .then(|| Note::new(standing.warns(), reason, message));
        self.condition(conditions::SUCCEEDED, standing.succeeded(), reason, message);
        let reconciling = standing.reconciles() && self.status.start_time.is_none();
        self.condition(conditions::RECONCILING, reconciling.into(), reason, message);
        let stalled = standing == Standing::Failed;
        self.condition(conditions::STALLED, stalled.into(), reason, message);
    }

    pub fn note(&mut self, warning: bool, reason: &str, message: &str) {
        self.events.push(Note::new(warning, reason, message));
    }

    /// Whether the experiment carries our finalizer.
    pub fn has_finalizer(&self) -> bool {
        owner::has_finalizer(self.experiment)
    }

    pub fn act(&mut self, action: Action) {
        let refused = action
            .target()
            .and_then(|target| self.observed.refused.get(&target));
        if let Some(refused) = refused
            && self.refused.is_none_or(|other| other.since < refused.since)
        {
            self.refused = Some(refused);
        }
        self.actions.push(action);
    }

    /// Asks for nothing of what was asked for until here.
    pub fn withdraw(&mut self) {
        self.actions.clear();
        self.refused = None;
    }

    /// What the API server says of what this plan asks for, where it refuses it.
    pub fn refusal(&self) -> Option<String> {
        let message = &self.refused?.message;
        Some(format!("{message}{}", trouble::mend_refusal(message)))
    }

    /// The same, once this instant has come and it has refused for a while, or where there is nothing to wait for; asks to be woken
    /// then. The instant may be long past when it is asked for the first time, as after an upgrade of the cluster.
    pub fn refusal_after(&mut self, deadline: Timestamp) -> Option<String> {
        self.wake_at(deadline);
        let for_good = self.refused.is_some_and(|refused| refused.for_good);
        let lasting = self.now() >= deadline && self.is_refused_for(LEAST_REFUSED);
        self.refusal().filter(|_| for_good || lasting)
    }

    /// Whether it has refused for so many seconds.
    pub fn is_refused_for(&self, seconds: i32) -> bool {
        let limit = Duration::from_secs(u64::from(seconds.unsigned_abs()));
        self.refused.is_some_and(|refused| refused.since >= limit)
    }

    /// What will not go though it was removed longer ago than that may take.
    pub fn held(&self) -> Vec<String> {
        let limit = i64::from(self.remains.spec.limits.tear_down_seconds);
        let before = self.now() - SignedDuration::from_secs(limit);
        self.observed.children.held(before)
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

    fn awaits_children(&self) -> bool {
        let mut made = self.observed.made.iter();
        made.any(|(kind, _)| kind.is_watched())
    }

    /// Removes what is left of the experiment in its namespace.
    pub fn clear(&mut self) -> Cleared {
        let children = &self.observed.children;
        let secrets = self.own_secrets();
        let left = if !children.is_empty() {
            children.describe()
        } else if !secrets.is_empty() {
            format!("{} secrets", secrets.len())
        } else if self.awaits_children() {
            "what was made last".to_owned()
        } else {
            return Cleared::Yes;
        };
        for (kind, name) in children.standing() {
            self.act(Action::Delete(kind, name));
        }
        for name in secrets {
            self.act(Action::Delete(Kind::Secret, name));
        }
        Cleared::Left(left)
    }

    /// Has what is asked for outlive the experiment, which is being deleted: in the foreground, as some tools do it, what is its own
    /// is taken away before it, also what was made meanwhile.
    pub fn disown(&mut self) {
        for action in &mut self.actions {
            match action {
                Action::Apply(child) => child.disown(),
                Action::CreateSecret(secret, _) => secret.metadata.owner_references = None,
                _ => {}
            }
        }
    }

    /// Removes what would outlive the experiment, also what no watch has shown yet. Once the patience is over, what it is refused to
    /// remove must not hold the finalizer.
    pub fn remove_disowned(&mut self, overdue: bool) {
        let secrets = self.secrets_of_its_own().into_iter();
        let secrets = secrets.map(|name| (Kind::Secret, name));
        let disowned = self.observed.children.disowned().into_iter();
        let coming = self.observed.made.iter().cloned();
        let all: BTreeSet<(Kind, String)> = disowned.chain(secrets).chain(coming).collect();
        for (kind, name) in all {
            if !overdue || !self.observed.refused.contains_key(&(kind, name.clone())) {
                self.act(Action::Delete(kind, name));
            }
        }
    }

    /// The Secrets that the operator made for the experiment and that are still there.
    fn own_secrets(&self) -> Vec<String> {
        let mut names = self.secrets_of_its_own();
        names.retain(|name| self.observed.secrets.contains_key(name));
        names
    }

    /// Those that it makes for it.
    fn secrets_of_its_own(&self) -> Vec<String> {
        let servers = self.remains.servers().into_iter();
        let mut names: Vec<String> = servers
            .map(|server| server_names::credentials_name(self.remains, server))
            .collect();
        if self.remains.spec.results.s3.is_none() {
            names.push(jobs::results_secret(self.remains));
        }
        names
    }

    /// Asks to be woken after so many seconds at the latest.
    pub fn wake_after(&mut self, seconds: i64) {
        self.wake_at(self.now() + SignedDuration::from_secs(seconds.max(0)));
    }

    /// Asks to be woken at this instant at the latest.
    pub fn wake_at(&mut self, instant: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(instant, |other| other.min(instant)));
    }

    /// Does not go on: the spec or its surroundings must change first.
    pub fn refuse(mut self, reason: &str, message: &str) -> Plan<ExperimentStatus> {
        self.say(Standing::Failed, reason, message);
        self.done()
    }

    /// Remembers how the experiment ends, before anything is done about it.
    pub fn begin_ending(mut self, reason: EndReason, message: &str) -> Plan<ExperimentStatus> {
        let told = format!("ends as {reason}: {message}");
        self.status.ending = Some(EndingStatus {
            reason,
            message: conditions::shorten(message, MOST_MESSAGE),
            start_time: Some(self.now()),
            reported_time: None,
            cleaned_up_time: None,
        });
        self.stage(reasons::ENDING, &told);
        self.remember()
    }

    /// The plan, with a fact that must stand before anything else is done.
    pub fn remember(mut self) -> Plan<ExperimentStatus> {
        self.withdraw();
        let mut plan = self.done();
        plan.remember = true;
        plan
    }

    pub fn done(mut self) -> Plan<ExperimentStatus> {
        // A verdict stands, whatever happens to what is left.
        if self.status.completion_time.is_none()
            && let Some(refusal) = self.refusal()
        {
            self.say(Standing::Troubled, reasons::CHILD_REFUSED, &refusal);
        }
        self.events.extend(self.stage_event.take());
        Plan {
            status: self.status,
            remember: false,
            actions: self.actions,
            events: self.events,
            wake_at: self.wake_at,
        }
    }
}
