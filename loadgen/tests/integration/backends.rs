//! The load generator against real MinIO and SeaweedFS processes, and every check against a
//! planted fault. Needs BAKEOFF_MINIO and BAKEOFF_WEED.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::support;
use crate::support::fault_proxy::{self, Fault};
use crate::support::{runner, runtime};
use bakeoff_crds::capacity::CapacityRecord;
use bakeoff_crds::result::{FindingCode, InvalidCode, TrialRecord, Verdict};
use bakeoff_crds::run::RunPlan;
use bakeoff_crds::status::TrialCounts;
use bakeoff_loadgen::instrument::record::decode;
use bakeoff_loadgen::report::report;
use bakeoff_loadgen::run::control::{self, Control, Follower};
use bakeoff_loadgen::run::standalone;
use bakeoff_loadgen::run::{Backend, Run, RunError};
use bakeoff_loadgen::store::{self, Store};
use tokio::sync::watch;

const TICK: Duration = Duration::from_millis(20);

fn plan(workloads: &str, backends: &[Backend]) -> RunPlan {
    let names: Vec<&str> = backends
        .iter()
        .map(|backend| backend.resolved.name.as_str())
        .collect();
    let text = format!("{workloads}\ntrials: {{blocks: 1, warmupSeconds: 0, windowSeconds: 2}}\n");
    let spec = standalone::spec("test", &text, &names).unwrap();
    runner::run_plan(spec, backends)
}

fn run(
    plan: RunPlan,
    backends: Vec<Backend>,
    store: Store,
    index: usize,
    generators: usize,
) -> (Run, watch::Sender<bool>) {
    let (sender, stop) = watch::channel(false);
    let control = Arc::new(Control::default());
    (
        Run {
            plan,
            backends,
            lock: None,
            traces: Default::default(),
            store,
            index,
            generators,
            node: String::new(),
            control,
            stop,
        },
        sender,
    )
}

pub(crate) async fn measured(workloads: &str, backends: Vec<Backend>) -> Vec<TrialRecord> {
    ran(plan(workloads, &backends), backends).await
}

async fn ran(plan: RunPlan, backends: Vec<Backend>) -> Vec<TrialRecord> {
    let folder = tempfile::tempdir().unwrap();
    let records = std::cell::RefCell::new(Vec::new());
    let (mut run, _stop) = run(plan, backends, Store::Folder(folder.path().into()), 0, 1);
    run.lead(&|record| records.borrow_mut().push(record.clone()))
        .await
        .unwrap();
    records.into_inner()
}

pub fn violations(records: &[TrialRecord]) -> BTreeMap<String, i64> {
    let mut found = BTreeMap::new();
    for check in records
        .iter()
        .flat_map(|record| &record.checks)
        .filter(|check| check.violations > 0)
    {
        *found.entry(check.name.clone()).or_default() += check.violations;
    }
    found
}

pub const ALL: &str = "workloads:
- {name: put, smallObjectPut: {objectSize: [4Ki], prefixes: 10, load: {closed: {concurrency: [4]}}}}
- {name: rate, smallObjectPut: {objectSize: [1Ki], prefixes: 10, load: {open: {ratePerSecond: [100]}}}}
- {name: read, coldRead: {objectsPerRun: [30], modes: [ListPrefix, StartAfter, TokenPaging], pageSize: 7}}
- {name: check, consistency: {writers: 3, listers: 2, operations: 300, keyShapes: [Flat, Unicode]}}
- {name: batch, batching: {snapshotsPerObject: [5], arrivalsPerSecond: [100]}}
";

const CHECK: &str = "workloads:
- {name: check, consistency: {writers: 3, listers: 2, operations: 200, pageSizes: [5, 100], keyShapes: [Flat]}}
";

