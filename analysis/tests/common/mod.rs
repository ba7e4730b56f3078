//! Synthetic runs for tests: what a load generator would have written, with known differences.
// Compiled both into the unit tests and into each integration test, none of which uses all of it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use bakeoff_crds::EndReason;
use bakeoff_crds::conformance::{
    Answer, CONFORMANCE_SCHEMA, Check, CheckAnswer, ConformanceRecord,
};
use bakeoff_crds::durability::{Durability, DurabilityClass, Part};
use bakeoff_crds::figure::Counter;
use bakeoff_crds::identity::Identity;
use bakeoff_crds::result::*;
use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::run::*;
use bakeoff_crds::schedule::{self, Trial};
use bakeoff_crds::spec::{Backend, BackendKind, ExperimentSpec, WorkloadKind};
use bakeoff_crds::upkeep::Upkeep;
use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};
use jiff::Timestamp;
use serde_json::json;

/// How a backend behaves, against a base of 1.
#[derive(Clone, Copy)]
pub struct Behaviour {
    pub put_speed: f64,
    pub tail: f64,
    pub list_speed: f64,
    pub violations: i64,
}

pub const PLAIN: Behaviour = Behaviour {
    put_speed: 1.0,
    tail: 1.0,
    list_speed: 1.0,
    violations: 0,
};
pub const QUICK: Behaviour = Behaviour {
    put_speed: 1.45,
    tail: 0.8,
    list_speed: 1.6,
    violations: 0,
};

/// What a preflight found of a backend: what is named here, and else nothing but what S3 does.
pub fn conformance(backend: &str, found: &[(&str, Check, Answer)]) -> ConformanceRecord {
    let checks = Check::ALL.iter().map(|&check| {
        let known = found
            .iter()
            .find(|one| one.0 == backend && one.1 == check)
            .map_or(Answer::Kept, |one| one.2);
        let seen = if known == Answer::Kept { "" } else { "seen so" };
        CheckAnswer {
            check,
            answer: known,
            seen: seen.to_owned(),
        }
    });
    ConformanceRecord {
        schema_version: CONFORMANCE_SCHEMA.to_owned(),
        backend: backend.to_owned(),
        started_at: Timestamp::UNIX_EPOCH,
        millis: 900,
        requests: 450,
        checks: checks.collect(),
        left: String::new(),
    }
}

/// Experiment C as in the design, with `blocks` blocks.
pub fn spec(blocks: i32) -> ExperimentSpec {
    serde_json::from_value(json!({
        "seed": 20261121,
        "backends": [
            {"name": "minio", "minio": {"version": "RELEASE.2025-09-07T16-13-09Z"}},
            {"name": "seaweedfs", "seaweedfs": {"version": "4.48"}}
        ],
        "workloads": [
            {"name": "put", "smallObjectPut": {"objectSize": ["1Ki", "4Ki", "16Ki", "64Ki"], "load": {"closed": {"concurrency": [1, 8, 32]}}}},
            {"name": "cold-read", "coldRead": {"objectsPerRun": [10, 100, 1000, 5000]}},
            {"name": "consistency", "consistency": {"operations": 2000}}
        ],
        "trials": {"blocks": blocks, "warmupSeconds": 5, "windowSeconds": 20},
        "objectives": [
            {"name": "no-lost-list", "expression": "consistency.listMisses == 0"},
            {"name": "put-tail", "expression": "put.p99 < 50000"},
            {"name": "rare-tail", "expression": "coldRead.list.p999 < 100000"}
        ],
        "decision": {"rule": "SmallObjectBackend"}
    }))
    .unwrap()
}

