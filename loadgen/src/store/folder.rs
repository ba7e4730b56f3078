//! A local folder as results store.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Component, Path, PathBuf};

use super::StoreError;

/// How the name of a file ends that is still being written. One that a crash left is listed by nobody and written over
/// by the next attempt at it.
const PARTIAL: &str = "partial";

/// Where a file is written until it is whole.
pub(super) fn partial(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".");
    beside.push(PARTIAL);
    PathBuf::from(beside)
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    |source| StoreError::File { path, source }
}

pub(super) fn ensure(folder: &Path) -> Result<(), StoreError> {
    create_folders(folder).map_err(failed(folder))
}

/// The file of this name. A store may list any name, and what is taken from it must stay where it belongs.
fn inside(folder: &Path, name: &str) -> Result<PathBuf, StoreError> {
    let mut parts = Path::new(name).components().peekable();
    let stays = parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)));
    if stays {
        Ok(folder.join(name))
    } else {
        Err(StoreError::Outside(name.to_owned()))
    }
}

pub(super) fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let path = inside(folder, name)?;
    write(&path, bytes).map_err(failed(&path))
}

pub(super) fn put_file(folder: &Path, name: &str, from: &Path) -> Result<(), StoreError> {
    let path = inside(folder, name)?;
    let mut bytes = File::open(from).map_err(failed(from))?;
    let copy = |file: &mut File| std::io::copy(&mut bytes, file).map(drop);
    write_by(&path, copy).map_err(failed(&path))
}

pub(super) fn get(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let path = inside(folder, name)?;
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(source) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::File { path, source }),
    }
}

pub(super) fn fetch(folder: &Path, name: &str, to: &Path, most: u64) -> Result<bool, StoreError> {
    let path = inside(folder, name)?;
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.len() > most => {
            let name = name.to_owned();
            return Err(StoreError::TooLarge { name, most });
        }
        Ok(_) => {}
        Err(source) if source.kind() == ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(StoreError::File { path, source }),
    }
    let above = to.parent().unwrap_or(Path::new("."));
    create_folders(above).map_err(failed(above))?;
    std::fs::copy(&path, to).map_err(failed(to))?;
    Ok(true)
}

pub(super) fn forget(folder: &Path, name: &str) -> Result<(), StoreError> {
    let path = folder.join(name);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(&path)(error)),
        _ => Ok(()),
    }
}

pub(super) fn list(folder: &Path, below: &str) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    let mut open: Vec<PathBuf> = vec![folder.join(below)];
    while let Some(current) = open.pop() {
        let entries = match std::fs::read_dir(&current) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(source) => {
                return Err(StoreError::File {
                    path: current,
                    source,
                });
            }
        };
        for entry in entries {
            // What cannot be read to its end must not look as if the rest were not there.
            let entry = entry.map_err(failed(&current))?;
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == PARTIAL) {
                continue;
            } else if let Ok(name) = path.strip_prefix(folder) {
                names.push(name.to_string_lossy().into_owned());
            }
        }
    }
    Ok(names)
}

/// Writes a file beside its place, and puts it there once the disk has it.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    write_by(path, |file| file.write_all(bytes))
}

fn write_by(
    path: &Path,
    fill: impl FnOnce(&mut File) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    create_folders(folder)?;
    let beside = partial(path);
    let mut file = File::create(&beside)?;
    fill(&mut file)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    // The name is on the disk only once the folder is.
    File::open(folder)?.sync_all()
}

/// Makes a folder and those above it, each of them on the disk.
fn create_folders(folder: &Path) -> std::io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let above = match folder.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    create_folders(above)?;
    match std::fs::create_dir(folder) {
        // Another generator was faster.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    File::open(above)?.sync_all()
}

#[cfg(test)]
mod tests {
    use crate::store::Store;

    #[test]
    fn a_folder_keeps_files() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::Folder(folder.path().join("run"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            store.ensure().await.unwrap();
            store
                .put("trials/a/1/trial.json", b"{}".to_vec())
                .await
                .unwrap();
            store.put("manifest.json", b"x".to_vec()).await.unwrap();
            assert_eq!(
                store.get("manifest.json").await.unwrap(),
                Some(b"x".to_vec())
            );
            assert_eq!(store.get("none").await.unwrap(), None);
            assert_eq!(
                store.list("").await.unwrap(),
                ["manifest.json", "trials/a/1/trial.json"]
            );
            assert_eq!(
                store.list("trials/").await.unwrap(),
                ["trials/a/1/trial.json"]
            );
        });
    }

    /// What a crash in the midst of a write leaves is no file of the run, whatever is written beside it.
    #[test]
    fn a_write_that_was_cut_off_is_not_listed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::Folder(folder.path().to_owned());
        std::fs::create_dir_all(folder.path().join("trials/a/1")).unwrap();
        std::fs::write(folder.path().join("trials/a/1/trial.json.partial"), "{").unwrap();
        crate::testing::local(async {
            for name in ["trials/a/1/trial.json", "trials/a/1/trial.hlog"] {
                assert_eq!(store.get(name).await.unwrap(), None);
                store.put(name, name.as_bytes().to_vec()).await.unwrap();
            }
            std::fs::write(folder.path().join("trials/a/1/part.json.partial"), "{").unwrap();
            assert_eq!(
                store.list("").await.unwrap(),
                ["trials/a/1/trial.hlog", "trials/a/1/trial.json"]
            );
        });
        // Two files whose names differ in their ends alone are written beside each other.
        let written = std::fs::read_to_string(folder.path().join("trials/a/1/trial.json"));
        assert_eq!(written.unwrap(), "trials/a/1/trial.json");
    }
}
