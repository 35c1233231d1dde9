//! The connection to GitHub's REST API: what is sent, how often, and what its failure means.
//!
//! In: the API's address and a token. Out: parsed answers, or a failure classed by
//! [`super::retry`]. Requests that may be repeated go through [`GitHub::ask`]; creating a comment
//! is not one of them and uses [`GitHub::attempt`].

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use url::Url;

use super::{
    GitHubError,
    address::{Address, Target},
    clock::Clock,
    operations::{MISSING_ON_SERVER, Operation, Request},
    outcome::{self, describe, give_up},
    patience::Patience,
    retry::{self, Failure},
    transport::{Reply, Transport},
};
use crate::secret::Secret;

/// One attempt with its whole answer, however slowly it trickles in.
const ATTEMPT_TIMEOUT: Duration = Duration::from_mins(1);
/// A hundred comments of the longest kind in the widest encoding stay below.
const ANSWER_LIMIT: u64 = 64 * 1024 * 1024;
/// Redirects of one request within the API.
const REDIRECTS: usize = 5;
/// Characters of a foreign error text that are shown.
const DETAIL_CHARS: usize = 300;

/// A client for one API address and one token.
#[derive(Debug, Clone)]
pub struct GitHub {
    pub(super) address: Address,
    pub(super) transport: Transport,
    token: Secret,
    base_delay: Duration,
    patience: Patience,
    author: Arc<OnceCell<String>>,
}

/// A 2xx answer.
#[derive(Debug)]
pub struct Answer<T> {
    /// The parsed body; of an empty one, what `null` is.
    pub value: T,
    /// Its headers.
    pub headers: HeaderMap,
}

/// Where a request ended.
pub(super) enum Arrived {
    /// With a 2xx answer of the API.
    Here(Reply),
    /// With a redirect to another place, not followed.
    Elsewhere(Url),
}

impl GitHub {
    /// Makes a client; sends nothing. `api_url` is `GITHUB_API_URL`, on GitHub Enterprise Server
    /// with its `/api/v3`. Must be called inside a tokio runtime. Proxies are taken from
    /// `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
    ///
    /// # Errors
    ///
    /// [`GitHubError::Address`] when `api_url` is no HTTP address, [`GitHubError::Client`] when
    /// the token cannot be sent or the TLS set-up of this host is broken.
    pub fn new(api_url: &str, token: Secret) -> Result<Self, GitHubError> {
        let address = Address::parse(api_url)?;
        let transport = Transport::new(address.base()?, &token)?;
        let patience = Patience::of(api_url, &token);
        Ok(Self {
            address,
            transport,
            token,
            base_delay: Duration::from_secs(1),
            patience,
            author: Arc::default(),
        })
    }

    /// Replaces the delay that waits between attempts are built from: one second, and less only
    /// against a server of one's own.
    #[must_use]
    pub fn with_base_delay(mut self, base_delay: Duration) -> Self {
        self.base_delay = base_delay;
        self
    }

