//! A schedule in, request traces out.
//!
//! [`drive`] sends requests to an endpoint, in a closed or an open loop, and records raw times,
//! nothing else: what they mean is `measure`'s business. A chunk is stamped when its bytes arrive
//! at the kernel, before decoding, parsing or counting, and the driver writes down how well it
//! kept up itself.

mod audit;
mod body;
mod clock;
mod driver;
mod event;
#[cfg(test)]
mod fuzz;
mod head;
mod http1;
#[cfg(test)]
mod odd_http;
mod reply;
mod shape;
#[cfg(test)]
mod shapes;
mod socket;
mod sse;
mod stream;
mod target;
mod trace;

pub use audit::{ClientAudit, DriveReport, Stopped};
pub use driver::{DriveOptions, Receiver, drive, files_for};
#[doc(hidden)]
pub use reply::replay;
pub use target::Target;
pub use trace::{
    Asked, ChunkArrival, ChunkKind, Outcome, Phases, RequestTrace, StampSource, Usage,
};

/// Why a scenario could not be driven at all. A failed request is not an error: it is a trace.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The endpoint is no URL the driver can speak to.
    #[error("cannot send load to {url}: {why}")]
    Endpoint {
        /// The endpoint.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No connection could be opened.
    #[error("cannot connect to {url}")]
    Connect {
        /// The endpoint.
        url: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The host's name has no address.
    #[error("cannot find the host of {url}")]
    Resolve {
        /// The endpoint.
        url: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// More connections than the system allows.
    #[error(
        "this load needs {needed} open files and the system allows {allowed}: raise the hard limit (`ulimit -Hn`), or lower the concurrency"
    )]
    Files {
        /// Connections and what else is open.
        needed: u64,
        /// The limit.
        allowed: u64,
    },
    /// The system refused what the driver's threads need.
    #[error("the load driver cannot run")]
    Loop {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A thread ended where it must not.
    #[error("a thread of the load driver has died: this is a bug in kitt")]
    Died,
}
