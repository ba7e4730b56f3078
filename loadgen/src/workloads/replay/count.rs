//! A plan, counted again after the trial from the recording itself: what was to be done, and how it lay in time. (Pure, but for
//! reading the recording.)

use bakeoff_trace::Error;
use bakeoff_trace::plan::Planned;

use super::source::opens;
use crate::instrument::clock::SECOND;

/// What a plan holds for a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counted {
    /// Events of this generator in the window.
    pub own: u64,
    /// The same, by the second of the window.
    pub own_by_second: Vec<u64>,
    /// Events of all generators, by the second of the window.
    pub by_second: Vec<u64>,
    /// Runs that are open, the mean over the window.
    pub open_mean: f64,
}

impl Counted {
    /// Counts events that come in the order of their times, of a stretch that begins with so many open runs. The window is
    /// given in nanoseconds since the start of the plan.
    ///
    /// # Errors
    /// Those of the events.
    pub fn of(
        events: impl Iterator<Item = Result<Planned, Error>>,
        open: u64,
        (opens_at, closes_at): (u64, u64),
        is_own: impl Fn(&Planned) -> bool,
    ) -> Result<Self, Error> {
        let span = closes_at.saturating_sub(opens_at);
        let seconds = usize::try_from(span.div_ceil(SECOND)).unwrap_or(0);
        let mut counted = Self {
            own_by_second: vec![0; seconds],
            by_second: vec![0; seconds],
            ..Self::default()
        };
        let mut now_open = i128::from(open);
        let mut since = opens_at;
        let mut area: i128 = 0;
        for event in events {
            let event = event?;
            let at = event.at_nanos.clamp(opens_at, closes_at);
            area += now_open * i128::from(at - since);
            since = at;
            now_open += i128::from(opens(event.kind));
            if !(opens_at..closes_at).contains(&event.at_nanos) {
                continue;
            }
            let second =
                usize::try_from((event.at_nanos - opens_at) / SECOND).unwrap_or(usize::MAX);
            if let Some(count) = counted.by_second.get_mut(second) {
                *count += 1;
            }
            if is_own(&event) {
                counted.own += 1;
                if let Some(count) = counted.own_by_second.get_mut(second) {
                    *count += 1;
                }
            }
        }
        area += now_open * i128::from(closes_at - since);
        counted.open_mean = area as f64 / span.max(1) as f64;
        Ok(counted)
    }

    /// Events in the busiest second.
    pub fn peak(&self) -> u64 {
        self.by_second.iter().copied().max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakeoff_trace::Kind;

    fn planned(at_nanos: u64, copy: u32, kind: Kind) -> Result<Planned, Error> {
        Ok(Planned {
            at_nanos,
            copy,
            run: 0,
            lap: 0,
            kind,
            seq: 0,
            value: None,
        })
    }

    #[test]
    fn events_are_counted_by_second_and_open_runs_by_time() {
        let events = [
            planned(0, 0, Kind::Created),
            planned(SECOND, 0, Kind::Created),
            planned(SECOND + SECOND / 2, 1, Kind::Transition),
            planned(2 * SECOND, 0, Kind::Done),
            planned(3 * SECOND, 0, Kind::Done),
        ];
        let counted = Counted::of(events.into_iter(), 5, (SECOND, 3 * SECOND), |event| {
            event.copy == 0
        })
        .unwrap();
        assert_eq!((counted.own, counted.peak()), (2, 2));
        assert_eq!(
            (counted.by_second, counted.own_by_second),
            (vec![2, 1], vec![1, 1])
        );
        // Seven for a second, then six.
        assert!((counted.open_mean - 6.5).abs() < 1e-9);
    }

    #[test]
    fn a_window_without_events_holds_what_was_open() {
        let counted = Counted::of(std::iter::empty(), 9, (SECOND, 4 * SECOND), |_| true).unwrap();
        assert_eq!((counted.own, counted.peak()), (0, 0));
        assert!((counted.open_mean - 9.0).abs() < 1e-9);
    }
}
