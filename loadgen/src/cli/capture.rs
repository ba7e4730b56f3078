//! `loadgen trace capture`: traces of what a Postgres server knows, or of what goes on in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bakeoff_trace::builder::Builder;
use bakeoff_trace::import::{Ends, Options};
use bakeoff_trace::time::Unit;
use bakeoff_trace::{Manifest, Repair, Writer};
use clap::{Args, Subcommand};
use std::str::FromStr;

use super::commands::{create, instant, unreadable};
use super::{Failed, commands};
use crate::capture::{self, Bounds, CaptureError, Columns, Decoding, Reading, Source};
use crate::drivers::postgres::url::Address;
use crate::drivers::postgres::{Connector, Tls};

/// How long connecting may take; a statement has a limit of its own, at the server.
const CONNECT: Duration = Duration::from_secs(10);

#[derive(Debug, Subcommand)]
pub(super) enum CaptureCommand {
    /// A table that has a row for each event.
    Table {
        /// Its name, as SQL has it.
        #[arg(long)]
        table: String,
        #[command(flatten)]
        columns: ColumnArgs,
        #[command(flatten)]
        events: EventArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// What a query answers: a row for each event.
    Query {
        /// A file with one SELECT.
        #[arg(long)]
        query_file: PathBuf,
        #[command(flatten)]
        columns: ColumnArgs,
        #[command(flatten)]
        events: EventArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// The execution snapshots that Trigger.dev keeps. Its table has no index on the time: name a standby, and --allow-scan.
    TriggerDev {
        #[command(flatten)]
        events: EventArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Follows the table of the runs itself, by logical decoding: inserted is created, updated is moved, deleted is completed.
    Decoding(Box<DecodingArgs>),
}

#[derive(Debug, Args)]
pub(super) struct ColumnArgs {
    /// The column that tells one run from another.
    #[arg(long, default_value = "run")]
    run: String,
    /// The column that says when.
    #[arg(long, default_value = "time")]
    time: String,
    /// The column that says what happened.
    #[arg(long)]
    kind: Option<String>,
    /// The column of the state, or of its bytes where it is a number.
    #[arg(long)]
    value: Option<String>,
    /// A boolean column that says which events count.
    #[arg(long)]
    valid: Option<String>,
    /// What a number is that stands for a time: s, ms, us or ns.
    #[arg(long, default_value = "auto", value_parser = Unit::from_str)]
    unit: Unit,
    /// A word of the kind that means a creation; may be given several times. A run that begins with another was there before.
    #[arg(long)]
    created: Vec<String>,
    /// A word of the kind that means a completion; may be given several times.
    #[arg(long)]
    done: Vec<String>,
    /// When a run counts as completed: stated (a word says so), last (by its last event) or never.
    #[arg(long, default_value = "stated", value_parser = Ends::from_str)]
    ends: Ends,
}

#[derive(Debug, Args)]
pub(super) struct EventArgs {
    /// Leaves out what was before this time.
    #[arg(long)]
    from: Option<String>,
    /// Leaves out what was at this time or later.
    #[arg(long)]
    to: Option<String>,
    /// Reads from so much earlier, seconds: runs of that time are known to be open at the start.
    #[arg(long, default_value_t = 0, requires = "from", value_parser = clap::value_parser!(i64).range(0..=10_000_000_000))]
    reach_back_seconds: i64,
}

#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// A file with the URL of the server: postgres://user:password@host:5432/database?sslmode=verify-full.
    #[arg(long)]
    url_file: PathBuf,
    /// Certificates of authorities, in PEM, that are trusted in place of those of the system.
    #[arg(long)]
    ca_file: Option<PathBuf>,
    /// The server may be a primary. Without it only a standby is read.
    #[arg(long)]
    primary: bool,
    /// A table of more than 16 MB may be read from one end to the other.
    #[arg(long)]
    allow_scan: bool,
    /// The most rows that are read.
    #[arg(long, default_value_t = 20_000_000)]
    most_rows: u64,
    /// How long a statement may take.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    timeout_seconds: u32,
    /// What is done about events that do not fit: clamp or drop. They are counted. Without it the first one is refused; of what
    /// was followed, which nobody can do again, they are clamped.
    #[arg(long, value_parser = Repair::from_str)]
    repair: Option<Repair>,
    /// The folder of the trace; it may not hold one yet.
    #[arg(long)]
    out: PathBuf,
    /// Where what is sorted is kept meanwhile; it goes away by itself. Default: the folder of the trace.
    #[arg(long)]
    scratch: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct DecodingArgs {
    /// A publication with the table, which whoever owns the table has made.
    #[arg(long)]
    publication: String,
    /// The table, as schema.name. Default: the only one of the publication.
    #[arg(long)]
    table: Option<String>,
    /// The column that tells one run from another. Default: those of the replica identity, which has to hold it unless a word ends
    /// the runs.
    #[arg(long)]
    run: Option<String>,
    /// The column with the word that says how far a run is.
    #[arg(long, requires = "done")]
    kind: Option<String>,
    /// A word of it that means a completion; may be given several times. Then the removal of a row means nothing.
    #[arg(long, requires = "kind")]
    done: Vec<String>,
    /// The column of the state.
    #[arg(long)]
    value: Option<String>,
    /// For how long.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=604_800))]
    seconds: u32,
    /// Reads which runs are there at the start, for which the whole table is read.
    #[arg(long)]
    open_runs: bool,
    /// The most of the log that the server may have to keep for it, in MB: beyond that the recording ends.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    most_lag_megabytes: i64,
    #[command(flatten)]
    server: ServerArgs,
}

impl From<CaptureError> for Failed {
    fn from(error: CaptureError) -> Self {
        Self::new("Capture", error.to_string(), error.retryable())
    }
}

impl ServerArgs {
    fn connector(&self) -> Result<Connector, Failed> {
        let url = std::fs::read_to_string(&self.url_file).map_err(unreadable(&self.url_file))?;
        // Nothing of it is repeated: it has a password in it.
        let invalid = |detail: String| {
            let message = format!("{}: {detail}", self.url_file.display());
            Failed::new("PostgresUrlInvalid", message, false)
        };
        let address = Address::parse(&url, None).map_err(|error| invalid(error.to_string()))?;
        let file = self.ca_file.as_deref();
        let authorities = file
            .map(|path| std::fs::read(path).map_err(unreadable(path)))
            .transpose()?;
        let tls = Tls::new(address.ssl, &address.host, authorities.as_deref())
            .map_err(|error| invalid(error.to_string()))?;
        let connector = Connector::new(
            &address.endpoint(),
            &address.database,
            &address.credentials,
            CONNECT,
        )
        .map_err(|error| invalid(error.to_string()))?;
        Ok(connector
            .with_options(address.options.as_deref())
            .with_tls(tls))
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            primary: self.primary,
            scans: self.allow_scan,
            most_rows: self.most_rows,
            statement_seconds: self.timeout_seconds,
        }
    }

    /// The folder of the trace and that of what is sorted, both of which can be written to: to be asked before anything is
    /// recorded that nobody can record again.
    fn folders(&self) -> Result<(&Path, &Path), Failed> {
        create(&self.out)?;
        Writer::may_begin(&self.out)?;
        let scratch = self.scratch.as_ref().unwrap_or(&self.out);
        create(scratch)?;
        Builder::may_sort_in(scratch)?;
        Ok((&self.out, scratch))
    }
}

impl EventArgs {
    fn reading(&self, source: Source, options: Options) -> Result<Reading, Failed> {
        let instant = |text: &Option<String>| instant(text.as_deref(), Unit::Auto);
        Ok(Reading {
            source,
            options: Options {
                window: (instant(&self.from)?, instant(&self.to)?),
                ..options
            },
            reach_back_micros: self.reach_back_seconds.saturating_mul(1_000_000),
        })
    }
}

impl ColumnArgs {
    fn taken(self) -> (Columns, Options) {
        let columns = Columns {
            run: self.run,
            time: self.time,
            kind: self.kind,
            value: self.value,
            valid: self.valid,
        };
        let options = Options {
            unit: self.unit,
            created: self.created,
            done: self.done,
            ends: self.ends,
            ..Options::default()
        };
        (columns, options)
    }
}

/// Captures; the folder of the trace, what it is, and what has to be said of it.
pub(super) async fn run(
    command: CaptureCommand,
) -> Result<(PathBuf, Manifest, Option<String>), Failed> {
    let (reading, server) = match command {
        CaptureCommand::Table {
            table,
            columns,
            events,
            server,
        } => {
            let (columns, options) = columns.taken();
            let source = Source::Table(table, columns);
            (events.reading(source, options)?, server)
        }
        CaptureCommand::Query {
            query_file,
            columns,
            events,
            server,
        } => {
            let sql = std::fs::read_to_string(&query_file).map_err(unreadable(&query_file))?;
            let (columns, options) = columns.taken();
            let source = Source::Query(sql, columns);
            (events.reading(source, options)?, server)
        }
        CaptureCommand::TriggerDev { events, server } => {
            let options = Options {
                created: vec!["RUN_CREATED".to_owned()],
                done: vec!["FINISHED".to_owned()],
                ..Options::default()
            };
            (events.reading(Source::TriggerDev, options)?, server)
        }
        CaptureCommand::Decoding(args) => return decode(*args).await,
    };
    let reading = Reading {
        options: Options {
            repair: server.repair,
            ..reading.options
        },
        ..reading
    };
    let connector = server.connector()?;
    let folders = server.folders()?;
    let manifest = capture::read(&connector, &server.bounds(), &reading, folders).await?;
    Ok((server.out, manifest, None))
}

async fn decode(args: DecodingArgs) -> Result<(PathBuf, Manifest, Option<String>), Failed> {
    let table = args.table.map(|name| match name.split_once('.') {
        Some((schema, table)) => (schema.to_owned(), table.to_owned()),
        None => ("public".to_owned(), name),
    });
    let decoding = Decoding {
        publication: args.publication,
        table,
        run: args.run,
        kind: args.kind,
        value: args.value,
        options: Options {
            done: args.done,
            // What would be refused is lost: a recording cannot be read once more.
            repair: Some(args.server.repair.unwrap_or(Repair::Clamp)),
            ..Options::default()
        },
        seconds: args.seconds,
        open_runs: args.open_runs,
        most_lag_bytes: args.most_lag_megabytes << 20,
    };
    let connector = args.server.connector()?;
    let folders = args.server.folders()?;
    let mut stopped = commands::stop_on_signals()?;
    let stop = async move {
        // The sender lives as long as the process listens for signals.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let bounds = args.server.bounds();
    let recorded = capture::decode(&connector, &bounds, &decoding, folders, stop).await?;
    Ok((args.server.out, recorded.manifest, recorded.cut_off))
}
