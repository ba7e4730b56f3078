//! Correction for asking several questions at once.

/// Holm's step-down adjustment of p-values (Holm 1979), in the order given.
///
/// Reading "adjusted p at most 0.05" over the family keeps the chance of even one false verdict at
/// 5 %, whatever the dependence between the cells. Never smaller than the plain p-value, never
/// above 1.
#[must_use]
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (position, index) in order.into_iter().enumerate() {
        let factor = (p_values.len() - position) as f64;
        largest = largest.max((p_values[index] * factor).min(1.0));
        adjusted[index] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn matches_the_worked_example() {
        // R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") = 0.03 0.06 0.06 0.02
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (got, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((got - expected).abs() < 1e-12);
        }
    }

    proptest! {
        #[test]
        fn is_monotone_bounded_and_never_below_the_plain_value(values in prop::collection::vec(0.0_f64..=1.0, 0..20)) {
            let adjusted = holm(&values);
            for (plain, corrected) in values.iter().zip(&adjusted) {
                prop_assert!(corrected >= plain && *corrected <= 1.0);
            }
            for (i, a) in values.iter().enumerate() {
                for (j, b) in values.iter().enumerate() {
                    prop_assert!(a > b || adjusted[i] <= adjusted[j]);
                }
            }
        }
    }
}
