//! Experiments that are as small as they can be. (Pure.)

use crate::ground::pool;
use serde_json::{Value, json};

/// The MinIO version of the chart's catalogue.
pub const MINIO: &str = "RELEASE.2025-09-07T16-13-09Z";
/// The SeaweedFS version of the chart's catalogue.
pub const SEAWEEDFS: &str = "4.48";
/// The Garage version of the chart's catalogue.
pub const GARAGE: &str = "2.5.0";
/// The newest Postgres version of the chart's catalogue.
pub const POSTGRES: &str = "18.4";
/// Older ones.
pub const POSTGRES_17: &str = "17.10";
pub const POSTGRES_16: &str = "16.14";
/// The Redis version of the chart's catalogue.
pub const REDIS: &str = "7.0.15";

/// A manifest in the making.
pub struct Fixture(Value);

impl Fixture {
    /// All workloads on both backends, one block, windows of a second: 8 trials.
    #[must_use]
    pub fn tiny(name: &str) -> Self {
        Self(json!({
            "apiVersion": "bakeoff.dev/v1alpha1",
            "kind": "Experiment",
            "metadata": {"name": name},
            "spec": {
                "seed": 7,
                "backends": [
                    {"name": "minio", "minio": {"version": MINIO}},
                    {"name": "seaweedfs", "seaweedfs": {"version": SEAWEEDFS}},
                ],
                "equipment": {
                    "resources": {"cpu": "500m", "memory": "1Gi"},
                    "storage": {"size": "1Gi"},
                    "nodeSelector": pool(),
                },
                "workloads": [
                    {"name": "put", "smallObjectPut": {"objectSize": ["1Ki"], "prefixes": 10, "load": {"closed": {"concurrency": [2]}}}},
                    {"name": "cold-read", "coldRead": {"objectsPerRun": [10], "modes": ["ListPrefix"]}},
                    {"name": "consistency", "consistency": {"writers": 2, "listers": 1, "operations": 50, "keyShapes": ["Flat", "Unicode"]}},
                    {"name": "batching", "batching": {"snapshotsPerObject": [10], "arrivalsPerSecond": [50], "maxBufferMilliseconds": 200}},
                ],
                "trials": {"blocks": 1, "warmupSeconds": 0, "windowSeconds": 1, "drainSeconds": 2},
                "generators": {"resources": {"cpu": "500m", "memory": "256Mi"}},
                // These tests are about the flow; a busy machine must not void their trials.
                "validity": {"minStartedPerMille": 0, "maxSendLagP99Microseconds": 10_000_000, "maxThrottledPerMille": 1000, "maxFailedPerMille": 1000},
                "objectives": [{"name": "list-after-write", "expression": "consistency.listMisses == 0"}],
                "decision": {"rule": "SmallObjectBackend"},
            },
        }))
    }

    /// One backend and one workload whose trials go on long enough to be interfered with.
    #[must_use]
    pub fn long(name: &str) -> Self {
        Self::tiny(name)
            .set("/spec/backends", json!([{"name": "minio", "minio": {"version": MINIO}}]))
            .set("/spec/workloads", json!([
                {"name": "put", "smallObjectPut": {"objectSize": ["1Ki"], "prefixes": 10, "load": {"closed": {"concurrency": [1]}}}},
            ]))
            .set("/spec/trials", json!({"blocks": 100, "warmupSeconds": 0, "windowSeconds": 3, "drainSeconds": 1}))
            .set("/spec/objectives", json!([]))
            .remove("/spec", "decision")
    }

    /// Runs that live in a table of Postgres: one backend, two trials.
    #[must_use]
    pub fn head_row(name: &str) -> Self {
        Self::tiny(name)
            .set("/spec/backends", json!([{"name": "pg", "postgres": {
                "version": POSTGRES, "settings": {"autovacuum_naptime": "1s", "synchronous_commit": "off"}}}]))
            .set("/spec/workloads", json!([{"name": "head", "headRow": {
                "activeRuns": [1_000], "fillfactor": [100, 70], "load": {"closed": {"concurrency": [2]}}}}]))
            .set("/spec/trials", json!({"blocks": 1, "warmupSeconds": 0, "windowSeconds": 6, "drainSeconds": 5}))
            .set("/spec/objectives", json!([
                {"name": "own-rows", "expression": "head.rowsMissed == 0"},
                {"name": "hot", "expression": "head.hotPercent > 1.0"},
            ]))
            .set("/spec/decision", json!({"rule": "SimpleSchema"}))
    }

