//! A real Redis server, gone with its guard.

use std::process::{Child, Command};
use std::time::Duration;

use bakeoff_loadgen::credentials::Credentials;
use bakeoff_loadgen::drivers::redis::LockServer;

use super::{SECRET, credentials, free_port, program, quiet};

pub struct Redis {
    child: Child,
    pub endpoint: String,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Redis {
    /// A fresh server, with the settings that the operator gives it.
    pub fn start() -> Self {
        let port = free_port();
        let mut command = Command::new(program("BAKEOFF_REDIS"));
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--dir", "/tmp", "--appendonly", "no", "--save", ""])
            .args(["--requirepass", SECRET]);
        Self {
            child: quiet(command).spawn().expect("the server starts"),
            endpoint: format!("redis://127.0.0.1:{port}"),
        }
    }

    /// Who asks it.
    pub fn server(&self) -> LockServer {
        self.server_with(&credentials())
    }

    pub fn server_with(&self, credentials: &Credentials) -> LockServer {
        LockServer::new(&self.endpoint, credentials, Duration::from_secs(5)).unwrap()
    }
}
