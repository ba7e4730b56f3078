//! How a store keeps what S3 is documented to do: the checks of the preflight, and what a store answered to each. (Pure.)
//!
//! A store may be quick because it does something else. Some seconds before the first block show where it differs, so that
//! it is known before it wins; whether it keeps its answers under load is what the consistency workload asks.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// The version that [`ConformanceRecord::schema_version`] carries.
pub const CONFORMANCE_SCHEMA: &str = "conformance.bakeoff.dev/v1";

/// What a store answered to each check: `conformance/<backend>.json` in the run's folder. Written once, before the first block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConformanceRecord {
    /// [`CONFORMANCE_SCHEMA`].
    pub schema_version: String,
    /// The name of the backend.
    pub backend: String,
    /// When the checks began.
    pub started_at: Timestamp,
    /// How long they took, milliseconds.
    pub millis: i64,
    /// Requests that were sent.
    pub requests: i64,
    /// Each check, in the order of [`Check::ALL`].
    #[serde(deserialize_with = "known")]
    pub checks: Vec<CheckAnswer>,
    /// What could not be removed afterwards, in words; empty where nothing was left.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub left: String,
}

/// What a store answered to one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckAnswer {
    /// The check.
    pub check: Check,
    /// Whether it keeps it.
    pub answer: Answer,
    /// What was seen, in a few words; empty where it is kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub seen: String,
}

/// Whether a store does what S3 does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Answer {
    /// It does.
    Kept,
    /// It does something else.
    Differs,
    /// It says that it does not have this.
    NotOffered,
    /// It did not answer, or was not allowed to: that says neither.
    Unknown,
}

impl Answer {
    /// The name as it stands in the raw data.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "Kept",
            Self::Differs => "Differs",
            Self::NotOffered => "NotOffered",
            Self::Unknown => "Unknown",
        }
    }

    /// In a sentence.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Differs => "differs",
            Self::NotOffered => "not offered",
            Self::Unknown => "not known",
        }
    }
}

/// What follows from a check that a store does not keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It stands in the table.
    Shown,
    /// Readers of a store commonly rest on it: it stands beside every figure of the backend as well.
    Named,
    /// The measured work itself rests on it, with the keys that it writes: who differs here answers that work wrongly.
    Needed,
}

/// Checks that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The order of a listing.
    Order,
    /// The pages of a listing.
    Paging,
    /// Which keys there may be.
    Keys,
    /// Writes on a condition.
    Conditions,
    /// That what was done is seen at once.
    Consistency,
    /// Deletions.
    Deletes,
    /// Digests.
    Checksums,
    /// Reads.
    Reads,
    /// Uploads in parts.
    Multipart,
    /// Who may.
    Access,
}

macro_rules! checks {
    ($($member:ident = $text:literal, $group:ident, $weight:ident, $name:literal, $sentence:literal;)+) => {
        /// A check. Its sentence says what S3 does, as the API reference of Amazon S3 describes it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub enum Check {
            $(#[doc = $sentence] $member,)+
        }

        impl Check {
            /// All of them, in the order in which they are made.
            pub const ALL: &[Self] = &[$(Self::$member),+];

            /// The name in raw data.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$member => $text,)+ }
            }

            /// The name for people.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$member => $name,)+ }
            }

            /// What S3 does.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$member => $sentence,)+ }
            }

            /// What it belongs to.
            #[must_use]
            pub fn group(self) -> Group {
                match self { $(Self::$member => Group::$group,)+ }
            }

            /// What follows where it is not kept.
            #[must_use]
            pub fn weight(self) -> Weight {
                match self { $(Self::$member => Weight::$weight,)+ }
            }
        }
    };
}

