//! Whether, and after how long, a request to GitHub is sent again. Pure.
//!
//! In: how an attempt failed. Out: a wait, or none. Rules: GitHub Docs, "Rate limits for the REST
//! API" and "Best practices for using the REST API": honour `retry-after`, then
//! `x-ratelimit-reset`, else wait a minute and then longer; never repeat what is refused for good.

use std::time::Duration;

/// Attempts of one request, the first included.
pub(super) const ATTEMPTS: u32 = 5;
/// The longest wait, in seconds. A server that asks for more is not asked again: coming back
/// early would lengthen the block, and a GPU runner must not idle for an hour.
const LONGEST_S: u64 = 120;
/// A rate limit without a stated end lasts at least this many base delays (a minute in use).
const LIMITED_FACTOR: u32 = 60;

/// How one attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// GitHub, or something on the way, answered with a status other than 2xx.
    Refused(Refusal),
    /// No complete answer: refused or cut connection, timeout. The request may have been done.
    Cut(String),
    /// A 2xx answer that is not what was asked for.
    Unreadable(String),
}

/// An answer other than 2xx, with the headers that matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// HTTP status.
    pub(super) status: u16,
    /// `message` of the body, or the body.
    pub(super) message: String,
    /// `retry-after`, seconds.
    pub(super) retry_after_s: Option<u64>,
    /// `x-ratelimit-remaining`, requests.
    pub(super) remaining: Option<u64>,
    /// `x-ratelimit-reset`, Unix seconds.
    pub(super) reset_s: Option<u64>,
    /// `date`, Unix seconds: the server's own clock, so that ours does not matter.
    pub(super) date_s: Option<u64>,
}

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The token lacks a right. Trying again changes nothing.
    Forbidden,
    /// Too many requests.
    Limited,
    /// A fault of the server that may pass.
    Passing,
    /// Anything else, for good.
    Final,
}

impl Refusal {
    /// Classes the refusal.
    pub(super) fn kind(&self) -> Kind {
        match self.status {
            403 if self.says("resource not accessible") => Kind::Forbidden,
            403 if self.limited() => Kind::Limited,
            403 => Kind::Forbidden,
            429 => Kind::Limited,
            500 | 502 | 503 | 504 => Kind::Passing,
            _ => Kind::Final,
        }
    }

    fn limited(&self) -> bool {
        self.retry_after_s.is_some() || self.remaining == Some(0) || self.says("rate limit")
    }

    fn says(&self, words: &str) -> bool {
        self.message.to_lowercase().contains(words)
    }

    /// Seconds the server asks for.
    fn asked_s(&self) -> Option<u64> {
        let until_reset = || {
            let spent = self.remaining == Some(0);
            // One more second: the header's clock has no fractions.
            let wait = self.reset_s?.saturating_sub(self.date_s?) + 1;
            spent.then_some(wait)
        };
        self.retry_after_s.or_else(until_reset)
    }
}

/// The wait before the next attempt, `None` when there is to be none. `attempt` counts from 1;
/// `base` is one second in use; `jitter` is in `0..1`.
pub(super) fn wait(
    failure: &Failure,
    attempt: u32,
    base: Duration,
    jitter: f64,
) -> Option<Duration> {
    if attempt >= ATTEMPTS {
        return None;
    }
    let doubled = base.saturating_mul(1 << (attempt - 1).min(16));
    let (asked_s, own) = match failure {
        Failure::Cut(_) => (None, doubled),
        Failure::Unreadable(_) => return None,
        Failure::Refused(refusal) => match refusal.kind() {
            Kind::Forbidden | Kind::Final => return None,
            Kind::Limited => (refusal.asked_s(), doubled.saturating_mul(LIMITED_FACTOR)),
            Kind::Passing => (refusal.asked_s(), doubled),
        },
    };
    // Jitter only ever lengthens: a stated wait is a minimum. Many jobs must not return at once.
    let spread = base.mul_f64(jitter.clamp(0.0, 1.0));
    match asked_s {
        Some(seconds) if seconds > LONGEST_S => None,
        Some(seconds) => Some(Duration::from_secs(seconds) + spread),
        None => Some(own.min(Duration::from_secs(LONGEST_S)) + spread),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn refusal(status: u16, message: &str) -> Refusal {
        Refusal {
            status,
            message: message.into(),
            ..Refusal::default()
        }
    }

    fn first(refusal: Refusal) -> Option<Duration> {
        wait(&Failure::Refused(refusal), 1, SECOND, 0.0)
    }

    #[test]
    fn a_missing_right_is_never_tried_again() {
        let fork = refusal(403, "Resource not accessible by integration");
        assert_eq!(fork.kind(), Kind::Forbidden);
        // Not even when the quota happens to be used up too.
        let both = Refusal {
            remaining: Some(0),
            ..fork.clone()
        };
        assert_eq!(both.kind(), Kind::Forbidden);
        for gone in [
            fork,
            refusal(401, ""),
            refusal(404, ""),
            refusal(410, ""),
            refusal(422, ""),
        ] {
            assert_eq!(first(gone), None);
        }
    }

    #[test]
    fn server_faults_and_cut_connections_double_the_wait() {
        let waits = |failure: Failure| -> Vec<Option<u64>> {
            (1..=5)
                .map(|attempt| wait(&failure, attempt, SECOND, 0.0).map(|w| w.as_secs()))
                .collect()
        };
        let doubling = vec![Some(1), Some(2), Some(4), Some(8), None];
        for status in [500, 502, 503, 504] {
            assert_eq!(waits(Failure::Refused(refusal(status, ""))), doubling);
        }
        assert_eq!(waits(Failure::Cut("reset".into())), doubling);
        assert_eq!(waits(Failure::Unreadable("no JSON".into())), [None; 5]);
    }

    #[test]
    fn a_stated_wait_is_honoured_and_only_lengthened() {
        let mut limited = refusal(403, "You have exceeded a secondary rate limit.");
        limited.retry_after_s = Some(7);
        assert_eq!(first(limited.clone()), Some(7 * SECOND));
        let with_jitter = wait(&Failure::Refused(limited.clone()), 1, SECOND, 0.5);
        assert_eq!(with_jitter, Some(Duration::from_millis(7_500)));
        limited.retry_after_s = Some(121);
        assert_eq!(first(limited), None);
    }

    #[test]
    fn a_spent_quota_waits_for_its_reset_by_the_servers_clock() {
        let mut spent = refusal(403, "API rate limit exceeded for installation");
        spent.remaining = Some(0);
        spent.reset_s = Some(1_700_000_030);
        spent.date_s = Some(1_700_000_000);
        assert_eq!(first(spent.clone()), Some(31 * SECOND));
        // In the past: at once, but for the second of rounding.
        spent.reset_s = Some(1_600_000_000);
        assert_eq!(first(spent.clone()), Some(SECOND));
        // Without the server's clock: a minute.
        spent.date_s = None;
        assert_eq!(first(spent), Some(60 * SECOND));
    }

    #[test]
    fn a_limit_without_an_end_waits_a_minute_then_two_at_most() {
        let limited = Failure::Refused(refusal(429, ""));
        let waits: Vec<_> = (1..=5)
            .map(|attempt| wait(&limited, attempt, SECOND, 0.0).map(|w| w.as_secs()))
            .collect();
        assert_eq!(waits, [Some(60), Some(120), Some(120), Some(120), None]);
    }
}
