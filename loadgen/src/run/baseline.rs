//! What the generator itself costs: each cell for a second against a server that answers at once.
//!
//! Once for each cell and start of the generators, before the cell's first trial: the machine and
//! the program are the same for all trials of a cell, and a second before each of hundreds of
//! trials would be spent for nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bakeoff_analysis::stats::round;
use bakeoff_crds::result::Baseline;
use bakeoff_crds::schedule::Trial;

use super::{Run, RunError, stoppable};
use crate::drivers::access::Access;
use crate::drivers::null_servers::NullServers;
use crate::instrument::record::decode;
use crate::workloads::{self, Alone, Context, Part};

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
    servers: NullServers,
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
        let access = match workloads::null(&run.plan.spec, trial) {
            Some(ground) => self.servers.access(ground, TIMEOUT)?,
            None => None,
        };
        let baseline = match access {
            Some(access) => measure(run, trial, rate, access).await?,
            None => None,
        };
        self.known.insert(cell, baseline);
        Ok(baseline)
    }
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
