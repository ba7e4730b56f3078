//! Simulated years: an operator that dies between any two of its actions and may be away for days, clocks that step, people
//! who suspend, edit, cancel and remove.

use super::world::World;
use crate::runs::{Answer, RunAction};
use bakeoff_crds::experiment_schedule::ConcurrencyPolicy;
use bakeoff_crds::rng::SplitMix64;
use bakeoff_rules::cron::Cron;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use proptest::prelude::*;
use std::collections::BTreeSet;

const SCHEDULES: [(&str, &str); 4] = [
    ("30 2 * * *", "Europe/Berlin"),
    ("15 */6 * * *", "Australia/Lord_Howe"),
    ("0 3 * * 1", "America/St_Johns"),
    ("5 1 L * *", "Etc/UTC"),
];

struct Year {
    world: World,
    rng: SplitMix64,
    cron: Cron,
    /// Nothing that was due up to here may be begun any more.
    barred: Timestamp,
    /// The ticks that a run was made for.
    begun: BTreeSet<Timestamp>,
    /// Runs that the operator has made and does not see yet.
    hidden: Vec<String>,
}

impl Year {
    fn chance(&mut self, percent: u64) -> bool {
        self.rng.below(100) < percent
    }

    /// A pass of an operator that sees old runs, may lose the race for the status, and may die between two actions.
    fn pass(&mut self, crashes: bool) {
        // What was said is remembered for a moment only.
        self.world.answers.clear();
        let mut observed = self.world.observe();
        observed.runs.retain(|run| !self.hidden.contains(&run.name));
        for name in &self.hidden {
            observed.answers.insert(name.clone(), Answer::Made);
        }
        self.hidden.clear();
        if crashes && self.chance(10) {
            return;
        }
        let plan = self.world.plan_of(&observed);
        self.world.write(plan.status);
        for action in plan.actions {
            if crashes && self.chance(15) {
                // The next process lists everything anew.
                self.world.answers.clear();
                self.hidden.clear();
                return;
            }
            if let RunAction::Create(run) = &action {
                self.may_begin(run);
                if self.chance(50) {
                    self.hidden.push(run.name_any());
                }
            }
            self.world.act(action);
        }
    }

    fn may_begin(&mut self, run: &bakeoff_crds::Experiment) {
        let due: Timestamp = run.annotations()["bakeoff.dev/scheduled-for"]
            .parse()
            .unwrap();
        let world = &self.world;
        assert_eq!(self.cron.last(due), Some(due), "{due} is no tick");
        assert!(due <= world.now, "before it is due");
        let deadline = SignedDuration::from_secs(world.schedule.spec.starting_deadline_seconds);
        assert!(world.now.duration_since(due) <= deadline, "too late");
        assert!(
            due > self.barred,
            "{due} is caught up, after {}",
            self.barred
        );
        assert!(!world.schedule.spec.suspend, "under suspension");
        self.begun.insert(due);
        let under_way = world.runs.iter().filter(|run| {
            let status = run.status.as_ref();
            status.is_none_or(|status| status.completion_time.is_none())
        });
        let others = under_way.filter(|other| other.name_any() != run.name_any());
        let allowed = if world.schedule.spec.concurrency_policy == ConcurrencyPolicy::Allow {
            9
        } else {
            0
        };
        assert!(others.count() <= allowed, "beside another one");
    }

    /// Runs go on by themselves.
    fn runs_go_on(&mut self) {
        for run in 0..self.world.runs.len() {
            let status = self.world.runs[run].status.clone().unwrap_or_default();
            if status.completion_time.is_some() {
                continue;
            }
            if self.world.runs[run].spec.cancel {
                if self.chance(60) {
                    self.world.end(run, "Cancelled");
                }
            } else if status.start_time.is_none() {
                match self.rng.below(10) {
                    0..6 => self.world.begin(run),
                    6 => self.world.state(run, "Queued"),
                    _ => {}
                }
            } else if self.chance(40) {
                let reason = if self.chance(75) {
                    "Completed"
                } else {
                    "BackendLost"
                };
                self.world.end(run, reason);
            }
        }
    }

