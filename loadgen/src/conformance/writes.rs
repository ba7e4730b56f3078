//! Checks of writes: on a condition, seen at once, removed, and with digests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use md5::{Digest as _, Md5};

use super::judging::{Judged, Otherwise, are, differs, race, refusal, shown};
use super::place::{Place, With};
use crate::drivers::s3::request::{Told, Who};
use crate::s3::xml::walk;

/// How many writers race.
const WRITERS: usize = 16;
/// How often reads and listings are compared with what was written.
const ROUNDS: usize = 5;

/// A write that has to be refused with one of these statuses.
async fn refused(
    place: &Place<'_>,
    key: &str,
    headers: &[(&str, &str)],
    statuses: &[u16],
) -> Judged {
    let with = With {
        headers,
        body: b"another",
        ..With::default()
    };
    let told = place.ask(Who::Ourselves, Method::PUT, key, with).await?;
    match told.status {
        status if statuses.contains(&status) => Ok(()),
        _ if told.is_done() => differs(format!("it is written: {}", told.status)),
        _ => Err(refusal("the write", &told)),
    }
}

pub(super) async fn if_none_match(place: &Place<'_>) -> Judged {
    let fresh = With {
        headers: &[("if-none-match", "*")],
        body: b"first",
        ..With::default()
    };
    place.done(Method::PUT, "a", fresh).await?;
    refused(place, "a", &[("if-none-match", "*")], &[412]).await?;
    place.holds("a", b"first").await
}

pub(super) async fn race_of_creators(place: &Place<'_>) -> Judged {
    let bodies: Vec<String> = (0..WRITERS)
        .map(|writer| format!("writer {writer}"))
        .collect();
    let writers = bodies.iter().map(|body| {
        let with = With {
            headers: &[("if-none-match", "*")],
            body: body.as_bytes(),
            ..With::default()
        };
        place.ask(Who::Ourselves, Method::PUT, "a", with)
    });
    let answers = futures::future::join_all(writers).await;
    let mut statuses = Vec::new();
    for answer in &answers {
        match answer {
            // Which may be its own first try.
            Ok(told) if told.put_off && matches!(told.status, 409 | 412) => statuses.push(0),
            Ok(told) => statuses.push(told.status),
            Err(Otherwise::NotOffered(said)) => return Err(Otherwise::NotOffered(said.clone())),
            // Whether it created the key is not known.
            Err(_) => statuses.push(0),
        }
    }
    race(&statuses)?;
    let won = statuses
        .iter()
        .position(|status| (200..300).contains(status));
    match won.and_then(|winner| bodies.get(winner)) {
        Some(body) => place.holds("a", body.as_bytes()).await,
        None => Ok(()),
    }
}

pub(super) async fn if_match_wrong(place: &Place<'_>) -> Judged {
    place.put("a", b"first").await?;
    let other = [("if-match", "\"00000000000000000000000000000000\"")];
    refused(place, "a", &other, &[412]).await?;
    place.holds("a", b"first").await
}

pub(super) async fn if_match_right(place: &Place<'_>) -> Judged {
    let etag = place.put("a", b"first").await?.header("etag").to_owned();
    let with = With {
        headers: &[("if-match", &etag)],
        body: b"second",
        ..With::default()
    };
    place.done(Method::PUT, "a", with).await?;
    place.holds("a", b"second").await
}

pub(super) async fn read_after_write(place: &Place<'_>) -> Judged {
    for round in 0..ROUNDS {
        let key = format!("{round:08}");
        place.put(&key, b"the first body").await?;
        place.holds(&key, b"the first body").await?;
        place.put(&key, b"the second body").await?;
        place.holds(&key, b"the second body").await?;
        place.delete(&key).await?;
        place.is_missing(&key).await?;
    }
    Ok(())
}

pub(super) async fn list_after_write(place: &Place<'_>) -> Judged {
    // It stays, so that the folder is never empty.
    place.put("0", b"stays").await?;
    for round in 0..ROUNDS {
        let key = format!("{round:08}");
        for body in [&b"first"[..], b"longer than it was"] {
            place.put(&key, body).await?;
            let seen = place.list("", &[]).await?;
            are(&seen.keys, &["0", &key])?;
            let size = seen.sizes.last().copied();
            if size != u64::try_from(body.len()).ok() {
                return differs(format!("{key} is listed with the size that it had before"));
            }
        }
        place.delete(&key).await?;
        are(&place.list("", &[]).await?.keys, &["0"])?;
    }
    Ok(())
}

