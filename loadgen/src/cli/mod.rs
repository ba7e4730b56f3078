//! The command line.

mod args;
mod capture;
mod commands;
mod conformance;
mod credentials;
mod fetch;
mod garage;
mod standalone;
mod standby;
mod trace;
mod trend;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use self::args::{RunArgs, StallArgs, StoreArgs, TerminationArgs};
use crate::setter::Setting;
use bakeoff_crds::names::{KILLER_PORT, SETTER_PORT};
use bakeoff_crds::run::{Failure, TERMINATION_LIMIT, Termination};
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Generates load for storage experiments, measures, checks and reports.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed, another attempt would too; 2 wrong usage; 3 failed, another \
    attempt could do better; 4 stopped by a signal, resumable; 5 finished but not passed (run without a cluster), what was fetched is not what its index lists (fetch), a record cannot be read (report), or a store does not keep what the workloads rest on (conformance).\n\
    Log level: BAKEOFF_LOG (error, warn, info, debug), to standard error.";

/// The exit code of what was stopped by a signal.
const STOPPED: u8 = 4;
/// The exit code of a copy that is not what the index lists, and of a report from which a record is missing.
const UNVERIFIED: u8 = 5;

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the trials of a plan (in a cluster) or of a file of workloads (by itself).
    Run(Box<RunArgs>),
    /// Checks what of S3 stores keep, in some seconds each, and prints where they differ. The exit code is 5 if one does where
    /// the workloads rest on it.
    Conformance(Box<conformance::ConformanceArgs>),
    /// Looks at this node: processor and disk.
    Calibrate {
        /// Where the file of the disk test is written and removed.
        #[arg(long, default_value = "/tmp")]
        directory: PathBuf,
        #[command(flatten)]
        termination: TerminationArgs,
    },
    /// Summarises the raw data of a run and writes summary, report and index.
    Report {
        /// A folder, or s3://bucket/prefix; not with --plan.
        #[arg(required_unless_present = "plan", conflicts_with = "plan")]
        results: Option<String>,
        /// The plan of the run, which says where its results are.
        #[arg(long)]
        plan: Option<PathBuf>,
        /// How the run ended, as JSON.
        #[arg(long)]
        ending: Option<PathBuf>,
        /// Reports on raw data that are not those of an earlier report, and says so on the page.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        termination: TerminationArgs,
    },
    /// Draws the history of a series: each watched figure over its runs.
    Trend {
        /// The folder of its records: s3://bucket/catalogue/v1/NAMESPACE/SERIES, or a folder.
        catalogue: String,
        /// The file to write. Default: trend.html, or trend.csv.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Writes a table for other programs instead: time, run, and a column for each figure.
        #[arg(long)]
        csv: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Recordings of what runs did: made of the logs of other systems, looked at, fitted, made up.
    #[command(subcommand)]
    Trace(trace::TraceCommand),
    /// Removes the test objects of a run from external buckets.
    Cleanup {
        /// The plan of the run.
        #[arg(long)]
        plan: PathBuf,
        #[command(flatten)]
        termination: TerminationArgs,
    },
    /// Writes the report of a plan from the summaries of its experiments.
    PlanReport {
        /// The plan as it went, which says where the results are.
        #[arg(long)]
        plan: PathBuf,
        #[command(flatten)]
        termination: TerminationArgs,
    },
    /// Tells somebody of what happened, by HTTP.
    Notify {
        /// What is told, and to whom.
        #[arg(long)]
        plan: PathBuf,
        #[command(flatten)]
        termination: TerminationArgs,
    },
    /// Copies the results of a run into a folder and verifies them against their index: what is missing, differs or is
    /// not listed is named and not copied, and the exit code is 5 then, as it is without an index.
    Fetch {
        /// s3://bucket/prefix, or a folder.
        results: String,
        /// The folder to copy to.
        folder: PathBuf,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Compares two runs, cell by cell.
    Compare {
        /// The run to compare with: a folder, or s3://bucket/prefix.
        base: String,
        /// The run to be judged.
        subject: String,
        /// Compares runs that put different loads on their backends, and says so on the page.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Tells a server a setting by HTTP, again whenever it is missing, and answers 200 at /readyz while it is in force.
    Set {
        /// Where the setting is put, and read again.
        #[arg(long)]
        url: String,
        /// What it is.
        #[arg(long)]
        body: String,
        /// For how long it must have been there to be in force, seconds.
        #[arg(long, default_value_t = 0)]
        settle_seconds: u64,
        /// The address of /readyz.
        #[arg(long, default_value_t = SocketAddr::from(([0_u16; 8], SETTER_PORT as u16)))]
        listen: SocketAddr,
    },
    /// Has the Garage node beside it join others into one cluster with a bucket, and answers 200 at /readyz while S3 of the node answers
    /// for that. For pods of an experiment.
    JoinGarage(Box<garage::JoinArgs>),
    /// Kills the server in whose process namespace it stands, when it is asked at /kill. For pods of an experiment.
    Kill {
        /// The address of /kill.
        #[arg(long, default_value_t = SocketAddr::from(([0_u16; 8], KILLER_PORT as u16)))]
        listen: SocketAddr,
    },
    /// Makes the data of a Postgres standby from its running primary, by SQL. For pods of an experiment.
    Standby(standby::StandbyArgs),
    /// Serves a null S3 target: answers at once and keeps nothing.
    NullS3 {
        /// The address to listen on.
        #[arg(long, default_value = "127.0.0.1:9999")]
        listen: SocketAddr,
        /// Bytes of every object.
        #[arg(long, default_value_t = 4_096)]
        body: usize,
        /// Objects that every listing shows under its prefix.
        #[arg(long, default_value_t = 0)]
        objects: usize,
        #[command(flatten)]
        stall: StallArgs,
    },
    /// Serves a null Postgres target: answers every statement at once and keeps nothing.
    NullPostgres {
        /// The address to listen on.
        #[arg(long, default_value = "127.0.0.1:9998")]
        listen: SocketAddr,
        #[command(flatten)]
        stall: StallArgs,
    },
}

/// How a command ended that could not do its work.
struct Failed {
    failure: Failure,
    code: u8,
}

impl Failed {
    fn new(reason: &str, message: impl Into<String>, retryable: bool) -> Self {
        let failure = Failure {
            reason: reason.to_owned(),
            message: message.into(),
            retryable,
            stopped: false,
        };
        let code = if retryable { 3 } else { 1 };
        Self { failure, code }
    }

    /// One that was told to stop, and can go on.
    fn stopped(reason: &str, message: impl Into<String>) -> Self {
        let Self { failure, .. } = Self::new(reason, message, true);
        Self {
            failure: Failure {
                stopped: true,
                ..failure
            },
            code: STOPPED,
        }
    }
}

/// Runs the command of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let quiet = match &cli.command {
        Command::Run(run) => run.plan.is_none(),
        other => matches!(other, Command::Conformance(_) | Command::Trace(_)),
    };
    let level = if quiet { "warn" } else { "info" };
    let filter = EnvFilter::try_from_env("BAKEOFF_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .init();

    let runtime = match crate::instrument::runtime::local() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("loadgen: no runtime: {error}");
            return ExitCode::from(3);
        }
    };
    let (log, ended) = runtime.block_on(dispatch(cli.command));
    match ended {
        Ok((termination, code)) => {
            if let (Some(log), Some(termination)) = (log, termination)
                && let Err(error) = write_termination(&log, &termination)
            {
                eprintln!("loadgen: {}: {error}", log.display());
                return ExitCode::from(3);
            }
            ExitCode::from(code)
        }
        Err(failed) => {
            eprintln!("loadgen: {}", failed.failure.message);
            if let Some(log) = log
                && let Err(error) = write_termination(&log, &Termination::Failed(failed.failure))
            {
                eprintln!("loadgen: {}: {error}", log.display());
            }
            ExitCode::from(failed.code)
        }
    }
}

