//! What was found, as a table for people. (Pure.)

use bakeoff_crds::conformance::{Answer, Check, ConformanceRecord};

/// A line for each check that some store does not keep, with what was seen on each, and how many all keep.
#[must_use]
pub fn table(records: &[ConformanceRecord]) -> String {
    let mut text = String::new();
    let mut kept = 0;
    for &check in Check::ALL {
        let of = |record: &ConformanceRecord| {
            let found = record.checks.iter().find(|one| one.check == check);
            found.map_or_else(
                || (Answer::Unknown, Answer::Unknown.words().to_owned()),
                |one| (one.answer, one.text()),
            )
        };
        let found: Vec<(Answer, String)> = records.iter().map(of).collect();
        if found.iter().all(|(answer, _)| *answer == Answer::Kept) {
            kept += 1;
            continue;
        }
        text.push_str(&format!("{}: {}\n", check.name(), check.sentence()));
        for (record, (_, said)) in records.iter().zip(found) {
            text.push_str(&format!("  {}: {said}\n", record.backend));
        }
    }
    text.push_str(&format!(
        "{kept} of {} checks are kept by {}",
        Check::ALL.len(),
        match records {
            [one] => one.backend.clone(),
            _ => "all".to_owned(),
        }
    ));
    for record in records.iter().filter(|record| !record.left.is_empty()) {
        text.push_str(&format!("\n{}: {}", record.backend, record.left));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakeoff_crds::conformance::{CONFORMANCE_SCHEMA, CheckAnswer};

    #[test]
    fn what_all_keep_is_counted_and_the_rest_is_said_of_each() {
        let record = |backend: &str, broken: Option<Check>| ConformanceRecord {
            schema_version: CONFORMANCE_SCHEMA.to_owned(),
            backend: backend.to_owned(),
            started_at: jiff::Timestamp::UNIX_EPOCH,
            millis: 1,
            requests: 1,
            checks: Check::ALL
                .iter()
                .map(|&check| CheckAnswer {
                    check,
                    answer: if Some(check) == broken {
                        Answer::Differs
                    } else {
                        Answer::Kept
                    },
                    seen: if Some(check) == broken {
                        "b before a".to_owned()
                    } else {
                        String::new()
                    },
                })
                .collect(),
            left: String::new(),
        };
        let text = table(&[record("one", None), record("two", Some(Check::OrderOfKeys))]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with("order of keys: Keys come in the order"),
            "{text}"
        );
        assert_eq!(&lines[1..3], ["  one: kept", "  two: differs: b before a"]);
        assert_eq!(lines[3], "44 of 45 checks are kept by all");
        assert_eq!(
            table(&[record("one", None)]),
            "45 of 45 checks are kept by one"
        );
        // A check of which nothing is said is not kept.
        let mut silent = record("one", None);
        silent.checks.clear();
        assert!(table(&[silent]).ends_with("0 of 45 checks are kept by one"));
    }
}
