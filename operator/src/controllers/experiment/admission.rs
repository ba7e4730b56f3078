//! The seats of experiments in their node pools, from the moment that one is taken until every cache shows it. (Pure.)

use crate::error::Error;
use bakeoff_crds::identity::Uid;
use bakeoff_rules::queue::Pool;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The experiments that were admitted to their pool, perhaps not yet visible in the cache. Losing them is harmless.
#[derive(Default)]
pub struct Seats(Mutex<BTreeSet<Uid>>);

/// The seat of an experiment in its pool, taken before its start is written: it is given back if that was refused.
pub struct Seat<'a> {
    seats: &'a Seats,
    uid: Uid,
    kept: bool,
}

impl Seats {
    /// Takes the seat if the pool is free, given who was admitted a moment ago: nobody else is asked in between.
    ///
    /// # Errors
    /// It is taken.
    pub fn take(
        &self,
        uid: &Uid,
        pool: impl FnOnce(&BTreeSet<Uid>) -> Pool,
    ) -> Result<Seat<'_>, Error> {
        let mut admitted = self.lock();
        if let Pool::Taken { by, .. } = pool(&admitted) {
            return Err(Error::PoolTaken(by));
        }
        // One that has its seat already may have started, though a cache that lags does not show it: it keeps it.
        let new = admitted.insert(uid.clone());
        Ok(Seat {
            seats: self,
            uid: uid.clone(),
            kept: !new,
        })
    }

    /// Who was admitted.
    #[must_use]
    pub fn admitted(&self) -> BTreeSet<Uid> {
        self.lock().clone()
    }

    /// Gives back the seats of all experiments but those that still need them.
    pub fn keep(&self, needed: impl Fn(&Uid) -> bool) {
        self.lock().retain(|uid| needed(uid));
    }

    /// A panic elsewhere cannot leave a set half-written.
    fn lock(&self) -> MutexGuard<'_, BTreeSet<Uid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat<'_> {
    /// The start stands.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.seats.lock().remove(&self.uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_does_not_come_to_stand_gives_its_seat_back() {
        let seats = Seats::default();
        let taken = |uid: &str| seats.admitted().contains(&Uid::from(uid));
        let take = |uid: &str| seats.take(&uid.into(), |_| Pool::Free);
        let seat = take("a").unwrap();
        assert!(taken("a"), "nobody else may start meanwhile");
        drop(seat);
        assert!(!taken("a"));
        take("b").unwrap().keep();
        drop(take("b").unwrap());
        assert!(
            taken("b"),
            "a second try from a stale cache takes nothing away"
        );
        let lost: Result<(), Error> = (|| {
            let _seat = take("c")?;
            Err(Error::Conflict("write the status".to_owned()))
        })();
        assert!(lost.is_err() && !taken("c"));
        let full = |admitted: &BTreeSet<Uid>| {
            assert_eq!(*admitted, BTreeSet::from([Uid::from("b")]));
            let by = "n/b".to_owned();
            Pool::Taken { by, ahead: 1 }
        };
        assert!(seats.take(&"d".into(), full).is_err() && !taken("d"));
    }
}
