//! A mergeable histogram of durations with logarithmic buckets.
//!
//! Values are whole nanoseconds. Below 2^11 ns each value has its own bucket; above, every
//! octave is cut into 2^10 buckets of equal width, so a bucket is never wider than 1/1024 of
//! the values it holds and a quantile, interpolated within its bucket, is wrong by less than
//! 0.1 % of itself. (The layout is that of Gil Tene's `HdrHistogram`.) Memory grows with the
//! largest value seen, not with their number: 8 bytes a bucket, 250 KiB up to one minute.

use std::{fmt, time::Duration};

/// Buckets per octave, as a power of two.
const BITS: u32 = 10;

/// A histogram of durations. Adding and merging never lose a count.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    /// Exact sum in nanoseconds.
    sum: u128,
    min: Option<u64>,
    max: Option<u64>,
}

/// Thousands of buckets tell a reader of a log nothing.
impl fmt::Debug for Histogram {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Histogram")
            .field("count", &self.count)
            .field("min_ns", &self.min)
            .field("max_ns", &self.max)
            .finish_non_exhaustive()
    }
}

/// The bucket of a value.
fn bucket(value: u64) -> usize {
    let octave = (u64::BITS - value.leading_zeros()).saturating_sub(BITS + 1);
    // Below 2^11 the octave is 0 and the bucket is the value itself.
    let within = value >> octave;
    let index = (u64::from(octave) << BITS) + within;
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// The smallest value of a bucket, and how many values it holds.
fn range(index: usize) -> (u64, u64) {
    let index = index as u64;
    let octave = (index >> BITS).saturating_sub(1);
    let within = index - (octave << BITS);
    (within << octave, 1 << octave)
}

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one duration; more than 584 years count as that.
    pub fn add(&mut self, value: Duration) {
        self.add_ns(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds one duration in nanoseconds.
    pub fn add_ns(&mut self, value: u64) {
        let index = bucket(value);
        if index >= self.buckets.len() {
            self.buckets.resize(index + 1, 0);
        }
        if let Some(count) = self.buckets.get_mut(index) {
            *count += 1;
        }
        self.count += 1;
        self.sum += u128::from(value);
        self.min = Some(self.min.map_or(value, |min| min.min(value)));
        self.max = Some(self.max.map_or(value, |max| max.max(value)));
    }

    /// Adds everything another histogram holds.
    pub fn merge(&mut self, other: &Self) {
        if other.buckets.len() > self.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.min = [self.min, other.min].into_iter().flatten().min();
        self.max = self.max.max(other.max);
    }

    /// How many values were added.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The exact mean in nanoseconds; `None` of nothing.
    pub fn mean_ns(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// The exact smallest value in nanoseconds.
    pub const fn min_ns(&self) -> Option<u64> {
        self.min
    }

    /// The exact largest value in nanoseconds.
    pub const fn max_ns(&self) -> Option<u64> {
        self.max
    }

    /// The `p` quantile in nanoseconds, `0 ≤ p < 1`: the value at position `p · (n − 1)` of the
    /// sorted values (type 7 of Hyndman and Fan), interpolated within its bucket. `None` of
    /// nothing. Whether n suffices for p is the caller's question.
    pub fn quantile_ns(&self, p: f64) -> Option<f64> {
        let (min, max) = (self.min? as f64, self.max? as f64);
        let position = p.clamp(0.0, 1.0) * self.count.saturating_sub(1) as f64;
        let mut below = 0_u64;
        for (index, &count) in self.buckets.iter().enumerate() {
            // Positions below, below + 1, … below + count - 1 lie in this bucket; what falls
            // between two buckets is taken as the end of the lower one.
            if count > 0 && position < (below + count) as f64 {
                let (low, width) = range(index);
                let inside = (position - below as f64 + 0.5) / count as f64;
                let value = low as f64 + (width as f64 - 1.0) * inside.min(1.0);
                return Some(value.clamp(min, max));
            }
            below += count;
        }
        Some(max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_values_are_exact() {
        let mut histogram = Histogram::new();
        for value in [1, 2, 3, 4, 5] {
            histogram.add_ns(value);
        }
        assert_eq!(histogram.quantile_ns(0.5), Some(3.0));
        assert_eq!((histogram.min_ns(), histogram.max_ns()), (Some(1), Some(5)));
        assert_eq!(histogram.mean_ns(), Some(3.0));
        assert_eq!(Histogram::new().quantile_ns(0.5), None);
    }

    #[test]
    fn buckets_join_without_a_gap() {
        let mut next = 0;
        for index in 0..6000 {
            let (low, width) = range(index);
            assert_eq!(low, next, "bucket {index}");
            assert_eq!(bucket(low), index);
            assert_eq!(bucket(low + width - 1), index);
            next = low + width;
        }
        assert!(bucket(u64::MAX) < 60_000);
    }

    proptest! {
        #[test]
        fn quantiles_are_within_a_thousandth(
            mut values in prop::collection::vec(0_u64..100_000_000_000, 1..300),
            p in 0.0_f64..1.0,
        ) {
            let mut whole = Histogram::new();
            let mut parts = [Histogram::new(), Histogram::new()];
            for (position, value) in values.iter().enumerate() {
                whole.add_ns(*value);
                parts[position % 2].add_ns(*value);
            }
            let [mut first, second] = parts;
            first.merge(&second);
            prop_assert_eq!(&first, &whole);
            values.sort_unstable();
            let position = p * (values.len() - 1) as f64;
            let at = |position: f64| {
                let index = (0..values.len()).rev().find(|index| *index as f64 <= position);
                values[index.unwrap()] as f64
            };
            let (low, high) = (at(position.floor()), at(position.ceil()));
            let found = whole.quantile_ns(p).unwrap();
            prop_assert!(found >= low * 0.998 - 1.0 && found <= high * 1.002 + 1.0, "{low} {found} {high}");
        }
    }
}
