//! From a started engine to one that answers with its model loaded: the answer, its death, a
//! fatal line in its log, the deadline and the cancellation, whichever comes first.
//!
//! # The deadline
//! An engine has its startup timeout. While it goes on writing to its log (lines about our own
//! questions do not count) it has longer: until the log has been quiet for 30 seconds, or for
//! half the timeout where that is less. Three times the timeout is the end whatever it writes.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use url::Url;

use super::{ServeError, container::Exit, heard::Heard, ready::Probe, scope::STARTING};
use crate::engine::LaunchSpec;

/// How long a log may be quiet after the timeout.
const QUIET: Duration = Duration::from_secs(30);
/// The most that writing extends the timeout, as a multiple.
const STRETCH: u32 = 3;
/// How long an engine may take to end, or to recover, after a line that says it failed.
const AFTER_FATAL: Duration = Duration::from_secs(5);

/// Why an engine is not ready.
#[derive(Debug)]
pub(super) enum NotReady {
    /// It ended.
    Ended(Exit),
    /// Its log says that it failed, yet it neither ends nor answers.
    Fatal,
    /// The deadline passed.
    Late {
        /// How long it was waited for.
        waited: Duration,
        /// The last thing heard from it.
        answer: Option<String>,
    },
    /// Something else: we are told to stop, or the daemon is gone.
    Other(ServeError),
}

/// Waits for the engine, asking at the candidates' addresses.
pub(super) async fn ready(
    probe: &Probe,
    candidates: &[Url],
    spec: &LaunchSpec,
    heard: &Heard,
    ended: impl Future<Output = Result<Exit, ServeError>>,
    cancel: &CancellationToken,
) -> Result<Url, NotReady> {
    let mut last = String::from("none");
    let begin = Instant::now();
    let answer = async {
        let url = probe
            .healthy(candidates, spec.api.health_path, false, &mut last)
            .await;
        let longest = spec.startup_timeout.saturating_mul(STRETCH);
        let loaded = probe.load_model(&url, &spec.api, longest).await;
        loaded.map(|()| url).map_err(NotReady::Other)
    };
    let fatal = async {
        heard.fatal().await;
        tokio::time::sleep(AFTER_FATAL).await;
    };
    let why = tokio::select! {
        answer = answer => {
            heard.ready();
            return answer;
        }
        ended = ended => ended.map_or_else(NotReady::Other, NotReady::Ended),
        () = fatal => NotReady::Fatal,
        () = late(heard, begin, spec.startup_timeout) => {
            let until = deadline(begin, spec.startup_timeout, heard.newest());
            NotReady::Late { waited: until.duration_since(begin), answer: None }
        }
        () = cancel.cancelled() => NotReady::Other(ServeError::Cancelled { phase: STARTING }),
    };
    Err(why.after(last))
}

impl NotReady {
    /// The same with the last thing that was heard.
    fn after(mut self, last: String) -> Self {
        if let Self::Late { answer, .. } = &mut self {
            *answer = Some(last);
        }
        self
    }
}

async fn late(heard: &Heard, begin: Instant, limit: Duration) {
    loop {
        let until = deadline(begin, limit, heard.newest());
        if Instant::now() >= until {
            return;
        }
        tokio::time::sleep_until(until.into()).await;
    }
}

/// When the wait is over, as far as is known; `newest` is when the log last grew.
fn deadline(begin: Instant, limit: Duration, newest: Option<Instant>) -> Instant {
    let after = |duration: Duration| begin.checked_add(duration).unwrap_or(begin);
    let quiet = QUIET.min(limit / 2);
    let moving = newest.and_then(|newest| newest.checked_add(quiet));
    moving
        .map_or(after(limit), |moving| moving.max(after(limit)))
        .min(after(limit.saturating_mul(STRETCH)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_grows_extends_the_deadline_within_a_limit() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let limit = Duration::from_secs(100);
        let until = |newest: Option<u64>| deadline(begin, limit, newest.map(at));
        assert_eq!(until(None), at(100));
        assert_eq!(until(Some(10)), at(100));
        assert_eq!(until(Some(90)), at(120));
        assert_eq!(until(Some(200)), at(230));
        assert_eq!(until(Some(290)), at(300));
        // Half the timeout where that is less than 30 seconds.
        let short = Duration::from_secs(10);
        assert_eq!(deadline(begin, short, Some(at(9))), at(14));
    }
}
