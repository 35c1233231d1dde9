//! The machine's memory in a comment: versioned JSON, base64, so that nothing in it can end the
//! HTML comment it stands in.
//!
//! What comes back was written by our own account, and is still taken for hostile: sizes are
//! capped, words are checked against those that are known, links must be clean.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::escape::{clean, link};
use crate::{
    ids::Section,
    verdict::{Gate, Verdict},
};

/// Form of the state that is written.
pub(super) const VERSION: u32 = 2;
/// Earlier pushes that are remembered.
pub const MOST_EARLIER: usize = 5;
/// Regressions that are remembered.
pub(super) const MOST_REGRESSIONS: usize = 20;
/// Longest encoded state that is read, in bytes.
const LONGEST: usize = 32 * 1024;
/// Longest description of a change, in characters.
const WORST: usize = 100;

/// What one report came to: a verdict, or none because nothing could be measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Outcome {
    /// Nothing could be measured.
    #[default]
    Error,
    /// A verdict.
    Of(Verdict),
}

impl Outcome {
    /// Every outcome, the most urgent first.
    pub(super) const ALL: [Self; 8] = [
        Self::Of(Verdict::Regressed),
        Self::Error,
        Self::Of(Verdict::Missing),
        Self::Of(Verdict::Incomparable),
        Self::Of(Verdict::Inconclusive),
        Self::Of(Verdict::Improved),
        Self::Of(Verdict::New),
        Self::Of(Verdict::Unchanged),
    ];

    /// The word used in outputs and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Of(verdict) => verdict.name(),
        }
    }

    /// Place in [`Self::ALL`]: 0 is the most urgent.
    pub(super) fn urgency(self) -> usize {
        let place = Self::ALL.iter().position(|one| *one == self);
        place.unwrap_or(Self::ALL.len())
    }
}

impl From<Outcome> for String {
    fn from(outcome: Outcome) -> Self {
        outcome.name().to_owned()
    }
}

impl TryFrom<String> for Outcome {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|one| one.name() == text);
        known.ok_or_else(|| format!("no verdict is called {}", clean(&text, 40)))
    }
}

/// What the gate said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateWord {
    /// Nobody asked for a gate.
    #[default]
    Off,
    /// It is open.
    Passed,
    /// It is closed.
    Failed,
}

impl GateWord {
    /// The word used in outputs and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Passed => "passed",
            Self::Failed => "failed",
        }
    }
}

impl From<&Gate> for GateWord {
    fn from(gate: &Gate) -> Self {
        match gate {
            Gate::Off => Self::Off,
            Gate::Passed => Self::Passed,
            Gate::Regression(_) | Gate::NotProven(_) | Gate::LimitBroken(_) => Self::Failed,
        }
    }
}

/// What an earlier push came to. Short names: up to five of them travel with every state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// The verdict.
    #[serde(rename = "v")]
    pub outcome: Outcome,
    /// The gate.
    #[serde(rename = "g")]
    pub gate: GateWord,
    /// The commit, its first 12 digits.
    #[serde(rename = "h", skip_serializing_if = "Option::is_none", default)]
    pub head: Option<String>,
    /// When, RFC 3339.
    #[serde(rename = "u")]
    pub updated: String,
    /// The worst change in words.
    #[serde(rename = "w", skip_serializing_if = "Option::is_none", default)]
    pub worst: Option<String>,
}

/// What a later run may want to know of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// 1 or 2. Readers take what they know.
    pub version: u32,
    /// The job's section; `None`: the report has the comment for itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub section: Option<Section>,
    /// The verdict.
    #[serde(rename = "verdict")]
    pub outcome: Outcome,
    /// The gate.
    pub gate: GateWord,
    /// The commit that was measured.
    #[serde(default)]
    pub head: Option<String>,
    /// When the report was made, RFC 3339.
    #[serde(default)]
    pub updated: String,
    /// Id of the CI run; later runs have larger ones.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run: Option<u64>,
    /// Attempt of the CI run, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub attempt: Option<u32>,
    /// Link to the CI run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
    /// The worst change in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub worst: Option<String>,
    /// The worst regressions by name.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub regressions: Vec<String>,
    /// The pushes before, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub earlier: Vec<Push>,
}

