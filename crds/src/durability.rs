//! What an acknowledgement promises: as grades that decisions compare, and in words that stand beside the figures. (Pure.)
//!
//! A grade speaks of one event: the power of every machine of the backend goes at once and comes back. It is what
//! `bench/run cut` finds, and no more than that: a disk that lies, or loses itself, is not in it.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// What a power cut leaves of what was acknowledged, from the strongest to the weakest.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum DurabilityClass {
    /// All of it: whatever is needed to read it again was flushed before the acknowledgement.
    Flushed,
    /// All but what each connection was told last, milliseconds before the cut.
    FlushedButLastOperation,
    /// What the operating system had written by itself: seconds are missing, or the whole store.
    PageCache,
    /// Nothing: it is lost with the process.
    Memory,
}

impl DurabilityClass {
    /// The name as it stands in a spec.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Flushed => "Flushed",
            Self::FlushedButLastOperation => "FlushedButLastOperation",
            Self::PageCache => "PageCache",
            Self::Memory => "Memory",
        }
    }

    /// What a power cut leaves, in half a sentence.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Flushed => "a power cut loses nothing that was acknowledged",
            Self::FlushedButLastOperation => {
                "a power cut can lose what was acknowledged in the last milliseconds"
            }
            Self::PageCache => {
                "a power cut can lose all that was acknowledged in the last seconds, or more"
            }
            Self::Memory => "all is lost with the process",
        }
    }

    /// Whether it promises less than another.
    #[must_use]
    pub fn is_weaker_than(self, other: Self) -> bool {
        self > other
    }
}

/// What has to be on stable storage for a write to be read again.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Part {
    /// The bytes that were written.
    Data,
    /// Where in a larger file they are.
    Index,
    /// Name, size, checksums.
    Metadata,
    /// The entry of a new file in its directory.
    DirectoryEntry,
}

impl Part {
    /// The name in a sentence.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Index => "index",
            Self::Metadata => "metadata",
            Self::DirectoryEntry => "directory entry",
        }
    }
}

/// What an acknowledgement of one backend promises.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Durability {
    /// The grade; absent where nobody states one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<DurabilityClass>,
    /// What is flushed before the acknowledgement. What is neither here nor in `notFlushed` does not exist there, is rebuilt,
    /// or is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flushed: Vec<Part>,
    /// What is not flushed before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_flushed: Vec<Part>,
    /// How many copies are written before it; 0 where that is not known.
    #[serde(default)]
    pub copies: i32,
    /// What "acknowledged" means there, in words; empty where nobody says it.
    #[serde(default)]
    pub text: String,
    /// The power cuts that showed the grade; empty where it is stated and was not tried.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub shown_by: String,
}

/// What nobody described.
const NOT_STATED: &str = "not stated";

impl Durability {
    /// Of a backend that nobody described.
    #[must_use]
    pub fn not_stated() -> Self {
        Self {
            text: NOT_STATED.to_owned(),
            ..Self::default()
        }
    }

    /// Of an endpoint of somebody else, as its owner states it.
    #[must_use]
    pub fn as_its_owner_states(class: Option<DurabilityClass>) -> Self {
        let text = class.map_or_else(
            || "as the operator of this endpoint states it".to_owned(),
            |class| {
                format!(
                    "{}, as the experiment states it and nobody tried: {}",
                    class.as_str(),
                    class.meaning()
                )
            },
        );
        Self {
            class,
            text,
            ..Self::default()
        }
    }

    /// Whether anybody has said it.
    #[must_use]
    pub fn is_stated(&self) -> bool {
        self.class.is_some() || !(self.text.is_empty() || self.text == NOT_STATED)
    }

