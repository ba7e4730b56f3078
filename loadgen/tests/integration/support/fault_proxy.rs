//! A proxy that passes S3 requests on to a real server and plants one fault, so that each check is
//! seen to find what it is for.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Passes everything.
    None,
    /// Leaves one key out of every listing of three or more.
    DropKey,
    /// Repeats the first key of a listing at its end.
    DuplicateKey,
    /// Exchanges the first two keys of a listing.
    SwapKeys,
    /// Answers an overwritten object with its first version.
    StaleGet,
    /// Answers GET as a store does that has no such object.
    MissingGet,
    /// Answers a deleted object with what it was.
    Resurrect,
    /// Cuts bodies short.
    TornGet,
    /// Answers every tenth PUT with 500 though it took effect.
    LieAboutPut,
    /// Waits before it passes a request on.
    Delay(Duration),
    /// Passes nothing for the first fifth of every second: a server that stops as a whole.
    Stall,
}

#[derive(Default)]
struct Memory {
    /// The first body of each path.
    first: HashMap<String, Bytes>,
    puts: u64,
}

/// What a proxy does with one request.
pub enum Planted {
    /// Passes it on.
    Pass,
    /// Answers it itself.
    Answer(Response<Full<Bytes>>),
    /// Passes it on and changes the body of the answer.
    Change(Box<dyn FnOnce(Bytes) -> Bytes + Send>),
    /// Passes it on and closes the connection soon after the answer, without having said so.
    Close,
}

/// Decides what is done with a request.
pub type Plant = Arc<dyn Fn(&http::request::Parts) -> Planted + Send + Sync>;

/// An answer with a status, headers and a body.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Planted {
    let mut built = Response::builder().status(status);
    for (name, value) in headers {
        built = built.header(*name, *value);
    }
    Planted::Answer(built.body(Full::new(Bytes::from(body.to_owned()))).unwrap())
}

/// An error of S3.
pub fn error(status: u16, code: &str) -> Planted {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>planted</Message></Error>"
    );
    answer(status, &[("content-type", "application/xml")], &body)
}

/// Starts a proxy in front of an endpoint; answers its own.
pub async fn start(upstream: &str, fault: Fault) -> String {
    serve(upstream, fault, Arc::new(|_| Planted::Pass)).await
}

/// Starts a proxy that answers some requests itself, or otherwise than the server; answers its endpoint.
pub async fn planted(
    upstream: &str,
    plant: impl Fn(&http::request::Parts) -> Planted + Send + Sync + 'static,
) -> String {
    serve(upstream, Fault::None, Arc::new(plant)).await
}

async fn serve(upstream: &str, fault: Fault, plant: Plant) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let upstream = upstream.trim_start_matches("http://").to_owned();
    let memory = Arc::new(Mutex::new(Memory::default()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let (upstream, memory) = (upstream.clone(), Arc::clone(&memory));
            let plant = Arc::clone(&plant);
            tokio::spawn(async move {
                let close = Arc::new(tokio::sync::Notify::new());
                let closing = Arc::clone(&close);
                let under_way = Arc::new(AtomicUsize::new(0));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (upstream, memory) = (upstream.clone(), Arc::clone(&memory));
                    let (plant, closing) = (Arc::clone(&plant), Arc::clone(&closing));
                    let (under_way, count) = (Arc::clone(&under_way), Arc::clone(&under_way));
                    async move {
                        under_way.fetch_add(1, Ordering::SeqCst);
                        let (head, body) = request.into_parts();
                        let planted = plant(&head);
                        if let Planted::Answer(answer) = planted {
                            let _ = body.collect().await;
                            return Ok::<_, Infallible>(answer);
                        }
                        let request = Request::from_parts(head, body);
                        let mut answer = pass(request, &upstream, fault, &memory).await;
                        match planted {
                            Planted::Change(change) => {
                                let (head, body) = answer.into_parts();
                                let body = body.collect().await.unwrap().to_bytes();
                                answer = Response::from_parts(head, Full::new(change(body)));
                            }
                            Planted::Close => {
                                tokio::spawn(async move {
                                    tokio::time::sleep(Duration::from_millis(20)).await;
                                    // A request that is under way is answered first.
                                    if under_way.load(Ordering::SeqCst) == 0 {
                                        closing.notify_one();
                                    }
                                });
                            }
                            Planted::Pass | Planted::Answer(_) => {}
                        }
                        count.fetch_sub(1, Ordering::SeqCst);
                        Ok(answer)
                    }
                });
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    _ = serving => {}
                    () = close.notified() => {}
                }
            });
        }
    });
    format!("http://{address}")
}