/// The field: one incumbent and four challengers, with what each promises.
pub fn field_spec() -> ExperimentSpec {
    let mut field = spec(8);
    let backends = json!([
        {"name": "minio", "minio": {"version": "RELEASE.2025-09-07T16-13-09Z"}},
        {"name": "seaweedfs", "seaweedfs": {"version": "4.48", "durability": "Flushed"}},
        {"name": "seaweedfs-cached", "seaweedfs": {"version": "4.48"}},
        {"name": "garage", "garage": {"version": "2.5.0", "durability": "FlushedButLastOperation"}},
        {"name": "versitygw", "versitygw": {"version": "1.8.0"}},
    ]);
    field.backends = serde_json::from_value(backends).unwrap();
    let workloads = json!([
        {"name": "put", "smallObjectPut": {"objectSize": ["4Ki", "64Ki"], "load": {"closed": {"concurrency": [8]}}}},
        {"name": "cold-read", "coldRead": {"objectsPerRun": [100, 1000], "modes": ["ListPrefix"]}},
        {"name": "consistency", "consistency": {"operations": 500}},
    ]);
    field.workloads = serde_json::from_value(workloads).unwrap();
    field
}

/// Experiment B2.
pub fn batching_spec(bound: i32) -> ExperimentSpec {
    serde_json::from_value(json!({
        "backends": [{"name": "seaweedfs", "seaweedfs": {"version": "4.48"}}],
        "workloads": [{"name": "batch", "batching": {"arrivalsPerSecond": [100, 1000]}}],
        "decision": {"rule": "BatchingTolerable", "boundMilliseconds": bound}
    }))
    .unwrap()
}

pub fn head_spec() -> ExperimentSpec {
    serde_json::from_value(json!({
        "backends": [{"name": "postgres", "postgres": {"version": "18.4"}}],
        "workloads": [{"name": "head", "headRow": {
            "activeRuns": [5_000, 20_000], "fillfactor": [100, 70], "load": {"closed": {"concurrency": [8]}}}}],
        "trials": {"blocks": 4},
        "decision": {"rule": "SimpleSchema"}
    }))
    .unwrap()
}

pub fn replay_spec() -> ExperimentSpec {
    serde_json::from_value(json!({
        "backends": [{"name": "postgres", "postgres": {"version": "18.4"}}],
        "workloads": [{"name": "loans", "replay": {
            "trace": {"configMapRef": {"name": "loans"}}, "speedPercent": [100, 1_000]}}],
        "trials": {"blocks": 2},
    }))
    .unwrap()
}

/// As a profile says it of what is provisioned; of an external one nobody says anything.
fn upkeep(backend: &Backend) -> Upkeep {
    match backend.kind() {
        Some(BackendKind::S3) => Upkeep::default(),
        kind => Upkeep {
            licence: if kind == Some(BackendKind::Minio) {
                "AGPL-3.0"
            } else {
                "Apache-2.0"
            }
            .into(),
            maintenance: format!("those who make {}", backend.name),
            as_of: "2026-11-28".into(),
            source: "its README".into(),
        },
    }
}

