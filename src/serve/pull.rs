//! Pulling an image: with the credentials Docker knows, progress in the log, limits on silence,
//! and a few attempts where another one may help. Dropping the future cancels the pull on the
//! daemon.

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use bollard::{
    auth::DockerCredentials, errors::Error, models::CreateImageInfo,
    query_parameters::CreateImageOptionsBuilder,
};
use futures_util::{Stream, StreamExt};

use super::{
    ServeError,
    credentials::Found,
    docker::{Daemon, chain},
    pull_failure::PullFailure,
    pull_progress::{Progress, size},
};
use crate::{ids::ImageRef, secret::Secret};

/// Limits of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullLimits {
    /// Silence while bytes should arrive.
    pub fetching: Duration,
    /// Silence while layers are unpacked (large ones take minutes on slow disks) or wait for
    /// other pulls.
    pub unpacking: Duration,
    /// Attempts, the first one included.
    pub attempts: u32,
    /// Before the second attempt; twice as long before each further one.
    pub pause: Duration,
    /// Between two lines of progress.
    pub report: Duration,
}

impl Default for PullLimits {
    fn default() -> Self {
        Self {
            fetching: Duration::from_mins(1),
            unpacking: Duration::from_mins(10),
            attempts: 3,
            pause: Duration::from_secs(3),
            report: Duration::from_secs(10),
        }
    }
}

/// Why an attempt failed.
struct Failed {
    kind: PullFailure,
    words: String,
}

/// Pulls the image, which has a tag or a digest: a repository alone would be pulled with all its
/// tags.
pub(super) async fn pull(
    daemon: &Daemon,
    image: &ImageRef,
    found: &Found,
    limits: &PullLimits,
) -> Result<(), ServeError> {
    for problem in &found.problems {
        tracing::warn!("{problem}");
    }
    let source = found
        .credentials
        .as_ref()
        .map(|(_, source)| source.as_str());
    let known = source.unwrap_or("no credentials");
    tracing::info!("pulling {image} from {} ({known})", image.registry());
    let mut attempt = 1;
    loop {
        let credentials = found.credentials.as_ref().map(|(found, _)| found.clone());
        let failed = match once(daemon, image, credentials, limits).await {
            Ok(()) => return Ok(()),
            Err(failed) => failed,
        };
        let words = cleaned(&failed.words, &found.secrets());
        if attempt >= limits.attempts || !failed.kind.may_pass() {
            return Err(ServeError::Pull {
                image: image.to_string(),
                registry: image.registry().to_owned(),
                failure: failed.kind,
                attempts: attempt,
                words: explained(words, failed.kind, found),
            });
        }
        let pause = pause(limits.pause, attempt, rand::random());
        tracing::warn!(
            "pulling {image}: {} ({words}); once more in {:.1} s",
            failed.kind,
            pause.as_secs_f64()
        );
        tokio::time::sleep(pause).await;
        attempt += 1;
    }
}

/// Twice as long each time, and by chance between half of that and all of it, so that the jobs
/// of one outage do not come back together. `chance` is in [0, 1).
fn pause(first: Duration, attempt: u32, chance: f64) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)));
    doubled.mul_f64(0.5 + chance / 2.0)
}

fn cleaned(words: &str, secrets: &[Secret]) -> String {
    secrets
        .iter()
        .fold(words.to_owned(), |words, secret| secret.redact(&words))
}

/// The daemon's words; where credentials matter, also which were sent and why no others.
fn explained(words: String, kind: PullFailure, found: &Found) -> String {
    if !matches!(kind, PullFailure::Unauthorized | PullFailure::Denied) {
        return words;
    }
    let sent = match &found.credentials {
        Some((_, source)) => format!("from {source}"),
        None => "none".to_owned(),
    };
    let problems = found.problems.iter().map(|problem| format!(", {problem}"));
    format!(
        "{words}; credentials: {sent}{}",
        problems.collect::<String>()
    )
}

async fn once(
    daemon: &Daemon,
    image: &ImageRef,
    credentials: Option<DockerCredentials>,
    limits: &PullLimits,
) -> Result<(), Failed> {
    let options = CreateImageOptionsBuilder::new()
        .from_image(image.as_str())
        .build();
    let begin = Instant::now();
    let answer = daemon.docker.create_image(Some(options), None, credentials);
    let mut report = Report::new(image, limits.report);
    follow(Box::pin(answer), limits, &mut report).await?;
    let (bytes, _) = report.progress.bytes();
    let seconds = begin.elapsed().as_secs_f64();
    tracing::info!("pulled {image}: {} in {seconds:.1} s", size(bytes));
    Ok(())
}

type Messages<'a> = Pin<Box<dyn Stream<Item = Result<CreateImageInfo, Error>> + Send + 'a>>;

