//! The commands that the operator starts, and small ones for people.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::credentials::Credentials;
use crate::drivers::address;
use crate::drivers::postgres::null as null_postgres;
use crate::drivers::s3::null as null_s3;
use crate::drivers::stall::Stall;
use crate::errands::{notify as notifying, plan_report as plan_reporting};
use crate::history;
use crate::instrument::calibrate as node;
use crate::killer;
use crate::report as reporting;
use crate::run::control::{self, Control, Follower};
use crate::run::{self, Run, RunError};
use crate::setter::{self, Setting};
use crate::store::Store;
use crate::store::layout;
use crate::traces::Traces;
use bakeoff_analysis::summary::Summary;
use bakeoff_analysis::{compare as comparison, handover};
use bakeoff_crds::run::{Ending, Manifest, RunPlan, StoreTarget, Termination};
use bakeoff_crds::status::TrialCounts;
use bakeoff_trace::time::{self, Unit};
use tokio::sync::watch;

use super::args::{RunArgs, StoreArgs};
use super::credentials::{authorities, credential};
use super::{Ended, Failed, STOPPED, UNVERIFIED};

/// How long generator 0 may be silent at least: it is probing backends, or its node pulls an image.
const FOLLOW_PATIENCE: Duration = Duration::from_secs(600);
/// How much longer than generators may take to start.
const START_GRACE: Duration = Duration::from_secs(60);

/// How long another generator waits for generator 0, which may still have to find a node.
fn follow_patience(plan: &RunPlan) -> Duration {
    let start = u64::from(plan.spec.limits.start_seconds.unsigned_abs());
    FOLLOW_PATIENCE.max(Duration::from_secs(start) + START_GRACE)
}

/// The pause after the first try to send a message.
const NOTIFY_PAUSE: Duration = Duration::from_secs(1);

impl From<RunError> for Failed {
    fn from(error: RunError) -> Self {
        if matches!(error, RunError::Stopped) {
            return Self::stopped(error.reason(), error.to_string());
        }
        Self::new(error.reason(), error.to_string(), error.retryable())
    }
}

impl From<reporting::ReportError> for Failed {
    fn from(error: reporting::ReportError) -> Self {
        Self::new(error.reason(), error.to_string(), error.retryable())
    }
}

impl From<crate::store::StoreError> for Failed {
    fn from(error: crate::store::StoreError) -> Self {
        Self::new(error.reason(), error.to_string(), error.retryable())
    }
}

/// What is said of a file that cannot be read.
pub(super) fn unreadable<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> Failed {
    move |error| about(path, "FileUnreadable", &error)
}

/// What is said of a file or a folder that cannot be written.
pub(super) fn unwritable<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> Failed {
    move |error| about(path, "FileUnwritable", &error)
}

/// Makes a folder unless it is there.
pub(super) fn create(folder: &Path) -> Result<(), Failed> {
    std::fs::create_dir_all(folder).map_err(unwritable(folder))
}

/// An end of a window, where it is named: microseconds since 1970.
pub(super) fn instant(text: Option<&str>, unit: Unit) -> Result<Option<i64>, Failed> {
    let Some(text) = text else { return Ok(None) };
    time::parse(text, unit).map(Some).ok_or_else(|| {
        let message = format!("{text:?} is no time; for example 2024-03-01T10:00:00Z");
        Failed::new("Usage", message, false)
    })
}

fn about(path: &Path, reason: &str, error: &dyn std::fmt::Display) -> Failed {
    Failed::new(reason, format!("{}: {error}", path.display()), false)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Failed> {
    let bytes = std::fs::read(path).map_err(unreadable(path))?;
    serde_json::from_slice(&bytes).map_err(unreadable(path))
}

/// A switch that SIGTERM and SIGINT turn on.
pub fn stop_on_signals() -> Result<watch::Receiver<bool>, Failed> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| Failed::new("Signals", error.to_string(), true);
    let (sender, receiver) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("stopping: what is whole is kept, the current trial is interrupted");
        // Without a receiver left the run is over.
        let _ = sender.send(true);
        // Whoever asks a second time does not want to wait.
        interrupt.recv().await;
        std::process::exit(i32::from(STOPPED));
    });
    Ok(receiver)
}

