//! What trials state beside their latencies: figures of the backend's state, and counters.
//!
//! Raw data carries the names, objectives are written with them, rules read them and the report prints them. What there
//! is to know of one stands here, once: its unit, which way is better, how it adds up.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Percent.
    Percent,
    /// A number of anything else.
    Number,
    /// Bytes.
    Bytes,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
}

/// Which way a figure is better: objectives read the worst over cells and backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Better {
    /// A larger one: rates, density.
    #[serde(rename = "Higher")]
    More,
    /// A smaller one: latencies, dead rows.
    #[serde(rename = "Lower")]
    Less,
}

/// How the counts of parts, trials and cells become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// They are added.
    Sum,
    /// The largest stands for all.
    Most,
}

impl Fold {
    /// One count of two.
    #[must_use]
    pub fn fold(self, sum: i64, part: i64) -> i64 {
        match self {
            Self::Sum => sum.saturating_add(part),
            Self::Most => sum.max(part),
        }
    }
}

/// An enum whose members are keys of maps in JSON, in the order of their names there.
macro_rules! names {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:tt])+ $member:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(rename_all = "camelCase")]
        pub enum $name {
            $($(#[doc = $doc])+ $member,)+
        }

        impl $name {
            /// All of them, by name.
            pub const ALL: &[Self] = &[$(Self::$member),+];

            /// The name in raw data, objectives and the summary.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$member => $text,)+
                }
            }

            /// Reads a map by name. What only a newer version knows is left out: nothing here could say what it means.
            ///
            /// # Errors
            /// When it is no map of such values.
            pub fn known<'de, V, D>(map: D) -> Result<BTreeMap<Self, V>, D::Error>
            where
                V: Deserialize<'de>,
                D: Deserializer<'de>,
            {
                let named = BTreeMap::<String, V>::deserialize(map)?;
                let of = |name: &str| Self::ALL.iter().copied().find(|one| one.as_str() == name);
                Ok(named
                    .into_iter()
                    .filter_map(|(name, value)| Some((of(&name)?, value)))
                    .collect())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

names! {
    /// A figure of the backend's state over a window; never summed.
    Figure {
        /// The longest that the connection which reclaims was seen to wait for a lock.
        ActionLockWaitMilliseconds = "actionLockWaitMilliseconds",
        /// Dead rows that runs of autovacuum could not remove yet, by the server's log.
        AutovacuumDeadKept = "autovacuumDeadKept",
        /// Time of the runs of autovacuum that ended in the window, by the server's log.
        AutovacuumLoggedSeconds = "autovacuumLoggedSeconds",
        /// The longest of these runs.
        AutovacuumLongestSeconds = "autovacuumLongestSeconds",
        /// Time that autovacuum spent at the table, by the server's counters.
        AutovacuumSeconds = "autovacuumSeconds",
        /// Runs of autovacuum that ended in the window, by the server's counters.
        Autovacuums = "autovacuums",
        /// The same, by the server's log.
        AutovacuumsLogged = "autovacuumsLogged",
        /// Events of a replay that were due in the busiest second of the window.
        BurstPeakPerSecond = "burstPeakPerSecond",
        /// Bytes of table and indexes for each open run.
        BytesPerActiveRun = "bytesPerActiveRun",
        /// Bytes given back to the file system or free in the table.
        BytesReclaimed = "bytesReclaimed",
        /// Bytes given back to the file system.
        BytesReturned = "bytesReturned",
        /// Blocks that were found in the server's cache, of all that were read.
        CacheHitPercent = "cacheHitPercent",
        /// Checkpoints that ended in the window.
        Checkpoints = "checkpoints",
        /// How many times a trace is replayed at once.
        Copies = "copies",
        /// Fewest dead rows, of the active runs.
        DeadLowPercent = "deadLowPercent",
        /// Dead rows on average, of the active runs.
        DeadMeanPercent = "deadMeanPercent",
        /// Most dead rows, of the active runs.
        DeadPeakPercent = "deadPeakPercent",
        /// Percentage points of the active runs by which dead rows are shown to rise over the second half of the window.
        DeadRisePercent = "deadRisePercent",
        /// How long the bulk delete took.
        DeleteMilliseconds = "deleteMilliseconds",
        /// Statements of the bulk delete.
        DeleteStatements = "deleteStatements",
        /// 1 where an interrupted detach had to be finalised, else 0.
        DetachFinalized = "detachFinalized",
        /// How long detaching the partition took.
        DetachMilliseconds = "detachMilliseconds",
        /// How long detaching and dropping the partition took.
        DropMilliseconds = "dropMilliseconds",
        /// Operations of the window that failed from the fault on.
        FailedDuring = "failedDuring",
        /// How much later than it was due the fault was made.
        FaultDelayMilliseconds = "faultDelayMilliseconds",
        /// The largest p99 of any fifth of the window, of the operations that ended well.
        FifthP99Milliseconds = "fifthP99Milliseconds",
        /// Operations that ended well within the objective, of those planned, in the worst fifth of the window.
        FifthWithinPercent = "fifthWithinPercent",
        /// Falls of the frozen age.
        Freezes = "freezes",
        /// Most transactions since the oldest row that is not frozen.
        FrozenAgeMost = "frozenAgeMost",
        /// Runs that each turn of a replay leaves open for good, because the recording does.
        GrowthPerTurn = "growthPerTurn",
        /// Growth of table and indexes over the window.
        GrowthPercent = "growthPercent",
        /// Most transactions for which the removal of dead rows was held back by others than the generators.
        HorizonAgeMost = "horizonAgeMost",
        /// Updates that add no index entry, of all updates.
        HotPercent = "hotPercent",
        /// Bytes of the indexes at the end of the window.
        IndexBytes = "indexBytes",
        /// How full the leaf pages of the index are.
        IndexLeafDensityPercent = "indexLeafDensityPercent",
        /// Inserts that were due while the oldest range was reclaimed.
        InsertsDuring = "insertsDuring",
        /// Growth of table and indexes over the second half of the window.
        LateGrowthPercent = "lateGrowthPercent",
        /// Growth of the indexes over the second half of the window.
        LateIndexGrowthPercent = "lateIndexGrowthPercent",
        /// Growth of the table over the second half of the window.
        LateTableGrowthPercent = "lateTableGrowthPercent",
        /// Rows per second at which the table was loaded.
        LoadRowsPerSecond = "loadRowsPerSecond",
        /// Looks at the locks while the oldest range was reclaimed.
        LockLooks = "lockLooks",
        /// Most connections that were seen to wait for a lock at once.
        LockWaitsPeak = "lockWaitsPeak",
        /// The longest that others were seen to wait for a lock.
        LongestLockWaitMilliseconds = "longestLockWaitMilliseconds",
        /// Time of the bulk delete for each row, microseconds.
        MicrosecondsPerRowDeleted = "microsecondsPerRowDeleted",
        /// Time of moving open runs out of the oldest range for each of them, microseconds.
        MicrosecondsPerRowMoved = "microsecondsPerRowMoved",
        /// Updates that went to another page, of all updates.
        NewPagePercent = "newPagePercent",
        /// Operations planned per second in a hold.
        OfferedPerSecond = "offeredPerSecond",
        /// The age of the oldest transaction that was seen.
        OldestTransactionMillis = "oldestTransactionMillis",
        /// Runs of a replay that are open by its plan, the mean over the window.
        OpenRunsMean = "openRunsMean",
        /// The longest time from the fault on in which no operation ended well.
        OutageMilliseconds = "outageMilliseconds",
        /// Events of a replay that waited for the statement before them of their own run, of those that were due; of the first
        /// generator.
        OwnRunWaitPercent = "ownRunWaitPercent",
        /// Operations that the stretch of a trace has which a hold replays, of those that its rate, the mean of the trace, has in as
        /// much time.
        PlannedPercent = "plannedPercent",
        /// Acknowledged objects that were read again after it.
        ReadBackObjects = "readBackObjects",
        /// 1 where the space was back within the window, else 0.
        ReclaimComplete = "reclaimComplete",
        /// From the start of the retention until the space was back.
        ReclaimMilliseconds = "reclaimMilliseconds",
        /// 1 where all servers were back before the end of the wait for them, else 0.
        Recovered = "recovered",
        /// From the fault until all servers were ready again, as the operator saw it; where they were not, how long was waited.
        RecoveryMilliseconds = "recoveryMilliseconds",
        /// Rows that the bulk delete removed.
        RowsDeleted = "rowsDeleted",
        /// Open runs that were moved out of the oldest range.
        RowsMoved = "rowsMoved",
        /// Operations that ended well, of those planned.
        ServedPercent = "servedPercent",
        /// Bytes of the server's log that could not be read.
        ServerLogUnreadBytes = "serverLogUnreadBytes",
        /// Time of the recording, of that of its replay.
        SpeedPercent = "speedPercent",
        /// The strongest lock seen on the table in use: 1 ACCESS SHARE to 8 ACCESS EXCLUSIVE, 0 none.
        StrongestLock = "strongestLock",
        /// Hours since the table was loaded.
        TableAgeHours = "tableAgeHours",
        /// Bytes of the table beyond what its rows and the fillfactor take, of all its bytes.
        TableBloatPercent = "tableBloatPercent",
        /// Bytes of the table at the end of the window.
        TableBytes = "tableBytes",
        /// When the table was loaded, seconds since 1970: another value is another table.
        TableLoadedAtSeconds = "tableLoadedAtSeconds",
        /// How often the open runs were replaced.
        Turnovers = "turnovers",
        /// Time with autovacuum at the table, of the window.
        VacuumingPercent = "vacuumingPercent",
        /// Percentage points more of the time with autovacuum at the table after the retention than before.
        VacuumingRisePercent = "vacuumingRisePercent",
        /// Bytes of WAL per second.
        WalBytesPerSecond = "walBytesPerSecond",
        /// Bytes of WAL for each update.
        WalBytesPerUpdate = "walBytesPerUpdate",
    }
}

names! {
    /// A number of events in a window.
    Counter {
        /// Connections that were killed on purpose.
        ConnectionsKilled = "connectionsKilled",
        /// Steps that were won while another writer's attempt at the same step was under way.
        ContendedSteps = "contendedSteps",
        /// Keys that were listed.
        Keys = "keys",
        /// Locks that were deleted on purpose.
        LocksDeleted = "locksDeleted",
        /// Locks that had run out and been taken by another, or been deleted, when their holder had written and was about
        /// to let them go.
        LocksExpired = "locksExpired",
        /// The longest for which an acknowledged write stayed unseen, microseconds.
        LongestStaleMicros = "longestStaleMicros",
        /// Attempts that were told to have lost.
        LostRaces = "lostRaces",
        /// Acknowledged keys that no LIST showed while they were there.
        NeverListed = "neverListed",
        /// Pages that were continued by a token from before a write.
        OldTokenPages = "oldTokenPages",
        /// Events of a replay that were not sent, because an earlier one of their run failed or its outcome is not known.
        Orphaned = "orphaned",
        /// Events of a replay that waited for the statement before them of their own run.
        OwnRunWaits = "ownRunWaits",
        /// Pages of LIST.
        Pages = "pages",
        /// Runs that a replay put in as they were when its recording began.
        PutIn = "putIn",
        /// Objects that were put.
        Puts = "puts",
        /// Snapshots that were put, in however many objects.
        Snapshots = "snapshots",
        /// Keys that a LIST showed late or too long.
        StaleKeys = "staleKeys",
        /// Steps that were won.
        Steps = "steps",
        /// Requests that the store throttled while data were prepared, before the window; each was made again.
        ThrottledPreparing = "throttledPreparing",
        /// Attempts whose outcome nobody was told.
        UnknownOutcomes = "unknownOutcomes",
        /// Writers that were paused on purpose.
        WritersPaused = "writersPaused",
    }
}

impl Figure {
    /// Its unit.
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Self::CacheHitPercent
            | Self::DeadLowPercent
            | Self::DeadMeanPercent
            | Self::DeadPeakPercent
            | Self::DeadRisePercent
            | Self::FifthWithinPercent
            | Self::GrowthPercent
            | Self::HotPercent
            | Self::IndexLeafDensityPercent
            | Self::LateGrowthPercent
            | Self::LateIndexGrowthPercent
            | Self::LateTableGrowthPercent
            | Self::NewPagePercent
            | Self::OwnRunWaitPercent
            | Self::PlannedPercent
            | Self::SpeedPercent
            | Self::ServedPercent
            | Self::TableBloatPercent
            | Self::VacuumingPercent
            | Self::VacuumingRisePercent => Unit::Percent,
            Self::BytesPerActiveRun
            | Self::BytesReclaimed
            | Self::BytesReturned
            | Self::IndexBytes
            | Self::ServerLogUnreadBytes
            | Self::TableBytes
            | Self::WalBytesPerSecond
            | Self::WalBytesPerUpdate => Unit::Bytes,
            Self::ActionLockWaitMilliseconds
            | Self::DeleteMilliseconds
            | Self::DetachMilliseconds
            | Self::DropMilliseconds
            | Self::FaultDelayMilliseconds
            | Self::FifthP99Milliseconds
            | Self::LongestLockWaitMilliseconds
            | Self::OldestTransactionMillis
            | Self::OutageMilliseconds
            | Self::ReclaimMilliseconds
            | Self::RecoveryMilliseconds => Unit::Milliseconds,
            Self::AutovacuumLoggedSeconds
            | Self::AutovacuumLongestSeconds
            | Self::AutovacuumSeconds => Unit::Seconds,
            Self::AutovacuumDeadKept
            | Self::Autovacuums
            | Self::AutovacuumsLogged
            | Self::BurstPeakPerSecond
            | Self::Checkpoints
            | Self::Copies
            | Self::DeleteStatements
            | Self::DetachFinalized
            | Self::FailedDuring
            | Self::Freezes
            | Self::FrozenAgeMost
            | Self::GrowthPerTurn
            | Self::HorizonAgeMost
            | Self::InsertsDuring
            | Self::LoadRowsPerSecond
            | Self::LockLooks
            | Self::LockWaitsPeak
            | Self::MicrosecondsPerRowDeleted
            | Self::MicrosecondsPerRowMoved
            | Self::OpenRunsMean
            | Self::OfferedPerSecond
            | Self::ReadBackObjects
            | Self::ReclaimComplete
            | Self::Recovered
            | Self::RowsDeleted
            | Self::RowsMoved
            | Self::StrongestLock
            | Self::TableAgeHours
            | Self::TableLoadedAtSeconds
            | Self::Turnovers => Unit::Number,
        }
    }

    /// Which way it is better.
    #[must_use]
    pub fn better(self) -> Better {
        match self {
            Self::Autovacuums
            | Self::AutovacuumsLogged
            | Self::BytesReclaimed
            | Self::BytesReturned
            | Self::CacheHitPercent
            | Self::FifthWithinPercent
            | Self::HotPercent
            | Self::IndexLeafDensityPercent
            | Self::InsertsDuring
            | Self::LoadRowsPerSecond
            | Self::LockLooks
            | Self::OfferedPerSecond
            | Self::ReadBackObjects
            | Self::ReclaimComplete
            | Self::Recovered
            | Self::ServedPercent
            | Self::Turnovers => Better::More,
            Self::ActionLockWaitMilliseconds
            | Self::AutovacuumDeadKept
            | Self::AutovacuumLoggedSeconds
            | Self::AutovacuumLongestSeconds
            | Self::AutovacuumSeconds
            | Self::BurstPeakPerSecond
            | Self::BytesPerActiveRun
            | Self::Checkpoints
            | Self::Copies
            | Self::DeadLowPercent
            | Self::DeadMeanPercent
            | Self::DeadPeakPercent
            | Self::DeadRisePercent
            | Self::DeleteMilliseconds
            | Self::DeleteStatements
            | Self::DetachFinalized
            | Self::DetachMilliseconds
            | Self::DropMilliseconds
            | Self::FailedDuring
            | Self::FaultDelayMilliseconds
            | Self::FifthP99Milliseconds
            | Self::Freezes
            | Self::FrozenAgeMost
            | Self::GrowthPerTurn
            | Self::GrowthPercent
            | Self::HorizonAgeMost
            | Self::IndexBytes
            | Self::LateGrowthPercent
            | Self::LateIndexGrowthPercent
            | Self::LateTableGrowthPercent
            | Self::LockWaitsPeak
            | Self::LongestLockWaitMilliseconds
            | Self::MicrosecondsPerRowDeleted
            | Self::MicrosecondsPerRowMoved
            | Self::NewPagePercent
            | Self::OldestTransactionMillis
            | Self::OpenRunsMean
            | Self::OutageMilliseconds
            | Self::OwnRunWaitPercent
            | Self::PlannedPercent
            | Self::ReclaimMilliseconds
            | Self::RecoveryMilliseconds
            | Self::RowsDeleted
            | Self::RowsMoved
            | Self::ServerLogUnreadBytes
            | Self::SpeedPercent
            | Self::StrongestLock
            | Self::TableAgeHours
            | Self::TableBloatPercent
            | Self::TableBytes
            | Self::TableLoadedAtSeconds
            | Self::VacuumingPercent
            | Self::VacuumingRisePercent
            | Self::WalBytesPerSecond
            | Self::WalBytesPerUpdate => Better::Less,
        }
    }
}

