//! The replay of traces on a real server, which notes itself what is done to it: each row of the table that changes is written
//! down by a trigger, with the server's own time. Needs BAKEOFF_POSTGRES, as `postgres.rs` does.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::support::postgres::Postgres;
use crate::support::runner::{Ran, backend, plan, shown, under_way};
use crate::support::runtime;
use bakeoff_crds::figure::{Counter, Figure};
use bakeoff_crds::result::{FindingCode, TrialRecord, Verdict};
use bakeoff_loadgen::drivers::access::Access;
use bakeoff_loadgen::instrument::record::decode;
use bakeoff_loadgen::run::control::Control;
use bakeoff_trace::format::{Quantiles, Source};
use bakeoff_trace::plan::{Plan, PlanOptions, Planned, Ratio, Shift};
use bakeoff_trace::synthesize::{Shape, synthesize};
use bakeoff_trace::{Description, Writer};
use bakeoff_trace::{Event, Kind, Trace};
use serde_json::{Value, json};

const SECOND: u64 = 1_000_000_000;

/// Runs statements that answer nothing, on a thread of their own, so that a runtime of the caller's does not mind.
fn tell(server: &Postgres, sql: &str) {
    let on = backend(server);
    let Access::Postgres(connector) = &on.access else {
        panic!("no Postgres")
    };
    let told = async {
        // A server that was just started takes a moment.
        let mut tries = 0;
        let client = loop {
            match connector.connect().await {
                Ok(client) => break client,
                Err(failure) => assert!(tries < 300, "{failure:?}"),
            }
            tries += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        client.batch_execute(sql).await.unwrap();
    };
    std::thread::scope(|scope| scope.spawn(|| runtime().block_on(told)).join().unwrap());
}

/// What the server noted.
#[derive(Clone, Debug)]
struct Seen {
    /// Seconds since 1970.
    at: f64,
    kind: String,
    run: i64,
    seq: i32,
}

/// Has the server note each change of a row from now on, and refuse creations of runs of which this holds.
fn noting(server: &Postgres, refuses: &str) {
    tell(
        server,
        &format!(
            "CREATE TABLE public.seen (n bigserial, at timestamptz, kind text, run bigint, seq int);
             CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
               IF TG_OP = 'DELETE' THEN
                 INSERT INTO public.seen (at, kind, run, seq) VALUES (clock_timestamp(), 'DELETE', OLD.run_id, OLD.seq + 1);
                 RETURN OLD;
               END IF;
               IF TG_OP = 'INSERT' AND current_query() NOT LIKE 'COPY%' AND ({refuses}) THEN
                 RAISE EXCEPTION 'refused on purpose';
               END IF;
               INSERT INTO public.seen (at, kind, run, seq)
                 VALUES (clock_timestamp(), CASE WHEN current_query() LIKE 'COPY%' THEN 'COPY' ELSE TG_OP END, NEW.run_id, NEW.seq);
               RETURN NEW;
             END $$;
             CREATE FUNCTION public.watch() RETURNS event_trigger LANGUAGE plpgsql AS $$
             BEGIN
               IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity = 'bakeoff.runs') THEN
                 CREATE TRIGGER note BEFORE INSERT OR UPDATE OR DELETE ON bakeoff.runs
                   FOR EACH ROW EXECUTE FUNCTION public.note();
               END IF;
             END $$;
             CREATE EVENT TRIGGER watch ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION public.watch()"
        ),
    );
}

fn seen(server: &Postgres) -> Vec<Seen> {
    let on = backend(server);
    let Access::Postgres(connector) = &on.access else {
        panic!("no Postgres")
    };
    let asked = async {
        let client = connector.connect().await.unwrap();
        let sql =
            "SELECT extract(epoch FROM at)::float8, kind, run, seq FROM public.seen ORDER BY n";
        let rows = client.query(sql, &[]).await.unwrap();
        let rows = rows.iter().map(|row| Seen {
            at: row.get(0),
            kind: row.get(1),
            run: row.get(2),
            seq: row.get(3),
        });
        rows.collect()
    };
    std::thread::scope(|scope| scope.spawn(|| runtime().block_on(asked)).join().unwrap())
}

/// Replays the trace of a folder that lies at `traces/t` below this one.
fn replayed(server: &Postgres, at: &Path, more: Value, seconds: (i32, i32)) -> (Ran, Arc<Control>) {
    replayed_beside(server, at, more, seconds, |_| {})
}

