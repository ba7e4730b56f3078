//! Where the stores do otherwise than S3.

use bakeoff_crds::conformance::{Answer, Check};

use super::super::datum::Datum;
use super::super::model::Table;
use crate::summary::Summary;

/// The checks that some store does not keep, and how many all keep.
pub(in super::super) fn conformance(summary: &Summary) -> (Table, usize) {
    let stores = &summary.measured.conformance;
    let mut columns = vec![("Check", false), ("What S3 does", false)];
    columns.extend(stores.iter().map(|store| (store.backend.as_str(), false)));
    let mut table = Table::new("Checks of S3 that some store does not keep", &columns).described();
    let mut kept = 0;
    for &check in Check::ALL {
        let found: Vec<_> = stores
            .iter()
            .map(|store| store.checks.iter().find(|one| one.check == check))
            .collect();
        // A check that an earlier version did not make is none of this run.
        if found.iter().all(Option::is_none) {
            continue;
        }
        let is_kept = |one: &Option<&bakeoff_crds::conformance::CheckAnswer>| {
            one.is_some_and(|one| one.answer == Answer::Kept)
        };
        if found.iter().all(is_kept) {
            kept += 1;
            continue;
        }
        let mut row: Vec<Datum> = vec![check.name().into(), check.sentence().into()];
        row.extend(found.iter().map(|one| match one {
            Some(one) => Datum::from(one.text()),
            None => Answer::Unknown.words().into(),
        }));
        table.rows.push(row);
    }
    (table, kept)
}
