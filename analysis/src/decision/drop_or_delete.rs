//! Experiment A1: do old runs leave by dropping a partition, or does a bulk delete do?
//!
//! The plan: "Pass: drop is sub-second and lock-light; insert p99 stays flat during retention; no vacuum
//! storm." Partitions are the bigger design, and a bigger design is earned: `Go` (partition and drop)
//! means that dropping keeps all of this and that bulk delete is shown to break its own demands. `NoGo` (stay with
//! bulk delete) means that bulk delete keeps them, or that dropping is shown to break one. Deletes in batches of other sizes, or
//! with another cleanup, are ways of one method: the one that keeps the demands is the one to take.

mod methods;

use std::collections::BTreeSet;

use bakeoff_crds::figure::Figure;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{ExperimentSpec, RetentionMethod, WorkloadKind};

use self::methods::{Judged, Method, Shown, Way, describe};
use super::bounded::{Bound, Named, at_share, bounded, in_every_window, values};
use super::rule::{Answer, Asked, Need, Rule, Ruling};
use super::{
    Role, Standing, Unit, at_most, blocks_text, lacking, missing, more_blocks, ratio_input, side,
    with_censoring,
};
use crate::measured::Measured;
use crate::measured::{BlockFigure, CellBackend, CellSummary, Censored};
use crate::stats::{mean, paired};

/// "Lock-light": the longest that a statement of somebody else was seen to wait for a lock, milliseconds. Beyond
/// it a person or a health check notices.
const WAIT_MILLIS: f64 = 50.0;
/// "Lock-light": SHARE UPDATE EXCLUSIVE, the strongest table lock that lets reads and writes through.
const LOCK: f64 = 4.0;
/// "No vacuum storm": by how many percentage points more of the time autovacuum is at the table after the
/// action than before it.
const VACUUM_RISE: f64 = 25.0;
/// Inserts in the middle phase below which a p99 says nothing.
const FEW_INSERTS: f64 = 100.0;

const INSERTS: Named = Named {
    figure: Figure::InsertsDuring,
    name: "Inserts while retention went on",
    unit: Unit::Count,
};
const DROP: Named = Named {
    figure: Figure::DropMilliseconds,
    name: "Detaching and dropping",
    unit: Unit::Milliseconds,
};
const WAIT: Named = Named {
    figure: Figure::LongestLockWaitMilliseconds,
    name: "Longest wait of others for a lock",
    unit: Unit::Milliseconds,
};
const STRONGEST: Named = Named {
    figure: Figure::StrongestLock,
    name: "Strongest lock seen on the table in use (4: SHARE UPDATE EXCLUSIVE, 8: ACCESS EXCLUSIVE)",
    unit: Unit::Count,
};
const STORM: Named = Named {
    figure: Figure::VacuumingRisePercent,
    name: "Autovacuum at work, rise after retention began",
    unit: Unit::Percent,
};
const COMPLETE: Named = Named {
    figure: Figure::ReclaimComplete,
    name: "Space back within the window (1: yes)",
    unit: Unit::Count,
};

pub(super) const RULE: Rule = Rule {
    needs: &[Need::Workload(WorkloadKind::Retention)],
    withheld_if_wrong: true,
    rests_on_listing: false,
    judges_one: true,
    reads_bloat: true,
    answer,
};

fn answer(asked: &Asked<'_>) -> Answer {
    let subject = asked.subject();
    let (margin, bound) = (asked.margin(), asked.bound());
    let question = Question {
        subject: &subject,
        margin,
        bound,
        spec: asked.spec,
        measured: asked.measured,
    };
    let drop = question.method(RetentionMethod::DropPartition);
    let delete = question.method(RetentionMethod::BulkDelete);
    let ruling = conclude(&question, &drop, &delete);
    let inputs = drop.into_inputs().chain(delete.into_inputs()).collect();
    Answer {
        question: format!(
            "Do old runs on {subject} leave by dropping a partition, or does a bulk delete do?"
        ),
        criterion: format!(
            "Dropping keeps its demands if detaching and dropping take at most {bound} ms, it holds no lock on the table in use beyond SHARE UPDATE EXCLUSIVE and nobody waits longer than {WAIT_MILLIS} ms for a lock, the p99 of inserts while it goes on is at most {margin:.2}x that before, and autovacuum is at work at most {VACUUM_RISE} percentage points more of the time than before. Bulk delete has to keep the same of inserts, waits and autovacuum. Both have to have the space back within each window. One way of deleting that keeps them all is enough. Go (partition and drop) if dropping keeps its demands and bulk delete is shown to break one; NoGo (bulk delete) if bulk delete keeps them or dropping is shown to break one."
        ),
        ruling,
        inputs,
    }
}

