//! What the generator itself costs: each cell for a second against a server that answers at once.
//!
//! Once for each cell and start of the generators, before the cell's first trial: the machine and
//! the program are the same for all trials of a cell, and a second before each of hundreds of
//! trials would be spent for nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bakeoff_analysis::stats::round;
use bakeoff_crds::result::Baseline;
use bakeoff_crds::schedule::Trial;
use bakeoff_crds::spec::WorkloadKind;

use super::{Run, RunError, stoppable};
use crate::access::Access;
use crate::null_s3;
use crate::record::decode;
use crate::s3::Target;
use crate::s3::conn::Dialer;
use crate::sigv4::Credentials;
use crate::workloads::{self, Alone, Context, Part};

/// How long an operation may take; nothing takes long there.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Seconds of the window.
const SECONDS: i32 = 1;

/// The baselines of this start of the generator.
#[derive(Debug, Default)]
pub(super) struct Baselines {
    server: Option<SocketAddr>,
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
        let baseline = match trial.kind {
            WorkloadKind::SmallObjectPut | WorkloadKind::Batching => {
                self.measure(run, trial, rate).await?
            }
            // They read back what they wrote, which a server that keeps nothing cannot answer, or
            // speak another protocol.
            WorkloadKind::ColdRead
            | WorkloadKind::Consistency
            | WorkloadKind::HeadRow
            | WorkloadKind::CasRace => None,
        };
        self.known.insert(cell, baseline);
        Ok(baseline)
    }

    async fn measure(
        &mut self,
        run: &Run,
        trial: &Trial,
        rate: Option<f64>,
    ) -> Result<Option<Baseline>, RunError> {
        let Some(server) = self.server() else {
            return Ok(None);
        };
        let credentials = Credentials {
            access_key_id: "null".to_owned(),
            secret_access_key: "null".to_owned(),
            session_token: None,
        };
        let endpoint = format!("http://{server}");
        let target = Target::new(&endpoint, "null", "null", true, credentials)?;
        let mut spec = run.plan.spec.clone();
        spec.trials.warmup_seconds = 0;
        spec.trials.window_seconds = SECONDS;
        spec.trials.drain_seconds = SECONDS;
        let context = Context {
            spec: &spec,
            trial,
            attempt: 0,
            access: Access::S3(Dialer::new(Arc::new(target), TIMEOUT, false)?),
            prefix: String::new(),
            generator: run.index,
            generators: run.generators,
            rate,
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

    /// The null server, on a thread of its own, so that its CPU time is not the generator's.
    fn server(&mut self) -> Option<SocketAddr> {
        if self.server.is_none() {
            let (sender, receiver) = std::sync::mpsc::channel();
            let started = std::thread::Builder::new()
                .name("null-s3".into())
                .spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()?;
                    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
                    runtime.block_on(null_s3::serve(listen, 0, |address| {
                        let _ = sender.send(address);
                    }))
                });
            if let Err(error) = started {
                tracing::warn!(%error, "no null server, so no baselines");
                return None;
            }
            self.server = receiver.recv_timeout(TIMEOUT).ok();
        }
        self.server
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
