//! What the generator itself costs: each cell for a second against a server that answers at once.
//!
//! Once for each cell and start of the generators, before the cell's first trial: the machine and
//! the program are the same for all trials of a cell, and a second before each of hundreds of
//! trials would be spent for nothing.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bakeoff_analysis::stats::round;
use bakeoff_crds::result::Baseline;
use bakeoff_crds::schedule::Trial;

use super::{Run, RunError, stoppable};
use crate::credentials::Credentials;
use crate::drivers::access::Access;
use crate::drivers::postgres::Connector;
use crate::drivers::postgres::null as null_postgres;
use crate::drivers::s3::Target;
use crate::drivers::s3::conn::Dialer;
use crate::drivers::s3::null as null_s3;
use crate::drivers::stall::Stall;
use crate::instrument::record::decode;
use crate::workloads::{self, Alone, Context, Null, Part};

/// How long an operation may take; nothing takes long there, but on a machine that does something else.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Seconds of the window.
const SECONDS: i32 = 1;
/// Open runs of a baseline at most: their number costs a generator next to nothing, and loading many would
/// take longer than the baseline.
const MAX_RUNS: u64 = 20_000;

/// The baselines of this start of the generator.
#[derive(Debug, Default)]
pub(super) struct Baselines {
    s3: Option<SocketAddr>,
    postgres: Option<SocketAddr>,
    known: BTreeMap<(String, i32), Option<Baseline>>,
}

impl Baselines {
    /// The baseline of a trial's cell; measured when it is the first of that cell. Nothing goes
    /// wrong with a run because it has none.
    ///
    /// # Errors
    /// When the process is asked to stop meanwhile.
    pub(super) async fn of(
        &mut self,
        run: &Run,
        trial: &Trial,
        rate: Option<f64>,
    ) -> Result<Option<Baseline>, RunError> {
        let cell = (trial.workload.clone(), trial.cell_index);
        if let Some(known) = self.known.get(&cell) {
            return Ok(*known);
        }
        let baseline = match self.access(workloads::null(&run.plan.spec, trial))? {
            Some(access) => measure(run, trial, rate, access).await?,
            None => None,
        };
        self.known.insert(cell, baseline);
        Ok(baseline)
    }

    /// Connections to the null server of a workload; starts it when it is the first that asks.
    fn access(&mut self, null: Option<Null>) -> Result<Option<Access>, RunError> {
        let credentials = Credentials {
            user: "null".to_owned(),
            secret: "null".to_owned(),
            session_token: None,
            authorities: None,
        };
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        match null {
            Some(Null::S3) => {
                let server = start(&mut self.s3, "null-s3", move |started| {
                    null_s3::serve(local, 0, 0, Stall::default(), started)
                });
                let Some(server) = server else {
                    return Ok(None);
                };
                let endpoint = format!("http://{server}");
                let target = Target::new(&endpoint, "null", "null", true, credentials)?;
                let dialer = Dialer::new(Arc::new(target), TIMEOUT, false)?;
                Ok(Some(Access::S3(dialer)))
            }
            Some(Null::Postgres) => {
                let server = start(&mut self.postgres, "null-postgres", move |started| {
                    null_postgres::serve(local, Stall::default(), started)
                });
                let connector = server.and_then(|server| {
                    let endpoint = format!("postgres://{server}");
                    Connector::new(&endpoint, "null", &credentials, TIMEOUT).ok()
                });
                Ok(connector.map(Access::Postgres))
            }
            None => Ok(None),
        }
    }
}

/// The address of a null server, on a thread of its own, so that its CPU time is not the generator's.
fn start<F: Future<Output = std::io::Result<()>>>(
    server: &mut Option<SocketAddr>,
    name: &str,
    serve: impl FnOnce(Box<dyn FnOnce(SocketAddr)>) -> F + Send + 'static,
) -> Option<SocketAddr> {
    if server.is_none() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let started = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(serve(Box::new(move |address| {
                    // Whoever asked has given up waiting.
                    let _ = sender.send(address);
                })))
            });
        if let Err(error) = started {
            tracing::warn!(%error, "no null server, so no baselines");
            return None;
        }
        *server = receiver.recv_timeout(TIMEOUT).ok();
    }
    *server
}

async fn measure(
    run: &Run,
    trial: &Trial,
    rate: Option<f64>,
    access: Access,
) -> Result<Option<Baseline>, RunError> {
    let mut spec = run.plan.spec.clone();
    spec.trials.warmup_seconds = 0;
    spec.trials.window_seconds = SECONDS;
    spec.trials.drain_seconds = SECONDS;
    let context = Context {
        spec: &spec,
        trial,
        attempt: 0,
        access,
        lock: None,
        prefix: String::new(),
        generator: run.index,
        generators: run.generators,
        rate,
        most_runs: MAX_RUNS,
        faults: None,
        traces: &run.traces,
        live: Arc::default(),
    };
    match stoppable(workloads::run(&context, &Alone), run.stop.clone()).await? {
        Ok(part) => Ok(figures(&part)),
        Err(error) => {
            tracing::warn!(%error, trial = trial.id, "no baseline");
            Ok(None)
        }
    }
}

fn figures(part: &Part) -> Option<Baseline> {
    let operation = part.recorded.operations.get(part.series_kind())?;
    if operation.count <= 0 {
        return None;
    }
    let at = |encoded, q| {
        let value = decode(encoded).ok()?.value_at_quantile(q);
        i64::try_from(value).ok()
    };
    // Batching delays its objects by design; what judges the generator is another kind there.
    let judged = part.recorded.operations.get(part.planned_kind)?;
    let cpu = part.usage.thread_cpu as f64 / 1_000.0;
    Some(Baseline {
        operations: operation.count,
        per_second: round(operation.count as f64 / f64::from(SECONDS)),
        response_p50_micros: at(&operation.response, 0.5)?,
        response_p99_micros: at(&operation.response, 0.99)?,
        generator_lag_p99_micros: at(&judged.generator_lag, 0.99)?,
        cpu_micros_per_operation: round(cpu / operation.count as f64),
    })
}