checks! {
    OrderOfPlainKeys = "orderOfPlainKeys", Order, Needed, "order of plain keys",
        "Keys of folders and numbers of one length come in the order of their bytes, also over pages.";
    OrderOfKeys = "orderOfKeys", Order, Named, "order of keys",
        "Keys come in the order of their bytes, also where + - . / or 0 follows the same beginning.";
    OrderOfPrefixes = "orderOfPrefixes", Order, Named, "order of common prefixes",
        "Common prefixes come in the order of their bytes.";
    OrderOfUnicode = "orderOfUnicode", Order, Named, "order of UTF-8",
        "Keys come in the order of their bytes in UTF-8, also beyond the first 65,536 characters.";
    OrderOfCase = "orderOfCase", Order, Named, "order of cases",
        "Upper-case letters come before lower-case ones.";
    Pages = "pages", Paging, Needed, "pages",
        "The pages of a listing are together the whole, each key once, at 1, 7 and 1,000 keys a page.";
    ExactLastPage = "exactLastPage", Paging, Shown, "full last page",
        "A last page that is full does not say that more follow.";
    MaxKeysZero = "maxKeysZero", Paging, Shown, "max-keys 0",
        "A page of no keys is answered, without keys and without saying that more follow.";
    TokenAfterDelete = "tokenAfterDelete", Paging, Named, "token of a deleted key",
        "A listing goes on where it was after the last key of its page was deleted.";
    StartAfterWithin = "startAfterWithin", Paging, Needed, "start-after within the prefix",
        "With start-after within the prefix the keys behind it are listed, and no others.";
    StartAfterBefore = "startAfterBefore", Paging, Named, "start-after before the prefix",
        "With start-after before the prefix all its keys are listed.";
    StartAfterBeyond = "startAfterBeyond", Paging, Named, "start-after beyond the prefix",
        "With start-after beyond the prefix nothing is listed.";
    PagesOfPrefixes = "pagesOfPrefixes", Paging, Named, "pages of common prefixes",
        "The pages of a listing with a delimiter have each common prefix once.";
    KeyAndChild = "keyAndChild", Keys, Named, "key and child",
        "The keys a and a/b may both exist, are read and are listed.";
    KeyAndFolder = "keyAndFolder", Keys, Shown, "key and folder",
        "The keys a and a/ may both exist, are read and are listed.";
    DoubleSlash = "doubleSlash", Keys, Shown, "double slash",
        "The keys a//b and a/b are two.";
    DotSegments = "dotSegments", Keys, Shown, "dot segments",
        "The segments . and .. of a key are letters as any others.";
    ReservedCharacters = "reservedCharacters", Keys, Shown, "reserved characters",
        "A key may hold the characters that URLs and XML reserve.";
    PercentEncoded = "percentEncoded", Keys, Shown, "percent signs",
        "The key a%2Fb is not a/b, and a%20b is not a b.";
    SpacesAtEnds = "spacesAtEnds", Keys, Shown, "spaces at the ends",
        "Spaces at the beginning and at the end of a key belong to it.";
    LongKey = "longKey", Keys, Shown, "long key",
        "A key may have 1,024 bytes.";
    LongSegment = "longSegment", Keys, Shown, "long segment",
        "A part of a key between two slashes may have 300 bytes.";
    Backslash = "backslash", Keys, Shown, "backslash",
        "A key with a backslash is read and is listed below a prefix with one.";
    IfNoneMatch = "ifNoneMatch", Conditions, Named, "If-None-Match",
        "A write with If-None-Match: * does not replace a key that exists.";
    RaceOfCreators = "raceOfCreators", Conditions, Named, "race of creators",
        "Of 16 writes at once with If-None-Match: * exactly one creates the key.";
    IfMatchWrong = "ifMatchWrong", Conditions, Shown, "If-Match with another ETag",
        "A write with If-Match and another ETag does not replace the object.";
    IfMatchRight = "ifMatchRight", Conditions, Shown, "If-Match with its ETag",
        "A write with If-Match and the object's ETag replaces it.";
    ReadAfterWrite = "readAfterWrite", Consistency, Needed, "read after write",
        "A read sees at once what was written, overwritten and deleted.";
    ListAfterWrite = "listAfterWrite", Consistency, Needed, "list after write",
        "A listing shows at once what was written, overwritten and deleted.";
    PrefixGone = "prefixGone", Consistency, Shown, "common prefix of nothing",
        "A common prefix is gone with its last key.";
    DeleteBatch = "deleteBatch", Deletes, Shown, "batch of deletions",
        "A batch of deletions removes the keys that exist and takes those that do not.";
    DeleteTwice = "deleteTwice", Deletes, Shown, "deletion twice",
        "To delete what is not there succeeds.";
    WrongMd5 = "wrongMd5", Checksums, Shown, "wrong Content-MD5",
        "A body that is not what its Content-MD5 says is refused.";
    WrongCrc32 = "wrongCrc32", Checksums, Shown, "wrong CRC32",
        "A body that is not what its x-amz-checksum-crc32 says is refused.";
    Etag = "etag", Checksums, Shown, "ETag",
        "The ETag is the same in the answers to PUT, HEAD, GET and LIST, and another for another body.";
    SuffixRange = "suffixRange", Reads, Shown, "range from the end",
        "A range of the last bytes is answered with them and 206.";
    RangeBeyond = "rangeBeyond", Reads, Shown, "range beyond the end",
        "A range beyond the end is answered with 416.";
    NotModified = "notModified", Reads, Shown, "If-None-Match of a read",
        "A read with If-None-Match and the object's ETag is answered with 304.";
    MissingKey = "missingKey", Reads, Shown, "missing key",
        "A key that does not exist is answered with 404 and NoSuchKey.";
    HeadLikeGet = "headLikeGet", Reads, Shown, "HEAD as GET",
        "HEAD has the headers of GET: length, type, ETag, date and metadata.";
    PartsInOrder = "partsInOrder", Multipart, Shown, "order of parts",
        "Parts make up the object in the order of their numbers, whatever the order in which they came.";
    SmallPart = "smallPart", Multipart, Shown, "small part",
        "A part of less than 5 MiB that is not the last is refused.";
    AbortedUpload = "abortedUpload", Multipart, Shown, "aborted upload",
        "An upload that was aborted leaves no object, and cannot be completed.";
    Anonymous = "anonymous", Access, Shown, "anonymous read",
        "A read without a signature is answered with 403.";
    WrongSecret = "wrongSecret", Access, Shown, "wrong secret",
        "A read that is signed with another secret is answered with 403.";
}