impl Counter {
    /// How its counts become one.
    #[must_use]
    pub fn fold(self) -> Fold {
        match self {
            Self::LongestStaleMicros => Fold::Most,
            _ => Fold::Sum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_those_in_json_and_in_their_order() {
        let figures = Figure::ALL.iter().map(|one| (json!(one), one.as_str()));
        let counters = Counter::ALL.iter().map(|one| (json!(one), one.as_str()));
        for (in_json, name) in figures.chain(counters) {
            assert_eq!(in_json, name);
        }
        assert!(Figure::ALL.is_sorted_by_key(|one| one.as_str()));
        assert!(Counter::ALL.is_sorted_by_key(|one| one.as_str()));
    }

    #[test]
    fn maps_are_written_by_name_and_what_is_unknown_is_left_out() {
        let all: BTreeMap<Figure, usize> = Figure::ALL.iter().copied().zip(0..).collect();
        let mut map = json!(all);
        assert_eq!(map["hotPercent"], all[&Figure::HotPercent]);
        map["ofTomorrow"] = json!(1);
        map["hotpercent"] = json!(2);
        assert_eq!(Figure::known(&map).unwrap(), all);
    }

    /// A unit that a name states is the unit of the figure.
    #[test]
    fn units_are_those_that_the_names_state() {
        for figure in Figure::ALL {
            let name = figure.as_str();
            let stated = [
                ("Percent", Unit::Percent),
                ("Bytes", Unit::Bytes),
                ("Milliseconds", Unit::Milliseconds),
                ("Millis", Unit::Milliseconds),
            ];
            for (ending, unit) in stated {
                assert!(!name.ends_with(ending) || figure.unit() == unit, "{name}");
            }
        }
    }

    #[test]
    fn counts_add_and_maxima_do_not() {
        assert_eq!(Counter::Pages.fold().fold(3, 4), 7);
        assert_eq!(Counter::LongestStaleMicros.fold().fold(3, 4), 4);
        assert_eq!(Counter::Pages.fold().fold(i64::MAX, 4), i64::MAX);
    }
}
