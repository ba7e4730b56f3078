//! What the control group of this process allows and has taken, and what the scheduler kept from it:
//! CPU throttling, CPU and memory limits, time spent waiting for a processor.
//!
//! Version 2 (`cpu.stat` with `throttled_usec`) and version 1 (`cpu,cpuacct/cpu.stat` with
//! `throttled_time` in nanoseconds). Outside a control group everything reads as zero.

use std::fs;
use std::path::{Path, PathBuf};

/// How often and for how long the CPU limit stopped this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    /// Periods in which it was stopped.
    pub periods: u64,
    /// For how long, nanoseconds.
    pub nanoseconds: u64,
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        if key == name {
            value.trim().parse().ok()
        } else {
            None
        }
    })
}

fn parse(stat: &str) -> Throttling {
    let nanoseconds = field(stat, "throttled_usec")
        .map(|micros| micros.saturating_mul(1_000))
        .or_else(|| field(stat, "throttled_time"))
        .unwrap_or(0);
    Throttling {
        periods: field(stat, "nr_throttled").unwrap_or(0),
        nanoseconds,
    }
}

/// The folders in which the files of a controller for this process may lie, the likeliest first.
fn folders(own: &str, controller: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let mut found = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let path = path.trim_start_matches('/');
        if controllers.is_empty() {
            found.push(root.join(path));
            // In a cgroup namespace the own group is the root.
            found.push(root.to_path_buf());
        } else if controllers.split(',').any(|name| name == controller) {
            for mount in [controllers, "cpu,cpuacct", controller] {
                found.push(root.join(mount).join(path));
                found.push(root.join(mount));
            }
        }
    }
    found
}

/// The throttling of this process so far.
#[must_use]
pub fn throttling() -> Throttling {
    file("cpu", "cpu.stat").map_or_else(Throttling::default, |stat| parse(&stat))
}

/// For how long the calling thread was ready to run and had no processor, in nanoseconds: the
/// second field of `/proc/thread-self/schedstat`. 0 where the kernel does not count it.
#[must_use]
pub fn run_queue() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    waited(&stat)
}

fn waited(stat: &str) -> u64 {
    let mut fields = stat.split_whitespace();
    fields
        .nth(1)
        .and_then(|field| field.parse().ok())
        .unwrap_or(0)
}

/// The CPU that the control group allows, thousandths of a core, and its memory in bytes; `None`
/// where there is no limit.
#[must_use]
pub fn limits() -> (Option<i64>, Option<i64>) {
    let cpu = file("cpu", "cpu.max").or_else(|| {
        let quota = file("cpu", "cpu.cfs_quota_us")?;
        let period = file("cpu", "cpu.cfs_period_us")?;
        Some(format!("{} {}", quota.trim(), period.trim()))
    });
    let memory = file("memory", "memory.max").or_else(|| file("memory", "memory.limit_in_bytes"));
    (
        cpu.and_then(|text| cpu_millis(&text)),
        memory.and_then(|text| memory_bytes(&text)),
    )
}

/// A file of this process's control group.
fn file(controller: &str, name: &str) -> Option<String> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    folders(&own, controller)
        .iter()
        .find_map(|folder| fs::read_to_string(folder.join(name)).ok())
}

/// `max` is no limit in version 2; version 1 has a number that no machine reaches.
fn memory_bytes(text: &str) -> Option<i64> {
    let bytes = text.trim().parse().ok()?;
    (bytes < i64::MAX / 2).then_some(bytes)
}

/// `90000 100000` is 900 thousandths of a core; `max 100000` and, in version 1, `-1 100000` are no limit.
fn cpu_millis(text: &str) -> Option<i64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (i64, i64) = (quota.parse().ok()?, period.parse().ok()?);
    if quota < 0 {
        return None;
    }
    quota.checked_mul(1_000)?.checked_div(period)
}

/// The largest resident memory of this process so far, bytes.
#[must_use]
pub fn peak_resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| {
            rest.trim()
                .trim_end_matches("kB")
                .trim()
                .parse::<u64>()
                .ok()
        })
        .unwrap_or(0)
        * 1_024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        let two = "usage_usec 9\nnr_periods 8\nnr_throttled 3\nthrottled_usec 250\n";
        assert_eq!(
            parse(two),
            Throttling {
                periods: 3,
                nanoseconds: 250_000
            }
        );
        let one = "nr_periods 8\nnr_throttled 3\nthrottled_time 77\n";
        assert_eq!(
            parse(one),
            Throttling {
                periods: 3,
                nanoseconds: 77
            }
        );
        assert_eq!(parse(""), Throttling::default());
    }

    #[test]
    fn limits_and_waits_are_read() {
        assert_eq!(cpu_millis("90000 100000\n"), Some(900));
        assert_eq!(cpu_millis("max 100000\n"), None);
        assert_eq!(cpu_millis("-1 100000"), None);
        assert_eq!(memory_bytes("536870912\n"), Some(536_870_912));
        assert_eq!(memory_bytes("max\n"), None);
        assert_eq!(memory_bytes("9223372036854771712\n"), None);
        assert_eq!(waited("1132121 445172 3\n"), 445_172);
        assert_eq!(waited(""), 0);
    }

    #[test]
    fn the_own_group_is_found_in_both_versions() {
        assert_eq!(
            folders("0::/kubepods/x\n", "cpu")[0],
            Path::new("/sys/fs/cgroup/kubepods/x")
        );
        let lines = "5:cpuset:/a\n4:cpu,cpuacct:/a/b\n3:memory:/m\n";
        let one = folders(lines, "cpu");
        assert_eq!(one[0], Path::new("/sys/fs/cgroup/cpu,cpuacct/a/b"));
        let one = folders(lines, "memory");
        assert_eq!(one[0], Path::new("/sys/fs/cgroup/memory/m"));
    }

    #[test]
    fn this_process_has_memory() {
        assert!(peak_resident() > 1 << 20);
    }
}
