//! The Postgres workloads on a real server. Needs BAKEOFF_POSTGRES, a folder with bin, lib and
//! share that `nobody` can read where the tests are root: a copy of `dev/tools path postgres-18`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::support;
use crate::support::postgres::Postgres;
use crate::support::runner::{Ran, backend, given_time, measured, plan, shown, under_way};
use bakeoff_crds::figure::Figure;
use bakeoff_crds::result::{InvalidCode, TrialRecord, Verdict};
use bakeoff_crds::run::Manifest;
use bakeoff_crds::schedule;
use bakeoff_crds::spec::{HARMLESS_TEXT, REFUSED_SETTINGS};
use bakeoff_loadgen::drivers::postgres::log::Vacuum;
use bakeoff_loadgen::instrument::record::decode;
use bakeoff_loadgen::run::control::Control;
use serde_json::json;

/// By the server's own list, so that a setting of a later version that runs or reads something is not let in by default.
#[test]
fn no_setting_of_the_server_that_is_text_is_left_unjudged() {
    let settings = support::postgres::text_settings();
    assert!(settings.len() > 50, "{settings:?}");
    for name in settings {
        let name = name.as_str();
        let (refused, harmless) = (
            REFUSED_SETTINGS.contains(&name),
            HARMLESS_TEXT.contains(&name),
        );
        assert!(
            refused != harmless,
            "{name}: refused {refused}, harmless {harmless}"
        );
    }
}

#[test]
fn runs_live_and_the_server_says_how() {
    let server = Postgres::start(&[
        "autovacuum_naptime=1s",
        "autovacuum_vacuum_scale_factor=0.01",
        "shared_buffers=64MB",
        "synchronous_commit=off",
    ]);
    let on = backend(&server);
    let workload = json!({"name": "head", "headRow": {
        "activeRuns": [5_000], "fillfactor": [100, 70], "stateBytes": 100,
        "load": {"closed": {"concurrency": [4]}}}});
    // Creations are few among transitions, and autovacuum comes when it comes: time enough for a hundred and for a run of it.
    let enough = |ran: &Ran| {
        let enough = |record: &TrialRecord| {
            let logged = record.figures.get(&Figure::AutovacuumsLogged);
            record.operations["create"].count >= 100 && logged.is_some_and(|&runs| runs >= 1.0)
        };
        ran.records.iter().all(enough)
    };
    let run = |window| {
        let trials =
            json!({"blocks": 1, "warmupSeconds": 1, "windowSeconds": window, "drainSeconds": 5});
        let plan = plan(workload.clone(), trials, &on);
        let scheduled = schedule::trials(&plan.spec).len();
        let ran = measured(plan, on.clone(), &|_| {});
        assert_eq!(ran.records.len(), scheduled);
        ran
    };
    let ran = given_time(5, run, enough);
    let mut hot = BTreeMap::new();
    for record in &ran.records {
        let name = record.trial.describe();
        assert_eq!(record.verdict, Verdict::Valid, "{name}");
        let load = &record.load;
        assert_eq!(
            load.failed, 0,
            "{name}: {:?}",
            record.operations["operation"].failures
        );
        let count = |kind: &str| record.operations[kind].count;
        assert_eq!(count("operation"), load.completed);
        assert_eq!(
            count("create") + count("transition") + count("complete"),
            load.completed
        );
        let each = count("transition") as f64 / count("create").max(1) as f64;
        assert!(
            (8.0..20.0).contains(&each),
            "{name}: {each} transitions for a creation"
        );
        assert!(
            decode(&record.operations["transition"].response)
                .unwrap()
                .len()
                > 100
        );
        assert_eq!(record.checks[0].name, "rowsMissed");
        assert!(record.checks[0].checked >= load.completed);
        assert_eq!(
            record.checks[0].violations, 0,
            "{:?}",
            record.checks[0].examples
        );
        for figure in [
            Figure::HotPercent,
            Figure::TableBloatPercent,
            Figure::BytesPerActiveRun,
            Figure::Autovacuums,
            Figure::DeadPeakPercent,
        ] {
            assert!(
                record.figures.contains_key(&figure),
                "{name} lacks {figure}: {:?}",
                record.figures
            );
        }
        assert!(record.figures[&Figure::BytesPerActiveRun] > 100.0);
        assert!(record.files.contains(&"samples.jsonl".to_owned()));
        // The log tells of the runs that the views count, and more of each; the two are not looked at in one moment.
        let logged = record.figures[&Figure::AutovacuumsLogged];
        let counted = record.figures[&Figure::Autovacuums];
        assert!(
            logged >= 1.0 && (logged - counted).abs() <= 3.0,
            "{name}: {logged} logged, {counted} counted"
        );
        assert!(!record.figures.contains_key(&Figure::ServerLogUnreadBytes));
        let attempt = ran
            .folder
            .path()
            .join("trials")
            .join(&record.trial.id)
            .join(record.attempt.to_string());
        let kept = std::fs::read_to_string(attempt.join("autovacuums.jsonl")).unwrap();
        let kept: Vec<Vacuum> = kept
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(kept.len() as f64, logged);
        // The log has hundredths of a second, and a small table may take less.
        let elapsed: i64 = kept.iter().map(|run| run.elapsed_millis).sum();
        let stated = record.figures[&Figure::AutovacuumLoggedSeconds];
        assert!(
            (stated - elapsed as f64 / 1e3).abs() < 1e-6,
            "{stated} s: {kept:?}"
        );
        assert!(kept.iter().any(|run| run.tuples_removed > 0), "{kept:?}");
        let opened = record.window.start.as_millisecond() - 100;
        let ended = record.ended_at.as_millisecond();
        assert!(
            kept.iter().all(|run| (opened..=ended).contains(&run.at)),
            "{opened} to {ended}: {kept:?}"
        );
        // What the generator itself costs, on a server that answers at once.
        let floor = record.baseline.unwrap();
        assert!(floor.operations > 100 && floor.cpu_micros_per_operation > 0.0);
        hot.insert(
            record.trial.cell["fillfactor"].clone(),
            record.figures[&Figure::HotPercent],
        );
    }
    // Room in the page is what makes an update heap-only.
    assert!(hot["70"] > hot["100"], "{hot:?}");
    let manifest = std::fs::read(ran.folder.path().join("manifest.json")).unwrap();
    let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
    let settings = &manifest.plan.backends[0].settings;
    assert!(settings["server_version"].starts_with("1"), "{settings:?}");
    assert_eq!(settings["data_checksums"], "on");
    assert_eq!(settings["synchronous_commit"], "off");
    // What a reviewer would ask besides: the disk, the client's habits, what "acknowledged" means.
    let class = &manifest.plan.backends[0].durability;
    assert!(
        class.text.contains("synchronous_commit is off"),
        "{class:?}"
    );
    assert_eq!(
        class.class,
        Some(bakeoff_crds::durability::DurabilityClass::PageCache)
    );
    let generator = manifest.generator.unwrap();
    assert!(generator.client["postgres"].contains("sent once"));
    assert!(generator.disk.unwrap().fsync_p50_micros > 0);
}

