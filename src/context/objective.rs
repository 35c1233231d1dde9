//! Service-level objectives: what each single request has to meet to count as good.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::ids;

/// A limit that a request meets or misses. A request is good when it ended well and meets all
/// objectives; goodput is good requests per second (`DistServe`, Zhong et al., OSDI 2024).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// What is limited.
    pub quantity: Quantity,
    /// The largest value that is still good, in milliseconds.
    pub limit_ms: f64,
}

/// What an objective limits, per request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quantity {
    /// Time to first token.
    #[serde(rename = "ttft_ms")]
    Ttft,
    /// Time per output token after the first.
    #[serde(rename = "tpot_ms")]
    Tpot,
    /// The longest gap between two output chunks.
    #[serde(rename = "itl_ms")]
    Itl,
    /// End-to-end latency.
    #[serde(rename = "e2e_ms")]
    E2e,
}

impl Quantity {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ttft, Self::Tpot, Self::Itl, Self::E2e];

    /// The name in settings and results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ttft => "ttft_ms",
            Self::Tpot => "tpot_ms",
            Self::Itl => "itl_ms",
            Self::E2e => "e2e_ms",
        }
    }
}

/// Writes an objective as it is read.
impl fmt::Display for Objective {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}={}", self.quantity.name(), self.limit_ms)
    }
}

/// Why a text is no objective; a sentence fragment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ObjectiveError(String);

impl FromStr for Objective {
    type Err = ObjectiveError;

    fn from_str(text: &str) -> Result<Self, ObjectiveError> {
        let names = || Quantity::ALL.map(Quantity::name);
        let (name, limit) = text.split_once('=').ok_or_else(|| {
            ObjectiveError("write objectives as ttft_ms=200,tpot_ms=50,e2e_ms=5000".to_owned())
        })?;
        let name = name.trim();
        let quantity = Quantity::ALL
            .into_iter()
            .find(|quantity| quantity.name() == name)
            .ok_or_else(|| {
                let hint = ids::closest(name, names())
                    .map(|name| format!("; did you mean `{name}`?"))
                    .unwrap_or_default();
                let known = names().join(", ");
                ObjectiveError(format!("`{name}` is none of {known}{hint}"))
            })?;
        match limit.trim().parse::<f64>() {
            Ok(limit_ms) if limit_ms > 0.0 && limit_ms.is_finite() => {
                Ok(Self { quantity, limit_ms })
            }
            Ok(_) | Err(_) => Err(ObjectiveError(format!(
                "the limit of {name} must be milliseconds above 0"
            ))),
        }
    }
}

/// Objectives separated by commas, each quantity at most once.
pub(super) fn objectives(text: &str) -> Result<Vec<Objective>, String> {
    let mut found: Vec<Objective> = Vec::new();
    for word in super::text::list(text) {
        let objective: Objective = word.parse().map_err(|error: ObjectiveError| error.0)?;
        if found
            .iter()
            .any(|known| known.quantity == objective.quantity)
        {
            return Err(format!("{} is given twice", objective.quantity.name()));
        }
        found.push(objective);
    }
    if found.is_empty() {
        return Err("name at least one objective, such as ttft_ms=200".to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn objectives_are_read_and_written_back() {
        let found = objectives("ttft_ms=200, tpot_ms=50.5,e2e_ms=5000").unwrap();
        let text: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["ttft_ms=200", "tpot_ms=50.5", "e2e_ms=5000"]);
        let json = serde_json::to_string(&found[0]).unwrap();
        assert_eq!(json, r#"{"quantity":"ttft_ms","limit_ms":200.0}"#);
    }

    #[test]
    fn wrong_objectives_say_what_is_allowed() {
        for (text, says) in [
            ("", "at least one"),
            ("200", "ttft_ms=200"),
            ("tttf_ms=200", "did you mean `ttft_ms`?"),
            ("ttft_ms=0", "above 0"),
            ("ttft_ms=inf", "above 0"),
            ("ttft_ms=1,ttft_ms=2", "twice"),
        ] {
            let error = objectives(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_objectives_or_an_error(text in "[a-z0-9_=,. ]{0,40}|\\PC{0,30}") {
            drop(objectives(&text));
        }
    }
}
