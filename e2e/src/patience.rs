//! Waiting for what a test wants to see. (I/O: the clock.)

use anyhow::ensure;
use std::time::{Duration, Instant};

/// How often one looks.
const LOOK: Duration = Duration::from_millis(250);

/// A deadline is said in the seconds that are ample on a quiet machine; a busy one gets so many times as many. No test
/// that passes comes near.
const PATIENCE: u32 = 4;

/// Asks until there is an answer; until then an error says how it stands.
///
/// What cannot be told is asked again: one test takes from another what it asks, an operator or a name server, for a
/// moment.
///
/// # Errors
/// The time is over: what was awaited, and how it stands.
pub(crate) async fn eventually<T>(
    what: &str,
    seconds: u64,
    mut ask: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + PATIENCE * Duration::from_secs(seconds);
    loop {
        let stands = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(stands) => stands,
        };
        ensure!(
            Instant::now() < deadline,
            "gave up after {PATIENCE} times {seconds} s waiting for {what}: {stands:#}"
        );
        tokio::time::sleep(LOOK).await;
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
    eventually(what, seconds, async || {
        ensure!(holds().await?, "not yet");
        Ok(())
    })
    .await
}