pub async fn run(plan: &Path, args: &RunArgs) -> Ended {
    let plan: RunPlan = read(plan)?;
    let backends = run::backends(&plan)?;
    let lock = run::lock_server(&plan)?;
    let store = Store::open(&plan.results)?;
    let traces = Traces::of(&plan, args.standalone.traces.clone())?;
    let generators = usize::try_from(plan.spec.generators.replicas)
        .unwrap_or(1)
        .max(1);
    let control = Arc::new(Control::default());
    let stop = stop_on_signals()?;
    let follow_patience = follow_patience(&plan);
    let mut run = Run {
        plan,
        backends,
        lock,
        traces,
        store,
        index: args.index,
        generators,
        node: args.node.clone(),
        control: Arc::clone(&control),
        stop,
    };
    if args.index == 0 {
        control::serve(control, args.listen).map_err(|error| unavailable(args.listen, &error))?;
        let counts = run
            .lead(&|record| {
                tracing::info!(
                    trial = record.trial.describe(),
                    attempt = record.attempt,
                    valid = record.verdict.is_valid(),
                    completed = record.load.completed,
                    failed = record.load.failed,
                    "trial ended"
                );
            })
            .await?;
        Ok((Some(Termination::Ran(counts)), 0))
    } else {
        let Some(url) = args.barrier.clone() else {
            return Err(Failed::new(
                "BarrierMissing",
                "a generator other than 0 needs --barrier",
                false,
            ));
        };
        run.follow(&Follower {
            url,
            index: args.index,
            patience: follow_patience,
        })
        .await?;
        Ok((Some(Termination::Ran(TrialCounts::default())), 0))
    }
}

/// Writes the report of a plan.
pub async fn plan_report(plan: &Path) -> Ended {
    plan_reporting::write(&read(plan)?).await?;
    Ok((None, 0))
}

/// Sends a message.
pub async fn notify(task: &Path) -> Ended {
    let sent = notifying::send(&read(task)?, NOTIFY_PAUSE).await;
    sent.map_err(|error| Failed::new(error.reason(), error.to_string(), error.retryable()))?;
    Ok((None, 0))
}

pub fn calibrate(directory: &Path) -> Ended {
    let found = node::calibrate(directory)
        .map_err(|error| Failed::new(error.reason(), error.to_string(), false))?;
    let text = serde_json::to_string(&found)
        .map_err(|error| Failed::new("Json", error.to_string(), false))?;
    super::print(&text);
    Ok((Some(Termination::Calibrated(found)), 0))
}

/// The store at a folder or an s3:// address.
pub(super) fn open(results: &str, args: &StoreArgs) -> Result<Store, Failed> {
    let Some(place) = results.strip_prefix("s3://") else {
        let folder = PathBuf::from(results.strip_prefix("file://").unwrap_or(results));
        if !folder.is_dir() {
            return Err(Failed::new(
                "FolderMissing",
                format!("there is no folder {}", folder.display()),
                false,
            ));
        }
        return Ok(Store::Folder(folder));
    };
    address::check([&args.endpoint, &results.to_owned()])
        .map_err(|secret| Failed::new("EndpointInvalid", secret.to_string(), false))?;
    let variable = |name: &str| {
        let missing = format!("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY ({name})");
        credential(name, &missing)
    };
    let credentials = Credentials {
        user: variable("AWS_ACCESS_KEY_ID")?,
        secret: variable("AWS_SECRET_ACCESS_KEY")?,
        session_token: std::env::var("AWS_SESSION_TOKEN").ok(),
        authorities: authorities(args.ca_file.as_deref())?,
    };
    Ok(Store::bucket(&target(place, args), &credentials))
}

/// Where `bucket/prefix` is.
fn target(place: &str, args: &StoreArgs) -> StoreTarget {
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    StoreTarget {
        endpoint: args.endpoint.clone(),
        region: args.region.clone(),
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        path_style: !args.virtual_host,
        credentials_dir: String::new(),
        ca_key: None,
    }
}

pub async fn report(
    results: Option<&str>,
    plan: Option<&Path>,
    ending: Option<&Path>,
    args: &StoreArgs,
    force: bool,
) -> Ended {
    let (store, catalogue) = match (plan, results) {
        (Some(plan), _) => {
            let plan: RunPlan = read(plan)?;
            let catalogue = Store::open(&history::place(&plan.results, &plan))?;
            (Store::open(&plan.results)?, Some(catalogue))
        }
        (None, Some(results)) => (open(results, args)?, None),
        (None, None) => {
            return Err(Failed::new(
                "Usage",
                "name a folder, an s3:// address or --plan",
                false,
            ));
        }
    };
    let ending: Option<Ending> = ending.map(read).transpose()?;
    let reported = reporting::report(&store, ending, force, catalogue.as_ref()).await?;
    super::print(&reported.markdown);
    for damaged in &reported.damaged {
        tracing::warn!(
            damaged,
            "a record cannot be read; the report is made of the others"
        );
    }
    let termination = handover::termination(&reported.handover)
        .map_err(|error| Failed::new(error.reason(), error.to_string(), false))?;
    // The operator reads the handover, and the page says what is damaged.
    let whole = reported.damaged.is_empty() || plan.is_some();
    Ok((Some(termination), if whole { 0 } else { UNVERIFIED }))
}