/// Writes a line to the standard output. Whoever reads it may stop reading, as `head` does; that is no error of
/// ours.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

type Ended = Result<(Option<Termination>, u8), Failed>;

async fn dispatch(command: Command) -> (Option<PathBuf>, Ended) {
    match command {
        Command::Run(args) => {
            let log = args.termination.termination_log.clone();
            let ended = match &args.plan {
                Some(plan) => commands::run(plan, &args).await,
                None => standalone::run(&args.standalone).await,
            };
            (log, ended)
        }
        Command::Conformance(args) => (None, conformance::run(&args).await),
        Command::Trace(command) => (None, trace::run(command).await),
        Command::Calibrate {
            directory,
            termination,
        } => (termination.termination_log, commands::calibrate(&directory)),
        Command::Report {
            results,
            plan,
            ending,
            force,
            store,
            termination,
        } => {
            let ended = commands::report(
                results.as_deref(),
                plan.as_deref(),
                ending.as_deref(),
                &store,
                force,
            )
            .await;
            (termination.termination_log, ended)
        }
        Command::Cleanup { plan, termination } => {
            (termination.termination_log, commands::cleanup(&plan).await)
        }
        Command::PlanReport { plan, termination } => (
            termination.termination_log,
            commands::plan_report(&plan).await,
        ),
        Command::Notify { plan, termination } => {
            (termination.termination_log, commands::notify(&plan).await)
        }
        Command::Fetch {
            results,
            folder,
            store,
        } => (None, fetch::fetch(&results, &folder, &store).await),
        Command::Trend {
            catalogue,
            out,
            csv,
            store,
        } => (None, trend::trend(&catalogue, out, csv, &store).await),
        Command::Compare {
            base,
            subject,
            force,
            store,
        } => (
            None,
            commands::compare(&base, &subject, &store, force).await,
        ),
        Command::Set {
            url,
            body,
            settle_seconds,
            listen,
        } => {
            let setting = Setting {
                url,
                body: body.into(),
                settle: Duration::from_secs(settle_seconds),
            };
            (None, commands::set(setting, listen).await)
        }
        Command::JoinGarage(args) => (None, garage::run(*args).await),
        Command::Kill { listen } => (None, commands::kill(listen).await),
        Command::Standby(args) => (None, standby::run(args).await),
        Command::NullS3 {
            listen,
            body,
            objects,
            stall,
        } => (
            None,
            commands::null_s3(listen, body, objects, stall.of()).await,
        ),
        Command::NullPostgres { listen, stall } => {
            (None, commands::null_postgres(listen, stall.of()).await)
        }
    }
}

/// A kubelet keeps 4096 bytes; a message that was cut would be no JSON.
fn write_termination(path: &Path, termination: &Termination) -> std::io::Result<()> {
    let mut termination = termination.clone();
    loop {
        let text = serde_json::to_string(&termination).map_err(std::io::Error::other)?;
        if text.len() <= TERMINATION_LIMIT {
            return std::fs::write(path, text);
        }
        match &mut termination {
            Termination::Failed(failure) if failure.message.chars().count() > 100 => {
                let half = failure.message.chars().count() / 2;
                failure.message = failure.message.chars().take(half).collect();
            }
            _ => return Err(std::io::Error::other("the termination message is too long")),
        }
    }
}
