//! Experiment A1: do old runs leave by dropping a partition, or does a bulk delete do?
//!
//! The plan: "Pass: drop is sub-second and lock-light; insert p99 stays flat during retention; no vacuum
//! storm." Partitions are the bigger design, and a bigger design is earned: `Go` (partition and drop)
//! means that dropping keeps all of this and that bulk delete is shown to break its own demands. `NoGo` (stay with
//! bulk delete) means that bulk delete keeps them, or that dropping is shown to break one.

use bakeoff_crds::figure::Figure;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{RetentionMethod, WorkloadKind};

use super::bounded::{Bound, Named, bounded, in_every_window, values};
use super::rule::{Answer, Asked, Need, Rule, Ruling};
use super::{
    DecisionInput, Role, Standing, Unit, at_most, blocks_text, lacking, missing, more_blocks,
    ratio_input, with_censoring,
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

/// An input, and the blocks that would settle it where that can be said.
struct Judged {
    input: DecisionInput,
    more: Option<i32>,
}

impl From<DecisionInput> for Judged {
    fn from(input: DecisionInput) -> Self {
        Self { input, more: None }
    }
}

/// What one method shows over all its cells.
struct Shown {
    inputs: Vec<Judged>,
    cells: usize,
}

impl Shown {
    fn deciding(&self) -> impl Iterator<Item = &Judged> {
        self.inputs
            .iter()
            .filter(|judged| judged.input.role != Role::Context)
    }

    fn first(&self, standing: Standing) -> Option<&Judged> {
        self.deciding()
            .find(|judged| judged.input.standing == standing)
    }

    fn standing(&self) -> Standing {
        if self.first(Standing::NotMet).is_some() {
            Standing::NotMet
        } else if self.cells == 0 || self.first(Standing::Open).is_some() {
            Standing::Open
        } else {
            Standing::Met
        }
    }
}

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
        measured: asked.measured,
    };
    let drop = question.shown(RetentionMethod::DropPartition);
    let delete = question.shown(RetentionMethod::BulkDelete);
    let ruling = conclude(&question, &drop, &delete);
    let mut inputs: Vec<DecisionInput> = Vec::new();
    inputs.extend(drop.inputs.into_iter().map(|judged| judged.input));
    inputs.extend(delete.inputs.into_iter().map(|judged| judged.input));
    Answer {
        question: format!(
            "Do old runs on {subject} leave by dropping a partition, or does a bulk delete do?"
        ),
        criterion: format!(
            "Dropping keeps its demands if detaching and dropping take at most {bound} ms, it holds no lock on the table in use beyond SHARE UPDATE EXCLUSIVE and nobody waits longer than {WAIT_MILLIS} ms for a lock, the p99 of inserts while it goes on is at most {margin:.2}x that before, and autovacuum is at work at most {VACUUM_RISE} percentage points more of the time than before. Bulk delete has to keep the same of inserts, waits and autovacuum. Both have to have the space back within each window. Go (partition and drop) if dropping keeps its demands and bulk delete is shown to break one; NoGo (bulk delete) if bulk delete keeps them or dropping is shown to break one."
        ),
        ruling,
        inputs,
    }
}

fn conclude(question: &Question<'_>, drop: &Shown, delete: &Shown) -> Ruling {
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
                describe(delete.first(Standing::NotMet))
            ),
            format!(
                "Partition the table by created_at and reclaim by DETACH PARTITION CONCURRENTLY and DROP. It changes the key: the primary key becomes (created_at, run_id), so run_id alone is no longer unique and the compare-and-swap has to carry created_at. Runs that are still open are migrated forward, which gives them a new address{}.",
                question.migration()
            ),
        ),
        (Standing::NotMet, other) => Ruling::no_go(
            format!(
                "Dropping does not keep its demands: {}.",
                describe(drop.first(Standing::NotMet))
            ),
            if other == Standing::NotMet {
                format!(
                    "{stay}; that breaks a demand as well ({}), so take smaller batches or more frequent ones before either is built.",
                    describe(delete.first(Standing::NotMet))
                )
            } else {
                format!("{stay}: dropping as measured is no gain.")
            },
        ),
        (_, _) => {
            let open = drop
                .first(Standing::Open)
                .or_else(|| delete.first(Standing::Open));
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
                        format!("Not settled: {}.{blocks}", describe(Some(judged))),
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

fn describe(judged: Option<&Judged>) -> String {
    let Some(Judged { input, .. }) = judged else {
        return "nothing was measured".to_owned();
    };
    let unit = match input.unit {
        Unit::Percent => " points",
        Unit::Milliseconds => " ms",
        Unit::Ratio => "x",
        _ => "",
    };
    let value = input.value.map_or_else(
        || "not measured".to_owned(),
        |value| match (input.low, input.high) {
            (Some(low), Some(high)) if input.role == Role::Primary => {
                format!("{value:.2}{unit} ({low:.2} to {high:.2})")
            }
            _ => format!("{value:.1}{unit}"),
        },
    );
    format!(
        "{} with {} is {value}, and the rule demands: {}",
        input.name, input.scope, input.demand
    )
}

/// What is looked for, and where.
struct Question<'a> {
    subject: &'a str,
    margin: f64,
    bound: f64,
    measured: &'a Measured,
}