pub(super) async fn prefix_gone(place: &Place<'_>) -> Judged {
    let delimiter = [("delimiter", "/")];
    place.put_all(&["stays", "a/b"]).await?;
    are(&place.list("", &delimiter).await?.prefixes, &["a/"])?;
    place.delete("a/b").await?;
    match place.list("", &delimiter).await?.prefixes.first() {
        Some(prefix) => differs(format!("{} is still a common prefix", shown(prefix))),
        None => Ok(()),
    }
}

fn md5(body: &[u8]) -> String {
    STANDARD.encode(Md5::digest(body))
}

fn crc32(body: &[u8]) -> String {
    let mut crc = flate2::Crc::new();
    crc.update(body);
    STANDARD.encode(crc.sum().to_be_bytes())
}

/// The keys that a batch says to be deleted, and the first that it says to have failed.
fn batch(told: &Told) -> Judged<(Vec<String>, Option<String>)> {
    let (mut deleted, mut failed) = (Vec::new(), None);
    let read = walk(
        &told.body,
        |path, text| {
            match path {
                "DeleteResult/Deleted/Key" => deleted.push(text.to_owned()),
                "DeleteResult/Error/Code" => failed = Some(text.to_owned()),
                _ => {}
            }
            Ok(())
        },
        |_| Ok(()),
    );
    match read {
        Ok(()) => Ok((deleted, failed)),
        Err(error) => differs(format!("a batch whose answer cannot be read: {error}")),
    }
}

pub(super) async fn delete_batch(place: &Place<'_>) -> Judged {
    place.put_all(&["a", "b", "stays"]).await?;
    let names = ["a", "b", "unknown-1", "unknown-2"].map(|name| place.key(name));
    let objects: String = names
        .iter()
        .map(|name| format!("<Object><Key>{name}</Key></Object>"))
        .collect();
    let body =
        format!("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{objects}</Delete>");
    let with = With {
        parameters: &[("delete", "")],
        headers: &[("content-md5", &md5(body.as_bytes()))],
        body: body.as_bytes(),
    };
    let told = place
        .bucket(Method::POST, "a batch of deletions", with)
        .await?;
    let (deleted, failed) = batch(&told)?;
    if let Some(code) = failed {
        return differs(format!("a batch with an unknown key: {code}"));
    }
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    if let Err(Otherwise::Differs(seen)) = are(&deleted, &wanted) {
        return differs(format!("the answer to a batch: {seen}"));
    }
    are(&place.list("", &[]).await?.keys, &["stays"])
}

pub(super) async fn delete_twice(place: &Place<'_>) -> Judged {
    place.put("a", b"a").await?;
    place.delete("a").await?;
    place.delete("a").await
}

/// A digest that is right is taken, and one of another body is refused and writes nothing.
async fn digest(place: &Place<'_>, header: &str, of: impl Fn(&[u8]) -> String) -> Judged {
    let right = With {
        headers: &[(header, &of(b"right"))],
        body: b"right",
        ..With::default()
    };
    place.done(Method::PUT, "right", right).await?;
    refused(place, "wrong", &[(header, &of(b"right"))], &[400]).await?;
    place.is_missing("wrong").await
}

pub(super) async fn wrong_md5(place: &Place<'_>) -> Judged {
    digest(place, "content-md5", md5).await
}

pub(super) async fn wrong_crc32(place: &Place<'_>) -> Judged {
    digest(place, "x-amz-checksum-crc32", crc32).await
}

pub(super) async fn etag(place: &Place<'_>) -> Judged {
    let put = place.put("a", b"first").await?.header("etag").to_owned();
    if put.len() < 3 || !put.starts_with('"') || !put.ends_with('"') {
        return differs(format!("PUT answers the ETag {}", shown(&put)));
    }
    for method in [Method::HEAD, Method::GET] {
        let told = place.done(method.clone(), "a", With::default()).await?;
        let etag = told.header("etag");
        if etag != put {
            return differs(format!("PUT answers {put}, {method} {}", shown(etag)));
        }
    }
    let listed = place.list("", &[]).await?.etags;
    if listed
        .first()
        .is_none_or(|etag| etag != put.trim_matches('"'))
    {
        let listed = listed.first().map_or("", String::as_str);
        return differs(format!("PUT answers {put}, LIST {}", shown(listed)));
    }
    if place.put("a", b"second").await?.header("etag") == put {
        return differs("another body has the same ETag");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standards() {
        // RFC 1321, A.5, and the check value of CRC-32/ISO-HDLC.
        assert_eq!(md5(b"abc"), "kAFQmDzST7DWlj99KOF/cg==");
        assert_eq!(crc32(b"123456789"), "y/Q5Jg==");
    }
}
