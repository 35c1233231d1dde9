//! A linear axis: values to coordinates, and its round labels.

use super::Tick;
use crate::{metric::Better, render::number::relative};

/// From a value at one end to a value at the other, and where the ends are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    /// Smallest value.
    pub(super) low: f64,
    /// Largest value.
    pub(super) high: f64,
    /// Coordinate of the smallest value.
    pub(super) start: f64,
    /// Coordinate of the largest value.
    pub(super) end: f64,
}

impl Axis {
    /// The position of a value; values beyond an end are put there.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = (value.clamp(self.low, self.high) - self.low) / (self.high - self.low);
        self.start + share * (self.end - self.start)
    }

    /// Round percentages, at most `most`.
    pub(super) fn ticks(&self, most: f64) -> Vec<Tick> {
        let steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
        let step = steps
            .into_iter()
            .find(|step| (self.high - self.low) / step <= most)
            .unwrap_or(1.0);
        (-9..=9_i32)
            .map(|place| f64::from(place) * step)
            .filter(|value| (self.low..=self.high).contains(value))
            .map(|value| Tick {
                at: coordinate(self.at(value)),
                label: relative(value).replace(".0", ""),
            })
            .collect()
    }
}

/// The relative change as a rise in the direction of worse.
pub(super) fn worsening(better: Better, change: f64) -> f64 {
    match better {
        Better::Lower => change,
        // At −100 % this is infinite; the axis cuts it.
        Better::Higher => (1.0 + change).recip() - 1.0,
    }
}

/// A coordinate with one decimal: machine text, no grouping.
pub(super) fn coordinate(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_of_throughput_is_a_rise_in_time() {
        assert!((worsening(Better::Higher, -0.2) - 0.25).abs() < 1e-12);
        assert!((worsening(Better::Lower, 0.25) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn the_axis_is_linear_and_ends_at_its_ends() {
        let axis = Axis {
            low: -0.1,
            high: 0.1,
            start: 250.0,
            end: 790.0,
        };
        assert!((axis.at(0.0) - 520.0).abs() < 1e-9);
        assert!((axis.at(9.0) - 790.0).abs() < 1e-9);
        assert!((axis.at(f64::NEG_INFINITY) - 250.0).abs() < 1e-9);
        let labels: Vec<String> = axis.ticks(9.0).into_iter().map(|tick| tick.label).collect();
        assert_eq!(labels.len(), 5, "{labels:?}");
        assert_eq!(labels.first().map(String::as_str), Some("−10\u{a0}%"));
    }
}