impl Check {
    /// Whether it is about what a listing shows.
    #[must_use]
    pub fn is_of_listings(self) -> bool {
        matches!(self.group(), Group::Order | Group::Paging)
            || matches!(self, Self::KeyAndChild | Self::ListAfterWrite)
    }
}

impl ConformanceRecord {
    /// The checks that a store was seen not to keep and that weigh so much.
    pub fn broken(&self, weight: Weight) -> impl Iterator<Item = &CheckAnswer> {
        self.checks
            .iter()
            .filter(move |one| one.is_broken() && one.check.weight() == weight)
    }
}

impl CheckAnswer {
    /// Whether the store was seen not to keep it. That it did not answer is not seen.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self.answer, Answer::Differs | Answer::NotOffered)
    }

    /// The answer and what was seen: `differs: a/b before a+1`.
    #[must_use]
    pub fn text(&self) -> String {
        if self.seen.is_empty() {
            self.answer.words().to_owned()
        } else {
            format!("{}: {}", self.answer.words(), self.seen)
        }
    }
}

/// The checks that this version knows: a later one may have more.
fn known<'de, D: Deserializer<'de>>(list: D) -> Result<Vec<CheckAnswer>, D::Error> {
    let listed = Vec::<serde_json::Value>::deserialize(list)?;
    let is_known = |one: &serde_json::Value| {
        Check::ALL
            .iter()
            .any(|check| one.get("check").and_then(|name| name.as_str()) == Some(check.as_str()))
    };
    listed
        .into_iter()
        .filter(is_known)
        .map(|one| serde_json::from_value(one).map_err(serde::de::Error::custom))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_those_of_the_raw_data() {
        for (at, check) in Check::ALL.iter().enumerate() {
            let named = serde_json::to_value(check).unwrap();
            assert_eq!(named, check.as_str());
            let others = || Check::ALL.iter().skip(at + 1);
            assert!(
                others()
                    .all(|other| other.as_str() != check.as_str() && other.name() != check.name()),
                "{named}"
            );
        }
    }

    #[test]
    fn a_check_that_is_not_known_here_is_left_out_and_the_rest_is_read() {
        let text = r#"{"schemaVersion": "conformance.bakeoff.dev/v1", "backend": "a", "startedAt": "2026-01-01T00:00:00Z",
            "millis": 1, "requests": 2, "checks": [{"check": "ofTomorrow", "answer": "Maybe"},
            {"check": "pages", "answer": "Differs", "seen": "a twice"}, {"check": "keyAndChild", "answer": "Unknown"}]}"#;
        let record: ConformanceRecord = serde_json::from_str(text).unwrap();
        let texts: Vec<String> = record.checks.iter().map(CheckAnswer::text).collect();
        assert_eq!(texts, ["differs: a twice", "not known"]);
        // What is not known is not broken, however much it weighs.
        assert_eq!(record.broken(Weight::Needed).count(), 1);
        assert_eq!(record.broken(Weight::Named).count(), 0);
        let wrong = text.replace("\"Differs\"", "\"Maybe\"");
        assert!(serde_json::from_str::<ConformanceRecord>(&wrong).is_err());
    }
}
