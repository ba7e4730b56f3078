//! A null S3 server: answers PUT, GET and LIST at once and keeps nothing. What a generator measures
//! against it is the generator's own cost, the floor beneath every figure.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

const EMPTY_LISTING: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult \
    xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>null</Name><Prefix></Prefix>\
    <KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>";

/// Serves until the process ends. `body` is what every GET of an object answers. `started` is told
/// the address, which differs from `listen` when that asks for a free port.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    listen: SocketAddr,
    body: usize,
    started: impl FnOnce(SocketAddr),
) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    started(listener.local_addr()?);
    let body = Bytes::from(vec![b'x'; body]);
    loop {
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, for example: others still need serving.
                tracing::warn!(%error, "accept");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let body = body.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, body.clone()));
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "connection");
            }
        });
    }
}

async fn answer(
    mut request: Request<Incoming>,
    body: Bytes,
) -> Result<Response<Full<Bytes>>, Infallible> {
    // The request is read to its end, as any server would.
    while let Some(Ok(_)) = request.body_mut().frame().await {}
    let mut response = Response::new(Full::new(Bytes::new()));
    match *request.method() {
        Method::PUT => {
            let etag = http::HeaderValue::from_static("\"00000000000000000000000000000000\"");
            response.headers_mut().insert(http::header::ETAG, etag);
        }
        Method::GET
            if request
                .uri()
                .query()
                .is_some_and(|query| query.contains("list-type")) =>
        {
            *response.body_mut() = Full::new(Bytes::from_static(EMPTY_LISTING.as_bytes()));
        }
        Method::GET => *response.body_mut() = Full::new(body),
        Method::HEAD => {}
        Method::DELETE => *response.status_mut() = StatusCode::NO_CONTENT,
        _ => *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED,
    }
    Ok(response)
}