pub fn manifest(spec: &ExperimentSpec) -> Manifest {
    let node = |name: &str| NodeFacts {
        name: name.into(),
        allocatable_cpu_millis: 2_000,
        allocatable_memory_bytes: 8 << 30,
        kernel_version: "6.12.0".into(),
        os_image: "Debian GNU/Linux 12 (bookworm)".into(),
        container_runtime: "containerd://2.1.4".into(),
        architecture: "amd64".into(),
        boot_id: "6f1c2a".into(),
        calibration: Some(NodeCalibration {
            cpu_model: "AMD EPYC 9R14".into(),
            cpu_governor: String::new(),
            cores: 2,
            sha256_mib_per_second: 1_482.0,
            fsync_p50_micros: 410,
            fsync_p99_micros: 1_900,
            file_system: "ext4".into(),
        }),
    };
    let backends = spec
        .backends
        .iter()
        .map(|backend| ResolvedBackend {
            name: backend.name.clone(),
            kind: backend.kind().unwrap(),
            version: version(backend),
            image: format!("bakeoff.local/{}:{}", backend.name, version(backend)),
            image_id: "sha256:3f1e7c9a40d2b58c6e90f2a17b3d4c5e6f708192a3b4c5d6e7f8091a2b3c4d5e"
                .into(),
            image_bytes: Some(98_400_000),
            endpoint: format!("http://{}:9000", backend.name),
            region: "us-east-1".into(),
            bucket: "bakeoff".into(),
            prefix: String::new(),
            path_style: true,
            credentials_dir: "/credentials".into(),
            ca_key: None,
            sign_payload: false,
            metrics_url: None,
            pods: Vec::new(),
            bytes_stored_per_byte: None,
            provisioned: backend.kind() != Some(BackendKind::S3),
            durability: Durability {
                class: Some(class(backend)),
                flushed: vec![Part::Data, Part::Metadata, Part::DirectoryEntry],
                copies: 1,
                text: "all of it is flushed before the answer".into(),
                shown_by: "a power cut".into(),
                ..Durability::default()
            },
            upkeep: upkeep(backend),
            settings: BTreeMap::from([("args".to_owned(), "server /data".to_owned())]),
            node: "bench-1".into(),
            time_to_ready_seconds: Some(if backend.kind() == Some(BackendKind::Minio) {
                4
            } else {
                7
            }),
            caveats: if backend.kind() == Some(BackendKind::Minio) {
                vec!["The community edition is no longer maintained (since 2026-02-12).".into()]
            } else {
                vec![]
            },
        })
        .collect();
    Manifest {
        schema_version: MANIFEST_SCHEMA.into(),
        plan: RunPlan {
            schema_version: RUN_SCHEMA.into(),
            experiment: Identity {
                namespace: "default".into(),
                name: "phase1-c".into(),
                uid: "0b0f7c9e-6a52-4b39-9f0e-3f7f2a1c5d77".into(),
            },
            spec: spec.clone(),
            backends,
            lock: None,
            results: StoreTarget {
                endpoint: "http://store:8333".into(),
                region: "us-east-1".into(),
                bucket: "bakeoff-results".into(),
                prefix: "default/phase1-c/0b0f7c9e-6a52-4b39-9f0e-3f7f2a1c5d77".into(),
                path_style: true,
                credentials_dir: "/store".into(),
                ca_key: None,
            },
            environment: Environment {
                nodes: vec![node("bench-1"), node("bench-2")],
                inequalities: vec![
                    "bench-1 and bench-2 have the same boot id: they share one machine.".into(),
                ],
                kubernetes_version: "v1.35.1".into(),
                bakeoff_version: "0.1.0".into(),
                generator_image: "registry.example.com/bakeoff/loadgen:0.1.0".into(),
                generator_image_id: String::new(),
            },
            attempt: 0,
        },
        started_at: "2026-11-21T10:00:00Z".parse().unwrap(),
        generator: None,
        generator_version: "0.1.0".into(),
        ending: Some(Ending {
            reason: EndReason::Completed,
            message: "every trial is done".into(),
            backend_restarts: BTreeMap::new(),
            pod_restarts: BTreeMap::new(),
            backend_last_starts: BTreeMap::new(),
            generator_failures: 0,
        }),
    }
}

pub fn histogram(values: impl IntoIterator<Item = u64>) -> EncodedHistogram {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 3).unwrap();
    for value in values {
        histogram.record(value.max(1)).unwrap();
    }
    encode(&histogram)
}

pub fn encode(histogram: &Histogram<u64>) -> EncodedHistogram {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .unwrap();
    EncodedHistogram(base64::engine::general_purpose::STANDARD.encode(bytes))
}

/// An operation with a lognormal-like body and a heavy tail around `median` microseconds.
pub fn operation(rng: &mut SplitMix64, count: i64, median: f64, tail: f64) -> OperationRecord {
    let mut response = Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 3).unwrap();
    // A few hundred draws, each weighted: fast, and the percentiles move between trials.
    let draws = count.clamp(1, 400);
    for draw in 0..draws {
        let unit = rng.unit();
        let spread =
            (2.0 * unit - 1.0) * 0.35 + tail * 1.2 * unit.powi(40) + 0.1 * tail * unit.powi(8);
        let share = count / draws + i64::from(draw < count % draws);
        response
            .record_n((median * spread.exp()).max(1.0) as u64, share as u64)
            .unwrap();
    }
    let encoded = encode(&response);
    OperationRecord {
        generator_lag: EncodedHistogram::default(),
        queued: 0,
        response: encoded.clone(),
        service: encoded,
        send_lag: EncodedHistogram::default(),
        count,
        bytes: count * 4_096,
        overflow: 0,
        failures: BTreeMap::new(),
    }
}

