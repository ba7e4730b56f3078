//! The answer to each tick, and to a change of the template.

use super::draft::Draft;
use crate::controllers::schedule::build::{self, Cause};
use crate::runs::{Answer, RunAction};
use bakeoff_crds::experiment_schedule::{ConcurrencyPolicy, MOST_ACTIVE, SkipReason, Trigger};
use bakeoff_rules::cron::Cron;
use jiff::Timestamp;

/// What was refused is tried again after this time, seconds.
const AGAIN: i64 = 10;
/// What is in the way is looked at again after this time, seconds, if nothing is heard of it.
const BARRED: i64 = 30;
/// So many ticks are counted for people, and no more.
const COUNTED: usize = 1_000;

/// Whether a run that is due can be made now.
enum Way {
    /// It can.
    Free,
    /// Another one is in its way, for now.
    Barred,
    /// Another one is in its way, and that was the answer.
    Active,
}

impl Draft<'_> {
    /// Answers the newest tick that has no answer; those before it have passed with it.
    pub(super) fn answer_ticks(&mut self, cron: Option<&Cron>) {
        let last = self.last_tick();
        let due = cron.and_then(|cron| cron.last(self.now));
        let (Some(cron), Some(due)) = (cron, due.filter(|due| *due > last)) else {
            return;
        };
        let name = Cause::Tick(due).name(&self.id.name);
        let answer = self.observed.answers.get(&name).cloned();
        let found = if self.spec.suspend {
            Some((
                SkipReason::Suspended,
                "the schedule is suspended".to_owned(),
            ))
        } else if self.is_stopped() {
            let failed = self.status.consecutive_failures;
            Some((
                SkipReason::Failures,
                format!("{failed} runs in a row have failed"),
            ))
        } else if answer == Some(Answer::Taken) {
            let taken = format!("an Experiment {name} is there that the schedule has not made");
            Some((SkipReason::NameTaken, taken))
        } else if self.now > self.deadline(due) {
            let seconds = self.spec.starting_deadline_seconds;
            let why = match &answer {
                Some(Answer::Refused(why)) => format!(": {why}"),
                _ if !self.accepted => ": the schedule was not accepted".to_owned(),
                _ => String::new(),
            };
            Some((
                SkipReason::Missed,
                format!("no run was begun within {seconds} s{why}"),
            ))
        } else {
            self.begin_run(&Cause::Tick(due), answer.as_ref())
        };
        let Some((reason, message)) = found else {
            let deadline = self.deadline(due);
            self.wake_by(deadline);
            return;
        };
        let passed = cron.count(last, due, COUNTED);
        let more = match passed {
            0 | 1 => String::new(),
            COUNTED => format!(" ({COUNTED} ticks and more have passed)"),
            passed => format!(" ({passed} ticks have passed)"),
        };
        self.skip(
            due,
            reason,
            &format!("the tick of {due} began no run: {message}{more}"),
        );
        self.status.last_tick_time = Some(due);
    }

    /// Answers a change of the template: by one run, which waits for its turn.
    pub(super) fn answer_change(&mut self) {
        let before = self.status.template_hash.clone();
        let same = before.as_ref() == Some(&self.template);
        let edited = self.status.template_generation != Some(self.generation);
        // A newer version of the operator may write the same template in other words.
        if same || before.is_some() && !edited || !self.spec.run_on_change || self.spec.suspend {
            if !same && before.is_some() && edited && self.spec.run_on_change {
                let message = "the template has changed, and the schedule is suspended";
                self.skip(self.now, SkipReason::Suspended, message);
            }
            self.status.template_hash = Some(self.template.clone());
            self.status.template_generation = Some(self.generation);
            return;
        }
        let cause = Cause::Change(self.generation, self.now);
        let name = cause.name(&self.id.name);
        let answer = self.observed.answers.get(&name).cloned();
        if answer == Some(Answer::Taken) {
            let message = format!("an Experiment {name} is there that the schedule has not made");
            self.skip(self.now, SkipReason::NameTaken, &message);
            self.status.template_hash = Some(self.template.clone());
            self.status.template_generation = Some(self.generation);
            return;
        }
        // One that is in the way is waited for: a change is answered by a run, whenever that can be.
        let _ = self.begin_run(&cause, answer.as_ref());
    }

    /// Makes a run if that can be; the answer where the tick has one already.
    pub(super) fn begin_run(
        &mut self,
        cause: &Cause,
        answer: Option<&Answer>,
    ) -> Option<(SkipReason, String)> {
        if !self.accepted {
            return None;
        }
        if answer == Some(&Answer::Made) {
            return None;
        }
        match self.way() {
            Way::Free => {
                let run = build::run(self.id, self.spec, self.looks(), cause);
                self.actions.push(RunAction::Create(Box::new(run)));
                // It is seen in a moment; if not, or if it is refused, it is asked for again.
                self.wake_in(AGAIN);
                None
            }
            Way::Barred => {
                self.wake_in(BARRED);
                None
            }
            Way::Active => {
                let active = self.status.active.first();
                let name = active.map_or("another run", |active| &active.name);
                Some((SkipReason::Active, format!("{name} is under way")))
            }
        }
    }

    fn way(&mut self) -> Way {
        let active = self.active();
        match self.spec.concurrency_policy {
            _ if active == 0 => Way::Free,
            ConcurrencyPolicy::Allow if active < MOST_ACTIVE => Way::Free,
            ConcurrencyPolicy::Allow | ConcurrencyPolicy::Forbid => Way::Active,
            ConcurrencyPolicy::Replace => {
                for run in &self.observed.runs {
                    if run.end.is_none() && !run.cancelled {
                        self.actions.push(RunAction::Cancel {
                            name: run.name.clone(),
                            uid: run.uid.clone(),
                        });
                    }
                }
                Way::Barred
            }
        }
    }

    /// A run has to leave the queue by its deadline.
    pub(super) fn end_what_waits_too_long(&mut self) {
        for run in &self.observed.runs {
            if run.begun || run.end.is_some() || run.cancelled || run.trigger == Trigger::Manual {
                continue;
            }
            let deadline: Timestamp = self.deadline(run.scheduled_for);
            if self.now < deadline {
                self.wake_by(deadline);
                continue;
            }
            self.actions.push(RunAction::Cancel {
                name: run.name.clone(),
                uid: run.uid.clone(),
            });
        }
    }
}
