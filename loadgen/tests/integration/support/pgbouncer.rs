//! A real PgBouncer before a Postgres server. It refuses to run as root, too.

use std::process::{Child, Command};

use super::postgres::{Postgres, nobody};
use super::{KEY, SECRET, free_port, program, quiet};

pub struct PgBouncer {
    child: Child,
    _folder: tempfile::TempDir,
    port: u16,
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl PgBouncer {
    /// One that gives out sessions of the server in this mode, so many at once.
    pub fn start(server: &Postgres, mode: &str, size: u16, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let port = free_port();
        std::fs::write(at("users"), format!("\"{KEY}\" \"{SECRET}\"\n")).unwrap();
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\npool_mode = {mode}\ndefault_pool_size = {size}\n{more}\n",
            server.port(),
            at("users").display(),
        );
        std::fs::write(at("settings.ini"), settings).unwrap();
        for name in ["", "users", "settings.ini"] {
            nobody_owns(&at(name));
        }
        let mut command = Command::new(program("BAKEOFF_PGBOUNCER"));
        command.arg(at("settings.ini"));
        nobody(&mut command);
        Self {
            child: quiet(command).spawn().expect("PgBouncer starts"),
            _folder: folder,
            port,
        }
    }

    /// The URL of the database behind it.
    pub fn url(&self) -> String {
        format!(
            "postgres://{KEY}:{SECRET}@127.0.0.1:{}/postgres?sslmode=disable",
            self.port
        )
    }
}

/// Fails where the tests do not run as root, and is not needed there.
fn nobody_owns(path: &std::path::Path) {
    let _ = std::os::unix::fs::chown(path, Some(super::postgres::NOBODY), None);
}
