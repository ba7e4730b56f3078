//! Kubernetes quantities: `500m`, `4Ki`, `10Gi`.
//!
//! Only what a specification needs is understood: a non-negative decimal number and one suffix.
//! Exponents (`1e3`) are legal in Kubernetes but refused here; the admission pattern says so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A non-negative amount with a Kubernetes suffix: `m`, none, `k`, `M`, `G`, `T`, `Ki`, `Mi`, `Gi` or `Ti`.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Quantity(
    #[schemars(
        length(min = 1, max = 16),
        regex(pattern = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")
    )]
    pub String,
);

/// Why a quantity could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text is not a number with a known suffix.
    #[error("`{0}` is not a quantity: write a number and a suffix such as m, Ki, Mi or Gi")]
    Malformed(String),
    /// The number is larger than what fits.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

const SUFFIXES: [(&str, i128); 10] = [
    ("Ki", 1_000 << 10),
    ("Mi", 1_000 << 20),
    ("Gi", 1_000 << 30),
    ("Ti", 1_000 << 40),
    ("m", 1),
    ("k", 1_000_000),
    ("M", 1_000_000_000),
    ("G", 1_000_000_000_000),
    ("T", 1_000_000_000_000_000),
    ("", 1_000),
];

impl Quantity {
    /// The amount in thousandths, rounded up: `500m` is 500, `1` is 1000.
    ///
    /// # Errors
    /// The text is malformed, or the amount exceeds 2^63 thousandths.
    pub fn millis(&self) -> Result<i64, QuantityError> {
        let malformed = || QuantityError::Malformed(self.0.clone());
        let too_large = || QuantityError::TooLarge(self.0.clone());
        let (number, scale) = SUFFIXES
            .iter()
            .find_map(|(suffix, scale)| self.0.strip_suffix(suffix).map(|number| (number, *scale)))
            .ok_or_else(malformed)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let dangling = number.contains('.') && fraction.is_empty();
        if whole.is_empty()
            || dangling
            || !digits(whole)
            || !digits(fraction)
            || fraction.len() > 12
        {
            return Err(malformed());
        }
        let denominator = 10_i128.pow(u32::try_from(fraction.len()).map_err(|_| malformed())?);
        let numerator: i128 = format!("{whole}{fraction}")
            .parse()
            .map_err(|_| too_large())?;
        let product = numerator.checked_mul(scale).ok_or_else(too_large)?;
        // Kubernetes rounds up what its precision cannot hold.
        let millis = (product + denominator - 1) / denominator;
        i64::try_from(millis).map_err(|_| too_large())
    }

    /// The amount in whole units (bytes, cores), rounded up.
    ///
    /// # Errors
    /// As [`Quantity::millis`].
    pub fn units(&self) -> Result<i64, QuantityError> {
        Ok(self.millis()?.div_ceil_positive(1_000))
    }
}

trait DivCeil {
    fn div_ceil_positive(self, divisor: Self) -> Self;
}

impl DivCeil for i64 {
    fn div_ceil_positive(self, divisor: Self) -> Self {
        self / divisor + i64::from(self % divisor != 0)
    }
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Quantity {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_kubernetes_reads() {
        let millis = |text: &str| Quantity::from(text).millis();
        assert_eq!(millis("500m"), Ok(500));
        assert_eq!(millis("1"), Ok(1_000));
        assert_eq!(millis("1.5"), Ok(1_500));
        assert_eq!(millis("4Ki"), Ok(4_096_000));
        assert_eq!(millis("0.5Ki"), Ok(512_000));
        assert_eq!(Quantity::from("10Gi").units(), Ok(10 << 30));
        assert_eq!(Quantity::from("1500m").units(), Ok(2));
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for text in [
            "", "-1", "1e3", "Ki", "1 Gi", "1.", ".5", "1Zi", "NaN", "0x10",
        ] {
            assert!(Quantity::from(text).millis().is_err(), "{text}");
        }
        assert!(matches!(
            Quantity::from("99999999999999Ti").millis(),
            Err(QuantityError::TooLarge(_))
        ));
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,24}") {
            let _ = Quantity(text).millis();
        }
    }
}