pub async fn cleanup(plan: &Path) -> Ended {
    let plan: RunPlan = read(plan)?;
    // Half of what the operator waits, so that it hears in which words the last attempt failed.
    let seconds = u64::try_from(plan.spec.limits.cleanup_seconds).unwrap_or(0);
    let patience = Duration::from_secs(seconds / 2);
    let mut external = plan;
    // Provisioned backends are gone by now, and so may their credentials be.
    external.backends.retain(|backend| !backend.provisioned);
    let removed = run::cleanup(&run::backends(&external)?, patience).await?;
    super::print(&format!("{removed} objects removed"));
    Ok((
        Some(Termination::CleanedUp(
            i64::try_from(removed).unwrap_or(i64::MAX),
        )),
        0,
    ))
}

pub async fn compare(base: &str, subject: &str, args: &StoreArgs, force: bool) -> Ended {
    let (base, subject) = (compared(base, args).await?, compared(subject, args).await?);
    let compared = comparison::runs(side(&base), side(&subject), force)
        .map_err(|error| Failed::new(error.reason(), error.to_string(), false))?;
    super::print(&comparison::markdown(&compared));
    Ok((None, 0))
}

fn side((summary, manifest): &(Summary, Manifest)) -> comparison::Side<'_> {
    comparison::Side {
        measured: &summary.measured,
        plan: &manifest.plan,
    }
}

/// What a run says of itself, for a comparison.
async fn compared(results: &str, args: &StoreArgs) -> Result<(Summary, Manifest), Failed> {
    let store = open(results, args)?;
    let summary = stored(&store, results, layout::SUMMARY).await?;
    Ok((summary, stored(&store, results, layout::MANIFEST).await?))
}

async fn stored<T: serde::de::DeserializeOwned>(
    store: &Store,
    results: &str,
    file: &str,
) -> Result<T, Failed> {
    let missing = || {
        Failed::new(
            "SummaryMissing",
            format!("{results} has no {file}: run loadgen report on it"),
            false,
        )
    };
    let bytes = store.get(file).await?.ok_or_else(missing)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Failed::new(
            "FileUnreadable",
            format!("{results}/{file}: {error}"),
            false,
        )
    })
}

pub async fn null_s3(listen: SocketAddr, body: usize, objects: usize, stall: Stall) -> Ended {
    let said = |address| super::print(&format!("http://{address}"));
    null_s3::serve(listen, body, objects, stall, said)
        .await
        .map_err(|error| unavailable(listen, &error))?;
    Ok((None, 0))
}

pub async fn set(setting: Setting, listen: SocketAddr) -> Ended {
    setter::keep(setting, listen)
        .await
        .map_err(|error| unavailable(listen, &error))?;
    Ok((None, 0))
}

pub async fn kill(listen: SocketAddr) -> Ended {
    killer::serve(listen)
        .await
        .map_err(|error| unavailable(listen, &error))?;
    Ok((None, 0))
}

pub async fn null_postgres(listen: SocketAddr, stall: Stall) -> Ended {
    let said = |address| super::print(&format!("postgres://{address}"));
    null_postgres::serve(listen, stall, said)
        .await
        .map_err(|error| unavailable(listen, &error))?;
    Ok((None, 0))
}

pub(super) fn unavailable(listen: SocketAddr, error: &std::io::Error) -> Failed {
    Failed::new("PortUnavailable", format!("{listen}: {error}"), true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        store: StoreArgs,
    }

    #[test]
    fn addresses_of_buckets_follow_the_arguments() {
        let of = |arguments: &[&str]| {
            let all = ["loadgen", "--endpoint", "https://s3.example.org"];
            let args = Only::parse_from([&all[..], arguments].concat()).store;
            target("data/bakeoff/run", &args)
        };
        let plain = of(&[]);
        assert_eq!(
            (plain.bucket.as_str(), plain.prefix.as_str()),
            ("data", "bakeoff/run")
        );
        assert!(plain.path_style);
        assert!(!of(&["--virtual-host"]).path_style);
    }
}
