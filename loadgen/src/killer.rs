//! Kills the server beside it, when Kubernetes is about to stop its pod.
//!
//! A pod that is deleted gets SIGTERM first, always, and a server that is told to stop says good-bye to the others: that is a drain and
//! no loss. This stands beside the server in one process namespace and, asked before the pod stops, ends it as a lost machine would.

use std::net::SocketAddr;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use rustix::process::{Pid, Signal, getpid, kill_process};

use crate::net;

/// What is spared: ourselves, what else of ours stands beside the server, and what holds the pod together.
const SPARED: [&str; 2] = ["loadgen", "pause"];

/// Answers at `/kill` of `listen` once no process of the server is left.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(listen: SocketAddr) -> std::io::Result<()> {
    let listener = net::listener(listen)?;
    let router = Router::new().route(
        "/kill",
        get(|| async {
            match kill_others() {
                Ok(killed) => {
                    tracing::info!(killed, "killed");
                    (StatusCode::OK, format!("{killed} killed"))
                }
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            }
        }),
    );
    axum::serve(listener, router).await
}

/// Whether a process of this name and number is the server's.
fn is_of_the_server(name: &str, number: i32, own: i32) -> bool {
    number > 1 && number != own && !SPARED.contains(&name.trim())
}

/// Kills every process of the namespace but those that are spared; answers how many.
fn kill_others() -> std::io::Result<usize> {
    let own = getpid().as_raw_nonzero().get();
    let mut killed = 0;
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let Some(number) = number else { continue };
        // One that has ended meanwhile is none.
        let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if !is_of_the_server(&name, number, own) {
            continue;
        }
        if let Some(pid) = Pid::from_raw(number)
            && kill_process(pid, Signal::KILL).is_ok()
        {
            killed += 1;
        }
    }
    Ok(killed)
}

#[cfg(test)]
mod tests {
    use super::is_of_the_server;

    #[test]
    fn what_holds_the_pod_together_is_spared() {
        assert!(is_of_the_server("minio\n", 7, 20));
        assert!(is_of_the_server("weed\n", 12, 20));
        for (name, number) in [
            ("pause\n", 1),
            ("minio", 1),
            ("loadgen\n", 9),
            ("x", 20),
            ("pause", 30),
        ] {
            assert!(!is_of_the_server(name, number, 20), "{name} {number}");
        }
    }
}
