use super::*;
use bakeoff_analysis::kinds;
use bakeoff_crds::spec::WorkloadKind;
use proptest::prelude::*;

/// Entries as the three versions write them, among others.
const SIXTEEN: &str = "\
1795288380.250 [5] LOG:  checkpoint starting: time
1795288381.004 [31] LOG:  automatic vacuum of table \"postgres.bakeoff.runs\": index scans: 1
\tpages: 2 removed, 310 remain, 205 scanned (66.13% of total)
\ttuples: 1520 removed, 5000 remain, 17 are dead but not yet removable
\tremovable cutoff: 1234, which was 5 XIDs old when operation ended
\tnew relfrozenxid: 744, which is 1 XIDs ahead of previous value
\tfrozen: 0 pages from table (0.00% of total) had 0 tuples frozen
\tindex scan needed: 100 pages from table (32.26% of total) had 900 dead item identifiers removed
\tindex \"runs_pkey\": pages: 276 in total, 0 newly deleted, 0 currently deleted, 0 reusable
\tI/O timings: read: 0.000 ms, write: 0.300 ms
\tavg read rate: 0.000 MB/s, avg write rate: 12.300 MB/s
\tbuffer usage: 1234 hits, 0 misses, 12 dirtied
\tWAL usage: 700 records, 3 full page images, 123456 bytes
\tsystem usage: CPU: user: 0.01 s, system: 0.00 s, elapsed: 1.42 s
1795288381.010 [31] LOG:  automatic analyze of table \"postgres.bakeoff.runs\"
\tsystem usage: CPU: user: 0.01 s, system: 0.00 s, elapsed: 9.99 s
1795288382.000 [32] LOG:  automatic vacuum of table \"postgres.pg_catalog.pg_statistic\": index scans: 1
\ttuples: 15 removed, 50 remain, 1 are dead but not yet removable
\tsystem usage: CPU: user: 0.01 s, system: 0.00 s, elapsed: 0.02 s
";
const EIGHTEEN: &str = "\
1795288390.100 [40] LOG:  automatic aggressive vacuum to prevent wraparound of table \"postgres.bakeoff.runs_p3\": index scans: 0
\tpages: 0 removed, 310 remain, 205 scanned (66.13% of total), 4 eagerly scanned
\ttuples: 8 removed, 5000 remain, 0 are dead but not yet removable
\tvisibility map: 3 pages set all-visible, 3 pages set all-frozen (0 were all-visible)
\tdelay time: 3.100 ms
\tWAL usage: 7 records, 3 full page images, 999 bytes, 0 buffers full
\tsystem usage: CPU: user: 0.00 s, system: 0.00 s, elapsed: 0.07 s
";

#[test]
fn entries_of_each_version_are_read_and_others_are_not() {
    let runs = vacuums(format!("{SIXTEEN}{EIGHTEEN}").as_bytes());
    let first = Vacuum {
        at: 1_795_288_381_004,
        elapsed_millis: 1_420,
        index_scans: 1,
        tuples_removed: 1_520,
        tuples_remain: 5_000,
        dead_not_removable: 17,
        pages_removed: Some(2),
        wal_bytes: Some(123_456),
        aggressive: false,
        wraparound: false,
    };
    let second = Vacuum {
        at: 1_795_288_390_100,
        elapsed_millis: 70,
        index_scans: 0,
        tuples_removed: 8,
        dead_not_removable: 0,
        pages_removed: Some(0),
        wal_bytes: Some(999),
        aggressive: true,
        wraparound: true,
        ..first.clone()
    };
    assert_eq!(runs, [first, second]);
}

#[test]
fn only_what_is_whole_counts() {
    // Wherever the stretch begins and ends, the run is there as it was or not at all.
    let whole = vacuums(EIGHTEEN.as_bytes());
    for cut in 1..EIGHTEEN.len() {
        assert_eq!(vacuums(&EIGHTEEN.as_bytes()[cut..]), [], "from {cut}");
        assert_eq!(vacuums(&EIGHTEEN.as_bytes()[..cut]), [], "to {cut}");
        let both = [&EIGHTEEN.as_bytes()[cut..], EIGHTEEN.as_bytes()].concat();
        assert_eq!(vacuums(&both), whole);
    }
}

#[test]
fn another_prefix_is_no_entry() {
    let other = EIGHTEEN.replace("1795288390.100 [40] ", "2026-11-21 19:12:42.665 GMT [5] ");
    assert_eq!(vacuums(other.as_bytes()), []);
}

