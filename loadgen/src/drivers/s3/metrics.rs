//! What a backend says of its own process, in the Prometheus text format: when it started, and
//! the CPU time and memory it used. A start time that changed within a trial voids it.

use std::time::Duration;

use crate::drivers::observation::Process;
use crate::net;

/// The names under which the same figure is known: the Prometheus convention, and MinIO's own in
/// the node and in the cluster metrics of version 2.
const START: [&str; 3] = [
    "process_start_time_seconds",
    "minio_process_start_time_seconds",
    "minio_node_process_starttime_seconds",
];
const CPU: [&str; 3] = [
    "process_cpu_seconds_total",
    "minio_process_cpu_seconds_total",
    "minio_node_process_cpu_total_seconds",
];
const RESIDENT: [&str; 3] = [
    "process_resident_memory_bytes",
    "minio_process_resident_memory_bytes",
    "minio_node_process_resident_memory_bytes",
];

fn value(text: &str, names: &[&str]) -> Option<f64> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let (name, rest) = line.split_at(line.find(['{', ' '])?);
            if !names.contains(&name) {
                return None;
            }
            let rest = rest.rsplit_once('}').map_or(rest, |(_, rest)| rest);
            rest.split_whitespace().next()?.parse().ok()
        })
}

/// Reads an exposition; `None` when it does not tell when the process started.
#[must_use]
pub fn parse(text: &str) -> Option<Process> {
    Some(Process {
        start_seconds: value(text, &START)?,
        // The start of Linux processes is read from clock ticks; MinIO rounds it to whole seconds.
        start_error_seconds: 1.0,
        cpu_seconds: value(text, &CPU).unwrap_or(0.0),
        resident_bytes: value(text, &RESIDENT).unwrap_or(0.0),
    })
}

/// For one look: a backend that still has what a trial left it to do may take a while.
const PATIENCE: Duration = Duration::from_secs(15);

/// Looks at a process of a backend; `None` when it cannot be observed now.
pub async fn observe(url: &str) -> Option<Process> {
    match net::request(http::Method::GET, url, PATIENCE).await {
        Ok((200, body)) => parse(&String::from_utf8_lossy(&body)),
        Ok((status, _)) => {
            tracing::warn!(url, status, "backend metrics refused");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "backend metrics");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_dialects() {
        let go = "# HELP x\nprocess_start_time_seconds 1.7636e+09\nprocess_cpu_seconds_total 2.5\n\
                  process_resident_memory_bytes 1048576\n";
        let minio = "minio_node_process_starttime_seconds{server=\"a:9000\"} 1.7636e+09\n\
                     minio_node_process_cpu_total_seconds{server=\"{}\"} 3.5\n\
                     minio_node_process_resident_memory_bytes{server=\"a\"} 2e6\n";
        let (a, b) = (parse(go).unwrap(), parse(minio).unwrap());
        assert_eq!(
            (a.start_seconds, b.start_seconds, b.cpu_seconds),
            (1.7636e9, 1.7636e9, 3.5)
        );
        assert_eq!(parse("nothing 1"), None);
    }
}
