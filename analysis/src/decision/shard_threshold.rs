//! The shard threshold: does one primary carry the target, with its headroom and for good?
//!
//! What decides is an interval and no single number: the highest rate that was held each time, and the lowest that was not
//! held once, at the active set that goes with the target. `Go` needs the lower end at the target with its headroom or
//! above it, `NoGo` the upper end below it; each end has to be repeated, and a hold that decides for `Go` has to have seen what
//! makes a rate one for good.
//!
//! Rates stand for themselves here, so nothing is decided on equipment that nobody stated: with the class Relative the rule
//! says what the figures would decide, and is inconclusive.

use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{ResultClass, Sustain, SustainTarget, WorkloadKind};

use super::rule::{Answer, Asked, Need, Rule, Ruling};
use super::variants::rows_missed;
use super::{DecisionInput, Role, Standing, Unit, count, missing};
use crate::format::{three, whole};
use crate::measured::CellBackend;
use crate::stats::round;
use crate::sustain::{Frontier, Held, frontier, holds};

/// How much of its frontier a shard carries on average where the busiest of them carries all of it: runs are dealt to shards by
/// number or tenant, and never evenly.
const EVENNESS: f64 = 0.7;

pub(super) const RULE: Rule = Rule {
    needs: &[Need::Workload(WorkloadKind::Sustain), Need::Target],
    withheld_if_wrong: false,
    rests_on_listing: false,
    judges_one: true,
    reads_bloat: true,
    answer,
};

/// What is to be carried, operations per second.
#[derive(Clone, Copy, Debug)]
struct Demand {
    target: f64,
    /// The same with its headroom.
    whole: f64,
    /// Growth of a month as a share.
    growth: f64,
    headroom: i32,
    active: i32,
}

impl Demand {
    fn of(spec: &Sustain, target: &SustainTarget) -> Self {
        let rate = target.rate(spec.operations_per_run());
        let largest = spec.active_runs.iter().copied().max().unwrap_or(0);
        Self {
            target: rate,
            whole: rate * (1.0 + f64::from(target.headroom_percent) / 100.0),
            growth: f64::from(target.growth_per_month_percent) / 100.0,
            headroom: target.headroom_percent,
            active: target.active_runs.unwrap_or(largest),
        }
    }

    /// Months until a rate that grows like the target from here reaches another.
    fn months(&self, from: f64, to: f64) -> Option<f64> {
        (self.growth > 0.0 && from > 0.0 && to > 0.0)
            .then(|| ((to / from).ln() / self.growth.ln_1p()).max(0.0))
    }

    /// Shards that carry the target with its headroom where each carries so much at the most: the busiest of them is at its
    /// frontier divided by the headroom when the others are at 0.7 of that. A shard has fewer open runs than one primary for
    /// all, and is taken to carry no more for it.
    fn shards(&self, carries: f64) -> f64 {
        (self.whole / (carries * EVENNESS)).ceil().max(2.0)
    }
}

/// A level of the active set, as it was measured.
struct Level {
    active: i32,
    holds: Vec<Held>,
    frontier: Frontier,
}

impl Level {
    fn of(active: i32, on: &CellBackend, spec: &Sustain) -> Self {
        let holds = holds(on, spec);
        let seen: Vec<_> = holds.iter().map(Held::observation).collect();
        Self {
            active,
            holds,
            frontier: frontier(&seen),
        }
    }

    /// The holds that carry as much, none above the lower end: what holds a rate holds a lower one.
    fn carrying(&self, demand: f64) -> Vec<&Held> {
        let held = self.frontier.held.unwrap_or(0);
        let carries = |hold: &&Held| hold.rate <= held && f64::from(hold.rate) >= demand;
        self.holds.iter().filter(carries).collect()
    }

    /// How many holds failed below, none beneath the upper end: what fails at a rate fails at a higher one.
    fn failing(&self, demand: f64) -> usize {
        let not_held = self.frontier.not_held.unwrap_or(u32::MAX);
        let fails = |hold: &&Held| hold.rate >= not_held && f64::from(hold.rate) < demand;
        self.holds.iter().filter(fails).count()
    }
}

