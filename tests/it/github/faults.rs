//! What goes wrong: by rule, or by chance from a seed.

use std::ops::Range;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{
    call::{Body, Reply},
    state::State,
};

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum What {
    /// Is answered with this status, and not done.
    Status(u16),
    /// Is done, and answered with this status all the same.
    StatusAfter(u16),
    /// Is answered with this status and body, and not done.
    Answer(u16, String),
    /// The connection is closed before it is done.
    Cut,
    /// It is done, then the connection is closed: a lost answer.
    CutAfter,
    /// It is done, and half of the answer's body is sent.
    CutBody,
    Secondary {
        retry_after: Option<u64>,
    },
    /// The secondary limit as 429.
    TooMany {
        retry_after: Option<u64>,
    },
    /// The primary limit; reset is in so many seconds.
    RateLimited {
        reset: i64,
    },
    /// `Resource not accessible by integration`
    Integration,
    /// So many milliseconds before it is done.
    Delay(Range<u64>),
    /// So many milliseconds after it is done.
    DelayAfter(Range<u64>),
    /// A redirection with this status to this address.
    Moved(u16, String),
}

/// What happens to the next `times` requests that match.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Any when empty.
    pub method: String,
    /// A part of the path and query; `*` stands for any text, a `^` at its start for the start
    /// and a `$` at its end for the path's end, query left out.
    pub path: String,
    /// How many matching requests pass first.
    pub skip: u32,
    pub times: u32,
    pub what: What,
}

impl Rule {
    /// Once.
    pub fn on(method: &str, path: &str, what: What) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            skip: 0,
            times: 1,
            what,
        }
    }

    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    #[must_use]
    pub fn always(self) -> Self {
        self.times(u32::MAX)
    }

    #[must_use]
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    fn matches(&self, method: &str, path: &str, query: &str) -> bool {
        let whole = match query {
            "" => path.to_owned(),
            query => format!("{path}?{query}"),
        };
        (self.method.is_empty() || self.method.eq_ignore_ascii_case(method))
            && match self.path.strip_suffix('$') {
                Some(pattern) => glob(pattern, path, true),
                None => glob(&self.path, &whole, false),
            }
    }
}

fn glob(pattern: &str, text: &str, to_end: bool) -> bool {
    let (pattern, from_start) = match pattern.strip_prefix('^') {
        Some(rest) => (rest, true),
        None => (pattern, false),
    };
    let parts: Vec<&str> = pattern.split('*').collect();
    let mut rest = text;
    for (at, part) in parts.iter().enumerate() {
        let last = at + 1 == parts.len();
        if at == 0 && from_start {
            let Some(after) = rest.strip_prefix(part) else {
                return false;
            };
            if last && to_end && !after.is_empty() {
                return false;
            }
            rest = after;
        } else if last && to_end {
            return rest.ends_with(part);
        } else {
            let Some(found) = rest.find(part) else {
                return false;
            };
            rest = &rest[found + part.len()..];
        }
    }
    true
}

/// Random trouble. Probabilities are of each request.
#[derive(Debug, Clone, Default)]
pub struct Chaos {
    pub seed: u64,
    /// 502, not done.
    pub error: f64,
    /// 502, done.
    pub error_after: f64,
    /// Connection closed, not done.
    pub cut: f64,
    /// Connection closed, done.
    pub cut_after: f64,
    /// The most milliseconds of the waits before and after it is done.
    pub delay: u64,
}

impl State {
    pub fn fault(&mut self, rule: Rule) {
        self.faults.push(rule);
    }

    pub fn chaos(&mut self, chaos: Chaos) {
        let draws = ChaCha8Rng::seed_from_u64(chaos.seed);
        self.chaos = Some((chaos, draws));
    }
}

/// What the rules and chance have for one request.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub before_ms: u64,
    pub after_ms: u64,
    pub what: Option<What>,
}

/// Takes the delays and the first other rule that match, then draws.
pub(super) fn plan(state: &mut State, method: &str, path: &str, query: &str) -> Plan {
    let mut plan = Plan::default();
    for rule in &mut state.faults {
        if rule.times == 0 || !rule.matches(method, path, query) {
            continue;
        }
        if rule.skip > 0 {
            rule.skip -= 1;
            continue;
        }
        let mut draw = |range: &Range<u64>| match &mut state.chaos {
            Some((_, draws)) if !range.is_empty() => draws.random_range(range.clone()),
            None if !range.is_empty() => rand::rng().random_range(range.clone()),
            _ => range.start,
        };
        if let What::Delay(range) = &rule.what {
            plan.before_ms += draw(range);
        } else if let What::DelayAfter(range) = &rule.what {
            plan.after_ms += draw(range);
        } else if plan.what.is_none() {
            plan.what = Some(rule.what.clone());
        } else {
            continue;
        }
        if rule.times != u32::MAX {
            rule.times -= 1;
        }
    }
    if let (None, Some((chaos, draws))) = (&plan.what, &mut state.chaos) {
        plan.before_ms += draws.random_range(0..=chaos.delay);
        plan.after_ms += draws.random_range(0..=chaos.delay);
        let mut drawn = draws.random::<f64>();
        let outcomes = [
            (chaos.error, What::Status(502)),
            (chaos.error_after, What::StatusAfter(502)),
            (chaos.cut, What::Cut),
            (chaos.cut_after, What::CutAfter),
        ];
        for (probability, what) in outcomes {
            if drawn < probability {
                plan.what = Some(what);
                break;
            }
            drawn -= probability;
        }
    }
    plan
}

/// The answer that stands in for the real one, when the request is not to be done.
pub(super) fn instead(what: &What, now: i64) -> Option<Reply> {
    match what {
        What::Status(status) | What::StatusAfter(status) => {
            Some(Reply::json(*status, error_body(*status)))
        }
        What::Answer(status, body) => Some(Reply::new(*status, Body::Bytes(body.clone().into()))),
        What::Secondary { retry_after } | What::TooMany { retry_after } => {
            let message = "You have exceeded a secondary rate limit. Please wait a few minutes \
                           before you try again.";
            let status = if matches!(what, What::TooMany { .. }) {
                429
            } else {
                403
            };
            let reply = Reply::failure(status, message);
            Some(match retry_after {
                Some(seconds) => reply.header("retry-after", seconds),
                None => reply,
            })
        }
        What::RateLimited { reset } => Some(limited(now + reset)),
        What::Integration => Some(Reply::failure(
            403,
            "Resource not accessible by integration",
        )),
        What::Moved(status, to) => Some(moved(*status, to)),
        What::Cut | What::CutAfter | What::CutBody | What::Delay(_) | What::DelayAfter(_) => None,
    }
}

pub(super) fn limited(reset: i64) -> Reply {
    Reply::failure(403, "API rate limit exceeded for installation ID 1.")
        .header("x-ratelimit-remaining", "0")
        .header("x-ratelimit-reset", &reset)
}

pub(super) fn moved(status: u16, to: &str) -> Reply {
    let message = match status {
        301 => "Moved Permanently",
        302 => "Found",
        _ => "Temporary Redirect",
    };
    let docs = "https://docs.github.com/rest/guides/best-practices-for-using-the-rest-api";
    let body = json!({"message": message, "url": to, "documentation_url": docs});
    Reply::json(status, body).header("location", to)
}

fn error_body(status: u16) -> Value {
    match status {
        500.. => json!({"message": "Server Error"}),
        404 => json!({"message": "Not Found", "status": "404"}),
        _ => json!({"message": "Refused by the test", "status": status.to_string()}),
    }
}
