//! Where a check works: a folder of its own in the bucket, and what may be asked there.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::Method;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::judging::{Judged, Otherwise, put_off, refusal, shown};
use super::listing::{Listing, parse};
use crate::drivers::s3::dialer::Dialer;
use crate::drivers::s3::request::{Asked, Caller, Told, Who, query};
use crate::failure::FailureClass;

/// How many writes of a check are under way at once, at most.
const AT_ONCE: usize = 8;
/// How many requests all checks of a store may take.
const MOST_REQUESTS: u32 = 2_000;
/// How long they may take.
const MOST_TIME: Duration = Duration::from_secs(90);
/// How long one may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How often one is sent that the store put off.
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A store under examination.
pub(super) struct Store {
    dialer: Dialer,
    /// The beginning of all keys.
    folder: String,
    idle: RefCell<Vec<Caller>>,
    requests: Cell<u32>,
    until: Instant,
    /// What was written. It is removed by its names: not every store lists all that it keeps.
    made: RefCell<BTreeSet<String>>,
    /// What came of writing the objects that several checks read.
    shared: OnceCell<Judged>,
}

impl Store {
    pub(super) fn new(dialer: &Dialer, folder: &str) -> Self {
        Self {
            dialer: dialer.waiting(TIMEOUT),
            folder: folder.to_owned(),
            idle: RefCell::default(),
            requests: Cell::new(0),
            until: Instant::now() + MOST_TIME,
            made: RefCell::default(),
            shared: OnceCell::new(),
        }
    }

    pub(super) fn requests(&self) -> u32 {
        self.requests.get()
    }

    /// A folder of its own.
    pub(super) fn place(&self, name: &str) -> Place<'_> {
        Place {
            store: self,
            folder: format!("{}{name}/", self.folder),
        }
    }

    /// Removes by its name what was written; what refuses to go is found by whoever lists the folder afterwards.
    pub(super) async fn clear(&self) {
        let made = self.made.take();
        // From the end, so that a child goes before what may be its folder.
        let keys = futures::stream::iter(made.iter().rev());
        keys.for_each_concurrent(AT_ONCE, |key| async move {
            let path = self.dialer.target().object_path(key);
            let asked = Asked {
                method: Method::DELETE,
                path: &path,
                query: "",
                headers: &[],
                body: Bytes::new(),
            };
            drop(self.send(Who::Ourselves, &asked).await);
        })
        .await;
    }

    /// Sends a request once.
    async fn send(&self, who: Who, asked: &Asked<'_>) -> Result<Told, crate::failure::Failure> {
        self.requests.set(self.requests.get() + 1);
        let idle = self.idle.borrow_mut().pop();
        let mut caller = idle.unwrap_or_else(|| Caller::new(self.dialer.clone()));
        let told = caller.ask(who, asked).await;
        self.idle.borrow_mut().push(caller);
        told
    }

    /// Sends a request, again only where the store put it off or could not be connected to.
    async fn ask(&self, who: Who, asked: &Asked<'_>, what: &str) -> Judged<Told> {
        let mut pause = FIRST_PAUSE;
        let mut put_off = false;
        for attempt in 1.. {
            if self.requests.get() >= MOST_REQUESTS || Instant::now() >= self.until {
                let text = "the checks took more requests or time than they may";
                return Err(Otherwise::Unknown(text.to_owned()));
            }
            let again = attempt < ATTEMPTS;
            match self.send(who, asked).await {
                // 429 comes before anything is done; 503 also from a proxy that lost the answer of a store which did it.
                Ok(told) if matches!(told.status, 429 | 503) && again => {
                    put_off |= told.status == 503;
                }
                Ok(told) => return Ok(Told { put_off, ..told }),
                Err(failure) if failure.class == FailureClass::Connect && again => {}
                Err(failure) => {
                    return Err(Otherwise::Unknown(format!("{what}: {failure}")));
                }
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(Otherwise::Unknown(what.to_owned()))
    }
}

/// What is asked of one key.
#[derive(Clone, Copy, Default)]
pub(super) struct With<'a> {
    pub parameters: &'a [(&'a str, &'a str)],
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

impl<'a> With<'a> {
    pub(super) fn body(body: &'a [u8]) -> Self {
        Self {
            body,
            ..Self::default()
        }
    }

    pub(super) fn headers(headers: &'a [(&'a str, &'a str)]) -> Self {
        Self {
            headers,
            ..Self::default()
        }
    }
}

/// A folder of the bucket. Keys are named without it.
pub(super) struct Place<'a> {
    store: &'a Store,
    folder: String,
}

