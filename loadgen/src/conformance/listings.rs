//! Checks of listings: their order and their pages.

use super::judging::{Judged, are, ascend, differs};
use super::listing::Listing;
use super::place::{Place, Store};

/// Runs and objects of a run, named as the workloads name theirs.
const RUNS: usize = 3;
const OBJECTS: usize = 20;
/// The place that the checks of pages share.
const PAGED: &str = "paged";

/// All pages of a listing, one after the other.
async fn pages(
    place: &Place<'_>,
    prefix: &str,
    further: &[(&str, &str)],
    most: usize,
) -> Judged<Vec<Listing>> {
    let mut pages: Vec<Listing> = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let mut parameters = further.to_vec();
        parameters.extend(token.as_deref().map(|token| ("continuation-token", token)));
        let page = place.list(prefix, &parameters).await?;
        let more = page.truncated;
        token.clone_from(&page.token);
        pages.push(page);
        if !more {
            return Ok(pages);
        }
        if token.is_none() {
            return differs("a page says that more follow and not where");
        }
        if pages.len() > most {
            return differs(format!("no end after {most} pages"));
        }
    }
}

fn keys(pages: &[Listing]) -> Vec<String> {
    let keys = pages.iter().flat_map(|page| &page.keys);
    keys.cloned().collect()
}

/// Writes keys and has them listed, whole.
async fn written(place: &Place<'_>, names: &[&str], further: &[(&str, &str)]) -> Judged<Listing> {
    place.put_all(names).await?;
    place.list("", further).await
}

async fn ordered(place: &Place<'_>, names: &[&str]) -> Judged {
    let seen = written(place, names, &[]).await?;
    are(&seen.keys, names)?;
    ascend(&seen.keys)
}

pub(super) async fn order_of_keys(place: &Place<'_>) -> Judged {
    let names = ["foo+1/bar", "foo-/bar", "foo.x", "foo/bar", "foo0"];
    ordered(place, &names).await
}

pub(super) async fn order_of_prefixes(place: &Place<'_>) -> Judged {
    let names = ["foo+1/bar", "foo-/bar", "foo.x/bar", "foo/bar", "foo0/bar"];
    let seen = written(place, &names, &[("delimiter", "/")]).await?;
    are(
        &seen.prefixes,
        &["foo+1/", "foo-/", "foo.x/", "foo/", "foo0/"],
    )?;
    ascend(&seen.prefixes)
}

pub(super) async fn order_of_unicode(place: &Place<'_>) -> Judged {
    // In UTF-16 the last of them, a pair of surrogates, would come before the one before it.
    ordered(place, &["a", "é", "\u{6c34}", "\u{ff5e}", "\u{1f600}"]).await
}

pub(super) async fn order_of_case(place: &Place<'_>) -> Judged {
    ordered(place, &["A", "B", "Z1", "a", "b"]).await
}

/// The place with the runs that the checks of pages read.
async fn paged(store: &Store) -> Judged<(Place<'_>, Vec<String>)> {
    let place = store.place(PAGED);
    let run = |run: usize| (0..OBJECTS).map(move |object| format!("run-{run:03}/{object:08}"));
    let names: Vec<String> = (0..RUNS).flat_map(run).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    place.put_once(&all).await?;
    Ok((place, names))
}

pub(super) async fn order_of_plain_keys(store: &Store) -> Judged {
    let (place, names) = paged(store).await?;
    let found = pages(&place, "", &[("max-keys", "7")], names.len()).await?;
    ascend(&keys(&found))
}

pub(super) async fn whole(store: &Store) -> Judged {
    let (place, names) = paged(store).await?;
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    for size in ["1", "7", "1000"] {
        let found = pages(&place, "", &[("max-keys", size)], names.len() + 1).await?;
        are(&keys(&found), &wanted)?;
        let most = size.parse().unwrap_or(usize::MAX);
        if let Some(page) = found.iter().find(|page| page.keys.len() > most) {
            return differs(format!("{} keys on a page of {size}", page.keys.len()));
        }
    }
    Ok(())
}

pub(super) async fn exact_last_page(store: &Store) -> Judged {
    let (place, _) = paged(store).await?;
    for size in [OBJECTS, OBJECTS / 2] {
        let text = size.to_string();
        let found = pages(&place, "run-000/", &[("max-keys", &text)], OBJECTS).await?;
        if found.len() != OBJECTS / size {
            return differs(format!(
                "{} pages of {size} for {OBJECTS} keys",
                found.len()
            ));
        }
    }
    Ok(())
}

pub(super) async fn max_keys_zero(store: &Store) -> Judged {
    let (place, _) = paged(store).await?;
    let page = place.list("run-000/", &[("max-keys", "0")]).await?;
    match (page.keys.len(), page.truncated) {
        (0, false) => Ok(()),
        (0, true) => differs("it says that more follow"),
        (some, _) => differs(format!("{some} keys are listed")),
    }
}

pub(super) async fn token_after_delete(place: &Place<'_>) -> Judged {
    place.put_all(&["a", "b", "c", "d"]).await?;
    let first = place.list("", &[("max-keys", "2")]).await?;
    are(&first.keys, &["a", "b"])?;
    let Some(token) = first.token else {
        return differs("a page says that more follow and not where");
    };
    place.delete("b").await?;
    let rest = place.list("", &[("continuation-token", &token)]).await?;
    are(&rest.keys, &["c", "d"])
}

/// What is listed below the second run with this start-after.
async fn after(store: &Store, key: &str) -> Judged<(Vec<String>, Vec<String>)> {
    let (place, names) = paged(store).await?;
    let key = place.key(key);
    let listing = place.list("run-001/", &[("start-after", &key)]).await?;
    let run = names
        .into_iter()
        .filter(|name| name.starts_with("run-001/"));
    Ok((listing.keys, run.collect()))
}

pub(super) async fn start_after_within(store: &Store) -> Judged {
    let (seen, run) = after(store, "run-001/00000009").await?;
    let wanted: Vec<&str> = run.iter().skip(10).map(String::as_str).collect();
    are(&seen, &wanted)
}

pub(super) async fn start_after_before(store: &Store) -> Judged {
    let (seen, run) = after(store, "run-000/00000009").await?;
    let wanted: Vec<&str> = run.iter().map(String::as_str).collect();
    are(&seen, &wanted)
}

pub(super) async fn start_after_beyond(store: &Store) -> Judged {
    are(&after(store, "run-002/").await?.0, &[])
}

pub(super) async fn pages_of_prefixes(store: &Store) -> Judged {
    let (place, _) = paged(store).await?;
    let further = [("delimiter", "/"), ("max-keys", "2")];
    let found = pages(&place, "", &further, RUNS).await?;
    let prefixes: Vec<String> = found
        .iter()
        .flat_map(|page| page.prefixes.clone())
        .collect();
    are(&keys(&found), &[])?;
    are(&prefixes, &["run-000/", "run-001/", "run-002/"])
}
