//! The clients of an epoch: writers and listers.

use std::rc::Rc;
use std::sync::Arc;

use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::spec::KeyShape;

use super::{BODY_BYTES, DELETE, PUT, RUN_KEYS, Shared};
use crate::checker::s3_history::{Event, Outcome, Span};
use crate::drivers::s3::Connection;
use crate::instrument::clock;

const PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// The n-th key of a run, after its prefix. In a run of sequence, later keys need not sort later.
fn shaped(shape: KeyShape, n: usize) -> String {
    match shape {
        KeyShape::Flat => format!("{n:08}"),
        KeyShape::Nested => {
            let group = n / 3;
            match n % 3 {
                0 => format!("a{group:03}"),
                1 => format!("a{group:03}/b"),
                _ => format!("a{group:03}-b"),
            }
        }
        KeyShape::Unicode => {
            // Two, three and four bytes: the order of bytes differs from that of UTF-16.
            let head = ["é", "日本", "𝄞", "ﬀ", "z"][n % 5];
            format!("{head}-{n:04}")
        }
    }
}

/// Puts, overwrites and deletes, and reads each acknowledged write back at once.
pub(super) struct Writer {
    pub shared: Rc<Shared>,
    pub write: Connection,
    pub read: Connection,
    pub rng: SplitMix64,
    pub base: String,
    pub writer: usize,
    pub writes: usize,
    pub shapes: Vec<KeyShape>,
}

impl Writer {
    pub async fn run(mut self) {
        // Connections that break later are opened again on the clock of the next operation.
        let _ = self.write.ready().await;
        let _ = self.read.ready().await;
        let mut run = 0;
        let mut left = self.writes;
        while left > 0 {
            let shape = self.shapes[(run + self.writer) % self.shapes.len()];
            let prefix: Arc<str> =
                format!("{}w{:02}/{:?}-{run:04}/", self.base, self.writer, shape).into();
            {
                let mut runs = self.shared.runs.borrow_mut();
                let own = &mut runs[self.writer];
                own.push(Arc::clone(&prefix));
            }
            left = self.one_run(&prefix, shape, left).await;
            run += 1;
            if clock::now() > self.shared.deadline {
                break;
            }
        }
        self.shared.counts.borrow_mut().not_started += left as u64;
        self.shared
            .writers_left
            .set(self.shared.writers_left.get() - 1);
    }

    /// Writes one run; answers how many writes are left.
    async fn one_run(&mut self, prefix: &Arc<str>, shape: KeyShape, mut left: usize) -> usize {
        let mut live: Vec<Arc<str>> = Vec::new();
        let mut created = 0;
        while left > 0 && created < RUN_KEYS && clock::now() <= self.shared.deadline {
            left -= 1;
            let choice = self.rng.below(100);
            // 70 of 100 create, 15 overwrite, 15 delete.
            let (key, delete) = if choice < 70 || live.is_empty() {
                created += 1;
                (
                    self.shared
                        .intern(&format!("{prefix}{}", shaped(shape, created - 1))),
                    false,
                )
            } else {
                let index = self.rng.index(live.len());
                (live.swap_remove(index), choice >= 85)
            };
            let outcome = self.write(&key, delete).await;
            match outcome {
                Outcome::Ok => {
                    self.shared.get(&mut self.read, &key).await;
                    if !delete {
                        live.push(key);
                    }
                }
                // A key whose state is unknown is left alone for ever.
                Outcome::Info => tokio::time::sleep(PAUSE).await,
                Outcome::Fail if delete => live.push(key),
                Outcome::Fail => tokio::time::sleep(PAUSE).await,
            }
        }
        left
    }

    async fn write(&mut self, key: &Arc<str>, delete: bool) -> Outcome {
        let id = self.shared.id();
        let path = self.write.target().object_path(key);
        let body = (!delete).then(|| self.shared.bodies.body(id));
        let invoke = clock::now();
        let result = match body {
            Some(body) => self
                .write
                .put(&path, body)
                .await
                .map(|reply| reply.etag.unwrap_or_default()),
            None => self.write.delete(&path).await.map(|()| String::new()),
        };
        let span = Span {
            invoke,
            complete: clock::now(),
        };
        let kind = if delete { DELETE } else { PUT };
        let bytes = if delete { 0 } else { BODY_BYTES as u64 };
        self.shared
            .record(kind, span, result.as_ref().map(|_| bytes));
        let mut counts = self.shared.counts.borrow_mut();
        let (outcome, detail) = match result {
            Ok(etag) => {
                counts.completed += 1;
                (Outcome::Ok, etag)
            }
            Err(failure) => {
                counts.failed += 1;
                let outcome = if failure.class.definite() {
                    Outcome::Fail
                } else {
                    Outcome::Info
                };
                (outcome, failure.to_string())
            }
        };
        let value = (!delete).then_some(id);
        let event = Event::Write {
            id,
            key: Arc::clone(key),
            value,
            span,
            outcome,
            detail,
        };
        self.shared.events.borrow_mut().push(event);
        outcome
    }
}

/// Lists runs under way and reads what it saw, until the writers are done.
pub(super) async fn list_while_writing(
    shared: Rc<Shared>,
    mut connection: Connection,
    mut rng: SplitMix64,
    pages: Vec<u16>,
    lister: usize,
) {
    let _ = connection.ready().await;
    let mut turn = lister;
    while shared.writers_left.get() > 0 {
        let run = {
            let runs = shared.runs.borrow();
            let writer = rng.index(runs.len());
            // The run under way, and now and then the one before.
            let back = usize::from(rng.below(4) == 0) + 1;
            runs[writer]
                .len()
                .checked_sub(back)
                .map(|index| Arc::clone(&runs[writer][index]))
        };
        if let Some(run) = run {
            let page = pages[turn / 2 % pages.len()];
            let seen = shared
                .scan(&mut connection, &run, page, turn.is_multiple_of(2))
                .await
                .keys;
            turn += 1;
            if !seen.is_empty() {
                let key = Arc::clone(&seen[rng.index(seen.len())]);
                shared.get(&mut connection, &key).await;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_give_distinct_keys_that_share_prefixes() {
        for shape in [KeyShape::Flat, KeyShape::Nested, KeyShape::Unicode] {
            let keys: std::collections::BTreeSet<String> =
                (0..RUN_KEYS).map(|n| shaped(shape, n)).collect();
            assert_eq!(keys.len(), RUN_KEYS, "{shape:?}");
        }
        assert!(shaped(KeyShape::Nested, 1).starts_with(&shaped(KeyShape::Nested, 0)));
        assert!(shaped(KeyShape::Nested, 2).starts_with(&shaped(KeyShape::Nested, 0)));
    }
}
