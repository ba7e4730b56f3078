//! Where the generators of a trial meet before its load begins.

use std::cell::Cell;
use std::time::Duration;

use crate::instrument::clock;
use crate::instrument::clock_offset::ClockOffset;
use crate::run::control::{Control, FollowError, Follower, Turn};
use crate::workloads::{self, Gate, Opening, WorkloadError};

/// How long generators wait for each other; they prepare data meanwhile.
const BARRIER_PATIENCE: Duration = Duration::from_secs(600);

/// Where generator 0 waits for the others.
pub(super) struct LeaderGate<'a> {
    pub(super) control: &'a Control,
    pub(super) others: usize,
}

impl Gate for LeaderGate<'_> {
    fn open(&self) -> Opening<'_> {
        Box::pin(async move {
            if self.others == 0 {
                return workloads::Alone.open().await;
            }
            match self.control.gather(self.others, BARRIER_PATIENCE).await {
                Some(wall) => Ok(clock::monotonic_at_wall(wall)),
                None => {
                    let detail = format!(
                        "not all of {} other generators were prepared in time",
                        self.others
                    );
                    Err(WorkloadError::Gate(detail))
                }
            }
        })
    }
}

/// Where any other generator waits for generator 0.
pub(super) struct FollowerGate<'a> {
    pub(super) follower: &'a Follower,
    /// How the wall clocks differ; set when the gate opens.
    pub(super) clock: Cell<ClockOffset>,
    /// How the monotonic clocks do; set when the gate opens.
    pub(super) monotonic: Cell<ClockOffset>,
    pub(super) turn: &'a Turn,
}

impl Gate for FollowerGate<'_> {
    fn open(&self) -> Opening<'_> {
        Box::pin(async move {
            let gate = |error: FollowError| WorkloadError::Gate(error.to_string());
            let monotonic = self.follower.monotonic_ahead().await.map_err(gate)?;
            self.monotonic.set(monotonic);
            let (start, clock) = self.follower.ready(self.turn.number).await.map_err(gate)?;
            self.clock.set(clock);
            Ok(start)
        })
    }
}
