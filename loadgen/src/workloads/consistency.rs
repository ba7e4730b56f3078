//! B4: writers put, overwrite and delete objects; each acknowledged write is read back at once over
//! another connection; listers list the runs under way and read what they saw. The history is
//! checked and kept.
//!
//! Kinds of operations: `put`, `delete`, `get`, `listPage`. A trial lasts until its writes are
//! done. It runs in epochs of a few thousand writes over keys of their own: each ends with a
//! listing of everything at rest and its check, so that memory is bounded however long the trial.

mod clients;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use bakeoff_crds::figure::Counter;
use bakeoff_crds::result::CheckRecord;
use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::spec::Consistency;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::task::JoinSet;

use self::clients::{Writer, list_while_writing};
use super::body::{Bodies, stamped};
use super::{Context, Gate, Part, RawFile, Working, Workload, WorkloadError};
use crate::checker::s3_history::{self, Event, Span};
use crate::drivers::s3::{Connection, ListRequest, MOST_EMPTY_PAGES};
use crate::failure::{Failure, FailureClass};
use crate::instrument::clock::{self, SECOND};
use crate::instrument::drive::Counts;
use crate::instrument::meter::Meter;
use crate::instrument::record::{Operation, Recorder, Sample};
use crate::store::layout;

const PUT: Operation = Operation::Put;
const DELETE: Operation = Operation::Delete;
const GET: Operation = Operation::Get;
const PAGE: Operation = Operation::ListPage;

/// Writes of one epoch, all writers together.
const EPOCH_WRITES: usize = 5_000;
/// Keys of one run: what one scan lists.
const RUN_KEYS: usize = 150;
const BODY_BYTES: usize = 256;
/// A backend that is away must not hold the experiment for ever.
const MAX_TRIAL: u64 = 1_800 * SECOND;

/// What the clients of an epoch share.
struct Shared {
    events: RefCell<Vec<Event>>,
    recorder: Rc<RefCell<Recorder>>,
    /// The runs under way: of each writer the current one and the one before.
    runs: RefCell<Vec<Vec<Arc<str>>>>,
    keys: RefCell<BTreeMap<Arc<str>, ()>>,
    writers_left: Cell<usize>,
    next_id: Rc<Cell<u64>>,
    counts: Rc<RefCell<Counts>>,
    deadline: u64,
}

