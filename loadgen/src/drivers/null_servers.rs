//! Servers that keep nothing and answer at once, each on a thread of its own: against them the generator itself is measured.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bakeoff_crds::spec::Ground;

use super::access::Access;
use super::postgres::Connector;
use super::postgres::null as null_postgres;
use super::s3::dialer::Dialer;
use super::s3::null as null_s3;
use super::s3::{Target, TargetError};
use super::stall::Stall;
use crate::credentials::Credentials;

/// How long one may take until it listens, on a machine that does something else.
const START: Duration = Duration::from_secs(30);

/// The null servers of this process, by what they speak.
#[derive(Debug, Default)]
pub struct NullServers {
    s3: Option<SocketAddr>,
    postgres: Option<SocketAddr>,
}

impl NullServers {
    /// Connections to the null server of a ground; starts it when it is the first that asks. None where it does not start.
    /// An operation may take so long.
    ///
    /// # Errors
    /// When TLS trusts nobody.
    pub fn access(
        &mut self,
        ground: Ground,
        timeout: Duration,
    ) -> Result<Option<Access>, TargetError> {
        let credentials = Credentials {
            user: "null".to_owned(),
            secret: "null".to_owned(),
            session_token: None,
            authorities: None,
        };
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        match ground {
            Ground::S3 => {
                let server = start(&mut self.s3, "null-s3", move |started| {
                    null_s3::serve(local, 0, 0, Stall::default(), started)
                });
                let Some(server) = server else {
                    return Ok(None);
                };
                let endpoint = format!("http://{server}");
                let target = Target::new(&endpoint, "null", "null", true, credentials)?;
                let dialer = Dialer::new(Arc::new(target), timeout, false)?;
                Ok(Some(Access::S3(dialer)))
            }
            Ground::Postgres => {
                let server = start(&mut self.postgres, "null-postgres", move |started| {
                    null_postgres::serve(local, Stall::default(), started)
                });
                let connector = server.and_then(|server| {
                    let endpoint = format!("postgres://{server}");
                    Connector::new(&endpoint, "null", &credentials, timeout).ok()
                });
                Ok(connector.map(Access::Postgres))
            }
        }
    }
}

/// The address of a null server, on a thread of its own, so that its CPU time is not the generator's.
fn start<F: Future<Output = std::io::Result<()>>>(
    server: &mut Option<SocketAddr>,
    name: &str,
    serve: impl FnOnce(Box<dyn FnOnce(SocketAddr)>) -> F + Send + 'static,
) -> Option<SocketAddr> {
    if server.is_none() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let started = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(serve(Box::new(move |address| {
                    // Whoever asked has given up waiting.
                    let _ = sender.send(address);
                })))
            });
        if let Err(error) = started {
            tracing::warn!(%error, "no null server, so no baselines");
            return None;
        }
        *server = receiver.recv_timeout(START).ok();
    }
    *server
}
