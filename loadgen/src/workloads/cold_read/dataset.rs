//! The runs that are read back: written once for each backend and number of objects.

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::super::body::Bodies;
use crate::drivers::s3::conn::Dialer;
use crate::drivers::s3::{Connection, ListRequest};
use crate::failure::{Failure, FailureClass};

/// Objects that a dataset should have at least, so that a read seldom meets a run just read.
const DATASET_OBJECTS: usize = 2_000;
const MAX_RUNS: usize = 20;
const PREPARE_CONNECTIONS: usize = 16;
const PREPARE_TRIES: u32 = 4;

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

    /// The key of a state of a run.
    #[must_use]
    pub fn key(&self, run: usize, state: usize) -> String {
        format!("{}{state:08}", self.prefix(run))
    }
}

/// Writes what is missing of the dataset and counts it. Retries are fine here: nothing is measured.
///
/// # Errors
/// An object cannot be written, or what is listed afterwards is not what was written.
pub async fn prepare(dialer: &Dialer, dataset: &Dataset, seed: u64) -> Result<(), Failure> {
    let bodies = Bodies::new(dataset.size, seed);
    let mut lister = dialer.connection();
    for run in 0..dataset.runs {
        if count(&mut lister, &dataset.prefix(run)).await? == dataset.objects {
            continue;
        }
        let next = std::cell::Cell::new(0_usize);
        let mut writers: FuturesUnordered<_> = (0..PREPARE_CONNECTIONS.min(dataset.objects))
            .map(|_| {
                let (next, bodies) = (&next, &bodies);
                let mut connection = dialer.connection();
                async move {
                    loop {
                        let state = next.get();
                        if state >= dataset.objects {
                            return Ok(());
                        }
                        next.set(state + 1);
                        let path = connection.target().object_path(&dataset.key(run, state));
                        let body = bodies.body((run * dataset.objects + state) as u64);
                        let mut tries = 0;
                        while let Err(failure) = connection.put(&path, body.clone()).await {
                            tries += 1;
                            if tries >= PREPARE_TRIES {
                                return Err(failure);
                            }
                            tokio::time::sleep(std::time::Duration::from_millis(50 << tries)).await;
                        }
                    }
                }
            })
            .collect();
        while let Some(result) = writers.next().await {
            result?;
        }
        let counted = count(&mut lister, &dataset.prefix(run)).await?;
        if counted != dataset.objects {
            let detail = format!(
                "{counted} objects listed under {} of {}",
                dataset.prefix(run),
                dataset.objects
            );
            return Err(Failure::new(FailureClass::Malformed, detail));
        }
    }
    Ok(())
}

async fn count(lister: &mut Connection, prefix: &str) -> Result<usize, Failure> {
    let mut total = 0;
    let mut token: Option<String> = None;
    loop {
        let request = ListRequest {
            prefix,
            start_after: None,
            continuation_token: token.as_deref(),
            max_keys: 1_000,
        };
        let page = lister.list(&request).await?;
        total += page.entries.len();
        if !page.truncated || page.entries.is_empty() {
            return Ok(total);
        }
        token = page.next_token;
    }
}
