//! The long soak: segment after segment on one head table that nobody makes anew.
//!
//! What a segment needs to know stands in the table: a run's number says how many transitions it has, its
//! row how many are done, and a comment on the table whose it is and since when. So a generator that
//! was lost, a server that restarted and a results store that was away cost one segment, and no more than
//! one segment's samples is ever held in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bakeoff_crds::figure::Figure;
use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{Arrivals, AutovacuumProfile, SnapshotHeld, Soak};
use futures::{TryStreamExt, pin_mut};
use tokio_postgres::Client;

use super::head_row::lives::{Lives, Population, Runs};
use super::head_row::{self, Prepared, table};
use super::mover::busy;
use super::rows::REST_PATIENCE;
use super::{Context, Gate, Part, Working, Workload, WorkloadError, memory};
use crate::drivers::postgres::observe::{self, Observer, Sample};
use crate::drivers::postgres::{Connector, Patient, end_sessions, literal};
use crate::failure::{Failure, FailureClass};
use crate::instrument::arrivals::Pace;
use crate::instrument::cgroup;
use crate::instrument::clock;

/// How long the server may take to follow its changed settings.
const RELOAD_PATIENCE: Duration = Duration::from_secs(10);

/// Whose table it is: in a comment, which is part of it and goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    cell: String,
    /// Milliseconds since the epoch.
    loaded_at: i64,
}

