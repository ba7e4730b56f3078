//! Each planted fault is named, and nothing else.

use super::*;
use bakeoff_analysis::vocabulary;

fn put(key: &str, value: u64, invoke: u64, complete: u64, outcome: Outcome) -> Event {
    let span = Span { invoke, complete };
    Event::Write {
        id: value,
        key: key.into(),
        value: Some(value),
        span,
        outcome,
        detail: String::new(),
    }
}

fn delete(key: &str, invoke: u64, complete: u64, outcome: Outcome) -> Event {
    let span = Span { invoke, complete };
    Event::Write {
        id: 0,
        key: key.into(),
        value: None,
        span,
        outcome,
        detail: String::new(),
    }
}

fn get(key: &str, value: Option<u64>, invoke: u64) -> Event {
    Event::Read {
        id: 0,
        key: key.into(),
        value,
        span: Span {
            invoke,
            complete: invoke + 5,
        },
    }
}

fn page(scan: u64, after: &str, token: bool, keys: &[&str], truncated: bool, invoke: u64) -> Event {
    Event::Page {
        scan,
        prefix: "p/".into(),
        after: after.into(),
        by_token: token,
        keys: keys.iter().map(|&key| key.into()).collect(),
        truncated,
        span: Span {
            invoke,
            complete: invoke + 5,
        },
    }
}

fn violations(history: &[Event]) -> Vec<(&'static str, i64)> {
    let report = check(history);
    CHECKS
        .into_iter()
        .zip(&report.checks)
        .filter(|(_, check)| check.violations > 0)
        .map(|(name, check)| (name, check.violations))
        .collect()
}

fn uncertain(history: &[Event]) -> i64 {
    check(history)
        .checks
        .iter()
        .map(|check| check.uncertain)
        .sum()
}

use Outcome::{Fail, Info, Ok};

#[test]
fn a_sound_history_passes() {
    let history = [
        put("p/a", 1, 10, 20, Ok),
        get("p/a", Some(1), 30),
        put("p/b", 2, 40, 50, Ok),
        page(1, "", false, &["p/a", "p/b"], false, 60),
        put("p/a", 3, 70, 80, Ok),
        // Concurrent with the overwrite: both answers are right.
        get("p/a", Some(1), 72),
        get("p/a", Some(3), 72),
        delete("p/b", 90, 100, Ok),
        get("p/b", None, 110),
        page(2, "", false, &["p/a"], true, 120),
        page(2, "p/a", true, &[], false, 130),
    ];
    assert_eq!(violations(&history), []);
    let report = check(&history);
    assert_eq!(
        (report.never_listed, report.stale_keys, report.longest_stale),
        (0, 0, 0)
    );
}

#[test]
fn each_planted_read_fault_is_named() {
    let base = [put("p/a", 1, 10, 20, Ok)];
    let with = |more: &[Event]| [&base[..], more].concat();
    assert_eq!(
        violations(&with(&[get("p/a", None, 30)])),
        [(vocabulary::READ_AFTER_WRITE_MISSES, 1)]
    );
    assert_eq!(
        violations(&with(&[get("p/a", Some(9), 30)])),
        [(vocabulary::TORN_OBJECTS, 1)]
    );
    let overwritten = with(&[put("p/a", 2, 30, 40, Ok), get("p/a", Some(1), 50)]);
    assert_eq!(violations(&overwritten), [(vocabulary::STALE_READS, 1)]);
    let deleted = with(&[delete("p/a", 30, 40, Ok), get("p/a", Some(1), 50)]);
    assert_eq!(violations(&deleted), [(vocabulary::RESURRECTED_DELETES, 1)]);
}