#[test]
fn every_workload_runs_on_both_and_finds_nothing_wrong() {
    let (minio, weed) = (support::minio(), support::seaweedfs());
    runtime().block_on(async {
        let backends = vec![
            support::backend("minio", &minio.endpoint, Some(&minio.metrics)).await,
            support::backend("weed", &weed.endpoint, Some(&weed.metrics)).await,
        ];
        let records = measured(ALL, backends.clone()).await;
        let found: Vec<_> = records.iter().map(|record| &record.findings).collect();
        assert_eq!(records.len(), 2 * 7, "{found:?}");
        for record in &records {
            assert_eq!(
                record.verdict,
                Verdict::Valid,
                "{}",
                record.trial.describe()
            );
            let load = &record.load;
            assert!(
                load.completed > 0 && load.failed == 0,
                "{}: {load:?}",
                record.trial.describe()
            );
            assert_eq!(
                load.planned,
                load.completed + load.failed + load.unfinished + load.not_started
            );
            assert!(record.backend.is_some(), "{}", record.trial.describe());
        }
        assert_eq!(violations(&records), BTreeMap::new());
        // The trials removed what they wrote; only the data that cold reads share is left.
        for backend in &backends {
            let at = &backend.resolved;
            let client = store::client(&at.endpoint, &at.region, true, &support::credentials());
            assert_eq!(
                store::remove_all(&client, &at.bucket, "bakeoff/test/t/")
                    .await
                    .unwrap(),
                0
            );
        }
    });
}

/// A read that began in the warm-up and takes five seconds would leave a window of two without any.
#[test]
fn a_read_that_is_longer_than_the_window_is_measured() {
    let minio = support::minio();
    let slow = "workloads:\n- {name: read, coldRead: {objectsPerRun: [100], modes: [ListPrefix], getConcurrency: 1}}\n";
    runtime().block_on(async {
        support::backend("minio", &minio.endpoint, None).await;
        let delay = Fault::Delay(Duration::from_millis(50));
        let proxy = fault_proxy::start(&minio.endpoint, delay).await;
        let backend = support::backend("proxied", &proxy, None).await;
        let mut plan = plan(slow, std::slice::from_ref(&backend));
        plan.spec.trials.warmup_seconds = 1;
        let records = ran(plan, vec![backend]).await;
        let [record] = &records[..] else {
            panic!("{} trials", records.len())
        };
        assert_eq!(record.verdict, Verdict::Valid);
        let count = |kind: &str| record.operations[kind].count;
        assert_eq!((count("read"), count("list"), count("get")), (1, 1, 100));
        assert!(record.window.micros < 5_000_000, "{:?}", record.window);
        assert_eq!(violations(&records), BTreeMap::new());
    });
}

/// Many objects are listed and not read, and are counted once: before each trial that would take as long as what is measured.
#[test]
fn a_run_of_many_objects_is_listed_alone_and_written_once() {
    let minio = support::minio();
    let many = "workloads:\n- {name: list, coldRead: {objectsPerRun: [10000], modes: [ListPrefix], objectSize: 1Ki, gets: false}}\n";
    runtime().block_on(async {
        let backend = support::backend("minio", &minio.endpoint, None).await;
        let records = measured(many, vec![backend.clone()]).await;
        let operations = &records[0].operations;
        let count = |kind: &str| operations.get(kind).map_or(0, |operation| operation.count);
        assert!(
            count("read") > 0 && count("listPage") >= 10 * count("list"),
            "{operations:?}"
        );
        assert_eq!(count("get"), 0);
        assert_eq!(violations(&records), BTreeMap::new());
        // What is lost afterwards is not written again: the trial finds it.
        let at = &backend.resolved;
        let client = store::client(&at.endpoint, &at.region, true, &support::credentials());
        let lost = format!("{}d/list/10000/run-000/00004321", backend.prefix());
        let delete = client.delete_object().bucket(&at.bucket).key(lost);
        delete.send().await.unwrap();
        let records = measured(many, vec![backend]).await;
        let found = violations(&records);
        assert!(found["listMisses"] > 0 && found.len() == 1, "{found:?}");
    });
}