fn replayed_beside(
    server: &Postgres,
    at: &Path,
    more: Value,
    (warmup, window): (i32, i32),
    beside: impl FnOnce(&Control) + Send,
) -> (Ran, Arc<Control>) {
    let mut spec = json!({"trace": {"path": "t"}, "connections": 8});
    let fields = spec.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    let blocks = more.get("blocks").and_then(Value::as_i64).unwrap_or(1);
    spec.as_object_mut().unwrap().remove("blocks");
    let on = backend(server);
    let workload = json!({"name": "again", "replay": spec});
    let trials = json!({"blocks": blocks, "warmupSeconds": warmup, "windowSeconds": window, "drainSeconds": 20});
    let mut plan = plan(workload, trials, &on);
    plan.results.bucket = at.to_str().unwrap().to_owned();
    let control = Arc::new(Control::default());
    let ran = std::thread::scope(|scope| {
        let control = Arc::clone(&control);
        let (shown_to, told) = (Arc::clone(&control), Arc::clone(&control));
        scope.spawn(move || beside(&told));
        shown(plan, on, shown_to, &|_| {})
    });
    (ran, control)
}

fn sound(record: &TrialRecord) {
    assert_eq!(record.verdict, Verdict::Valid, "{:?}", record.load);
    let load = &record.load;
    let sum = load.completed + load.failed + load.unfinished + load.not_started + load.orphaned;
    assert_eq!(load.planned, sum, "{load:?}");
    assert_eq!(record.checks[0].name, "rowsMissed");
    assert_eq!(
        record.checks[0].violations, 0,
        "{:?}",
        record.checks[0].examples
    );
}

fn plan_of(at: &Path, speed: (u128, u128), copies: u32) -> Plan<std::fs::File> {
    let options = PlanOptions {
        speed: Ratio::new(speed.0, speed.1).unwrap(),
        copies,
        shift: Shift::Spread,
    };
    Plan::open(Trace::open(&at.join("traces/t")).unwrap(), options).unwrap()
}

fn window(plan: &mut Plan<std::fs::File>, from: u64, to: u64) -> Vec<Planned> {
    plan.window(from, to).unwrap().map(Result::unwrap).collect()
}

fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Created | Kind::Open => "INSERT",
        Kind::Transition => "UPDATE",
        Kind::Done => "DELETE",
    }
}

/// Each run's changes are in the order of the recording, one step each.
fn in_order(seen: &[Seen]) {
    let mut last: BTreeMap<i64, i32> = BTreeMap::new();
    for one in seen {
        if let Some(before) = last.insert(one.run, one.seq) {
            assert_eq!(one.seq, before + 1, "{one:?}");
        }
    }
}

