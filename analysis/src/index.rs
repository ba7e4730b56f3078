//! `index.json`: every file of a run with its size and checksum. Results count as complete once it
//! is there, so it is written last.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The version that [`Index::schema_version`] carries.
pub const INDEX_SCHEMA: &str = "index.bakeoff.dev/v1";

/// Every file of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// [`INDEX_SCHEMA`].
    pub schema_version: String,
    /// The files, by name.
    pub files: Vec<Entry>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its name, relative to the folder of the run.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

/// SHA-256, hexadecimal in lower case.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The entry of one file.
#[must_use]
pub fn entry(name: &str, bytes: &[u8]) -> Entry {
    Entry {
        name: name.to_owned(),
        bytes: bytes.len() as u64,
        sha256: sha256(bytes),
    }
}

/// An index of entries, sorted by name; of two entries with one name the later counts.
#[must_use]
pub fn index(entries: impl IntoIterator<Item = Entry>) -> Index {
    let files: std::collections::BTreeMap<String, Entry> = entries
        .into_iter()
        .map(|entry| (entry.name.clone(), entry))
        .collect();
    Index {
        schema_version: INDEX_SCHEMA.to_owned(),
        files: files.into_values().collect(),
    }
}

/// An index as it is stored: the bytes that its own checksum is taken over.
#[must_use]
pub fn encode(index: &Index) -> String {
    // Plain strings and numbers: serialising cannot fail.
    let mut text = serde_json::to_string_pretty(index).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_by_name_with_the_published_checksum() {
        // FIPS 180-2, appendix B.1.
        let abc = entry("b.json", b"abc");
        assert_eq!(
            abc.sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let index = index([abc.clone(), entry("a.json", b"x"), abc]);
        assert_eq!(
            index
                .files
                .iter()
                .map(|file| file.name.as_str())
                .collect::<Vec<_>>(),
            ["a.json", "b.json"]
        );
        assert_eq!(
            serde_json::from_str::<Index>(&encode(&index)).unwrap(),
            index
        );
    }
}