#[test]
fn figures_are_of_all_runs_and_silence_is_believed_only_where_the_views_agree() {
    let sample = |autovacuums| Sample {
        autovacuums,
        ..Sample::default()
    };
    let logged = Logged {
        runs: vacuums(format!("{SIXTEEN}{EIGHTEEN}").as_bytes()),
        unread: 0,
    };
    let figures = logged.figures(&[sample(3), sample(5)]);
    assert_eq!(figures[&Figure::AutovacuumsLogged], 2.0);
    assert!((figures[&Figure::AutovacuumLoggedSeconds] - 1.49).abs() < 1e-9);
    assert_eq!(figures[&Figure::AutovacuumLongestSeconds], 1.42);
    assert_eq!(figures[&Figure::AutovacuumDeadKept], 17.0);
    assert!(!figures.contains_key(&Figure::ServerLogUnreadBytes));
    let silent = Logged {
        unread: 7,
        ..Logged::default()
    };
    assert!(silent.figures(&[sample(3), sample(5)]).is_empty());
    let quiet = silent.figures(&[sample(3), sample(3)]);
    assert_eq!(quiet[&Figure::AutovacuumsLogged], 0.0);
    assert_eq!(quiet[&Figure::ServerLogUnreadBytes], 7.0);
    // Each is declared: objectives may name it.
    for kind in [WorkloadKind::HeadRow, WorkloadKind::Soak] {
        let known = kinds::of(kind).figures;
        assert!(quiet.keys().all(|figure| known.contains(figure)));
    }
}

fn entry(run: &Vacuum, process: u32, eighteen: bool) -> String {
    let kind = match (run.aggressive, run.wraparound) {
        (false, false) => "vacuum",
        (true, false) => "aggressive vacuum",
        (false, true) => "vacuum to prevent wraparound",
        (true, true) => "aggressive vacuum to prevent wraparound",
    };
    let mut lines = format!(
        "{}.{:03} [{process}] LOG:  automatic {kind} of table \"db.bakeoff.runs\": index scans: {}\n",
        run.at / 1_000,
        run.at % 1_000,
        run.index_scans
    );
    if let Some(pages) = run.pages_removed {
        let more = if eighteen { ", 0 eagerly scanned" } else { "" };
        lines += &format!("\tpages: {pages} removed, 9 remain, 9 scanned (9.00% of total){more}\n");
    }
    lines += &format!(
        "\ttuples: {} removed, {} remain, {} are dead but not yet removable\n",
        run.tuples_removed, run.tuples_remain, run.dead_not_removable
    );
    if let Some(bytes) = run.wal_bytes {
        let more = if eighteen { ", 3 buffers full" } else { "" };
        lines += &format!("\tWAL usage: 1 records, 2 full page images, {bytes} bytes{more}\n");
    }
    let (seconds, hundredths) = (run.elapsed_millis / 1_000, run.elapsed_millis % 1_000 / 10);
    lines
        + &format!(
            "\tsystem usage: CPU: user: 0.00 s, system: 1.00 s, elapsed: {seconds}.{hundredths:02} s\n"
        )
}

fn run() -> impl Strategy<Value = Vacuum> {
    let count = || 0..i64::MAX;
    let maybe = || proptest::option::of(0..i64::MAX);
    let times = (1_000_000_000_000..i64::MAX, 0..i64::MAX / 10);
    (
        times,
        (count(), count(), count(), count()),
        (maybe(), maybe()),
        any::<(bool, bool)>(),
    )
        .prop_map(
            |((at, hundredths), counts, (pages_removed, wal_bytes), (aggressive, wraparound))| {
                Vacuum {
                    at,
                    elapsed_millis: hundredths * 10,
                    index_scans: counts.0,
                    tuples_removed: counts.1,
                    tuples_remain: counts.2,
                    dead_not_removable: counts.3,
                    pages_removed,
                    wal_bytes,
                    aggressive,
                    wraparound,
                }
            },
        )
}

/// Lines that may stand between entries, and nearly are one.
fn noise() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,60}\n",
        Just("1795288380.250 [5] LOG:  checkpoint complete\n".to_owned()),
        Just(
            "1.0 [5] LOG:  automatic vacuum of table \"a.bakeoff.runs\": index scans: x\n"
                .to_owned()
        ),
    ]
}

proptest! {
    #[test]
    fn what_was_written_is_read_back(
        runs in prop::collection::vec((run(), any::<u32>(), any::<bool>(), noise()), 0..8)
    ) {
        let log: String = runs
            .iter()
            .map(|(run, process, eighteen, noise)| entry(run, *process, *eighteen) + noise)
            .collect();
        let expected: Vec<Vacuum> = runs.into_iter().map(|(run, ..)| run).collect();
        prop_assert_eq!(vacuums(log.as_bytes()), expected);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = vacuums(&bytes);
    }

    /// Garbage that looks like a log: pieces of entries in any order.
    #[test]
    fn any_pieces_are_survived(
        pieces in prop::collection::vec((any::<prop::sample::Index>(), 1..40_usize), 0..40)
    ) {
        let log = format!("{SIXTEEN}{EIGHTEEN}");
        let mut bytes = Vec::new();
        for (at, length) in pieces {
            let at = at.index(log.len());
            bytes.extend_from_slice(&log.as_bytes()[at..(at + length).min(log.len())]);
        }
        let _ = vacuums(&bytes);
    }
}
