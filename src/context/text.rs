//! Small readers of setting texts. Each error is a sentence fragment that says what is allowed.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use jiff::SignedDuration;

/// More requests, tokens or runs than this are a typing error.
pub(super) const MAX_COUNT: u32 = 1_000_000;

/// Fewer requests per second than one in a quarter of an hour, or more than a million, are a
/// typing error.
const RPS: std::ops::RangeInclusive<f64> = 1e-3..=1e6;

/// The longest time a setting can ask for.
const MAX_SECONDS: u64 = 7 * 86_400;

/// A whole number from 1 to [`MAX_COUNT`].
pub(super) fn positive(text: &str) -> Result<NonZeroU32, String> {
    match text.trim().parse::<u32>().map(NonZeroU32::new) {
        Ok(Some(number)) if number.get() <= MAX_COUNT => Ok(number),
        Ok(_) | Err(_) => Err(format!("write a whole number from 1 to {MAX_COUNT}")),
    }
}

/// A fraction above 0 and below 1.
pub(super) fn fraction(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        Ok(_) | Err(_) => Err("write a number above 0 and below 1; 0.02 is 2 %".to_owned()),
    }
}

/// A fraction from 0 to 1, both included.
pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        Ok(_) | Err(_) => Err("write a number from 0 to 1; 0.5 is a half".to_owned()),
    }
}

/// Requests per second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(rps) if RPS.contains(&rps) => Ok(rps),
        Ok(_) | Err(_) => Err(format!(
            "write requests per second from {} to {}; for as many as the server takes give a \
             concurrency instead",
            RPS.start(),
            RPS.end()
        )),
    }
}

/// Whole seconds, for settings that were always written so.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    match text.trim().parse::<u64>() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        Ok(_) | Err(_) => Err("write whole seconds from 1 to 86400".to_owned()),
    }
}

/// A time with its unit, or seconds without: `90`, `1.5`, `90s`, `2m`, `1m30s`, `500ms`, `1h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let read = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => text
            .parse::<SignedDuration>()
            .ok()
            .and_then(|signed| Duration::try_from(signed).ok()),
    };
    read.filter(|time| *time <= Duration::from_secs(MAX_SECONDS))
        .ok_or_else(|| "write a time of at most a week, such as 90s, 2m or 500ms".to_owned())
}

/// As [`duration`], but longer than nothing.
pub(super) fn long(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("the time must be above 0".to_owned()),
        time => Ok(time),
    }
}

/// A folder as an absolute path: Docker mounts nothing else.
pub(super) fn folder(text: &str) -> Result<PathBuf, String> {
    std::path::absolute(text).map_err(|error| error.to_string())
}

/// Words separated by commas or new lines.
pub(super) fn list(text: &str) -> Vec<String> {
    let words = text
        .split([',', '\n'])
        .map(str::trim)
        .filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// Words as a shell would split them.
pub(super) fn words(text: &str) -> Result<Vec<String>, String> {
    shlex::split(text).ok_or_else(|| "a quote is not closed".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_have_units_or_are_seconds() {
        for (text, millis) in [
            ("90", 90_000),
            ("1.5", 1_500),
            ("60s", 60_000),
            ("2m", 120_000),
            ("1m30s", 90_000),
            (" 500ms ", 500),
            ("1h", 3_600_000),
            ("0", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "", "-1s", "-1", "NaN", "inf", "1e300", "2 months", "8d", "s",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(long("0s").is_err());
    }

    #[test]
    fn fractions_and_rates_have_their_range() {
        assert_eq!((fraction("0.02"), share("1")), (Ok(0.02), Ok(1.0)));
        assert!(fraction("0").is_err() && fraction("1").is_err() && fraction("NaN").is_err());
        assert!(share("1.01").is_err() && share("-0.1").is_err() && share("NaN").is_err());
        assert_eq!(rate("2.5"), Ok(2.5));
        assert!(rate("0").is_err() && rate("NaN").is_err());
        assert!(rate("inf").unwrap_err().contains("concurrency"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_an_error(text in "\\PC{0,40}") {
            drop(duration(&text));
        }

        #[test]
        fn whole_milliseconds_are_read_back(millis in 0_u32..600_000_000) {
            prop_assert_eq!(
                duration(&format!("{millis}ms")),
                Ok(Duration::from_millis(u64::from(millis)))
            );
        }
    }
}
