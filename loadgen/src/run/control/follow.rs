//! The side of the other generators: they ask generator 0 what comes next and when.

use std::time::Duration;

use http::Method;

use super::{LONG_POLL, Turn};
use crate::instrument::clock;
use crate::instrument::clock_offset::ClockOffset;

/// How long a generator that has heard that the run is over waits for that to be acknowledged.
const LAST_WORD: Duration = Duration::from_secs(3);

/// Why another generator could not follow generator 0.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// Generator 0 was not heard of for too long.
    #[error("generator 0 at {url} has not answered for {seconds} s: {last}")]
    Lost {
        /// Its address.
        url: String,
        /// For how long.
        seconds: u64,
        /// The last error.
        last: String,
    },
    /// The turn was given up by generator 0.
    #[error("generator 0 went on without this one")]
    Gone,
}

impl FollowError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Lost { .. } => "BarrierLost",
            Self::Gone => "BarrierGone",
        }
    }
}

/// The side of the other generators.
#[derive(Clone, Debug)]
pub struct Follower {
    /// `http://host:port` of generator 0.
    pub url: String,
    /// The index of this generator.
    pub index: usize,
    /// How long generator 0 may be silent: while it starts, or is replaced.
    pub patience: Duration,
}

impl Follower {
    async fn ask(&self, method: Method, path: &str) -> Result<Option<String>, FollowError> {
        let url = format!("{}{path}", self.url);
        let silent_since = tokio::time::Instant::now();
        loop {
            let last =
                match crate::net::request(method.clone(), &url, LONG_POLL + Duration::from_secs(5))
                    .await
                {
                    Ok((200, body)) => {
                        return Ok(Some(String::from_utf8_lossy(&body).into_owned()));
                    }
                    Ok((204, _)) => return Ok(None),
                    Ok((410, _)) => return Err(FollowError::Gone),
                    Ok((status, _)) => format!("HTTP {status}"),
                    Err(error) => error.to_string(),
                };
            if silent_since.elapsed() >= self.patience {
                let seconds = self.patience.as_secs();
                return Err(FollowError::Lost {
                    url: self.url.clone(),
                    seconds,
                    last,
                });
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// The next turn after `after`.
    ///
    /// # Errors
    /// When generator 0 is silent for too long.
    pub async fn next(&self, after: u64) -> Result<Turn, FollowError> {
        loop {
            if let Some(text) = self
                .ask(Method::GET, &format!("/barrier/step?after={after}"))
                .await?
                && let Ok(turn) = serde_json::from_str(&text)
            {
                return Ok(turn);
            }
        }
    }

    /// Says that this generator is prepared; answers when load begins, on its own monotonic clock, and
    /// how far that clock is from generator 0's.
    ///
    /// # Errors
    /// When generator 0 is silent or went on.
    pub async fn ready(&self, number: u64) -> Result<(u64, ClockOffset), FollowError> {
        let offset = self.clock_ahead().await?;
        loop {
            let path = format!("/barrier/ready?number={number}&index={}", self.index);
            if let Some(text) = self.ask(Method::POST, &path).await?
                && let Ok(start) = text.parse::<i128>()
            {
                let own = u64::try_from(start - i128::from(offset.ahead)).unwrap_or(0);
                return Ok((clock::monotonic_at_wall(own), offset));
            }
        }
    }

    /// Says that this generator has heard that the run is over. Generator 0 may be gone before it answers, so the
    /// answer is not waited for longer than a moment: the run is over either way.
    pub async fn farewell(&self, number: u64) {
        let path = format!("/barrier/ready?number={number}&index={}", self.index);
        let _ = tokio::time::timeout(LAST_WORD, self.ask(Method::POST, &path)).await;
    }

    /// By how many nanoseconds the wall clock of generator 0 is ahead of this one.
    async fn clock_ahead(&self) -> Result<ClockOffset, FollowError> {
        Ok(self.exchange("/barrier/clock", clock::wall).await?.0)
    }

    /// By how much the monotonic clock of generator 0 is ahead of this one. It is the same clock, and the offset
    /// zero, where both run on one machine: that is told by its boot id, and by what is measured, because a
    /// container may have a clock of its own.
    ///
    /// # Errors
    /// When generator 0 is silent for too long.
    pub async fn monotonic_ahead(&self) -> Result<ClockOffset, FollowError> {
        let (offset, boot) = self.exchange("/barrier/monotonic", clock::now).await?;
        let same = !boot.is_empty() && boot == clock::boot();
        if same && offset.ahead.unsigned_abs() <= offset.error.unsigned_abs() {
            return Ok(ClockOffset::default());
        }
        Ok(offset)
    }

    /// How a clock of generator 0 differs from the own one, from the quickest of a few exchanges, good to half its
    /// round trip; and what else the answer said.
    async fn exchange(
        &self,
        path: &str,
        own: fn() -> u64,
    ) -> Result<(ClockOffset, String), FollowError> {
        let mut best: Option<ClockOffset> = None;
        let mut more = String::new();
        for _ in 0..5 {
            let asked = own();
            let Some(text) = self.ask(Method::GET, path).await? else {
                continue;
            };
            let answered = own();
            let (number, rest) = text.split_once(' ').unwrap_or((&text, ""));
            let Ok(theirs) = number.parse::<i128>() else {
                continue;
            };
            rest.clone_into(&mut more);
            let trip = answered.saturating_sub(asked);
            let ahead = theirs - i128::from(asked) - i128::from(trip / 2);
            let offset = ClockOffset {
                ahead: i64::try_from(ahead).unwrap_or(i64::MAX),
                error: i64::try_from(trip / 2).unwrap_or(i64::MAX),
            };
            if best.is_none_or(|best| offset.error < best.error) {
                best = Some(offset);
            }
        }
        Ok((best.unwrap_or_default(), more))
    }
}
