//! Reads again what was acknowledged around the loss of a server.

use std::time::Duration;

use bakeoff_analysis::vocabulary;
use bakeoff_crds::result::CheckRecord;
use futures::StreamExt as _;

use super::witness::Kept;
use crate::drivers::s3::dialer::Dialer;
use crate::workloads::body::Bodies;

/// Objects that are read again at once.
const READERS: usize = 8;
/// Reading them again takes no longer.
const MOST_READING: Duration = Duration::from_secs(180);
/// How long a store has to come to rest before what it does not show is called lost.
const REST: Duration = Duration::from_secs(15);
/// So many examples of what was missed are kept.
const EXAMPLES: usize = 5;

/// What a read of an acknowledged object shows.
pub(super) enum Read {
    Whole,
    Missed(String),
    Unknown,
}

/// From where is read, and how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'a> {
    dialer: &'a Dialer,
    /// What was written.
    bodies: &'a Bodies,
    /// One look at all objects takes no longer.
    pub most: Duration,
    /// The pause before the second look.
    pub rest: Duration,
}

impl<'a> Reading<'a> {
    /// Reads these bodies.
    pub fn new(dialer: &'a Dialer, bodies: &'a Bodies) -> Self {
        Self {
            dialer,
            bodies,
            most: MOST_READING,
            rest: REST,
        }
    }

    pub async fn read_one(self, kept: &Kept) -> Read {
        let mut connection = self.dialer.connection();
        let (path, size) = (&kept.path, self.bodies.size());
        match connection.get(path).await {
            Ok(reply) if reply.length != size as u64 => {
                Read::Missed(format!("{path} has {} bytes of {size}", reply.length))
            }
            // As far as it was kept. What a crash leaves may have the right length and nothing of what was written.
            Ok(reply) if !self.bodies.begins(kept.number, &reply.head) => {
                Read::Missed(format!("{path} holds something else"))
            }
            Ok(_) => Read::Whole,
            Err(failure) if failure.says_gone() => Read::Missed(format!("{path}: {failure}")),
            Err(_) => Read::Unknown,
        }
    }

    /// Reads these objects; answers those that it missed, with what was found instead, as far as that was known in time.
    async fn read_all<'k>(
        self,
        kept: impl Iterator<Item = &'k Kept>,
        check: &mut CheckRecord,
    ) -> Vec<(&'k Kept, String)> {
        let mut missed = Vec::new();
        let reads = kept.map(|kept| async move { (kept, self.read_one(kept).await) });
        let mut reads = futures::stream::iter(reads).buffer_unordered(READERS);
        let reading = async {
            while let Some((kept, read)) = reads.next().await {
                check.checked += 1;
                match read {
                    Read::Whole => {}
                    Read::Missed(what) => missed.push((kept, what)),
                    Read::Unknown => check.uncertain += 1,
                }
            }
        };
        if tokio::time::timeout(self.most, reading).await.is_err() {
            tracing::warn!(checked = check.checked, "reading again took too long");
        }
        missed
    }

    /// Reads again what was acknowledged. What a read misses is read once more when all has come to rest: what it misses then
    /// is lost.
    pub async fn read_back(self, kept: &[Kept]) -> [CheckRecord; 2] {
        let mut misses = check(vocabulary::READ_AFTER_WRITE_MISSES);
        let missed = self.read_all(kept.iter(), &mut misses).await;
        let mut lost = check(vocabulary::LOST_WRITES);
        (lost.checked, lost.uncertain) = (misses.checked, misses.uncertain);
        if let Some((_, example)) = missed.first() {
            let count = missed.len();
            tracing::warn!(
                missed = count,
                example,
                "acknowledged objects are not found"
            );
            tokio::time::sleep(self.rest).await;
            let again = missed.iter().map(|(kept, _)| *kept);
            let mut second = check(vocabulary::LOST_WRITES);
            let still = self.read_all(again, &mut second).await;
            // Of those that the second look did not come to, nothing is known either.
            let unread = i64::try_from(count).unwrap_or(i64::MAX) - second.checked;
            lost.uncertain += second.uncertain + unread;
            violated(&mut lost, still);
        }
        violated(&mut misses, missed);
        [misses, lost]
    }
}

fn check(name: &str) -> CheckRecord {
    CheckRecord {
        name: name.to_owned(),
        checked: 0,
        violations: 0,
        uncertain: 0,
        examples: Vec::new(),
    }
}

fn violated(check: &mut CheckRecord, missed: Vec<(&Kept, String)>) {
    check.violations = i64::try_from(missed.len()).unwrap_or(i64::MAX);
    let examples = missed.into_iter().map(|(_, what)| what).take(EXAMPLES);
    check.examples.extend(examples);
}
