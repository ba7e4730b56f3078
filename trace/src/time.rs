//! Reads times as logs write them.

use serde::{Deserialize, Serialize};

use crate::error::{Error, named};

/// What a bare number of a log counts since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    /// Told from its size: what would be later than the year 5138 as seconds is milliseconds, and so on.
    #[default]
    Auto,
    /// Seconds, with or without a fraction.
    Seconds,
    /// Milliseconds, with or without a fraction.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds; what is smaller than a microsecond is cut off.
    Nanoseconds,
}

impl std::str::FromStr for Unit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let units = [
            ("auto", Self::Auto),
            ("s", Self::Seconds),
            ("ms", Self::Milliseconds),
            ("us", Self::Microseconds),
            ("ns", Self::Nanoseconds),
        ];
        named("unit", text, &units)
    }
}

/// The longest text that is looked at.
const MOST_BYTES: usize = 64;

/// Microseconds since 1970 of a time as text: RFC 3339, the like with a space, without a zone (UTC), with slashes
/// (`2011/10/11`) or points (`11.10.2011`), a date alone, or a number.
#[must_use]
pub fn parse(text: &str, unit: Unit) -> Option<i64> {
    let text = text.trim();
    if text.len() > MOST_BYTES || !text.is_ascii() {
        return None;
    }
    number(text, unit).or_else(|| date_and_time(text))
}

/// A number since 1970.
fn number(text: &str, unit: Unit) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 20 || !plain(whole) || !plain(fraction) {
        return None;
    }
    let whole: i128 = whole.parse().ok()?;
    let unit = match (unit, whole) {
        (Unit::Auto, ..100_000_000_000) => Unit::Seconds,
        (Unit::Auto, ..100_000_000_000_000) => Unit::Milliseconds,
        (Unit::Auto, ..100_000_000_000_000_000) => Unit::Microseconds,
        (Unit::Auto, _) => Unit::Nanoseconds,
        (unit, _) => unit,
    };
    let micros = match unit {
        Unit::Auto | Unit::Seconds => whole * 1_000_000 + digits_of(fraction, 6),
        Unit::Milliseconds => whole * 1_000 + digits_of(fraction, 3),
        Unit::Microseconds => whole,
        Unit::Nanoseconds => whole / 1_000,
    };
    i64::try_from(if negative { -micros } else { micros }).ok()
}

/// The first digits of a fraction as a whole number, those that are missing being 0.
fn digits_of(fraction: &str, count: usize) -> i128 {
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(count);
    digits.fold(0, |number, digit| {
        number * 10 + i128::from(digit.wrapping_sub(b'0'))
    })
}

