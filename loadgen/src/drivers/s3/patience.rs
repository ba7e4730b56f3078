//! Asks again where nothing is measured: while data are prepared, a store that wants time gets it.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use crate::failure::{Failure, FailureClass};

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// The longest that a store may ask to be left alone for.
const LONGEST_RETRY_AFTER: u64 = 60;

/// How long one request may be repeated, and how often requests of all were put off.
#[derive(Debug)]
pub struct Patience {
    of_one: Duration,
    throttled: Cell<u64>,
    failed: Cell<u64>,
}

impl Patience {
    /// Repeats each request for so long.
    #[must_use]
    pub fn new(of_one: Duration) -> Self {
        Self {
            of_one,
            throttled: Cell::new(0),
            failed: Cell::new(0),
        }
    }

    /// How often the store asked to slow down.
    #[must_use]
    pub fn throttled(&self) -> u64 {
        self.throttled.get()
    }

    /// How often a request failed in another way that may pass.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.get()
    }

    /// Asks until it is answered.
    ///
    /// # Errors
    /// The last failure, when patience ran out or no repetition can help.
    pub async fn ask<T>(
        &self,
        mut request: impl AsyncFnMut() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + self.of_one;
        let mut wait = FIRST_WAIT;
        loop {
            let failure = match request().await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match failure.class {
                FailureClass::Throttled => self.throttled.set(self.throttled.get() + 1),
                FailureClass::Server
                | FailureClass::Timeout
                | FailureClass::Transport
                | FailureClass::Connect => self.failed.set(self.failed.get() + 1),
                _ => return Err(failure),
            }
            let asked = failure.retry_after.unwrap_or(0).min(LONGEST_RETRY_AFTER);
            let pause = wait.max(Duration::from_secs(asked));
            if failure.remedy.is_some() || Instant::now() + pause >= deadline {
                return Err(failure);
            }
            tokio::time::sleep(pause).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn failing(class: FailureClass, retry_after: Option<u64>) -> Failure {
        let mut failure = Failure::new(class, "no");
        failure.retry_after = retry_after;
        failure
    }

    #[test]
    fn what_passes_is_waited_for_and_counted() {
        testing::local(async {
            let patience = Patience::new(Duration::from_secs(300));
            let began = Instant::now();
            let mut left = 3;
            let asked = patience.ask(async || {
                left -= 1;
                match left {
                    2 => Err(failing(FailureClass::Throttled, Some(1))),
                    1 => Err(failing(FailureClass::Server, None)),
                    _ => Ok("done"),
                }
            });
            assert_eq!(asked.await.unwrap(), "done");
            assert_eq!((patience.throttled(), patience.failed()), (1, 1));
            // As long as it asked for.
            assert!(
                began.elapsed() >= Duration::from_secs(1),
                "{:?}",
                began.elapsed()
            );
        });
    }

    #[test]
    fn patience_ends_and_a_refusal_has_none() {
        testing::local(async {
            let patience = Patience::new(Duration::from_secs(1));
            let began = Instant::now();
            let mut times = 0;
            let asked: Result<(), _> = patience
                .ask(async || {
                    times += 1;
                    Err(failing(FailureClass::Throttled, None))
                })
                .await;
            assert_eq!(asked.unwrap_err().class, FailureClass::Throttled);
            // The next time would be after its end, which is not waited for.
            assert!(times <= 4, "{times} times");
            let taken = began.elapsed();
            assert!(taken >= Duration::from_millis(500), "{taken:?}");
            let mut asked = 0;
            let refused: Result<(), _> = patience
                .ask(async || {
                    asked += 1;
                    Err(failing(FailureClass::Client, None))
                })
                .await;
            assert!(refused.is_err() && asked == 1);
        });
    }
}