pub fn record(trial: &Trial, behaviour: Behaviour, seed: u64) -> TrialRecord {
    let mut rng = SplitMix64::stream(seed, &trial.id);
    let noise =
        |rng: &mut SplitMix64| 1.0 + 0.06 * (rng.unit() - 0.5) + 0.01 * f64::from(trial.block);
    let level = |name: &str| {
        trial
            .cell
            .get(name)
            .and_then(|level| level.trim_end_matches("Ki").parse::<f64>().ok())
    };
    let start: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    let mut operations = BTreeMap::new();
    let mut counters = BTreeMap::new();
    let mut checks = Vec::new();
    let mut load = LoadCounts::default();
    match trial.kind {
        WorkloadKind::SmallObjectPut => {
            let size = level("objectSize").unwrap();
            let offered = level("ratePerSecond");
            let concurrency = level("concurrency").unwrap_or(8.0);
            let rate = 420.0 * concurrency.powf(0.55) / (1.0 + size / 48.0)
                * behaviour.put_speed
                * noise(&mut rng);
            let count = (offered.unwrap_or(rate) * 20.0) as i64;
            load.offered_per_second = offered.unwrap_or(0.0);
            operations.insert(
                "put".to_owned(),
                operation(&mut rng, count, concurrency / rate * 0.9e6, behaviour.tail),
            );
            counters.insert(Counter::Puts, count);
            load.completed = count;
        }
        WorkloadKind::ColdRead => {
            let objects = level("objectsPerRun").unwrap();
            let median = (900.0 + objects * 14.0) / behaviour.list_speed * noise(&mut rng);
            let count = (20e6 / (median * 2.4)) as i64 + 1;
            let pages = (objects / 1_000.0).ceil();
            operations.insert(
                "list".to_owned(),
                operation(&mut rng, count, median, behaviour.tail),
            );
            operations.insert(
                "listPage".to_owned(),
                operation(
                    &mut rng,
                    count * pages as i64,
                    median / pages,
                    behaviour.tail,
                ),
            );
            operations.insert(
                "get".to_owned(),
                operation(&mut rng, count * objects as i64, 700.0, behaviour.tail),
            );
            operations.insert(
                "read".to_owned(),
                operation(&mut rng, count, median * 2.4, behaviour.tail),
            );
            counters.insert(Counter::Pages, count * pages as i64);
            load.completed = count;
        }
        WorkloadKind::Consistency => {
            operations.insert(
                "put".to_owned(),
                operation(&mut rng, 2_000, 2_400.0, behaviour.tail),
            );
            operations.insert(
                "get".to_owned(),
                operation(&mut rng, 6_000, 900.0, behaviour.tail),
            );
            operations.insert(
                "listPage".to_owned(),
                operation(&mut rng, 1_200, 3_000.0, behaviour.tail),
            );
            load.completed = 9_200;
            for name in [
                "readAfterWriteMisses",
                "listMisses",
                "staleReads",
                "orderViolations",
                "pageDuplicates",
                "resurrectedDeletes",
            ] {
                let violations = if name == "listMisses" {
                    behaviour.violations
                } else {
                    0
                };
                checks.push(CheckRecord {
                    name: name.to_owned(),
                    checked: 6_000,
                    violations,
                    uncertain: 0,
                    examples: (0..violations)
                        .take(1)
                        .map(|n| format!("LIST after=00000041 left out 000000{n:02}"))
                        .collect(),
                });
            }
        }
        WorkloadKind::Batching => {
            let snapshots = level("snapshotsPerObject").unwrap();
            let rate = level("arrivalsPerSecond").unwrap();
            let wait = ((snapshots - 1.0) / rate * 1e6).min(1e6);
            let count = (rate * 20.0) as i64;
            operations.insert(
                "append".to_owned(),
                operation(&mut rng, count, 2_000.0 + wait, behaviour.tail),
            );
            operations.insert(
                "put".to_owned(),
                operation(&mut rng, count / snapshots as i64, 2_000.0, behaviour.tail),
            );
            counters.insert(Counter::Snapshots, count);
            counters.insert(Counter::Puts, (count as f64 / snapshots).ceil() as i64);
            load.completed = count;
            load.offered_per_second = rate;
        }
        WorkloadKind::CasRace => {
            let count = 4_000;
            operations.insert(
                "transition".to_owned(),
                operation(&mut rng, count, 900.0, behaviour.tail),
            );
            load.completed = count;
        }
        WorkloadKind::HeadRow | WorkloadKind::Replay => {
            let count = 40_000;
            for (name, share) in [
                ("operation", 1.0),
                ("create", 0.07),
                ("transition", 0.86),
                ("complete", 0.07),
            ] {
                let part = (f64::from(count) * share) as i64;
                operations.insert(
                    name.to_owned(),
                    operation(&mut rng, part, 600.0, behaviour.tail),
                );
            }
            checks.push(CheckRecord {
                name: "rowsMissed".to_owned(),
                checked: i64::from(count),
                violations: behaviour.violations,
                uncertain: 0,
                examples: Vec::new(),
            });
            load.completed = i64::from(count);
        }
        WorkloadKind::Soak | WorkloadKind::Sustain => {
            let count = 20 * 500;
            for (name, share) in [
                ("operation", 1.0),
                ("create", 0.07),
                ("transition", 0.86),
                ("complete", 0.07),
            ] {
                let part = (f64::from(count) * share) as i64;
                operations.insert(
                    name.to_owned(),
                    operation(&mut rng, part, 600.0, behaviour.tail),
                );
            }
            checks.push(CheckRecord {
                name: "rowsMissed".to_owned(),
                checked: i64::from(count),
                violations: behaviour.violations,
                uncertain: 0,
                examples: Vec::new(),
            });
            load.completed = i64::from(count);
            load.offered_per_second = 500.0;
        }
        WorkloadKind::Retention => {
            let count = (level("ratePerSecond").unwrap() * 20.0) as i64;
            for (name, share) in [
                ("operation", 1.0),
                ("insert", 0.17),
                ("transition", 0.83),
                ("insertBefore", 0.06),
                ("insertDuring", 0.04),
                ("insertAfter", 0.07),
            ] {
                let part = (count as f64 * share) as i64;
                operations.insert(
                    name.to_owned(),
                    operation(&mut rng, part, 900.0, behaviour.tail),
                );
            }
            checks.push(CheckRecord {
                name: "rowsLost".to_owned(),
                checked: 10_000,
                violations: behaviour.violations,
                uncertain: 0,
                examples: Vec::new(),
            });
            load.completed = count;
            load.offered_per_second = level("ratePerSecond").unwrap();
        }
        WorkloadKind::ServerLoss => {
            let count = (level("ratePerSecond").unwrap_or(200.0) * 20.0) as i64;
            for (name, share, median) in [
                ("put", 1.0, 2_000.0),
                ("putBefore", 0.5, 1_800.0),
                ("putDuring", 0.3, 6_000.0),
                ("putAfter", 0.2, 1_900.0),
            ] {
                let part = (count as f64 * share) as i64;
                operations.insert(
                    name.to_owned(),
                    operation(&mut rng, part, median, behaviour.tail),
                );
            }
            counters.insert(Counter::Puts, count);
            checks.push(CheckRecord {
                name: "lostWrites".to_owned(),
                checked: count,
                violations: behaviour.violations,
                uncertain: 0,
                examples: Vec::new(),
            });
            load.completed = count;
            load.offered_per_second = level("ratePerSecond").unwrap_or(0.0);
        }
    }
    load.planned = load.completed;
    load.achieved_per_second = load.completed as f64 / 20.0;
    let series = (0..20)
        .map(|second| SecondPoint {
            second,
            // A burst in the middle.
            planned: match trial.kind {
                WorkloadKind::Replay if second == 10 => 4_000,
                WorkloadKind::Replay => 1_900,
                _ => 0,
            },
            completed: (load.achieved_per_second * (1.0 + 0.1 * (rng.unit() - 0.5))) as i64,
            failed: 0,
            p50_micros: 900,
            p99_micros: 4_000,
        })
        .collect();
    TrialRecord {
        schema_version: TRIAL_SCHEMA.into(),
        trial: trial.clone(),
        attempt: 1,
        started_at: start,
        ended_at: start,
        window: Window {
            start,
            end: start,
            micros: 20_000_000,
        },
        verdict: Verdict::Valid,
        findings: Vec::new(),
        load,
        operations,
        counters,
        checks,
        series,
        steadiness: None,
        baseline: None,
        generators: vec![GeneratorUsage {
            index: 0,
            node: "bench-2".into(),
            cpu_micros: 4_200_000,
            throttled_periods: 0,
            throttled_micros: 12_000,
            start_skew_micros: 180,
            pacer_lateness_p99_micros: 60,
            resident_bytes: 46 << 20,
            ..GeneratorUsage::default()
        }],
        backend: Some(BackendUsage {
            process_start_seconds: 1.0,
            cpu_micros: 11_000_000,
            resident_bytes: if trial.backend == "minio" {
                312 << 20
            } else {
                188 << 20
            },
            pods: Default::default(),
        }),
        figures: BTreeMap::new(),
        horizon: None,
        state: (trial.kind == WorkloadKind::HeadRow).then(sawtooth),
        files: Vec::new(),
    }
}

