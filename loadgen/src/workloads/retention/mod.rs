//! A1: the oldest range of a table is reclaimed while runs are inserted and moved.
//!
//! The action begins one third into the window, on a connection of its own, and a second one looks at the
//! locks while it goes on. Inserts are recorded a second time by the phase in which they were due, so
//! that what retention does to them can be read from their own histograms.

mod action;
mod lives;
mod statements;
mod table;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::Write;
use std::rc::Rc;

use bakeoff_analysis::vocabulary;
use bakeoff_crds::figure::Figure;
use bakeoff_crds::result::CheckRecord;
use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{Retention, RetentionMethod};
use flate2::Compression;
use flate2::write::GzEncoder;

use self::action::{Action, Done};
use self::lives::{Lives, Population};
use self::statements::{INSERT, Mover, PHASES, Phases, Statements, TRANSITION};
use self::table::Look;
use super::mover::{OPERATION, busy};
use super::rows::Missed;
use super::trial::{Load, Ready, measure};
use super::{Context, Gate, Part, RawFile, Working, Workload, WorkloadError, memory};
use crate::drivers::postgres::horizon;
use crate::drivers::postgres::locks::{self, Locks};
use crate::drivers::postgres::observe::{self, Observer, Sample};
use crate::drivers::postgres::{Connector, Patient, series};
use crate::failure::{Failure, FailureClass};
use crate::instrument::arrivals::Pace;
use crate::instrument::cgroup;
use crate::instrument::clock::{self, SECOND};
use crate::instrument::drive::Timing;
use crate::instrument::record::Operation;
use crate::store::layout;

/// The middle phase lasts at least so long, or a quarter of a shorter window: a p99 of the few inserts
/// that fall into a drop of fifty milliseconds would be their maximum.
const LEAST_DURING: u64 = 5 * SECOND;

/// The kinds of operations: the planned one, two statements, and inserts by their phase.
const KINDS: [Operation; 6] = [
    OPERATION, INSERT, TRANSITION, PHASES[0], PHASES[1], PHASES[2],
];

/// When the action begins.
fn begins(timing: &Timing) -> u64 {
    timing.window_start + (timing.window_end - timing.window_start) / 3
}

/// What the trial found beside its latencies.
struct Acted {
    done: Done,
    locks: Locks,
}

/// Acts at `at` and watches the locks meanwhile.
async fn act(
    connector: &Connector,
    population: &Population,
    method: RetentionMethod,
    spec: &Retention,
    phases: &Phases,
    deadline: u64,
) -> Result<Acted, Failure> {
    let (client, watcher) = (connector.connect().await?, connector.connect().await?);
    let pid = Cell::new(0);
    action::announce(Patient::of(&client), &pid).await?;
    let watcher = Patient::of(&watcher);
    let looks = locks::prepare(watcher).await?;
    let (finished, done) = (Cell::new(false), RefCell::new(Done::default()));
    clock::sleep_until(phases.start).await;
    let acting = async {
        let action = Action {
            connector,
            population,
            method,
            spec,
            pid: &pid,
            done: &done,
        };
        action.run(client, deadline).await;
        phases.end.set(done.borrow().ended);
        finished.set(true);
    };
    let ((), locks) = tokio::join!(
        acting,
        locks::watch((watcher, &looks), &pid, phases.start, &finished)
    );
    Ok(Acted {
        done: done.into_inner(),
        locks,
    })
}

fn method(context: &Context<'_>) -> Result<RetentionMethod, WorkloadError> {
    let name = context.trial.cell.get(factor::METHOD);
    name.and_then(|name| RetentionMethod::parse(name))
        .ok_or_else(|| WorkloadError::Spec(format!("{name:?} is no method of retention")))
}

impl Workload for Retention {
    fn run<'a>(&'a self, context: &'a Context<'_>, gate: &'a dyn Gate) -> Working<'a, Part> {
        Box::pin(run(context, self, gate))
    }

    fn looks_at_tables(&self) -> bool {
        true
    }
}