impl Place<'_> {
    /// The whole key.
    pub(super) fn key(&self, key: &str) -> String {
        format!("{}{key}", self.folder)
    }

    /// Asks something of a key; any answer of S3 will do that is no refusal of rights and no fault of the server.
    pub(super) async fn ask(
        &self,
        who: Who,
        method: Method,
        key: &str,
        with: With<'_>,
    ) -> Judged<Told> {
        let what = format!("{method} of {}", shown(key));
        let path = self.store.dialer.target().object_path(&self.key(key));
        if method == Method::PUT || method == Method::POST {
            self.store.made.borrow_mut().insert(self.key(key));
        }
        let told = self.at(who, method, &path, with, &what).await?;
        answered(told, &what)
    }

    async fn at(
        &self,
        who: Who,
        method: Method,
        path: &str,
        with: With<'_>,
        what: &str,
    ) -> Judged<Told> {
        let asked = Asked {
            method,
            path,
            query: &query(with.parameters),
            headers: with.headers,
            body: Bytes::copy_from_slice(with.body),
        };
        self.store.ask(who, &asked, what).await
    }

    /// The same as ourselves, and done.
    pub(super) async fn done(&self, method: Method, key: &str, with: With<'_>) -> Judged<Told> {
        let what = format!("{method} of {}", shown(key));
        let writes = method == Method::PUT;
        let told = self.ask(Who::Ourselves, method, key, with).await?;
        if told.is_done() {
            Ok(told)
        } else if writes && kept_out(with, &told) {
            Err(put_off(&what, &told))
        } else {
            Err(refusal(&what, &told))
        }
    }

    /// Asks the bucket.
    pub(super) async fn bucket(&self, method: Method, what: &str, with: With<'_>) -> Judged<Told> {
        let path = self.store.dialer.target().bucket_path().to_owned();
        let told = self.at(Who::Ourselves, method, &path, with, what).await?;
        let told = answered(told, what)?;
        if told.is_done() {
            Ok(told)
        } else {
            Err(refusal(what, &told))
        }
    }

    /// Writes an object.
    pub(super) async fn put(&self, key: &str, body: &[u8]) -> Judged<Told> {
        self.done(Method::PUT, key, With::body(body)).await
    }

    /// Writes objects that have their names as bodies, several at once.
    pub(super) async fn put_all(&self, keys: &[&str]) -> Judged {
        let mut puts = futures::stream::iter(keys.iter().copied())
            .map(|key| self.put(key, key.as_bytes()))
            .buffer_unordered(AT_ONCE);
        while let Some(put) = puts.next().await {
            put?;
        }
        Ok(())
    }

    /// The same, once for all checks that read them.
    pub(super) async fn put_once(&self, keys: &[&str]) -> Judged {
        let written = self.store.shared.get_or_init(|| self.put_all(keys));
        written.await.clone()
    }

    pub(super) async fn delete(&self, key: &str) -> Judged {
        let deleted = self.done(Method::DELETE, key, With::default()).await;
        deleted.map(drop)
    }

    /// That an object is read, with this body.
    pub(super) async fn holds(&self, key: &str, body: &[u8]) -> Judged {
        let told = self.done(Method::GET, key, With::default()).await?;
        if told.body == body {
            Ok(())
        } else {
            let key = shown(key);
            Err(Otherwise::Differs(format!(
                "{key} has another body than was written to it"
            )))
        }
    }

    /// That an object is not there.
    pub(super) async fn is_missing(&self, key: &str) -> Judged {
        let with = With::default();
        let told = self.ask(Who::Ourselves, Method::GET, key, with).await?;
        match told.status {
            404 => Ok(()),
            200 => Err(Otherwise::Differs(format!("{} is read", shown(key)))),
            _ => Err(refusal(&format!("GET of {}", shown(key)), &told)),
        }
    }

    /// One page of a listing below a prefix in this place; what it names, it names without the place.
    pub(super) async fn list(&self, prefix: &str, further: &[(&str, &str)]) -> Judged<Listing> {
        let prefix = self.key(prefix);
        let mut parameters = vec![("list-type", "2"), ("prefix", prefix.as_str())];
        parameters.extend_from_slice(further);
        let with = With {
            parameters: &parameters,
            ..With::default()
        };
        let told = self.bucket(Method::GET, "LIST", with).await?;
        let mut listing = parse(&told.body).map_err(|error| {
            Otherwise::Differs(format!("a listing that cannot be read: {error}"))
        })?;
        listing.without(&self.folder);
        Ok(listing)
    }
}

