//! `loadgen run -f`: a run without Kubernetes, with a progress bar and a table at the end.

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::credentials::Credentials;
use crate::drivers::redis::LockServer;
use crate::instrument::record::decode;
use crate::report as reporting;
use crate::run::control::Control;
use crate::run::standalone::{Endpoints, plan};
use crate::run::{Backend, OPERATION_TIMEOUT, Run, RunError};
use crate::store::Store;
use crate::traces::Traces;
use bakeoff_crds::EndReason;
use bakeoff_crds::result::{TrialRecord, Verdict};
use bakeoff_crds::run::{Ending, Manifest, RunPlan};
use indicatif::{ProgressBar, ProgressStyle};

use super::args::StandaloneArgs;
use super::commands::stop_on_signals;
use super::credentials::{authorities, keys};
use super::{Ended, Failed};

pub async fn run(args: &StandaloneArgs) -> Ended {
    let authorities = authorities(args.ca_file.as_deref())?;
    let credentials = keys(&args.access_key_env, &args.secret_key_env, authorities)?;
    let store = Store::Folder(args.out.clone());
    let plan = resumed_or_new(args, &store).await?;
    let mut backends = Vec::new();
    for resolved in &plan.backends {
        backends.push(Backend::new(resolved.clone(), credentials.clone()).map_err(RunError::from)?);
    }
    let lock = lock_server(&plan, args)?;
    let traces = Traces::of(&plan, args.traces.clone())?;
    let control = Arc::new(Control::default());
    let mut run = Run {
        plan,
        backends: backends.clone(),
        lock,
        traces,
        store: store.clone(),
        index: 0,
        generators: 1,
        node: String::new(),
        control: Arc::clone(&control),
        stop: stop_on_signals()?,
    };
    let bar = bar(&control);
    let records = RefCell::new(Vec::new());
    let told = std::io::stderr().is_terminal();
    let result = run
        .lead(&|record| {
            if !told {
                eprintln!("{}", line(record));
            }
            records.borrow_mut().push(record.clone());
        })
        .await;
    bar.finish();
    if result.is_err() {
        for backend in &backends {
            eprintln!(
                "loadgen: test objects may stay under {} until the run is resumed or somebody removes them",
                backend.prefix()
            );
        }
    }
    result?;
    // The data that trials share stays until the end; a bucket that is ours is left as it is.
    for backend in &backends {
        if let Err(error) = backend.remove(&backend.prefix()).await {
            eprintln!(
                "loadgen: test objects under {} are left: {error}",
                backend.prefix()
            );
        }
    }
    let ending = Ending {
        reason: EndReason::Completed,
        message: "every trial has an outcome".to_owned(),
        backend_restarts: Default::default(),
        pod_restarts: Default::default(),
        backend_last_starts: Default::default(),
        generator_failures: 0,
    };
    let reported = reporting::report(&store, Some(ending), false, None).await?;
    let records = records.into_inner();
    super::print(&table(&records));
    super::print(&cost(&records));
    for record in &records {
        let wanted = if record.trial.is_control() {
            " (a control: wanted)"
        } else {
            ""
        };
        for check in record.checks.iter().filter(|check| check.violations > 0) {
            super::print(&format!(
                "{}{wanted}, {}: {} of {} violated, for example: {}",
                record.trial.describe(),
                check.name,
                check.violations,
                check.checked,
                check.examples.first().map_or("", String::as_str)
            ));
        }
    }
    if let Some(decision) = &reported.handover.decision {
        super::print(&format!(
            "{} is {}: {}",
            decision.rule,
            decision.outcome.as_str(),
            decision.reason
        ));
    }
    super::print(&format!(
        "Results: {} (report.html, report.md, summary.json)",
        args.out.display()
    ));
    let unmet = reported
        .handover
        .objectives
        .iter()
        .any(|objective| !objective.met);
    let violated = reported
        .handover
        .violations
        .values()
        .any(|&count| count > 0);
    let invalid = reported.handover.trials.invalid > reported.handover.trials.repeated;
    Ok((None, if unmet || violated || invalid { 5 } else { 0 }))
}

