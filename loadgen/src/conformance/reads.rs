//! Checks of reads, of uploads in parts, and of who may.

use std::cell::RefCell;
use std::collections::BTreeMap;

use http::Method;

use super::judging::{Judged, Otherwise, are, differs, put_off, refusal, shown};
use super::place::{Place, With};
use crate::drivers::s3::request::{Told, Who};
use crate::s3::xml::walk;

/// The smallest part that is not the last, bytes.
const LEAST_PART: usize = 5 << 20;

/// A read with these headers, answered with this status.
async fn answers(
    place: &Place<'_>,
    key: &str,
    headers: &[(&str, &str)],
    status: u16,
) -> Judged<Told> {
    let with = With::headers(headers);
    let told = place.ask(Who::Ourselves, Method::GET, key, with).await?;
    match told.status {
        same if same == status => Ok(told),
        200..300 => differs(format!("it is read: {}", told.status)),
        _ => Err(refusal("the read", &told)),
    }
}

pub(super) async fn suffix_range(place: &Place<'_>) -> Judged {
    place.put("a", b"0123456789").await?;
    let told = answers(place, "a", &[("range", "bytes=-3")], 206).await?;
    let range = told.header("content-range");
    if told.body.as_ref() != b"789" {
        differs("other bytes than the last ones")
    } else if range != "bytes 7-9/10" {
        differs(format!("Content-Range: {}", shown(range)))
    } else {
        Ok(())
    }
}

pub(super) async fn range_beyond(place: &Place<'_>) -> Judged {
    place.put("a", b"0123456789").await?;
    let told = answers(place, "a", &[("range", "bytes=10-20")], 416).await;
    told.map(drop)
}

pub(super) async fn not_modified(place: &Place<'_>) -> Judged {
    let etag = place.put("a", b"a").await?.header("etag").to_owned();
    let told = answers(place, "a", &[("if-none-match", &etag)], 304).await;
    told.map(drop)
}

pub(super) async fn missing_key(place: &Place<'_>) -> Judged {
    let told = answers(place, "a", &[], 404).await?;
    match told.error() {
        Some(error) if error.code == "NoSuchKey" => Ok(()),
        Some(error) => differs(format!("404 {}", error.code)),
        None => differs("404 without a code"),
    }
}

pub(super) async fn head_like_get(place: &Place<'_>) -> Judged {
    let with = With {
        headers: &[
            ("content-type", "text/x-check"),
            ("x-amz-meta-check", "said"),
        ],
        body: b"0123456789",
        ..With::default()
    };
    place.done(Method::PUT, "a", with).await?;
    let get = place.done(Method::GET, "a", With::default()).await?;
    let head = place.done(Method::HEAD, "a", With::default()).await?;
    for (name, wanted) in [
        ("content-length", Some("10")),
        ("content-type", Some("text/x-check")),
        ("x-amz-meta-check", Some("said")),
        ("etag", None),
        ("last-modified", None),
    ] {
        let (of_get, of_head) = (get.header(name), head.header(name));
        if of_get.is_empty() || of_get != of_head {
            return differs(format!(
                "{name}: GET {}, HEAD {}",
                shown(of_get),
                shown(of_head)
            ));
        }
        if let Some(wanted) = wanted.filter(|wanted| *wanted != of_get) {
            return differs(format!("{name}: {} for {wanted}", shown(of_get)));
        }
    }
    Ok(())
}

/// An upload in parts.
struct Upload<'a> {
    place: &'a Place<'a>,
    key: &'a str,
    id: String,
    /// The parts that were taken: number and ETag.
    parts: RefCell<BTreeMap<u32, String>>,
}

impl<'a> Upload<'a> {
    async fn begin(place: &'a Place<'a>, key: &'a str) -> Judged<Self> {
        let with = With {
            parameters: &[("uploads", "")],
            ..With::default()
        };
        let told = place.done(Method::POST, key, with).await?;
        let mut id = String::new();
        let read = walk(
            &told.body,
            |path, text| {
                if path == "InitiateMultipartUploadResult/UploadId" {
                    text.clone_into(&mut id);
                }
                Ok(())
            },
            |_| Ok(()),
        );
        if read.is_err() || id.is_empty() {
            return differs("an upload without an id");
        }
        Ok(Self {
            place,
            key,
            id,
            parts: RefCell::default(),
        })
    }

