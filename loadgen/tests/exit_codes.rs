//! The exit codes that scripts rely on, by running the program itself. The store is the generator's own null server, or a folder.
#![allow(clippy::unwrap_used)]

#[path = "../../analysis/tests/common/mod.rs"]
mod sample;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bakeoff_loadgen::store::Store;

fn loadgen(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command
        .args(arguments)
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .stdin(Stdio::null());
    command
}

/// How it ended, and what it said.
fn ended(arguments: &[&str]) -> (i32, String) {
    let output = loadgen(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn ends_with(code: i32, arguments: &[&str]) -> String {
    let (found, said) = ended(arguments);
    assert_eq!(found, code, "{arguments:?}: {said}");
    said
}

/// A null server, and where it is; gone with its guard.
struct Null(Child, String);

impl Drop for Null {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn null() -> Null {
    null_server("null-s3")
}

fn null_server(command: &str) -> Null {
    let mut child = loadgen(&[command, "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    Null(child, format!("null={}", line.trim()))
}

/// An experiment whose trials a machine that is busy does not void, with this objective.
fn experiment(folder: &Path, blocks: i32, objective: &str) -> String {
    let file = folder.join("experiment.yaml");
    let text = format!(
        "apiVersion: bakeoff.dev/v1alpha1
kind: Experiment
metadata: {{name: codes}}
spec:
  backends: [{{name: null, s3: {{endpoint: 'http://127.0.0.1:1', bucket: b, credentialsSecretRef: {{name: s}}}}}}]
  workloads:
    - {{name: put, smallObjectPut: {{objectSize: [1Ki], load: {{open: {{ratePerSecond: [20]}}}}}}}}
  trials: {{blocks: {blocks}, warmupSeconds: 0, windowSeconds: 1}}
  validity: {{maxSendLagP99Microseconds: 1000000, maxGeneratorCpuPerMille: 1000, maxThrottledPerMille: 1000}}
  objectives: [{{name: bound, expression: {objective}}}]
"
    );
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

const MET: &str = "put.put.failures == 0";
const UNMET: &str = "put.put.failures > 0";

fn run<'a>(file: &'a str, null: &'a Null, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["run", "-f", file, "--endpoint", &null.1, "--bucket", "b"];
    all.extend(["--create-bucket", "--out", out]);
    all.extend(more);
    all
}

#[test]
fn what_is_done_ends_with_0_and_what_does_not_pass_with_5() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let null = null();
    for (code, objective) in [(0, MET), (5, UNMET)] {
        let file = experiment(folder.path(), 1, objective);
        ends_with(code, &run(&file, &null, &at(&code.to_string()), &[]));
    }
    ends_with(0, &["report", &at("0")]);
    ends_with(0, &["fetch", &at("0"), &at("copy")]);
    ends_with(0, &["compare", &at("0"), &at("5")]);
    ends_with(0, &["calibrate", "--directory", &at("")]);
    // What was fetched is not what the index lists.
    std::fs::write(folder.path().join("0/report.md"), "other").unwrap();
    let said = ends_with(5, &["fetch", &at("0"), &at("second")]);
    assert!(said.contains("report.md"), "{said}");
}

/// All that a run asks of a Postgres server before, while and after it measures has an answer: without one it would wait for a server
/// that will never be as it has to be.
#[test]
fn a_run_against_a_null_postgres_server_ends_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let null = null_server("null-postgres");
    let file = folder.path().join("work.json");
    let work = serde_json::json!({
        "workloads": [{"name": "update", "headRow": {"activeRuns": [1000], "load": {"closed": {"concurrency": [4]}}}}],
        "trials": {"blocks": 1, "warmupSeconds": 0, "windowSeconds": 1},
        "validity": {"maxGeneratorCpuPerMille": 1000, "maxSendLagP99Microseconds": 1_000_000, "maxThrottledPerMille": 1000},
    });
    std::fs::write(&file, work.to_string()).unwrap();
    let out = folder.path().join("out").display().to_string();
    let file = file.display().to_string();
    let said = ends_with(
        0,
        &["run", "-f", &file, "--endpoint", &null.1, "--out", &out],
    );
    assert!(said.contains("update"), "{said}");
}

#[test]
fn a_record_that_cannot_be_read_ends_a_report_with_5() {
    let folder = tempfile::tempdir().unwrap();
    let spec = sample::spec(3);
    let store = Store::Folder(folder.path().to_owned());
    let manifest = serde_json::to_vec(&sample::manifest(&spec)).unwrap();
    let runtime = bakeoff_loadgen::instrument::runtime::local().unwrap();
    runtime.block_on(async {
        store.put("manifest.json", manifest).await.unwrap();
        for record in sample::records(&spec, |_| sample::PLAIN) {
            let name = format!("trials/{}/{}/trial.json", record.trial.id, record.attempt);
            let bytes = serde_json::to_vec(&record).unwrap();
            store.put(&name, bytes).await.unwrap();
        }
    });
    let at = folder.path().display().to_string();
    ends_with(0, &["report", &at]);
    let record = folder.path().join("trials/b00-put-c00-minio/1/trial.json");
    std::fs::write(record, "{").unwrap();
    // It is not what the index of the first report lists, either.
    ends_with(1, &["report", &at]);
    ends_with(5, &["report", &at, "--force"]);
}

#[test]
fn what_cannot_end_better_ends_with_1_and_wrong_usage_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display().to_string();
    let said = ends_with(1, &["report", &at]);
    assert!(said.contains("manifest"), "{said}");
    ends_with(
        1,
        &[
            "run",
            "-f",
            &format!("{at}/none.yaml"),
            "--endpoint",
            "a=http://127.0.0.1:1",
            "--bucket",
            "b",
            "--out",
            &at,
        ],
    );
    ends_with(2, &["run"]);
    ends_with(2, &["report"]);
    ends_with(2, &["unheard-of"]);
    ends_with(0, &["--version"]);
    let help = ends_with(0, &["--help"]);
    assert!(help.contains("Exit codes: 0 done; 1 failed"), "{help}");
}

#[test]
fn what_another_attempt_could_mend_ends_with_3() {
    let null = null();
    let taken = null.1.trim_start_matches("null=http://").to_owned();
    ends_with(3, &["null-s3", "--listen", &taken]);
}

#[test]
fn a_run_that_was_stopped_ends_with_4_and_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let at = out.display().to_string();
    let null = null();
    let file = experiment(folder.path(), 4, MET);
    let mut running = loadgen(&run(&file, &null, &at, &[])).spawn().unwrap();
    // The first trial is under way.
    while !out.join("trials").exists() {
        assert!(running.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let pid = running.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(running.wait().unwrap().code(), Some(4));
    // It goes on there and nowhere else, and is whole.
    let said = ends_with(
        1,
        &[
            "run",
            "-f",
            &file,
            "--endpoint",
            "null=http://127.0.0.1:1",
            "--bucket",
            "b",
            "--out",
            &at,
            "--resume",
        ],
    );
    assert!(said.contains("other endpoints"), "{said}");
    let said = ends_with(1, &["run", "--endpoint", &null.1, "--out", &at, "--resume"]);
    assert!(said.contains("leave -f and --endpoint out"), "{said}");
    ends_with(0, &["run", "--out", &at, "--resume"]);
    let said = ends_with(0, &["report", &at]);
    assert!(!said.is_empty());
}

/// Whoever named the wrong endpoint does not have to wait until it is given up.
#[test]
fn a_run_that_waits_for_its_backends_is_stopped_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let file = experiment(folder.path(), 1, MET);
    let nowhere = Null(
        Command::new("true").spawn().unwrap(),
        "null=http://127.0.0.1:1".to_owned(),
    );
    let at = out.display().to_string();
    let mut running = loadgen(&run(&file, &nowhere, &at, &[])).spawn().unwrap();
    // The folder is made once signals are heard.
    while !out.exists() {
        assert!(running.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let pid = running.id().to_string();
    let told = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(told.success());
    assert_eq!(running.wait().unwrap().code(), Some(4));
}

#[test]
fn a_standby_without_credentials_is_not_begun() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("pgdata");
    let arguments = [
        "standby",
        "--primary",
        "127.0.0.1:1",
        "--name",
        "a",
        "--into",
    ];
    let mut command = loadgen(&arguments);
    command
        .arg(&into)
        .env_remove("PGUSER")
        .env("PGPASSWORD", "x");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("PGUSER is not set"));
}