    fn people(&mut self) {
        match self.rng.below(60) {
            0 => self.world.edit(|spec| spec.suspend = true),
            1..4 if self.world.schedule.spec.suspend => {
                self.world.edit(|spec| spec.suspend = false);
                // What nobody looked at in between cannot be known.
                if self
                    .world
                    .schedule
                    .status
                    .as_ref()
                    .is_some_and(|status| status.suspended)
                {
                    self.barred = self.world.now;
                }
            }
            4 if !self.world.runs.is_empty() => self.world.runs[0].spec.cancel = true,
            5 => {
                let status = self.world.schedule.status.clone().unwrap_or_default();
                let known = |name: &str| status.active.iter().any(|run| run.name == name);
                self.world.runs.retain(|run| !known(&run.name_any()));
            }
            6 => self.world.edit(|spec| spec.template.spec.seed += 1),
            7 => self.world.now -= SignedDuration::from_mins(50),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn in_a_year_every_tick_has_one_answer(
        seed in any::<u64>(),
        schedule in 0..SCHEDULES.len(),
        policy in prop_oneof![
            Just(ConcurrencyPolicy::Forbid), Just(ConcurrencyPolicy::Replace), Just(ConcurrencyPolicy::Allow),
        ],
        limits in (0_i32..3, 0_i32..3),
        deadline in prop_oneof![Just(600_i64), Just(3_600), Just(40_000)],
        crashes in any::<bool>(),
    ) {
        let (schedule, zone) = SCHEDULES[schedule];
        let mut world = World::new(schedule, zone);
        let spec = &mut world.schedule.spec;
        spec.concurrency_policy = policy;
        (spec.successful_history_limit, spec.failed_history_limit) = limits;
        spec.starting_deadline_seconds = deadline;
        spec.max_consecutive_failures = 0;
        let made = world.now;
        let cron = Cron::read(schedule, zone, made).unwrap();
        let mut year = Year {
            world, cron, rng: SplitMix64::new(seed), barred: made, begun: BTreeSet::new(), hidden: Vec::new(),
        };
        let end = made + SignedDuration::from_hours(366 * 24);
        while year.world.now < end {
            // Seldom it is away for days; else it looks when it wanted to, or is woken before.
            let hours = if year.chance(3) { year.rng.below(100) } else { 0 };
            let minutes = year.rng.below(500);
            year.world.now += SignedDuration::from_mins((hours * 60 + minutes).cast_signed());
            year.people();
            year.runs_go_on();
            year.pass(crashes);
            if year.chance(50) {
                year.pass(crashes);
            }
        }
        year.world.schedule.spec.suspend = false;
        for _ in 0..40 {
            year.runs_go_on();
            year.pass(false);
        }
        let world = &year.world;
        let status = world.status();
        let counts = status.counts;
        // Runs of which the status was never written count as begun all the same.
        prop_assert_eq!(counts.started, i64::try_from(world.ever.len()).unwrap());
        prop_assert_eq!(world.ever.len(), year.begun.len(), "one run for a tick");
        let ticks = i64::try_from(year.cron.count(made, world.now, usize::MAX)).unwrap();
        prop_assert!(counts.started + counts.skipped <= ticks, "{:?} of {}", counts, ticks);
        // Where the operator was there, nothing goes unanswered.
        let last = year.cron.last(world.now).unwrap();
        let answered = status.last_tick_time.unwrap() >= last;
        let pending = world.observe().runs.iter().any(|run| run.end.is_none());
        prop_assert!(answered || pending, "{:?} before {}", status.last_tick_time, last);
        if !pending {
            let finished = world.runs.len();
            prop_assert!(finished <= usize::try_from(limits.0 + limits.1).unwrap(), "{finished} are kept");
            world.is_settled();
        }
    }
}