    /// Replaces the clock, and starts with a patience of its own.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.patience = Patience::by(clock);
        self
    }

    /// The delay that waits are built from.
    pub const fn base_delay(&self) -> Duration {
        self.base_delay
    }

    /// The account behind the token, asked for once.
    pub(super) fn author(&self) -> &OnceCell<String> {
        &self.author
    }

    /// Sends a request that may be repeated, until it is answered or retrying is pointless.
    ///
    /// # Errors
    ///
    /// What GitHub answered, or that it could not be reached.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        request: &Request,
    ) -> Result<Answer<T>, GitHubError> {
        let mut attempt = 1;
        loop {
            match self.attempt(request).await {
                Ok(answer) => return Ok(answer),
                Err(failure) if self.pause(request.operation, &failure, attempt).await => {
                    attempt += 1;
                }
                Err(failure) => return Err(give_up(request.operation, attempt, failure)),
            }
        }
    }

    /// Sends a request once.
    ///
    /// # Errors
    ///
    /// How it failed, for [`Self::pause`] and [`give_up`].
    pub async fn attempt<T: DeserializeOwned>(
        &self,
        request: &Request,
    ) -> Result<Answer<T>, Failure> {
        let reply = match self.exchange(request, ANSWER_LIMIT).await? {
            Arrived::Here(reply) => reply,
            Arrived::Elsewhere(url) => {
                let place = self.clean(&url.origin().ascii_serialization());
                let detail = format!("it leads to {place}, which is not this API");
                return Err(Failure::Redirected(detail));
            }
        };
        let body = if reply.body.is_empty() {
            b"null"
        } else {
            reply.body.as_ref()
        };
        let value = serde_json::from_slice(body)
            .map_err(|error| Failure::Unreadable(self.clean(&error.to_string())))?;
        let headers = reply.headers;
        Ok(Answer { value, headers })
    }

    /// Sleeps before the next attempt; `false` when there is to be none.
    pub async fn pause(&self, operation: &Operation, failure: &Failure, attempt: u32) -> bool {
        let action = operation.action;
        let limited = failure.is_limit();
        let jitter = rand::random::<f64>();
        let Some(wait) = retry::wait(failure, attempt, self.base_delay, jitter) else {
            if limited {
                let asked = failure.asked_s().map(Duration::from_secs);
                self.patience.be_quiet(asked, limited, &describe(failure));
            }
            return false;
        };
        let why = describe(failure);
        tracing::info!(
            "trying again to {action} in {:.1} s: {why}",
            wait.as_secs_f64()
        );
        self.patience.wait(wait, limited, &why).await
    }

    /// Sends a request once and follows redirects within the API, with the token, the method and
    /// the body: GitHub moves repositories, and forgets neither.
    pub(super) async fn exchange(&self, request: &Request, most: u64) -> Result<Arrived, Failure> {
        self.patience.admit().await?;
        self.within(async {
            let mut path = self.address.path(request);
            for hop in 0..=REDIRECTS {
                if hop > 0 {
                    self.patience.admit().await?;
                }
                let method = request.operation.http_method();
                let body = request.body.as_ref();
                let reply = self.transport.api(method, &path, body, most).await?;
                let Some(location) = reply.location() else {
                    return self.arrived(request.operation, reply);
                };
                let target = self.address.redirect(&path, location);
                match target.map_err(|detail| Failure::Redirected(detail.to_owned()))? {
                    Target::Api(next) => path = next,
                    Target::Elsewhere(url) => return Ok(Arrived::Elsewhere(url)),
                }
            }
            let detail = format!("more than {REDIRECTS} redirects");
            Err(Failure::Redirected(detail))
        })
        .await
    }

    fn arrived(&self, operation: &'static Operation, reply: Reply) -> Result<Arrived, Failure> {
        if (200..300).contains(&reply.status) {
            return Ok(Arrived::Here(reply));
        }
        let mut refusal = outcome::refused(&reply);
        refusal.message = self.clean(&refusal.message);
        // Only an Enterprise Server is known to say so, or not to have a route at all.
        refusal.no_route |= MISSING_ON_SERVER.contains(&operation);
        refusal.no_route &= self.address.is_enterprise_server();
        Err(Failure::Refused(refusal))
    }

    /// Ends what takes too long, and cleans the text of a cut connection.
    pub(super) async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let seconds = ATTEMPT_TIMEOUT.as_secs();
        let start = self.patience.now();
        let done = match tokio::time::timeout(ATTEMPT_TIMEOUT, work).await {
            Ok(Err(Failure::Cut(detail))) => Err(Failure::Cut(self.clean(&detail))),
            Ok(done) => done,
            Err(_) => Err(Failure::Cut(format!("no whole answer within {seconds} s"))),
        };
        if done.as_ref().is_err_and(Failure::may_pass) {
            self.patience.lose(start);
        }
        done
    }

    /// A foreign text, short, on one line and without the token.
    fn clean(&self, text: &str) -> String {
        let words: Vec<&str> = text.split_whitespace().collect();
        let line = self.token.redact(&words.join(" "));
        line.chars().take(DETAIL_CHARS).collect()
    }
}
