//! B3: reads runs back: lists the keys of a run page by page, then gets every object listed.
//!
//! The runs are written once for each backend and number of objects and serve all later blocks and
//! modes. Kinds of operations: `read` (all of it, the planned one), `list` (all pages), `listPage`
//! and `get`.

use std::cell::RefCell;
use std::rc::Rc;

use bakeoff_crds::result::CheckRecord;
use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{ColdRead, ReadMode};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::body::Bodies;
use super::{Context, Gate, Meter, Part, WorkloadError};
use crate::arrivals::Plan;
use crate::clock;
use crate::drive::{Worker, drive};
use crate::pacer::Due;
use crate::record::{Recorder, Sample};
use crate::s3::conn::Dialer;
use crate::s3::{Connection, Failure, FailureClass, ListRequest};

const READ: &str = "read";
const LIST: &str = "list";
const PAGE: &str = "listPage";
const GET: &str = "get";

/// Objects that a dataset should have at least, so that a read seldom meets a run just read.
const DATASET_OBJECTS: usize = 2_000;
const MAX_RUNS: usize = 20;
const PREPARE_CONNECTIONS: usize = 16;
const PREPARE_TRIES: u32 = 4;

/// The runs of one dataset.
#[derive(Clone, Debug)]
struct Dataset {
    base: String,
    runs: usize,
    objects: usize,
    size: usize,
}

impl Dataset {
    fn prefix(&self, run: usize) -> String {
        format!("{}run-{run:03}/", self.base)
    }

    fn key(&self, run: usize, state: usize) -> String {
        format!("{}{state:08}", self.prefix(run))
    }
}

/// What the reads found wrong, by check.
#[derive(Debug, Default)]
struct Findings {
    checked: i64,
    missing: Finding,
    duplicates: Finding,
    order: Finding,
    bodies: Finding,
    bodies_checked: i64,
}

#[derive(Debug, Default)]
struct Finding {
    count: i64,
    examples: Vec<String>,
}

impl Finding {
    fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < 10 {
            self.examples.push(example());
        }
    }

    fn record(self, name: &str, checked: i64) -> CheckRecord {
        CheckRecord {
            name: name.to_owned(),
            checked,
            violations: self.count,
            uncertain: 0,
            examples: self.examples,
        }
    }
}

impl Findings {
    /// Compares a listing with what was written: exactly the states from `first` on, in order.
    fn listing(&mut self, dataset: &Dataset, run: usize, first: usize, keys: &[String]) {
        self.checked += i64::try_from(dataset.objects - first).unwrap_or(0);
        let prefix = dataset.prefix(run);
        let mut seen = vec![false; dataset.objects];
        let mut before: Option<&String> = None;
        for key in keys {
            if before.is_some_and(|before| before.as_bytes() >= key.as_bytes()) {
                self.order
                    .add(|| format!("{key} follows {}", before.map_or("", String::as_str)));
            }
            before = Some(key);
            let state = key
                .strip_prefix(&prefix)
                .and_then(|rest| rest.parse::<usize>().ok());
            match state.filter(|&state| state >= first && *key == dataset.key(run, state)) {
                Some(state) if state < seen.len() => {
                    if std::mem::replace(&mut seen[state], true) {
                        self.duplicates.add(|| key.clone());
                    }
                }
                _ => self.order.add(|| format!("{key} was not asked for")),
            }
        }
        for state in (first..dataset.objects).filter(|&state| !seen[state]) {
            self.missing.add(|| dataset.key(run, state));
        }
    }

    fn records(self) -> Vec<CheckRecord> {
        vec![
            self.missing.record("listMisses", self.checked),
            self.duplicates.record("pageDuplicates", self.checked),
            self.order.record("orderViolations", self.checked),
            self.bodies.record("tornObjects", self.bodies_checked),
        ]
    }
}

struct Reader {
    list: Connection,
    gets: Vec<Connection>,
    recorder: Rc<RefCell<Recorder>>,
    findings: Rc<RefCell<Findings>>,
    dataset: Rc<Dataset>,
    mode: ReadMode,
    page_size: u16,
    rng: SplitMix64,
    border: Border,
}

/// Where the warm-up ends.
#[derive(Clone, Copy, Debug)]
struct Border {
    window_start: u64,
}

impl Border {
    /// Whether a read of the warm-up has run into the window. It ends there: a run may take longer to read than the
    /// warm-up and the window together, and then no read would begin in the window. Nothing of it is recorded.
    fn is_over(self, planned: u64) -> bool {
        planned < self.window_start && clock::now() >= self.window_start
    }
}

