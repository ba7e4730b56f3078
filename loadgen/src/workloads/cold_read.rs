//! B3: reads runs back: lists the keys of a run page by page, then gets every object listed.
//!
//! The runs are written once for each backend and number of objects and serve all later blocks and
//! modes. Kinds of operations: `read` (all of it, the planned one), `list` (all pages), `listPage`
//! and `get`; where nothing is to be got, a read is its listing.

mod dataset;
mod findings;

use std::cell::RefCell;
use std::rc::Rc;

use bakeoff_crds::figure::Counter;
use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{ColdRead, ReadMode};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use dataset::Dataset;
use findings::Findings;

use super::memory;
use super::trial::{Load, Ready, measure};
use super::{Context, Gate, Part, Working, Workload, WorkloadError};
use crate::drivers::s3::{Connection, ListRequest, MOST_EMPTY_PAGES};
use crate::failure::{Failure, FailureClass};
use crate::instrument::arrivals::Pace;
use crate::instrument::cgroup;
use crate::instrument::clock;
use crate::instrument::drive::Worker;
use crate::instrument::pacer::Due;
use crate::instrument::record::{Operation, Recorder, Sample};

const READ: Operation = Operation::Read;
const LIST: Operation = Operation::List;
const PAGE: Operation = Operation::ListPage;
const GET: Operation = Operation::Get;

/// What a key that was listed takes beside its letters: where it is and how long, and what the allocator adds.
const KEY_BYTES: u64 = 32;

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
        let mut empty = 0;
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
            recorder.count(Counter::Pages, planned, 1);
            recorder.count(Counter::Keys, planned, page.entries.len() as u64);
            drop(recorder);
            let none = page.entries.is_empty();
            keys.extend(page.entries.into_iter().map(|entry| entry.key));
            if !page.truncated || self.border.is_over(planned) {
                return Ok(keys);
            }
            // A server that says "more" for ever must not hold the trial; one that says it of an empty page may.
            empty = if none { empty + 1 } else { 0 };
            if empty > MOST_EMPTY_PAGES || keys.len() > 2 * dataset.objects + 1_000 {
                return Err(Failure::new(
                    FailureClass::Malformed,
                    "the listing does not end",
                ));
            }
            match self.mode {
                ReadMode::StartAfter if !none => {
                    after = keys.last().cloned();
                    token = None;
                }
                // After an empty page there is no key to go on from.
                ReadMode::StartAfter | ReadMode::ListPrefix | ReadMode::TokenPaging => {
                    token = page.next_token
                }
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
                                findings.borrow_mut().read(key, bytes_read, size);
                            }
                            Err(failure) => {
                                recorder
                                    .borrow_mut()
                                    .failure(GET, planned, sent, ended, &failure);
                                if failure.says_gone() {
                                    findings.borrow_mut().gone(key, &failure);
                                }
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
        let over = self.border.is_over(planned);
        if !over {
            // Off the clock. What was listed is judged whether its objects could be read or not.
            self.findings
                .borrow_mut()
                .listing(&self.dataset, run, first, &keys);
        }
        match result {
            Ok(_) if over => true,
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

impl Workload for ColdRead {
    fn run<'a>(&'a self, context: &'a Context<'_>, gate: &'a dyn Gate) -> Working<'a, Part> {
        Box::pin(run(context, self, gate))
    }
}

/// Refuses so many readers, each of which holds the keys of a run until it has read them, where the control group allows less
/// memory, in bytes. (Pure.)
fn fits(readers: usize, dataset: &Dataset, limit: Option<i64>) -> Result<(), WorkloadError> {
    let each = KEY_BYTES + dataset.key(0, 0).len() as u64;
    let keys = (readers as u64).saturating_mul(dataset.objects as u64);
    let what = format!(
        "the keys of the runs that its {readers} readers list, {} each",
        dataset.objects
    );
    memory::within(
        keys.saturating_mul(each),
        limit,
        &what,
        "take fewer readers or objectsPerRun",
    )
}

/// Runs the trial.
///
/// # Errors
/// When the dataset cannot be prepared, the trial does not fit the spec, or recording fails.
async fn run(
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
    let base = format!("{}d/{}/{objects}/", context.prefix, context.trial.workload);
    let size = usize::try_from(spec.object_size.units()?).unwrap_or(1);
    let dataset = Dataset::new(base, objects, size);
    let readers = usize::try_from(spec.readers).unwrap_or(1);
    let (clients, before) = (context.share(readers), context.before(readers));
    fits(clients, &dataset, cgroup::limits().1)?;
    let throttled = if context.generator == 0 {
        dataset::prepare(dialer, &dataset, context.seed()).await?
    } else {
        0
    };
    let pace = Pace::Closed { clients };
    let dataset = Rc::new(dataset);

    let findings = Rc::new(RefCell::new(Findings::default()));
    let fan_out = match usize::try_from(spec.get_concurrency).unwrap_or(1) {
        _ if !spec.gets => 0,
        most => most.min(objects).max(1),
    };
    let load = Load {
        pace,
        kinds: if spec.gets {
            &[READ, LIST, PAGE, GET]
        } else {
            &[READ, LIST, PAGE]
        },
    };
    let prepare = |ready: &Ready| {
        dialer.begin_at(before * (1 + fan_out));
        let workers = (0..clients).map(|worker| Reader {
            list: dialer.connection(),
            gets: (0..fan_out).map(|_| dialer.connection()).collect(),
            recorder: Rc::clone(&ready.recorder),
            findings: Rc::clone(&findings),
            dataset: Rc::clone(&dataset),
            mode,
            page_size,
            border: Border {
                window_start: ready.timing.window_start,
            },
            rng: SplitMix64::stream(
                context.seed(),
                &format!("{}/{worker}", context.label("runs")),
            ),
        });
        (workers.collect(), std::future::ready(()))
    };
    let (mut part, ()) = measure(context, gate, load, prepare).await?;
    part.checks = findings.take().records();
    if throttled > 0 {
        let throttled = i64::try_from(throttled).unwrap_or(i64::MAX);
        let counters = &mut part.recorded.counters;
        counters.insert(Counter::ThrottledPreparing, throttled);
    }
    Ok(part)
}

#[cfg(test)]
mod tests;
