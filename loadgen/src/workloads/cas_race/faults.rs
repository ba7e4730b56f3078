//! What goes wrong on purpose while writers race: connections are killed and locks deleted.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bakeoff_crds::rng::SplitMix64;

use super::lease::Place;
use super::{Tally, patiently};
use crate::drivers::postgres::Connector;
use crate::drivers::redis::Locks;
use crate::failure::Failure;
use crate::instrument::clock::{self, SECOND};

/// A server that is away is asked again after so long.
const AWAY: Duration = Duration::from_millis(200);

/// Instants without memory, so many a minute.
#[derive(Debug)]
struct Stream {
    per_minute: f64,
    next: u64,
}

impl Stream {
    fn new(per_minute: f64, start: u64, rng: &mut SplitMix64) -> Self {
        let mut stream = Self {
            per_minute,
            next: start,
        };
        stream.advance(rng);
        stream
    }

    fn advance(&mut self, rng: &mut SplitMix64) {
        self.next = if self.per_minute > 0.0 {
            let wait = -(1.0 - rng.unit()).ln() * 60.0 / self.per_minute * SECOND as f64;
            self.next.saturating_add(wait as u64)
        } else {
            u64::MAX
        };
    }
}

/// What is done to this generator's writers.
pub(super) struct Faults {
    pub connector: Connector,
    pub rng: SplitMix64,
    /// Of this generator, each a minute.
    pub kills: f64,
    pub deletions: f64,
    pub leases: Place,
    pub runs: Vec<u64>,
    /// The server's processes behind the writers.
    pub processes: Vec<Rc<Cell<i32>>>,
    pub tally: Rc<Tally>,
}

impl Faults {
    /// Does it from one instant to another. A fault that cannot be carried out, because the server is
    /// away, is left out.
    pub async fn inflict(mut self, start: u64, end: u64) {
        let mut kills = Stream::new(self.kills, start, &mut self.rng);
        let mut deletions = Stream::new(self.deletions, start, &mut self.rng);
        let mut client = None;
        let mut locks = None;
        let mut turn = self.rng.index(self.processes.len().max(1));
        loop {
            let due = kills.next.min(deletions.next);
            if due >= end {
                return;
            }
            clock::sleep_until(due).await;
            let own = match client.take() {
                Some(own) => own,
                None => match self.connector.connect().await {
                    Ok(own) => own,
                    Err(_) => {
                        tokio::time::sleep(AWAY).await;
                        kills.next = kills.next.max(clock::now());
                        deletions.next = deletions.next.max(clock::now());
                        continue;
                    }
                },
            };
            let done = if kills.next <= deletions.next {
                kills.advance(&mut self.rng);
                turn = (turn + 1) % self.processes.len().max(1);
                self.kill(&own, turn).await
            } else {
                deletions.advance(&mut self.rng);
                self.delete(&own, &mut locks).await
            };
            if done.is_ok() {
                client = Some(own);
            }
        }
    }

    async fn kill(&self, client: &tokio_postgres::Client, turn: usize) -> Result<(), Failure> {
        let Some(process) = self.processes.get(turn).map(|cell| cell.get()) else {
            return Ok(());
        };
        if process == 0 {
            return Ok(());
        }
        let sql = "SELECT pg_terminate_backend($1)";
        let killed =
            patiently(self.connector.timeout(), client.query_one(sql, &[&process])).await?;
        if killed.try_get(0).unwrap_or(false) {
            self.tally.killed.set(self.tally.killed.get() + 1);
        }
        Ok(())
    }

    async fn delete(
        &mut self,
        client: &tokio_postgres::Client,
        locks: &mut Option<Locks>,
    ) -> Result<(), Failure> {
        let run = self.runs[self.rng.index(self.runs.len())];
        let run = i64::try_from(run).unwrap_or(i64::MAX);
        let patience = self.connector.timeout();
        let gone = self.leases.delete(client, locks, run, patience).await?;
        self.tally.deleted.set(self.tally.deleted.get() + gone);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_keeps_its_rate_and_none_never_comes() {
        let mut rng = SplitMix64::new(3);
        let mut stream = Stream::new(600.0, 0, &mut rng);
        let mut count = 0;
        while stream.next < 1_000 * SECOND {
            stream.advance(&mut rng);
            count += 1;
        }
        assert!((9_700..10_300).contains(&count), "{count}");
        assert_eq!(Stream::new(0.0, 5, &mut rng).next, u64::MAX);
    }
}