impl Reader {
    /// Lists the run; on failure the operation `list` fails as a whole.
    async fn pages(
        &mut self,
        planned: u64,
        run: usize,
        first: usize,
    ) -> Result<Vec<String>, Failure> {
        let dataset = Rc::clone(&self.dataset);
        let prefix = dataset.prefix(run);
        let mut after = (first > 0).then(|| dataset.key(run, first - 1));
        let mut token: Option<String> = None;
        let mut keys = Vec::with_capacity(dataset.objects - first);
        loop {
            let sent = clock::now();
            let request = ListRequest {
                prefix: &prefix,
                start_after: if token.is_none() {
                    after.as_deref()
                } else {
                    None
                },
                continuation_token: token.as_deref(),
                max_keys: self.page_size,
            };
            let result = self.list.list(&request).await;
            let ended = clock::now();
            let mut recorder = self.recorder.borrow_mut();
            let page = match result {
                Ok(page) => page,
                Err(failure) => {
                    recorder.failure(PAGE, planned, sent, ended, &failure);
                    return Err(failure);
                }
            };
            recorder.success(
                PAGE,
                Sample {
                    member: planned,
                    planned: sent,
                    sent,
                    ended,
                    bytes: 0,
                    queued: false,
                },
            );
            recorder.count("pages", planned, 1);
            recorder.count("keys", planned, page.entries.len() as u64);
            drop(recorder);
            let empty = page.entries.is_empty();
            keys.extend(page.entries.into_iter().map(|entry| entry.key));
            if !page.truncated || self.border.is_over(planned) {
                return Ok(keys);
            }
            // A server that says "more" for ever must not hold the trial.
            if empty || keys.len() > 2 * dataset.objects + 1_000 {
                return Err(Failure::new(
                    FailureClass::Malformed,
                    "the listing does not end",
                ));
            }
            match self.mode {
                ReadMode::StartAfter => after = keys.last().cloned(),
                ReadMode::ListPrefix | ReadMode::TokenPaging => token = page.next_token,
            }
        }
    }

    async fn fan_out(&mut self, planned: u64, keys: &[String]) -> Result<u64, Failure> {
        let next = std::cell::Cell::new(0_usize);
        let border = self.border;
        let (recorder, findings, size) = (&self.recorder, &self.findings, self.dataset.size as u64);
        let mut clients: FuturesUnordered<_> = self
            .gets
            .iter_mut()
            .map(|connection| {
                let next = &next;
                async move {
                    let mut bytes = 0;
                    loop {
                        let index = next.get();
                        let Some(key) = keys.get(index).filter(|_| !border.is_over(planned)) else {
                            return Ok(bytes);
                        };
                        next.set(index + 1);
                        let path = connection.target().object_path(key);
                        let sent = clock::now();
                        let result = connection.get(&path).await;
                        let ended = clock::now();
                        match result {
                            Ok(reply) => {
                                let bytes_read = reply.length;
                                bytes += bytes_read;
                                let sample = Sample {
                                    member: planned,
                                    planned: sent,
                                    sent,
                                    ended,
                                    bytes: bytes_read,
                                    queued: false,
                                };
                                recorder.borrow_mut().success(GET, sample);
                                let mut findings = findings.borrow_mut();
                                findings.bodies_checked += 1;
                                if bytes_read != size {
                                    findings
                                        .bodies
                                        .add(|| format!("{key}: {bytes_read} bytes, not {size}"));
                                }
                            }
                            Err(failure) => {
                                recorder
                                    .borrow_mut()
                                    .failure(GET, planned, sent, ended, &failure);
                                return Err(failure);
                            }
                        }
                    }
                }
            })
            .collect();
        let mut bytes = 0;
        let mut failed = None;
        // Let every client finish its object: a dropped request would cost its connection.
        while let Some(result) = clients.next().await {
            match result {
                Ok(read) => bytes += read,
                Err(failure) => failed = Some(failure),
            }
        }
        failed.map_or(Ok(bytes), Err)
    }
}

impl Worker for Reader {
    fn prepare(&mut self) {}

    async fn connect(&mut self) {
        let _ = self.list.ready().await;
        for connection in &mut self.gets {
            let _ = connection.ready().await;
        }
    }

    async fn operate(&mut self, due: Due) -> bool {
        let planned = due.planned;
        let run = self.rng.index(self.dataset.runs);
        let first = match self.mode {
            ReadMode::StartAfter => self.rng.index(self.dataset.objects),
            ReadMode::ListPrefix | ReadMode::TokenPaging => 0,
        };
        let sent = clock::now();
        let listed = self.pages(planned, run, first).await;
        let ended = clock::now();
        let keys = match listed {
            Ok(keys) => keys,
            Err(failure) => {
                let mut recorder = self.recorder.borrow_mut();
                recorder.failure(LIST, planned, sent, ended, &failure);
                recorder.failure(READ, planned, planned, ended, &failure);
                return failure.class != FailureClass::Connect;
            }
        };
        self.recorder.borrow_mut().success(
            LIST,
            Sample {
                member: planned,
                planned: sent,
                sent,
                ended,
                bytes: 0,
                queued: false,
            },
        );
        if self.border.is_over(planned) {
            return true;
        }
        let result = self.fan_out(planned, &keys).await;
        let ended = clock::now();
        match result {
            Ok(_) if self.border.is_over(planned) => true,
            Ok(bytes) => {
                self.recorder.borrow_mut().success(
                    READ,
                    Sample {
                        member: planned,
                        planned,
                        sent,
                        ended,
                        bytes,
                        queued: false,
                    },
                );
                // Off the clock.
                self.findings
                    .borrow_mut()
                    .listing(&self.dataset, run, first, &keys);
                true
            }
            Err(failure) => {
                self.recorder
                    .borrow_mut()
                    .failure(READ, planned, planned, ended, &failure);
                failure.class != FailureClass::Connect
            }
        }
    }
}

