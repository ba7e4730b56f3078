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
use std::time::Duration;

use bakeoff_crds::figure::Counter;
use bakeoff_crds::result::CheckRecord;
use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::spec::Consistency;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::task::JoinSet;

use self::clients::{Writer, list_while_writing};
use super::body::{Bodies, stamped};
use super::context::share;
use super::{Context, Gate, Part, RawFile, Working, Workload, WorkloadError};
use crate::checker::s3_history::{self, Event, Span};
use crate::drivers::s3::conn::HEAD_BYTES;
use crate::drivers::s3::dialer::Dialer;
use crate::drivers::s3::{Connection, GetReply, ListRequest, MOST_EMPTY_PAGES};
use crate::failure::Failure;
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
/// As long as what is kept of an answer, so that all of a body is compared.
const BODY_BYTES: usize = HEAD_BYTES;
/// A backend that is away must not hold the experiment for ever.
const MAX_TRIAL: u64 = 1_800 * SECOND;
/// So much longer it may take to list what the last epoch of a trial has written.
const REST_GRACE: u64 = 120 * SECOND;
/// How often a run is listed at rest where requests fail. One that fails must not hide what was lost.
const REST_TRIES: usize = 5;
/// How long a store has before it is asked again.
const REST_PAUSE: Duration = Duration::from_millis(500);

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
    bodies: Rc<Bodies>,
    deadline: u64,
}

/// What a scan saw.
struct Seen {
    keys: Vec<Arc<str>>,
    /// Whether it came to its end: no request of it failed.
    whole: bool,
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