#[test]
fn runs_per_month_become_a_rate() {
    let server = Postgres::start(&["synchronous_commit=off"]);
    let on = backend(&server);
    // 20 million runs a month are 7.6 a second, and 110 operations a second.
    let workload = json!({"name": "head", "headRow": {
        "activeRuns": [1_000], "fillfactor": [90], "runsPerMonth": [20_000_000], "connections": 4}});
    let trials = json!({"blocks": 1, "warmupSeconds": 0, "windowSeconds": 4, "drainSeconds": 5});
    let ran = measured(plan(workload, trials, &on), on, &|_| {});
    let load = &ran.records[0].load;
    assert!(
        (load.offered_per_second - 110.2).abs() < 0.5,
        "{}",
        load.offered_per_second
    );
    assert!((300..600).contains(&load.planned), "{load:?}");
    assert_eq!(load.completed, load.planned);
    assert!(!ran.records[0].operations["operation"].send_lag.0.is_empty());
}

#[test]
fn a_server_that_was_killed_voids_the_trial_and_it_is_repeated() {
    let server = std::cell::RefCell::new(Postgres::start(&["synchronous_commit=off"]));
    let on = backend(&server.borrow());
    let workload = json!({"name": "head", "headRow": {
        "activeRuns": [1_000], "fillfactor": [90, 80], "load": {"closed": {"concurrency": [2]}}}});
    let trials = json!({"blocks": 1, "warmupSeconds": 0, "windowSeconds": 3, "drainSeconds": 2});
    let plan = plan(workload, trials, &on);
    let control = Arc::new(Control::default());
    let killer = {
        let (pid, control) = (server.borrow().pid(), Arc::clone(&control));
        std::thread::spawn(move || {
            // In the midst of a window, whatever went before it.
            under_way(&control, 0, 100);
            support::postgres::kill(pid);
        })
    };
    // The kubelet's part: whoever finds the server dead starts it again.
    let ran = std::thread::scope(|scope| {
        let restarter = scope.spawn({
            let pid = server.borrow().pid();
            let again = server.borrow().again();
            move || again.when_gone(pid)
        });
        let ran = shown(plan, on, control, &|_| {});
        killer.join().unwrap();
        (ran, restarter.join().unwrap())
    });
    let (ran, _second) = ran;
    let voided: Vec<_> = ran
        .records
        .iter()
        .filter(|record| record.verdict != Verdict::Valid)
        .collect();
    assert_eq!(
        voided.len(),
        1,
        "{:?}",
        ran.records.iter().map(|r| &r.verdict).collect::<Vec<_>>()
    );
    let Verdict::Invalid(reasons) = &voided[0].verdict else {
        unreachable!()
    };
    let codes: Vec<InvalidCode> = reasons.iter().map(|reason| reason.code).collect();
    assert!(
        codes.contains(&InvalidCode::BackendRestarted)
            || codes.contains(&InvalidCode::BackendUnavailable)
            || codes.contains(&InvalidCode::PreparationFailed),
        "{codes:?}"
    );
    assert_eq!(ran.records.len(), 3, "two trials and one repeated");
}
