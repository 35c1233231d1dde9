//! Bytes behind the API: artifacts.
//!
//! In: a request. Out: its bytes, capped. GitHub answers with a redirect to a signed address of a
//! storage service, which refuses requests that carry a token and must never see ours.

use bytes::Bytes;
use http::header;
use url::Url;

use super::{
    GitHub, GitHubError, Request,
    address::Address,
    client::Arrived,
    outcome::{give_up, refused},
    refusal::Refusal,
    retry::Failure,
    transport::Reply,
};

/// Redirects of the storage itself.
const HOPS: usize = 3;

impl GitHub {
    /// Fetches what an operation redirects to, at most `most` bytes.
    ///
    /// # Errors
    ///
    /// As [`Self::ask`]; [`GitHubError::Expired`] when it is kept no longer,
    /// [`GitHubError::TooLarge`] when there is more, [`GitHubError::Redirected`] when it lies where
    /// nothing is fetched from.
    pub async fn download(&self, request: &Request, most: u64) -> Result<Bytes, GitHubError> {
        let mut attempt = 1;
        loop {
            match self.fetch(request, most).await {
                Ok(bytes) => return Ok(bytes),
                Err(failure) if self.pause(request.operation, &failure, attempt).await => {
                    attempt += 1;
                }
                Err(failure) => return Err(give_up(request.operation, attempt, failure)),
            }
        }
    }

    /// Asks for a fresh address and fetches it.
    async fn fetch(&self, request: &Request, most: u64) -> Result<Bytes, Failure> {
        match self.exchange(request, most).await? {
            Arrived::Here(reply) => Ok(reply.body),
            Arrived::Elsewhere(url) => self.within(self.follow(url, most)).await,
        }
    }

    async fn follow(&self, mut url: Url, most: u64) -> Result<Bytes, Failure> {
        for _ in 0..=HOPS {
            if !self.address.may_fetch(&url) {
                let detail = "it leads to a place without TLS; nothing was fetched".to_owned();
                return Err(Failure::Redirected(detail));
            }
            let reply = self.transport.storage(&url, most).await?;
            match reply.location() {
                Some(location) => {
                    let next = Address::onward(&url, location);
                    url = next.map_err(|detail| Failure::Redirected(detail.to_owned()))?;
                }
                None => return stored(reply),
            }
        }
        let detail = format!("the storage redirects more than {HOPS} times");
        Err(Failure::Redirected(detail))
    }
}

/// The bytes, or why there are none. A refusal by the storage says nothing of the token's rights.
fn stored(reply: Reply) -> Result<Bytes, Failure> {
    let status = reply.status;
    match status {
        200 => match declared(&reply) {
            Some(length) if length != reply.body.len() as u64 => {
                let got = reply.body.len();
                Err(Failure::Cut(format!("{got} of {length} bytes arrived")))
            }
            Some(_) | None => Ok(reply.body),
        },
        // Signatures are short-lived: the next attempt brings a new one.
        401 | 403 | 408 => Err(Failure::Cut(format!("the storage answered {status}"))),
        429 | 500..=599 => Err(Failure::Refused(Refusal {
            message: format!("the storage answered {status}"),
            ..refused(&reply)
        })),
        _ => Err(Failure::Unreadable(format!(
            "the storage answered {status}"
        ))),
    }
}

fn declared(reply: &Reply) -> Option<u64> {
    let length = reply.headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}
