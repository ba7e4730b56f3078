//! What the API server refuses, in which words, and how the manual reads.
//! Needs only the definitions and the policy of the chart.

use anyhow::{Context as _, ensure};
use bakeoff_e2e::{Fixture, Lab, Needs, kubectl, kubectl_with, scenario};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

/// What is changed, at which place, to what, and a fragment of the refusal.
fn bad_specs() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    let backend = |body: Value| json!([body]);
    let put = |object_size: Value, concurrency: Value| json!([{"name": "put", "smallObjectPut": {"objectSize": object_size, "load": {"closed": {"concurrency": concurrency}}}}]);
    let many: Vec<i32> = (1..=16).collect();
    vec![
        (
            "unknown version",
            "/spec/backends",
            backend(json!({"name": "m", "minio": {"version": "RELEASE.1999-01-01T00-00-00Z"}})),
            "the catalogue has: minio RELEASE.",
        ),
        (
            "latest",
            "/spec/backends",
            backend(json!({"name": "m", "minio": {"version": "latest"}})),
            "version must be pinned, not latest",
        ),
        (
            "latest SeaweedFS",
            "/spec/backends",
            backend(json!({"name": "s", "seaweedfs": {"version": "latest"}})),
            "version must be pinned, not latest",
        ),
        (
            "no backends",
            "/spec/backends",
            json!([]),
            "should have at least 1 item",
        ),
        (
            "two members of a backend",
            "/spec/backends",
            backend(json!({"name": "m", "minio": {"version": "v"}, "seaweedfs": {"version": "v"}})),
            "exactly one of minio, seaweedfs, postgres, postgresUrl and s3",
        ),
        (
            "no member of a backend",
            "/spec/backends",
            backend(json!({"name": "m"})),
            "exactly one of minio, seaweedfs, postgres, postgresUrl and s3",
        ),
        (
            "duplicate backends",
            "/spec/backends",
            json!([{"name": "m", "minio": {"version": "v"}}, {"name": "m", "seaweedfs": {"version": "v"}}]),
            "backend names must be unique",
        ),
        (
            "unequal equipment",
            "/spec/backends/0/equipment",
            json!({"resources": {"cpu": "2", "memory": "1Gi"}}),
            "unequal equipment",
        ),
        (
            "endpoint without scheme",
            "/spec/backends",
            backend(
                json!({"name": "e", "s3": {"endpoint": "s3.example.com", "bucket": "bench", "credentialsSecretRef": {"name": "x"}}}),
            ),
            "endpoint must be http:// or https://",
        ),
        (
            "no workloads",
            "/spec/workloads",
            json!([]),
            "should have at least 1 item",
        ),
        (
            "two members of a workload",
            "/spec/workloads/0/coldRead",
            json!({}),
            "a workload sets exactly one of smallObjectPut, coldRead",
        ),
        (
            "duplicate workloads",
            "/spec/workloads",
            json!([{"name": "a", "coldRead": {}}, {"name": "a", "consistency": {}}]),
            "workload names must be unique",
        ),
        (
            "two loads",
            "/spec/workloads/0/smallObjectPut/load",
            json!({"closed": {"concurrency": [1]}, "open": {"ratePerSecond": [1]}}),
            "exactly one of closed, open and capacity",
        ),
        (
            "empty factor",
            "/spec/workloads",
            put(json!([]), json!([1])),
            "should have at least 1 item",
        ),
        (
            "empty concurrency",
            "/spec/workloads",
            put(json!(["1Ki"]), json!([])),
            "should have at least 1 item",
        ),
        (
            "level twice",
            "/spec/workloads",
            put(json!(["1Ki"]), json!([1, 1])),
            "concurrency lists a level twice",
        ),
        (
            "level twice in other words",
            "/spec/workloads",
            put(json!(["4Ki", "4096"]), json!([1])),
            "objectSize lists a level twice",
        ),
        (
            "level twice with a zero",
            "/spec/workloads",
            put(json!(["4Ki", "04Ki"]), json!([1])),
            "objectSize lists a level twice",
        ),
        (
            "part of a byte",
            "/spec/workloads",
            put(json!(["1500m"]), json!([1])),
            "in whole bytes",
        ),
        (
            "a bucket that no store takes",
            "/spec/backends",
            backend(
                json!({"name": "e", "s3": {"endpoint": "https://s3.example.com", "bucket": "My_Bucket", "credentialsSecretRef": {"name": "x"}}}),
            ),
            "bucket must be the name of an S3 bucket",
        ),
        (
            "a label of ours",
            "/spec/equipment/podLabels",
            json!({"bakeoff.dev/role": "x"}),
            "by these Bakeoff finds its pods",
        ),
        (
            "a toleration of every key with a value",
            "/spec/equipment/tolerations",
            json!([{"operator": "Equal", "value": "x"}]),
            "needs operator: Exists",
        ),
        (
            "absurd object",
            "/spec/workloads",
            put(json!(["1Ti"]), json!([1])),
            "objectSize must be between 1 and 64Mi, in whole bytes",
        ),
        (
            "negative object",
            "/spec/workloads",
            put(json!(["-1"]), json!([1])),
            "objectSize",
        ),
        (
            "too many trials",
            "/spec/workloads",
            json!([{"name": "put", "smallObjectPut": {"objectSize": ["1Ki", "2Ki", "3Ki", "4Ki", "5Ki", "6Ki", "7Ki", "8Ki"], "load": {"closed": {"concurrency": many}}}}]),
            "exceeds 5000 trials",
        ),
        (
            "zero window",
            "/spec/trials/windowSeconds",
            json!(0),
            "should be greater than or equal to 1",
        ),
        (
            "zero blocks",
            "/spec/trials/blocks",
            json!(0),
            "should be greater than or equal to 1",
        ),
        (
            "negative warm-up",
            "/spec/trials/warmupSeconds",
            json!(-1),
            "should be greater than or equal to 0",
        ),
        (
            "negative memory",
            "/spec/equipment/resources/memory",
            json!("-1Gi"),
            "memory",
        ),
        (
            "absurd memory",
            "/spec/equipment/resources/memory",
            json!("9000Ti"),
            "memory must be between 32Mi and 4Ti",
        ),
        (
            "absurd CPU",
            "/spec/equipment/resources/cpu",
            json!("100000"),
            "cpu must be between 50m and 256 cores",
        ),
        (
            "absurd storage",
            "/spec/equipment/storage/size",
            json!("1"),
            "storage size must be between 64Mi and 64Ti",
        ),
        (
            "no generators",
            "/spec/generators/replicas",
            json!(0),
            "should be greater than or equal to 1",
        ),
        (
            "absolute without environment",
            "/spec/resultClass",
            json!("Absolute"),
            "resultClass Absolute needs spec.environment",
        ),
        (
            "unknown class",
            "/spec/resultClass",
            json!("Rough"),
            "supported values",
        ),
        (
            "unknown rule",
            "/spec/decision",
            json!({"rule": "Dice"}),
            "supported values",
        ),
        (
            "unknown party",
            "/spec/decision/challenger",
            json!("nobody"),
            "decision.challenger must name one of spec.backends",
        ),
        (
            "duplicate objectives",
            "/spec/objectives",
            json!([{"name": "a", "expression": "true"}, {"name": "a", "expression": "true"}]),
            "objective names must be unique",
        ),
        (
            "setting of the operator",
            "/spec/backends",
            json!([{"name": "pg", "postgres": {"version": "18.4", "settings": {"port": "1"}}}]),
            "settings: addresses, files, logs",
        ),
        (
            "setting that runs a command",
            "/spec/backends",
            json!([{"name": "pg", "postgres": {"version": "18.4", "settings": {"archive_command": "id > /tmp/x"}}}]),
            "libraries and commands are not for a spec",
        ),
        (
            "setting that loads a library",
            "/spec/backends",
            json!([{"name": "pg", "postgres": {"version": "18.4", "settings": {"session_preload_libraries": "x"}}}]),
            "libraries and commands are not for a spec",
        ),
        (
            "setting that has the generators read a file",
            "/spec/backends",
            json!([{"name": "pg", "postgres": {"version": "18.4", "settings": {"bakeoff.server_log": "/etc/passwd"}}}]),
            "libraries and commands are not for a spec",
        ),
        (
            "setting that is no name",
            "/spec/backends",
            json!([{"name": "pg", "postgres": {"version": "18.4", "settings": {"Work Mem": "1"}}}]),
            "settings: a name consists of",
        ),
        (
            "S3 work on Postgres",
            "/spec/backends",
            json!([{"name": "pg", "postgres": {"version": "18.4"}}]),
            "need postgres backends",
        ),
        (
            "equipment of a server that exists",
            "/spec/backends",
            json!([{"name": "pg", "postgresUrl": {"secretRef": {"name": "db"}},
                    "equipment": {"resources": {"cpu": "1", "memory": "1Gi"}, "storage": {"size": "1Gi"}}}]),
            "an external backend (postgresUrl, s3) has no equipment",
        ),
        (
            "S3 work on a Postgres server that exists",
            "/spec/backends",
            json!([{"name": "pg", "postgresUrl": {"secretRef": {"name": "db"}}}]),
            "need postgres backends",
        ),
        (
            "a key that no Secret can have",
            "/spec/backends",
            json!([{"name": "pg", "postgresUrl": {"secretRef": {"name": "db", "key": "a/b"}}}]),
            "should match",
        ),
        (
            "authorities in two places",
            "/spec/backends",
            json!([{"name": "pg", "postgresUrl": {"secretRef": {"name": "db"}, "caKey": "ca.pem", "caSecretRef": {"name": "ca"}}}]),
            "the authorities are named once",
        ),
        (
            "unknown Postgres",
            "/spec/backends",
            backend(json!({"name": "pg", "postgres": {"version": "9.6"}})),
            "postgres 9.6",
        ),
        (
            "a workload of S3 on Postgres",
            "/spec/backends/0",
            json!({"name": "pg", "postgres": {"version": "18.4"}}),
            "every workload must fit every backend",
        ),
        (
            "two ways of arriving",
            "/spec/workloads/0",
            json!({"name": "h", "headRow": {"runsPerMonth": [1_000_000], "load": {"closed": {"concurrency": [1]}}}}),
            "exactly one of load and runsPerMonth",
        ),
        (
            "a pause that no lock outlasts",
            "/spec/workloads/0",
            json!({"name": "r", "casRace": {"leaseMilliseconds": 500, "faults": {"pauseWriterMilliseconds": 400}}}),
            "longer than leaseMilliseconds",
        ),
        (
            "two places for the lock",
            "/spec/workloads/0",
            json!({"name": "r", "casRace": {"lock": {"table": {}, "redis": {"version": "7.0.15"}}}}),
            "lock sets exactly one of table and redis",
        ),
        (
            "a lock of the latest version",
            "/spec/workloads/0",
            json!({"name": "r", "casRace": {"lock": {"redis": {"version": "latest"}}}}),
            "version must be pinned, not latest",
        ),
        (
            "two lock servers",
            "/spec/workloads",
            json!([{"name": "a", "casRace": {"lock": {"redis": {"version": "7.0.15"}}}},
                   {"name": "b", "casRace": {"lock": {"redis": {"version": "7.0.14"}}}}]),
            "all races share one Redis server",
        ),
        (
            "a race against oneself",
            "/spec/workloads/0",
            json!({"name": "r", "casRace": {"writers": 1}}),
            "greater than or equal to 2",
        ),
        (
            "a mode twice",
            "/spec/workloads/0",
            json!({"name": "r", "casRace": {"modes": ["Guarded", "Guarded"]}}),
            "lists a mode twice",
        ),
        (
            "a soak beside something else",
            "/spec/workloads",
            json!([soak(json!({})), {"name": "h", "headRow": {"load": {"closed": {"concurrency": [1]}}}}]),
            "a soak stands alone",
        ),
        (
            "a soak at two rates",
            "/spec/workloads",
            json!([soak(json!({"runsPerMonth": 1_000_000}))]),
            "exactly one of ratePerSecond and runsPerMonth",
        ),
        (
            "a profile that sets more than autovacuum",
            "/spec/workloads",
            json!([soak(
                json!({"autovacuum": [{"name": "a", "server": {"fsync": "off"}}]})
            )]),
            "begin with autovacuum_ or vacuum_",
        ),
        (
            "a segment of a day",
            "/spec/trials/windowSeconds",
            json!(86_400),
            "at most 3600 windowSeconds",
        ),
        (
            "a setting in two places",
            "/spec/backends",
            backend(
                json!({"name": "pg", "postgres": {"version": "18.4", "settings": {"autovacuum_naptime": "1s"}}}),
            ),
            "name it in one of the two places",
        ),
        (
            "long name",
            "/metadata/name",
            json!("a".repeat(53)),
            "at most 52 characters",
        ),
        (
            "unknown field",
            "/spec/windowSeconds",
            json!(1),
            "unknown field \"spec.windowSeconds\"",
        ),
        (
            "unknown field below",
            "/spec/backends/0/minio/tag",
            json!("x"),
            "unknown field",
        ),
    ]
}

