//! A regression that somebody accepts: a label allows it, a reason explains it, and neither
//! counts without the other.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    pattern::Pattern,
    standing::{Expires, Role, SetBy, Standing},
};
use crate::{context::Trigger, ids::is_hidden};

/// Longest reason that is kept, in characters.
const MAX_CHARS: usize = 300;
/// How a line of a pull request's description that gives a reason begins, in any case.
const KEYWORD: &str = "kitt-accept";

/// Who may accept what, as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AcceptRule {
    /// The label that allows it. Only people with triage rights can put one on a pull request.
    pub label: String,
    /// Metrics whose regression can be accepted; all when absent.
    #[serde(default)]
    pub metrics: Vec<Pattern>,
    /// Whether a broken absolute limit can be accepted too.
    #[serde(default)]
    pub limits: bool,
    /// How long the label counts: for the commit that it was set for (head), or as long as it is
    /// there (never).
    #[serde(default)]
    pub expires: Expires,
    /// The least role of who sets the label: triage, write, maintain or admin. Anybody who can set
    /// one when absent, which may be a workflow.
    #[serde(default)]
    pub by: Option<Role>,
}

/// A reason, and what it is for.
#[derive(Debug, Clone, PartialEq)]
pub struct GivenReason {
    /// The metrics it is for; `None`: any.
    pub metrics: Option<Pattern>,
    /// The reason: one line, cleaned.
    pub text: String,
}

/// Whether and why a regression is accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Accept {
    /// What the policy allows.
    pub rule: AcceptRule,
    /// How the label stands.
    pub standing: Standing,
    /// The reasons that were given.
    pub reasons: Vec<GivenReason>,
}

impl Accept {
    /// What the event alone says.
    pub(super) fn of_event(rule: AcceptRule, setting: Option<&str>, trigger: &Trigger) -> Self {
        let standing = Standing::of_event(&rule.label, rule.expires, rule.by, trigger);
        Self {
            rule,
            standing,
            reasons: reasons(setting, trigger.body.as_deref().unwrap_or_default()),
        }
    }

    /// Who set the label that counts.
    pub const fn set_by(&self) -> Option<&SetBy> {
        match &self.standing {
            Standing::Counts(set) => Some(set),
            Standing::Absent
            | Standing::Stale { .. }
            | Standing::NotAllowed { .. }
            | Standing::NotTold(_) => None,
        }
    }

    /// The reason for which a regression of this metric is accepted.
    pub fn reason(&self, metric: &str) -> Option<&str> {
        if !self.standing.counts() || !self.allows(metric) {
            return None;
        }
        let fits = |given: &&GivenReason| {
            let metrics = given.metrics.as_ref();
            metrics.is_none_or(|pattern| pattern.matches(metric))
        };
        // A reason for this metric says more than one for any.
        let own = |given: &&GivenReason| given.metrics.is_some();
        let mut all = self.reasons.iter().filter(fits);
        let found = all.clone().find(own).or_else(|| all.next());
        found.map(|given| given.text.as_str())
    }

    /// Whether the policy lets this metric's regression be accepted at all.
    pub fn allows(&self, metric: &str) -> bool {
        let metrics = &self.rule.metrics;
        metrics.is_empty() || metrics.iter().any(|pattern| pattern.matches(metric))
    }

    /// What is left to do for this metric's regression to be accepted, as one sentence; `None`
    /// where the policy does not allow it.
    pub fn to_do(&self, metric: &str) -> Option<String> {
        if !self.allows(metric) {
            return None;
        }
        let label = &self.rule.label;
        let reason = self.reasons.iter().any(|given| {
            let metrics = given.metrics.as_ref();
            metrics.is_none_or(|pattern| pattern.matches(metric))
        });
        if let Some(objection) = self.standing.objection(label) {
            return Some(objection);
        }
        Some(match (self.standing.counts(), reason) {
            (true, true) => return None,
            (true, false) => format!(
                "The label `{label}` does not count without a reason: write a line `{KEYWORD}: \
                 <why>` in the pull request's description, or set accept-reason."
            ),
            (false, true) => format!(
                "The given reason does not count without the label: let somebody with the right \
                 to do so set `{label}` on the pull request."
            ),
            (false, false) => format!(
                "To accept the cost, set the label `{label}` and write a line `{KEYWORD}: <why>` \
                 in the pull request's description."
            ),
        })
    }
}