#[test]
fn each_planted_list_fault_is_named() {
    let base = [
        put("p/a", 1, 10, 20, Ok),
        put("p/b", 2, 30, 40, Ok),
        put("p/c", 3, 50, 60, Ok),
    ];
    let with = |more: &[Event]| [&base[..], more].concat();
    assert_eq!(
        violations(&with(&[page(
            1,
            "",
            false,
            &["p/a", "p/b", "p/c"],
            false,
            70
        )])),
        []
    );
    let dropped = with(&[page(1, "", false, &["p/a", "p/c"], false, 70)]);
    assert_eq!(
        violations(&dropped),
        [
            (vocabulary::LIST_MISSES, 1),
            (vocabulary::TAIL_GAPS, 1),
            (vocabulary::LOST_WRITES, 1)
        ]
    );
    let twice = with(&[
        page(1, "", false, &["p/a", "p/b"], true, 70),
        page(1, "p/b", true, &["p/b", "p/c"], false, 80),
    ]);
    assert_eq!(
        violations(&twice),
        [
            (vocabulary::ORDER_VIOLATIONS, 1),
            (vocabulary::PAGE_DUPLICATES, 1)
        ]
    );
    let order = with(&[page(1, "", false, &["p/b", "p/a", "p/c"], false, 70)]);
    assert_eq!(violations(&order), [(vocabulary::ORDER_VIOLATIONS, 1)]);
    let foreign = with(&[page(1, "", false, &["p/a", "p/b", "p/c", "p/x"], false, 70)]);
    assert_eq!(violations(&foreign), [(vocabulary::RESURRECTED_DELETES, 1)]);
    let back = with(&[
        delete("p/b", 70, 80, Ok),
        page(1, "", false, &["p/a", "p/b", "p/c"], false, 90),
    ]);
    assert_eq!(violations(&back), [(vocabulary::RESURRECTED_DELETES, 1)]);
    // Skipped between two pages.
    let skipped = with(&[
        page(1, "", false, &["p/a"], true, 70),
        page(1, "p/a", false, &["p/c"], false, 80),
    ]);
    assert_eq!(
        violations(&skipped),
        [
            (vocabulary::LIST_MISSES, 1),
            (vocabulary::TAIL_GAPS, 1),
            (vocabulary::LOST_WRITES, 1)
        ]
    );
}

#[test]
fn a_key_on_the_wrong_page_is_out_of_order_and_not_missing() {
    // The order of a tree and not of bytes: what lies below a key comes right after it.
    let history = [
        put("p/a", 1, 10, 20, Ok),
        put("p/a-b", 2, 30, 40, Ok),
        put("p/a/b", 3, 50, 60, Ok),
        page(1, "", false, &["p/a", "p/a/b"], true, 70),
        page(1, "p/a/b", true, &["p/a-b"], false, 80),
    ];
    assert_eq!(violations(&history), [(vocabulary::ORDER_VIOLATIONS, 1)]);
}

#[test]
fn a_gap_is_seen_even_among_writes_that_are_still_under_way() {
    // The listing overlaps both writes, so neither must show; but b without a is a gap.
    let history = [
        put("p/a", 1, 10, 20, Ok),
        put("p/b", 2, 22, 30, Ok),
        page(1, "", false, &["p/b"], false, 15),
    ];
    // The page lasts until 20: stretch it over both.
    let mut history = history.to_vec();
    if let Event::Page { span, .. } = &mut history[2] {
        span.complete = 40;
    }
    assert_eq!(violations(&history), [(vocabulary::TAIL_GAPS, 1)]);
}

#[test]
fn a_page_by_token_may_be_as_old_as_its_scan_and_is_counted_apart() {
    let history = [
        put("p/a", 1, 10, 20, Ok),
        page(1, "", false, &["p/a"], true, 30),
        put("p/b", 2, 40, 50, Ok),
        page(1, "p/a", true, &[], false, 60),
    ];
    assert_eq!(violations(&history), []);
    assert_eq!(check(&history).old_token_pages, 1);
}

