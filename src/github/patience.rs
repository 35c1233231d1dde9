//! How much one run may ask and wait in all, whatever its single requests would like.
//!
//! In: what failed and for how long to wait. Out: whether to wait. A GPU runner is paid for while
//! it waits, and a report that comes too late is still in the job summary. After giving up,
//! nothing is sent for a while: each later request would meet the same limit, and GitHub lengthens
//! the block of those who keep asking. All clients of one program with the same token share this:
//! the comment, the check run and the baseline meet the same limits.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    clock::{Clock, SystemClock},
    retry::Failure,
};
use crate::secret::Secret;

/// What all failures of one run may cost together: waits between attempts, and attempts that
/// ended in nothing. A limit of two minutes is survived; the hourly quota is not waited for.
pub const MOST_LOST: Duration = Duration::from_mins(5);
/// What one run may send, repeated attempts and redirects included. A workflow's token has
/// 1,000 an hour for all jobs of a repository.
pub const MOST_REQUESTS: u32 = 500;
/// How long nothing is sent after giving up, when GitHub did not say.
const QUIET: Duration = Duration::from_mins(2);

/// The patience of every API address and token that this program has a client for.
static KNOWN: Mutex<Vec<(String, Secret, Patience)>> = Mutex::new(Vec::new());

/// Shared by all that ask with one token.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    clock: Arc<dyn Clock>,
    spent: Arc<Mutex<Spent>>,
}

/// What was used up so far.
#[derive(Debug, Default)]
struct Spent {
    requests: u32,
    lost: Duration,
    /// Nobody sends before: a limit is being waited out.
    held_until: Duration,
    /// Nothing is sent before, and nobody waits for it.
    quiet: Option<Quiet>,
}

#[derive(Debug, Clone)]
struct Quiet {
    until: Duration,
    limited: bool,
    why: String,
}

impl Patience {
    /// The one for this API address and token.
    pub(super) fn of(api_url: &str, token: &Secret) -> Self {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let same = known
            .iter()
            .find(|(url, other, _)| url == api_url && other == token);
        if let Some((_, _, patience)) = same {
            return patience.clone();
        }
        let patience = Self::new();
        known.push((api_url.to_owned(), token.clone(), patience.clone()));
        patience
    }