/// Whether a write was refused for its condition, which its own first try may have broken.
fn kept_out(with: With<'_>, told: &Told) -> bool {
    let conditional = |(name, _): &(&str, &str)| matches!(*name, "if-none-match" | "if-match");
    told.put_off && with.headers.iter().any(conditional) && matches!(told.status, 409 | 412)
}

/// An answer that somebody can look at: neither that it is not offered, nor a fault of the server.
fn answered(told: Told, what: &str) -> Judged<Told> {
    // A refusal of rights is what some checks look for.
    if told.is_done() || matches!(told.status, 401 | 403) {
        return Ok(told);
    }
    match refusal(what, &told) {
        Otherwise::Differs(_) => Ok(told),
        other => Err(other),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{reads, writes};
    use super::*;
    use crate::drivers::s3::Target;
    use crate::testing::{TIMEOUT, anybody, local};
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    /// Takes a request and gives this answer.
    async fn serve(mut socket: TcpStream, status: u16, body: &str) {
        let mut request = Vec::new();
        while !whole(&request) {
            if socket.read_buf(&mut request).await.unwrap() == 0 {
                return;
            }
        }
        let answer = format!(
            "HTTP/1.1 {status} -\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(answer.as_bytes()).await.unwrap();
    }

    /// Whether a request is there with as much of a body as it says.
    fn whole(request: &[u8]) -> bool {
        let text = String::from_utf8_lossy(request).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            return false;
        };
        let length = head.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
        body.len() >= length.unwrap_or(0)
    }

    /// A store that gives these answers one after the other.
    async fn answering(answers: &'static [(u16, &str)]) -> Store {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for (status, body) in answers {
                serve(listener.accept().await.unwrap().0, *status, body).await;
            }
        });
        let target = Target::new(&endpoint, "us-east-1", "b", true, anybody()).unwrap();
        let dialer = Dialer::new(Arc::new(target), TIMEOUT, false).unwrap();
        Store::new(&dialer, "f/")
    }

    /// What is judged of a store that creates an object and gives these answers to that.
    async fn created(answers: &'static [(u16, &str)]) -> Judged {
        let store = answering(answers).await;
        let place = store.place("p");
        writes::if_none_match(&place).await
    }

    #[test]
    fn a_write_that_its_own_first_try_kept_out_is_no_difference() {
        local(async {
            match created(&[(503, ""), (412, "")]).await {
                Err(Otherwise::Unknown(said)) => assert!(said.contains("412"), "{said}"),
                other => panic!("{other:?}"),
            }
            // Nothing came before it, or nothing that was done.
            for answers in [&[(412, "")][..], &[(429, ""), (412, "")]] {
                let judged = created(answers).await;
                assert!(matches!(judged, Err(Otherwise::Differs(_))), "{judged:?}");
            }
        });
    }

    #[test]
    fn a_write_that_has_to_be_refused_was_not_kept_out_by_itself() {
        local(async {
            let refused = &[(200, ""), (503, ""), (412, ""), (200, "first")];
            assert_eq!(created(refused).await, Ok(()));
        });
    }

    #[test]
    fn an_upload_that_its_own_first_try_completed_is_no_difference() {
        const BEGUN: &str =
            "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";
        local(async {
            // Begun, two parts, completed, and then ended for whatever it is.
            let first = &[
                (200, BEGUN),
                (200, ""),
                (200, ""),
                (503, ""),
                (404, ""),
                (204, ""),
            ];
            let judged = reads::parts_in_order(&answering(first).await.place("p")).await;
            match judged {
                Err(Otherwise::Unknown(said)) => assert!(said.contains("404"), "{said}"),
                other => panic!("{other:?}"),
            }
            let second = &[(200, BEGUN), (200, ""), (200, ""), (404, ""), (204, "")];
            let judged = reads::parts_in_order(&answering(second).await.place("p")).await;
            assert!(matches!(judged, Err(Otherwise::Differs(_))), "{judged:?}");
        });
    }
}
