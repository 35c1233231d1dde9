//! Makes a document fit: sections go in a fixed order, and after each the size is measured
//! again (`research/ci-actions.md` §3.4). Marker, verdict and links always stay.

use super::RenderError;

/// How large a document may be. Both must hold: GitHub counts characters, and not every reader
/// counts them alike.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// UTF-16 units.
    pub(super) units: usize,
    /// Bytes of UTF-8.
    pub(super) bytes: usize,
}

/// A comment: GitHub's limit is 65,536 characters.
pub(super) const COMMENT: Budget = Budget {
    units: 60_000,
    bytes: 60_000,
};

/// A job summary: the runner's limit is 1 MiB per step, and other tools may write to it too.
pub(super) const SUMMARY: Budget = Budget {
    units: 1_000_000,
    bytes: 1_000_000,
};

/// A check run's summary: GitHub's limit is 65,535 characters.
pub(super) const CHECK: Budget = Budget {
    units: 65_000,
    bytes: 65_000,
};

/// Which metrics the folded tables hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metrics {
    /// Every one.
    All,
    /// Gating ones, medians, 95th percentiles and shares.
    Main,
    /// None; a sentence says where they are.
    None,
}

/// How much of the environment is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surroundings {
    /// What differs, what is equal, and the configuration's difference.
    All,
    /// Only the keys that differ.
    Differences,
    /// Nothing.
    None,
}

/// What a document holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Detail {
    pub(super) metrics: Metrics,
    pub(super) surroundings: Surroundings,
    /// Rows of the table of changes.
    pub(super) rows: usize,
    /// Whether limits and next steps are shown.
    pub(super) steps: bool,
    /// Whether the pushes before are shown.
    pub(super) earlier: bool,
    /// Whether it goes into a section of a comment that several jobs share.
    pub(super) nested: bool,
}

impl Detail {
    /// Everything.
    pub(super) const FULL: Self = Self {
        metrics: Metrics::All,
        surroundings: Surroundings::All,
        rows: usize::MAX,
        steps: true,
        earlier: true,
        nested: false,
    };

    /// Whether something is left out that [`Self::FULL`] has.
    pub(super) fn is_shortened(&self) -> bool {
        self.metrics != Metrics::All || self.surroundings != Surroundings::All || !self.steps
    }
}

/// From everything down to the verdict and the links.
pub(super) fn ladder() -> Vec<Detail> {
    use Metrics::{All, Main, None};
    use Surroundings::Differences;
    let rung = |metrics, surroundings, rows, steps| Detail {
        metrics,
        surroundings,
        rows,
        steps,
        earlier: false,
        nested: false,
    };
    vec![
        Detail {
            earlier: true,
            ..rung(All, Surroundings::All, 20, true)
        },
        rung(All, Surroundings::All, 20, true),
        rung(Main, Surroundings::All, 20, true),
        rung(None, Surroundings::All, 20, true),
        rung(None, Differences, 20, true),
        rung(None, Differences, 5, true),
        rung(None, Surroundings::None, 5, true),
        rung(None, Surroundings::None, 0, false),
    ]
}

/// The first document of the ladder that fits; the last one if none does. Its parts are all
/// bounded, so that it is far below both budgets (a test feeds it the longest of everything).
///
/// # Errors
/// A template fault.
pub(super) fn fit(
    budget: Budget,
    ladder: &[Detail],
    render: impl Fn(&Detail) -> Result<String, RenderError>,
) -> Result<String, RenderError> {
    let mut text = String::new();
    for detail in ladder {
        text = render(detail)?;
        if fits(budget, &text) {
            break;
        }
    }
    Ok(text)
}

/// Whether a text keeps both limits.
pub(super) fn fits(budget: Budget, text: &str) -> bool {
    text.len() <= budget.bytes && text.encode_utf16().count() <= budget.units
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_counts_must_hold() {
        let budget = Budget { units: 3, bytes: 6 };
        assert!(fits(budget, "abc"));
        assert!(!fits(budget, "abcd"), "four units");
        assert!(!fits(budget, "éééé"), "eight bytes");
        assert!(!fits(budget, "€€€"), "nine bytes");
        assert!(fits(budget, "🙂"), "two units, four bytes");
    }

    #[test]
    fn the_first_rung_that_fits_is_taken() {
        let budget = Budget {
            units: 30,
            bytes: 30,
        };
        let by_rows = |detail: &Detail| Ok("x".repeat(detail.rows.min(100)));
        let text = fit(budget, &ladder(), by_rows).unwrap();
        assert_eq!(text.len(), 20);
        let nothing_fits = Budget { units: 0, bytes: 0 };
        let text = fit(nothing_fits, &ladder(), |_| Ok("still said".to_owned())).unwrap();
        assert_eq!(text, "still said");
    }
}