impl Mark {
    fn parse(comment: &str) -> Option<Self> {
        let (loaded_at, cell) = comment.strip_prefix("bakeoff soak ")?.split_once(' ')?;
        Some(Self {
            cell: cell.to_owned(),
            loaded_at: loaded_at.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bakeoff soak {} {}", self.loaded_at, self.cell)
    }
}

fn now_millis() -> i64 {
    i64::try_from(clock::wall() / 1_000_000).unwrap_or(i64::MAX)
}

/// The table of this cell, as the last segment left it or made anew; answers when it was loaded, and how fast if
/// that was now.
async fn table_of(
    client: Patient<'_>,
    cell: &str,
    population: &Population,
    fillfactor: u64,
    state_bytes: usize,
    spec: &Soak,
    profile: &AutovacuumProfile,
) -> Result<(i64, Option<f64>), Failure> {
    let comment =
        "SELECT coalesce(obj_description(to_regclass('bakeoff.runs')::oid, 'pg_class'), '')";
    let row = client.query_one(comment, &[]).await?;
    let known = Mark::parse(row.get(0)).filter(|mark| mark.cell == cell);
    if let Some(mark) = known {
        return Ok((mark.loaded_at, None));
    }
    set_server(client, spec, profile).await?;
    let rate = table::load(client, population, fillfactor, state_bytes).await?;
    if !profile.table.is_empty() {
        let set: Vec<String> = profile
            .table
            .iter()
            .map(|(name, value)| format!("{name} = {}", literal(&value.0)))
            .collect();
        let sql = format!("ALTER TABLE bakeoff.runs SET ({})", set.join(", "));
        client.at_length().batch_execute(&sql).await?;
    }
    // Last: a table without its mark is not whole.
    let mark = Mark {
        cell: cell.to_owned(),
        loaded_at: now_millis(),
    };
    let sql = format!(
        "COMMENT ON TABLE bakeoff.runs IS {}",
        literal(&mark.to_string())
    );
    client.at_length().batch_execute(&sql).await?;
    Ok((mark.loaded_at, Some(rate)))
}

/// Gives the server the settings of a profile and takes back those of all others.
async fn set_server(
    client: Patient<'_>,
    spec: &Soak,
    profile: &AutovacuumProfile,
) -> Result<(), Failure> {
    let all: BTreeSet<&String> = spec
        .autovacuum
        .iter()
        .flat_map(|profile| profile.server.keys())
        .collect();
    if all.is_empty() {
        return Ok(());
    }
    // One statement each: ALTER SYSTEM refuses to be part of a transaction.
    for name in all {
        let sql = match profile.server.get(name) {
            Some(value) => format!("ALTER SYSTEM SET {name} = {}", literal(&value.0)),
            None => format!("ALTER SYSTEM RESET {name}"),
        };
        client.at_length().batch_execute(&sql).await?;
    }
    client.query_one("SELECT pg_reload_conf()", &[]).await?;
    if profile.server.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = profile.server.keys().map(|name| literal(name)).collect();
    let unheard = format!(
        "SELECT name FROM pg_settings WHERE name IN ({}) \
         AND (sourcefile IS NULL OR sourcefile NOT LIKE '%postgresql.auto.conf' OR pending_restart)",
        names.join(", ")
    );
    let deadline = clock::now() + u64::try_from(RELOAD_PATIENCE.as_nanos()).unwrap_or(0);
    loop {
        let others = client.query(&unheard, &[]).await?;
        let Some(first) = others.first() else {
            return Ok(());
        };
        if clock::now() >= deadline {
            let name: &str = first.get(0);
            let said = format!(
                "the server does not follow {name}: it is set in backends[].postgres.settings as well, or needs a restart"
            );
            return Err(Failure::new(FailureClass::Client, said));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Ends what earlier generators left behind on the server: a statement that commits later would move a run that this
/// segment has read, and one that holds the table would keep it from being made anew.
async fn come_to_rest(client: Patient<'_>) -> Result<(), Failure> {
    match end_sessions(client, None, REST_PATIENCE).await? {
        0 => Ok(()),
        left => {
            let said = format!("{left} connections of an earlier segment do not end");
            Err(Failure::new(FailureClass::Server, said))
        }
    }
}

/// The open runs as they stand in the table, dealt to the workers, and the first number that is free.
async fn open_runs(
    client: Patient<'_>,
    population: &Population,
    workers: usize,
    movers: usize,
) -> Result<(Vec<Runs>, i64), Failure> {
    let client = client.at_length();
    let none: [i32; 0] = [];
    let asked = client
        .client()
        .query_raw("SELECT run_id, seq FROM bakeoff.runs", none);
    let rows = client.wait(asked).await?;
    pin_mut!(rows);
    let mut shares: Vec<Runs> = (0..workers)
        .map(|_| Runs::with_room(movers.div_ceil(workers)))
        .collect();
    let mut next = i64::try_from(population.active).unwrap_or(i64::MAX);
    let mut dealt = 0;
    while let Some(row) = client.wait(rows.try_next()).await? {
        let (id, seq): (i64, i32) = (row.get(0), row.get(1));
        next = next.max(id.saturating_add(1));
        if population.sleeps(id.unsigned_abs()) {
            continue;
        }
        shares[dealt % workers].push(id, seq);
        dealt += 1;
    }
    Ok((shares, next))
}

/// How many of so many runs one worker has: as even as whole numbers allow.
fn share_of(runs: usize, workers: usize, worker: i64) -> i64 {
    let more = usize::try_from(worker).is_ok_and(|worker| worker < runs % workers);
    i64::try_from(runs / workers + usize::from(more)).unwrap_or(i64::MAX)
}

/// How long a transaction may take to see the first row.
const SEEING: Duration = Duration::from_secs(600);

/// A transaction that does nothing and keeps what it saw; it ends with its connection.
async fn hold(connector: &Connector) -> Result<Client, Failure> {
    let client = connector.connect().await?;
    let asking = Patient::of(&client);
    asking
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        .await?;
    // The first row may be behind many that are dead. A transaction in which a lock was refused cannot be asked again.
    let seeing = "SELECT 1 FROM bakeoff.runs LIMIT 1";
    asking.at_most(SEEING).batch_execute(seeing).await?;
    Ok(client)
}

/// That a transaction was not ended meanwhile.
async fn still_held(holder: Patient<'_>) -> Result<(), Failure> {
    let asked = holder.query("SELECT count(*) FROM bakeoff.runs WHERE false", &[]);
    match asked.await {
        Ok(_) => Ok(()),
        // Of one that does not answer it is not known.
        Err(failure) if failure.class == FailureClass::Timeout => Err(failure),
        Err(failure) => {
            let said = format!("the transaction that held the snapshot was ended: {failure}");
            Err(Failure::new(FailureClass::Server, said))
        }
    }
}

/// What a segment adds to the figures of a head row. (Pure.)
fn course(samples: &[Sample], active: u64, loaded_at: i64, now: i64) -> BTreeMap<Figure, f64> {
    let mut figures = BTreeMap::new();
    let mut put = |figure: Figure, value: f64| {
        figures.insert(figure, (value * 1e6).round() / 1e6);
    };
    // The middle of the window, which the figures of the segment speak of.
    let long = samples.last().map_or(0, |sample| sample.at_millis);
    put(
        Figure::TableAgeHours,
        (now - loaded_at - long / 2).max(0) as f64 / 3.6e6,
    );
    put(Figure::TableLoadedAtSeconds, (loaded_at / 1_000) as f64);
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        return figures;
    };
    let count = samples.len() as f64;
    let percent = |tuples: f64| tuples / active.max(1) as f64 * 100.0;
    let dead = || samples.iter().map(|sample| sample.dead_tuples);
    put(
        Figure::DeadMeanPercent,
        percent(dead().sum::<i64>() as f64 / count),
    );
    put(
        Figure::DeadLowPercent,
        percent(dead().min().unwrap_or(0) as f64),
    );
    let vacuuming: Option<Vec<bool>> = samples.iter().map(|sample| sample.vacuuming).collect();
    if let Some(vacuuming) = vacuuming {
        let busy = vacuuming.iter().filter(|&&busy| busy).count();
        put(Figure::VacuumingPercent, busy as f64 / count * 100.0);
    }
    if let Some(millis) = observe::rise(samples, |s| s.autovacuum_millis) {
        put(Figure::AutovacuumSeconds, millis / 1e3);
    }
    if let Some(age) = observe::peak(samples, |s| s.table_frozen_age) {
        put(Figure::FrozenAgeMost, age);
        // The age falls only when a vacuum freezes what is old.
        let freezes = samples
            .windows(2)
            .filter(|pair| pair[1].table_frozen_age < pair[0].table_frozen_age)
            .count();
        put(Figure::Freezes, freezes as f64);
    }
    let seconds = (last.at_millis - first.at_millis) as f64 / 1e3;
    if let Some(wal) = observe::rise(samples, |s| s.wal_bytes)
        && seconds > 0.0
    {
        put(Figure::WalBytesPerSecond, wal / seconds);
    }
    figures
}

impl Workload for Soak {
    fn run<'a>(&'a self, context: &'a Context<'_>, gate: &'a dyn Gate) -> Working<'a, Part> {
        Box::pin(run(context, self, gate))
    }

    fn looks_at_tables(&self) -> bool {
        true
    }

    fn runs_on_null(&self) -> bool {
        true
    }
}

/// Runs one segment.
///
/// # Errors
/// When the trial does not fit the spec, the table cannot be loaded or read, or recording or pacing fails.
async fn run(context: &Context<'_>, spec: &Soak, gate: &dyn Gate) -> Result<Part, WorkloadError> {
    if context.generators != 1 {
        return Err(WorkloadError::Spec("a soak takes one generator".into()));
    }
    let level = |name: &str| context.trial.cell.get(name).map_or("", String::as_str);
    let profile = spec.profile(level(factor::AUTOVACUUM)).ok_or_else(|| {
        let said = format!(
            "no autovacuum profile is called {}",
            level(factor::AUTOVACUUM)
        );
        WorkloadError::Spec(said)
    })?;
    let held = level(factor::SNAPSHOT) == SnapshotHeld::WholeSegment.as_str();
    let fillfactor = context.level(factor::FILLFACTOR)?;
    let connector = context.access.postgres()?;
    let workers = usize::try_from(spec.connections).unwrap_or(1).max(1);
    let pace = Pace::Open {
        rate: spec.rate(),
        arrivals: Arrivals::Poisson,
        max_in_flight: workers,
    };
    let population = Population {
        seed: context.seed(),
        active: u64::try_from(spec.active_runs)
            .unwrap_or(0)
            .min(context.most_runs),
        sleeper_percent: u64::try_from(spec.sleeper_percent).unwrap_or(0),
        transitions: (spec.min_transitions, spec.max_transitions),
    };
    let state_bytes = usize::try_from(spec.state_bytes).unwrap_or(0);
    let cell = format!(
        "{}{}/{}",
        context.prefix, context.trial.workload, context.trial.cell_index
    );
    let movers = (0..population.active)
        .filter(|&id| !population.sleeps(id))
        .count();
    let (_, limit) = cgroup::limits();
    memory::fits(movers as u64, Runs::BYTES_EACH, limit)?;
    let client = connector.connect().await?;
    let asking = Patient::of(&client);
    come_to_rest(asking).await?;
    let (loaded_at, rate) = table_of(
        asking,
        &cell,
        &population,
        fillfactor,
        state_bytes,
        spec,
        profile,
    )
    .await?;
    let (shares, free) = open_runs(asking, &population, workers, movers).await?;
    let observer = Observer::new(client).await?;
    let snapshot = if held {
        Some(hold(connector).await?)
    } else {
        None
    };
    // Another segment draws other runs and other pauses.
    let label = format!("{}/{}", context.label("lives"), context.attempt);
    let stride = i64::try_from(workers).unwrap_or(1);
    let prepared: Vec<Lives> = (0..)
        .zip(shares)
        .map(|(worker, runs)| Lives {
            population,
            rng: SplitMix64::stream(context.seed(), &format!("{label}/{worker}")),
            // What failed, or was cut off, left more or fewer runs than there should be.
            owed: share_of(movers, workers, worker) - i64::try_from(runs.len()).unwrap_or(0),
            runs,
            next_id: free + worker,
            stride,
        })
        .collect();

    // One that is owed a run makes it; who has none and is owed none has nothing to do.
    let prepared = busy(prepared, |lives| !lives.runs.is_empty() || lives.owed > 0);
    let load = Prepared {
        connector,
        pace,
        lives: prepared,
        state_bytes,
        observer: Some(&observer),
    };
    let (mut part, watched) = head_row::measure(context, gate, load).await?;
    if let Some(holder) = snapshot {
        // One that the server ended meanwhile held nothing back.
        still_held(Patient::of(&holder)).await?;
    }
    let ended = now_millis();
    let after = observer.inspect().await?;
    part.figures = watched.figures(&after, fillfactor, population.active);
    let course = course(&watched.samples, population.active, loaded_at, ended);
    part.figures.extend(course);
    part.figures
        .extend(rate.map(|rate| (Figure::LoadRowsPerSecond, rate)));
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_and_another_comment_is_none() {
        let mark = Mark {
            cell: "ns/exp/uid/long/3".to_owned(),
            loaded_at: 1_795_000_000_000,
        };
        assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
        for other in ["", "bakeoff soak", "bakeoff soak x y", "head rows"] {
            assert_eq!(Mark::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_course_is_a_mean_over_time_and_counts_freezes() {
        let samples: Vec<Sample> = (0..=10_i64)
            .map(|second| Sample {
                at_millis: second * 1_000,
                dead_tuples: second % 5 * 100,
                table_frozen_age: Some(if second < 6 { second * 50 } else { second }),
                vacuuming: Some(second == 5),
                autovacuum_millis: Some(if second > 5 { 300 } else { 0 }),
                wal_bytes: Some(second * 4_096),
                ..Sample::default()
            })
            .collect();
        let course = course(&samples, 10_000, 1_000_000, 1_000_000 + 3_610_000);
        assert!((course[&Figure::TableAgeHours] - 3_605.0 / 3_600.0).abs() < 1e-5);
        assert!((course[&Figure::DeadMeanPercent] - 2_000.0 / 11.0 / 100.0).abs() < 1e-5);
        assert_eq!(course[&Figure::DeadLowPercent], 0.0);
        assert_eq!(
            (course[&Figure::Freezes], course[&Figure::FrozenAgeMost]),
            (1.0, 250.0)
        );
        assert_eq!(course[&Figure::AutovacuumSeconds], 0.3);
        assert_eq!(course[&Figure::WalBytesPerSecond], 4_096.0);
    }
}
