//! A thread that waits for no ordinary one.

use rustix::process::{getpriority_process, setpriority_process};
use thread_priority::{
    NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id, thread_schedule_policy,
};

/// While it lives, the calling thread runs before all ordinary ones, where the process may.
#[derive(Debug)]
pub struct RealTime {
    /// The ordinary policy and the nice value to go back to; absent where nothing was granted.
    before: Option<(NormalThreadSchedulePolicy, i32)>,
}

impl RealTime {
    /// For as long as this is kept: the thread that paces and sends waits for no other. An open load leaves it
    /// idle most of the time, so nothing starves; a process that may not goes on as an ordinary thread, and
    /// the send lag shows by how much.
    #[must_use]
    pub fn begin() -> Self {
        let Ok(ThreadSchedulePolicy::Normal(policy)) = thread_schedule_policy() else {
            // Somebody runs the whole program in real time: so it stays.
            return Self { before: None };
        };
        // Without a process named, Linux answers for the calling thread.
        let nice = getpriority_process(None).unwrap_or(0);
        match real_time() {
            Ok(()) => Self {
                before: Some((policy, nice)),
            },
            Err(error) => {
                tracing::debug!(%error, "the generator is an ordinary thread");
                Self { before: None }
            }
        }
    }
}

impl Drop for RealTime {
    fn drop(&mut self) {
        let Some((policy, nice)) = self.before else {
            return;
        };
        let ordinary = set_thread_priority_and_policy(
            thread_native_id(),
            ThreadPriority::Min,
            ThreadSchedulePolicy::Normal(policy),
        );
        if let Err(error) = ordinary {
            tracing::warn!(%error, "the generator stays a real-time thread");
        }
        // The least priority of an ordinary thread is nice 19, which is not what it was.
        if let Err(error) = setpriority_process(None, nice) {
            tracing::warn!(%error, nice, "the generator stays nice");
        }
    }
}

/// Makes the calling thread run before all ordinary ones (`SCHED_FIFO`, lowest priority), which needs
/// CAP_SYS_NICE or an RLIMIT_RTPRIO.
///
/// # Errors
/// When the process may not.
pub fn real_time() -> Result<(), String> {
    set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Min,
        ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo),
    )
    .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the tests may not, nothing is taken and nothing is given back.
    #[test]
    fn a_thread_is_as_it_was_after_real_time() {
        let before = (thread_schedule_policy().unwrap(), getpriority_process(None));
        let real_time = RealTime::begin();
        if real_time.before.is_some() {
            assert_eq!(
                thread_schedule_policy().unwrap(),
                ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo)
            );
        }
        drop(real_time);
        let after = (thread_schedule_policy().unwrap(), getpriority_process(None));
        assert_eq!(before, after);
    }
}
