//! A real Postgres server. It refuses to run as root, so it runs as `nobody` where the tests are root.

use std::fs::File;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bakeoff_crds::names;
use bakeoff_crds::run::ResolvedBackend;
use bakeoff_crds::spec::BackendKind;

use super::{KEY, SECRET};

pub const NOBODY: u32 = 65_534;
const TICK: std::time::Duration = std::time::Duration::from_millis(20);

pub struct Postgres {
    child: Child,
    folder: tempfile::TempDir,
    root: PathBuf,
    port: u16,
    settings: Vec<String>,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder of the server that tests run on, of whatever version.
fn root() -> PathBuf {
    super::program("BAKEOFF_POSTGRES")
}

fn program(root: &Path, name: &str) -> Command {
    let mut command = Command::new(root.join("bin").join(name));
    nobody(&mut command);
    command
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .stdout(Stdio::null());
    command
}

/// Runs a program as nobody in particular where the tests are root.
pub fn nobody(command: &mut Command) {
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// The settings of the server that are text.
pub fn text_settings() -> Vec<String> {
    let listed = program(&root(), "postgres")
        .arg("--describe-config")
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    let lines = String::from_utf8(listed.stdout).unwrap();
    let fields = lines
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>());
    let text = fields.filter(|fields| fields.get(3) == Some(&"STRING"));
    text.map(|fields| fields[0].to_owned()).collect()
}

fn server(root: &Path, folder: &Path, port: u16, settings: &[String]) -> Command {
    let mut command = program(root, "postgres");
    command.arg("-D").arg(folder.join("data"));
    // Its log is kept and found as that of a provisioned server.
    let log = folder.join("log");
    command
        .args(["-c", "log_autovacuum_min_duration=0"])
        .args(["-c", "log_line_prefix=%n [%p] "])
        .args([
            "-c",
            &format!("{}={}", names::SERVER_LOG_SETTING, log.display()),
        ]);
    for setting in settings {
        command.args(["-c", setting]);
    }
    command
        .args(["-c", &format!("port={port}")])
        .args(["-c", "unix_socket_directories="])
        // As whom a standby follows its primary.
        .envs([("PGUSER", KEY), ("PGPASSWORD", SECRET)])
        .stderr(File::options().append(true).create(true).open(log).unwrap());
    command
}

impl Postgres {
    /// A fresh server with these settings, for example `autovacuum_naptime=1s`.
    pub fn start(settings: &[&str]) -> Self {
        Self::start_with(settings, None)
    }

    /// A fresh server of the version whose folder a variable names.
    pub fn start_of(variable: &str) -> Self {
        Self::prepared(super::program(variable), &[], |_| {})
    }

    /// A fresh server that encrypts connections with this certificate and its key, where asked.
    pub fn start_encrypted(certificate: &Path, key: &Path) -> Self {
        Self::start_with(&["ssl=on"], Some((certificate, key)))
    }

    /// A server in recovery, that would follow a primary if it knew one.
    pub fn start_standby() -> Self {
        Self::prepared(root(), &[], |data| {
            let signal = data.join("standby.signal");
            std::fs::write(&signal, "").unwrap();
            let _ = chown(&signal, Some(NOBODY), Some(NOBODY));
        })
    }

    /// A fresh primary of the version whose folder a variable names: its standbys may connect.
    pub fn start_primary(variable: &str, settings: &[&str]) -> Self {
        Self::prepared(super::program(variable), settings, |data| {
            let path = data.join("pg_hba.conf");
            let mut file = File::options().append(true).open(path).unwrap();
            file.write_all(b"host replication all all scram-sha-256\n")
                .unwrap();
        })
    }

    /// A server of the same version and settings over the data that `make` puts at a path.
    pub fn start_over(&self, settings: &[&str], make: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        make(&folder.path().join("data"));
        if is_root() {
            let owner = format!("{NOBODY}:{NOBODY}");
            let mut change = Command::new("chown");
            let status = change.arg("-R").arg(owner).arg(folder.path()).status();
            assert!(status.unwrap().success());
        }
        let port = super::free_port();
        let settings: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
        let child = server(&self.root, folder.path(), port, &settings)
            .spawn()
            .unwrap();
        Self {
            child,
            folder,
            root: self.root.clone(),
            port,
            settings,
        }
    }

    fn start_with(settings: &[&str], pair: Option<(&Path, &Path)>) -> Self {
        Self::prepared(root(), settings, |data| {
            let pair = pair.map_or_else(Vec::new, |(certificate, key)| {
                vec![(certificate, "server.crt"), (key, "server.key")]
            });
            for (from, name) in pair {
                let to = data.join(name);
                std::fs::copy(from, &to).unwrap();
                let _ = chown(&to, Some(NOBODY), Some(NOBODY));
                std::fs::set_permissions(&to, PermissionsExt::from_mode(0o600)).unwrap();
            }
        })
    }

    fn prepared(root: PathBuf, settings: &[&str], prepare: impl Fn(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        std::fs::write(&password, SECRET).unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        // Fails where the tests do not run as root, and is not needed there.
        let _ = chown(folder.path(), Some(NOBODY), Some(NOBODY));
        let status = program(&root, "initdb")
            .arg("-D")
            .arg(folder.path().join("data"))
            .args([
                "-U",
                KEY,
                "--auth=scram-sha-256",
                "--data-checksums",
                "--no-sync",
            ])
            .args(["--encoding=UTF8", "--locale=C"])
            .arg(format!("--pwfile={}", password.display()))
            .status()
            .unwrap();
        assert!(status.success(), "initdb");
        prepare(&folder.path().join("data"));
        let port = super::free_port();
        let settings: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
        let child = server(&root, folder.path(), port, &settings)
            .spawn()
            .unwrap();
        Self {
            child,
            folder,
            root,
            port,
            settings,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What starts the server again over the same data.
    pub fn again(&self) -> Again {
        Again {
            root: self.root.clone(),
            folder: self.folder.path().to_owned(),
            port: self.port,
            settings: self.settings.clone(),
        }
    }

    pub fn resolved(&self, name: &str) -> ResolvedBackend {
        let endpoint = format!("postgres://127.0.0.1:{}", self.port);
        super::resolved(name, BackendKind::Postgres, &endpoint, "postgres")
    }
}

/// Ends a process of ours at once, as the kernel does when memory is short.
pub fn kill(pid: u32) {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

/// Starts a server again.
pub struct Again {
    root: PathBuf,
    folder: PathBuf,
    port: u16,
    settings: Vec<String>,
}

/// The server that was started again; ends with it.
pub struct Second(Child);

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Again {
    /// Waits until the process is gone and its children have noticed, then starts another.
    pub fn when_gone(&self, pid: u32) -> Second {
        let stat = format!("/proc/{pid}/stat");
        // A process that nobody has waited for stays as a zombie.
        let gone = || {
            std::fs::read_to_string(&stat).is_ok_and(|text| text.contains(") Z"))
                || !Path::new(&stat).exists()
        };
        while !gone() {
            std::thread::sleep(TICK);
        }
        loop {
            let _ = std::fs::remove_file(self.folder.join("data/postmaster.pid"));
            let mut child = server(&self.root, &self.folder, self.port, &self.settings)
                .spawn()
                .unwrap();
            // As long as a child of the first one holds its memory, another ends at once and says why in its log.
            loop {
                if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                    return Second(child);
                }
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                std::thread::sleep(TICK);
            }
            std::thread::sleep(TICK);
        }
    }
}