    /// Of a Postgres server, from its settings: `setting` answers the value of one, or `None` where it has its default. Copies are
    /// those that are flushed before a commit is acknowledged.
    /// Source: PostgreSQL manual, "Write Ahead Log" and "Replication" in "Server Configuration".
    #[must_use]
    pub fn of_postgres<'a>(setting: impl Fn(&str) -> Option<&'a str>) -> Self {
        let off = |name: &str| setting(name).is_some_and(is_off);
        let all = vec![
            Part::Data,
            Part::Index,
            Part::Metadata,
            Part::DirectoryEntry,
        ];
        let standbys = synchronous_standbys(setting("synchronous_standby_names").unwrap_or(""));
        let commits = setting("synchronous_commit").unwrap_or("on");
        let (place, of_one) = match standbys {
            0 => ("one node".to_owned(), ""),
            1 => (
                "primary and a synchronous standby".to_owned(),
                ", of one server",
            ),
            many => (
                format!("primary and {many} synchronous standbys"),
                ", of one server",
            ),
        };
        let lost = |text: &str, shown_by: &str| Self {
            class: Some(DurabilityClass::PageCache),
            flushed: Vec::new(),
            not_flushed: all.clone(),
            copies: 1,
            text: format!("{place}: {text}"),
            shown_by: shown_by.to_owned(),
        };
        if off("fsync") {
            return lost(
                "fsync is off, so nothing is flushed; a crash of the machine can destroy the whole database",
                &format!("bench/run cut: postgres, fsync=off{of_one}"),
            );
        }
        if off("full_page_writes") {
            return Self {
                flushed: all.clone(),
                not_flushed: Vec::new(),
                ..lost(
                    "a commit's WAL is flushed before the acknowledgement, but full_page_writes is off, so a page that a power cut tears cannot be repaired and what is in it is lost",
                    "",
                )
            };
        }
        if is_off(commits) {
            return lost(
                "synchronous_commit is off, so a commit is acknowledged before its WAL is flushed; a crash loses the last commits",
                &format!("bench/run cut: postgres, synchronous_commit=off{of_one}"),
            );
        }
        let (on_standbys, copies) = on_standbys(commits, standbys);
        Self {
            class: Some(DurabilityClass::Flushed),
            flushed: all,
            not_flushed: Vec::new(),
            copies: 1 + copies,
            text: format!(
                "{place}: a commit's WAL is flushed (fsync, synchronous_commit) {}before the acknowledgement{on_standbys}",
                if copies > 0 { "on each " } else { "" }
            ),
            shown_by: format!("bench/run cut: postgres{of_one}"),
        }
    }

    /// What is flushed and what is not, as a table shows it; empty where it is not known.
    #[must_use]
    pub fn parts(&self) -> String {
        let named = |parts: &[Part]| {
            let names: Vec<&str> = parts.iter().map(|part| part.as_str()).collect();
            names.join(", ")
        };
        match (self.flushed.is_empty(), self.not_flushed.is_empty()) {
            (true, true) => String::new(),
            (false, true) => named(&self.flushed),
            (true, false) => format!("nothing (not {})", named(&self.not_flushed)),
            (false, false) => {
                format!(
                    "{} (not {})",
                    named(&self.flushed),
                    named(&self.not_flushed)
                )
            }
        }
    }
}

/// Whether Postgres reads a value as false: any beginning of a word that is no beginning of another.
fn is_off(value: &str) -> bool {
    let value = value.trim().to_lowercase();
    let begins = |word: &str, least: usize| value.len() >= least && word.starts_with(&value);
    value == "0" || begins("off", 2) || begins("false", 1) || begins("no", 1)
}

/// What a commit that waits for this much waits for on so many standbys, in words, and on how many of them it is flushed.
fn on_standbys(commits: &str, standbys: i32) -> (&'static str, i32) {
    match (standbys, commits.trim().to_lowercase().as_str()) {
        (0, _) => ("", 0),
        (_, "local") => (
            ", on the primary alone: synchronous_commit is local, so no commit waits for a standby",
            0,
        ),
        (_, "remote_write") => (
            ", on the primary alone: synchronous_commit is remote_write, so it is in the page cache of each standby by then",
            0,
        ),
        (standbys, "remote_apply") => (", and applied on each standby (remote_apply)", standbys),
        (standbys, _) => ("", standbys),
    }
}

/// For how many standbys a commit waits, by `synchronous_standby_names`: `FIRST n (…)`, `ANY n (…)`, `n (…)`, or a list of names,
/// which is one of them.
fn synchronous_standbys(names: &str) -> i32 {
    let names = names.trim();
    let Some((before, _)) = names.split_once('(') else {
        return i32::from(!names.is_empty());
    };
    let number = before.split_whitespace().next_back();
    number.and_then(|number| number.parse().ok()).unwrap_or(1)
}

