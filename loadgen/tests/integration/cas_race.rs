//! The race of writers on a real server. Needs BAKEOFF_POSTGRES, as `postgres.rs` does, and BAKEOFF_REDIS, the program
//! of a Redis server.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use crate::support;
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::{runner, runtime};
use bakeoff_crds::figure::Counter;
use bakeoff_crds::result::{InvalidCode, TrialRecord, Verdict};
use bakeoff_crds::run::RunPlan;
use bakeoff_loadgen::checker::cas_history::{self, Event, Outcome};
use bakeoff_loadgen::drivers::probe;
use bakeoff_loadgen::drivers::redis::LockServer;
use bakeoff_loadgen::run::control::{self, Control, Follower};
use bakeoff_loadgen::run::{Backend, Run};
use bakeoff_loadgen::store::Store;
use serde_json::json;
use tokio::sync::watch;

fn plan(race: serde_json::Value, seconds: i32, backend: &Backend) -> RunPlan {
    let spec = json!({
        "backends": [{"name": "pg", "postgres": {"version": "18.4"}}],
        "workloads": [{"name": "race", "casRace": race}],
        "trials": {"blocks": 1, "warmupSeconds": 2, "windowSeconds": seconds},
    });
    runner::run_plan(
        serde_json::from_value(spec).unwrap(),
        std::slice::from_ref(backend),
    )
}

/// The records, each with its history.
fn raced(plan: RunPlan, backend: Backend) -> Vec<(TrialRecord, Vec<Event>)> {
    raced_by(plan, backend, None, Arc::default())
}

/// The same, by as many generators as the plan has, each on a thread of its own and with nothing in common but
/// the store and the control of generator 0.
fn raced_by(
    plan: RunPlan,
    backend: Backend,
    lock: Option<LockServer>,
    control: Arc<Control>,
) -> Vec<(TrialRecord, Vec<Event>)> {
    let folder = tempfile::tempdir().unwrap();
    let records = std::cell::RefCell::new(Vec::new());
    let generators = plan.spec.generators.replicas as usize;
    let address = control::serve(Arc::clone(&control), ([127, 0, 0, 1], 0).into()).unwrap();
    let run = |index: usize| {
        let (sender, stop) = watch::channel(false);
        let run = Run {
            plan: plan.clone(),
            backends: vec![backend.clone()],
            lock: lock.clone(),
            traces: Default::default(),
            store: Store::Folder(folder.path().into()),
            index,
            generators,
            node: String::new(),
            control: if index == 0 {
                Arc::clone(&control)
            } else {
                Arc::default()
            },
            stop,
        };
        (run, sender)
    };
    std::thread::scope(|scope| {
        for index in 1..generators {
            let (mut follower, sender) = run(index);
            scope.spawn(move || {
                let follow = Follower {
                    url: format!("http://{address}"),
                    index,
                    patience: Duration::from_secs(120),
                };
                runtime().block_on(follower.follow(&follow)).unwrap();
                drop(sender);
            });
        }
        let (mut leader, _sender) = run(0);
        runtime()
            .block_on(leader.lead(&|record| records.borrow_mut().push(record.clone())))
            .unwrap();
    });
    records
        .into_inner()
        .into_iter()
        .map(|record| {
            let path = folder.path().join(format!(
                "trials/{}/{}/history.jsonl.gz",
                record.trial.id, record.attempt
            ));
            let mut text = String::new();
            if let Ok(file) = std::fs::File::open(&path) {
                flate2::read::GzDecoder::new(file)
                    .read_to_string(&mut text)
                    .unwrap();
            }
            let history = text
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            (record, history)
        })
        .collect()
}