fn answer(asked: &Asked<'_>) -> Answer {
    let subject = asked.subject();
    let mut found = asked
        .spec
        .workloads
        .iter()
        .filter_map(|one| Some((one.name.as_str(), one.sustain.as_ref()?)));
    let stated = found.next().and_then(|(name, spec)| {
        let target = spec.target.as_ref()?;
        Some((name, spec, Demand::of(spec, target)))
    });
    let Some((name, spec, demand)) = stated else {
        return Answer {
            question: format!("Does one primary, {subject}, carry the target?"),
            criterion:
                "Go if the highest rate that was held is the target with its headroom or more."
                    .to_owned(),
            ruling: Ruling::open(
                "No target is stated.".to_owned(),
                "State sustain.target.",
                None,
            ),
            inputs: Vec::new(),
        };
    };
    let workloads = asked.measured.of_kind(WorkloadKind::Sustain);
    let levels: Vec<Level> = workloads
        .filter(|workload| workload.name == name)
        .flat_map(|workload| &workload.cells)
        .filter_map(|cell| {
            let active = cell.levels.get(factor::ACTIVE_RUNS)?.parse().ok()?;
            Some(Level::of(active, cell.on(&subject)?, spec))
        })
        .collect();
    let missed = rows_missed(asked.measured, WorkloadKind::Sustain, &subject);
    let level = levels.iter().find(|level| level.active == demand.active);
    let (standing, mut ruling) = judged(level, spec, &demand);
    if missed.standing != Standing::Met {
        ruling = Ruling::open(
            format!(
                "{:.0} statements did not touch exactly the row that their connection owned, of {} rows that were checked: rates of wrong answers carry no decision.",
                missed.value.unwrap_or(0.0),
                if missed.value.is_some() { "all" } else { "no" }
            ),
            "Nothing changes yet: first that has to be explained.",
            None,
        );
    } else if asked.measured.result_class != ResultClass::Absolute {
        ruling = of_a_shape(ruling);
    }
    let mut inputs = vec![missed];
    inputs.extend(levels.iter().flat_map(|level| {
        let standing = (level.active == demand.active).then_some(standing);
        ends(level, &demand, standing)
    }));
    let repeats = spec.hold.repeats;
    Answer {
        question: format!(
            "Does one primary, {subject}, carry {} operations a second at {} active runs, with {} % headroom and for good?",
            three(demand.target),
            whole(i64::from(demand.active)),
            demand.headroom
        ),
        criterion: format!(
            "At {} active runs, Go if the highest rate that was held each time is {} operations a second or more, which is the target of {} with its headroom, by {repeats} holds at such rates that saw turnovers, autovacuum and checkpoints as stated; NoGo if the lowest rate that was not held once is below that, by {repeats} holds from there up to it that failed. Held: {} % of the planned operations end well, in every fifth of the hold 99 % of them within {} ms, dead rows are not shown to rise by more than {} points over its second half, table and index do not grow by more than {} % there. Only with the class Absolute, since a rate stands for itself.",
            whole(i64::from(demand.active)),
            three(demand.whole),
            three(demand.target),
            f64::from(spec.objective.served_per_mille) / 10.0,
            spec.objective.p99_milliseconds,
            spec.objective.dead_percent,
            spec.objective.growth_percent,
        ),
        ruling,
        inputs,
    }
}