    fn new() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            spent: Arc::default(),
        }
    }

    /// The same by another clock.
    pub(super) fn by(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            ..Self::new()
        }
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Counts a request that is about to be sent; waits while another request of this client
    /// waits for a limit to pass.
    ///
    /// # Errors
    ///
    /// Nothing is to be sent.
    pub(super) async fn admit(&self) -> Result<(), Failure> {
        let wait = {
            let now = self.now();
            let mut spent = self.spent();
            if spent.requests >= MOST_REQUESTS {
                return Err(Failure::Held {
                    limited: true,
                    detail: format!("{MOST_REQUESTS} requests were sent already"),
                });
            }
            if let Some(quiet) = spent.quiet.clone() {
                if now < quiet.until {
                    let left = quiet.until.saturating_sub(now).as_secs() + 1;
                    return Err(Failure::Held {
                        limited: quiet.limited,
                        detail: format!("nothing is sent for {left} s, since: {}", quiet.why),
                    });
                }
                spent.quiet = None;
            }
            spent.requests += 1;
            spent.held_until.saturating_sub(now)
        };
        if !wait.is_zero() {
            self.clock.sleep(wait).await;
        }
        Ok(())
    }

    /// Notes the time of an attempt that ended in nothing.
    pub(super) fn lose(&self, since: Duration) {
        let lost = self.now().saturating_sub(since);
        self.spent().lost += lost;
    }

    /// Waits, unless all waiting together would become too long: then nothing is sent for a while
    /// and the answer is `false`. A limit stops the other requests of the client too; time that
    /// several of them wait at once counts once.
    pub(super) async fn wait(&self, wait: Duration, limited: bool, why: &str) -> bool {
        let now = self.now();
        let fits = {
            let mut spent = self.spent();
            let until = now + wait;
            let cost = if limited {
                until.saturating_sub(spent.held_until.max(now))
            } else {
                wait
            };
            let fits = spent.lost + cost <= MOST_LOST;
            if fits {
                spent.lost += cost;
                if limited {
                    spent.held_until = spent.held_until.max(until);
                }
            }
            fits
        };
        if fits {
            self.clock.sleep(wait).await;
        } else {
            self.be_quiet(Some(wait), limited, why);
        }
        fits
    }

    /// Sends nothing for as long as GitHub asked.
    pub(super) fn be_quiet(&self, asked: Option<Duration>, limited: bool, why: &str) {
        let until = self.now() + asked.unwrap_or(QUIET).max(QUIET);
        self.spent().quiet = Some(Quiet {
            until,
            limited,
            why: why.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::Pin};

    use super::*;

    /// Time passes only by sleeping.
    #[derive(Debug, Default)]
    struct Still(Mutex<Duration>);

    impl Clock for Still {
        fn now(&self) -> Duration {
            *self.0.lock().unwrap()
        }

        fn sleep(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            *self.0.lock().unwrap() += wait;
            Box::pin(std::future::ready(()))
        }
    }

    fn patience() -> (Arc<Still>, Patience) {
        let clock = Arc::new(Still::default());
        (clock.clone(), Patience::by(clock))
    }

    const MINUTE: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn waits_end_with_the_whole_clients_patience() {
        let (clock, patience) = patience();
        for _ in 0..5 {
            assert!(patience.wait(MINUTE, true, "limit").await);
        }
        assert!(!patience.wait(MINUTE, true, "limit").await);
        assert_eq!(clock.now(), MOST_LOST);
        let held = patience.admit().await.unwrap_err();
        assert!(matches!(held, Failure::Held { limited: true, .. }));
        // The quiet time ends; one request may look, and may not wait.
        clock.sleep(QUIET).await;
        assert!(patience.admit().await.is_ok());
        assert!(!patience.wait(MINUTE, true, "limit").await);
        assert!(patience.admit().await.is_err());
    }

    #[tokio::test]
    async fn attempts_that_end_in_nothing_cost_patience_too() {
        let (clock, patience) = patience();
        let since = patience.now();
        clock.sleep(5 * MINUTE).await;
        patience.lose(since);
        assert!(!patience.wait(Duration::from_secs(1), false, "cut").await);
        let held = patience.admit().await.unwrap_err();
        assert!(matches!(held, Failure::Held { limited: false, .. }));
    }

    #[tokio::test]
    async fn a_limit_holds_the_other_requests_back() {
        let (clock, patience) = patience();
        patience.spent().held_until = MINUTE;
        patience.admit().await.unwrap();
        assert_eq!(clock.now(), MINUTE);
        // Waiting at the same time for the same end costs nothing more.
        patience.spent().held_until = 2 * MINUTE;
        assert!(patience.wait(MINUTE, true, "limit").await);
        assert_eq!(patience.spent().lost, Duration::ZERO);
    }

    #[tokio::test]
    async fn clients_of_one_token_share_their_patience() {
        let secret = |text: &str| Secret::new(text).unwrap();
        let one = Patience::of("https://one.example", &secret("a"));
        one.be_quiet(None, true, "limit");
        let same = Patience::of("https://one.example", &secret("a"));
        assert!(same.admit().await.is_err());
        for other in [
            Patience::of("https://one.example", &secret("b")),
            Patience::of("https://two.example", &secret("a")),
        ] {
            assert!(other.admit().await.is_ok());
        }
    }

    #[tokio::test]
    async fn requests_are_counted() {
        let (_, patience) = patience();
        for _ in 0..MOST_REQUESTS {
            patience.admit().await.unwrap();
        }
        assert!(patience.admit().await.is_err());
    }

    #[tokio::test]
    async fn what_github_asks_for_is_kept() {
        let (clock, patience) = patience();
        patience.be_quiet(Some(60 * MINUTE), true, "limit");
        clock.sleep(59 * MINUTE).await;
        assert!(patience.admit().await.is_err());
        clock.sleep(MINUTE).await;
        assert!(patience.admit().await.is_ok());
    }
}