/// Runs the trial.
///
/// # Errors
/// When the trial does not fit the spec, the table cannot be loaded or looked at, or recording or pacing fails.
async fn run(
    context: &Context<'_>,
    spec: &Retention,
    gate: &dyn Gate,
) -> Result<Part, WorkloadError> {
    let pace = context.pace(&spec.load)?;
    let Pace::Open { .. } = pace else {
        return Err(WorkloadError::Spec("retention takes load.open".into()));
    };
    if context.generators != 1 {
        return Err(WorkloadError::Spec("retention takes one generator".into()));
    }
    let connector = context.access.postgres()?;
    let method = method(context)?;
    let population = Population {
        seed: context.seed(),
        active: context.level(factor::ACTIVE_RUNS)?,
        ranges: u64::try_from(spec.partitions).unwrap_or(2),
        sleeper_percent: u64::try_from(spec.sleeper_percent).unwrap_or(0),
        transitions: spec.transitions_per_run,
        base: i64::try_from(clock::wall() / SECOND).unwrap_or(0) * 1_000_000,
    };
    let newest = population.active - population.first_of(population.ranges - 1);
    memory::fits(
        newest,
        size_of::<lives::RunRow>() as u64,
        cgroup::limits().1,
    )?;
    let state_bytes = usize::try_from(spec.state_bytes).unwrap_or(0);
    let client = connector.connect().await?;
    let asking = Patient::of(&client);
    table::load(asking, method, &population, state_bytes).await?;
    let before = table::look(asking).await?;
    let observer = Observer::new(connector.connect().await?).await?;

    let slots = pace.workers() as u64;
    let prepared: Vec<Lives> = (0..slots)
        .map(|slot| Lives {
            transitions: spec.transitions_per_run,
            rng: SplitMix64::stream(
                context.seed(),
                &format!("{}/{slot}", context.label("lives")),
            ),
            runs: population.share(slot, slots),
            owed: 0,
            next_id: i64::try_from(population.active + slot).unwrap_or(i64::MAX),
            stride: i64::try_from(slots).unwrap_or(1),
        })
        .collect();

    let missed = Rc::new(RefCell::new(Missed::default()));
    let load = Load {
        pace,
        kinds: &KINDS,
    };
    let prepare = |ready: &Ready| {
        let timing = ready.timing;
        let phases = Rc::new(Phases {
            start: begins(&timing),
            end: Cell::new(0),
            least: LEAST_DURING.min((timing.window_end - timing.window_start) / 4),
        });
        let prepared = busy(prepared, |lives| !lives.runs.is_empty());
        let workers = prepared.into_iter().map(|lives| {
            let statements = Statements::new(connector.clone(), method, lives, Rc::clone(&phases));
            Mover::new(statements, state_bytes, &ready.recorder, &missed)
        });
        let workers = workers.collect();
        let (observer, population) = (&observer, &population);
        let beside = async move {
            let (opens, closes) = (timing.window_start, timing.window_end);
            tokio::join!(
                observer.watch(opens, closes),
                act(connector, population, method, spec, &phases, closes)
            )
        };
        (workers, beside)
    };
    let (mut part, (samples, acted)) = measure(context, gate, load, prepare).await?;
    let acted = acted?;
    let after = table::look(asking).await?;
    let kept = table::checks(asking, &population, acted.done.complete).await?;
    let [_, during, _] = PHASES;
    let inserts = part
        .recorded
        .operations
        .get(during.as_str())
        .map_or(0, |operation| operation.count);
    let action_millis = since(part.window.0, acted.done.began);
    let mut figures = figures(method, &acted, &before, &after);
    figures.insert(Figure::InsertsDuring, inserts as f64);
    figures.extend(vacuuming(&samples, action_millis));
    part.checks = vec![missed.take().into_check(), failed(&acted.done)];
    part.checks.extend(kept);
    part.artefacts = vec![
        RawFile::lines(layout::SAMPLES, &samples)?,
        RawFile {
            name: layout::HISTORY,
            of_each: true,
            bytes: history(&acted.locks)?,
        },
    ];
    part.figures = figures;
    part.state = series::series(&samples);
    part.horizon = horizon::held(&samples);
    Ok(part)
}