/// The negative control: a checker that never failed proves nothing.
#[test]
fn each_planted_fault_is_found_and_nothing_else_without_one() {
    let minio = support::minio();
    let found = |fault| {
        runtime().block_on(async {
            support::backend("minio", &minio.endpoint, None).await;
            let proxy = fault_proxy::start(&minio.endpoint, fault).await;
            let backend = support::backend("proxied", &proxy, None).await;
            violations(&measured(CHECK, vec![backend]).await)
        })
    };
    assert_eq!(found(Fault::None), BTreeMap::new());
    for (fault, names) in [
        (
            Fault::DropKey,
            &["listMisses", "lostWrites", "tailGaps"][..],
        ),
        (Fault::DuplicateKey, &["pageDuplicates"]),
        (Fault::SwapKeys, &["orderViolations"]),
        (Fault::StaleGet, &["staleReads"]),
        (Fault::MissingGet, &["readAfterWriteMisses"]),
        (Fault::Resurrect, &["resurrectedDeletes"]),
        (Fault::TornGet, &["tornObjects"]),
    ] {
        let found = found(fault);
        for name in names {
            assert!(
                found.contains_key(*name),
                "{fault:?} shows as {found:?}, not as {name}"
            );
        }
    }
    // A write that took effect though its answer was an error is uncertain, not a violation.
    assert_eq!(found(Fault::LieAboutPut), BTreeMap::new());
}

#[test]
fn a_delay_shows_in_the_latency() {
    let weed = support::seaweedfs();
    runtime().block_on(async {
        support::backend("weed", &weed.endpoint, None).await;
        let proxy =
            fault_proxy::start(&weed.endpoint, Fault::Delay(Duration::from_millis(40))).await;
        let backend = support::backend("slow", &proxy, None).await;
        let workload = "workloads:\n- {name: put, smallObjectPut: {objectSize: [1Ki], prefixes: 1, \
                        load: {closed: {concurrency: [2]}}}}\n";
        let records = measured(workload, vec![backend]).await;
        let put = &records[0].operations["put"];
        let p50 = decode(&put.response).unwrap().value_at_quantile(0.5);
        assert!(p50 >= 40_000, "p50 {p50} µs");
    });
}

/// What a clock that starts at the send would hide: with two slots only two operations of each
/// stall are sent while it lasts, but a fifth of all were due then.
#[test]
fn a_stall_every_second_shows_in_the_response_and_not_in_the_service() {
    let weed = support::seaweedfs();
    runtime().block_on(async {
        support::backend("weed", &weed.endpoint, None).await;
        let proxy = fault_proxy::start(&weed.endpoint, Fault::Stall).await;
        let backend = support::backend("stalling", &proxy, None).await;
        let workload = "workloads:\n- {name: put, smallObjectPut: {objectSize: [1Ki], prefixes: 1, \
                        load: {open: {ratePerSecond: [100], arrivals: Constant, maxInFlight: 2}}}}\n";
        let records = measured(workload, vec![backend]).await;
        let (record, put) = (&records[0], &records[0].operations["put"]);
        // The share of operations that took a good part of a stall. A busy machine adds to both, so they are
        // compared with each other and not with a clock.
        let slow = |encoded| {
            let histogram = decode(encoded).unwrap();
            histogram.count_between(80_000, u64::MAX) as f64 / histogram.len() as f64
        };
        let (response, service) = (slow(&put.response), slow(&put.service));
        assert!(response >= 0.1, "{response} of the responses saw a stall");
        assert!(
            response >= 2.0 * service,
            "{response} of the responses saw a stall, {service} of the services"
        );
        // The line for the two slots is the backend's doing and voids nothing.
        assert_eq!(record.verdict, Verdict::Valid);
        assert!(put.queued >= 20, "{}", put.queued);
        assert_eq!(record.load.not_started, 0);
    });
}

