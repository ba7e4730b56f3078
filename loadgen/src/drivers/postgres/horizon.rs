//! What holds back the removal of dead rows. (Pure.)
//!
//! VACUUM removes only what no snapshot can see any more. A replication slot, a standby, a prepared transaction or anybody's
//! open transaction may keep it from that, and then a table bloats whatever its design.

use bakeoff_crds::result::{HorizonHeld, HorizonHolder};
use tokio_postgres::Row;

use super::sample::{Holder, Sample};

/// Reads a row of the query; what only a newer version of it could tell is left out.
pub(super) fn holder(row: &Row) -> Option<Holder> {
    let kind: String = row.try_get(0).ok()?;
    Some(Holder {
        kind: HorizonHolder::ALL
            .into_iter()
            .find(|known| known.as_str() == kind)?,
        name: row.try_get(1).ok()?,
        since: row.try_get(2).ok()?,
        age: row.try_get(3).ok()?,
    })
}

/// A standby moves its horizon on only every ten seconds, and a report may be open for as long.
const PATIENCE_MILLIS: i64 = 30_000;

/// Who held the horizon in one place for half of the window, or for thirty seconds: the oldest of them. Transactions that come
/// and go hold nothing.
#[must_use]
pub fn held(samples: &[Sample]) -> Option<HorizonHeld> {
    let (first, last) = (samples.first()?, samples.last()?);
    let patience = ((last.at_millis - first.at_millis) / 2).clamp(1, PATIENCE_MILLIS);
    let same = |a: &Holder, b: &Holder| (a.kind, &a.name, &a.since) == (b.kind, &b.name, &b.since);
    let mut found: Option<HorizonHeld> = None;
    let mut begun: Option<(&Holder, i64)> = None;
    for sample in samples {
        let Some(holder) = &sample.horizon else {
            begun = None;
            continue;
        };
        let since = match begun {
            Some((known, since)) if same(known, holder) => since,
            _ => sample.at_millis,
        };
        begun = Some((holder, since));
        let millis = sample.at_millis - since;
        if millis < patience || found.as_ref().is_some_and(|known| known.age >= holder.age) {
            continue;
        }
        found = Some(HorizonHeld {
            kind: holder.kind,
            name: holder.name.clone(),
            age: holder.age,
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64, held: Option<(&str, &str, i64)>) -> Sample {
        Sample {
            at_millis: second * 1_000,
            horizon: held.map(|(name, since, age)| Holder {
                kind: HorizonHolder::ReplicationSlot,
                name: name.to_owned(),
                since: since.to_owned(),
                age,
            }),
            ..Sample::default()
        }
    }

    #[test]
    fn what_stays_holds_and_what_comes_and_goes_does_not() {
        let stays: Vec<Sample> = (0..10)
            .map(|s| at(s, Some(("slot", "700", s * 100))))
            .collect();
        let found = held(&stays).unwrap();
        assert_eq!((found.name.as_str(), found.age), ("slot", 900));
        let moves: Vec<Sample> = (0..10)
            .map(|s| at(s, Some(("slot", if s % 2 == 0 { "700" } else { "701" }, 5))))
            .collect();
        assert_eq!(held(&moves), None);
        let gone: Vec<Sample> = (0..10)
            .map(|s| at(s, (s < 3).then_some(("x", "1", s))))
            .collect();
        assert_eq!(held(&gone), None);
        assert_eq!(held(&[]), None);
    }
}
