//! The few special functions that the tests need: the distributions of Student and Gauss.
//!
//! Written here because the whole need is four functions of one page, and a statistics crate
//! brings a linear-algebra library with it.

/// Natural logarithm of the gamma function for `x > 0` (Lanczos' approximation, g = 7, nine
/// terms; about 15 digits).
#[must_use]
pub fn ln_gamma(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        // Reflection: gamma(x) gamma(1 - x) = pi / sin(pi x).
        let pi = std::f64::consts::PI;
        return (pi / (pi * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let mut sum = 0.999_999_999_999_809_9;
    for (index, coefficient) in COEFFICIENTS.iter().enumerate() {
        sum += coefficient / (x + index as f64 + 1.0);
    }
    let t = x + 7.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// Regularised incomplete beta function `I_x(a, b)` for `a, b > 0`; `x` is clamped to `[0, 1]`.
///
/// Continued fraction of DLMF 8.17.22, evaluated with Lentz's method, on the side of the mean
/// where it converges fast.
#[must_use]
pub fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front =
        (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp() / a;
    const TINY: f64 = 1e-300;
    let guard = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..500 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / guard(1.0 + even * d);
        c = guard(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / guard(1.0 + odd * d);
        c = guard(1.0 + odd / c);
        let change = d * c;
        fraction *= change;
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    (front * fraction).clamp(0.0, 1.0)
}

/// Probability that a Student variable with `freedom` degrees is at most `t`. `freedom > 0`.
#[must_use]
pub fn student_cdf(t: f64, freedom: f64) -> f64 {
    if t.is_infinite() {
        return if t > 0.0 { 1.0 } else { 0.0 };
    }
    let tail = 0.5 * incomplete_beta(freedom / 2.0, 0.5, freedom / (freedom + t * t));
    if t > 0.0 { 1.0 - tail } else { tail }
}

/// The `t` with [`student_cdf`]`(t) = probability`; infinite at 0 and 1.
///
/// By bisection: it needs no starting value, cannot diverge, and is called a few dozen times.
#[must_use]
pub fn student_quantile(probability: f64, freedom: f64) -> f64 {
    if probability <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if probability >= 1.0 {
        return f64::INFINITY;
    }
    if probability < 0.5 {
        return -student_quantile(1.0 - probability, freedom);
    }
    bisect(|t| student_cdf(t, freedom), probability)
}

/// Probability that a standard normal variable is at most `z`; ten digits.
#[must_use]
pub fn normal_cdf(z: f64) -> f64 {
    // Abramowitz and Stegun 7.1.5 (power series) inside, 7.1.14 (continued fraction) outside.
    let x = z.abs();
    let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let upper_tail = if x < 3.0 {
        let mut term = x;
        let mut sum = x;
        for step in 1..200 {
            term *= x * x / f64::from(2 * step + 1);
            sum += term;
            if term < sum * 1e-17 {
                break;
            }
        }
        0.5 - density * sum
    } else {
        let mut fraction = 0.0;
        for step in (1..=60).rev() {
            fraction = f64::from(step) / (x + fraction);
        }
        density / (x + fraction)
    };
    if z > 0.0 {
        1.0 - upper_tail
    } else {
        upper_tail
    }
}

fn bisect(cdf: impl Fn(f64) -> f64, probability: f64) -> f64 {
    let mut low = 0.0;
    let mut high = 1.0;
    while cdf(high) < probability && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if cdf(middle) < probability {
            low = middle
        } else {
            high = middle
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn student_quantiles_match_the_printed_tables() {
        // Two-sided 5 % and one-sided 20 % points, from any table of Student's distribution.
        let table = [
            (0.975, 1.0, 12.706_2),
            (0.975, 4.0, 2.776_45),
            (0.975, 5.0, 2.570_58),
            (0.975, 9.0, 2.262_16),
            (0.975, 19.0, 2.093_02),
            (0.995, 9.0, 3.249_84),
            (0.8, 4.0, 0.940_965),
            (0.8, 9.0, 0.883_404),
        ];
        for (probability, freedom, expected) in table {
            let quantile = student_quantile(probability, freedom);
            assert!(
                (quantile / expected - 1.0).abs() < 2e-5,
                "{probability} {freedom}: {quantile}"
            );
            assert_eq!(
                student_quantile(1.0 - probability, freedom) < 0.0,
                probability > 0.5
            );
        }
    }

    #[test]
    fn normal_probabilities_match_the_printed_tables() {
        for (z, expected) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746),
            (1.959_963_985, 0.975),
            (-3.0, 0.001_349_898),
            (4.0, 0.999_968_329),
        ] {
            assert!(
                (normal_cdf(z) - expected).abs() < 1e-9,
                "{z}: {}",
                normal_cdf(z)
            );
        }
    }

    #[test]
    fn gamma_of_integers_is_the_factorial() {
        let mut factorial = 1.0_f64;
        for n in 1..20 {
            assert!((ln_gamma(f64::from(n)) - factorial.ln()).abs() < 1e-10);
            factorial *= f64::from(n);
        }
    }
}
