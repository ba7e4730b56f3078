//! Copies the results of a run, and says how they differ from what their index lists.

use std::collections::BTreeMap;
use std::path::Path;

use bakeoff_analysis::index::{self, Index};
use bakeoff_crds::identity::Uid;
use bakeoff_crds::run::Manifest;

use super::args::StoreArgs;
use super::{Ended, Failed, UNVERIFIED, commands};
use crate::store::layout::{self, INDEX};
use crate::store::{Store, StoreError};

/// What was copied, and what is not as the index has it. Only what the index lists, as it lists it, is copied.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fetched {
    copied: usize,
    /// Names that lead out of the folder: nothing was copied from there.
    outside: Vec<String>,
    /// Absent where the store has none: then everything is copied and nothing verified.
    verified: Option<Differences>,
}

/// How a store differs from its index, by the names of files.
#[derive(Debug, Default, PartialEq, Eq)]
struct Differences {
    /// Listed, and not in the store.
    missing: Vec<String>,
    /// In the store with other bytes than those that are listed.
    differing: Vec<String>,
    /// In the store and not listed.
    foreign: Vec<String>,
}

impl Differences {
    fn lines(&self) -> impl Iterator<Item = String> {
        [
            (&self.missing, "is listed and missing"),
            (&self.differing, "is not what the index lists"),
            (&self.foreign, "is not listed"),
        ]
        .into_iter()
        .flat_map(|(names, what)| names.iter().map(move |name| format!("{name} {what}")))
    }
}

impl Fetched {
    fn is_whole(&self) -> bool {
        self.outside.is_empty() && self.verified.as_ref() == Some(&Differences::default())
    }

