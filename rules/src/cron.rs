//! When the runs of a schedule are due. (Pure.)
//!
//! The pattern is that of Vixie cron, which says what happens on the days on which clocks change: a fixed time that is left
//! out comes at the first instant after the gap, one that comes twice comes once, and what runs by the interval follows the
//! clock on the wall.

use croner::parser::{CronParser, Seconds, Year};
use croner::{Cron as Pattern, errors::CronError};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// So many ticks are counted out.
const MOST_COUNTED: usize = 10_000;
/// The minutes of a leap year.
const EACH_MINUTE: i32 = 366 * 24 * 60;

/// A schedule in its zone.
#[derive(Clone, Debug)]
pub struct Cron {
    pattern: Pattern,
    zone: TimeZone,
}

/// Why a schedule cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronRefusal {
    /// The pattern is none.
    #[error("schedule {schedule:?} cannot be read: {problem}")]
    Schedule {
        /// As it stands in the spec.
        schedule: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No such zone.
    #[error(
        "timeZone {0:?} is not known: name a zone of the IANA data base, for example Europe/Berlin or Etc/UTC"
    )]
    TimeZone(String),
    /// The pattern names days that no year has.
    #[error("schedule {0:?} is never due: no year has such a day")]
    NeverDue(String),
}

impl CronRefusal {
    /// The reason of the condition `Accepted`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Schedule { .. } => "InvalidSchedule",
            Self::TimeZone(_) => "InvalidTimeZone",
            Self::NeverDue(_) => "NeverDue",
        }
    }
}

impl Cron {
    /// Reads a schedule. Whether it is ever due is asked of `now`.
    ///
    /// # Errors
    /// It is no schedule, there is no such zone, or it is never due.
    pub fn read(schedule: &str, time_zone: &str, now: Timestamp) -> Result<Self, CronRefusal> {
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let pattern = parser
            .parse(schedule)
            .map_err(|error| CronRefusal::Schedule {
                schedule: schedule.to_owned(),
                problem: said(&error),
            })?;
        let zone = zone(time_zone)?;
        let cron = Self { pattern, zone };
        if cron.next(now).is_none() {
            return Err(CronRefusal::NeverDue(schedule.to_owned()));
        }
        Ok(cron)
    }

    /// The first tick after this instant.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after = after.to_zoned(self.zone.clone());
        let next = self.pattern.find_next_occurrence(&after, false).ok()?;
        Some(next.timestamp())
    }

    /// The last tick up to this instant, itself included. One step, however long nobody looked.
    #[must_use]
    pub fn last(&self, until: Timestamp) -> Option<Timestamp> {
        let until = until.to_zoned(self.zone.clone());
        let last = self.pattern.find_previous_occurrence(&until, true).ok()?;
        Some(last.timestamp())
    }

    /// How many ticks come after one instant and up to another, as far as `most`: for people, who are told what passed.
    #[must_use]
    pub fn count(&self, after: Timestamp, until: Timestamp, most: usize) -> usize {
        let ticks = std::iter::successors(self.next(after), |tick| self.next(*tick));
        ticks.take_while(|tick| *tick <= until).take(most).count()
    }

    /// How many ticks the year after this instant has, leap day included; at least 1. What comes by the minute is not counted out:
    /// beyond [`MOST_COUNTED`] it is as if each minute had one.
    #[must_use]
    pub fn in_a_year(&self, after: Timestamp) -> i32 {
        let year = SignedDuration::from_hours(366 * 24);
        let until = after.checked_add(year).unwrap_or(Timestamp::MAX);
        match self.count(after, until, MOST_COUNTED) {
            MOST_COUNTED => EACH_MINUTE,
            ticks => i32::try_from(ticks).unwrap_or(EACH_MINUTE).max(1),
        }
    }
}

/// The zone of this name.
///
/// # Errors
/// There is none.
pub fn zone(name: &str) -> Result<TimeZone, CronRefusal> {
    TimeZone::get(name).map_err(|_| CronRefusal::TimeZone(name.to_owned()))
}