/// The lock server of the command line; its password is no part of a plan.
fn lock_server(plan: &RunPlan, args: &StandaloneArgs) -> Result<Option<LockServer>, Failed> {
    let Some(lock) = &plan.lock else {
        return Ok(None);
    };
    let credentials = Credentials {
        user: String::new(),
        secret: std::env::var(&args.lock_password_env).unwrap_or_default(),
        session_token: None,
        authorities: None,
    };
    LockServer::new(&lock.endpoint, &credentials, OPERATION_TIMEOUT)
        .map(Some)
        .map_err(|error| Failed::new(error.reason(), error.to_string(), false))
}

async fn resumed_or_new(args: &StandaloneArgs, store: &Store) -> Result<RunPlan, Failed> {
    let before = store.get(crate::store::layout::MANIFEST).await?;
    let before = before.map(|bytes| serde_json::from_slice::<Manifest>(&bytes));
    // One that was cut off says nothing: what the first start was asked is asked again.
    let before = match before {
        Some(Err(_)) if args.resume && args.file.is_some() => None,
        before => before,
    };
    match (before, args.resume) {
        (Some(Ok(manifest)), true) => {
            same_as_before(args, &manifest.plan)?;
            Ok(manifest.plan)
        }
        (Some(Err(error)), true) => Err(Failed::new(
            "FileUnreadable",
            format!(
                "manifest.json: {error}; name the experiment of the first start with -f, and its endpoints, to go on"
            ),
            false,
        )),
        (Some(_), false) => Err(Failed::new(
            "ResultsExist",
            format!(
                "{} holds a run: name another folder with --out, or go on with --resume",
                args.out.display()
            ),
            false,
        )),
        (None, _) => match &args.file {
            Some(file) => planned(args, file),
            None => Err(Failed::new(
                "Usage",
                format!(
                    "{} holds no run to go on with: name a file with -f",
                    args.out.display()
                ),
                false,
            )),
        },
    }
}

/// The plan of a run that begins.
fn planned(args: &StandaloneArgs, file: &Path) -> Result<RunPlan, Failed> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failed::new("FileUnreadable", format!("{name}: {error}"), false))?;
    let endpoints = Endpoints {
        endpoints: args.endpoint.clone(),
        metrics: args.metrics.clone(),
        bucket: args.bucket.clone(),
        region: args.region.clone(),
        path_style: !args.virtual_host,
        sign_payload: args.sign_payload,
        create_bucket: args.create_bucket,
        lock: args.lock.clone(),
    };
    plan(&name, &text, &endpoints, &args.out.display().to_string())
        .map_err(|error| Failed::new(error.reason(), error.to_string(), false))
}

/// Refuses to go on with another experiment, or elsewhere: trials that are finished stay as they are.
fn same_as_before(args: &StandaloneArgs, before: &RunPlan) -> Result<(), Failed> {
    let refused = |what: &str| {
        let message = format!(
            "{} holds a run of {what}, which --resume goes on with: leave -f and --endpoint out, or name another folder with --out",
            args.out.display()
        );
        Err(Failed::new("Usage", message, false))
    };
    let Some(file) = &args.file else {
        return match args.endpoint.is_empty() {
            true => Ok(()),
            false => refused("endpoints of its own"),
        };
    };
    let now = planned(args, file)?;
    let at = |plan: &RunPlan| -> Vec<(String, String)> {
        let backends = plan.backends.iter();
        backends
            .map(|one| (one.name.clone(), one.endpoint.clone()))
            .collect()
    };
    if now.spec != before.spec {
        return refused("another experiment");
    }
    if at(&now) != at(before) {
        return refused("other endpoints");
    }
    Ok(())
}

/// A bar that looks at the progress from a thread of its own, so that the measuring one is left
/// alone.
struct Bar {
    bar: ProgressBar,
    over: Arc<AtomicBool>,
}

impl Bar {
    fn finish(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.bar.finish_and_clear();
    }
}