/// Reads what a plan says: earlier versions wrote words alone.
///
/// # Errors
/// When it is neither.
pub fn recorded<'de, D: Deserializer<'de>>(from: D) -> Result<Durability, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Recorded {
        Words(String),
        Whole(Durability),
    }
    Ok(match Recorded::deserialize(from)? {
        Recorded::Words(text) => Durability {
            text,
            ..Durability::default()
        },
        Recorded::Whole(durability) => durability,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use DurabilityClass::{Flushed, FlushedButLastOperation, Memory, PageCache};
    use serde_json::json;

    #[test]
    fn each_setting_that_weakens_it_is_named() {
        let with = |name: &'static str, value: &'static str| {
            Durability::of_postgres(move |asked| (asked == name).then_some(value))
        };
        let usual = Durability::of_postgres(|_| None);
        assert_eq!((usual.class, usual.not_flushed.len()), (Some(Flushed), 0));
        for value in ["off", "OFF", "of", "false", "f", "no", "n", "0"] {
            let lost = with("fsync", value);
            assert_eq!(lost.class, Some(PageCache), "{value}");
            assert!(lost.text.contains("nothing is flushed") && lost.flushed.is_empty());
        }
        let late = with("synchronous_commit", "OFF");
        assert!(late.text.contains("loses the last commits") && late.class == Some(PageCache));
        for value in ["on", "local", "remote_write", "remote_apply", "true", "1"] {
            assert_eq!(with("synchronous_commit", value), usual, "{value}");
        }
        let torn = with("full_page_writes", "0");
        assert!(torn.text.contains("tears") && torn.class == Some(PageCache));
    }

    #[test]
    fn standbys_are_copies_as_far_as_a_commit_waits_until_they_flushed() {
        let with = |names: &'static str, commits: &'static str| {
            Durability::of_postgres(move |asked| match asked {
                "synchronous_standby_names" => Some(names),
                "synchronous_commit" => Some(commits),
                _ => None,
            })
        };
        let two = r#"FIRST 2 ("a", "b")"#;
        for (names, commits, copies, said) in [
            ("", "on", 1, "one node: a commit's WAL is flushed"),
            (
                "a",
                "on",
                2,
                "primary and a synchronous standby: a commit's WAL is flushed (fsync, synchronous_commit) on each before",
            ),
            (two, "on", 3, "2 synchronous standbys"),
            ("ANY 2 (a, b, c)", "true", 3, "2 synchronous standbys"),
            ("1 (a, b)", "on", 2, "a synchronous standby"),
            (two, "remote_apply", 3, "applied on each standby"),
            (two, "Remote_Write", 1, "page cache of each standby"),
            (two, "local", 1, "no commit waits for a standby"),
        ] {
            let found = with(names, commits);
            assert!(
                found.text.contains(said),
                "{names}, {commits}: {}",
                found.text
            );
            assert_eq!(found.copies, copies, "{names}, {commits}");
            // Whatever the standbys have, the primary comes back with all of it.
            assert_eq!(found.class, Some(Flushed));
        }
        let late = with(two, "off");
        assert_eq!((late.class, late.copies), (Some(PageCache), 1));
        assert!(late.shown_by.ends_with(", of one server"));
    }

    #[test]
    fn grades_are_ordered_and_called_as_in_a_spec() {
        let all = [Flushed, FlushedButLastOperation, PageCache, Memory];
        for (at, class) in all.into_iter().enumerate() {
            assert_eq!(serde_json::to_value(class).unwrap(), json!(class.as_str()));
            for (other_at, other) in all.into_iter().enumerate() {
                assert_eq!(class.is_weaker_than(other), at > other_at);
            }
        }
    }

    #[test]
    fn plans_of_earlier_versions_have_words_alone() {
        #[derive(Deserialize)]
        struct Plan {
            #[serde(deserialize_with = "recorded")]
            durability: Durability,
        }
        let read = |value| serde_json::from_value::<Plan>(json!({"durability": value}));
        let old = read(json!("one node")).unwrap().durability;
        assert_eq!((old.text.as_str(), old.class), ("one node", None));
        let whole = Durability::of_postgres(|_| None);
        let again = read(serde_json::to_value(&whole).unwrap()).unwrap();
        assert_eq!(again.durability, whole);
        assert!(read(json!(3)).is_err());
    }

    #[test]
    fn what_is_flushed_is_said_in_a_few_words() {
        let parts = |flushed: &[Part], not: &[Part]| {
            let durability = Durability {
                flushed: flushed.to_vec(),
                not_flushed: not.to_vec(),
                ..Durability::default()
            };
            durability.parts()
        };
        assert_eq!(parts(&[], &[]), "");
        assert_eq!(parts(&[Part::Data], &[]), "data");
        assert_eq!(
            parts(&[], &[Part::Data, Part::Index]),
            "nothing (not data, index)"
        );
        assert_eq!(
            parts(&[Part::Data, Part::Metadata], &[Part::DirectoryEntry]),
            "data, metadata (not directory entry)"
        );
    }
}