/// Dead rows that autovacuum takes away every six seconds, and a checkpoint in the middle.
fn sawtooth() -> StateSeries {
    let seconds = || (0..20).map(f64::from);
    StateSeries {
        at_seconds: seconds().collect(),
        lines: BTreeMap::from([
            (
                StateLine::DeadRows,
                seconds().map(|second| second % 6.0 * 400.0).collect(),
            ),
            (
                StateLine::TableBytes,
                seconds().map(|second| 4e6 + second * 1e4).collect(),
            ),
            (StateLine::IndexBytes, seconds().map(|_| 5e5).collect()),
        ]),
        marks: BTreeMap::from([
            (StateMark::Autovacuum, vec![6.0, 12.0, 18.0]),
            (StateMark::Checkpoint, vec![10.0]),
        ]),
    }
}

/// Every trial of the schedule, valid at the first attempt.
pub fn records(spec: &ExperimentSpec, behave: impl Fn(&str) -> Behaviour) -> Vec<TrialRecord> {
    schedule::trials(spec)
        .iter()
        .map(|trial| record(trial, behave(&trial.backend), 7))
        .collect()
}

/// The run that the design describes: SeaweedFS quicker, one invalid trial that was repeated.
pub fn phase1_c() -> (Manifest, Vec<TrialRecord>) {
    let spec = spec(6);
    let mut records = records(
        &spec,
        |backend| if backend == "minio" { PLAIN } else { QUICK },
    );
    let mut spoiled = records[3].clone();
    spoiled.verdict = Verdict::Invalid(vec![InvalidReason {
        code: InvalidCode::GeneratorThrottled,
        detail: "generator 0 was throttled for 118 of 1000 of the window, the bound is 50".into(),
    }]);
    records[3].attempt = 2;
    records.push(spoiled);
    (manifest(&spec), records)
}

/// What a spec asks a backend to promise; all the same where it asks for nothing.
fn class(backend: &bakeoff_crds::spec::Backend) -> DurabilityClass {
    match (backend.origin(), backend.kind()) {
        (_, Some(BackendKind::Versitygw)) => DurabilityClass::PageCache,
        (Some(bakeoff_crds::spec::Origin::Provisioned(release)), Some(BackendKind::Garage)) => {
            release.durability.unwrap_or(DurabilityClass::PageCache)
        }
        _ if backend.name.ends_with("-cached") => DurabilityClass::PageCache,
        _ => DurabilityClass::Flushed,
    }
}

/// The version that is provisioned; none of an external one.
fn version(backend: &bakeoff_crds::spec::Backend) -> String {
    match backend.origin() {
        Some(bakeoff_crds::spec::Origin::Provisioned(release)) => release.version.to_string(),
        _ => String::new(),
    }
}
