//! Which parts of a data directory are copied, and what a standby is told. (Pure.)

/// Folders whose content is the primary's own, or is made anew by every start: they are made and stay empty. WAL is streamed.
const EMPTY: [&str; 8] = [
    "pg_wal",
    "pg_replslot",
    "pg_dynshmem",
    "pg_notify",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
];

/// Files that say what is so of a running primary, or of an earlier backup.
const LEFT: [&str; 9] = [
    "postmaster.pid",
    "postmaster.opts",
    "postgresql.auto.conf.tmp",
    "current_logfiles.tmp",
    "backup_label",
    "backup_manifest",
    "tablespace_map",
    "standby.signal",
    "recovery.signal",
];

/// The control file. It is copied last, as `pg_basebackup` does.
pub(super) const CONTROL: &str = "global/pg_control";

/// What is made of an entry of the primary's data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A folder, with what is in it.
    Folder,
    /// A folder, of whose content the folders alone are made.
    Empty,
    /// A file.
    File,
    /// Nothing.
    Left,
}

/// What is made of the entry with this path below the data directory.
pub(super) fn entry(path: &str, is_folder: bool) -> Entry {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let top = path.split_once('/').map_or(path, |(top, _)| top);
    if name.starts_with("pgsql_tmp") {
        return Entry::Left;
    }
    if EMPTY.contains(&top) {
        // Folders of WAL are part of the layout; a slot is one of the primary's.
        return match (is_folder, path == top || top == "pg_wal") {
            (true, true) => Entry::Empty,
            _ => Entry::Left,
        };
    }
    if is_folder {
        return Entry::Folder;
    }
    // One that is being written has the number of its process behind its name.
    if LEFT.contains(&path) || name.starts_with("pg_internal.init") || path == CONTROL {
        return Entry::Left;
    }
    Entry::File
}

/// The replication slot of a standby: a slot's name has lower-case letters, digits and underscores alone.
pub(super) fn slot(name: &str) -> String {
    let plain = name.chars().map(|c| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() => c,
        _ => '_',
    });
    plain.take(63).collect()
}

/// The settings by which a standby follows its primary, as `pg_basebackup --write-recovery-conf` writes them, but for user and
/// password: libpq takes these from `PGUSER` and `PGPASSWORD`.
pub(super) fn follow(host: &str, port: u16, name: &str) -> String {
    let at = format!(
        "host={} port={port} application_name={}",
        quoted(host),
        quoted(name)
    );
    format!(
        "primary_conninfo = '{}'\nprimary_slot_name = '{}'\n",
        at.replace('\\', "\\\\").replace('\'', "''"),
        slot(name)
    )
}

/// A value of a connection string.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_primarys_own_is_left_and_the_folders_stay() {
        for (path, is_folder, made) in [
            ("PG_VERSION", false, Entry::File),
            ("base/5/1259", false, Entry::File),
            ("base/5", true, Entry::Folder),
            ("base/5/pg_internal.init", false, Entry::Left),
            ("base/5/pg_internal.init.77", false, Entry::Left),
            ("base/pgsql_tmp", true, Entry::Left),
            ("base/5/pgsql_tmp7.1", false, Entry::Left),
            ("global/pg_control", false, Entry::Left),
            ("global/pg_filenode.map", false, Entry::File),
            ("pg_wal", true, Entry::Empty),
            ("pg_wal/archive_status", true, Entry::Empty),
            ("pg_wal/000000010000000000000001", false, Entry::Left),
            ("pg_replslot", true, Entry::Empty),
            ("pg_replslot/a", true, Entry::Left),
            ("pg_stat", true, Entry::Folder),
            ("pg_stat_tmp/x", false, Entry::Left),
            ("pg_xact/0000", false, Entry::File),
            ("postmaster.pid", false, Entry::Left),
            ("base/5/postmaster.pid", false, Entry::File),
            ("postgresql.auto.conf", false, Entry::File),
        ] {
            assert_eq!(entry(path, is_folder), made, "{path}");
        }
    }

    #[test]
    fn a_standby_is_told_where_its_primary_is_and_not_who_it_is() {
        assert_eq!(
            follow("db-0.peers", 5432, "c-0123-standby-pg-0"),
            "primary_conninfo = 'host=''db-0.peers'' port=5432 application_name=''c-0123-standby-pg-0'''\n\
             primary_slot_name = 'c_0123_standby_pg_0'\n"
        );
        // What a connection string escapes, the file escapes once more.
        assert!(follow("a'b", 1, "n").contains(r"host=''a\\''b'' port=1"));
    }
}
