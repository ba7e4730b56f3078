//! A base backup through one SQL session, into a folder.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tokio_postgres::Statement;
use tokio_postgres::types::{ToSql, Type};

use super::parts::{self, CONTROL, Entry};
use super::{Standby, StandbyError, at};
use crate::drivers::postgres::Patient;

/// Bytes of a file that are asked for at once. The server holds them twice, and so do we.
const PIECE: i64 = 4 << 20;
/// Looks at a file until two of them are the same. The server writes that one now and then.
const LOOKS: usize = 100;

/// How much was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
}

struct Backup<'a> {
    standby: &'a Standby,
    client: Patient<'a>,
    list: Statement,
    read: Statement,
    /// The folder that it goes to, which exists.
    into: &'a Path,
    copied: Copied,
}

/// Copies the primary's data into a folder that does not exist.
pub(super) async fn take(
    standby: &Standby,
    client: Patient<'_>,
    into: &Path,
) -> Result<Copied, StandbyError> {
    let prepared = async |sql: &str, types: &[Type]| {
        let statement = client.prepare_typed(sql, types).await;
        statement.map_err(standby.refused("preparing"))
    };
    // A relation may be dropped meanwhile: what is not there any more is null, and its end is in the WAL.
    let list = prepared(
        "SELECT name, entry.isdir FROM pg_ls_dir($1, true, false) AS name, \
         LATERAL pg_stat_file($1 || '/' || name, true) AS entry",
        &[Type::TEXT],
    );
    let read = prepared(
        "SELECT pg_read_binary_file($1, $2, $3, true)",
        &[Type::TEXT, Type::INT8, Type::INT8],
    );
    let mut backup = Backup {
        standby,
        client,
        list: list.await?,
        read: read.await?,
        into,
        copied: Copied::default(),
    };
    // At once, and not spread over the time of a checkpoint.
    standby
        .run(client, "SELECT pg_backup_start('bakeoff standby', true)")
        .await?;
    backup.tree().await?;
    backup.control().await?;
    backup.stop().await?;
    Ok(backup.copied)
}

impl Backup<'_> {
    async fn tree(&mut self) -> Result<(), StandbyError> {
        folder(self.into)?;
        let mut folders = vec![String::new()];
        while let Some(within) = folders.pop() {
            for (name, is_folder) in self.listed(&within).await? {
                let path = if within.is_empty() {
                    name
                } else {
                    format!("{within}/{name}")
                };
                match parts::entry(&path, is_folder) {
                    Entry::Folder | Entry::Empty => {
                        folder(&self.into.join(&path))?;
                        folders.push(path);
                    }
                    Entry::File => self.file(&path).await?,
                    Entry::Left => {}
                }
            }
        }
        Ok(())
    }

    /// The entries of a folder that is still there, and which of them are folders.
    async fn listed(&self, within: &str) -> Result<Vec<(String, bool)>, StandbyError> {
        let asked = if within.is_empty() { "." } else { within };
        let values: [&(dyn ToSql + Sync); 1] = [&asked];
        let rows = self.client.client().query(&self.list, &values);
        let rows = self.client.wait(rows).await;
        let rows = rows.map_err(self.standby.refused(asked))?;
        let there = rows
            .iter()
            .filter_map(|row| Some((row.get(0), row.get::<_, Option<bool>>(1)?)));
        Ok(there.collect())
    }

    /// What is at this place of a file; none where there is no such file any more.
    async fn piece(&self, path: &str, from: i64) -> Result<Option<Vec<u8>>, StandbyError> {
        let values: [&(dyn ToSql + Sync); 3] = [&path, &from, &PIECE];
        let row = self.client.client().query_one(&self.read, &values);
        let row = self.client.wait(row).await;
        let row = row.map_err(self.standby.refused(path))?;
        Ok(row.get(0))
    }

    /// Copies a file as it is while it is read. It may change, grow or go meanwhile: replay mends that, as it begins before.
    async fn file(&mut self, path: &str) -> Result<(), StandbyError> {
        let Some(mut piece) = self.piece(path, 0).await? else {
            return Ok(());
        };
        let to = self.into.join(path);
        let mut file = created(&to)?;
        let mut from = 0;
        loop {
            file.write_all(&piece).map_err(at(&to))?;
            let length = i64::try_from(piece.len()).unwrap_or(PIECE);
            from += length;
            if length < PIECE {
                break;
            }
            match self.piece(path, from).await? {
                Some(next) => piece = next,
                None => break,
            }
        }
        file.sync_all().map_err(at(&to))?;
        self.copied.files += 1;
        self.copied.bytes += u64::try_from(from).unwrap_or(0);
        Ok(())
    }

    /// The control file is written as a whole and not read as one: of a look that fell into the middle the checksum would be wrong.
    async fn control(&mut self) -> Result<(), StandbyError> {
        let mut before = self.piece(CONTROL, 0).await?;
        for _ in 0..LOOKS {
            let now = self.piece(CONTROL, 0).await?;
            if now == before {
                break;
            }
            before = now;
        }
        written(&self.into.join(CONTROL), &before.unwrap_or_default())
    }

    async fn stop(&self) -> Result<(), StandbyError> {
        let doing = "ending the backup";
        // WAL is streamed: nobody archives it.
        let row = self.client.query_one(
            "SELECT labelfile, spcmapfile FROM pg_backup_stop(wait_for_archive => false)",
            &[],
        );
        let row = row.await.map_err(self.standby.refused(doing))?;
        let (label, tablespaces): (String, Option<String>) = (row.get(0), row.get(1));
        if tablespaces.is_some_and(|map| !map.trim().is_empty()) {
            return Err(StandbyError::Tablespaces);
        }
        written(&self.into.join("backup_label"), label.as_bytes())
    }
}

/// Makes a server of a copy that is whole a standby that follows, and puts it in its place once all of it is on the disk.
pub(super) fn finish(beside: &Path, into: &Path, follow: &str) -> Result<(), StandbyError> {
    let settings = beside.join("postgresql.auto.conf");
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&settings)
        .map_err(at(&settings))?;
    file.write_all(follow.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(at(&settings))?;
    written(&beside.join("standby.signal"), b"")?;
    let mut folders = vec![beside.to_owned()];
    while let Some(folder) = folders.pop() {
        folders.extend(folders_in(&folder).map_err(at(&folder))?);
        synced(&folder)?;
    }
    std::fs::rename(beside, into).map_err(at(into))?;
    match into.parent() {
        Some(parent) => synced(parent),
        None => Ok(()),
    }
}

fn folders_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Nobody else may look into them: the server refuses to start otherwise.
fn folder(path: &Path) -> Result<(), StandbyError> {
    let made = DirBuilder::new().mode(0o700).create(path);
    made.map_err(at(path))
}

fn created(path: &Path) -> Result<File, StandbyError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path).map_err(at(path))
}

fn written(path: &Path, content: &[u8]) -> Result<(), StandbyError> {
    let mut file = created(path)?;
    let done = file.write_all(content).and_then(|()| file.sync_all());
    done.map_err(at(path))
}

fn synced(folder: &Path) -> Result<(), StandbyError> {
    let opened = File::open(folder).and_then(|folder| folder.sync_all());
    opened.map_err(at(folder))
}
