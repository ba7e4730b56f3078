//! Numbers for people: three significant digits, units named once in the heading.

/// `a`, `a or b`, `a, b or c`.
#[must_use]
pub fn alternatives(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [all @ .., last] => format!("{} or {last}", all.join(", ")),
    }
}

/// A share as an upper bound in percent: rounded up to so many decimals, or to two digits where it is smaller than those.
#[must_use]
pub fn percent_at_most(share: f64, decimals: usize) -> String {
    let percent = share * 100.0;
    let small = percent > 0.0 && percent < 10.0_f64.powi(-(decimals as i32));
    let decimals = if small {
        1 + (-percent.log10()).ceil() as usize
    } else {
        decimals
    };
    let scale = 10.0_f64.powi(decimals as i32);
    format!("{:.decimals$}", (percent * scale).ceil() / scale)
}

/// Three significant digits, with thousands separated by a narrow space: `0.412`, `42.1`, `12 400`.
#[must_use]
pub fn three(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    // Rounded first, so that 999.6 becomes 1000 and not 999.6 or 1.00e3.
    let rounded: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    let size = rounded.abs();
    let decimals = if size >= 100.0 {
        0
    } else if size >= 10.0 {
        1
    } else if size >= 1.0 {
        2
    } else {
        3
    };
    group(&format!("{rounded:.decimals$}"))
}

/// A whole number with its thousands separated.
#[must_use]
pub fn whole(value: i64) -> String {
    group(&value.to_string())
}

/// Microseconds as milliseconds with three significant digits.
#[must_use]
pub fn millis(micros: i64) -> String {
    three(micros as f64 / 1_000.0)
}

/// Microseconds with the unit that reads best.
#[must_use]
pub fn duration(micros: f64) -> String {
    if micros >= 1e6 {
        format!("{} s", three(micros / 1e6))
    } else if micros >= 1e3 {
        format!("{} ms", three(micros / 1e3))
    } else {
        format!("{} µs", three(micros))
    }
}

/// Bytes in binary units.
#[must_use]
pub fn bytes(value: i64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = value as f64;
    let mut unit = 0;
    while size >= 1_024.0 && unit + 1 < units.len() {
        size /= 1_024.0;
        unit += 1;
    }
    format!(
        "{} {}",
        three(size),
        units.get(unit).copied().unwrap_or("B")
    )
}

/// A ratio with two decimals: `1.42×`.
#[must_use]
pub fn ratio(value: f64) -> String {
    format!("{value:.2}×")
}

/// A p-value: `0.031`, `< 0.001`.
#[must_use]
pub fn p_value(value: f64) -> String {
    if value < 0.001 {
        "< 0.001".to_owned()
    } else {
        format!("{value:.3}")
    }
}

/// The confidence of an interval at a two-sided error rate: 0.05 is "95 %", 0.0164 is "98.4 %".
#[must_use]
pub fn confidence(level: f64) -> String {
    let text = format!("{:.1}", (1.0 - level) * 100.0);
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

fn group(number: &str) -> String {
    let (sign, rest) = number
        .strip_prefix('-')
        .map_or(("", number), |rest| ("−", rest));
    let (whole, fraction) = rest
        .split_once('.')
        .map_or((rest, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut grouped = String::new();
    for (position, digit) in whole.chars().enumerate() {
        let left = whole.len() - position;
        if position > 0 && left % 3 == 0 && whole.len() > 4 {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    match fraction {
        Some(fraction) => format!("{sign}{grouped}.{fraction}"),
        None => format!("{sign}{grouped}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_whatever_the_size() {
        for (value, text) in [
            (0.0, "0"),
            (0.412_3, "0.412"),
            (4.216, "4.22"),
            (42.16, "42.2"),
            (999.6, "1000"),
            (12_412.0, "12\u{202f}400"),
            (-3.0, "−3.00"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(three(value), text);
        }
        assert_eq!(duration(1_234_000.0), "1.23 s");
        assert_eq!(bytes(188 << 20), "188 MiB");
        assert_eq!(p_value(0.031_25), "0.031");
        assert_eq!(
            (confidence(0.05), confidence(0.016_4)),
            ("95 %".into(), "98.4 %".into())
        );
    }
}