impl Shared {
    fn id(&self) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        id
    }

    /// One allocation for each key, however often it is listed.
    fn intern(&self, key: &str) -> Arc<str> {
        let mut keys = self.keys.borrow_mut();
        if let Some((known, ())) = keys.get_key_value(key) {
            return Arc::clone(known);
        }
        let fresh: Arc<str> = key.into();
        keys.insert(Arc::clone(&fresh), ());
        fresh
    }

    fn record(&self, kind: Operation, span: Span, result: Result<u64, &Failure>) {
        let Span { invoke, complete } = span;
        let mut recorder = self.recorder.borrow_mut();
        match result {
            Ok(bytes) => {
                let sample = Sample {
                    member: invoke,
                    planned: invoke,
                    sent: invoke,
                    ended: complete,
                    bytes,
                    queued: false,
                };
                recorder.success(kind, sample);
            }
            Err(failure) => recorder.failure(kind, invoke, invoke, complete, failure),
        }
    }

    async fn get(&self, connection: &mut Connection, key: &Arc<str>) {
        let path = connection.target().object_path(key);
        let invoke = clock::now();
        let result = connection.get(&path).await;
        let span = Span {
            invoke,
            complete: clock::now(),
        };
        let value = match &result {
            Ok(reply) => Some(
                stamped(&reply.head)
                    .filter(|_| reply.length == BODY_BYTES as u64)
                    .unwrap_or(u64::MAX),
            ),
            // An answer like any other.
            Err(failure) if failure.class == FailureClass::NotFound => None,
            Err(failure) => {
                self.record(GET, span, Err(failure));
                return;
            }
        };
        self.record(GET, span, Ok(result.map_or(0, |reply| reply.length)));
        self.events.borrow_mut().push(Event::Read {
            id: self.id(),
            key: Arc::clone(key),
            value,
            span,
        });
    }

    /// Lists a run from its start to its end; answers what it saw.
    async fn scan(
        &self,
        connection: &mut Connection,
        prefix: &Arc<str>,
        page: u16,
        by_token: bool,
    ) -> Vec<Arc<str>> {
        let scan = self.id();
        let mut token: Option<String> = None;
        let mut after: Arc<str> = "".into();
        let mut seen = Vec::new();
        let mut empty = 0;
        loop {
            let request = ListRequest {
                prefix,
                start_after: (token.is_none() && !after.is_empty()).then_some(&*after),
                continuation_token: token.as_deref(),
                max_keys: page,
            };
            let invoke = clock::now();
            let result = connection.list(&request).await;
            let span = Span {
                invoke,
                complete: clock::now(),
            };
            let answer = match result {
                Ok(answer) => answer,
                Err(failure) => {
                    self.record(PAGE, span, Err(&failure));
                    return seen;
                }
            };
            self.record(PAGE, span, Ok(0));
            {
                let mut recorder = self.recorder.borrow_mut();
                recorder.count(Counter::Pages, invoke, 1);
                recorder.count(Counter::Keys, invoke, answer.entries.len() as u64);
            }
            let keys: Vec<Arc<str>> = answer
                .entries
                .iter()
                .map(|entry| self.intern(&entry.key))
                .collect();
            let last = keys.last().cloned();
            seen.extend(keys.iter().cloned());
            self.events.borrow_mut().push(Event::Page {
                scan,
                prefix: Arc::clone(prefix),
                after: Arc::clone(&after),
                by_token: token.is_some(),
                keys,
                truncated: answer.truncated,
                span,
            });
            // A scan that goes round in circles ends here; its duplicates are on record.
            if !answer.truncated || seen.len() > 4 * RUN_KEYS || empty >= MOST_EMPTY_PAGES {
                return seen;
            }
            match last {
                Some(last) => {
                    after = last;
                    empty = 0;
                    token = answer.next_token.filter(|_| by_token);
                }
                // After an empty page there is no key to go on from.
                None => {
                    empty += 1;
                    token = answer.next_token;
                }
            }
        }
    }
}

/// The checks of all epochs, added up.
fn add(total: &mut Vec<CheckRecord>, epoch: Vec<CheckRecord>) {
    for check in epoch {
        match total.iter_mut().find(|known| known.name == check.name) {
            Some(known) => {
                known.checked += check.checked;
                known.violations += check.violations;
                known.uncertain += check.uncertain;
                known.examples.extend(check.examples);
                known.examples.truncate(10);
            }
            None => total.push(check),
        }
    }
}

impl Workload for Consistency {
    fn run<'a>(&'a self, context: &'a Context<'_>, gate: &'a dyn Gate) -> Working<'a, Part> {
        Box::pin(run(context, self, gate))
    }
}