    /// Writers of two generators that race in two modes, one of them a control, with locks in Redis.
    #[must_use]
    pub fn cas_race(name: &str) -> Self {
        Self::head_row(name)
            .set("/spec/workloads", json!([{"name": "race", "casRace": {
                "modes": ["Guarded", "Unguarded"], "writers": 4, "runs": 2, "transitionsPerRun": 6, "leaseMilliseconds": 100,
                "lock": {"redis": {"version": REDIS}},
                "faults": {"killConnectionsPerMinute": 60, "deleteLocksPerMinute": 120, "pauseWriterMilliseconds": 300}}}]))
            .set("/spec/trials", json!({"blocks": 1, "warmupSeconds": 0, "windowSeconds": 20, "drainSeconds": 5}))
            .set("/spec/objectives", json!([{"name": "one-winner", "expression": "race.duplicateWinners == 0"}]))
            .set("/spec/decision", json!({"rule": "CasIsBackstop"}))
            .set("/spec/generators/replicas", json!(2))
    }

    /// Old runs that leave in both ways, once each, on the oldest version.
    #[must_use]
    pub fn retention(name: &str) -> Self {
        Self::head_row(name)
            .set("/spec/workloads", json!([{"name": "old", "retention": {
                "activeRuns": [12_000], "partitions": 4, "load": {"open": {"ratePerSecond": [100], "maxInFlight": 4}}}}]))
            .set("/spec/trials", json!({"blocks": 1, "warmupSeconds": 0, "windowSeconds": 30, "drainSeconds": 5}))
            .set("/spec/objectives", json!([
                {"name": "none-lost", "expression": "old.rowsLost == 0"},
                {"name": "none-left", "expression": "old.rowsLeft == 0"},
            ]))
            .set("/spec/decision", json!({"rule": "DropOrDelete"}))
            .set("/spec/backends/0/postgres/version", json!(POSTGRES_16))
    }

    /// The same, with an end: six trials of three seconds.
    #[must_use]
    pub fn short(name: &str) -> Self {
        Self::long(name).set("/spec/trials/blocks", json!(6))
    }

    /// A schedule of the shortest experiment there is, which runs when it changes.
    #[must_use]
    pub fn schedule(name: &str) -> Self {
        let run = Self::long("run").set("/spec/trials/blocks", json!(1));
        Self(json!({
            "apiVersion": "bakeoff.dev/v1alpha1",
            "kind": "ExperimentSchedule",
            "metadata": {"name": name},
            "spec": {
                "runOnChange": true,
                "successfulHistoryLimit": 1,
                "regression": {"metrics": [
                    {"name": "rate", "expression": "put.perSecond", "better": "Higher", "minChangePercent": 20},
                ]},
                "template": {
                    "metadata": {"labels": {"team": "storage"}},
                    "spec": run.0["spec"],
                },
            },
        }))
    }

    /// A plan of three short experiments: phases that run, one that is skipped on evidence, and one that a person decides.
    #[must_use]
    pub fn plan(name: &str) -> Self {
        let run = |objective: &str| {
            let run = Self::long("run").set("/spec/trials/blocks", json!(1)).set(
                "/spec/objectives",
                json!([{"name": "x", "expression": objective}]),
            );
            json!({"spec": run.0["spec"]})
        };
        let one = |name: &str, template: Value| json!([{"name": name, "template": template}]);
        Self(json!({
            "apiVersion": "bakeoff.dev/v1alpha1",
            "kind": "ExperimentPlan",
            "metadata": {"name": name},
            "spec": {"phases": [
                {"name": "p0", "question": "Is it there at all?", "experiments": one("a", run("put.count > 0"))},
                {"name": "p1", "question": "Is it worse?", "when": [{"phase": "p0", "outcome": ["NoGo"]}],
                 "experiments": one("a", run("put.count > 0"))},
                {"name": "p2", "question": "Is it impossible?", "approval": "Always",
                 "experiments": one("a", run("put.count < 0"))},
            ]},
        }))
    }

    /// Puts a value at a JSON pointer; the last step may be new.
    #[must_use]
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        if let Some(place) = self.0.pointer_mut(pointer) {
            *place = value;
        } else if let Some((parent, key)) = pointer.rsplit_once('/')
            && let Some(Value::Object(fields)) = self.0.pointer_mut(parent)
        {
            fields.insert(key.to_owned(), value);
        }
        self
    }

    /// Takes a field away.
    #[must_use]
    pub fn remove(mut self, parent: &str, key: &str) -> Self {
        if let Some(Value::Object(fields)) = self.0.pointer_mut(parent) {
            fields.remove(key);
        }
        self
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Value {
        &self.0
    }
}