/// Writes what is missing of the dataset and counts it. Retries are fine here: nothing is measured.
async fn prepare(dialer: &Dialer, dataset: &Dataset, seed: u64) -> Result<(), Failure> {
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

/// Runs the trial.
///
/// # Errors
/// When the dataset cannot be prepared, the trial does not fit the spec, or recording fails.
pub async fn run(
    context: &Context<'_>,
    spec: &ColdRead,
    gate: &dyn Gate,
) -> Result<Part, WorkloadError> {
    let dialer = context.access.s3()?;
    let objects = usize::try_from(context.level(factor::OBJECTS_PER_RUN)?)
        .unwrap_or(1)
        .max(1);
    let mode_name = context
        .trial
        .cell
        .get(factor::MODE)
        .map_or("", String::as_str);
    let mode = [
        ReadMode::ListPrefix,
        ReadMode::StartAfter,
        ReadMode::TokenPaging,
    ]
    .into_iter()
    .find(|mode| mode.as_str() == mode_name)
    .ok_or_else(|| WorkloadError::Spec(format!("unknown mode {mode_name}")))?;
    let page_size = match mode {
        ReadMode::TokenPaging => u16::try_from(spec.page_size).unwrap_or(100),
        ReadMode::ListPrefix | ReadMode::StartAfter => 1_000,
    };
    let dataset = Dataset {
        base: format!("{}d/{}/{objects}/", context.prefix, context.trial.workload),
        runs: (DATASET_OBJECTS / objects).clamp(1, MAX_RUNS),
        objects,
        size: usize::try_from(spec.object_size.units()?).unwrap_or(1),
    };
    if context.generator == 0 {
        prepare(dialer, &dataset, context.seed()).await?;
    }
    let clients = context.share(usize::try_from(spec.readers).unwrap_or(1));
    let plan = Plan::Closed { clients };
    let dataset = Rc::new(dataset);

    let start = gate.open().await?;
    let timing = context.timing(start);
    let wall = clock::wall() + timing.window_start.saturating_sub(clock::now());
    let kinds = [READ, LIST, PAGE, GET];
    let recorder = Recorder::new(
        timing.window_start,
        timing.window_end,
        wall,
        false,
        &kinds,
        context.live.clone(),
    )?;
    let recorder = Rc::new(RefCell::new(recorder));
    let findings = Rc::new(RefCell::new(Findings::default()));
    let fan_out = usize::try_from(spec.get_concurrency)
        .unwrap_or(1)
        .min(objects)
        .max(1);
    let workers = (0..clients)
        .map(|worker| Reader {
            list: dialer.connection(),
            gets: (0..fan_out).map(|_| dialer.connection()).collect(),
            recorder: Rc::clone(&recorder),
            findings: Rc::clone(&findings),
            dataset: Rc::clone(&dataset),
            mode,
            page_size,
            border: Border {
                window_start: timing.window_start,
            },
            rng: SplitMix64::stream(
                context.seed(),
                &format!("{}/{worker}", context.label("runs")),
            ),
        })
        .collect();
    let start_skew = clock::now().saturating_sub(start);
    let load = drive(plan, timing, context.seed(), "", workers, &recorder, READ);
    let (counts, usage) = tokio::join!(load, Meter::over(timing.window_start, timing.window_end));
    Ok(Part {
        counts: counts?,
        recorded: super::finished(recorder)?,
        checks: findings.take().records(),
        window: (timing.window_start, timing.window_end),
        planned_kind: READ,
        start_skew,
        usage,
        ..Part::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset() -> Dataset {
        Dataset {
            base: "d/".into(),
            runs: 1,
            objects: 4,
            size: 1,
        }
    }

    fn findings(first: usize, states: &[usize]) -> Vec<(String, i64)> {
        let dataset = dataset();
        let keys: Vec<String> = states.iter().map(|&state| dataset.key(0, state)).collect();
        let mut findings = Findings::default();
        findings.listing(&dataset, 0, first, &keys);
        findings
            .records()
            .into_iter()
            .map(|check| (check.name, check.violations))
            .filter(|c| c.1 > 0)
            .collect()
    }

    #[test]
    fn each_fault_of_a_listing_is_named() {
        let one = |name: &str| vec![(name.to_owned(), 1)];
        assert_eq!(findings(0, &[0, 1, 2, 3]), []);
        assert_eq!(findings(2, &[2, 3]), []);
        assert_eq!(findings(0, &[0, 1, 3]), one("listMisses"));
        assert_eq!(findings(2, &[1, 2, 3]), one("orderViolations"));
        assert_eq!(findings(0, &[0, 2, 1, 3]), one("orderViolations"));
        let twice = findings(0, &[0, 1, 1, 2, 3]);
        assert!(
            twice.contains(&("pageDuplicates".to_owned(), 1)),
            "{twice:?}"
        );
    }
}