#[test]
fn a_recording_is_replayed_with_its_counts_its_rate_and_its_open_runs() {
    let server = Postgres::start(&["synchronous_commit=off", "shared_buffers=64MB"]);
    noting(&server, "false");
    let folder = tempfile::tempdir().unwrap();
    let quantiles = |p50, p90, p99, max| Quantiles { p50, p90, p99, max };
    let shape = Shape {
        runs: 100,
        span_micros: 10_000_000,
        events_per_run: quantiles(4, 12, 20, 40),
        gap_micros: quantiles(100_000, 500_000, 2_000_000, 4_000_000),
        never_end_per_mille: 100,
        state_bytes: Some(150),
    };
    let out = folder.path().join("traces/t");
    std::fs::create_dir_all(out.parent().unwrap()).unwrap();
    synthesize(&shape, 7, &out).unwrap();
    // One and a half times as fast, so that the laps of the copies come around within the trial.
    let (ran, _) = replayed(
        &server,
        folder.path(),
        json!({"speedPercent": [150], "copies": 3}),
        (2, 6),
    );
    let record = &ran.records[0];
    sound(record);
    assert_eq!(
        record.load.failed + record.load.orphaned,
        0,
        "{:?}",
        record.load
    );

    let mut plan = plan_of(folder.path(), (3, 2), 3);
    let events = window(&mut plan, 0, 8 * SECOND);
    let seen = seen(&server);
    in_order(&seen);
    let changes: Vec<&Seen> = seen.iter().filter(|one| one.kind != "COPY").collect();
    // By kind, to the last one: in the trial as a whole, and in its window.
    for kind in ["INSERT", "UPDATE", "DELETE"] {
        let planned = events
            .iter()
            .filter(|event| name_of(event.kind) == kind)
            .count();
        let counted = changes.iter().filter(|one| one.kind == kind).count();
        assert!(planned > 100, "{kind}: {planned}");
        assert_eq!(counted, planned, "{kind}");
    }
    let in_window = events
        .iter()
        .filter(|event| event.at_nanos >= 2 * SECOND)
        .count();
    assert_eq!(record.load.completed, in_window as i64);
    // What is loaded is what is open at the start; what is left is what is open at the end, each as far as it should be.
    let loaded = seen.iter().filter(|one| one.kind == "COPY").count();
    assert_eq!(loaded, plan.initial(0).count());
    let mut rows: BTreeMap<i64, i32> = BTreeMap::new();
    for one in &seen {
        match one.kind.as_str() {
            "DELETE" => drop(rows.remove(&one.run)),
            _ => drop(rows.insert(one.run, one.seq)),
        }
    }
    let mut reached: Vec<i32> = rows.into_values().collect();
    let mut open: Vec<i32> = plan
        .initial(8 * SECOND)
        .map(|run| run.unwrap().seq as i32)
        .collect();
    reached.sort_unstable();
    open.sort_unstable();
    assert_eq!(reached, open);
    // Second by second, by the server's clock: nothing is early, but for the error of the two clocks, and what is due in a second has
    // been done at the end of the next, however busy the machine.
    let opened = record.window.start.as_microsecond() as f64 / 1e6 - 2.0;
    for second in 1..=8 {
        let until = |end: u64| events.iter().filter(|e| e.at_nanos < end * SECOND).count();
        let counted = changes.iter().filter(|one| one.at - opened < second as f64);
        let counted = counted.count();
        let (least, most) = (until(second - 1), until(second) + 10);
        assert!(
            (least..=most).contains(&counted),
            "up to second {second}: {least} to {most} planned, {counted} seen"
        );
    }
    let figure = |figure: Figure| record.figures[&figure];
    assert!((figure(Figure::SpeedPercent) - 150.0).abs() < 1e-9);
    assert!((figure(Figure::Copies) - 3.0).abs() < 1e-9);
    assert!(figure(Figure::OpenRunsMean) > 25.0);
    let mut busiest = [0_u32; 6];
    for event in events.iter().filter(|event| event.at_nanos >= 2 * SECOND) {
        busiest[(event.at_nanos / SECOND - 2) as usize] += 1;
    }
    let peak = f64::from(busiest.into_iter().max().unwrap());
    assert!((figure(Figure::BurstPeakPerSecond) - peak).abs() < 1e-9);
    // A tenth of the runs never ends: each turn leaves them in the table.
    assert!(figure(Figure::GrowthPerTurn) >= 3.0);
    let planned: Vec<i64> = record.series.iter().map(|point| point.planned).collect();
    assert_eq!(planned, busiest.map(i64::from));
    assert!(record.state.is_some());
    assert!(
        record.baseline.is_some(),
        "a null server takes a replay as well"
    );
}

/// A trace of events at these times, each of which moves another run; all runs are open at the start.
fn bursts(at: &Path, times: &[u64], span_micros: u64) {
    let out = at.join("traces/t");
    std::fs::create_dir_all(&out).unwrap();
    let mut writer = Writer::create(&out).unwrap();
    let event = |at_micros, run, kind, value| Event {
        at_micros,
        run,
        kind,
        value,
    };
    for run in 0..times.len() {
        let open = event(0, run as u32, Kind::Open, Some(1));
        writer.push(open).unwrap();
    }
    for (run, at_micros) in times.iter().enumerate() {
        let moved = event(*at_micros, run as u32, Kind::Transition, Some(100));
        writer.push(moved).unwrap();
    }
    let description = Description {
        source: Source::Synthetic,
        method: "bursts".to_owned(),
        started_at: None,
        span_micros: Some(span_micros),
    };
    writer.finish(description, &Default::default()).unwrap();
}