/// A backend that fails is measured as one: no repetition until it looks well.
#[test]
fn errors_are_a_result_and_not_a_reason_to_repeat() {
    let weed = support::seaweedfs();
    runtime().block_on(async {
        support::backend("weed", &weed.endpoint, None).await;
        let proxy = fault_proxy::start(&weed.endpoint, Fault::LieAboutPut).await;
        let backend = support::backend("failing", &proxy, None).await;
        let workload = "workloads:\n- {name: put, smallObjectPut: {objectSize: [1Ki], prefixes: 1, \
                        load: {closed: {concurrency: [2]}}}}\n";
        let records = measured(workload, vec![backend]).await;
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].verdict, Verdict::Valid);
        let codes: Vec<FindingCode> = records[0].findings.iter().map(|one| one.code).collect();
        assert_eq!(codes, [FindingCode::Failing]);
        let baseline = records[0].baseline.unwrap();
        assert!(baseline.operations > 0 && baseline.cpu_micros_per_operation > 0.0);
    });
}

#[test]
fn every_backend_is_measured_at_shares_of_the_weakest_and_a_resumed_run_at_the_same() {
    let weed = support::seaweedfs();
    let folder = tempfile::tempdir().unwrap();
    let workload = "workloads:\n- {name: put, smallObjectPut: {objectSize: [1Ki], prefixes: 1, load: {capacity: \
                    {start: 25, growthPercent: 100, stepSeconds: 3, p99Milliseconds: 1000, maxRatePerSecond: 400, \
                    percentOfWeakest: [50], arrivals: Constant, maxInFlight: 4}}}}\n";
    runtime().block_on(async {
        let fast = support::backend("fast", &weed.endpoint, None).await;
        // Four slots of 40 ms each sustain at most 100 a second: at twice the rate the last of three seconds wait for three,
        // and a machine that is busy for less than a second breaks nothing.
        let delay = Fault::Delay(Duration::from_millis(40));
        let proxy = fault_proxy::start(&weed.endpoint, delay).await;
        let slow = support::backend("slow", &proxy, None).await;
        let backends = vec![fast, slow];
        let plan = plan(workload, &backends);
        let store = Store::Folder(folder.path().into());
        let offered = std::cell::RefCell::new(Vec::new());
        let note = |record: &TrialRecord| {
            assert_eq!(record.trial.cell["capacityPercent"], "50");
            offered.borrow_mut().push(record.load.offered_per_second);
        };
        let (mut first, _stop) = run(plan.clone(), backends.clone(), store.clone(), 0, 1);
        first.lead(&note).await.unwrap();
        let read = |name: &str| -> CapacityRecord {
            let path = folder.path().join("capacity").join(name);
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
        };
        let (fast, slow) = (read("put-c00-fast.json"), read("put-c00-slow.json"));
        // What comes above the 100 a second waits: (r / 100 - 1) of three seconds at the end, which is the objective at 133.
        assert!(
            slow.sustained_per_second >= 25.0 && slow.sustained_per_second < 134.0,
            "{slow:?}"
        );
        // Of whichever was weaker: a machine that stops for a moment breaks a step of the fast one as well.
        let rate = fast.sustained_per_second.min(slow.sustained_per_second) / 2.0;
        assert_eq!(*offered.borrow(), [rate, rate]);

        // The trials are lost, the search is kept: no step more, the same rates.
        std::fs::remove_dir_all(folder.path().join("trials")).unwrap();
        offered.borrow_mut().clear();
        let steps =
            || std::fs::read_dir(folder.path().join("capacity/steps/put-c00-slow")).unwrap();
        let before = steps().count();
        let (mut second, _stop) = run(plan, backends, store.clone(), 0, 1);
        second.lead(&note).await.unwrap();
        assert_eq!(*offered.borrow(), [rate, rate]);
        assert_eq!((steps().count(), slow.steps.len()), (before, before));

        let said = report(&store, None, false, None).await.unwrap();
        let sustained: Vec<_> = said
            .summary
            .measured
            .capacities
            .iter()
            .map(|found| (found.backend.as_str(), found.sustained_per_second))
            .collect();
        let expected = [
            ("fast", fast.sustained_per_second),
            ("slow", slow.sustained_per_second),
        ];
        assert_eq!(sustained, expected);
        assert!(said.markdown.contains("Highest sustained rate"));
        let index = std::fs::read_to_string(folder.path().join("index.json")).unwrap();
        for file in [
            "capacity/put-c00-slow.json",
            "capacity/steps/put-c00-slow/1/",
        ] {
            assert!(index.contains(file), "the index lacks {file}");
        }
    });
}

