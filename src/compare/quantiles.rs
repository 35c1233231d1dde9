//! Quantiles of the standard normal and of Student's t distribution.
//!
//! In: a probability, degrees of freedom. Out: the quantile, or an error where there is none.
//! The arithmetic is statrs'; the tests hold it against printed tables.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use super::{CompareError, Reference};

/// The `p` quantile of the standard normal distribution.
///
/// # Errors
/// `p` is not strictly between 0 and 1.
pub fn normal_quantile(p: f64) -> Result<f64, CompareError> {
    let error = CompareError::Quantile {
        p,
        df: f64::INFINITY,
    };
    if !(p > 0.0 && p < 1.0) {
        return Err(error);
    }
    let quantile = Normal::standard().inverse_cdf(p);
    finite(quantile, error)
}

/// The `p` quantile of Student's t with `df` degrees of freedom; `df` need not be whole.
///
/// # Errors
/// `p` is not strictly between 0 and 1, or `df` is not positive and finite.
pub fn t_quantile(p: f64, df: f64) -> Result<f64, CompareError> {
    let error = CompareError::Quantile { p, df };
    if !(p > 0.0 && p < 1.0 && df > 0.0) {
        return Err(error);
    }
    match StudentsT::new(0.0, 1.0, df) {
        Ok(distribution) if df.is_finite() => finite(distribution.inverse_cdf(p), error),
        Ok(_) | Err(_) => Err(error),
    }
}

/// The probability that Student's t with `df` degrees of freedom exceeds `value`; with infinite
/// `df` that a standard normal does.
///
/// # Errors
/// `df` is not positive, or `value` is no number.
pub fn t_upper_tail(value: f64, df: f64) -> Result<f64, CompareError> {
    let error = CompareError::Quantile { p: value, df };
    if df.is_infinite() && df > 0.0 {
        return finite(Normal::standard().sf(value), error);
    }
    // The upper tail through the lower one: 1 - cdf would cancel.
    match StudentsT::new(0.0, 1.0, df) {
        Ok(distribution) => finite(distribution.cdf(-value), error),
        Err(_) => Err(error),
    }
}

fn finite(quantile: f64, error: CompareError) -> Result<f64, CompareError> {
    if quantile.is_finite() {
        Ok(quantile)
    } else {
        Err(error)
    }
}

impl Reference {
    /// By how many standard errors a value is exceeded with probability `tail`; 0 for an exact
    /// value. Taken from the lower tail, which a floating-point number tells exactly: levels of
    /// early looks are as small as 1e-11.
    ///
    /// # Errors
    /// The distribution has no such quantile.
    pub fn upper(self, tail: f64) -> Result<f64, CompareError> {
        match self {
            Self::Normal => normal_quantile(tail).map(|quantile| -quantile),
            Self::StudentT(df) => t_quantile(tail, df).map(|quantile| -quantile),
            Self::Exact => Ok(0.0),
        }
    }

    /// The probability of a value more than `deviations` standard errors above: 0 or 1 for an
    /// exact one.
    ///
    /// # Errors
    /// `deviations` is no number.
    pub fn tail(self, deviations: f64) -> Result<f64, CompareError> {
        match self {
            Self::Normal => t_upper_tail(deviations, f64::INFINITY),
            Self::StudentT(df) => t_upper_tail(deviations, df),
            Self::Exact => Ok(if deviations > 0.0 { 0.0 } else { 1.0 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, table: f64, digits: f64) {
        assert!((found - table).abs() <= digits, "{found} is not {table}");
    }

    /// NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.1 and 1.3.6.7.2, and for the
    /// outermost column Fisher and Yates, Statistical Tables, table III.
    #[test]
    fn quantiles_agree_with_printed_tables() {
        for (p, table) in [(0.975, 1.960), (0.995, 2.576), (0.999, 3.090)] {
            close(normal_quantile(p).unwrap(), table, 5e-4);
        }
        for (p, df, table) in [
            (0.95, 1.0, 6.314),
            (0.975, 1.0, 12.706),
            (0.999, 1.0, 318.309),
            (0.9995, 1.0, 636.619),
            (0.95, 3.0, 2.353),
            (0.9995, 3.0, 12.924),
            (0.95, 6.0, 1.943),
            (0.995, 6.0, 3.707),
            (0.9995, 6.0, 5.959),
            (0.99, 10.0, 2.764),
            (0.999, 30.0, 3.385),
            (0.975, 100.0, 1.984),
        ] {
            close(t_quantile(p, df).unwrap(), table, 6e-4);
        }
    }

    #[test]
    fn a_quantile_and_its_probability_agree_everywhere_a_gate_looks() {
        for df in [1.0, 1.3, 2.0, 2.7, 4.5, 6.0, 11.0, 60.0, 1e4] {
            for tail in [0.05, 5e-3, 1e-3, 1e-4, 1e-5, 1e-6] {
                let q = t_quantile(1.0 - tail, df).unwrap();
                // The upper tail through the lower one: 1 - cdf(q) would cancel.
                let back = StudentsT::new(0.0, 1.0, df).unwrap().cdf(-q);
                assert!(
                    (back / tail - 1.0).abs() < 1e-5,
                    "df {df}, tail {tail}: {q} gives {back}"
                );
            }
        }
    }

    #[test]
    fn the_lower_half_mirrors_the_upper() {
        close(
            t_quantile(0.05, 4.0).unwrap(),
            -t_quantile(0.95, 4.0).unwrap(),
            1e-9,
        );
        close(normal_quantile(0.5).unwrap(), 0.0, 1e-9);
    }

    #[test]
    fn what_has_no_quantile_is_an_error() {
        for p in [0.0, 1.0, -1.0, 2.0, f64::NAN] {
            assert!(normal_quantile(p).is_err());
            assert!(t_quantile(p, 3.0).is_err());
        }
        for df in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(t_quantile(0.9, df).is_err());
        }
    }
}
