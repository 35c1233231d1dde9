//! Whether, and after how long, a request to GitHub is sent again. Pure.
//!
//! In: how an attempt failed. Out: a wait, or none. Rules: GitHub Docs, "Rate limits for the REST
//! API" and "Best practices for using the REST API": honour `retry-after`, then
//! `x-ratelimit-reset`, else wait a minute and then longer; never repeat what is refused for good.

use std::time::Duration;

use super::refusal::{Kind, Refusal};

/// Attempts of one request, the first included.
const ATTEMPTS: u32 = 5;
/// Attempts of one request that meets a limit. What ends them in practice is how long one client
/// may wait in all: [`super::MOST_LOST`].
const LIMITED_ATTEMPTS: u32 = 10;
/// The longest wait, in seconds. A server that asks for more is not asked again: coming back
/// early would lengthen the block, and a GPU runner must not idle for an hour.
const LONGEST_S: u64 = 120;
/// A rate limit without a stated end lasts at least this many base delays (a minute in use).
const LIMITED_FACTOR: u32 = 60;
/// Base delays over which the jobs that met a limit together come back.
const LIMITED_SPREAD: u32 = 10;

/// How one attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// GitHub, or something on the way, answered with a status other than 2xx.
    Refused(Refusal),
    /// No complete answer: refused or cut connection, timeout. The request may have been done.
    Cut(String),
    /// A 2xx answer that is not what was asked for.
    Unreadable(String),
    /// More than this many bytes.
    Large(u64),
    /// A redirect that is not followed, and why.
    Redirected(String),
    /// The server's certificate is not trusted here.
    Untrusted(String),
    /// Nothing was sent: this client has given up for a while.
    Held {
        /// Because of a limit, and not because GitHub cannot be reached.
        limited: bool,
        /// Why, and for how long.
        detail: String,
    },
}

impl Failure {
    /// Whether it is a limit.
    pub(super) fn is_limit(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.kind() == Kind::Limited)
    }

    /// Whether it may be gone at the next attempt.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Cut(_) => true,
            Self::Refused(refusal) => matches!(refusal.kind(), Kind::Limited | Kind::Passing),
            Self::Unreadable(_)
            | Self::Large(_)
            | Self::Redirected(_)
            | Self::Untrusted(_)
            | Self::Held { .. } => false,
        }
    }

    /// Seconds the server asks for.
    pub(super) fn asked_s(&self) -> Option<u64> {
        match self {
            Self::Refused(refusal) => refusal.asked_s(),
            Self::Cut(_)
            | Self::Unreadable(_)
            | Self::Large(_)
            | Self::Redirected(_)
            | Self::Untrusted(_)
            | Self::Held { .. } => None,
        }
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
    let limited = failure.is_limit();
    let most = if limited { LIMITED_ATTEMPTS } else { ATTEMPTS };
    if attempt >= most || !failure.may_pass() {
        return None;
    }
    let longest = Duration::from_secs(LONGEST_S);
    let doubled = base.saturating_mul(1 << (attempt - 1).min(16));
    // Jitter only ever lengthens: a stated wait is a minimum. Many jobs must not return at once,
    // least of all to a limit.
    let (own, spread) = if limited {
        (
            doubled.saturating_mul(LIMITED_FACTOR),
            base * LIMITED_SPREAD,
        )
    } else {
        (doubled, base)
    };
    let wait = match failure.asked_s().map(Duration::from_secs) {
        Some(asked) if asked > longest => return None,
        // A server that keeps saying "at once" is not believed for ever.
        Some(asked) => asked.max(doubled.min(longest)),
        None => own.min(longest),
    };
    Some(wait + spread.mul_f64(jitter.clamp(0.0, 1.0)))
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

    /// Waits after the first so many attempts, as far as there are any.
    fn waits(failure: &Failure, attempts: u32) -> Vec<u64> {
        (1..=attempts)
            .map_while(|attempt| wait(failure, attempt, SECOND, 0.0))
            .map(|wait| wait.as_secs())
            .collect()
    }

    fn first(refusal: Refusal) -> Option<Duration> {
        wait(&Failure::Refused(refusal), 1, SECOND, 0.0)
    }

    #[test]
    fn a_missing_right_is_never_tried_again() {
        let fork = refusal(403, "Resource not accessible by integration");
        assert_eq!(fork.kind(), Kind::Forbidden);
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
        let doubling = [1, 2, 4, 8];
        for status in [500, 502, 503, 504] {
            assert_eq!(waits(&Failure::Refused(refusal(status, "")), 9), doubling);
        }
        assert_eq!(waits(&Failure::Cut("reset".into()), 9), doubling);
        assert!(waits(&Failure::Unreadable("no JSON".into()), 9).is_empty());
    }

    #[test]
    fn a_stated_wait_is_honoured_and_only_lengthened() {
        let mut limited = refusal(403, "You have exceeded a secondary rate limit.");
        limited.retry_after_s = Some(7);
        assert_eq!(first(limited.clone()), Some(7 * SECOND));
        let with_jitter = wait(&Failure::Refused(limited.clone()), 1, SECOND, 0.5);
        assert_eq!(with_jitter, Some(12 * SECOND));
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
        assert_eq!(waits(&limited, 4), [60, 120, 120, 120]);
        assert_eq!(waits(&limited, 20).len(), 9);
    }

    #[test]
    fn a_server_that_keeps_saying_at_once_is_not_believed() {
        let limited = Failure::Refused(Refusal {
            retry_after_s: Some(0),
            ..refusal(429, "")
        });
        assert_eq!(waits(&limited, 6), [1, 2, 4, 8, 16, 32]);
    }
}
