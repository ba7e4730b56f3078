//! What all generators measured in one attempt, brought together by generator 0.

use std::collections::BTreeMap;
use std::time::Duration;

use bakeoff_crds::figure::Figure;
use bakeoff_crds::result::Window;
use jiff::Timestamp;

use super::{Run, RunError, STORE_PATIENCE};
use crate::instrument::clock;
use crate::instrument::clock_offset::ClockOffset;
use crate::run::assemble::{self, PartRecord};
use crate::store::layout;
use crate::workloads::{self, Context, Part, RawFile, Share};

/// How often it is looked whether another generator has delivered.
const LOOK: Duration = Duration::from_millis(200);
/// How long after the drain the last of them may.
const DELIVERY: Duration = Duration::from_secs(60);

impl Run {
    /// Writes this generator's raw files; answers their names.
    pub(super) async fn raw(&self, folder: &str, part: &Part) -> Result<Vec<String>, RunError> {
        let intervals = RawFile {
            name: layout::INTERVALS,
            of_each: true,
            bytes: part.recorded.intervals.clone(),
        };
        let mut files = vec![self.keep(folder, &intervals).await?];
        for file in part.artefacts.iter().filter(|file| !file.bytes.is_empty()) {
            files.push(self.keep(folder, file).await?);
        }
        Ok(files)
    }

    async fn keep(&self, folder: &str, file: &RawFile) -> Result<String, RunError> {
        let name = if file.of_each && self.generators > 1 {
            layout::of_generator(file.name, self.index)
        } else {
            file.name.to_owned()
        };
        let (full, bytes) = (format!("{folder}{name}"), file.bytes.clone());
        self.store.put_durably(&full, bytes, STORE_PATIENCE).await?;
        Ok(name)
    }

    /// The parts of all generators, merged, and what their histories say together.
    pub(super) async fn collect(
        &self,
        context: &Context<'_>,
        folder: &str,
        mut part: Part,
    ) -> Result<Measured, RunError> {
        let own_events = part.shared_history.take();
        let shared = own_events.is_some();
        let mut measured = Measured {
            window: Some(wall_window(part.window)),
            figures: part.figures.clone(),
            state: part.state.clone(),
            horizon: part.horizon.clone(),
            disturbed: part.disturbed,
            files: self.raw(folder, &part).await?,
            ..Measured::default()
        };
        let mut all = Collected {
            parts: vec![PartRecord::new(
                &part,
                self.index,
                &self.node,
                Default::default(),
            )],
            logs: vec![part.recorded.intervals],
            shares: vec![Share {
                events: own_events.unwrap_or_default(),
                clock: ClockOffset::default(),
            }],
        };
        let seconds = self.plan.spec.trials.drain_seconds;
        let drain = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let mut patience = drain + DELIVERY;
        for index in 1..self.generators {
            let (files, whole) = self
                .other(folder, index, shared, &mut patience, &mut all)
                .await?;
            measured.missing += usize::from(!whole);
            measured.files.extend(files);
        }
        measured.whole = assemble::merge(&all.parts, &all.logs)?;
        // Without a part of it a history shows values that nobody wrote: nothing can be said of it.
        if shared && measured.missing == 0 {
            match workloads::conclude(context, all.shares).await {
                Ok(conclusion) => {
                    measured.whole.checks.extend(conclusion.checks);
                    measured.whole.counters.extend(conclusion.counters);
                    for file in &conclusion.artefacts {
                        measured.files.push(self.keep(folder, file).await?);
                    }
                }
                Err(error) => measured.failed = Some(error.to_string()),
            }
        }
        measured.generators = all.parts.into_iter().map(|part| part.usage).collect();
        Ok(measured)
    }

    /// Adds what another generator delivered; answers its files, and whether nothing of it is missing. Of the patience
    /// goes what is spent between two looks: while the store is away a look takes long, and nobody can deliver.
    async fn other(
        &self,
        folder: &str,
        index: usize,
        shared: bool,
        patience: &mut Duration,
        all: &mut Collected,
    ) -> Result<(Vec<String>, bool), RunError> {
        let name = layout::part(index);
        let bytes = loop {
            if let Some(bytes) = self.delivered(folder, &name).await? {
                break bytes;
            }
            let Some(left) = patience.checked_sub(LOOK) else {
                return Ok((Vec::new(), false));
            };
            *patience = left;
            tokio::time::sleep(LOOK).await;
        };
        let other: PartRecord = serde_json::from_slice(&bytes)?;
        let mut files = vec![name];
        if shared {
            let file = layout::of_generator(layout::HISTORY, index);
            let history = self.delivered(folder, &file).await?;
            let read = |(bytes, clock): (Vec<u8>, _)| workloads::share(&bytes, clock).ok();
            let Some(share) = history.zip(other.monotonic).and_then(read) else {
                return Ok((files, false));
            };
            files.push(file);
            all.shares.push(share);
        }
        all.parts.push(other);
        let log = layout::of_generator(layout::INTERVALS, index);
        if let Some(bytes) = self.delivered(folder, &log).await? {
            all.logs.push(bytes);
            files.push(log);
        }
        Ok((files, true))
    }

    async fn delivered(&self, folder: &str, name: &str) -> Result<Option<Vec<u8>>, RunError> {
        let full = format!("{folder}{name}");
        Ok(self.store.get_durably(&full, STORE_PATIENCE).await?)
    }
}

/// What the generators measured in one attempt.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) whole: PartRecord,
    pub(super) generators: Vec<bakeoff_crds::result::GeneratorUsage>,
    pub(super) window: Option<Window>,
    pub(super) files: Vec<String>,
    pub(super) figures: BTreeMap<Figure, f64>,
    pub(super) state: Option<bakeoff_crds::result::StateSeries>,
    pub(super) horizon: Option<bakeoff_crds::result::HorizonHeld>,
    pub(super) missing: usize,
    /// Whether a server was killed on purpose.
    pub(super) disturbed: bool,
    /// Why the histories of all could not be checked.
    pub(super) failed: Option<String>,
}

/// What the generators delivered, in the order of their indices.
struct Collected {
    parts: Vec<PartRecord>,
    logs: Vec<Vec<u8>>,
    shares: Vec<Share>,
}

fn wall_window((start, end): (u64, u64)) -> Window {
    let (monotonic, wall) = (clock::now(), clock::wall());
    let at = |instant: u64| {
        let nanos = i128::from(wall) - i128::from(monotonic) + i128::from(instant);
        Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::UNIX_EPOCH)
    };
    let micros = i64::try_from(end.saturating_sub(start) / 1_000).unwrap_or(i64::MAX);
    Window {
        start: at(start),
        end: at(end),
        micros,
    }
}