    /// The number of the write whose body this is, from its first byte to its last; `u64::MAX` where it is none that was written.
    fn written(&self, reply: &GetReply) -> u64 {
        stamped(&reply.head)
            .filter(|&id| reply.length == BODY_BYTES as u64 && self.bodies.begins(id, &reply.head))
            .unwrap_or(u64::MAX)
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
            Ok(reply) => Some(self.written(reply)),
            // An answer like any other.
            Err(failure) if failure.says_gone() => None,
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
    ) -> Seen {
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
                    return Seen {
                        keys: seen,
                        whole: false,
                    };
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
                return Seen {
                    keys: seen,
                    whole: true,
                };
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

    /// Lists every run of the epoch at rest, while there is time: everything acknowledged must be there now.
    async fn list_at_rest(&self, connection: &mut Connection, until: u64) {
        let runs: Vec<Arc<str>> = self.runs.borrow().iter().flatten().cloned().collect();
        for run in &runs {
            for _ in 0..REST_TRIES {
                if clock::now() > until {
                    return;
                }
                if self.scan(connection, run, 1_000, false).await.whole {
                    break;
                }
                tokio::time::sleep(REST_PAUSE).await;
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
    let clients = Clients::new(context, spec)?;
    let mut left = own_operations(
        usize::try_from(spec.operations).unwrap_or(0),
        writers_of(spec),
        context.generator,
        context.generators,
    );
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
    let mut found = Found::new();
    let mut epoch = 0;
    while left > 0 && clients.writers > 0 {
        let writes = left.min(EPOCH_WRITES);
        left -= writes;
        let shared = Rc::new(Shared {
            events: RefCell::default(),
            recorder: Rc::clone(&recorder),
            runs: RefCell::new(vec![Vec::new(); clients.writers]),
            keys: RefCell::default(),
            writers_left: Cell::new(clients.writers),
            next_id: Rc::clone(&next_id),
            counts: Rc::clone(&counts),
            bodies: Rc::clone(&clients.bodies),
            deadline: start + MAX_TRIAL,
        });
        let mut tasks = clients.start(&shared, epoch, writes);
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(std::io::Error::other)?;
        }
        let mut connection = clients.dialer.connection();
        let _ = connection.ready().await;
        shared
            .list_at_rest(&mut connection, start + MAX_TRIAL + REST_GRACE)
            .await;
        found.take(&shared.events.take())?;
        epoch += 1;
        if clock::now() > start + MAX_TRIAL {
            counts.borrow_mut().not_started += left as u64;
            break;
        }
    }
    let end = clock::now();
    recorder.borrow_mut().close(end);
    let mut recorded = super::trial::finished(recorder)?;
    recorded.counters.extend(found.counters());
    let counts = *counts.borrow();
    Ok(Part {
        counts,
        recorded,
        checks: found.checks,
        artefacts: vec![RawFile {
            name: layout::HISTORY,
            of_each: true,
            bytes: found.history.finish()?,
        }],
        window: (start, end),
        planned_kind: PUT.as_str(),
        start_skew,
        usage: meter.stop(),
        ..Part::default()
    })
}

/// The writers of all generators.
fn writers_of(spec: &Consistency) -> usize {
    usize::try_from(spec.writers).unwrap_or(1)
}

/// The operations of one generator: those of its writers, each of which has as many as any other, as far as whole numbers
/// allow. Where there are fewer writers than generators, one without a writer has none, and the others leave none out.
/// (Pure.)
fn own_operations(operations: usize, writers: usize, generator: usize, generators: usize) -> usize {
    if writers == 0 {
        return 0;
    }
    let own = share(writers, generator, generators);
    // The writers are counted through; the first of all have one more.
    let before: usize = (0..generator)
        .map(|earlier| share(writers, earlier, generators))
        .sum();
    let more = (operations % writers).saturating_sub(before).min(own);
    own * (operations / writers) + more
}

/// How many list on one generator: its share, and one at least where somebody writes and listing is asked for, since a lister looks
/// at the keys of its own generator. (Pure.)
fn listers_of(writers: usize, share: usize, all: usize) -> usize {
    share.max(usize::from(writers > 0 && all > 0))
}

/// What the clients of all epochs have in common.
struct Clients<'a> {
    context: &'a Context<'a>,
    spec: &'a Consistency,
    dialer: &'a Dialer,
    writers: usize,
    listers: usize,
    pages: Vec<u16>,
    bodies: Rc<Bodies>,
    base: String,
}

impl<'a> Clients<'a> {
    fn new(context: &'a Context<'_>, spec: &'a Consistency) -> Result<Self, WorkloadError> {
        let pages = spec.page_sizes.iter();
        let dialer = context.access.s3()?;
        let (writers, listers) = (writers_of(spec), usize::try_from(spec.listers).unwrap_or(0));
        dialer.begin_at(2 * context.before(writers) + context.before(listers));
        Ok(Self {
            context,
            spec,
            dialer,
            writers: context.share(writers),
            listers: listers_of(context.share(writers), context.share(listers), listers),
            pages: pages
                .map(|&size| u16::try_from(size).unwrap_or(1_000))
                .collect(),
            bodies: Rc::new(context.bodies(BODY_BYTES)),
            base: format!("{}g{}/", context.attempt_prefix(), context.generator),
        })
    }

    /// Starts those of an epoch, which end when so many writes are done.
    fn start(&self, shared: &Rc<Shared>, epoch: usize, writes: usize) -> JoinSet<()> {
        let rng = |who: &str, index: usize| {
            let label = self.context.label("consistency");
            SplitMix64::stream(
                self.context.seed(),
                &format!("{label}/{epoch}/{who}{index}"),
            )
        };
        let mut tasks = JoinSet::new();
        for writer in 0..self.writers {
            let task = Writer {
                shared: Rc::clone(shared),
                write: self.dialer.connection(),
                read: self.dialer.connection(),
                rng: rng("w", writer),
                base: format!("{}e{epoch:03}/", self.base),
                writer,
                writes: writes / self.writers + usize::from(writer < writes % self.writers),
                shapes: self.spec.key_shapes.clone(),
            };
            tasks.spawn_local(task.run());
        }
        for lister in 0..self.listers {
            tasks.spawn_local(list_while_writing(
                Rc::clone(shared),
                self.dialer.connection(),
                rng("l", lister),
                self.pages.clone(),
                lister,
            ));
        }
        tasks
    }
}

/// What the epochs of a trial have shown, and their history.
struct Found {
    history: GzEncoder<Vec<u8>>,
    checks: Vec<CheckRecord>,
    stale_keys: u64,
    /// Nanoseconds.
    longest_stale: u64,
    never_listed: u64,
    old_token_pages: u64,
}

impl Found {
    fn new() -> Self {
        Self {
            history: GzEncoder::new(Vec::new(), Compression::fast()),
            checks: Vec::new(),
            stale_keys: 0,
            longest_stale: 0,
            never_listed: 0,
            old_token_pages: 0,
        }
    }

    /// Checks the events of an epoch and keeps them.
    fn take(&mut self, events: &[Event]) -> std::io::Result<()> {
        let report = s3_history::check(events);
        add(&mut self.checks, report.checks);
        self.stale_keys += report.stale_keys;
        self.longest_stale = self.longest_stale.max(report.longest_stale);
        self.never_listed += report.never_listed;
        self.old_token_pages += report.old_token_pages;
        for event in events {
            serde_json::to_writer(&mut self.history, event).map_err(std::io::Error::other)?;
            self.history.write_all(b"\n")?;
        }
        Ok(())
    }

    fn counters(&self) -> impl Iterator<Item = (Counter, i64)> {
        let found = [
            (Counter::StaleKeys, self.stale_keys),
            (Counter::LongestStaleMicros, self.longest_stale / 1_000),
            (Counter::NeverListed, self.never_listed),
            (Counter::OldTokenPages, self.old_token_pages),
        ];
        let whole = |count| i64::try_from(count).unwrap_or(i64::MAX);
        found
            .into_iter()
            .map(move |(counter, count)| (counter, whole(count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NO_SUCH_KEY, answering, local, missing};

    fn shared() -> Shared {
        let kinds = [PUT, DELETE, GET, PAGE];
        let recorder = Recorder::new(0, u64::MAX, 0, false, &kinds, Arc::default()).unwrap();
        Shared {
            events: RefCell::default(),
            recorder: Rc::new(RefCell::new(recorder)),
            runs: RefCell::default(),
            keys: RefCell::default(),
            writers_left: Cell::new(0),
            next_id: Rc::new(Cell::new(1)),
            counts: Rc::default(),
            bodies: Rc::new(Bodies::new(BODY_BYTES, 1, "t")),
            deadline: u64::MAX,
        }
    }

    #[test]
    fn every_operation_has_a_writer() {
        for operations in 0..40 {
            for writers in 1..8 {
                for generators in 1..6 {
                    let of = |generator| own_operations(operations, writers, generator, generators);
                    let all: usize = (0..generators).map(of).sum();
                    assert_eq!(
                        all, operations,
                        "{writers} writers, {generators} generators"
                    );
                    let idle = (0..generators).filter(|&one| share(writers, one, generators) == 0);
                    assert_eq!(idle.map(of).sum::<usize>(), 0);
                }
            }
        }
        assert_eq!([0, 1].map(|one| own_operations(10, 1, one, 2)), [10, 0]);
        assert_eq!(own_operations(10, 0, 0, 1), 0);
    }

    #[test]
    fn the_404_of_a_proxy_is_no_read_of_an_object_that_is_gone() {
        local(async {
            for (body, reads) in [("404 page not found", 0), ("", 0), (NO_SUCH_KEY, 1)] {
                let shared = shared();
                let mut connection = missing(body).await.connection();
                shared.get(&mut connection, &"k".into()).await;
                assert_eq!(shared.events.borrow().len(), reads, "{body}");
            }
        });
    }

    #[test]
    fn a_body_is_a_write_only_from_its_first_byte_to_its_last() {
        local(async {
            let shared = shared();
            let [one, two] = [7, 8].map(|id| shared.bodies.body(id).parts().concat());
            let foreign = [&one[..21], &[b'x'; BODY_BYTES - 21]].concat();
            let torn = [&two[..200], &one[200..]].concat();
            let short = one[..200].to_vec();
            for (body, value) in [
                (one, 7),
                (foreign, u64::MAX),
                (torn, u64::MAX),
                (short, u64::MAX),
            ] {
                let dialer = answering(move |_| Some((200, body.clone()))).await;
                shared.get(&mut dialer.connection(), &"k".into()).await;
                let event = shared.events.borrow_mut().pop();
                let Some(Event::Read { value: read, .. }) = event else {
                    panic!("{event:?} is no read");
                };
                assert_eq!(read, Some(value));
            }
        });
    }

    #[test]
    fn what_is_listed_at_rest_is_asked_for_again_while_there_is_time() {
        local(async {
            let shared = shared();
            shared.runs.borrow_mut().push(vec!["r/".into()]);
            let asked = Rc::new(Cell::new(0));
            let count = Rc::clone(&asked);
            let dialer = answering(move |_| {
                count.set(count.get() + 1);
                let page = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
                Some(match count.get() {
                    1 => (503, "<Error><Code>SlowDown</Code></Error>".into()),
                    _ => (200, page.into()),
                })
            })
            .await;
            let mut connection = dialer.connection();
            shared.list_at_rest(&mut connection, 0).await;
            assert_eq!(asked.get(), 0);
            shared.list_at_rest(&mut connection, u64::MAX).await;
            assert_eq!(asked.get(), 2);
            let events = shared.events.borrow();
            assert!(matches!(events[..], [Event::Page { .. }]), "{events:?}");
        });
    }
}
