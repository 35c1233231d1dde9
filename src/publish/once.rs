//! Creating what must not exist twice.
//!
//! A POST cannot be repeated blindly: an answer lost on the way may hide that it was done. So
//! every new attempt starts with a search.

use serde::de::DeserializeOwned;

use super::PublishError;
use crate::github::{GitHub, Request, give_up};

/// What creating came to.
#[derive(Debug)]
pub(super) enum Made<T> {
    /// It is new.
    New(T),
    /// An attempt that seemed to fail had made it, or another run did.
    Found(T),
}

/// Sends the request until it is answered, and looks before each further attempt whether it was
/// done all the same.
///
/// # Errors
/// What GitHub answered, or what the search met.
pub(super) async fn create<T: DeserializeOwned>(
    github: &GitHub,
    request: &Request,
    find: impl AsyncFn() -> Result<Option<T>, PublishError>,
) -> Result<Made<T>, PublishError> {
    let mut attempt = 1;
    loop {
        let failure = match github.attempt::<T>(request).await {
            Ok(made) => return Ok(Made::New(made.value)),
            Err(failure) => failure,
        };
        if !github.pause(request.operation, &failure, attempt).await {
            return Err(give_up(request.operation, attempt, failure).into());
        }
        if let Some(found) = find().await? {
            return Ok(Made::Found(found));
        }
        attempt += 1;
    }
}