    async fn part(&self, number: u32, body: &[u8]) -> Judged {
        let text = number.to_string();
        let with = With {
            parameters: &[("partNumber", &text), ("uploadId", &self.id)],
            body,
            ..With::default()
        };
        let told = self.place.done(Method::PUT, self.key, with).await?;
        let etag = told.header("etag").to_owned();
        self.parts.borrow_mut().insert(number, etag);
        Ok(())
    }

    /// Makes an object of the first parts of it.
    async fn complete(&self, most: usize) -> Judged<Told> {
        let parts: String = self
            .parts
            .borrow()
            .iter()
            .take(most)
            .map(|(number, etag)| {
                format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
            })
            .collect();
        let body = format!(
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{parts}</CompleteMultipartUpload>"
        );
        let with = With {
            parameters: &[("uploadId", &self.id)],
            headers: &[],
            body: body.as_bytes(),
        };
        self.place
            .ask(Who::Ourselves, Method::POST, self.key, with)
            .await
    }

    async fn abort(&self) -> Judged {
        let with = With {
            parameters: &[("uploadId", &self.id)],
            ..With::default()
        };
        let told = self.place.done(Method::DELETE, self.key, with).await;
        told.map(drop)
    }

    /// Leaves nothing of it. Who may not abort it makes an object of one part, which is removed as any other.
    async fn end(&self) {
        if self.abort().await.is_err() {
            drop(self.complete(1).await);
        }
    }
}

/// Whether an upload that is there was completed. That there is none may come of a first try that the store answered by putting it off.
fn is_completed(told: &Told) -> Judged<bool> {
    if told.put_off && told.status == 404 {
        return Err(put_off("to complete it", told));
    }
    Ok(told.is_done())
}

pub(super) async fn parts_in_order(place: &Place<'_>) -> Judged {
    let upload = Upload::begin(place, "a").await?;
    let judged = async {
        upload.part(2, b"last").await?;
        upload.part(1, &vec![b'f'; LEAST_PART]).await?;
        let told = upload.complete(2).await?;
        if is_completed(&told)? {
            Ok(())
        } else {
            Err(refusal("to complete it", &told))
        }
    };
    let judged = judged.await;
    if judged.is_err() {
        upload.end().await;
    }
    judged?;
    let border = format!("bytes={}-", LEAST_PART - 1);
    let told = answers(place, "a", &[("range", &border)], 206).await?;
    if told.body.as_ref() == b"flast" {
        Ok(())
    } else {
        differs("the parts do not follow each other")
    }
}

pub(super) async fn small_part(place: &Place<'_>) -> Judged {
    let upload = Upload::begin(place, "a").await?;
    let judged = async {
        upload.part(1, b"first").await?;
        upload.part(2, b"last").await?;
        let told = upload.complete(2).await?;
        if is_completed(&told)? {
            return differs("a first part of 5 bytes is taken");
        }
        match refusal("to complete it", &told) {
            Otherwise::Differs(_) => Ok(()),
            other => Err(other),
        }
    };
    let judged = judged.await;
    upload.end().await;
    judged
}

pub(super) async fn aborted_upload(place: &Place<'_>) -> Judged {
    let upload = Upload::begin(place, "a").await?;
    let sent = upload.part(1, b"first").await;
    if let Err(refused) = upload.abort().await {
        upload.end().await;
        return Err(refused);
    }
    sent?;
    place.is_missing("a").await?;
    are(&place.list("", &[]).await?.keys, &[])?;
    let told = upload.complete(1).await?;
    match refusal("to complete it", &told) {
        _ if told.is_done() => differs("it is completed all the same"),
        // Nor by a first try that it put off.
        Otherwise::Differs(_) => place.is_missing("a").await,
        other => Err(other),
    }
}

/// A read by somebody who may not.
async fn kept_out(place: &Place<'_>, who: Who) -> Judged {
    place.put("a", b"a").await?;
    let told = place.ask(who, Method::GET, "a", With::default()).await?;
    match told.status {
        403 => Ok(()),
        200 => differs("it is read"),
        _ => match refusal("the read", &told) {
            // Refused, and in another way than S3 does it.
            Otherwise::Unknown(said) if told.status == 401 => differs(said),
            other => Err(other),
        },
    }
}

pub(super) async fn anonymous(place: &Place<'_>) -> Judged {
    kept_out(place, Who::Nobody).await
}

pub(super) async fn wrong_secret(place: &Place<'_>) -> Judged {
    kept_out(place, Who::WrongSecret).await
}
