//! Some seconds before the first block: what of S3 a store keeps, check by check.
//!
//! Sources of what is asked: the Amazon S3 API reference (ListObjectsV2, PutObject, GetObject, HeadObject, DeleteObjects,
//! CreateMultipartUpload and its relatives, "Common errors") and the Amazon S3 user guide ("Naming Amazon S3 objects",
//! "Amazon S3 data consistency model", "How to prevent object overwrites with conditional writes", "Checking object
//! integrity"). Nothing here is measured, and no answer stops a run: what it means is for the analysis to say.

mod judging;
mod keys;
mod listing;
mod listings;
mod place;
mod reads;
mod table;
mod writes;

use std::time::Instant;

use bakeoff_crds::conformance::{CONFORMANCE_SCHEMA, Check, ConformanceRecord};
use bakeoff_crds::run::ResolvedBackend;
use futures::StreamExt as _;
use jiff::Timestamp;

use self::judging::{Judged, answer};
use self::place::Store;
pub use self::table::table;
use crate::drivers::access::Access;
use crate::store::layout;

/// How many checks are made at once: far stores are not waited for one after the other.
const AT_ONCE: usize = 6;

/// Checks a backend, if it is an S3 store, below its prefix, and removes what that took.
///
/// Whatever the store does ends up in the record.
pub async fn examine(access: &Access, at: &ResolvedBackend) -> Option<ConformanceRecord> {
    let dialer = access.s3().ok()?;
    let (started_at, began) = (Timestamp::now(), Instant::now());
    // Of its own for each time: what a lost generator left must not be taken for what was written now.
    let folder = format!(
        "{}{}{:x}/",
        at.folder(),
        layout::CONFORMANCE,
        started_at.as_millisecond()
    );
    let store = Store::new(dialer, &folder);
    // Each has a folder of its own, so that they do not see each other.
    let store = &store;
    let checks = futures::stream::iter(Check::ALL)
        .map(|&check| async move { answer(check, judged(store, check).await) })
        .buffered(AT_ONCE)
        .collect()
        .await;
    store.clear().await;
    let left = match access.driver().clean(at, &folder).await {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    Some(ConformanceRecord {
        schema_version: CONFORMANCE_SCHEMA.to_owned(),
        backend: at.name.clone(),
        started_at,
        millis: i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX),
        requests: i64::from(store.requests()),
        checks,
        left,
    })
}

async fn judged(store: &Store, check: Check) -> Judged {
    let place = &store.place(check.as_str());
    match check {
        Check::OrderOfPlainKeys => listings::order_of_plain_keys(store).await,
        Check::OrderOfKeys => listings::order_of_keys(place).await,
        Check::OrderOfPrefixes => listings::order_of_prefixes(place).await,
        Check::OrderOfUnicode => listings::order_of_unicode(place).await,
        Check::OrderOfCase => listings::order_of_case(place).await,
        Check::Pages => listings::whole(store).await,
        Check::ExactLastPage => listings::exact_last_page(store).await,
        Check::MaxKeysZero => listings::max_keys_zero(store).await,
        Check::TokenAfterDelete => listings::token_after_delete(place).await,
        Check::StartAfterWithin => listings::start_after_within(store).await,
        Check::StartAfterBefore => listings::start_after_before(store).await,
        Check::StartAfterBeyond => listings::start_after_beyond(store).await,
        Check::PagesOfPrefixes => listings::pages_of_prefixes(store).await,
        Check::KeyAndChild => keys::key_and_child(place).await,
        Check::KeyAndFolder => keys::key_and_folder(place).await,
        Check::DoubleSlash => keys::double_slash(place).await,
        Check::DotSegments => keys::dot_segments(place).await,
        Check::ReservedCharacters => keys::reserved_characters(place).await,
        Check::PercentEncoded => keys::percent_encoded(place).await,
        Check::SpacesAtEnds => keys::spaces_at_ends(place).await,
        Check::LongKey => keys::long_key(place).await,
        Check::LongSegment => keys::long_segment(place).await,
        Check::Backslash => keys::backslash(place).await,
        Check::IfNoneMatch => writes::if_none_match(place).await,
        Check::RaceOfCreators => writes::race_of_creators(place).await,
        Check::IfMatchWrong => writes::if_match_wrong(place).await,
        Check::IfMatchRight => writes::if_match_right(place).await,
        Check::ReadAfterWrite => writes::read_after_write(place).await,
        Check::ListAfterWrite => writes::list_after_write(place).await,
        Check::PrefixGone => writes::prefix_gone(place).await,
        Check::DeleteBatch => writes::delete_batch(place).await,
        Check::DeleteTwice => writes::delete_twice(place).await,
        Check::WrongMd5 => writes::wrong_md5(place).await,
        Check::WrongCrc32 => writes::wrong_crc32(place).await,
        Check::Etag => writes::etag(place).await,
        Check::SuffixRange => reads::suffix_range(place).await,
        Check::RangeBeyond => reads::range_beyond(place).await,
        Check::NotModified => reads::not_modified(place).await,
        Check::MissingKey => reads::missing_key(place).await,
        Check::HeadLikeGet => reads::head_like_get(place).await,
        Check::PartsInOrder => reads::parts_in_order(place).await,
        Check::SmallPart => reads::small_part(place).await,
        Check::AbortedUpload => reads::aborted_upload(place).await,
        Check::Anonymous => reads::anonymous(place).await,
        Check::WrongSecret => reads::wrong_secret(place).await,
    }
}