/// A run whose server is killed and started again in the first trial, and that is told to stop in the second.
struct Disturbed {
    plan: RunPlan,
    backend: Backend,
    folder: tempfile::TempDir,
    ended: Result<(), RunError>,
    first: Verdict,
    // Ends with it.
    _minio: support::Server,
}

fn disturbed(window: i32) -> Disturbed {
    let mut minio = support::minio();
    let folder = tempfile::tempdir().unwrap();
    let workload = "workloads:\n- {name: put, smallObjectPut: {objectSize: [1Ki], prefixes: 1, \
                    load: {closed: {concurrency: [1, 2, 3]}}}}\n";
    runtime().block_on(async {
        let backend = support::backend("minio", &minio.endpoint, Some(&minio.metrics)).await;
        let store = Store::Folder(folder.path().into());
        let mut plan = plan(workload, std::slice::from_ref(&backend));
        // The failures of a restart are not what is tested.
        plan.spec.validity.max_failed_per_mille = 1_000;
        plan.spec.trials.window_seconds = window;
        let (mut first, stop) = run(plan.clone(), vec![backend.clone()], store, 0, 1);
        let records = std::cell::RefCell::new(Vec::new());
        let control = Arc::clone(&first.control);
        let ended = {
            let note = |record: &TrialRecord| records.borrow_mut().push(record.clone());
            let lead = first.lead(&note);
            let disturb = async {
                let ended = |live: (u64, u64)| live.0 + live.1;
                while ended(control.live().read()) < 10 {
                    tokio::time::sleep(TICK).await;
                }
                minio.restart();
                while records.borrow().is_empty() {
                    tokio::time::sleep(TICK).await;
                }
                // The next trial is under way.
                let before = ended(control.live().read());
                while ended(control.live().read()) < before + 10 {
                    tokio::time::sleep(TICK).await;
                }
                stop.send(true).unwrap();
            };
            tokio::join!(lead, disturb).0
        };
        let first = records.borrow()[0].verdict.clone();
        Disturbed {
            plan,
            backend,
            folder,
            ended: ended.map(drop),
            first,
            _minio: minio,
        }
    })
}

#[test]
fn a_restart_voids_the_trial_and_a_stopped_run_resumes() {
    let voided = |verdict: &Verdict, by: InvalidCode| match verdict {
        Verdict::Valid => false,
        Verdict::Invalid(reasons) => reasons.iter().any(|reason| reason.code == by),
    };
    // A server that is not back when its window ends is seen to be away, and not yet to be another one.
    let away = |ran: &Disturbed| voided(&ran.first, InvalidCode::BackendUnavailable);
    let ran = runner::given_time(4, disturbed, |ran| !away(ran));
    assert!(
        matches!(ran.ended, Err(RunError::Stopped)),
        "{:?}",
        ran.ended
    );
    assert!(
        voided(&ran.first, InvalidCode::BackendRestarted),
        "{:?}",
        ran.first
    );

    let (plan, backend) = (ran.plan.clone(), ran.backend.clone());
    let store = Store::Folder(ran.folder.path().into());
    runtime().block_on(async {
        let (mut second, _stop) = run(plan, vec![backend], store.clone(), 0, 1);
        let counts = second.lead(&|_| ()).await.unwrap();
        assert_eq!((counts.planned, counts.done), (3, 3));
        // The report says that somebody wanted it so.
        let said = report(&store, None, false, None)
            .await
            .unwrap()
            .summary
            .measured
            .excluded;
        let interrupted = said
            .iter()
            .find(|excluded| excluded.codes == ["Interrupted"])
            .unwrap();
        assert!(
            interrupted.details[0].contains("told to stop"),
            "{interrupted:?}"
        );
        assert_eq!(
            (counts.invalid, counts.repeated, counts.interrupted),
            (1, 1, 1),
            "{counts:?}"
        );
    });
}

