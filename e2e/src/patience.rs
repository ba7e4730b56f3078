//! Waiting for what a test wants to see. (I/O: the clock.)

use anyhow::bail;
use std::time::{Duration, Instant};

/// How often one looks.
const LOOK: Duration = Duration::from_millis(250);

/// A deadline is said in the seconds that are ample on a quiet machine; a busy one gets so many times as many. No test
/// that passes comes near.
const PATIENCE: u32 = 4;

/// Waiting for one thing.
///
/// What cannot be told is asked again: one test takes from another what it asks, an operator or a name server, for a
/// moment.
pub(crate) struct Patience<'a> {
    what: &'a str,
    seconds: u64,
    deadline: Instant,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(what: &'a str, seconds: u64) -> Self {
        let deadline = Instant::now() + PATIENCE * Duration::from_secs(seconds);
        Self {
            what,
            seconds,
            deadline,
        }
    }

    /// Waits until it is time to look again.
    ///
    /// # Errors
    /// The time is over: what was awaited, and how it stands.
    pub(crate) async fn again(&self, standing: &str) -> anyhow::Result<()> {
        if Instant::now() >= self.deadline {
            let (what, seconds) = (self.what, self.seconds);
            bail!("gave up after {PATIENCE} times {seconds} s waiting for {what}: {standing}");
        }
        tokio::time::sleep(LOOK).await;
        Ok(())
    }
}

/// Waits until a condition holds.
///
/// # Errors
/// It does not within the seconds, or cannot be told.
pub async fn until(
    what: &str,
    seconds: u64,
    mut holds: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let patience = Patience::new(what, seconds);
    loop {
        match holds().await {
            Ok(true) => return Ok(()),
            Ok(false) => patience.again("not yet").await?,
            Err(error) => patience.again(&format!("{error:#}")).await?,
        }
    }
}