/// Runs the trial.
///
/// # Errors
/// When recording fails, or the history cannot be written.
async fn run(
    context: &Context<'_>,
    spec: &Consistency,
    gate: &dyn Gate,
) -> Result<Part, WorkloadError> {
    let dialer = context.access.s3()?;
    let writers = context.share(usize::try_from(spec.writers).unwrap_or(1));
    let listers = context.share(usize::try_from(spec.listers).unwrap_or(0));
    let mut left = context.share(usize::try_from(spec.operations).unwrap_or(0));
    let pages: Vec<u16> = spec
        .page_sizes
        .iter()
        .map(|&size| u16::try_from(size).unwrap_or(1_000))
        .collect();
    let bodies = Rc::new(Bodies::new(BODY_BYTES, context.seed()));
    let base = format!("{}g{}/", context.attempt_prefix(), context.generator);

    let start = gate.open().await?;
    clock::sleep_until(start).await;
    let start_skew = clock::now().saturating_sub(start);
    let kinds = [PUT, DELETE, GET, PAGE];
    let recorder = Recorder::new(
        start,
        u64::MAX,
        clock::wall(),
        false,
        &kinds,
        context.live.clone(),
    )?;
    let recorder = Rc::new(RefCell::new(recorder));
    let counts = Rc::new(RefCell::new(Counts::default()));
    let next_id = Rc::new(Cell::new(1));
    let meter = Meter::start();
    let mut history = GzEncoder::new(Vec::new(), Compression::fast());
    let mut checks = Vec::new();
    let (mut stale_keys, mut longest_stale, mut never_listed, mut old_token_pages) = (0, 0, 0, 0);

    let mut epoch = 0;
    while left > 0 && writers > 0 {
        let writes = left.min(EPOCH_WRITES);
        left -= writes;
        let shared = Rc::new(Shared {
            events: RefCell::default(),
            recorder: Rc::clone(&recorder),
            runs: RefCell::new(vec![Vec::new(); writers]),
            keys: RefCell::default(),
            writers_left: Cell::new(writers),
            next_id: Rc::clone(&next_id),
            counts: Rc::clone(&counts),
            deadline: start + MAX_TRIAL,
        });
        let rng = |who: &str, index: usize| {
            SplitMix64::stream(
                context.seed(),
                &format!("{}/{epoch}/{who}{index}", context.label("consistency")),
            )
        };
        let mut tasks = JoinSet::new();
        for writer in 0..writers {
            let task = Writer {
                shared: Rc::clone(&shared),
                write: dialer.connection(),
                read: dialer.connection(),
                bodies: Rc::clone(&bodies),
                rng: rng("w", writer),
                base: format!("{base}e{epoch:03}/"),
                writer,
                writes: writes / writers + usize::from(writer < writes % writers),
                shapes: spec.key_shapes.clone(),
            };
            tasks.spawn_local(task.run());
        }
        for lister in 0..listers {
            tasks.spawn_local(list_while_writing(
                Rc::clone(&shared),
                dialer.connection(),
                rng("l", lister),
                pages.clone(),
                lister,
            ));
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(std::io::Error::other)?;
        }
        // At rest: everything acknowledged must be there now.
        let mut connection = dialer.connection();
        let _ = connection.ready().await;
        let runs: Vec<Arc<str>> = shared.runs.borrow().iter().flatten().cloned().collect();
        for run in &runs {
            shared.scan(&mut connection, run, 1_000, false).await;
        }
        let events = shared.events.take();
        let report = s3_history::check(&events);
        add(&mut checks, report.checks);
        stale_keys += report.stale_keys;
        longest_stale = longest_stale.max(report.longest_stale);
        never_listed += report.never_listed;
        old_token_pages += report.old_token_pages;
        for event in &events {
            serde_json::to_writer(&mut history, event).map_err(std::io::Error::other)?;
            history.write_all(b"\n")?;
        }
        epoch += 1;
        if clock::now() > start + MAX_TRIAL {
            counts.borrow_mut().not_started += left as u64;
            break;
        }
    }
    let end = clock::now();
    recorder.borrow_mut().close(end);
    let mut recorded = super::trial::finished(recorder)?;
    for (counter, count) in [
        (Counter::StaleKeys, stale_keys),
        (Counter::LongestStaleMicros, longest_stale / 1_000),
        (Counter::NeverListed, never_listed),
        (Counter::OldTokenPages, old_token_pages),
    ] {
        recorded
            .counters
            .insert(counter, i64::try_from(count).unwrap_or(i64::MAX));
    }
    let counts = *counts.borrow();
    Ok(Part {
        counts,
        recorded,
        checks,
        artefacts: vec![RawFile {
            name: layout::HISTORY,
            of_each: true,
            bytes: history.finish()?,
        }],
        window: (start, end),
        planned_kind: PUT.as_str(),
        start_skew,
        usage: meter.stop(),
        ..Part::default()
    })
}