/// All reasons: the setting `accept-reason`, and those of the description.
pub fn reasons(setting: Option<&str>, body: &str) -> Vec<GivenReason> {
    let setting = setting.and_then(clean_reason).map(|text| GivenReason {
        metrics: None,
        text,
    });
    setting.into_iter().chain(reasons_in(body)).collect()
}

/// The reasons in a pull request's description: lines such as `kitt-accept: safer sampling` or
/// `kitt-accept(ttft_ms.*): two more layers`. Comments and code of the description, a template's
/// example for one, give no reason; neither do quotes of others.
fn reasons_in(body: &str) -> Vec<GivenReason> {
    let mut found = Vec::new();
    let visible = without_comments(body);
    let mut fence: Option<&str> = None;
    for line in visible.lines() {
        let line = line.trim();
        let mark = ["```", "~~~"]
            .into_iter()
            .find(|mark| line.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, None) => found.extend(reason_in(line)),
            (Some(_), _) => {}
        }
    }
    found
}

/// The text without `<!-- … -->`; one that is never closed hides the rest, as on GitHub.
fn without_comments(body: &str) -> String {
    let mut visible = String::with_capacity(body.len());
    let mut rest = body;
    while let Some((before, comment)) = rest.split_once("<!--") {
        visible.push_str(before);
        rest = comment.split_once("-->").map_or("", |(_, after)| after);
    }
    visible + rest
}

fn reason_in(line: &str) -> Option<GivenReason> {
    let line = line
        .strip_prefix("- ")
        .or_else(|| line.strip_prefix("* "))
        .unwrap_or(line)
        .trim_start();
    let (keyword, rest) = line.split_at_checked(KEYWORD.len())?;
    if !keyword.eq_ignore_ascii_case(KEYWORD) {
        return None;
    }
    let rest = rest.trim_start();
    let (metrics, text) = match rest.strip_prefix('(') {
        Some(inside) => {
            let (pattern, text) = inside
                .split_once("):")
                .or_else(|| inside.split_once(") :"))?;
            (Some(pattern.parse().ok()?), text)
        }
        None => (None, rest.strip_prefix(':')?),
    };
    let text = clean_reason(text)?;
    Some(GivenReason { metrics, text })
}