impl State {
    /// The state as it stands in a comment.
    pub(super) fn encode(&self) -> String {
        // Strings and numbers always serialise.
        STANDARD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads what [`Self::encode`] wrote; `None` for anything else.
    pub(super) fn decode(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let json = STANDARD.decode(text).ok()?;
        let state: Self = serde_json::from_slice(&json).ok()?;
        (state.version > 0).then(|| state.cleaned())
    }

    /// Caps every text, and drops what is not what it should be.
    pub(super) fn cleaned(mut self) -> Self {
        let short = |text: &String| clean(text, WORST);
        self.head = self.head.as_deref().map(|head| clean(head, 64));
        self.updated = clean(&self.updated, 40);
        self.url = self.url.filter(|url| link(url).is_some());
        self.worst = self.worst.as_ref().map(short);
        self.regressions.truncate(MOST_REGRESSIONS);
        for name in &mut self.regressions {
            *name = clean(name, 120);
        }
        self.earlier.truncate(MOST_EARLIER);
        for push in &mut self.earlier {
            push.head = push.head.as_deref().map(|head| clean(head, 64));
            push.updated = clean(&push.updated, 40);
            push.worst = push.worst.as_ref().map(short);
        }
        self
    }

    /// Whether another report is the newer one. Runs are told apart by their ids, which GitHub
    /// counts upwards, then by attempt; without ids by the time.
    pub fn is_older_than(&self, other: &Self) -> bool {
        let number = |state: &Self| Some((state.run?, state.attempt.unwrap_or(1)));
        match (number(self), number(other)) {
            (Some(one), Some(two)) if one != two => one < two,
            _ => moment(&self.updated) < moment(&other.updated),
        }
    }

    /// Whether two reports are of the same push; what is not known does not tell them apart.
    pub fn is_of_push(&self, head: Option<&str>) -> bool {
        match (self.head.as_deref(), head) {
            (Some(one), Some(two)) => is_same_commit(one, two),
            _ => true,
        }
    }

    /// The pushes before a report of the push with this head, newest first: this state's own,
    /// when it is of another push, and those before it.
    pub fn before(&self, head: Option<&str>) -> Vec<Push> {
        let other = |push: &Push| match (push.head.as_deref(), head) {
            (Some(one), Some(two)) => !is_same_commit(one, two),
            _ => true,
        };
        let own = (!self.is_of_push(head)).then(|| Push {
            outcome: self.outcome,
            gate: self.gate,
            head: self
                .head
                .as_deref()
                .map(|head| head.chars().take(12).collect()),
            updated: self.updated.clone(),
            worst: self.worst.clone(),
        });
        let before = self.earlier.iter().filter(|push| other(push)).cloned();
        own.into_iter().chain(before).take(MOST_EARLIER).collect()
    }
}

/// One of two commits may be shortened, to 7 digits or more.
fn is_same_commit(one: &str, two: &str) -> bool {
    let (one, two) = (one.to_ascii_lowercase(), two.to_ascii_lowercase());
    let shorter = one.len().min(two.len());
    one == two || (shorter >= 7 && (one.starts_with(&two) || two.starts_with(&one)))
}

fn moment(text: &str) -> Option<jiff::Timestamp> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn state(head: &str, run: u64) -> State {
        State {
            version: VERSION,
            section: None,
            outcome: Outcome::Of(Verdict::Regressed),
            gate: GateWord::Failed,
            head: Some(head.to_owned()),
            updated: "2026-01-31T17:05:00Z".to_owned(),
            run: Some(run),
            attempt: Some(1),
            url: Some("https://github.com/org/repo/actions/runs/1".to_owned()),
            worst: Some("TPOT p50 +10.7 %".to_owned()),
            regressions: vec!["chat tpot_ms.p50".to_owned()],
            earlier: Vec::new(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut written = state(&"a".repeat(40), 7);
        written.earlier = written.before(Some(&"b".repeat(40)));
        assert_eq!(written.earlier.len(), 1);
        assert_eq!(State::decode(&written.encode()), Some(written));
    }

    #[test]
    fn the_first_version_is_read() {
        let json = r#"{"version":1,"verdict":"regressed","gate":"failed","head":"def5678","updated":"2026-01-31T17:05:00Z","regressions":["chat tpot_ms.p50"]}"#;
        let read = State::decode(&STANDARD.encode(json)).unwrap();
        assert_eq!(read.outcome, Outcome::Of(Verdict::Regressed));
        assert_eq!(read.regressions.len(), 1);
        assert!(read.earlier.is_empty() && read.run.is_none());
        assert_eq!(read.before(Some("abc1234")).len(), 1);
    }

    #[test]
    fn foreign_words_and_sizes_are_refused_or_cut() {
        let of = |json: &str| State::decode(&STANDARD.encode(json));
        assert_eq!(of(r#"{"version":2,"verdict":"<b>","gate":"off"}"#), None);
        assert_eq!(of(r#"{"version":2,"verdict":"new","gate":"open"}"#), None);
        assert_eq!(of("[]"), None);
        assert_eq!(State::decode("not base64!"), None);
        assert_eq!(State::decode(&"A".repeat(LONGEST + 4)), None);
        let long = format!(
            r#"{{"version":2,"verdict":"new","gate":"off","worst":"{}","url":"javascript:x"}}"#,
            "x".repeat(5_000)
        );
        let read = of(&long).unwrap();
        assert!(read.worst.unwrap().chars().count() <= WORST + 1);
        assert_eq!(read.url, None);
        let hidden = r#"{"version":2,"verdict":"new","gate":"off","section":"a\u202eb"}"#;
        assert_eq!(of(hidden), None, "a section's name is checked like any");
    }

    #[test]
    fn the_newer_report_is_known_by_run_attempt_and_time() {
        let old = state("a", 7);
        let mut new = state("b", 8);
        new.updated = "2020-01-01T00:00:00Z".to_owned();
        assert!(old.is_older_than(&new), "clocks of runners differ");
        assert!(!new.is_older_than(&old));
        let again = State {
            attempt: Some(2),
            ..old.clone()
        };
        assert!(old.is_older_than(&again) && !old.is_older_than(&old.clone()));
        let later = State {
            updated: "2026-01-31T17:05:01Z".to_owned(),
            ..old.clone()
        };
        assert!(old.is_older_than(&later));
        let local = State {
            run: None,
            ..later.clone()
        };
        assert!(old.is_older_than(&local) && !local.is_older_than(&old));
    }

    #[test]
    fn five_pushes_are_remembered_and_a_second_report_of_one_is_not_another() {
        let head = |number: u32| format!("{number:02x}").repeat(20);
        let mut standing = state(&head(1), 1);
        for number in 2..10_u32 {
            let new = State {
                earlier: standing.before(Some(&head(number))),
                ..state(&head(number), u64::from(number))
            };
            let again = State {
                earlier: new.before(Some(&head(number))),
                ..new.clone()
            };
            assert_eq!(again.earlier, new.earlier);
            standing = new;
        }
        let heads: Vec<_> = standing
            .earlier
            .iter()
            .map(|push| push.head.clone())
            .collect();
        let expected = [8, 7, 6, 5, 4].map(|number| head(number).get(..12).map(str::to_owned));
        assert_eq!(heads, expected);
        // A push that comes back is not listed before itself.
        let back = standing.before(Some(&head(8)));
        assert!(
            back.iter()
                .all(|push| push.head.as_deref() != head(8).get(..12))
        );
        assert_eq!(back.len(), MOST_EARLIER);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "\\PC{0,200}|[A-Za-z0-9+/=]{0,200}") {
            drop(State::decode(&text));
        }

        #[test]
        fn any_json_is_capped(worst in "\\PC{0,300}", head in "\\PC{0,100}", many in 0_usize..50) {
            let mut made = state(&head, 1);
            made.worst = Some(worst);
            made.earlier = (0..many).flat_map(|_| state(&head, 1).before(Some("zzzzzzz"))).collect();
            let read = State::decode(&made.encode()).unwrap();
            prop_assert!(read.earlier.len() <= MOST_EARLIER);
            prop_assert!(read.worst.as_ref().unwrap().chars().count() <= WORST + 1);
            prop_assert_eq!(State::decode(&read.encode()), Some(read.clone()));
        }
    }
}