#[test]
fn two_generators_start_together_and_are_merged() {
    let weed = support::seaweedfs();
    // Both measured over most of the common window. How late a thread gets a processor after the agreed instant is the
    // machine's affair, up to hundreds of milliseconds where other tests run beside this one, so half of the window is a
    // bound and no measure of precision. That both mean the same instant, to within the error of the exchange, is judged
    // by `run::control::tests::generators_meet_at_one_instant`.
    let together = |(window, _, records): &(i32, TrialCounts, Vec<TrialRecord>)| {
        let most = i64::from(*window) * 500_000;
        let generators = records.iter().flat_map(|record| &record.generators);
        generators
            .map(|one| one.start_skew_micros)
            .all(|skew| skew < most)
    };
    let ran = runner::given_time(2, |window| of_two_generators(&weed, window), together);
    assert!(together(&ran));
    let (window, counts, records) = ran;
    assert_eq!((counts.done, counts.invalid), (2, 0));
    let rate = records
        .iter()
        .find(|record| record.trial.workload == "rate")
        .unwrap();
    assert_eq!(rate.generators.len(), 2);
    assert_eq!(
        (rate.load.planned, rate.load.offered_per_second),
        (i64::from(100 * window), 100.0)
    );
    assert_eq!(rate.operations["put"].count, rate.load.completed);
    assert_eq!(
        rate.series.iter().map(|point| point.completed).sum::<i64>(),
        rate.load.completed
    );
}

/// What a leader and a follower measured together, for so many seconds.
fn of_two_generators(weed: &support::Server, window: i32) -> (i32, TrialCounts, Vec<TrialRecord>) {
    let workload = "workloads:\n- {name: rate, smallObjectPut: {objectSize: [1Ki], prefixes: 1, \
                    load: {open: {ratePerSecond: [100], arrivals: Constant}}}}\n\
                    - {name: check, consistency: {writers: 2, listers: 2, operations: 100, keyShapes: [Flat]}}\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let (backend, plan) = runtime().block_on(async {
        let backend = support::backend("weed", &weed.endpoint, None).await;
        let mut plan = plan(workload, std::slice::from_ref(&backend));
        plan.spec.trials.window_seconds = window;
        (backend, plan)
    });
    let (mut leader, _stop) = run(
        plan.clone(),
        vec![backend.clone()],
        Store::Folder(path.clone()),
        0,
        2,
    );
    let address = control::serve(Arc::clone(&leader.control), ([127, 0, 0, 1], 0).into()).unwrap();
    let other = std::thread::spawn(move || {
        let (mut follower, _stop) = run(plan, vec![backend], Store::Folder(path), 1, 2);
        let url = format!("http://{address}");
        let follow = Follower {
            url,
            index: 1,
            patience: Duration::from_secs(120),
        };
        runtime().block_on(follower.follow(&follow)).unwrap();
    });
    let records = std::cell::RefCell::new(Vec::new());
    let counts = runtime()
        .block_on(leader.lead(&|record| records.borrow_mut().push(record.clone())))
        .unwrap();
    other.join().unwrap();
    (window, counts, records.into_inner())
}
