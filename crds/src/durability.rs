//! What "acknowledged" means on a server, in words that stand beside its figures. (Pure.)

/// The durability class of one Postgres server, from its settings: `setting` answers the value of one, or
/// `None` where it has its default. Source: PostgreSQL manual, "Write Ahead Log" in "Server Configuration".
#[must_use]
pub fn postgres<'a>(setting: impl Fn(&str) -> Option<&'a str>) -> String {
    let off = |name: &str| {
        setting(name).is_some_and(|value| {
            matches!(value.to_lowercase().as_str(), "off" | "false" | "no" | "0")
        })
    };
    let durability = if off("fsync") {
        "one node: fsync is off, so nothing is flushed; a crash of the machine can destroy the whole database"
    } else if off("synchronous_commit") {
        "one node: synchronous_commit is off, so a commit is acknowledged before its WAL is flushed; a crash loses the last commits"
    } else {
        "one node: a commit's WAL is flushed (fsync, synchronous_commit) before the acknowledgement"
    };
    let mut durability = durability.to_owned();
    if off("full_page_writes") {
        durability.push_str("; full_page_writes is off, so a torn page cannot be repaired");
    }
    durability
}

#[cfg(test)]
mod tests {
    use super::postgres;

    #[test]
    fn each_setting_that_weakens_it_is_named() {
        let with = |name: &'static str, value: &'static str| {
            postgres(move |asked| (asked == name).then_some(value))
        };
        assert!(postgres(|_| None).contains("is flushed"));
        assert!(with("fsync", "off").contains("nothing is flushed"));
        assert!(with("synchronous_commit", "OFF").contains("loses the last commits"));
        assert!(with("synchronous_commit", "remote_apply").contains("is flushed"));
        assert!(with("full_page_writes", "0").contains("torn page"));
    }
}