#[test]
fn a_burst_of_a_hundred_times_the_rate_is_sent_on_time() {
    let server = Postgres::start(&["synchronous_commit=off"]);
    noting(&server, "false");
    let folder = tempfile::tempdir().unwrap();
    // One a second, and for a second a hundred: few enough for a machine that does something else at the same time.
    let mut times: Vec<u64> = (0..6).map(|n| n * 1_000_000 + 505_000).collect();
    times.extend((0..100).map(|n| 4_000_000 + n * 10_000));
    times.sort_unstable();
    bursts(folder.path(), &times, 6_000_000);
    let (ran, _) = replayed(
        &server,
        folder.path(),
        json!({"speedPercent": [100]}),
        (1, 5),
    );
    let record = &ran.records[0];
    sound(record);
    assert_eq!(record.load.completed, 105);
    assert_eq!(record.findings, []);
    // The second of the burst, by the server's clock, and half of one for what a busy machine holds up.
    let opened = record.window.start.as_microsecond() as f64 / 1e6 - 1.0;
    let seen = seen(&server);
    let changes = seen.iter().filter(|one| one.kind == "UPDATE");
    let within = changes.filter(|one| (4.0..5.5).contains(&(one.at - opened)));
    let within = within.count();
    assert!(within >= 95, "{within} of 101 in the second of the burst");
    let lag = decode(&record.operations["operation"].generator_lag).unwrap();
    let (p50, p90) = (lag.value_at_quantile(0.5), lag.value_at_quantile(0.9));
    assert!(
        p50 < 50_000 && p90 < 500_000,
        "send lag p50 {p50} µs, p90 {p90} µs"
    );
    assert!((record.figures[&Figure::BurstPeakPerSecond] - 101.0).abs() < 1e-9);
}

#[test]
fn a_stall_shows_from_the_plan() {
    let server = Postgres::start(&["synchronous_commit=off"]);
    let folder = tempfile::tempdir().unwrap();
    let times: Vec<u64> = (0..1_600).map(|n| n * 5_000).collect();
    bursts(folder.path(), &times, 8_000_000);
    let stall = |control: &Control| {
        under_way(control, 0, 500);
        tell(
            &server,
            "BEGIN; LOCK TABLE bakeoff.runs IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(1); COMMIT",
        );
    };
    let more = json!({"speedPercent": [100], "connections": 4});
    let (ran, _) = replayed_beside(&server, folder.path(), more, (1, 7), stall);
    let record = &ran.records[0];
    sound(record);
    assert_eq!(record.load.completed, 1_400, "{:?}", record.load);
    // Two hundred are due while the table is locked; four of them are sent then. A busy machine adds to both, so they are compared
    // with each other.
    let slow = |encoded| decode(encoded).unwrap().count_between(300_000, u64::MAX);
    let operation = &record.operations["operation"];
    let (response, service) = (slow(&operation.response), slow(&operation.service));
    assert!(
        response >= 100 && response >= 4 * service,
        "{response} responses and {service} services are slow"
    );
}

#[test]
fn a_creation_that_failed_orphans_what_comes_after_it() {
    let server = Postgres::start(&["synchronous_commit=off"]);
    noting(&server, "NEW.run_id % 4 = 0");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("traces/t");
    std::fs::create_dir_all(&out).unwrap();
    let mut writer = Writer::create(&out).unwrap();
    // Two hundred runs, one after the other, of five events each.
    for n in 0..1_000_u32 {
        let kind = match n % 5 {
            0 => Kind::Created,
            4 => Kind::Done,
            _ => Kind::Transition,
        };
        let event = Event {
            at_micros: u64::from(n) * 4_000,
            run: n / 5,
            kind,
            value: None,
        };
        writer.push(event).unwrap();
    }
    let description = Description {
        source: Source::Synthetic,
        method: "five each".to_owned(),
        started_at: None,
        span_micros: Some(4_000_000),
    };
    writer.finish(description, &Default::default()).unwrap();
    let (ran, _) = replayed(
        &server,
        folder.path(),
        json!({"speedPercent": [100]}),
        (0, 4),
    );
    let record = &ran.records[0];
    sound(record);
    let load = &record.load;
    assert_eq!((load.failed, load.orphaned, load.completed), (50, 200, 750));
    assert_eq!(record.counters[&Counter::Orphaned], 200);
    let codes: Vec<_> = record.findings.iter().map(|one| one.code).collect();
    assert_eq!(codes, [FindingCode::Failing]);
    // None of what was orphaned reached the server.
    let seen = seen(&server);
    in_order(&seen);
    assert_eq!(seen.len(), 750);
    assert!(seen.iter().all(|one| one.run % 4 != 0));
}

