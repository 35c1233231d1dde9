//! Quantities with their unit in the type.
//!
//! A bare `f64` appears only inside `measure` and `compare`; everywhere else a number that has a
//! unit has a type. Construction is fallible: a quantity is finite and not negative.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A number that cannot be the quantity it was meant to be.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{value} is not a valid number of {unit}: it must be finite and not negative")]
pub struct QuantityError {
    /// The refused number.
    pub value: f64,
    /// The unit's plural name.
    pub unit: &'static str,
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "f64", into = "f64")]
        pub struct $name(f64);

        impl $name {
            /// Wraps a number of this unit.
            ///
            /// # Errors
            /// The number is negative, infinite or not a number.
            pub fn new(value: f64) -> Result<Self, QuantityError> {
                if value.is_finite() && value >= 0.0 {
                    Ok(Self(value))
                } else {
                    Err(QuantityError { value, unit: $unit })
                }
            }

            /// The number, in this type's unit.
            pub const fn get(self) -> f64 {
                self.0
            }
        }

        impl TryFrom<f64> for $name {
            type Error = QuantityError;

            fn try_from(value: f64) -> Result<Self, QuantityError> {
                Self::new(value)
            }
        }

        impl From<$name> for f64 {
            fn from(quantity: $name) -> f64 {
                quantity.0
            }
        }
    };
}

quantity!(
    /// Electrical power.
    Watts, "watts"
);
quantity!(
    /// Energy.
    Joules, "joules"
);
quantity!(
    /// Tokens per second of wall time.
    TokensPerSecond, "tokens per second"
);
quantity!(
    /// Requests per second of wall time.
    RequestsPerSecond, "requests per second"
);
quantity!(
    /// A share of one: 0.05 is 5 %. May exceed one where a ratio is meant.
    Share, "parts of one"
);
quantity!(
    /// A length of time in milliseconds, for what is written to files and read by people.
    Millis, "milliseconds"
);

impl From<Duration> for Millis {
    fn from(duration: Duration) -> Self {
        Self(millis(duration))
    }
}

/// A duration as a number of milliseconds, for arithmetic inside `measure` and for files.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A number of bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// Whole mebibytes as bytes; saturates at `u64::MAX`.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1 << 20))
    }

    /// As gibibytes.
    pub fn gib(self) -> f64 {
        self.0 as f64 / f64::from(1_u32 << 30)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_is_finite_and_not_negative() {
        assert_eq!(Watts::new(250.0).map(Watts::get), Ok(250.0));
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(Joules::new(bad).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn reading_refuses_what_new_refuses() {
        assert!(serde_json::from_str::<Watts>("-3").is_err());
        assert_eq!(serde_json::from_str::<Watts>("3").unwrap(), Watts(3.0));
    }

    #[test]
    fn a_mebibyte_is_two_to_the_twenty() {
        assert_eq!(Bytes::from_mib(3), Bytes(3_145_728));
        assert!((Bytes(1 << 31).gib() - 2.0).abs() < f64::EPSILON);
    }
}