/// What the figures of the target's level say, whatever they were measured on.
fn judged(level: Option<&Level>, spec: &Sustain, demand: &Demand) -> (Standing, Ruling) {
    let open = |reason: String, consequence: String, more: Option<i32>| {
        (Standing::Open, Ruling::open(reason, consequence, more))
    };
    let Some(level) = level.filter(|level| !level.holds.is_empty()) else {
        return open(
            format!(
                "No hold at {} active runs says anything.",
                whole(i64::from(demand.active))
            ),
            "Nothing changes yet: what voided the holds has to be mended first.".to_owned(),
            None,
        );
    };
    let found = &level.frontier;
    let repeats = usize::try_from(spec.hold.repeats).unwrap_or(1);
    let interval = interval(found);
    let lacking = |times: usize| {
        let more = count(repeats.saturating_sub(times).max(1));
        // The other end takes its turn as well.
        Some(more.saturating_mul(2))
    };
    if let Some(held) = found
        .held
        .map(f64::from)
        .filter(|held| *held >= demand.whole)
    {
        let carrying = level.carrying(demand.whole);
        let short = carrying.iter().find(|hold| !hold.unseen.is_empty());
        let long = carrying.iter().filter(|hold| hold.unseen.is_empty());
        if carrying.len() < repeats {
            return open(
                format!("{interval}, and {} a second are demanded; as much was held {} of {repeats} times.", three(demand.whole), carrying.len()),
                "Nothing changes yet: add trials.blocks, the search goes on with repeats at both ends.".to_owned(),
                lacking(carrying.len()),
            );
        }
        if let Some(short) = short.filter(|_| long.count() < repeats) {
            return open(
                format!(
                    "{interval}, and {} a second are demanded; but a hold saw only {}, so it does not speak for good.",
                    three(demand.whole),
                    short.unseen.join(", ")
                ),
                format!(
                    "Nothing changes yet: lengthen trials.windowSeconds. {}A checkpoint comes each checkpoint_timeout, and autovacuum when a fifth of the rows is dead.",
                    turnover(spec, level.active, held)
                ),
                None,
            );
        }
        let reason = format!(
            "{interval}, and the target of {} a second with {} % headroom takes {}.{}",
            three(demand.target),
            demand.headroom,
            three(demand.whole),
            threshold(demand, held)
        );
        return (
            Standing::Met,
            Ruling::go(
                reason,
                "One primary is enough: leave sharding out of the design, and measure again before the threshold.",
            ),
        );
    }
    if let Some(not) = found
        .not_held
        .map(f64::from)
        .filter(|not| *not < demand.whole)
    {
        let failing = level.failing(demand.whole);
        if failing < repeats {
            return open(
                format!("{interval}, and {} a second are demanded; less than that failed {failing} of {repeats} times.", three(demand.whole)),
                "Nothing changes yet: add trials.blocks, the search goes on with repeats at both ends.".to_owned(),
                lacking(failing),
            );
        }
        let (shards, months) = match found.held.map(f64::from) {
            Some(held) => (
                format!(
                    "Shard: {:.0} primaries carry it. That is the demand of {} a second by the {} that one holds, and by {EVENNESS}, since shards are never even and the busiest must not exceed what it holds.",
                    demand.shards(held),
                    three(demand.whole),
                    three(held)
                ),
                threshold(demand, held),
            ),
            None => (
                "Shard, or mend the server: no rate was held at all, so the number of shards is not known.".to_owned(),
                String::new(),
            ),
        };
        let reason = format!(
            "{interval} (last seen of it: {}), and the target of {} a second with {} % headroom takes {}.{months}",
            why_not(level, not),
            three(demand.target),
            demand.headroom,
            three(demand.whole)
        );
        return (Standing::NotMet, Ruling::no_go(reason, shards));
    }
    let narrowing = "Nothing changes yet: add trials.blocks, and lower hold.resolutionPercent if the ends are as close as it demands.";
    let consequence = match found.not_held {
        None => {
            "Nothing changes yet: no rate was shown not to be held. Raise ramp.to above the demand or add trials.blocks; where holds are void, mend what voided them."
        }
        Some(_) => narrowing,
    };
    let lies = match found.not_held {
        None => "was shown neither to be held nor not to be",
        Some(_) => "lies between its ends",
    };
    open(
        format!(
            "{interval}, and the demand of {} a second {lies}.",
            three(demand.whole)
        ),
        consequence.to_owned(),
        found.not_held.map(|_| 2),
    )
}