/// A reason as one clean line of at most 300 characters; `None` where it says nothing: it is
/// empty, or still the `<why>` of a template.
pub(super) fn clean_reason(text: &str) -> Option<String> {
    let spaced = |c: char| if is_hidden(c) { ' ' } else { c };
    let line: String = text.chars().map(spaced).collect();
    let words: Vec<&str> = line.split_whitespace().collect();
    let line = words.join(" ");
    let placeholder = line.starts_with('<') && line.ends_with('>');
    if placeholder || !line.chars().any(char::is_alphanumeric) {
        return None;
    }
    if line.chars().count() <= MAX_CHARS {
        return Some(line);
    }
    let short: String = line.chars().take(MAX_CHARS - 1).collect();
    Some(short + "…")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(body: &str) -> Vec<(Option<String>, String)> {
        let pair = |given: GivenReason| (given.metrics.map(|p| p.to_string()), given.text);
        reasons_in(body).into_iter().map(pair).collect()
    }

    #[test]
    fn reasons_are_lines_of_the_description() {
        let body = "Adds guided decoding.\r\n\r\nKITT-Accept: the grammar costs\ta step\r\n\
                    - kitt-accept(ttft_ms.*): one more pass over the prompt\n";
        assert_eq!(
            found(body),
            [
                (None, "the grammar costs a step".to_owned()),
                (
                    Some("ttft_ms.*".to_owned()),
                    "one more pass over the prompt".to_owned()
                ),
            ]
        );
    }

    #[test]
    fn templates_quotes_and_code_give_no_reason() {
        for body in [
            "",
            "kitt-accept:",
            "kitt-accept: <why>",
            "kitt-accept: …",
            "kitt-accept because",
            "kitt-accept(ttft_ms.*) why",
            "kitt-accept([): why",
            "> kitt-accept: said somebody else",
            "see kitt-accept: why",
            "<!-- kitt-accept: the example -->",
            "<!--\nkitt-accept: the example\n-->",
            "<!-- never closed\nkitt-accept: why",
            "```\nkitt-accept: the example\n```",
            "~~~\n```\nkitt-accept: the example\n~~~",
        ] {
            assert_eq!(found(body), [], "{body}");
        }
        assert_eq!(found("<!-- a --> \nkitt-accept: why <!-- b -->").len(), 1);
        assert_eq!(found("```\nx\n```\nkitt-accept: why").len(), 1);
    }

    #[test]
    fn a_reason_is_one_short_clean_line() {
        let dirty = "a\u{202e}b\u{1b}[31m\nc\u{0}  d";
        assert_eq!(clean_reason(dirty).unwrap(), "a b [31m c d");
        let long = clean_reason(&"é".repeat(1000)).unwrap();
        assert_eq!(long.chars().count(), 300);
        assert!(long.ends_with('…'));
    }

    fn accept(labelled: bool, body: &str, metrics: &[&str]) -> Accept {
        Accept {
            rule: AcceptRule {
                label: "kitt/accept".to_owned(),
                metrics: metrics.iter().map(|name| name.parse().unwrap()).collect(),
                limits: false,
                expires: Expires::Head,
                by: None,
            },
            standing: if labelled {
                Standing::Counts(SetBy::default())
            } else {
                Standing::Absent
            },
            reasons: reasons_in(body),
        }
    }

    #[test]
    fn label_and_reason_are_needed_both() {
        let any = "kitt-accept: worth it";
        assert_eq!(accept(true, any, &[]).reason("x"), Some("worth it"));
        assert_eq!(accept(false, any, &[]).reason("x"), None);
        assert_eq!(accept(true, "", &[]).reason("x"), None);
        assert_eq!(accept(true, any, &["ttft_ms.*"]).reason("output_tps"), None);
        let own = "kitt-accept: all\nkitt-accept(ttft_ms.*): a first pass";
        assert_eq!(
            accept(true, own, &[]).reason("ttft_ms.p50"),
            Some("a first pass")
        );
        assert_eq!(accept(true, own, &[]).reason("output_tps"), Some("all"));
    }

    #[test]
    fn a_label_that_does_not_count_is_the_first_thing_to_say() {
        let why = "nobody knows".to_owned();
        let unclear = Accept {
            standing: Standing::NotTold(why),
            ..accept(true, "kitt-accept: worth it", &[])
        };
        assert_eq!(unclear.reason("x"), None);
        let said = unclear.to_do("x").unwrap();
        assert!(said.contains("does not count: nobody knows"), "{said}");
    }

    #[test]
    fn what_is_left_to_do_is_said() {
        let to_do = |labelled, body| accept(labelled, body, &[]).to_do("x").unwrap_or_default();
        assert!(to_do(true, "").contains("`kitt/accept` does not count without a reason"));
        assert!(to_do(true, "").contains("`kitt-accept: <why>`"));
        assert!(to_do(false, "kitt-accept: why").contains("does not count without the label"));
        assert!(to_do(false, "").starts_with("To accept the cost, set the label `kitt/accept`"));
        assert_eq!(to_do(true, "kitt-accept: why"), "");
        assert_eq!(accept(false, "", &["a"]).to_do("b"), None);
    }

    proptest! {
        #[test]
        fn any_description_gives_clean_reasons(
            body in "(kitt-accept|\\(|\\)|:|<!--|-->|```|~~~|\n|\r|> |- |\\*|[a-z ]|\\PC|\u{202e}|\u{0}){0,40}"
        ) {
            for given in reasons_in(&body) {
                prop_assert!(!given.text.chars().any(is_hidden), "{:?}", given.text);
                prop_assert!(given.text.chars().count() <= MAX_CHARS);
                prop_assert!(given.text.chars().any(char::is_alphanumeric));
            }
        }

        #[test]
        fn a_reason_that_is_written_is_found(text in "[a-zA-Z][a-zA-Z0-9 ,.]{0,80}[a-z]", before in "[a-z ]{0,20}") {
            let reasons = reasons_in(&format!("{before}\nKitt-Accept: {text}\nend"));
            let words: Vec<&str> = text.split_whitespace().collect();
            prop_assert_eq!(&reasons[0].text, &words.join(" "));
        }
    }
}