    /// Copies a file, unless its name leads out of the folder.
    async fn keep(&mut self, to: &Store, name: String, bytes: Vec<u8>) -> Result<(), Failed> {
        match to.put(&name, bytes).await {
            Ok(()) => self.copied += 1,
            Err(StoreError::Outside(name)) => self.outside.push(name),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn told(&self, folder: &Path) -> String {
        let mut copied = format!("{} files copied to {}", self.copied, folder.display());
        for name in &self.outside {
            copied = format!("{name:?} leads out of the folder and was not copied\n{copied}");
        }
        let Some(differences) = &self.verified else {
            return format!(
                "{copied}, nothing verified: there is no {INDEX}, so the run is not complete"
            );
        };
        let mut lines: Vec<String> = differences.lines().collect();
        lines.push(match lines.len() {
            0 => format!("{copied}, verified against {INDEX}"),
            wrong => {
                format!("{copied}; {wrong} files are not as {INDEX} has them and were not copied")
            }
        });
        lines.join("\n")
    }
}

/// Which run the results in a store are of, as far as its manifest can be read.
async fn run_of(store: &Store) -> Result<Option<Uid>, StoreError> {
    let bytes = store.get(layout::MANIFEST).await?;
    let manifest = bytes.and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
    Ok(manifest.map(|manifest| manifest.plan.experiment.uid))
}

fn of_another_run(what: &str) -> Failed {
    let message = format!(
        "the folder holds {what}, and results of two runs would be taken for one: name another folder, or empty this one"
    );
    Failed::new("ResultsExist", message, false)
}

/// Refuses a folder that holds another run, or raw data which the index does not list.
async fn refuse_another_run(
    from: &Store,
    to: &Store,
    listed: Option<&BTreeMap<&str, &str>>,
) -> Result<(), Failed> {
    if let (Some(theirs), Some(there)) = (run_of(from).await?, run_of(to).await?) {
        return match theirs == there {
            true => Ok(()),
            false => Err(of_another_run(&format!("the run {there}"))),
        };
    }
    let Some(listed) = listed else { return Ok(()) };
    for folder in layout::RAW {
        let names = to.list(folder).await?;
        if let Some(name) = names
            .iter()
            .find(|name| !listed.contains_key(name.as_str()))
        {
            return Err(of_another_run(&format!(
                "{name}, which the index of this run does not list"
            )));
        }
    }
    Ok(())
}

async fn copy(from: &Store, to: &Store) -> Result<Fetched, Failed> {
    let mut fetched = Fetched::default();
    let Some(bytes) = from.get(INDEX).await? else {
        refuse_another_run(from, to, None).await?;
        for name in from.list("").await? {
            if let Some(bytes) = from.get(&name).await? {
                fetched.keep(to, name, bytes).await?;
            }
        }
        return Ok(fetched);
    };
    let unreadable = |error| Failed::new("FileUnreadable", format!("{INDEX}: {error}"), false);
    let index: Index = serde_json::from_slice(&bytes).map_err(unreadable)?;
    let mut listed: BTreeMap<&str, &str> = BTreeMap::new();
    listed.extend(
        index
            .files
            .iter()
            .map(|one| (one.name.as_str(), one.sha256.as_str())),
    );
    refuse_another_run(from, to, Some(&listed)).await?;
    // A folder that has one was copied to its end: what an earlier copy left says nothing of this one.
    to.forget(INDEX).await?;
    let mut differences = Differences::default();
    for name in from.list("").await? {
        if name == INDEX {
            continue;
        }
        let Some(&expected) = listed.get(name.as_str()) else {
            differences.foreign.push(name);
            continue;
        };
        // One that went meanwhile stays among those that are missed.
        let Some(bytes) = from.get(&name).await? else {
            continue;
        };
        listed.remove(name.as_str());
        if expected == index::sha256(&bytes) {
            fetched.keep(to, name, bytes).await?;
        } else {
            differences.differing.push(name);
        }
    }
    differences.missing = listed.into_keys().map(str::to_owned).collect();
    // Last, as it was written: a folder that has one was copied to its end.
    to.put(INDEX, bytes).await?;
    fetched.copied += 1;
    fetched.verified = Some(differences);
    Ok(fetched)
}

pub async fn fetch(results: &str, folder: &Path, args: &StoreArgs) -> Ended {
    let from = commands::open(results, args)?;
    let fetched = copy(&from, &Store::Folder(folder.to_owned())).await?;
    super::print(&fetched.told(folder));
    Ok((None, if fetched.is_whole() { 0 } else { UNVERIFIED }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::local;

    /// Copies a folder of these files, of which those with a text are listed with it.
    fn copied(there: &[(&str, &str)], listed: &[(&str, &str)]) -> (Fetched, Vec<String>) {
        let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let from = Store::Folder(source.path().to_owned());
        let to = Store::Folder(target.path().to_owned());
        local(async {
            for (name, text) in there {
                from.put(name, text.as_bytes().to_vec()).await.unwrap();
            }
            let entries = listed
                .iter()
                .map(|(name, text)| index::entry(name, text.as_bytes()));
            let index = index::encode(&index::index(entries));
            from.put(INDEX, index.into_bytes()).await.unwrap();
            let fetched = copy(&from, &to).await.ok().unwrap();
            (fetched, to.list("").await.unwrap())
        })
    }

    #[test]
    fn a_run_that_is_as_its_index_lists_it_is_whole() {
        let files = [("manifest.json", "m"), ("trials/a/1/trial.json", "t")];
        let (fetched, names) = copied(&files, &files);
        assert!(fetched.is_whole());
        assert_eq!((fetched.copied, names.len()), (3, 3));
        let said = fetched.told(Path::new("out"));
        assert_eq!(said, "3 files copied to out, verified against index.json");
    }

    #[test]
    fn what_is_missing_foreign_or_differs_is_named() {
        let there = [
            ("manifest.json", "m"),
            ("trials/a/1/trial.json", "changed"),
            ("trials/a/2/trial.json", "added"),
        ];
        let listed = [
            ("manifest.json", "m"),
            ("report.html", "lost"),
            ("trials/a/1/trial.json", "t"),
        ];
        let (fetched, names) = copied(&there, &listed);
        assert!(!fetched.is_whole());
        // A folder holds nothing that the index in it does not vouch for.
        assert_eq!(names, ["index.json", "manifest.json"]);
        assert_eq!(
            fetched.told(Path::new("out")),
            "report.html is listed and missing\n\
             trials/a/1/trial.json is not what the index lists\n\
             trials/a/2/trial.json is not listed\n\
             2 files copied to out; 3 files are not as index.json has them and were not copied"
        );
    }

    /// Copies a run whose index lists these into a folder that holds others.
    fn into_a_folder_with(before: &[&str], listed: &[&str]) -> Result<Fetched, Failed> {
        let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let from = Store::Folder(source.path().to_owned());
        let to = Store::Folder(target.path().to_owned());
        local(async {
            for name in before {
                to.put(name, b"old".to_vec()).await.unwrap();
            }
            for name in listed {
                from.put(name, b"new".to_vec()).await.unwrap();
            }
            let entries = listed.iter().map(|name| index::entry(name, b"new"));
            let index = index::encode(&index::index(entries));
            from.put(INDEX, index.into_bytes()).await.unwrap();
            copy(&from, &to).await
        })
    }

    #[test]
    fn raw_data_of_two_runs_are_never_in_one_folder() {
        let one = "trials/a/1/trial.json";
        for left in [
            "trials/a/2/trial.json",
            "capacity/b.json",
            "conformance/c.json",
        ] {
            let refused = into_a_folder_with(&[one, left], &[one]).err().unwrap();
            assert!(
                refused.failure.message.contains(left),
                "{}",
                refused.failure.message
            );
        }
        // The same again, with the report and notes of somebody beside it.
        let again = into_a_folder_with(&[one, "report.html", "notes.txt"], &[one, "report.html"]);
        assert!(again.ok().unwrap().is_whole());
    }

    #[test]
    fn without_an_index_nothing_is_verified() {
        let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let from = Store::Folder(source.path().to_owned());
        let to = Store::Folder(target.path().to_owned());
        let fetched = local(async {
            from.put("manifest.json", b"m".to_vec()).await.unwrap();
            copy(&from, &to).await.ok().unwrap()
        });
        assert_eq!((fetched.copied, fetched.is_whole()), (1, false));
    }

    #[test]
    fn a_name_that_leads_out_of_the_folder_is_refused() {
        let target = tempfile::tempdir().unwrap();
        let folder = target.path().join("results");
        let to = Store::Folder(folder.clone());
        let mut fetched = Fetched::default();
        let absolute = target.path().join("absolute").display().to_string();
        let names = [
            "../climbs",
            "trials/../../climbs",
            absolute.as_str(),
            "",
            ".",
            "trials/a",
        ];
        local(async {
            for name in names {
                let kept = fetched.keep(&to, name.to_owned(), b"x".to_vec()).await;
                assert!(kept.is_ok());
            }
        });
        assert_eq!((fetched.copied, fetched.outside.len()), (1, 5));
        assert!(!fetched.is_whole() && fetched.told(&folder).contains("climbs"));
        let mut there = std::fs::read_dir(target.path()).unwrap();
        assert_eq!(there.next().unwrap().unwrap().path(), folder);
        assert!(there.next().is_none(), "nothing beside it");
    }
}