fn said(error: &CronError) -> String {
    let text = error.to_string();
    text.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn cron(schedule: &str, zone: &str) -> Cron {
        Cron::read(schedule, zone, at("2026-01-01T00:00:00Z")).unwrap()
    }

    /// The ticks after one instant, as UTC.
    fn ticks(schedule: &str, zone: &str, after: &str, many: usize) -> Vec<String> {
        let cron = cron(schedule, zone);
        let first = cron.next(at(after));
        let ticks = std::iter::successors(first, |tick| cron.next(*tick));
        ticks.take(many).map(|tick| tick.to_string()).collect()
    }

    #[test]
    fn a_daily_run_neither_falls_into_the_gap_nor_comes_twice() {
        // Clocks go from 02:00 to 03:00 on 29 March 2026, and from 03:00 to 02:00 on 25 October.
        assert_eq!(
            ticks("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3),
            [
                "2026-03-28T01:30:00Z",
                "2026-03-29T01:00:00Z",
                "2026-03-30T00:30:00Z"
            ]
        );
        assert_eq!(
            ticks("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
        // Half an hour, at 02:00 on the first Sundays of October and April.
        assert_eq!(
            ticks(
                "15 2 * * *",
                "Australia/Lord_Howe",
                "2026-10-02T16:00:00Z",
                3
            ),
            [
                "2026-10-03T15:30:00Z",
                "2026-10-04T15:15:00Z",
                "2026-10-05T15:15:00Z"
            ]
        );
        assert_eq!(
            ticks(
                "45 1 * * *",
                "Australia/Lord_Howe",
                "2026-04-03T18:00:00Z",
                2
            ),
            ["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"]
        );
    }

    #[test]
    fn what_runs_by_the_interval_follows_the_clock_on_the_wall() {
        assert_eq!(
            ticks("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 4),
            [
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:00:00Z",
                "2026-10-25T01:30:00Z",
                "2026-10-25T02:00:00Z"
            ]
        );
    }

    #[test]
    fn what_cannot_be_followed_is_refused_with_its_reason() {
        let now = at("2026-01-01T00:00:00Z");
        let reason =
            |schedule: &str, zone: &str| Cron::read(schedule, zone, now).unwrap_err().reason();
        assert_eq!(reason("0 0 30 2 *", "Etc/UTC"), "NeverDue");
        assert_eq!(reason("0 2 * * *", "Europe/Atlantis"), "InvalidTimeZone");
        assert_eq!(reason("0 2 * * *", ""), "InvalidTimeZone");
        assert_eq!(reason("0 2 * * *", "../etc/passwd"), "InvalidTimeZone");
        for schedule in [
            "61 * * * *",
            "* * * *",
            "0 0 2 * * *",
            "a b c d e",
            "",
            "*/0 * * * *",
            "TZ=UTC 0 2 * * *",
        ] {
            assert_eq!(reason(schedule, "Etc/UTC"), "InvalidSchedule", "{schedule}");
        }
        let error = Cron::read("61 * * * *", "Etc/UTC", now).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("schedule \"61 * * * *\" cannot be read: "),
            "{error}"
        );
    }

    #[test]
    fn a_year_has_its_ticks() {
        let now = at("2026-01-01T00:00:00Z");
        assert_eq!(cron("0 2 * * *", "Etc/UTC").in_a_year(now), 366);
        assert_eq!(cron("@hourly", "Etc/UTC").in_a_year(now), 366 * 24);
        assert_eq!(cron("0 3 * * 1", "Europe/Berlin").in_a_year(now), 52);
        assert_eq!(cron("0 0 29 2 *", "Etc/UTC").in_a_year(now), 1);
        assert_eq!(cron("* * * * *", "Etc/UTC").in_a_year(now), 527_040);
        let most = cron("* * * * *", "Etc/UTC");
        assert_eq!(most.count(now, at("2026-02-01T00:00:00Z"), 100), 100);
    }

    proptest! {
        /// The last tick and the next one are the two neighbours of any instant, on any day of a zone with changes.
        #[test]
        fn the_last_tick_and_the_next_are_neighbours(
            second in 1_767_225_600_i64..1_830_297_600,
            schedule in prop_oneof![
                Just("30 2 * * *"), Just("*/7 * * * *"), Just("0 0 * * 1"), Just("15 1-3 * * *"), Just("0 12 L * *"),
            ],
            zone in prop_oneof![Just("Europe/Berlin"), Just("Australia/Lord_Howe"), Just("Etc/UTC"), Just("America/St_Johns")],
        ) {
            let cron = cron(schedule, zone);
            let now = Timestamp::from_second(second).unwrap();
            let (last, next) = (cron.last(now).unwrap(), cron.next(now).unwrap());
            prop_assert!(last <= now && now < next);
            prop_assert_eq!(cron.next(last), Some(next), "nothing lies between them");
            prop_assert_eq!(cron.last(next), Some(next), "a tick is its own last");
        }
    }
}