/// Runs whose every event comes before the one before it can be answered: the server takes three times as long.
#[test]
fn what_is_compressed_too_much_waits_for_itself_and_is_said_to() {
    let server = Postgres::start(&["synchronous_commit=off"]);
    noting(&server, "pg_sleep(0) IS NULL");
    // Each step of a run takes the server 30 ms.
    tell(
        &server,
        "CREATE OR REPLACE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
           PERFORM pg_sleep(CASE WHEN TG_OP = 'UPDATE' THEN 0.03 ELSE 0 END);
           INSERT INTO public.seen (at, kind, run, seq) VALUES (clock_timestamp(), TG_OP, NEW.run_id, NEW.seq);
           RETURN NEW;
         END $$",
    );
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("traces/t");
    std::fs::create_dir_all(&out).unwrap();
    let mut writer = Writer::create(&out).unwrap();
    let mut events = Vec::new();
    for run in 0..4_u32 {
        events.push((0, run, Kind::Open, Some(0)));
    }
    // Four times each run moves each 100 ms of the recording, which are 10 ms of the replay, and then rests for a second of it: far
    // longer than a busy machine takes for the four.
    for step in 0..16_u64 {
        for run in 0..4_u32 {
            let at = step / 4 * 10_000_000 + step % 4 * 100_000 + u64::from(run);
            events.push((at, run, Kind::Transition, None));
        }
    }
    for (at_micros, run, kind, value) in events {
        let event = Event {
            at_micros,
            run,
            kind,
            value,
        };
        writer.push(event).unwrap();
    }
    let description = Description {
        source: Source::Synthetic,
        method: "dense".to_owned(),
        started_at: None,
        span_micros: Some(40_000_000),
    };
    writer.finish(description, &Default::default()).unwrap();
    let (ran, _) = replayed(
        &server,
        folder.path(),
        json!({"speedPercent": [1_000]}),
        (0, 4),
    );
    let record = &ran.records[0];
    sound(record);
    assert_eq!(record.load.completed, 64, "{:?}", record.load);
    let waited = record.counters[&Counter::OwnRunWaits];
    // Three of four steps of each run come while the one before is under way.
    assert!((40..=52).contains(&waited), "{waited}");
    let codes: Vec<_> = record.findings.iter().map(|one| one.code).collect();
    assert_eq!(codes, [FindingCode::TimingDistorted]);
    let percent = record.figures[&Figure::OwnRunWaitPercent];
    assert!((percent - waited as f64 / 0.64).abs() < 1e-6);
    in_order(&seen(&server));
    // It is no lag of the generator.
    let operation = &record.operations["operation"];
    assert!(operation.queued >= waited);
    let lag = decode(&operation.generator_lag).unwrap();
    assert!(lag.value_at_quantile(0.9) < Duration::from_millis(500).as_micros() as u64);
}

/// A block that goes on where the one before it ended finds what is open there.
#[test]
fn consecutive_blocks_go_on_in_the_plan() {
    let server = Postgres::start(&["synchronous_commit=off"]);
    noting(&server, "false");
    let folder = tempfile::tempdir().unwrap();
    let quantiles = |p50, p90, p99, max| Quantiles { p50, p90, p99, max };
    let shape = Shape {
        runs: 300,
        span_micros: 9_000_000,
        events_per_run: quantiles(4, 8, 12, 20),
        gap_micros: quantiles(200_000, 800_000, 2_000_000, 4_000_000),
        never_end_per_mille: 0,
        state_bytes: None,
    };
    let out = folder.path().join("traces/t");
    std::fs::create_dir_all(out.parent().unwrap()).unwrap();
    synthesize(&shape, 9, &out).unwrap();
    let more = json!({"speedPercent": [100], "copies": 2, "stretch": "Consecutive", "blocks": 3});
    let (ran, _) = replayed(&server, folder.path(), more, (1, 3));
    let mut plan = plan_of(folder.path(), (1, 1), 2);
    let seen = seen(&server);
    for (block, record) in (0_u64..).zip(&ran.records) {
        sound(record);
        assert_eq!(record.load.failed + record.load.orphaned, 0);
        let from = block * 4 * SECOND;
        let events = window(&mut plan, from + SECOND, from + 4 * SECOND);
        assert_eq!(record.load.completed, events.len() as i64, "block {block}");
        // The table was loaded before the start, with as many as are open there.
        let start = record.window.start.as_microsecond() as f64 / 1e6 - 1.0;
        let before = ran.records[..block as usize].last().map_or(0.0, |before| {
            before.window.end.as_microsecond() as f64 / 1e6
        });
        let copied = seen
            .iter()
            .filter(|one| one.kind == "COPY" && one.at > before && one.at < start);
        assert_eq!(copied.count(), plan.initial(from).count(), "block {block}");
    }
    assert_eq!(ran.records.len(), 3);
}