async fn pass(
    request: Request<Incoming>,
    upstream: &str,
    fault: Fault,
    memory: &Mutex<Memory>,
) -> Response<Full<Bytes>> {
    if let Fault::Delay(wait) = fault {
        tokio::time::sleep(wait).await;
    }
    if fault == Fault::Stall {
        let into = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .subsec_millis();
        let left = 200_u32.saturating_sub(into);
        tokio::time::sleep(Duration::from_millis(left.into())).await;
    }
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let (method, path) = (head.method.clone(), head.uri.path().to_owned());
    let listing = head
        .uri
        .query()
        .is_some_and(|query| query.contains("list-type"));
    let object = path.trim_matches('/').contains('/');
    let tcp = TcpStream::connect(upstream).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp))
        .await
        .unwrap();
    tokio::spawn(connection);
    // The host header is signed, so it is passed on as it came.
    let response = sender
        .send_request(Request::from_parts(head, Full::new(body.clone())))
        .await
        .unwrap();
    let (mut head, answer) = response.into_parts();
    let mut answer = answer.collect().await.unwrap().to_bytes();

    let mut memory = memory.lock().unwrap();
    match (&method, fault) {
        (&Method::PUT, _) if object => {
            memory.puts += 1;
            memory.first.entry(path).or_insert(body);
            if fault == Fault::LieAboutPut && memory.puts.is_multiple_of(10) {
                head.status = StatusCode::INTERNAL_SERVER_ERROR;
            }
        }
        (&Method::GET, Fault::DropKey | Fault::DuplicateKey | Fault::SwapKeys) if listing => {
            answer = relist(&answer, fault);
        }
        (&Method::GET, Fault::MissingGet) if object => {
            head.status = StatusCode::NOT_FOUND;
            answer = Bytes::from_static(b"<Error><Code>NoSuchKey</Code></Error>");
        }
        (&Method::GET, Fault::TornGet) if object && answer.len() > 10 => answer.truncate(10),
        (&Method::GET, Fault::StaleGet) if object && head.status == StatusCode::OK => {
            if let Some(first) = memory.first.get(&path) {
                answer = first.clone();
            }
        }
        (&Method::GET, Fault::Resurrect) if object && head.status == StatusCode::NOT_FOUND => {
            if let Some(first) = memory.first.get(&path) {
                head.status = StatusCode::OK;
                answer = first.clone();
            }
        }
        _ => {}
    }
    head.headers.remove(http::header::CONTENT_LENGTH);
    head.headers.remove(http::header::TRANSFER_ENCODING);
    Response::from_parts(head, Full::new(answer))
}

/// Rewrites the `Contents` of a listing.
fn relist(document: &[u8], fault: Fault) -> Bytes {
    let text = String::from_utf8(document.to_vec()).unwrap();
    let (open, close) = ("<Contents>", "</Contents>");
    let (Some(start), Some(end)) = (text.find(open), text.rfind(close)) else {
        return Bytes::from(text);
    };
    let end = end + close.len();
    let mut entries: Vec<String> = text[start..end]
        .split_inclusive(close)
        .map(|entry| entry[entry.find(open).unwrap()..].to_owned())
        .collect();
    match fault {
        Fault::DropKey if entries.len() >= 3 => {
            entries.remove(1);
        }
        Fault::DuplicateKey => entries.push(entries[0].clone()),
        Fault::SwapKeys if entries.len() >= 2 => entries.swap(0, 1),
        _ => {}
    }
    Bytes::from(format!(
        "{}{}{}",
        &text[..start],
        entries.concat(),
        &text[end..]
    ))
}
