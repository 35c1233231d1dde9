//! How a session starts its engines.

use super::session::SessionOptions;
use crate::serve::{self, DriverFacts, ServeOptions};

/// What starting an engine needs, from what a session needs. GPUs that are reserved already are
/// for the caller to add.
pub(super) fn options(session: &SessionOptions<'_>, driver: Option<DriverFacts>) -> ServeOptions {
    let machine = session.machine;
    ServeOptions {
        docker: machine.docker.clone(),
        guard: serve::this_program(),
        lock_dir: Some(machine.lock_dir.clone()),
        wait_for_gpu: machine.wait_for_gpu,
        passed_on: machine.passed_on.clone(),
        auto_pull: session.auto_pull,
        log_file: Some(session.dir.join("engine.log")),
        secrets: session.secrets.clone(),
        mask: session.mask,
        driver,
        bearer: session.bearer.clone(),
        ..ServeOptions::new(session.run_id.clone())
    }
}