/// Reads the daemon's messages to their end. Lines of progress come also while it is silent.
async fn follow(
    mut answer: Messages<'_>,
    limits: &PullLimits,
    report: &mut Report<'_>,
) -> Result<(), Failed> {
    let mut heard = Instant::now();
    loop {
        let patience = report.progress.patience(limits.fetching, limits.unpacking);
        let left = patience.saturating_sub(heard.elapsed());
        match tokio::time::timeout(left.min(limits.report), answer.next()).await {
            Ok(Some(Ok(info))) => {
                heard = Instant::now();
                report.progress.take(info);
            }
            Ok(Some(Err(error))) => return Err(failed(&error)),
            Ok(None) => return Ok(()),
            Err(_) if heard.elapsed() >= patience => {
                return Err(Failed {
                    kind: PullFailure::Stalled(patience),
                    words: format!("it stood at {}", report.progress.text()),
                });
            }
            Err(_) => {}
        }
        report.tell(heard.elapsed());
    }
}

/// Errors in a daemon's answer are the registry's or its own; all others are about the
/// connection to the daemon.
fn failed(error: &Error) -> Failed {
    if let Error::DockerResponseServerError { message: words, .. }
    | Error::DockerStreamError { error: words } = error
    {
        return Failed {
            kind: PullFailure::of(words),
            words: words.clone(),
        };
    }
    Failed {
        kind: PullFailure::Daemon,
        words: chain(error),
    }
}

/// Progress and when it was last told.
struct Report<'a> {
    image: &'a ImageRef,
    progress: Progress,
    every: Duration,
    told: Instant,
}

impl<'a> Report<'a> {
    fn new(image: &'a ImageRef, every: Duration) -> Self {
        Self {
            image,
            progress: Progress::default(),
            every,
            told: Instant::now(),
        }
    }

    fn tell(&mut self, silent: Duration) {
        if self.told.elapsed() < self.every {
            return;
        }
        self.told = Instant::now();
        let text = self.progress.text();
        if silent >= self.every {
            let silent = silent.as_secs_f64();
            tracing::info!(
                "pulling {}: {text}, nothing new for {silent:.0} s",
                self.image
            );
        } else {
            tracing::info!("pulling {}: {text}", self.image);
        }
    }
}

/// Reads the daemon's messages about an import to their end. An error is a sentence.
pub(super) async fn drain(
    answer: impl Stream<Item = Result<CreateImageInfo, Error>>,
    idle: Duration,
) -> Result<(), String> {
    let mut answer = std::pin::pin!(answer);
    loop {
        match tokio::time::timeout(idle, answer.next()).await {
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(error))) => return Err(chain(&error)),
            Ok(None) => return Ok(()),
            Err(_) => return Err(format!("the daemon said nothing for {idle:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_vary_by_half() {
        let first = Duration::from_secs(2);
        assert_eq!(pause(first, 1, 0.0), Duration::from_secs(1));
        assert_eq!(pause(first, 2, 0.0), Duration::from_secs(2));
        assert_eq!(pause(first, 2, 0.5), Duration::from_secs(3));
    }

    #[test]
    fn words_hold_no_secret_and_say_which_credentials_were_sent() {
        let secret = Secret::new("s3cret").unwrap();
        assert_eq!(cleaned("bad s3cret!", &[secret]), "bad ***!");
        let mut found = Found::default();
        found.problems.push("the helper is ill".to_owned());
        let words = |kind| explained("no".to_owned(), kind, &found);
        assert_eq!(words(PullFailure::Network), "no");
        assert_eq!(
            words(PullFailure::Unauthorized),
            "no; credentials: none, the helper is ill"
        );
    }

    #[tokio::test]
    async fn silence_has_its_limits() {
        let image: ImageRef = "r.io/x:1".parse().unwrap();
        let limits = PullLimits {
            fetching: Duration::from_millis(30),
            report: Duration::from_millis(10),
            ..PullLimits::default()
        };
        let mut report = Report::new(&image, limits.report);
        let silent = futures_util::stream::pending().boxed();
        let outcome = follow(silent, &limits, &mut report).await;
        let kind = outcome.map_err(|failed| failed.kind);
        assert_eq!(kind, Err(PullFailure::Stalled(limits.fetching)));
    }

    #[test]
    fn a_broken_connection_is_not_the_registry_s() {
        let cut = failed(&std::io::Error::other("end of file, 401").into());
        assert_eq!(cut.kind, PullFailure::Daemon);
        let said = failed(&Error::DockerStreamError {
            error: "no space left on device".to_owned(),
        });
        assert_eq!(said.kind, PullFailure::DiskFull);
    }
}
