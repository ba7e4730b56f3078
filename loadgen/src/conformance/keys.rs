//! Checks of which keys there may be.

use super::judging::{Judged, are};
use super::place::Place;

/// How long a key may be, bytes.
const LONGEST: usize = 1_024;

/// The body of a key: its name; of a folder none, as those write it who mark folders.
fn body(key: &str) -> &[u8] {
    if key.ends_with('/') {
        b""
    } else {
        key.as_bytes()
    }
}

/// That keys are kept side by side: each is written with a body of its own, read, and listed.
async fn kept(place: &Place<'_>, keys: &[&str]) -> Judged {
    // One after the other, so that what is said of a refusal is the same each time.
    for key in keys {
        place.put(key, body(key)).await?;
    }
    for key in keys {
        place.holds(key, body(key)).await?;
    }
    are(&place.list("", &[]).await?.keys, keys)
}

pub(super) async fn key_and_child(place: &Place<'_>) -> Judged {
    kept(place, &["a", "a/b"]).await
}

pub(super) async fn key_and_folder(place: &Place<'_>) -> Judged {
    kept(place, &["a", "a/"]).await
}

pub(super) async fn double_slash(place: &Place<'_>) -> Judged {
    kept(place, &["a/b", "a//b"]).await
}

pub(super) async fn dot_segments(place: &Place<'_>) -> Judged {
    kept(place, &["a/../b", "a/./c"]).await
}

pub(super) async fn reserved_characters(place: &Place<'_>) -> Judged {
    kept(place, &["a!\"#$%&'()*+,:;<=>?@[]^`{|}~"]).await
}

pub(super) async fn percent_encoded(place: &Place<'_>) -> Judged {
    kept(place, &["a/b", "a%2Fb", "c d", "c%20d"]).await
}

pub(super) async fn spaces_at_ends(place: &Place<'_>) -> Judged {
    kept(place, &[" a", "a "]).await
}

pub(super) async fn long_key(place: &Place<'_>) -> Judged {
    let mut key = String::new();
    // Parts of at most a hundred bytes: how long one of them may be is another check.
    for at in 0..LONGEST.saturating_sub(place.key("").len()) {
        key.push(if at % 100 == 99 { '/' } else { 'k' });
    }
    // A key that ends with a slash is another check as well.
    if key.ends_with('/') {
        key.pop();
        key.push('k');
    }
    kept(place, &[&key]).await
}

pub(super) async fn long_segment(place: &Place<'_>) -> Judged {
    kept(place, &[&"s".repeat(300)]).await
}

pub(super) async fn backslash(place: &Place<'_>) -> Judged {
    place.put("a\\b", b"a\\b").await?;
    place.holds("a\\b", b"a\\b").await?;
    are(&place.list("a\\", &[]).await?.keys, &["a\\b"])
}