/// What is known of the frontier, as a sentence begins.
fn interval(found: &Frontier) -> String {
    let rate = |rate: u32| three(f64::from(rate));
    let mut text = match (found.held, found.not_held) {
        (Some(low), Some(high)) => format!(
            "One primary held {} a second and did not hold {}",
            rate(low),
            rate(high)
        ),
        (Some(low), None) => format!(
            "One primary held {} a second, and nothing above was shown not to be held",
            rate(low)
        ),
        (None, Some(high)) => format!(
            "One primary did not hold {} a second, and nothing below was held each time",
            rate(high)
        ),
        (None, None) => "No rate was held each time and none was never held".to_owned(),
    };
    if !found.mixed.is_empty() {
        let mixed: Vec<String> = found.mixed.iter().map(|one| rate(*one)).collect();
        text.push_str(&format!(
            "; {} held at times, which widens the interval",
            mixed.join(", ")
        ));
    }
    text
}

/// How long all runs take to be replaced once, as a sentence; of a trace it is not known without it.
fn turnover(spec: &Sustain, active: i32, rate: f64) -> String {
    spec.operations_per_run()
        .map_or_else(String::new, |operations| {
            let seconds = f64::from(active) * operations / rate;
            format!("A turnover at this rate takes {} seconds. ", three(seconds))
        })
}

/// When the target reaches what is held, and when it uses up its headroom, in a sentence of its own.
fn threshold(demand: &Demand, held: f64) -> String {
    if held <= demand.target {
        return " The target is beyond what is held already.".to_owned();
    }
    let (Some(all), Some(spare)) = (
        demand.months(demand.target, held),
        demand.months(demand.whole, held),
    ) else {
        return " At no stated growth there is no threshold to come.".to_owned();
    };
    format!(
        " Growing by {} % a month the target reaches what is held in {all:.0} months, and its headroom is used up in {spare:.0}.",
        three(demand.growth * 100.0)
    )
}

/// Why the upper end was not held.
fn why_not(level: &Level, rate: f64) -> String {
    let holds = level.holds.iter().rev();
    let words = holds
        .filter(|hold| f64::from(hold.rate) == rate)
        .map(|hold| hold.why.iter().map(|why| why.words()).collect::<Vec<_>>());
    words.into_iter().next().unwrap_or_default().join(", ")
}

/// On equipment that nobody stated a rate is part of a shape, and decides nothing.
fn of_a_shape(ruling: Ruling) -> Ruling {
    use bakeoff_crds::status::DecisionOutcome::Inconclusive;
    if ruling.outcome == Inconclusive {
        return ruling;
    }
    Ruling::open(
        format!(
            "On equipment that is not stated the rates are a shape over the active set and nobody's own; as figures they would say {}. {} {}",
            ruling.outcome.as_str(),
            ruling.reason,
            ruling.consequence
        ),
        "Nothing changes yet: repeat it with resultClass Absolute and its environment, on what production runs on.",
        None,
    )
}

/// Both ends of a level as inputs; the lower one of the target's level decides.
fn ends(level: &Level, demand: &Demand, standing: Option<Standing>) -> [DecisionInput; 2] {
    let scope = format!("{} active runs", whole(i64::from(level.active)));
    let role = if standing.is_some() {
        Role::Primary
    } else {
        Role::Context
    };
    let words = if standing.is_some() {
        format!("shown to be at least {}", three(demand.whole))
    } else {
        "none: the target is at another active set".to_owned()
    };
    let (held, not_held) = (
        level.frontier.held.map(f64::from),
        level.frontier.not_held.map(f64::from),
    );
    let mut lower = missing(
        "Highest rate held, operations a second",
        scope.clone(),
        role,
        Unit::Count,
        words,
    );
    lower.value = held.map(round);
    // The frontier is between the ends.
    (lower.low, lower.high) = match (held, not_held) {
        (Some(low), Some(high)) => (Some(round(low)), Some(round(high))),
        _ => (None, None),
    };
    lower.blocks = count(level.holds.len());
    lower.standing = standing.unwrap_or(Standing::Open);
    let mut upper = missing(
        "Lowest rate not held, operations a second",
        scope,
        Role::Context,
        Unit::Count,
        "none: it bounds the other".to_owned(),
    );
    upper.value = not_held.map(round);
    upper.blocks = count(level.frontier.not_held_times);
    [lower, upper]
}

#[cfg(test)]
mod tests;
