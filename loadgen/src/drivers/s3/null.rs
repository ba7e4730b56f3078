//! A null S3 server: answers PUT, GET and LIST at once and keeps nothing. What a generator measures
//! against it is the generator's own cost, the floor beneath every figure.
//!
//! A listing shows as many objects as the server was started for, whatever its prefix, with the names that
//! a cold read looks for, so that GETs can be measured without a store.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::drivers::null_server;
use crate::drivers::stall::Stall;

/// Serves until the process ends. `body` is the length of every object, in bytes; `objects` is how many
/// every listing shows; `stall` is a planted fault. `started` is told the address, which differs from `listen` when that asks for a
/// free port.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    listen: SocketAddr,
    body: usize,
    objects: usize,
    stall: Stall,
    started: impl FnOnce(SocketAddr),
) -> std::io::Result<()> {
    let body = Bytes::from(vec![b'x'; body]);
    let converse = move |stream| {
        let body = body.clone();
        let service = service_fn(move |request| {
            let body = body.clone();
            async move {
                let response = answer(request, body, objects).await;
                stall.pass().await;
                response
            }
        });
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service)
    };
    null_server::accept(listen, started, converse).await
}

async fn answer(
    mut request: Request<Incoming>,
    body: Bytes,
    objects: usize,
) -> Result<Response<Full<Bytes>>, Infallible> {
    // The request is read to its end, as any server would.
    while let Some(Ok(_)) = request.body_mut().frame().await {}
    let mut response = Response::new(Full::new(Bytes::new()));
    match *request.method() {
        Method::PUT => {
            let etag = http::HeaderValue::from_static("\"00000000000000000000000000000000\"");
            response.headers_mut().insert(http::header::ETAG, etag);
        }
        Method::GET if query_value(&request, "list-type").is_some() => {
            let page = listing(objects, |name| query_value(&request, name));
            *response.body_mut() = Full::new(Bytes::from(page));
        }
        Method::GET => *response.body_mut() = Full::new(body),
        Method::HEAD => {}
        Method::DELETE => *response.status_mut() = StatusCode::NO_CONTENT,
        _ => *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED,
    }
    Ok(response)
}

/// A parameter of the query, still percent-encoded.
fn query_value<'a>(request: &'a Request<Incoming>, name: &str) -> Option<&'a str> {
    let mut pairs = request.uri().query()?.split('&');
    pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// One page of a listing: the objects `<prefix>00000000` to `<prefix>` and `objects - 1` in eight digits.
/// The token is the number of the first object of the next page. (Pure.)
fn listing<'a>(objects: usize, value: impl Fn(&str) -> Option<&'a str>) -> String {
    let prefix = value("prefix").unwrap_or("");
    let prefix = prefix.replace("%2F", "/").replace("%2f", "/");
    let after = value("start-after")
        .and_then(|key| key.get(key.len().checked_sub(8)?..)?.parse::<usize>().ok())
        .map(|last| last + 1);
    let token = value("continuation-token").and_then(|token| token.parse().ok());
    let first = token.or(after).unwrap_or(0).min(objects);
    let most = value("max-keys")
        .and_then(|keys| keys.parse().ok())
        .unwrap_or(1_000);
    let end = objects.min(first.saturating_add(most));
    let mut page = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult \
         xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>null</Name><Prefix>{prefix}</Prefix>\
         <KeyCount>{}</KeyCount><MaxKeys>{most}</MaxKeys><IsTruncated>{}</IsTruncated>",
        end - first,
        end < objects
    );
    if end < objects {
        page.push_str(&format!(
            "<NextContinuationToken>{end}</NextContinuationToken>"
        ));
    }
    for number in first..end {
        page.push_str(&format!(
            "<Contents><Key>{prefix}{number:08}</Key><Size>0</Size><ETag>\"0\"</ETag></Contents>"
        ));
    }
    page.push_str("</ListBucketResult>");
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::xml::parse_list;

    #[test]
    fn pages_follow_each_other_by_token_and_by_key() {
        let page = |pairs: &[(&'static str, &'static str)]| {
            let page = listing(5, |name| {
                pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1)
            });
            let page = parse_list(page.as_bytes()).unwrap();
            let keys: Vec<String> = page.entries.into_iter().map(|entry| entry.key).collect();
            (keys.join(" "), page.next_token)
        };
        let first = [("prefix", "a%2F"), ("max-keys", "2")];
        let keys = "a/00000000 a/00000001".to_owned();
        assert_eq!(page(&first), (keys, Some("2".to_owned())));
        let second = [first[0], ("max-keys", "9"), ("continuation-token", "2")];
        let keys = "a/00000002 a/00000003 a/00000004".to_owned();
        assert_eq!(page(&second), (keys, None));
        let after = [first[0], ("start-after", "a%2F00000003")];
        assert_eq!(page(&after), ("a/00000004".to_owned(), None));
        assert_eq!(page(&[("start-after", "é")]).0.split(' ').count(), 5);
        assert_eq!(listing(0, |_| None).matches("<Contents>").count(), 0);
    }
}
