//! What is seen of the processes of a backend. (Pure.)

use bakeoff_crds::result::{BackendUsage, PodUsage};
use std::collections::BTreeMap;

/// A look at one process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Process {
    /// When it started, seconds since the epoch.
    pub start_seconds: f64,
    /// By how much two looks at one process may differ in that, seconds.
    pub start_error_seconds: f64,
    /// CPU time so far, seconds.
    pub cpu_seconds: f64,
    /// Resident memory, bytes.
    pub resident_bytes: f64,
}

impl Process {
    fn is_another_than(&self, before: &Self) -> bool {
        (before.start_seconds - self.start_seconds).abs()
            > before.start_error_seconds.max(self.start_error_seconds)
    }

    /// The CPU time since an earlier look, seconds. Of one that began anew it is all that it used.
    fn cpu_since(&self, before: &Self) -> f64 {
        let earlier = if self.is_another_than(before) {
            0.0
        } else {
            before.cpu_seconds
        };
        (self.cpu_seconds - earlier).max(0.0)
    }
}

/// A look at a backend: its processes, by the names of their pods; the one of a backend of a single pod has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation(pub BTreeMap<String, Process>);

impl From<Process> for Observation {
    fn from(only: Process) -> Self {
        Self(BTreeMap::from([(String::new(), only)]))
    }
}

impl Observation {
    /// Which process answers in the place of another one, in words; nothing where all are those that were seen before.
    #[must_use]
    pub fn restarted_since(&self, before: &Self) -> Option<String> {
        let mut pairs = self
            .0
            .iter()
            .filter_map(|(pod, now)| Some((pod, before.0.get(pod)?, now)));
        let (pod, before, now) = pairs.find(|(_, before, now)| now.is_another_than(before))?;
        let whose = if pod.is_empty() {
            "the backend's process".to_owned()
        } else {
            format!("the process of its pod {pod}")
        };
        Some(format!(
            "{whose} started at {:.0} and not at {:.0} as before the trial",
            now.start_seconds, before.start_seconds
        ))
    }

    /// What was used since an earlier look.
    #[must_use]
    pub fn usage_since(&self, before: &Self) -> BackendUsage {
        let of = |(pod, now): (&String, &Process)| {
            let cpu = before
                .0
                .get(pod)
                .map_or(0.0, |before| now.cpu_since(before));
            let usage = PodUsage {
                cpu_micros: (cpu * 1e6) as i64,
                resident_bytes: now.resident_bytes as i64,
            };
            (pod.clone(), usage)
        };
        let mut pods: BTreeMap<String, PodUsage> = self.0.iter().map(of).collect();
        let starts = self.0.values().map(|process| process.start_seconds);
        let usage = BackendUsage {
            process_start_seconds: starts.fold(0.0, f64::max),
            cpu_micros: pods.values().map(|pod| pod.cpu_micros).sum(),
            resident_bytes: pods.values().map(|pod| pod.resident_bytes).sum(),
            pods: BTreeMap::new(),
        };
        pods.remove("");
        BackendUsage { pods, ..usage }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(start: f64, cpu: f64) -> Process {
        Process {
            start_seconds: start,
            start_error_seconds: 1.0,
            cpu_seconds: cpu,
            resident_bytes: 100.0,
        }
    }

    fn pods(each: [(&str, Process); 2]) -> Observation {
        Observation(each.map(|(pod, process)| (pod.to_owned(), process)).into())
    }

    #[test]
    fn a_restart_of_any_pod_is_seen_and_named() {
        let before = pods([("a", process(10.0, 5.0)), ("b", process(11.0, 5.0))]);
        let same = pods([("a", process(10.5, 6.0)), ("b", process(11.0, 8.0))]);
        assert_eq!(same.restarted_since(&before), None);
        let usage = same.usage_since(&before);
        assert_eq!((usage.cpu_micros, usage.resident_bytes), (4_000_000, 200));
        assert_eq!(usage.pods["b"].cpu_micros, 3_000_000);
        // Not the latest of them: it is found all the same.
        let other = pods([("a", process(10.5, 6.0)), ("b", process(4.0, 2.0))]);
        let said = other.restarted_since(&before).unwrap();
        assert!(said.contains("pod b started at 4 and not at 11"), "{said}");
        assert_eq!(
            other.usage_since(&before).pods["b"].cpu_micros,
            2_000_000,
            "of a new process all that it used"
        );
    }

    #[test]
    fn the_only_process_has_no_name() {
        let (before, after) = (
            Observation::from(process(1.0, 1.0)),
            Observation::from(process(20.0, 2.0)),
        );
        let said = after.restarted_since(&before).unwrap();
        assert!(said.starts_with("the backend's process started"), "{said}");
        assert!(after.usage_since(&before).pods.is_empty());
    }
}
