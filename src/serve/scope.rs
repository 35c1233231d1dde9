//! [`with_engine`]: the one place where an engine starts and stops.
//!
//! Between the moment something may run and the proof that it is gone, no path returns early.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr},
    pin::pin,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    Endpoint, EngineFacts, LastWords, Runs, ServeError, ServeOptions, container::Exit,
    custody::Custody, engine_container, native, ready::Probe,
};
use crate::{
    engine::{ApiTraits, LaunchSpec, SimSpec, Target},
    secret::Secret,
};

/// How long the body may take to hand back what it has once the engine is gone or we are told
/// to stop.
const GRACE: Duration = Duration::from_secs(1);

/// Starts the engine, waits until it answers with the right model, runs `body` and stops the
/// engine: on success, error, timeout and cancellation. What was made is removed, and proven
/// removed, before this returns.
///
/// Dropped instead of polled to its end, or killed, the guard removes what was made
/// ([`ServeOptions::guard`]), and without one the sweep of the next run.
///
/// Cancelled while `body` runs: `body` has a second to end by itself (it should hold a clone of
/// `cancel`) and its value is returned; otherwise it is dropped. Give up by `cancel`, not by
/// dropping the future.
///
/// # Errors
/// The engine could not be made available, started or identified, died, or could not be removed.
pub async fn with_engine<T>(
    spec: &LaunchSpec,
    options: &ServeOptions,
    cancel: &CancellationToken,
    body: impl AsyncFnOnce(Endpoint) -> T,
) -> Result<T, ServeError> {
    match &spec.target {
        Target::InProcess(sim) => in_process(sim, spec, cancel, body).await,
        Target::Endpoint(url) => {
            let bearer = options.bearer.as_ref();
            let ready = answering(url, bearer, spec, cancel, EngineFacts::default());
            let endpoint = Box::pin(ready).await?;
            supervised(Box::pin(body(endpoint)), cancel, std::future::pending()).await
        }
        Target::Process(process) => {
            let mut custody = Custody::take(spec.target.gpus(), options, cancel).await?;
            let engine = native::run(process, spec, options, &mut custody, cancel, body);
            let outcome = Box::pin(engine).await;
            custody.close().await;
            outcome
        }
        Target::Container(container) => {
            let mut custody = Custody::take(spec.target.gpus(), options, cancel).await?;
            let engine =
                engine_container::run(container, spec, options, &mut custody, cancel, body);
            let outcome = Box::pin(engine).await;
            custody.close().await;
            outcome
        }
    }
}

/// The simulated engine on a loopback port of this process.
async fn in_process<T>(
    sim: &SimSpec,
    spec: &LaunchSpec,
    cancel: &CancellationToken,
    body: impl AsyncFnOnce(Endpoint) -> T,
) -> Result<T, ServeError> {
    let server = crate::sim::start(sim.clone(), IpAddr::V4(Ipv4Addr::LOCALHOST), 0, None).await?;
    let url = server.url();
    let facts = EngineFacts {
        version: Some(own_version()),
        args: sim.argv("127.0.0.1", url.port().unwrap_or_default()),
        ..EngineFacts::default()
    };
    let ready = answering(&url, None, spec, cancel, facts);
    let outcome = match Box::pin(ready).await {
        Ok(endpoint) => supervised(Box::pin(body(endpoint)), cancel, std::future::pending()).await,
        Err(error) => Err(error),
    };
    let stopped = server.stop().await;
    let value = outcome?;
    stopped?;
    Ok(value)
}

/// The version of the simulated engine: it is part of this program.
pub(super) fn own_version() -> String {
    format!("kitt {}", env!("CARGO_PKG_VERSION"))
}

