//! The runs that are read back: written once for each backend and number of objects.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::super::body::Bodies;
use crate::drivers::s3::dialer::Dialer;
use crate::drivers::s3::patience::Patience;
use crate::drivers::s3::{Connection, ListRequest, MOST_EMPTY_PAGES};
use crate::failure::{Failure, FailureClass};

/// Objects that a dataset should have at least, so that a read seldom meets a run just read.
const DATASET_OBJECTS: usize = 2_000;
const MAX_RUNS: usize = 20;
const PREPARE_CONNECTIONS: usize = 32;
/// From so many objects on a run is counted once, when it is written, and not before every trial: that takes as long as what is measured.
/// An object beside it says so. What is lost later is then found by the trials, as a miss.
const COUNTED_ONCE: usize = 10_000;
/// How often it is said how far the writing is, objects.
const SAID_EVERY: usize = 20_000;
/// How long a store may keep one request of the preparation waiting: some grow for minutes after a burst.
const PREPARE_PATIENCE: Duration = Duration::from_secs(300);

/// The runs of one dataset.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The beginning of every key.
    pub base: String,
    /// How many there are.
    pub runs: usize,
    /// Objects of a run.
    pub objects: usize,
    /// Bytes of an object.
    pub size: usize,
}

impl Dataset {
    /// Runs of so many objects, in such a number that a read seldom meets a run just read.
    #[must_use]
    pub fn new(base: String, objects: usize, size: usize) -> Self {
        Self {
            base,
            runs: (DATASET_OBJECTS / objects.max(1)).clamp(1, MAX_RUNS),
            objects,
            size,
        }
    }

    /// What the keys of a run begin with.
    #[must_use]
    pub fn prefix(&self, run: usize) -> String {
        format!("{}run-{run:03}/", self.base)
    }

    /// The key of what says that a run was written and counted; not one of the run.
    fn whole(&self, run: usize) -> String {
        format!("{}whole-{run:03}", self.base)
    }

    /// The state that a key of a run is of.
    fn state(&self, run: usize, key: &str) -> Option<usize> {
        let state = key.strip_prefix(&self.prefix(run))?.parse().ok()?;
        (state < self.objects && *key == self.key(run, state)).then_some(state)
    }

    /// The key of a state of a run.
    #[must_use]
    pub fn key(&self, run: usize, state: usize) -> String {
        format!("{}{state:08}", self.prefix(run))
    }
}

/// Writes what is missing of the dataset and counts it. Retries are fine here: nothing is measured. Answers how often the
/// store asked to slow down.
///
/// # Errors
/// An object cannot be written, or what is listed afterwards is not what was written.
pub async fn prepare(dialer: &Dialer, dataset: &Dataset, seed: u64) -> Result<u64, Failure> {
    let bodies = Bodies::new(dataset.size, seed, &dataset.base);
    let mut lister = dialer.connection();
    let patience = Patience::new(PREPARE_PATIENCE);
    for run in 0..dataset.runs {
        let whole = lister.target().object_path(&dataset.whole(run));
        let once = dataset.objects >= COUNTED_ONCE;
        // Whatever else it answers, counting tells.
        if once && lister.head(&whole).await.is_ok() {
            continue;
        }
        let there = count(&mut lister, &patience, dataset, run).await?;
        if there == dataset.objects {
            note(&mut lister, &patience, &bodies, once.then_some(&whole)).await?;
            continue;
        }
        let next = std::cell::Cell::new(0_usize);
        let mut writers: FuturesUnordered<_> = (0..PREPARE_CONNECTIONS.min(dataset.objects))
            .map(|_| {
                let (next, bodies, patience) = (&next, &bodies, &patience);
                let mut connection = dialer.connection();
                async move {
                    loop {
                        let state = next.get();
                        if state >= dataset.objects {
                            return Ok(());
                        }
                        next.set(state + 1);
                        if state > 0 && state.is_multiple_of(SAID_EVERY) {
                            tracing::info!(
                                run,
                                written = state,
                                of = dataset.objects,
                                "writing what is read back"
                            );
                        }
                        let path = connection.target().object_path(&dataset.key(run, state));
                        let body = bodies.body((run * dataset.objects + state) as u64);
                        patience
                            .ask(async || connection.put(&path, body.clone()).await)
                            .await?;
                    }
                }
            })
            .collect();
        while let Some(result) = writers.next().await {
            result?;
        }
        let counted = count(&mut lister, &patience, dataset, run).await?;
        if counted != dataset.objects {
            let detail = format!(
                "{counted} objects listed under {} of {}",
                dataset.prefix(run),
                dataset.objects
            );
            return Err(Failure::new(FailureClass::Malformed, detail));
        }
        note(&mut lister, &patience, &bodies, once.then_some(&whole)).await?;
    }
    let (throttled, failed) = (patience.throttled(), patience.failed());
    if throttled + failed > 0 {
        tracing::warn!(
            throttled,
            failed,
            "requests of the preparation were made again"
        );
    }
    Ok(throttled)
}

/// Says that a run is whole, where it is counted once.
async fn note(
    connection: &mut Connection,
    patience: &Patience,
    bodies: &Bodies,
    whole: Option<&String>,
) -> Result<(), Failure> {
    let Some(path) = whole else {
        return Ok(());
    };
    let put = patience.ask(async || connection.put(path, bodies.body(0)).await);
    put.await.map(|_| ())
}

/// How many of the objects of a run are listed. One mark for each, as there may be a million of them.
async fn count(
    lister: &mut Connection,
    patience: &Patience,
    dataset: &Dataset,
    run: usize,
) -> Result<usize, Failure> {
    let prefix = dataset.prefix(run);
    // Some stores list a key twice at the border of two pages.
    let mut seen = vec![false; dataset.objects];
    let mut strangers = 0;
    let mut empty = 0;
    let mut token: Option<String> = None;
    loop {
        let request = ListRequest {
            prefix: &prefix,
            start_after: None,
            continuation_token: token.as_deref(),
            max_keys: 1_000,
        };
        let page = patience.ask(async || lister.list(&request).await).await?;
        empty = if page.entries.is_empty() {
            empty + 1
        } else {
            0
        };
        for entry in page.entries {
            match dataset
                .state(run, &entry.key)
                .and_then(|state| seen.get_mut(state))
            {
                Some(mark) => *mark = true,
                None => strangers += 1,
            }
        }
        if !page.truncated || empty > MOST_EMPTY_PAGES {
            return Ok(strangers + seen.into_iter().filter(|mark| *mark).count());
        }
        token = page.next_token;
    }
}