fn conclude(question: &Question<'_>, drop: &Method, delete: &Method) -> Ruling {
    let stay =
        "Keep the plain table with its primary key on run_id and reclaim by bulk delete in batches";
    match (drop.standing(), delete.standing()) {
        (_, Standing::Met) => Ruling::no_go(
            format!(
                "Bulk delete keeps its demands{}: {}. Nothing fails that partitions would mend.",
                if drop.standing() == Standing::Met {
                    ", and so does dropping"
                } else {
                    ""
                },
                question.ratios(delete)
            ),
            format!("{stay}: partitions are not earned."),
        ),
        (Standing::Met, Standing::NotMet) => Ruling::go(
            format!(
                "Dropping keeps its demands: {}. Bulk delete does not: {}.",
                question.ratios(drop),
                delete.failures()
            ),
            format!(
                "Partition the table by created_at and reclaim by DETACH PARTITION CONCURRENTLY and DROP. It changes the key: the primary key becomes (created_at, run_id), so run_id alone is no longer unique and the compare-and-swap has to carry created_at. Runs that are still open are migrated forward, which gives them a new address{}.",
                question.migration()
            ),
        ),
        (Standing::NotMet, other) => Ruling::no_go(
            format!("Dropping does not keep its demands: {}.", drop.failures()),
            if other == Standing::NotMet {
                format!(
                    "{stay}; that breaks a demand as well ({}), so take smaller batches or more frequent ones before either is built.",
                    delete.failures()
                )
            } else {
                format!("{stay}: dropping as measured is no gain.")
            },
        ),
        (_, _) => {
            let open = drop.open().or_else(|| delete.open());
            let (text, more) = match open {
                Some(judged) => {
                    let blocks = if judged.input.p_value.is_some() {
                        format!(
                            " {}",
                            blocks_text(judged.more, judged.input.censored.is_some())
                        )
                    } else {
                        String::new()
                    };
                    (
                        format!("Not settled: {}.{blocks}", describe(judged)),
                        judged.more,
                    )
                }
                None => (
                    "Both methods have to be measured. What is missing is not satisfied."
                        .to_owned(),
                    None,
                ),
            };
            Ruling::open(
                text,
                "Nothing changes yet: measure more blocks, longer windows or a higher rate of inserts.",
                more,
            )
        }
    }
}

/// What is looked for, and where.
struct Question<'a> {
    subject: &'a str,
    margin: f64,
    bound: f64,
    spec: &'a ExperimentSpec,
    measured: &'a Measured,
}

/// The error rates at which a demand is judged.
#[derive(Clone, Copy)]
struct Levels {
    /// Of the interval that is printed.
    alone: f64,
    /// To be kept: one way that keeps all is enough.
    met: f64,
    /// To be broken: one demand that is broken in one cell is enough.
    not_met: f64,
}

impl Levels {
    /// Judges an input by the figures behind it, which were judged at the level of one test.
    fn judge(self, judged: &mut Judged, values: &[f64], bound: Bound) {
        // Where there is one way, its share is the whole and nothing is judged twice.
        if self.met < self.alone {
            at_share(&mut judged.input, Standing::Met, values, bound, self.met);
        }
        self.broken(judged, values, bound);
    }

    /// The same of an extreme that is kept in every window: that is seen and not tested.
    fn broken(self, judged: &mut Judged, values: &[f64], bound: Bound) {
        let share = self.not_met;
        at_share(&mut judged.input, Standing::NotMet, values, bound, share);
    }

    /// The level at which more blocks would show what the figure says now.
    fn of(self, standing: Standing) -> f64 {
        match standing {
            Standing::NotMet => self.not_met,
            _ => self.met,
        }
    }
}

/// A cell that a method was measured in, and how it was done there.
struct Measurement<'a> {
    way: Way,
    cell: &'a CellSummary,
    on: &'a CellBackend,
}