fn bar(control: &Arc<Control>) -> Bar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(
        "{bar:30} {pos}/{len} trials, {elapsed} so far, about {eta} left  {msg}",
    ) {
        bar.set_style(style);
    }
    let over = Arc::new(AtomicBool::new(false));
    let (shown, control, ended) = (bar.clone(), Arc::clone(control), Arc::clone(&over));
    std::thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            let progress = control.progress();
            shown.set_length(u64::try_from(progress.trials.planned).unwrap_or(0));
            shown.set_position(u64::try_from(progress.trials.done).unwrap_or(0));
            shown.set_message(
                progress
                    .current
                    .unwrap_or_else(|| "waiting for the backends".to_owned()),
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    Bar { bar, over }
}

fn milliseconds(micros: u64) -> String {
    format!("{:.2}", micros as f64 / 1_000.0)
}

fn line(record: &TrialRecord) -> String {
    let verdict = match &record.verdict {
        Verdict::Valid => String::new(),
        Verdict::Invalid(reasons) => {
            let reasons: Vec<String> = reasons
                .iter()
                .map(|reason| format!("{}: {}", reason.code.as_str(), reason.detail))
                .collect();
            format!(", INVALID ({})", reasons.join("; "))
        }
    };
    let findings: String = record
        .findings
        .iter()
        .map(|finding| format!(", {}: {}", finding.code.as_str(), finding.detail))
        .collect();
    format!(
        "{}: {} operations, {:.0}/s, {} failed{findings}{verdict}",
        record.trial.describe(),
        record.load.completed,
        record.load.achieved_per_second,
        record.load.failed
    )
}

/// What the generator itself cost in each trial: its CPU time for each planned operation, and in an
/// open loop how late it sent.
fn cost(records: &[TrialRecord]) -> String {
    let mut text = String::from("generator:\n");
    for record in records {
        let cpu: i64 = record
            .generators
            .iter()
            .map(|generator| generator.cpu_micros)
            .sum();
        let each = cpu as f64 / record.load.completed.max(1) as f64;
        let busy = 100.0 * cpu as f64 / record.window.micros.max(1) as f64;
        text.push_str(&format!(
            "{}: {each:.1} µs CPU an operation, {busy:.0} % of a core",
            record.trial.describe()
        ));
        let lags = record
            .operations
            .iter()
            .filter(|(_, operation)| !operation.send_lag.0.is_empty())
            .filter_map(|(kind, operation)| Some((kind, decode(&operation.send_lag).ok()?)));
        for (kind, lag) in lags {
            let at = |quantile| lag.value_at_quantile(quantile);
            let (p50, p99, p999) = (at(0.5), at(0.99), at(0.999));
            text.push_str(&format!(
                ", {kind} send lag p50 {p50} p99 {p99} p99.9 {p999} max {} µs",
                lag.max()
            ));
        }
        text.push('\n');
    }
    text
}

/// One row for each trial and kind of operation; latencies are responses in milliseconds.
fn table(records: &[TrialRecord]) -> String {
    let head = [
        "trial",
        "operation",
        "count",
        "per s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "max ms",
        "failed",
        "valid",
    ];
    let mut rows: Vec<Vec<String>> = vec![head.map(str::to_owned).to_vec()];
    for record in records {
        for (kind, operation) in &record.operations {
            let Ok(response) = decode(&operation.response) else {
                continue;
            };
            let failed: i64 = operation
                .failures
                .values()
                .map(|failure| failure.count)
                .sum();
            let seconds = (record.window.micros as f64 / 1e6).max(1e-6);
            let at = |quantile| milliseconds(response.value_at_quantile(quantile));
            // Fewer than ten thousand operations say nothing about one in a thousand.
            let rare = if operation.count >= 10_000 {
                at(0.999)
            } else {
                "–".to_owned()
            };
            rows.push(vec![
                record.trial.describe(),
                kind.clone(),
                operation.count.to_string(),
                format!("{:.1}", operation.count as f64 / seconds),
                at(0.5),
                at(0.99),
                rare,
                milliseconds(response.max()),
                failed.to_string(),
                if record.verdict.is_valid() {
                    "yes"
                } else {
                    "NO"
                }
                .to_owned(),
            ]);
        }
    }
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let space = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            // Words to the left, numbers to the right.
            if column < 2 {
                text.push_str(cell);
                text.push_str(&space);
            } else {
                text.push_str(&space);
                text.push_str(cell);
            }
            text.push_str("  ");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}
