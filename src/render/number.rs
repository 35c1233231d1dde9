//! Numbers to text. The only place where a digit is written.
//!
//! Three significant digits (four where the first is a one, so that a change of one per cent is
//! seen), thin spaces between thousands, a real minus sign, and a space that does not break
//! before the unit. Both sides of a comparison share the unit and decimals of the base side.

use crate::metric::Unit;

/// Between thousands: narrow, does not break.
const THIN: char = '\u{202f}';
/// Between a number and its unit: does not break.
const SPACE: char = '\u{a0}';
/// Stands where nothing was measured.
pub(super) const NOTHING: &str = "—";

/// How the values of one metric are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    factor: f64,
    unit: &'static str,
    decimals: usize,
}

impl Scale {
    /// The scale that suits a reference value, given in `unit`.
    pub(super) fn of(unit: Unit, reference: f64) -> Self {
        let size = reference.abs();
        let (factor, text) = match unit {
            Unit::Milliseconds if size >= 10_000.0 => (1e-3, "s"),
            Unit::Milliseconds if size > 0.0 && size < 0.1 => (1e3, "µs"),
            Unit::Milliseconds => (1.0, "ms"),
            Unit::Seconds => (1.0, "s"),
            Unit::TokensPerSecond => (1.0, "tok/s"),
            Unit::RequestsPerSecond => (1.0, "req/s"),
            Unit::Share => (100.0, "%"),
            Unit::Percent => (1.0, "%"),
            Unit::Gibibytes => (1.0, "GiB"),
            Unit::Watts => (1.0, "W"),
            Unit::Joules if size >= 10_000.0 => (1e-3, "kJ"),
            Unit::Joules => (1.0, "J"),
            Unit::JoulesPerToken if size > 0.0 && size < 0.1 => (1e3, "mJ/tok"),
            Unit::JoulesPerToken => (1.0, "J/tok"),
            Unit::JoulesPerRequest => (1.0, "J/req"),
            Unit::MoneyPerMillionTokens => (1.0, "/1M tok"),
            Unit::Megahertz => (1.0, "MHz"),
            Unit::Celsius => (1.0, "°C"),
            Unit::Count => (1.0, ""),
        };
        let whole = unit == Unit::Count && reference.fract() == 0.0;
        let decimals = if whole { 0 } else { decimals(size * factor) };
        Self {
            factor,
            unit: text,
            decimals,
        }
    }

    /// A number that a person chose, with no more digits than it needs: `1 %`, `0.25 s`.
    pub(super) fn exact(self, value: f64) -> String {
        let digits = (0..6).find(|digits| {
            let scaled = value * self.factor * 10_f64.powi(*digits);
            (scaled - scaled.round()).abs() < 1e-6
        });
        let decimals = digits.and_then(|digits| usize::try_from(digits).ok());
        Self {
            decimals: decimals.unwrap_or(self.decimals),
            ..self
        }
        .text(value)
    }

    /// A value with its unit; `—` for what is not a number.
    pub(super) fn text(self, value: f64) -> String {
        if !value.is_finite() {
            return NOTHING.to_owned();
        }
        let digits = plain(value * self.factor, self.decimals);
        if self.unit.is_empty() {
            digits
        } else {
            format!("{digits}{SPACE}{}", self.unit)
        }
    }
}

/// Decimals that leave three significant digits, or four after a leading one.
fn decimals(size: f64) -> usize {
    // Below 1e-6 a number is noise in every unit of ours.
    if size < 1e-6 || !size.is_finite() {
        return 0;
    }
    let exponent = size.log10().floor();
    let mantissa = size / 10_f64.powf(exponent);
    let digits = if mantissa < 2.0 { 3.0 } else { 2.0 };
    (0..9_u8)
        .find(|count| f64::from(*count) >= digits - exponent)
        .map_or(9, usize::from)
}

