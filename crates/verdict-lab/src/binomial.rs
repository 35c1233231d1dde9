//! What a count says of a rate: the exact limits of Clopper and Pearson (Biometrika 1934).

use statrs::distribution::{Beta, ContinuousCDF};

/// Upper limit of a rate of which `hits` of `trials` were seen, one-sided at this confidence.
pub fn upper(hits: usize, trials: usize, confidence: f64) -> f64 {
    if hits >= trials {
        return 1.0;
    }
    quantile(hits as f64 + 1.0, (trials - hits) as f64, confidence)
}

/// Lower limit of a rate, one-sided at this confidence.
pub fn lower(hits: usize, trials: usize, confidence: f64) -> f64 {
    if hits == 0 {
        return 0.0;
    }
    quantile(hits as f64, (trials - hits) as f64 + 1.0, 1.0 - confidence)
}

fn quantile(a: f64, b: f64, p: f64) -> f64 {
    let beta = Beta::new(a, b).expect("counts are not negative");
    // statrs' inverse bisects from either end; near 0 bisecting the distribution itself is exact.
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if beta.cdf(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    /// Without a hit the upper limit solves (1 − p)^n = 5 %; with hits only, the lower limit
    /// solves p^n = 5 %.
    #[test]
    fn limits_that_have_a_closed_form() {
        close(upper(0, 3000, 0.95), 1.0 - 0.05_f64.powf(1.0 / 3000.0));
        close(lower(20, 20, 0.95), 0.05_f64.powf(1.0 / 20.0));
        close(lower(0, 7, 0.95), 0.0);
        close(upper(7, 7, 0.95), 1.0);
    }

    /// Two of ten: the upper limit p solves P(X ≤ 2) = 5 %.
    #[test]
    fn a_limit_gives_its_own_tail() {
        let p = upper(2, 10, 0.95);
        let tail =
            (1.0 - p).powi(10) + 10.0 * p * (1.0 - p).powi(9) + 45.0 * p * p * (1.0 - p).powi(8);
        close(tail, 0.05);
    }
}
