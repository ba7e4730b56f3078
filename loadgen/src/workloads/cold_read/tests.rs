use std::sync::Arc;

use super::*;
use crate::testing::{NO_SUCH_KEY, answering, local};

fn dataset(objects: usize) -> Dataset {
    Dataset {
        base: "d/".into(),
        runs: 1,
        objects,
        size: 1,
    }
}

#[test]
fn readers_whose_keys_do_not_fit_are_refused_in_words() {
    let prefix = "bakeoff/0123456789abcdef0123456789abcdef/b1-list-million-20261128/";
    let million = Dataset::new(format!("{prefix}d/list/1000000/"), 1_000_000, 1_024);
    let limit = |mib: i64| Some(mib << 20);
    // The example that compares listings, with the million that it speaks of.
    assert!(fits(1, &million, limit(1_024)).is_ok());
    assert!(fits(8, &million, None).is_ok());
    assert!(fits(256, &dataset(5_000), limit(512)).is_ok());
    let refused = fits(8, &million, limit(512)).unwrap_err();
    assert_eq!(refused.reason(), "SpecInvalid");
    let said = refused.to_string();
    assert!(
        said.contains("its 8 readers list, 1000000 each, which takes")
            && said.ends_with("or take fewer readers or objectsPerRun"),
        "{said}"
    );
}

#[test]
fn an_object_that_is_listed_and_gone_is_found_and_hides_no_fault_of_the_listing() {
    local(async {
        let dataset = Rc::new(dataset(2));
        let page: String = [1, 0]
            .map(|state| dataset.key(0, state))
            .map(|key| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>"))
            .concat();
        let page =
            format!("<ListBucketResult><IsTruncated>false</IsTruncated>{page}</ListBucketResult>");
        let dialer = answering(move |request| {
            Some(if request.contains("list-type=2") {
                (200, page.clone().into())
            } else {
                (404, NO_SUCH_KEY.into())
            })
        })
        .await;
        let recorder = Recorder::new(
            0,
            u64::MAX,
            0,
            false,
            &[READ, LIST, PAGE, GET],
            Arc::default(),
        );
        let findings = Rc::new(RefCell::new(Findings::default()));
        let mut reader = Reader {
            list: dialer.connection(),
            gets: vec![dialer.connection()],
            recorder: Rc::new(RefCell::new(recorder.unwrap())),
            findings: Rc::clone(&findings),
            dataset,
            mode: ReadMode::ListPrefix,
            page_size: 1_000,
            rng: SplitMix64::stream(1, "runs"),
            border: Border { window_start: 0 },
        };
        let due = Due {
            planned: clock::now(),
            queued: false,
            index: 0,
        };
        assert!(reader.operate(due).await);
        let mut records = findings.take().records();
        records.retain(|check| check.violations > 0);
        let found: Vec<(&str, i64)> = records
            .iter()
            .map(|check| (check.name.as_str(), check.violations))
            .collect();
        assert_eq!(found, [("orderViolations", 1), ("readAfterWriteMisses", 1)]);
    });
}
