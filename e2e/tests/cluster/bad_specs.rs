//! Specs that the API server refuses, and in which words.

use bakeoff_e2e::pool;
use serde_json::{Value, json};

/// The equipment of all, in other words, and what a backend says beside it.
pub fn equal_equipment(more: Value) -> Value {
    let mut equipment = json!({"resources": {"cpu": "0.5", "memory": "1024Mi"}, "storage": {"size": "1024Mi"}, "nodeSelector": pool()});
    for (name, value) in more.as_object().into_iter().flatten() {
        equipment[name] = value.clone();
    }
    equipment
}

/// What is changed, at which place, to what, and a fragment of the refusal.
pub fn bad_specs() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    let backend = |body: Value| json!([body]);
    let server = |changed: Value| {
        let mut server = json!({"image": "localhost/bakeoff/versitygw:1.8.0", "port": 9000,
            "credentials": {"accessKeyIdEnv": "KEY", "secretAccessKeyEnv": "SECRET"}});
        for (name, value) in changed.as_object().into_iter().flatten() {
            server[name] = value.clone();
        }
        json!({"name": "s", "s3Server": server})
    };
    let put = |object_size: Value, concurrency: Value| json!([{"name": "put", "smallObjectPut": {"objectSize": object_size, "load": {"closed": {"concurrency": concurrency}}}}]);
    let many: Vec<i32> = (1..=16).collect();
    vec![
        (
            "unknown version",
            "/spec/backends",
            backend(json!({"name": "m", "minio": {"version": "RELEASE.1999-01-01T00-00-00Z"}})),
            "; the catalogue has: garage ",
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
            "an image that nobody allows",
            "/spec/backends",
            backend(server(json!({"image": "docker.io/library/postgres:18.4"}))),
            "the image is not allowed here: docker.io/library/postgres:18.4; allowed: ",
        ),
        (
            "another tag of an image that is allowed",
            "/spec/backends",
            backend(server(
                json!({"image": "localhost/bakeoff/versitygw:1.8.0-evil"}),
            )),
            "the image is not allowed here",
        ),
        (
            "credentials of one's own",
            "/spec/backends",
            backend(server(json!({"env": [{"name": "KEY", "value": "x"}]}))),
            "the credentials are set by the operator",
        ),
        (
            "a variable that the operator sets",
            "/spec/backends",
            backend(server(json!({"env": [{"name": "POD_IP", "value": "x"}]}))),
            "POD_IP is set by the operator",
        ),
        (
            "credentials in one variable",
            "/spec/backends",
            backend(server(
                json!({"credentials": {"accessKeyIdEnv": "KEY", "secretAccessKeyEnv": "KEY"}}),
            )),
            "credentials name two variables",
        ),
        (
            "credentials in the home folder",
            "/spec/backends",
            backend(server(
                json!({"credentials": {"accessKeyIdEnv": "HOME", "secretAccessKeyEnv": "KEY"}}),
            )),
            "credentials name two variables",
        ),
        (
            "data in scratch space",
            "/spec/backends",
            backend(server(json!({"dataPath": "/tmp"}))),
            "/tmp is scratch space",
        ),
        (
            "a Secret whose name is none",
            "/spec/backends",
            backend(
                json!({"name": "s", "s3": {"endpoint": "http://x:9000", "bucket": "some-bucket",
                "credentialsSecretRef": {"name": "my creds"}}}),
            ),
            "credentialsSecretRef.name",
        ),
        (
            "a class whose name is none",
            "/spec/equipment/priorityClassName",
            json!("Very High"),
            "priorityClassName",
        ),
        (
            "a store class whose name is none",
            "/spec/equipment/storage/storageClassName",
            json!("fast?x"),
            "storageClassName",
        ),
        (
            "tolerations of one backend",
            "/spec/backends/0/equipment",
            equal_equipment(json!({"tolerations": [{"key": "a", "operator": "Exists"}]})),
            "state them in spec.equipment",
        ),
        (
            "a priority of one backend",
            "/spec/backends/0/equipment",
            equal_equipment(json!({"priorityClassName": "high"})),
            "unequal equipment",
        ),
        (
            "labels of one backend",
            "/spec/backends/0/equipment",
            equal_equipment(json!({"podLabels": {"team": "x"}})),
            "unequal equipment",
        ),
        (
            "a described server that runs as root",
            "/spec/backends",
            backend(server(json!({"user": 0}))),
            "should be greater than or equal to 1",
        ),
        (
            "a class of durability that SeaweedFS has no setting for",
            "/spec/backends",
            backend(json!({"name": "s", "seaweedfs": {"version": "4.48", "durability": "Memory"}})),
            "supported values",
        ),
        (
            "a parity of more than half of the drives",
            "/spec/backends",
            backend(
                json!({"name": "m", "minio": {"version": "R1", "drivesPerServer": 4, "parity": 3}}),
            ),
            "minio.parity may be half of the drives of a set at most",
        ),
        (
            "two nodes of Garage",
            "/spec/backends",
            backend(json!({"name": "g", "garage": {"version": "2.5.0", "nodes": 2}})),
            "garage.nodes is 1 or 3",
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
            "exactly one of minio, seaweedfs, garage, versitygw, s3Server, postgres, postgresUrl and s3",
        ),
        (
            "no member of a backend",
            "/spec/backends",
            backend(json!({"name": "m"})),
            "exactly one of minio, seaweedfs, garage, versitygw, s3Server, postgres, postgresUrl and s3",
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
            "a hold of two kinds of runs",
            "/spec/workloads/0",
            json!({"name": "s", "sustain": {"shape": {"headRow": {}, "replay": {"trace": {"path": "t"}}}}}),
            "shape sets at most one of headRow and replay",
        ),
        (
            "a target in runs whose operations nobody knows",
            "/spec/workloads/0",
            json!({"name": "s", "sustain": {"shape": {"replay": {"trace": {"path": "t"}}}, "target": {"runsPerMonth": 1_000_000}}}),
            "with shape.replay set target.ratePerSecond",
        ),
        (
            "a target at a level that is not searched",
            "/spec/workloads/0",
            json!({"name": "s", "sustain": {"activeRuns": [1_000], "target": {"ratePerSecond": 10, "activeRuns": 2_000}}}),
            "must be one of the levels of activeRuns",
        ),
        (
            "a replay at two timings",
            "/spec/workloads/0",
            json!({"name": "r", "replay": {"trace": {"path": "t"}, "speedPercent": [100], "activeRuns": [1], "ratePerSecond": [1]}}),
            "either speedPercent, or both of activeRuns and ratePerSecond",
        ),
        (
            "a replay without a timing",
            "/spec/workloads/0",
            json!({"name": "r", "replay": {"trace": {"path": "t"}}}),
            "either speedPercent, or both of activeRuns and ratePerSecond",
        ),
        (
            "a trace in two places",
            "/spec/workloads/0",
            json!({"name": "r", "replay": {"trace": {"path": "t", "configMapRef": {"name": "t"}}, "speedPercent": [100]}}),
            "a trace sets exactly one of",
        ),
        (
            "a trace outside the folder of traces",
            "/spec/workloads/0",
            json!({"name": "r", "replay": {"trace": {"path": "../run"}, "speedPercent": [100]}}),
            "should match",
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
pub fn soak(more: Value) -> Value {
    let mut spec = json!({"ratePerSecond": 100});
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    json!({"name": "s", "soak": spec})
}