fn small(text: &str, lengths: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let plain = lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn date_and_time(text: &str) -> Option<i64> {
    let (date, rest) = match text.find(['T', 't', ' ']) {
        Some(place) => (&text[..place], text[place + 1..].trim_start()),
        None => (text, ""),
    };
    let days = date_days(date)?;
    let (clock, zone) = match rest.find(['Z', 'z', '+', '-', 'U', ' ']) {
        Some(place) => (&rest[..place], rest[place..].trim_start()),
        None => (rest, ""),
    };
    let time = if clock.is_empty() && zone.is_empty() {
        0
    } else {
        clock_micros(clock)?
    };
    let offset = zone_seconds(zone)?;
    Some((days * 86_400 - offset) * 1_000_000 + time)
}

/// Days since 1970 of a date.
fn date_days(text: &str) -> Option<i64> {
    let separator = text.bytes().find(|byte| !byte.is_ascii_digit())?;
    let mut parts = text.split(char::from(separator));
    let (first, month, last) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    // Slashes come with the year first only: what else is written with them nobody can tell apart.
    let (year, day) = match separator {
        b'-' | b'/' => (first, last),
        b'.' => (last, first),
        _ => return None,
    };
    let (year, month, day) = (
        small(year, 4..=4)?,
        small(month, 1..=2)?,
        small(day, 1..=2)?,
    );
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year == 0 || !(1..=length).contains(&day) {
        return None;
    }
    // Years that begin in March, so that the day of leap years is their last one.
    let (shifted, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year;
    // From the first of March of the year 0 to 1970.
    Some(days - 719_468)
}

/// Microseconds since midnight.
fn clock_micros(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let hour = small(parts.next()?, 1..=2)?;
    let minute = small(parts.next()?, 2..=2)?;
    let second = parts.next().unwrap_or("00");
    if parts.next().is_some() {
        return None;
    }
    let (second, fraction) = second.split_once(['.', ',']).unwrap_or((second, ""));
    let second = small(second, 2..=2)?;
    // A leap second is the first one of the next minute.
    if hour > 23
        || minute > 59
        || second > 60
        || !fraction.bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let micros = i64::try_from(digits_of(fraction, 6)).ok()?;
    Some(((hour * 60 + minute) * 60 + second) * 1_000_000 + micros)
}

/// Seconds east of UTC.
fn zone_seconds(text: &str) -> Option<i64> {
    let (sign, digits) = match text.split_at_checked(1) {
        None => return Some(0),
        Some(("Z" | "z", "")) => return Some(0),
        Some(("+", digits)) => (1, digits),
        Some(("-", digits)) => (-1, digits),
        Some(_) => return (text == "UTC").then_some(0),
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some(parts) => parts,
        None => digits.split_at_checked(2)?,
    };
    let minutes = if minutes.is_empty() {
        0
    } else {
        small(minutes, 2..=2)?
    };
    let hours = small(hours, 2..=2)?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_moment_in_many_spellings() {
        let moment = 1_318_333_540_276_000;
        for text in [
            "2011-10-11T11:45:40.276Z",
            "2011-10-11T13:45:40.276+02:00",
            "2011-10-11 13:45:40.276+02:00",
            "2011-10-11 13:45:40,276000 +0200",
            "2011-10-11 06:45:40.276-05",
            "2011-10-11T11:45:40.276",
            "2011-10-11 11:45:40.276 UTC",
            "2011/10/11 11:45:40.276000999",
            "11.10.2011 11:45:40.276",
            "1318333540.276",
            "1318333540276",
            "1318333540276000",
            "1318333540276000999",
        ] {
            assert_eq!(parse(text, Unit::Auto), Some(moment), "{text}");
            assert_eq!(
                parse(&format!(" {text} "), Unit::Auto),
                Some(moment),
                "{text}"
            );
        }
        assert_eq!(parse("2011-10-11", Unit::Auto), Some(1_318_291_200_000_000));
        assert_eq!(parse("1970-01-01T00:00:00Z", Unit::Auto), Some(0));
        assert_eq!(parse("1969-12-31T23:59:59Z", Unit::Auto), Some(-1_000_000));
        assert_eq!(parse("-1.5", Unit::Seconds), Some(-1_500_000));
        assert_eq!(parse("5", Unit::Milliseconds), Some(5_000));
        assert_eq!(
            parse("2000-02-29T00:00Z", Unit::Auto),
            Some(951_782_400_000_000)
        );
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "-",
            "now",
            "2011-13-01",
            "2011-02-29",
            "1900-02-29",
            "0000-01-01",
            "10/11/2011",
            "2011-10-11T",
            "2011-10-11T25:00:00",
            "2011-10-11T10:61:00",
            "2011-10-11T10:00:00+25:00",
            "2011-10-11T10:00:00 CET",
            "1e9",
            "99999999999999999999999",
            "٣",
            "2011-10",
            "2011-10-11T10:00:00.x",
            "+5",
        ] {
            let found = parse(text, Unit::Auto);
            // A date that ends with its T is a date.
            assert!(
                found.is_none() || text == "2011-10-11T",
                "{text}: {found:?}"
            );
        }
    }

    #[test]
    fn days_agree_with_the_calendar_of_jiff() {
        let mut rng = crate::rng::SplitMix64::new(1);
        for _ in 0..5_000 {
            let second = rng.below(200_000_000_000) as i64 - 62_000_000_000;
            let stamp = jiff::Timestamp::from_second(second).unwrap();
            assert_eq!(
                parse(&stamp.to_string(), Unit::Auto),
                Some(second * 1_000_000),
                "{stamp}"
            );
        }
    }
}