/// What became of each trial, for a test that counts them.
fn verdicts(ran: &[(TrialRecord, Vec<Event>)]) -> String {
    let line = |(record, _): &(TrialRecord, Vec<Event>)| {
        format!(
            "{} {:?}",
            record.trial.cell["mode"].as_str(),
            record.verdict
        )
    };
    ran.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Whether the trials of a mode, or of all where none is named, each counted more than so many of these.
fn did(ran: &[(TrialRecord, Vec<Event>)], mode: &str, counters: &[(Counter, i64)]) -> bool {
    let named = |record: &&TrialRecord| mode.is_empty() || record.trial.cell["mode"] == mode;
    let records = ran.iter().map(|(record, _)| record);
    records.filter(named).all(|record| {
        let counted = |counter: Counter| record.counters.get(&counter).copied().unwrap_or(0);
        counters
            .iter()
            .all(|&(counter, more)| counted(counter) > more)
    })
}

/// Whether each control, which races without the guard, was caught.
fn caught(ran: &[(TrialRecord, Vec<Event>)]) -> bool {
    let control = |record: &&TrialRecord| record.trial.cell["mode"] != "Guarded";
    let records = ran.iter().map(|(record, _)| record);
    records
        .filter(control)
        .all(|record| !violations(record).is_empty())
}

/// Whether each trial made more than so many steps, and as many events twice.
fn busy(ran: &[(TrialRecord, Vec<Event>)], steps: i64) -> bool {
    let long = |(_, history): &(TrialRecord, Vec<Event>)| history.len() as i64 > 2 * steps;
    did(ran, "", &[(Counter::Steps, steps)]) && ran.iter().all(long)
}

fn violations(record: &TrialRecord) -> Vec<String> {
    record
        .checks
        .iter()
        .filter(|check| check.violations > 0)
        .map(|check| format!("{} {}: {:?}", check.name, check.violations, check.examples))
        .collect()
}

fn backend(server: &Postgres) -> Backend {
    Backend::new(server.resolved("pg"), support::credentials()).unwrap()
}

#[test]
fn the_guard_holds_under_faults_and_each_control_is_caught() {
    let server = Postgres::start(&["synchronous_commit=off"]);
    let on = backend(&server);
    let race = json!({
        "writers": 6, "runs": 2, "transitionsPerRun": 6, "leaseMilliseconds": 100,
        "faults": {"killConnectionsPerMinute": 120, "deleteLocksPerMinute": 300, "pauseWriterMilliseconds": 300}});
    let ran = runner::given_time(
        12,
        |window| raced(plan(race.clone(), window, &on), on.clone()),
        |ran| {
            caught(ran)
                && busy(ran, 100)
                && did(
                    ran,
                    "",
                    &[(Counter::ConnectionsKilled, 3), (Counter::WritersPaused, 3)],
                )
                && did(
                    ran,
                    "Guarded",
                    &[(Counter::ContendedSteps, 50), (Counter::LocksExpired, 0)],
                )
        },
    );
    assert_eq!(ran.len(), 4, "{}", verdicts(&ran));
    for (record, history) in &ran {
        let mode = record.trial.cell["mode"].as_str();
        assert_eq!(record.verdict, Verdict::Valid, "{mode}");
        let counter = |counter: Counter| record.counters[&counter];
        assert!(
            counter(Counter::Steps) > 100,
            "{mode}: {:?}",
            record.counters
        );
        assert!(
            counter(Counter::ConnectionsKilled) > 3,
            "{mode}: {:?}",
            record.counters
        );
        assert!(
            counter(Counter::WritersPaused) > 3,
            "{mode}: {:?}",
            record.counters
        );
        assert!(history.len() > 200, "{mode}");
        // What is kept is what was checked.
        assert_eq!(cas_history::check(history).checks, record.checks, "{mode}");
        let found = violations(record);
        if mode == "Guarded" {
            assert_eq!(found, Vec::<String>::new());
            assert!(
                counter(Counter::ContendedSteps) > 50,
                "{:?}",
                record.counters
            );
            assert!(counter(Counter::LocksExpired) > 0, "{:?}", record.counters);
            for check in &record.checks {
                assert!(check.checked > check.uncertain, "{check:?}");
            }

            assert_eq!(read_back(history), 2, "each run is read back");
        } else {
            assert!(!found.is_empty(), "{mode} was not caught");
        }
    }
}

#[test]
fn a_killed_connection_leaves_an_unknown_outcome() {
    let server = Postgres::start(&["synchronous_commit=off"]);
    let on = backend(&server);
    let race = json!({
        "writers": 4, "runs": 2, "modes": ["Guarded"],
        "faults": {"killConnectionsPerMinute": 600, "deleteLocksPerMinute": 0, "pauseWriterMilliseconds": 0}});
    let ran = runner::given_time(
        6,
        |window| raced(plan(race.clone(), window, &on), on.clone()),
        |ran| did(ran, "", &[(Counter::UnknownOutcomes, 0)]),
    );
    let (record, history) = &ran[0];
    assert_eq!(violations(record), Vec::<String>::new());
    let unknown = history
        .iter()
        .filter(|event| {
            matches!(
                event,
                Event::Insert {
                    outcome: Outcome::Unknown,
                    ..
                } | Event::Cas {
                    outcome: Outcome::Unknown,
                    ..
                } | Event::Delete {
                    outcome: Outcome::Unknown,
                    ..
                }
            )
        })
        .count();
    assert!(unknown > 0, "{:?}", record.counters);
    assert_eq!(record.counters[&Counter::UnknownOutcomes], unknown as i64);
    assert_eq!(record.counters[&Counter::WritersPaused], 0);
    assert!(
        record.load.failed > 0 && record.load.completed > 0,
        "{:?}",
        record.load
    );
}

#[test]
fn a_server_killed_in_the_middle_is_survived() {
    let server = Postgres::start(&[]);
    let on = backend(&server);
    let race = json!({"writers": 4, "runs": 2, "modes": ["Guarded"]});
    let mut plan = plan(race, 8, &on);
    plan.spec.trials.warmup_seconds = 0;
    let pid = server.pid();
    let again = server.again();
    let control = Arc::new(Control::default());
    let shown = Arc::clone(&control);
    let ran = std::thread::scope(|scope| {
        scope.spawn(move || {
            // In the midst of the window, whatever went before it.
            runner::under_way(&shown, 0, 100);
            support::postgres::kill(pid);
        });
        let restarter = scope.spawn(move || again.when_gone(pid));
        let ran = raced_by(plan, on, None, control);
        drop(restarter.join().unwrap());
        ran
    });
    // The trial in which it was killed is void and kept, another one took its place.
    assert_eq!(ran.len(), 2, "{}", verdicts(&ran));
    let (void, history) = &ran[0];
    let Verdict::Invalid(reasons) = &void.verdict else {
        panic!("the kill went unseen: {:?}", void.counters)
    };
    assert!(
        reasons
            .iter()
            .any(|reason| reason.code == InvalidCode::BackendRestarted),
        "{reasons:?}"
    );
    assert!(void.load.failed > 0, "{:?}", void.load);
    // What it had acknowledged is still there, for it flushes before it answers.
    assert_eq!(violations(void), Vec::<String>::new());

    assert_eq!(
        read_back(history),
        2,
        "read back from the server that came again"
    );
    assert_eq!(ran[1].0.verdict, Verdict::Valid);
    assert_eq!(violations(&ran[1].0), Vec::<String>::new());
}

/// How many runs were read back when the writers were at rest.
fn read_back(history: &[Event]) -> usize {
    let is_read_back = |event: &&Event| {
        matches!(
            event,
            Event::Read {
                read_back: true,
                ..
            }
        )
    };
    history.iter().filter(is_read_back).count()
}

#[test]
fn a_lock_in_redis_excludes_until_it_runs_out_or_is_deleted() {
    let redis = Redis::start();
    runtime().block_on(async {
        let server = redis.server();
        probe::wait_lock("lock", &server, Duration::from_secs(60))
            .await
            .unwrap();
        assert!(server.version().await.unwrap().starts_with("7."));
        let (mut first, mut second) = (
            server.connect().await.unwrap(),
            server.connect().await.unwrap(),
        );
        // While it lasts, one; once it has run out, another.
        assert!(first.take("a", 1, 60_000).await.unwrap());
        assert!(!second.take("a", 2, 200).await.unwrap());
        assert!(first.let_go("a", 1).await.unwrap());
        assert!(first.take("a", 1, 200).await.unwrap());
        while !second.take("a", 2, 60_000).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The first one no longer holds it and must not take it away from the second.
        assert!(!first.let_go("a", 1).await.unwrap());
        assert!(!first.take("a", 3, 200).await.unwrap());
        // Deleted, it lets another in while its holder knows nothing of it.
        assert_eq!(first.delete("a").await.unwrap(), 1);
        assert_eq!(first.delete("a").await.unwrap(), 0);
        assert!(first.take("a", 4, 60_000).await.unwrap());
        assert!(!second.let_go("a", 2).await.unwrap());
        assert!(first.let_go("a", 4).await.unwrap());
        assert!(second.take("a", 5, 200).await.unwrap());

        let mut stranger = support::credentials();
        stranger.secret = "wrong".into();
        let refused = redis.server_with(&stranger);
        let error = probe::wait_lock("lock", &refused, Duration::from_secs(60))
            .await
            .unwrap_err();
        assert_eq!(error.reason(), "EndpointUnauthorized", "{error}");
    });
}

#[test]
fn with_its_locks_in_redis_the_guard_holds_and_the_lock_alone_is_caught() {
    let server = Postgres::start(&["synchronous_commit=off"]);
    let redis = Redis::start();
    let on = backend(&server);
    let race = json!({
        "writers": 6, "runs": 2, "transitionsPerRun": 6, "leaseMilliseconds": 100,
        "modes": ["Guarded", "LockOnly"], "lock": {"redis": {"version": "7.0.15"}},
        "faults": {"killConnectionsPerMinute": 60, "deleteLocksPerMinute": 600, "pauseWriterMilliseconds": 300}});
    const FAULTS: [Counter; 4] = [
        Counter::LocksExpired,
        Counter::LocksDeleted,
        Counter::ConnectionsKilled,
        Counter::WritersPaused,
    ];
    let ran = runner::given_time(
        10,
        |window| {
            let plan = plan(race.clone(), window, &on);
            raced_by(plan, on.clone(), Some(redis.server()), Arc::default())
        },
        |ran| caught(ran) && busy(ran, 100) && did(ran, "", &FAULTS.map(|fault| (fault, 0))),
    );
    assert_eq!(ran.len(), 2, "{}", verdicts(&ran));
    for (record, history) in &ran {
        let mode = record.trial.cell["mode"].as_str();
        assert_eq!(record.verdict, Verdict::Valid, "{mode}");
        for count in FAULTS {
            assert!(record.counters[&count] > 0, "{mode}: {:?}", record.counters);
        }
        assert!(
            record.counters[&Counter::Steps] > 100,
            "{mode}: {:?}",
            record.counters
        );
        assert!(history.len() > 200, "{mode}");
        let found = violations(record);
        if mode == "Guarded" {
            assert_eq!(found, Vec::<String>::new());
        } else {
            assert!(!found.is_empty(), "{mode} was not caught");
        }
    }
}

#[test]
fn a_race_for_locks_in_redis_says_what_it_lacks() {
    let server = Postgres::start(&[]);
    let on = backend(&server);
    let race =
        json!({"writers": 2, "modes": ["Guarded"], "lock": {"redis": {"version": "7.0.15"}}});
    let mut plan = plan(race, 1, &on);
    plan.spec.validity.repeat_budget = 0;
    let ran = raced(plan, on);
    let Verdict::Invalid(reasons) = &ran[0].0.verdict else {
        panic!("it ran without a lock");
    };
    assert_eq!(reasons[0].code, InvalidCode::PreparationFailed);
    assert!(reasons[0].detail.contains("--lock redis://host:port"));
}

/// Which of two generators won steps of which runs: odd writers are those of generator 0.
fn won(history: &[Event]) -> std::collections::BTreeSet<(u32, u64)> {
    let won = history.iter().filter_map(|event| match event {
        Event::Cas {
            writer,
            run,
            outcome: Outcome::Ok,
            ..
        } => Some((writer % 2, *run)),
        _ => None,
    });
    won.collect()
}

#[test]
fn two_generators_race_for_the_same_runs_and_are_checked_as_one() {
    let server = Postgres::start(&["synchronous_commit=off"]);
    let on = backend(&server);
    let race = json!({
        "writers": 6, "runs": 2, "transitionsPerRun": 6, "leaseMilliseconds": 100,
        "faults": {"killConnectionsPerMinute": 60, "deleteLocksPerMinute": 300, "pauseWriterMilliseconds": 300}});
    let ran = runner::given_time(
        8,
        |window| {
            let mut plan = plan(race.clone(), window, &on);
            plan.spec.generators.replicas = 2;
            raced(plan, on.clone())
        },
        |ran| {
            caught(ran)
                && busy(ran, 100)
                && did(ran, "Guarded", &[(Counter::ContendedSteps, 20)])
                && ran.iter().all(|(_, history)| won(history).len() == 4)
        },
    );
    assert_eq!(ran.len(), 4, "{}", verdicts(&ran));
    for (record, history) in &ran {
        let mode = record.trial.cell["mode"].as_str();
        assert_eq!(record.verdict, Verdict::Valid, "{mode}");
        assert_eq!(record.generators.len(), 2);
        // Both won steps of both runs.
        let won = won(history);
        assert_eq!(won.len(), 4, "{mode}: {won:?}");
        let mut values = std::collections::BTreeSet::new();
        for event in history {
            if let Event::Cas {
                outcome: Outcome::Ok,
                value,
                ..
            } = event
            {
                assert!(
                    values.insert(*value),
                    "{mode}: value {value} was given twice"
                );
            }
        }
        assert_eq!(cas_history::check(history).checks, record.checks, "{mode}");
        let found = violations(record);
        if mode == "Guarded" {
            assert_eq!(found, Vec::<String>::new());
            let counter = |counter: Counter| record.counters[&counter];
            assert!(
                counter(Counter::ContendedSteps) > 20,
                "{:?}",
                record.counters
            );
            for check in &record.checks {
                assert!(check.checked > check.uncertain, "{check:?}");
            }

            assert_eq!(
                read_back(history),
                2,
                "each run is read back once, by one of them"
            );
        } else {
            assert!(!found.is_empty(), "{mode} was not caught");
        }
        for file in ["history-1.jsonl.gz", "part-1.json", "history.jsonl.gz"] {
            assert!(record.files.iter().any(|name| name == file), "{file}");
        }
    }
}