fn since(from: u64, to: u64) -> i64 {
    i64::try_from(to.saturating_sub(from) / 1_000_000).unwrap_or(i64::MAX)
}

/// Whether the server refused a step of the action.
fn failed(done: &Done) -> CheckRecord {
    CheckRecord {
        name: vocabulary::RETENTION_FAILED.to_owned(),
        checked: 1,
        violations: i64::from(done.error.is_some()),
        uncertain: 0,
        examples: done.error.iter().cloned().collect(),
    }
}

/// What was seen of locks, a JSON line for each kind.
fn history(locks: &Locks) -> Result<Vec<u8>, WorkloadError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    for line in locks.lines() {
        let mut text = serde_json::to_string(line).map_err(|error| {
            WorkloadError::Preparation(Failure::new(FailureClass::Client, error.to_string()))
        })?;
        text.push('\n');
        encoder.write_all(text.as_bytes())?;
    }
    Ok(encoder.finish()?)
}

/// The figures of the action, by name. (Pure.)
fn figures(
    method: RetentionMethod,
    acted: &Acted,
    before: &Look,
    after: &Look,
) -> BTreeMap<Figure, f64> {
    let Acted { done, locks } = acted;
    let mut figures = BTreeMap::new();
    let mut put = |figure: Figure, value: f64| {
        if value.is_finite() {
            figures.insert(figure, (value * 1e6).round() / 1e6);
        }
    };
    let millis = |nanoseconds: u64| nanoseconds as f64 / 1e6;
    put(Figure::ReclaimComplete, f64::from(u8::from(done.complete)));
    // Of one that was given up: at least so long.
    put(
        Figure::ReclaimMilliseconds,
        millis(done.ended.saturating_sub(done.began)),
    );
    let each = |nanoseconds: u64, rows: u64| nanoseconds as f64 / 1e3 / rows.max(1) as f64;
    match method {
        RetentionMethod::DropPartition => {
            put(Figure::RowsMoved, done.moved as f64);
            if done.moved > 0 {
                put(
                    Figure::MicrosecondsPerRowMoved,
                    each(done.moving, done.moved),
                );
            }
            if let Some(nanoseconds) = done.detaching {
                put(Figure::DetachMilliseconds, millis(nanoseconds));
                put(Figure::DetachFinalized, f64::from(u8::from(done.finalized)));
            }
            if let Some(nanoseconds) = done.dropping {
                put(Figure::DropMilliseconds, millis(nanoseconds));
            }
        }
        RetentionMethod::BulkDelete => {
            put(Figure::RowsDeleted, done.deleted as f64);
            if let Some(nanoseconds) = done.deleting {
                put(Figure::DeleteMilliseconds, millis(nanoseconds));
                put(
                    Figure::MicrosecondsPerRowDeleted,
                    each(nanoseconds, done.deleted),
                );
                put(Figure::DeleteStatements, done.statements as f64);
            }
        }
    }
    let oldest = table::partition(0);
    // Only of its own kind: autovacuum of younger partitions is not the work of a drop.
    let (with_autovacuum, except) = match method {
        RetentionMethod::DropPartition => (false, oldest.trim_start_matches("bakeoff.")),
        RetentionMethod::BulkDelete => (true, ""),
    };
    put(
        Figure::StrongestLock,
        f64::from(locks.strongest(with_autovacuum, except)),
    );
    put(
        Figure::LongestLockWaitMilliseconds,
        locks.longest_wait_of_others(),
    );
    put(
        Figure::ActionLockWaitMilliseconds,
        locks.longest_wait_of_action(),
    );
    put(Figure::LockLooks, locks.looks() as f64);
    let returned = (done.bytes.0 - done.bytes.1).max(0) as f64;
    put(Figure::BytesReturned, returned);
    put(
        Figure::BytesReclaimed,
        returned + (after.free_bytes - before.free_bytes).max(0) as f64,
    );
    put(Figure::TableBloatPercent, after.bloat_percent());
    put(Figure::IndexLeafDensityPercent, after.leaf_density);
    put(Figure::TableBytes, after.table_bytes as f64);
    put(Figure::IndexBytes, after.index_bytes as f64);
    figures
}