/// A soak with these fields as well.
fn soak(more: Value) -> Value {
    let mut spec = json!({"ratePerSecond": 100});
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    json!({"name": "s", "soak": spec})
}

#[tokio::test]
async fn bad_specs_are_refused_with_the_mend() -> anyhow::Result<()> {
    scenario("admission", Needs::Nothing, async |lab: &Lab| {
        // The definitions and the policy take a moment after an installation.
        let good = Fixture::tiny("good");
        lab.until("the admission of a good experiment", 30, async || {
            Ok(dry_run(lab, good.manifest()).await.is_ok())
        })
        .await?;
        // Many trials need many blocks: 8 x 16 cells, 2 backends, 20 blocks.
        let mut wrong = Vec::new();
        for (what, place, value, fragment) in bad_specs() {
            let mut fixture = Fixture::tiny("bad").set(place, value);
            if what == "too many trials" {
                fixture = fixture.set("/spec/trials/blocks", json!(20));
            }
            if what == "unknown Postgres" {
                let head =
                    json!([{"name": "h", "headRow": {"load": {"closed": {"concurrency": [1]}}}}]);
                fixture = fixture.set("/spec/workloads", head);
            }
            if fragment == "at most 3600 windowSeconds" {
                fixture = fixture.set("/spec/workloads", json!([soak(json!({}))]));
            }
            if what == "a setting in two places" {
                let eager =
                    json!({"autovacuum": [{"name": "a", "server": {"autovacuum_naptime": "1s"}}]});
                fixture = fixture.set("/spec/workloads", json!([soak(eager)]));
            }
            // A decision that names backends which are gone would be refused for another reason.
            match dry_run(lab, fixture.manifest()).await {
                Ok(_) => wrong.push(format!("{what}: admitted")),
                Err(error)
                    if format!("{error:#}")
                        .to_lowercase()
                        .contains(&fragment.to_lowercase()) => {}
                Err(error) => wrong.push(format!("{what}: expected {fragment:?}, got {error:#}")),
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    })
    .await
}

async fn dry_run(lab: &Lab, manifest: &Value) -> anyhow::Result<String> {
    let arguments = [
        "-n",
        &lab.namespace,
        "create",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "-",
    ];
    kubectl_with(&arguments, &manifest.to_string()).await
}

#[tokio::test]
async fn a_started_spec_is_fixed() -> anyhow::Result<()> {
    scenario("frozen", Needs::Nothing, async |lab: &Lab| {
        // Suspended, so that the operator leaves it alone.
        let fixture = Fixture::tiny("frozen").set("/spec/suspend", json!(true));
        lab.apply(fixture.manifest()).await?;
        lab.patch("frozen", json!({"seed": 8})).await.context("before the start the spec may change")?;

        let started = json!({"status": {"progress": {"display": "1/8", "trials": {"planned": 8, "done": 1}}}});
        let api = lab.experiments();
        api.patch_status("frozen", &PatchParams::default(), &Patch::Merge(started)).await?;
        let frozen = [
            json!({"seed": 9}),
            json!({"trials": {"blocks": 2}}),
            json!({"objectives": null}),
            json!({"decision": null}),
            json!({"environment": {"hardware": "a lot", "region": "here", "durability": "none"}}),
            json!({"limits": {"reportSeconds": 10}}),
        ];
        for change in frozen {
            let refused = lab.patch("frozen", change.clone()).await.err().map(|error| format!("{error:#}")).unwrap_or_default();
            ensure!(refused.contains("the experiment has started"), "{change} was not refused: {refused:?}");
        }
        for change in [
            json!({"activeDeadlineSeconds": 600}),
            json!({"ttlSecondsAfterFinished": 600}),
            json!({"ttlSecondsAfterFinished": null}),
            json!({"cancel": true}),
        ] {
            lab.patch("frozen", change.clone()).await.with_context(|| format!("{change} must be admitted"))?;
        }
        let back = lab.patch("frozen", json!({"cancel": false})).await.err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(back.contains("stays cancelled"), "{back:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_manual_explains_every_field() -> anyhow::Result<()> {
    scenario("explain", Needs::Nothing, async |_: &Lab| {
        let text = kubectl(&["explain", "experiment.spec.trials"]).await?;
        for fragment in [
            "blocks",
            "Rounds in which each backend runs each cell once",
            "default 6",
            "windowSeconds",
            "1 to 86400",
        ] {
            // kubectl wraps lines.
            let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
            ensure!(
                flat.contains(fragment),
                "kubectl explain lacks {fragment:?}:\n{text}"
            );
        }
        let all = kubectl(&["explain", "experiment.spec", "--recursive"]).await?;
        for field in [
            "snapshotsPerObject",
            "credentialsSecretRef",
            "activeDeadlineSeconds",
            "maxSendLagP99Microseconds",
        ] {
            ensure!(
                all.contains(field),
                "kubectl explain --recursive lacks {field}"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn one_look_says_how_it_stands() -> anyhow::Result<()> {
    scenario("columns", Needs::Nothing, async |lab: &Lab| {
        lab.apply(
            Fixture::tiny("look")
                .set("/spec/suspend", json!(true))
                .manifest(),
        )
        .await?;
        let header = kubectl(&["-n", &lab.namespace, "get", "exp"]).await?;
        let columns: Vec<&str> = header
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        ensure!(
            columns == ["NAME", "STATUS", "PROGRESS", "DECISION", "AGE"],
            "{columns:?}"
        );
        let names = lab.experiments().list(&Default::default()).await?;
        ensure!(
            names
                .iter()
                .any(|experiment| experiment.name_any() == "look")
        );
        ensure!(
            kubectl(&["-n", &lab.namespace, "get", "bakeoff", "-o", "name"])
                .await?
                .contains("look"),
            "the category bakeoff"
        );
        Ok(())
    })
    .await
}