#[test]
fn unknown_outcomes_stay_uncertain_for_ever() {
    let put_lost = [
        put("p/a", 1, 10, 20, Info),
        get("p/a", Some(1), 1_000),
        get("p/a", None, 2_000),
    ];
    assert_eq!(violations(&put_lost), []);
    let old_write_lands_late = [
        put("p/a", 1, 10, 20, Info),
        put("p/a", 2, 30, 40, Ok),
        get("p/a", Some(1), 1_000),
        delete("p/a", 2_000, 2_010, Info),
        page(1, "", false, &[], false, 3_000),
    ];
    assert_eq!(violations(&old_write_lands_late), []);
    // The read, the listing, and with it whether the key is lost.
    assert_eq!(uncertain(&old_write_lands_late), 3);
    let failed = [
        put("p/a", 1, 10, 20, Ok),
        put("p/a", 2, 30, 40, Fail),
        get("p/a", Some(2), 50),
    ];
    assert_eq!(violations(&failed), [(vocabulary::STALE_READS, 1)]);
}

#[test]
fn a_key_that_appears_late_is_stale_and_not_lost() {
    let history = [
        put("p/a", 1, 10, 20, Ok),
        page(1, "", false, &[], false, 1_020),
        page(2, "", false, &["p/a"], false, 2_000),
    ];
    let report = check(&history);
    assert_eq!(violations(&history), [(vocabulary::LIST_MISSES, 1)]);
    assert_eq!((report.stale_keys, report.longest_stale), (1, 1_000));
}

#[test]
fn what_no_listing_at_rest_answered_for_may_be_lost() {
    let lost = |history: &[Event]| {
        let mut checks = check(history).checks;
        checks.retain(|check| check.name == vocabulary::LOST_WRITES);
        checks
            .pop()
            .map(|one| (one.checked, one.violations, one.uncertain))
    };
    let shown_while_writing = [
        put("p/a", 1, 10, 20, Ok),
        page(1, "", false, &["p/a"], false, 30),
        put("p/b", 2, 40, 50, Ok),
        delete("p/b", 60, 70, Ok),
    ];
    assert_eq!(lost(&shown_while_writing), Some((1, 0, 1)));
    assert_eq!(check(&shown_while_writing).never_listed, 0);
    let and_at_rest = |keys: &[&str]| {
        [
            &shown_while_writing[..],
            &[page(2, "", false, keys, false, 80)],
        ]
        .concat()
    };
    assert_eq!(lost(&and_at_rest(&["p/a"])), Some((1, 0, 0)));
    assert_eq!(lost(&and_at_rest(&[])), Some((1, 1, 0)));
    // A page by a token may be as old as its scan.
    let by_old_token = [
        put("p/a", 1, 10, 20, Ok),
        page(1, "", false, &[], true, 30),
        delete("p/b", 40, 50, Ok),
        page(1, "", true, &["p/a"], false, 60),
    ];
    assert_eq!(lost(&by_old_token), Some((1, 0, 1)));
}

#[test]
fn what_an_unknown_delete_explains_is_not_lost() {
    let history = [
        put("p/a", 1, 10, 20, Ok),
        page(1, "", false, &[], false, 30),
        delete("p/a", 40, 50, Info),
        page(2, "", false, &[], false, 60),
    ];
    assert_eq!(violations(&history), [(vocabulary::LIST_MISSES, 1)]);
}

#[test]
fn a_scan_that_was_cut_off_after_an_empty_page_is_in_order() {
    let empty = || page(1, "p/a", true, &[], true, 80);
    let scan = |pages: usize| {
        let mut history = vec![
            put("p/a", 1, 10, 20, Ok),
            put("p/b", 2, 30, 40, Ok),
            page(1, "", false, &["p/a"], true, 50),
        ];
        history.extend(std::iter::repeat_with(empty).take(pages));
        history
    };
    assert_eq!(violations(&scan(1)), []);
    assert_eq!(violations(&scan(100)), []);
    assert_eq!(violations(&scan(101)), [(vocabulary::ORDER_VIOLATIONS, 1)]);
}
