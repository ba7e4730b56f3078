//! Quantiles of many numbers in a little memory.

use crate::format::Quantiles;

/// Numbers below this are counted one by one, larger ones in 128 classes for each doubling.
const EXACT: u64 = 256;
const CLASSES: usize = 256 + 56 * 128;

/// Counts numbers in classes whose width is at most 1/128 of the number.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; CLASSES],
            total: 0,
            max: 0,
        }
    }
}

fn class(number: u64) -> usize {
    if number < EXACT {
        return number as usize;
    }
    let shift = 63 - number.leading_zeros() as usize - 7;
    256 + (shift - 1) * 128 + ((number >> shift) as usize - 128)
}

/// The largest number of a class.
fn top(class: usize) -> u64 {
    if class < EXACT as usize {
        return class as u64;
    }
    let (shift, rest) = ((class - 256) / 128 + 1, (class - 256) % 128);
    ((129 + rest as u128) << shift)
        .saturating_sub(1)
        .min(u128::from(u64::MAX)) as u64
}

impl Histogram {
    pub(crate) fn record(&mut self, number: u64) {
        self.counts[class(number)] += 1;
        self.total += 1;
        self.max = self.max.max(number);
    }

    /// The smallest number that at least `percent` of all numbers do not exceed, rounded up by at most 1/128.
    pub(crate) fn percentile(&self, percent: u64) -> u64 {
        let rank = (u128::from(self.total) * u128::from(percent))
            .div_ceil(100)
            .max(1);
        let mut seen = 0_u128;
        for (class, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= rank {
                return top(class).min(self.max);
            }
        }
        self.max
    }

    pub(crate) fn quantiles(&self) -> Option<Quantiles> {
        (self.total > 0).then(|| Quantiles {
            p50: self.percentile(50),
            p90: self.percentile(90),
            p99: self.percentile(99),
            max: self.max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_falls_into_a_class_that_reaches_it_by_less_than_a_hundredth() {
        for shift in 0..64 {
            for offset in [0_u64, 1, 2, 3, 77] {
                for number in [
                    (1_u64 << shift).wrapping_add(offset),
                    (1_u64 << shift).wrapping_sub(offset),
                ] {
                    let top = top(class(number));
                    assert!(top >= number, "{number} {top}");
                    assert!(
                        u128::from(top - number) * 128 <= u128::from(number),
                        "{number} {top}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_quantiles_of_a_hundred_numbers() {
        let mut histogram = Histogram::default();
        (1..=100).for_each(|number| histogram.record(number));
        let found = histogram.quantiles().unwrap();
        assert_eq!(
            (found.p50, found.p90, found.p99, found.max),
            (50, 90, 99, 100)
        );
        assert!(Histogram::default().quantiles().is_none());
    }
}
