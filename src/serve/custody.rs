//! What an engine holds while it runs: locked GPUs, and a guard who cleans up after it should
//! this process be killed.

use std::{path::Path, sync::Arc};

use tokio_util::sync::CancellationToken;

use super::{
    ServeError, ServeOptions,
    docker::Daemon,
    guard::{Guard, Order, Watched},
    lock::{self, Reservation},
    processes::Family,
    records,
};
use crate::engine::GpuSet;

/// Closed by [`Custody::close`]. Dropped instead, or closed before [`Custody::cleared`] was said,
/// the guard finishes the work, and the GPUs stay locked until it has.
#[derive(Debug)]
pub(super) struct Custody {
    guard: Guard,
    /// Something may be left behind.
    pending: bool,
    /// The guard, if there is one, holds copies.
    _locked: Option<Arc<Reservation>>,
}

impl Custody {
    /// Locks the GPUs, waiting for them as long as the options allow, and sends for a guard.
    pub(super) async fn take(
        gpus: &GpuSet,
        options: &ServeOptions,
        cancel: &CancellationToken,
    ) -> Result<Self, ServeError> {
        let locked = lock::reserve(gpus, options, cancel, async || None).await?;
        let guard = match &options.guard {
            None => Guard::Absent,
            Some(program) => {
                let watched = watched(options);
                Guard::start(program.clone(), watched, locked.clone())
            }
        };
        Ok(Self {
            guard,
            pending: false,
            _locked: locked,
        })
    }

    /// From now on everything this process makes for the run on that daemon is in custody. To be
    /// said before anything is made.
    pub(super) async fn docker(&mut self, daemon: &Daemon, run_id: &str) {
        self.pending = true;
        let order = Order::Docker {
            address: daemon.address.clone(),
            labels: daemon.owner.identity(run_id),
        };
        self.guard.tell(&order).await;
    }

    /// From now on these processes are in custody. To be said before the first one is started,
    /// and again once more is known of it.
    pub(super) async fn processes(&mut self, family: &Family, record: Option<&Path>) {
        self.pending = true;
        let order = Order::Processes {
            family: family.clone(),
            record: record.map(Path::to_owned),
        };
        self.guard.tell(&order).await;
    }

    /// It is proven that nothing is left.
    pub(super) const fn cleared(&mut self) {
        self.pending = false;
    }

    /// Lets go of the GPUs and of the guard, or leaves the rest to it.
    pub(super) async fn close(self) {
        if !self.pending {
            self.guard.done().await;
        }
    }
}

/// Reports go to the folder of locks, for `kitt cleanup`, and beside the results.
fn watched(options: &ServeOptions) -> Watched {
    let pid = std::process::id();
    let locks = lock::folder(options);
    let locks = locks.map(|dir| records::report_path(&dir, pid, &options.run_id));
    let beside = options.log_file.as_ref().and_then(|log| log.parent());
    // The guard works in another folder.
    let beside = beside.and_then(|dir| std::path::absolute(dir.join("guard.json")).ok());
    Watched {
        pid,
        run: options.run_id.clone(),
        reports: locks.into_iter().chain(beside).collect(),
    }
}