/// A number with a minus sign, grouped thousands and so many decimals.
fn plain(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text.as_str(), None), |(whole, part)| (whole, Some(part)));
    let mut out = String::new();
    // A rounded zero has no sign.
    if value < 0.0 && text.bytes().any(|digit| (b'1'..=b'9').contains(&digit)) {
        out.push('−');
    }
    for (position, digit) in whole.chars().enumerate() {
        let left = whole.len().saturating_sub(position);
        if position > 0 && left % 3 == 0 {
            out.push(THIN);
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// A whole number.
pub(super) fn count(value: u64) -> String {
    plain(value as f64, 0)
}

fn signed(share: f64, decimals: usize) -> String {
    let text = plain(share * 100.0, decimals);
    if share > 0.0 && text.bytes().any(|digit| (b'1'..=b'9').contains(&digit)) {
        format!("+{text}")
    } else {
        text
    }
}

/// One decimal below 100 %, none above.
fn share_decimals(size: f64) -> usize {
    usize::from(size.abs() < 1.0)
}

/// A relative change with its sign: 0.107 is `+10.7 %`.
pub(super) fn relative(change: f64) -> String {
    if !change.is_finite() {
        return NOTHING.to_owned();
    }
    format!("{}{SPACE}%", signed(change, share_decimals(change)))
}

/// A relative change without a sign: 0.107 is `10.7 %`, 0.05 is `5 %`.
pub(super) fn share(size: f64) -> String {
    if !size.is_finite() {
        return NOTHING.to_owned();
    }
    let percent = size.abs() * 100.0;
    let whole = (percent - percent.round()).abs() < 1e-9;
    let decimals = if whole { 0 } else { share_decimals(size) };
    format!("{}{SPACE}%", plain(percent, decimals))
}

/// A relative size with two decimals, for what is far below one per cent: 0.0026 is `0.26 %`.
pub(super) fn share_fine(size: f64) -> String {
    if !size.is_finite() {
        return NOTHING.to_owned();
    }
    format!("{}{SPACE}%", plain(size.abs() * 100.0, 2))
}

/// An interval of relative changes: `+8.9 … +12.6 %`.
pub(super) fn interval((low, high): (f64, f64)) -> String {
    if !low.is_finite() || !high.is_finite() {
        return NOTHING.to_owned();
    }
    let decimals = share_decimals(low.abs().max(high.abs()));
    format!(
        "{}{SPACE}…{SPACE}{}{SPACE}%",
        signed(low, decimals),
        signed(high, decimals)
    )
}

/// A difference of shares with its sign: 0.012 is `+1.2 points`.
pub(super) fn points(difference: f64) -> String {
    if !difference.is_finite() {
        return NOTHING.to_owned();
    }
    format!("{}{SPACE}points", signed(difference, 1))
}

/// An interval of differences of shares; the unit stands beside it: `−0.3 … +2.7`.
pub(super) fn points_interval((low, high): (f64, f64)) -> String {
    if !low.is_finite() || !high.is_finite() {
        return NOTHING.to_owned();
    }
    format!("{}{SPACE}…{SPACE}{}", signed(low, 1), signed(high, 1))
}

/// A number of points without its unit: 0.01 is `1`, 0.015 is `1.5`.
pub(super) fn points_size(size: f64) -> String {
    share(size).replace(&format!("{SPACE}%"), "")
}

/// A confidence, 0 to 1: `99.75 %`.
pub(super) fn confidence(level: f64) -> String {
    let percent = (level * 1e4).round() / 100.0;
    if percent >= 100.0 && level < 1.0 {
        // No test is ever that sure.
        return format!("over 99.99{SPACE}%");
    }
    let decimals = (0..2).find(|digits| {
        let scaled = percent * 10_f64.powi(*digits);
        (scaled - scaled.round()).abs() < 1e-6
    });
    let decimals = decimals.map_or(2, |digits| usize::from(digits > 0));
    format!("{}{SPACE}%", plain(percent, decimals))
}

/// `1 run`, `3 runs`.
pub(super) fn plural(number: usize, one: &str, many: &str) -> String {
    let digits = count(u64::try_from(number).unwrap_or(u64::MAX));
    format!("{digits} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ordinary spaces, for readable expectations.
    fn ascii(text: &str) -> String {
        text.replace([THIN, SPACE], " ")
    }

    fn own(unit: Unit, value: f64) -> String {
        ascii(&Scale::of(unit, value).text(value))
    }

    #[test]
    fn values_have_three_digits_or_four_after_a_one() {
        assert_eq!(own(Unit::Milliseconds, 11.238), "11.24 ms");
        assert_eq!(own(Unit::Milliseconds, 88.04), "88.0 ms");
        assert_eq!(own(Unit::Milliseconds, 412.34), "412 ms");
        assert_eq!(own(Unit::Milliseconds, 0.031), "31.0 µs");
        assert_eq!(own(Unit::Milliseconds, 25_300.0), "25.3 s");
        assert_eq!(own(Unit::TokensPerSecond, 2_859.6), "2 860 tok/s");
        assert_eq!(own(Unit::TokensPerSecond, 1_234_567.0), "1 234 567 tok/s");
        assert_eq!(own(Unit::Share, 0.0), "0 %");
        assert_eq!(own(Unit::Share, 0.0125), "1.250 %");
        assert_eq!(own(Unit::JoulesPerToken, 0.0312), "31.2 mJ/tok");
        assert_eq!(own(Unit::Count, 128.0), "128");
        assert_eq!(own(Unit::Count, 0.5), "0.500");
        assert_eq!(own(Unit::Celsius, f64::NAN), NOTHING);
        let limit = |unit, value| ascii(&Scale::of(unit, value).exact(value));
        assert_eq!(limit(Unit::Share, 0.01), "1 %");
        assert_eq!(limit(Unit::Milliseconds, 1_000.0), "1 000 ms");
        assert_eq!(limit(Unit::JoulesPerToken, 0.25), "0.25 J/tok");
    }

    #[test]
    fn both_sides_share_the_unit_of_the_base() {
        let scale = Scale::of(Unit::Milliseconds, 9_990.0);
        assert_eq!(ascii(&scale.text(10_500.0)), "10 500 ms");
        let scale = Scale::of(Unit::Milliseconds, 198.04);
        assert_eq!(ascii(&scale.text(203.16)), "203.2 ms");
    }

    #[test]
    fn changes_have_a_sign_and_zero_has_none() {
        assert_eq!(ascii(&relative(0.1071)), "+10.7 %");
        assert_eq!(ascii(&relative(-0.094)), "−9.4 %");
        assert_eq!(ascii(&relative(-0.0004)), "0.0 %");
        assert_eq!(ascii(&relative(0.0004)), "0.0 %");
        assert_eq!(ascii(&relative(11.0)), "+1 100 %");
        assert_eq!(relative(f64::INFINITY), NOTHING);
        assert_eq!(ascii(&interval((-0.11, -0.079))), "−11.0 … −7.9 %");
        assert_eq!(ascii(&interval((-0.5, 1.5))), "−50 … +150 %");
        assert_eq!(ascii(&share(0.05)), "5 %");
        assert_eq!(ascii(&share(0.0213)), "2.1 %");
    }

    #[test]
    fn shares_differ_in_points() {
        assert_eq!(ascii(&points(0.012)), "+1.2 points");
        assert_eq!(ascii(&points(-0.0004)), "0.0 points");
        assert_eq!(ascii(&points_interval((-0.003, 0.027))), "−0.3 … +2.7");
        assert_eq!(points_size(0.01), "1");
        assert_eq!(points_size(0.015), "1.5");
        assert_eq!(points(f64::NAN), NOTHING);
    }

    #[test]
    fn a_confidence_keeps_the_digits_it_needs() {
        assert_eq!(ascii(&confidence(0.9)), "90 %");
        assert_eq!(ascii(&confidence(0.9975)), "99.75 %");
        assert_eq!(ascii(&confidence(0.995)), "99.5 %");
        assert_eq!(ascii(&confidence(0.999_167)), "99.92 %");
        assert_eq!(ascii(&confidence(0.999_98)), "over 99.99 %");
        assert_eq!(ascii(&share_fine(0.0026)), "0.26 %");
    }
}
