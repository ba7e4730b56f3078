//! What unit tests share.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bakeoff_crds::schedule;
use bakeoff_crds::spec::ExperimentSpec;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::credentials::Credentials;
use crate::drivers::access::Access;
use crate::drivers::postgres::Connector;
use crate::drivers::postgres::null as null_postgres;
use crate::drivers::s3::Target;
use crate::drivers::s3::dialer::Dialer;
use crate::drivers::stall::Stall;
use crate::traces::Traces;
use crate::workloads::{self, Alone, Context, Part};

/// How long the clients of a null server wait for an answer.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs tasks of one thread to their end, as a generator does.
pub fn local<T>(work: impl Future<Output = T>) -> T {
    crate::instrument::runtime::local().unwrap().block_on(work)
}

/// Runs a null server on a thread of its own, for as long as the process lives; where it listens.
pub fn serving<F>(
    serve: impl FnOnce(SocketAddr, Box<dyn FnOnce(SocketAddr)>) -> F + Send + 'static,
) -> SocketAddr
where
    F: Future<Output = std::io::Result<()>>,
{
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        local(serve(
            any_port,
            Box::new(move |address| sender.send(address).unwrap()),
        ))
    });
    receiver.recv().unwrap()
}

/// A null server lets everybody in.
pub fn anybody() -> Credentials {
    Credentials {
        user: "null".into(),
        secret: "null".into(),
        session_token: None,
        authorities: None,
    }
}

/// A connector to a null Postgres of its own.
pub fn null_postgres(stall: Stall) -> Connector {
    let address = serving(move |listen, told| null_postgres::serve(listen, stall, told));
    let endpoint = format!("postgres://{address}");
    Connector::new(&endpoint, "null", &anybody(), TIMEOUT).unwrap()
}

/// What S3 says of an object that it does not have.
pub const NO_SUCH_KEY: &str = "<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>";

/// A connector to a null Postgres, whose one connection goes through this: it has both ends.
async fn relayed_postgres<F>(
    relay: impl FnOnce(TcpStream, TcpStream) -> F + Send + 'static,
) -> Connector
where
    F: Future<Output = ()> + Send,
{
    let server = null_postgres(Stall::default()).address().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("postgres://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (near, _) = listener.accept().await.unwrap();
        let far = TcpStream::connect(&server).await.unwrap();
        relay(near, far).await;
    });
    Connector::new(&endpoint, "null", &anybody(), TIMEOUT).unwrap()
}

/// A connector to a null Postgres that answers until it is told to freeze, and from then on keeps its one connection and says
/// nothing; and what tells it.
pub async fn freezing_postgres() -> (Connector, Arc<Notify>) {
    let freeze = Arc::new(Notify::new());
    let told = Arc::clone(&freeze);
    let relay = move |mut near, mut far| async move {
        tokio::select! {
            biased;
            () = told.notified() => std::future::pending::<()>().await,
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
        }
    };
    (relayed_postgres(relay).await, freeze)
}

/// What a planted server does instead of answering.
#[derive(Clone, Copy)]
pub enum Planted {
    /// It keeps the connection and says nothing any more.
    Silence,
    /// It says that a lock is not to be had.
    Locked,
}

impl Planted {
    async fn answer(self, to: &mut TcpStream) {
        let fields = "SERROR\0VERROR\0C55P03\0Mlocked\0\0";
        let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
        match self {
            Self::Silence => std::future::pending().await,
            Self::Locked => {
                let answer = [b"E", &length[..], fields.as_bytes(), b"Z\0\0\0\x05I"].concat();
                to.write_all(&answer).await.unwrap();
            }
        }
    }
}

/// A connector to a null Postgres that does these things, one after the other, where a question has the words, and answers then.
pub async fn planted_postgres(words: &'static str, planted: &'static [Planted]) -> Connector {
    relayed_postgres(move |mut near, mut far| async move {
        let mut planted = planted.iter().peekable();
        let (mut asked, mut answered) = (Vec::new(), Vec::new());
        loop {
            tokio::select! {
                Ok(1..) = near.read_buf(&mut asked) => {
                    let asked = std::mem::take(&mut asked);
                    let meant = asked.windows(words.len()).any(|part| part == words.as_bytes());
                    match planted.next_if(|_| meant) {
                        Some(instead) => instead.answer(&mut near).await,
                        None => far.write_all(&asked).await.unwrap(),
                    }
                }
                Ok(1..) = far.read_buf(&mut answered) => {
                    near.write_all(&std::mem::take(&mut answered)).await.unwrap();
                }
                else => return,
            }
        }
    })
    .await
}

/// Connections to a server that answers each request with 404 and this body.
pub async fn missing(body: &'static str) -> Dialer {
    answering(move |_| Some((404, body.into()))).await
}

/// Connections to a server that answers a request, of which it is told the head, with a status and a body; without those it
/// keeps it waiting.
pub async fn answering(answer: impl Fn(&str) -> Option<(u16, Vec<u8>)> + 'static) -> Dialer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let answer = Rc::new(answer);
    tokio::task::spawn_local(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let answer = Rc::clone(&answer);
            tokio::task::spawn_local(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    if socket.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let Some((status, body)) = answer(&String::from_utf8_lossy(&request)) else {
                    return std::future::pending().await;
                };
                let head = format!(
                    "HTTP/1.1 {status} Told\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = socket.write_all(&[head.into_bytes(), body].concat()).await;
            });
        }
    });
    let target = Target::new(&endpoint, "us-east-1", "b", true, anybody()).unwrap();
    Dialer::new(Arc::new(target), TIMEOUT, false).unwrap()
}

/// The first trial of a workload, as on a real server: prepared, driven, observed and recorded.
pub fn first_trial(backend: Value, workload: Value, trials: Value, access: Access) -> Part {
    first_trial_with(backend, workload, trials, access, None)
}

/// The same, where `traces` has a folder for each trace.
pub fn first_trial_with(
    backend: Value,
    workload: Value,
    trials: Value,
    access: Access,
    traces: Option<PathBuf>,
) -> Part {
    let spec: ExperimentSpec = serde_json::from_value(
        json!({"backends": [backend], "workloads": [workload], "trials": trials}),
    )
    .unwrap();
    let trials = schedule::trials(&spec);
    let traces = Traces::in_folder(traces);
    let context = Context {
        spec: &spec,
        trial: &trials[0],
        attempt: 1,
        access,
        lock: None,
        prefix: String::new(),
        generator: 0,
        generators: 1,
        rate: None,
        faults: None,
        traces: &traces,
        most_runs: u64::MAX,
        live: Arc::default(),
    };
    local(workloads::run(&context, &Alone)).unwrap()
}
