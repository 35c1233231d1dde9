//! The connection to GitHub: requests, retries, limits, and what may be asked.
//!
//! No other stage speaks HTTP to GitHub. [`operations::OPERATIONS`] lists every request that kitt
//! can make; nothing else can be sent, since a path is made of an [`Operation`] alone.

mod address;
mod client;
mod clock;
mod download;
mod error;
mod identity;
pub mod operations;
mod outcome;
mod pages;
mod patience;
pub mod permissions;
mod refusal;
mod retry;
pub mod tables;
mod token;
mod transport;

pub use client::{Answer, GitHub};
pub use clock::Clock;
pub use error::GitHubError;
pub use identity::author;
pub use operations::{Access, OPERATIONS, Operation, Request};
pub use outcome::give_up;
pub use pages::{PER_PAGE, has_next};
pub use patience::{MOST_LOST, MOST_REQUESTS};
pub use refusal::{Denial, Kind, Refusal};
pub use retry::Failure;
pub use token::{TokenFacts, token_facts};
