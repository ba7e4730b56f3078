//! `loadgen trace`: recordings of what runs did, from the logs of other systems.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bakeoff_analysis::report::recording::{Piece, Recording, recording_html};
use bakeoff_trace::fit::fit;
use bakeoff_trace::format::{EVENTS_FILE, MANIFEST_FILE, Quantiles};
use bakeoff_trace::import::{Ends, Fields, Format, Options, run_all};
use bakeoff_trace::inspect::{Inspection, inspect};
use bakeoff_trace::synthesize::{Shape, synthesize};
use bakeoff_trace::time::Unit;
use bakeoff_trace::{Error, Manifest, Repair, Trace};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::args::StoreArgs;
use super::capture::{self, CaptureCommand};
use super::commands::{create, instant, open, unwritable};
use super::{Ended, Failed};

#[derive(Debug, Subcommand)]
pub(super) enum TraceCommand {
    /// Makes a trace of logs. It has times and kinds of events alone: no names, ids or payloads.
    Import(Box<ImportArgs>),
    /// Reads a trace out of a Postgres server, or follows one for a while. Nothing stays there.
    #[command(subcommand)]
    Capture(Box<CaptureCommand>),
    /// Says what is in a trace: rates, bursts, lengths of runs, what is open and what never ends.
    Inspect {
        /// The folder of the trace.
        trace: PathBuf,
        /// Prints it for other programs.
        #[arg(long)]
        json: bool,
        /// Draws it as a page.
        #[arg(long)]
        html: Option<PathBuf>,
    },
    /// Says which parameters of headRow come nearest to a trace, and how near that is.
    Fit {
        /// The folder of the trace.
        trace: PathBuf,
        /// Prints it for other programs.
        #[arg(long)]
        json: bool,
    },
    /// Makes a trace of stated quantiles, or one that looks like another.
    Synthesize(Box<SynthesizeArgs>),
    /// Reads a whole trace and says whether it is what its trace.json says.
    Verify {
        /// The folder of the trace.
        trace: PathBuf,
    },
    /// Copies a trace into a results store, where a replay finds it.
    Put {
        /// The folder of the trace.
        trace: PathBuf,
        /// s3://bucket/traces/NAME, or a folder.
        to: String,
        #[command(flatten)]
        store: StoreArgs,
    },
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// csv, jsonl, xes, cloudevents, otlp, temporal, or events (the table of a trace, to be checked or repaired).
    #[arg(value_parser = Format::from_str)]
    format: Format,
    /// The logs, plain or compressed by gzip; several are read as if they were one.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The folder of the trace; it may not hold one yet.
    #[arg(long)]
    out: PathBuf,
    /// What tells one run from another: a column of csv, a path of keys with dots in jsonl.
    #[arg(long, default_value = "run")]
    run: String,
    /// When: a column or a path.
    #[arg(long, default_value = "time")]
    time: String,
    /// What happened: a column or a path.
    #[arg(long)]
    kind: Option<String>,
    /// Bytes of the state: a column or a path.
    #[arg(long)]
    value: Option<String>,
    /// Between the columns of csv.
    #[arg(long, default_value_t = ',')]
    separator: char,
    /// What a bare number is that stands for a time: auto, s, ms, us or ns.
    #[arg(long, default_value = "auto", value_parser = Unit::from_str)]
    unit: Unit,
    /// A word of the kind that means a creation; may be given several times. Without one the first event of a run created it.
    #[arg(long)]
    created: Vec<String>,
    /// A word of the kind that means a completion; may be given several times.
    #[arg(long)]
    done: Vec<String>,
    /// When a run counts as completed: stated (the log says so), last (by its last event) or never.
    #[arg(long, default_value = "stated", value_parser = Ends::from_str)]
    ends: Ends,
    /// What is done about events that do not fit: clamp or drop. They are counted. Without it the first one is refused.
    #[arg(long, value_parser = Repair::from_str)]
    repair: Option<Repair>,
    /// Leaves out what was before this time.
    #[arg(long)]
    from: Option<String>,
    /// Leaves out what was at this time or later.
    #[arg(long)]
    to: Option<String>,
    /// Where what is sorted is kept meanwhile; it goes away by itself. Default: the folder of the trace.
    #[arg(long)]
    scratch: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct SynthesizeArgs {
    /// The folder of the trace; it may not hold one yet.
    #[arg(long)]
    out: PathBuf,
    /// A trace that it is to look like.
    #[arg(long, required_unless_present_all = ["runs", "span_seconds", "events"])]
    like: Option<PathBuf>,
    /// Runs that begin.
    #[arg(long)]
    runs: Option<u64>,
    /// Length of the recording, seconds.
    #[arg(long)]
    span_seconds: Option<u64>,
    /// Events of a run, creation and completion included: p50,p90,p99,max.
    #[arg(long, value_parser = quantiles)]
    events: Option<Quantiles>,
    /// Milliseconds from an event of a run to its next: p50,p90,p99,max.
    #[arg(long, value_parser = quantiles)]
    gap_millis: Option<Quantiles>,
    /// Of 1000 runs those that never end.
    #[arg(long)]
    never_end_per_mille: Option<u32>,
    /// Bytes of the state of each event.
    #[arg(long)]
    state_bytes: Option<u32>,
    /// What chance begins with: the same gives the same trace.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn quantiles(text: &str) -> Result<Quantiles, String> {
    let numbers = text.split(',').map(|number| number.trim().parse::<u64>());
    let numbers: Result<Vec<u64>, _> = numbers.collect();
    match numbers.as_deref() {
        Ok(&[p50, p90, p99, max]) => Ok(Quantiles { p50, p90, p99, max }),
        _ => Err("four whole numbers are wanted: p50,p90,p99,max".to_owned()),
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        // A disk that is full may be emptied; what a log says stays as it is.
        let retryable = matches!(error, Error::Io { .. });
        Self::new("Trace", error.to_string(), retryable)
    }
}

pub(super) async fn run(command: TraceCommand) -> Ended {
    match command {
        TraceCommand::Import(args) => import(*args)?,
        TraceCommand::Capture(command) => {
            let (folder, manifest, cut_off) = capture::run(*command).await?;
            made(&folder, &manifest);
            if let Some(why) = cut_off {
                super::print(&format!("it ended early: {why}"));
            }
        }
        TraceCommand::Put { trace, to, store } => put(&trace, &to, &store).await?,
        TraceCommand::Inspect { trace, json, html } => {
            let mut opened = Trace::open(&trace)?;
            let found = inspect(&mut opened)?;
            if let Some(file) = html {
                let page = recording_html(&recording(&trace, opened.manifest(), &found));
                std::fs::write(&file, page).map_err(unwritable(&file))?;
            }
            print(json, &found, || found.table())?;
        }
        TraceCommand::Fit { trace, json } => {
            let found = fit(&mut Trace::open(&trace)?)?;
            print(json, &found, || text_of(&found))?;
        }
        TraceCommand::Synthesize(args) => {
            let manifest = synthesize(&shape(&args)?, args.seed, &args.out)?;
            made(&args.out, &manifest);
        }
        TraceCommand::Verify { trace } => {
            let mut opened = Trace::open(&trace)?;
            opened.verify()?;
            for event in opened.events()? {
                event?;
            }
            made(&trace, opened.manifest());
        }
    }
    Ok((None, 0))
}

/// Copies a trace that is whole; its description last, so that a folder with one is whole as well.
async fn put(folder: &Path, to: &str, args: &StoreArgs) -> Result<(), Failed> {
    let mut trace = Trace::open(folder)?;
    trace.verify()?;
    if !to.starts_with("s3://") {
        create(Path::new(to.strip_prefix("file://").unwrap_or(to)))?;
    }
    let store = open(to, args)?;
    store.ensure().await?;
    if store.get(MANIFEST_FILE).await?.is_some() {
        let message = format!("{to} holds a trace already: choose another name");
        return Err(Failed::new("TraceThere", message, false));
    }
    for name in [EVENTS_FILE, MANIFEST_FILE] {
        store.put_file(name, &folder.join(name)).await?;
    }
    super::print(&format!(
        "{to}: {} events, sha256 {}",
        trace.manifest().counts.events(),
        trace.manifest().sha256
    ));
    Ok(())
}

fn import(args: ImportArgs) -> Result<(), Failed> {
    let wrong = |message: String| Failed::new("Usage", message, false);
    let separator = u8::try_from(args.separator)
        .map_err(|_| wrong("--separator is one character of ASCII".to_owned()))?;
    let options = Options {
        window: (
            instant(args.from.as_deref(), args.unit)?,
            instant(args.to.as_deref(), args.unit)?,
        ),
        fields: Fields {
            run: args.run,
            time: args.time,
            kind: args.kind,
            value: args.value,
        },
        separator,
        unit: args.unit,
        created: args.created,
        done: args.done,
        ends: args.ends,
        repair: args.repair,
    };
    create(&args.out)?;
    let scratch = args.scratch.as_ref().unwrap_or(&args.out);
    create(scratch)?;
    // Which of several was read last is where an error is.
    let reading = std::cell::Cell::new(None::<&Path>);
    let files = args.files.iter().map(|file| {
        reading.set(Some(file));
        File::open(file).map_err(|source| Error::Io {
            what: format!("open {}", file.display()),
            source,
        })
    });
    let imported = run_all(args.format, files, &options, &args.out, scratch).map_err(|error| {
        let failed = Failed::from(error);
        match reading.get() {
            Some(file) if args.files.len() > 1 => {
                let message = format!("{}: {}", file.display(), failed.failure.message);
                Failed::new(&failed.failure.reason, message, failed.failure.retryable)
            }
            _ => failed,
        }
    })?;
    made(&args.out, &imported.manifest);
    Ok(())
}

fn shape(args: &SynthesizeArgs) -> Result<Shape, Failed> {
    let like = match &args.like {
        Some(folder) => {
            let trace = Trace::open(folder)?;
            let shape = Shape::of(trace.manifest());
            Some(shape.ok_or_else(|| {
                let message = format!("{} has no run whose length is known", folder.display());
                Failed::new("Trace", message, false)
            })?)
        }
        None => None,
    };
    let none = Quantiles {
        p50: 0,
        p90: 0,
        p99: 0,
        max: 0,
    };
    let mut shape = like.unwrap_or(Shape {
        runs: 0,
        span_micros: 0,
        events_per_run: none,
        gap_micros: none,
        never_end_per_mille: 0,
        state_bytes: None,
    });
    shape.runs = args.runs.unwrap_or(shape.runs);
    if let Some(seconds) = args.span_seconds {
        shape.span_micros = seconds.saturating_mul(1_000_000);
    }
    shape.events_per_run = args.events.unwrap_or(shape.events_per_run);
    if let Some(gap) = args.gap_millis {
        let micros = |millis: u64| millis.saturating_mul(1_000);
        shape.gap_micros = Quantiles {
            p50: micros(gap.p50),
            p90: micros(gap.p90),
            p99: micros(gap.p99),
            max: micros(gap.max),
        };
    }
    shape.never_end_per_mille = args
        .never_end_per_mille
        .unwrap_or(shape.never_end_per_mille);
    shape.state_bytes = args.state_bytes.or(shape.state_bytes);
    Ok(shape)
}

/// What was found, as a page shows it.
fn recording(folder: &Path, manifest: &Manifest, found: &Inspection) -> Recording {
    let piece = found.bin_micros as f64 / 1e6;
    let pieces = (1..).zip(&found.bins).map(|(number, bin)| Piece {
        until: f64::from(number) * piece,
        per_second: bin.events as f64 / piece,
        open: bin.open as f64,
    });
    let name = folder.file_name().unwrap_or(folder.as_os_str());
    Recording {
        name: name.to_string_lossy().into_owned(),
        started_at: manifest.started_at.clone().unwrap_or_default(),
        figures: found
            .rows()
            .into_iter()
            .map(|(what, is)| (what.to_owned(), is))
            .collect(),
        seconds: found.span_micros as f64 / 1e6,
        pieces: pieces.collect(),
    }
}

/// One line about a trace.
fn made(folder: &Path, manifest: &Manifest) {
    let mut text = format!(
        "{}: {} events of {} runs in {:.1} s; {} open at the start, {} at the end",
        folder.display(),
        manifest.counts.events(),
        manifest.runs,
        manifest.span_micros as f64 / 1e6,
        manifest.open.at_start,
        manifest.open.at_end,
    );
    for (what, counts) in [
        ("left out", &manifest.dropped),
        ("repaired", &manifest.repaired),
    ] {
        for (reason, count) in counts {
            text.push_str(&format!("; {what}: {count} ({reason})"));
        }
    }
    super::print(&text);
}

fn print<T: Serialize>(json: bool, found: &T, table: impl Fn() -> String) -> Result<(), Failed> {
    let text = if json {
        serde_json::to_string_pretty(found)
            .map_err(|error| Failed::new("Json", error.to_string(), false))?
    } else {
        table()
    };
    super::print(text.trim_end());
    Ok(())
}

fn text_of(fit: &bakeoff_trace::fit::Fit) -> String {
    let state = fit.state_bytes.map_or_else(
        || "stateBytes: not known".to_owned(),
        |bytes| format!("stateBytes: {bytes}"),
    );
    format!(
        "headRow:\n  activeRuns: [{}]\n  sleeperPercent: {}\n  minTransitions: {}\n  maxTransitions: {}\n  {state}\n\
         {:.1} events per second; {:.2} transitions per run on average, of {} {} runs\n\
         of 100 runs {:.0} would have to be of another length for these uniform numbers to hold",
        fit.active_runs,
        fit.sleeper_percent,
        fit.min_transitions,
        fit.max_transitions,
        fit.rate_per_second,
        fit.mean_transitions,
        fit.runs,
        if fit.complete_runs {
            "whole"
        } else {
            "created"
        },
        fit.distance_percent,
    )
}