/// Waits for a server that nobody here started as a container.
async fn answering(
    url: &Url,
    bearer: Option<&Secret>,
    spec: &LaunchSpec,
    cancel: &CancellationToken,
    facts: EngineFacts,
) -> Result<Endpoint, ServeError> {
    let begin = Instant::now();
    // What somebody else started may lack what our own servers have.
    let lenient = matches!(spec.target, Target::Endpoint(_));
    let probe = Probe::new(url, bearer)?;
    let mut last = String::from("none");
    let candidates = [url.clone()];
    // An endpoint whose health path is its model list may have no such list.
    let path = spec.api.health_path;
    let ready = tokio::select! {
        ready = tokio::time::timeout(
            spec.startup_timeout,
            probe.healthy(&candidates, path, lenient && is_model_list(&spec.api), &mut last),
        ) => ready,
        () = cancel.cancelled() => return Err(ServeError::Cancelled { phase: STARTING }),
    };
    if ready.is_err() {
        return Err(ServeError::NoAnswer {
            url: url.to_string(),
            detail: format!("{last} after {:?}", spec.startup_timeout),
        });
    }
    let startup = begin.elapsed();
    identified(&probe, url, &spec.api, lenient, cancel).await?;
    let version = match facts.version {
        Some(version) => Some(version),
        None => probe.version(url).await,
    };
    Ok(Endpoint {
        url: url.clone(),
        facts: EngineFacts { version, ..facts },
        startup,
        runs: if lenient { Runs::Elsewhere } else { Runs::Here },
    })
}

/// The phase before an engine answers.
pub(super) const STARTING: &str = "waiting for the engine";
const MEASURING: &str = "measuring";

fn is_model_list(api: &ApiTraits) -> bool {
    api.health_path == "/v1/models"
}

/// The model check, unless we are told to stop.
pub(super) async fn identified(
    probe: &Probe,
    url: &Url,
    api: &ApiTraits,
    lenient: bool,
    cancel: &CancellationToken,
) -> Result<(), ServeError> {
    tokio::select! {
        checked = probe.check_model(url, api, lenient) => checked,
        () = cancel.cancelled() => Err(ServeError::Cancelled { phase: STARTING }),
    }
}

/// Runs the body next to the engine's life and our own.
pub(super) async fn supervised<T>(
    body: impl Future<Output = T>,
    cancel: &CancellationToken,
    died: impl Future<Output = Exit>,
) -> Result<T, ServeError> {
    let mut body = pin!(body);
    let exit = tokio::select! {
        value = &mut body => return Ok(value),
        exit = died => Some(exit),
        () = cancel.cancelled() => None,
    };
    let last = tokio::time::timeout(GRACE, body).await;
    match (exit, last) {
        (None, Ok(value)) => Ok(value),
        (None, Err(_)) => Err(ServeError::Cancelled { phase: MEASURING }),
        // What was measured on a dying engine is no measurement.
        (Some(exit), _) => Err(ServeError::Lost {
            code: exit.code,
            oom: exit.oom,
            last: LastWords::default(),
        }),
    }
}

/// What came of an engine and of its removal: an engine that is not gone is no success.
pub(super) fn settled<T>(
    outcome: Result<T, ServeError>,
    removed: Result<(), ServeError>,
) -> Result<T, ServeError> {
    match (outcome, removed) {
        (outcome, Ok(())) => outcome,
        (Ok(_), Err(error)) => Err(error),
        (Err(error), Err(leak)) => {
            tracing::error!(error = %leak, "the engine may still be there: run `kitt cleanup`");
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_heeds_the_cancellation_keeps_its_value() {
        let cancel = CancellationToken::new();
        let body = async {
            cancel.cancel();
            cancel.cancelled().await;
            tokio::task::yield_now().await;
            7
        };
        let value = supervised(body, &cancel, std::future::pending()).await;
        assert_eq!(value.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_body_that_does_not_is_dropped_after_the_grace() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let never = std::future::pending::<()>();
        let error = supervised(never, &cancel, std::future::pending())
            .await
            .unwrap_err();
        assert!(matches!(error, ServeError::Cancelled { phase: MEASURING }));
    }

    #[tokio::test]
    async fn a_dead_engine_ends_the_body() {
        let cancel = CancellationToken::new();
        let died = async {
            Exit {
                code: 137,
                oom: true,
            }
        };
        let error = supervised(std::future::pending::<()>(), &cancel, died)
            .await
            .unwrap_err();
        assert!(matches!(
            error,
            ServeError::Lost {
                code: 137,
                oom: true,
                ..
            }
        ));
    }
}