impl Measurement<'_> {
    fn load(&self) -> (&str, &str) {
        let level = |name: &str| self.cell.levels.get(name).map_or("?", String::as_str);
        (level(factor::ACTIVE_RUNS), level(factor::RATE_PER_SECOND))
    }
}

impl Question<'_> {
    fn measurements(&self, method: RetentionMethod) -> Vec<Measurement<'_>> {
        let of_method = move |cell: &&CellSummary| {
            cell.levels.get(factor::METHOD).map(String::as_str) == Some(method.as_str())
        };
        let workloads = self.measured.of_kind(WorkloadKind::Retention);
        workloads
            .flat_map(|workload| {
                let way = Way::of(self.spec, &workload.name, method);
                let cells = workload.cells.iter().filter(of_method);
                cells.filter_map(move |cell| {
                    let on = cell.on(self.subject)?;
                    Some(Measurement { way, cell, on })
                })
            })
            .collect()
    }

    fn method(&self, method: RetentionMethod) -> Method {
        let all = self.measurements(method);
        let loads: BTreeSet<(&str, &str)> = all.iter().map(Measurement::load).collect();
        let ways: BTreeSet<Way> = all.iter().map(|one| one.way).collect();
        let count = ways.len();
        let shown = ways.into_iter().map(|way| {
            let own: Vec<&Measurement<'_>> = all.iter().filter(|one| one.way == way).collect();
            let name = match count {
                1 => method.as_str().to_owned(),
                _ => format!("{}, {way}", method.as_str()),
            };
            let mut shown = self.shown(method, &name, &own, count);
            // What keeps its demands where less was asked of it is not the better way.
            for (runs, rate) in &loads {
                if !own.iter().any(|one| one.load() == (*runs, *rate)) {
                    let scope = format!("{name}, {runs} runs, {rate}/s");
                    let demand = "measured wherever another way of it is".to_owned();
                    let unseen = missing("Inserts", scope, Role::Guard, Unit::Count, demand);
                    shown.inputs.push(unseen.into());
                }
            }
            shown
        });
        Method {
            ways: shown.collect(),
        }
    }

    /// One way of a method, of which there are so many.
    fn shown(
        &self,
        method: RetentionMethod,
        name: &str,
        cells: &[&Measurement<'_>],
        ways: usize,
    ) -> Shown {
        let alone = self.measured.level;
        let demands = match method {
            RetentionMethod::DropPartition => 6,
            RetentionMethod::BulkDelete => 4,
        };
        let levels = Levels {
            alone,
            met: alone / ways.max(1) as f64,
            not_met: alone / (demands * cells.len().max(1)) as f64,
        };
        let mut shown = Shown::default();
        for one in cells {
            let (runs, rate) = one.load();
            let scope = format!("{name}, {runs} runs, {rate}/s");
            shown
                .inputs
                .extend(self.demands(method, one.on, &scope, levels));
        }
        shown
    }

    /// What a method has to keep in a cell.
    fn demands(
        &self,
        method: RetentionMethod,
        on: &CellBackend,
        scope: &str,
        levels: Levels,
    ) -> Vec<Judged> {
        let alpha = levels.alone;
        let every = |named: Named, bound| {
            let mut judged = in_every_window(on, named, scope, bound, alpha).into();
            levels.broken(&mut judged, &values(on, named.figure), bound);
            judged
        };
        let mean = |named: Named, bound| {
            let mut judged = bounded(on, named, scope, bound, alpha).into();
            levels.judge(&mut judged, &values(on, named.figure), bound);
            judged
        };
        let mut few = every(INSERTS, Bound::AtLeast(FEW_INSERTS));
        let mut flat = self.flat(on, scope, levels);
        // A p99 of a handful of inserts is their maximum: too few speak neither for nor against.
        if few.input.standing != Standing::Met {
            few.input.standing = Standing::Open;
            flat.input.standing = Standing::Open;
        }
        let mut all = vec![
            few,
            flat,
            every(WAIT, Bound::AtMost(WAIT_MILLIS)),
            mean(STORM, Bound::AtMost(VACUUM_RISE)),
            every(COMPLETE, Bound::AtLeast(1.0)),
        ];
        if method == RetentionMethod::DropPartition {
            all.push(mean(DROP, Bound::AtMost(self.bound)));
            all.push(strongest(on, every(STRONGEST, Bound::AtMost(LOCK))));
        }
        all
    }

    /// The p99 of inserts that were due while retention went on, against those before, in each block.
    fn flat(&self, on: &CellBackend, scope: &str, levels: Levels) -> Judged {
        let name = "p99 of inserts, during against before";
        let demand = format!("shown to be at most {:.2}x", self.margin);
        let none: &[BlockFigure] = &[];
        let of = |kind: &str| on.operations.get(kind).map_or(none, |o| &o.blocks[..]);
        let (before, during) = (of("insertBefore"), of("insertDuring"));
        let mut pairs = Vec::new();
        let mut unknown = (false, false);
        for later in during {
            let Some(earlier) = before.iter().find(|one| one.block == later.block) else {
                continue;
            };
            pairs.push((later.p99 as f64, earlier.p99 as f64));
            unknown.0 |= !crate::stats::tail::is_known(0.99, later.missing);
            unknown.1 |= !crate::stats::tail::is_known(0.99, earlier.missing);
        }
        let alpha = self.measured.level;
        let seed = self.measured.seed.unsigned_abs();
        let Some(paired) = paired::compare(&pairs, seed, alpha) else {
            return missing(name, scope.to_owned(), Role::Primary, Unit::Ratio, demand).into();
        };
        let threshold = self.margin.ln();
        let lacking = lacking(paired.blocks(), alpha);
        let standing = match lacking {
            Some(_) => Standing::Open,
            None => at_most(paired.low, paired.high, threshold),
        };
        let censored = match unknown {
            (true, true) => Some(Censored::Both),
            (true, false) => Some(Censored::Subject),
            (false, true) => Some(Censored::Base),
            (false, false) => None,
        };
        let input = ratio_input(
            name,
            scope.to_owned(),
            Role::Primary,
            &paired,
            demand,
            standing,
        );
        let mut judged = Judged::from(input);
        levels.judge(&mut judged, &paired.log_ratios, Bound::AtMost(threshold));
        judged.input.censored = censored;
        judged.input.standing = with_censoring(judged.input.standing, censored);
        let distance = paired.centre - threshold;
        let side = side(distance);
        if judged.input.standing == Standing::Open
            && with_censoring(side, censored) != Standing::Open
        {
            let level = levels.of(side);
            let more = || more_blocks(distance, paired.deviation, paired.blocks(), level);
            judged.more = lacking.or_else(more);
        }
        judged
    }

    /// The ratios of a method in words.
    fn ratios(&self, method: &Method) -> String {
        let shown = method.holding().into_iter();
        let all: Vec<String> = shown
            .flat_map(Shown::deciding)
            .filter(|judged| judged.input.unit == Unit::Ratio)
            .filter_map(|judged| {
                Some(format!(
                    "{:.2}x with {}",
                    judged.input.value?, judged.input.scope
                ))
            })
            .collect();
        format!(
            "the p99 of inserts while it goes on is {} that before",
            all.join(", ")
        )
    }

    /// What migrating cost, in words.
    fn migration(&self) -> String {
        let all = |figure: Figure| -> Vec<f64> {
            let drops = self.measurements(RetentionMethod::DropPartition);
            let each = drops.iter().map(|one| values(one.on, figure));
            each.flatten().collect()
        };
        let (rows, each) = (all(Figure::RowsMoved), all(Figure::MicrosecondsPerRowMoved));
        if rows.is_empty() || each.is_empty() {
            return String::new();
        }
        format!(
            " ({:.0} rows each time here, {:.0} µs for each)",
            mean(&rows),
            mean(&each)
        )
    }
}

/// The strongest lock that was seen. None at all, where somebody looked in every window, was held for less
/// than the time between two looks; where nobody looked nothing is shown.
fn strongest(on: &CellBackend, mut judged: Judged) -> Judged {
    let input = &mut judged.input;
    let looks = values(on, Figure::LockLooks);
    if looks.len() < values(on, STRONGEST.figure).len() || looks.iter().any(|looks| *looks < 1.0) {
        input.standing = Standing::Open;
        input
            .demand
            .push_str(", with at least one look at the locks");
    }
    judged
}

#[cfg(test)]
mod tests;
