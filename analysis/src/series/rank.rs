//! The exact one-sided rank test of Mann and Whitney (1947), by counting. (Pure.)

/// The most values of a history that can be tested against.
pub const MOST_BEFORE: usize = 60;
/// The most new values.
pub const MOST_AFTER: usize = 6;

/// In how many of all arrangements of `n` values before and `m` after the number of inversions is `0, 1, …, n·m`: the
/// coefficients of the Gaussian binomial, whose sum is `n + m` over `m`.
///
/// By the recurrence of partitions of `d` into at most `m` parts of at most `n` each: one that has a part of size `n` leaves
/// one of `d - n` into `m - 1` parts, any other one has parts of at most `n - 1`.
#[must_use]
pub fn arrangements(n: usize, m: usize) -> Vec<u128> {
    // table[k] holds the coefficients for k parts, of sizes up to the current one.
    let mut table: Vec<Vec<u128>> = (0..=m).map(|_| vec![1]).collect();
    for largest in 1..=n {
        for parts in 1..=m {
            let mut row = vec![0; largest * parts + 1];
            for (place, count) in table[parts].iter().enumerate() {
                row[place] += count;
            }
            for (place, count) in table[parts - 1].iter().enumerate() {
                row[place + largest] += count;
            }
            table[parts] = row;
        }
    }
    table.pop().unwrap_or_default()
}

/// Pairs of a value before and a value after in which the later one is not worse. Ties count as not worse: against the alarm.
#[must_use]
pub fn deficit(before: &[f64], after: &[f64], worse: impl Fn(f64, f64) -> bool) -> usize {
    let pairs = after
        .iter()
        .flat_map(|x| before.iter().map(move |b| (*x, *b)));
    pairs.filter(|(x, b)| !worse(*x, *b)).count()
}

/// The probability that chance alone leaves so few pairs, or fewer: exact where no two values are equal, too large where some
/// are.
#[must_use]
pub fn p_value(n: usize, m: usize, deficit: usize) -> f64 {
    let counts = arrangements(n, m);
    let all: u128 = counts.iter().sum();
    let few: u128 = counts.iter().take(deficit + 1).sum();
    // Below 10^8 for all sizes in use: exact as a float.
    few as f64 / all as f64
}

/// How many values before make an alarm possible at this level: the smallest history of which the most extreme arrangement
/// with `m` values after is rare enough.
#[must_use]
pub fn needed(m: usize, alpha: f64) -> Option<usize> {
    (1..=MOST_BEFORE).find(|n| p_value(*n, m, 0) <= alpha)
}