/// How autovacuum and the server did over the window, `action_millis` after its opening being when
/// retention began. (Pure.)
fn vacuuming(samples: &[Sample], action_millis: i64) -> BTreeMap<Figure, f64> {
    let mut figures = BTreeMap::new();
    let share = |of: &mut dyn Iterator<Item = &Sample>| {
        let (all, busy) = of
            .filter_map(|sample| sample.vacuuming)
            .fold((0_u32, 0_u32), |(all, busy), vacuuming| {
                (all + 1, busy + u32::from(vacuuming))
            });
        (all > 0).then(|| f64::from(busy) / f64::from(all) * 100.0)
    };
    let before = share(&mut samples.iter().filter(|s| s.at_millis < action_millis));
    let after = share(&mut samples.iter().filter(|s| s.at_millis >= action_millis));
    if let (Some(before), Some(after)) = (before, after) {
        figures.insert(Figure::VacuumingRisePercent, after - before);
    }
    // Counts of a partition go with it, so only the rises count.
    let rises = |of: fn(&Sample) -> Option<i64>| {
        let pairs = samples.windows(2);
        let risen = pairs.map(|pair| Some((of(&pair[1])? - of(&pair[0])?).max(0)));
        risen.sum::<Option<i64>>().map(|sum| sum as f64)
    };
    let seen = [
        (Figure::Autovacuums, rises(|s| Some(s.autovacuums))),
        (Figure::Checkpoints, rises(|s| s.checkpoints)),
        (
            Figure::OldestTransactionMillis,
            observe::peak(samples, |s| s.oldest_transaction_millis),
        ),
        (
            Figure::HorizonAgeMost,
            observe::peak(samples, |s| s.horizon_age),
        ),
    ];
    let known = seen
        .into_iter()
        .filter_map(|(figure, value)| Some((figure, value?)));
    figures.extend(known);
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reclaimed_is_what_the_files_gave_back_and_what_became_free_in_them() {
        let acted = Acted {
            done: Done {
                began: 1_000_000_000,
                ended: 1_250_000_000,
                complete: true,
                moved: 100,
                moving: 2_000_000,
                detaching: Some(30_000_000),
                dropping: Some(40_000_000),
                bytes: (10_000, 7_000),
                ..Done::default()
            },
            locks: Locks::default(),
        };
        let look = |table_bytes, free_bytes| Look {
            table_bytes,
            free_bytes,
            ..Look::default()
        };
        let drop = RetentionMethod::DropPartition;
        let of = figures(drop, &acted, &look(9_000, 100), &look(6_000, 600));
        assert_eq!(of[&Figure::ReclaimMilliseconds], 250.0);
        assert_eq!(of[&Figure::MicrosecondsPerRowMoved], 20.0);
        assert_eq!(
            (
                of[&Figure::DetachMilliseconds],
                of[&Figure::DropMilliseconds]
            ),
            (30.0, 40.0)
        );
        assert_eq!(
            (of[&Figure::BytesReturned], of[&Figure::BytesReclaimed]),
            (3_000.0, 3_500.0)
        );
        assert_eq!(of[&Figure::TableBloatPercent], 10.0);
        assert!(!of.contains_key(&Figure::RowsDeleted));
    }

    #[test]
    fn vacuuming_is_compared_with_before_and_lost_counts_are_no_fall() {
        let at = |second: i64, vacuuming, autovacuums| Sample {
            at_millis: second * 1_000,
            vacuuming,
            autovacuums,
            ..Sample::default()
        };
        let samples = [
            at(0, Some(false), 5),
            at(1, Some(true), 6),
            at(2, Some(true), 7),
            at(3, Some(true), 3),
            at(4, Some(true), 4),
        ];
        let figures = vacuuming(&samples, 2_000);
        assert_eq!(figures[&Figure::VacuumingRisePercent], 50.0);
        assert_eq!(figures[&Figure::Autovacuums], 3.0);
        assert!(!vacuuming(&[], 0).contains_key(&Figure::VacuumingRisePercent));
    }
}