impl Question<'_> {
    fn cells(&self, method: RetentionMethod) -> impl Iterator<Item = (&CellSummary, &CellBackend)> {
        self.measured
            .of_kind(WorkloadKind::Retention)
            .flat_map(|workload| &workload.cells)
            .filter(move |cell| {
                cell.levels.get(factor::METHOD).map(String::as_str) == Some(method.as_str())
            })
            .filter_map(|cell| Some((cell, cell.on(self.subject)?)))
    }

    fn shown(&self, method: RetentionMethod) -> Shown {
        let mut shown = Shown {
            inputs: Vec::new(),
            cells: 0,
        };
        let alpha = self.measured.level;
        for (cell, on) in self.cells(method) {
            shown.cells += 1;
            let level = |name: &str| cell.levels.get(name).map_or("?", String::as_str);
            let scope = format!(
                "{}, {} runs, {}/s",
                method.as_str(),
                level(factor::ACTIVE_RUNS),
                level(factor::RATE_PER_SECOND)
            );
            let every = |named, bound| in_every_window(on, named, &scope, bound, alpha).into();
            let mut few: Judged = every(INSERTS, Bound::AtLeast(FEW_INSERTS));
            let mut flat = self.flat(on, &scope);
            // A p99 of a handful of inserts is their maximum: too few speak neither for nor against.
            if few.input.standing != Standing::Met {
                few.input.standing = Standing::Open;
                flat.input.standing = Standing::Open;
            }
            shown.inputs.push(few);
            shown.inputs.push(flat);
            shown.inputs.push(every(WAIT, Bound::AtMost(WAIT_MILLIS)));
            shown
                .inputs
                .push(bounded(on, STORM, &scope, Bound::AtMost(VACUUM_RISE), alpha).into());
            shown.inputs.push(every(COMPLETE, Bound::AtLeast(1.0)));
            if method == RetentionMethod::DropPartition {
                let drop = bounded(on, DROP, &scope, Bound::AtMost(self.bound), alpha);
                shown.inputs.push(drop.into());
                shown.inputs.push(strongest(on, &scope, alpha).into());
            }
        }
        shown
    }

    /// The p99 of inserts that were due while retention went on, against those before, in each block.
    fn flat(&self, on: &CellBackend, scope: &str) -> Judged {
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
        let standing = with_censoring(standing, censored);
        let mut input = ratio_input(
            name,
            scope.to_owned(),
            Role::Primary,
            &paired,
            demand,
            standing,
        );
        input.censored = censored;
        let more = (standing == Standing::Open)
            .then(|| {
                let distance = paired.centre - threshold;
                lacking.or_else(|| more_blocks(distance, paired.deviation, paired.blocks(), alpha))
            })
            .flatten();
        Judged { input, more }
    }

    /// The ratios of a method in words.
    fn ratios(&self, shown: &Shown) -> String {
        let all: Vec<String> = shown
            .deciding()
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
            self.cells(RetentionMethod::DropPartition)
                .flat_map(|(_, on)| values(on, figure))
                .collect()
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
fn strongest(on: &CellBackend, scope: &str, alpha: f64) -> DecisionInput {
    let mut input = in_every_window(on, STRONGEST, scope, Bound::AtMost(LOCK), alpha);
    let looks = values(on, Figure::LockLooks);
    if looks.len() < values(on, STRONGEST.figure).len() || looks.iter().any(|looks| *looks < 1.0) {
        input.standing = Standing::Open;
        input
            .demand
            .push_str(", with at least one look at the locks");
    }
    input
}

#[cfg(test)]
mod tests;
