//! The thread that hears what the GPUs report by themselves.

use std::time::Duration;

use super::state::Shared;
use crate::telemetry::{EventKind, EventSource};

/// How long one wait lasts: a stop takes no longer.
const WAIT: Duration = Duration::from_millis(250);
/// A driver that fails this often in a row will not report anything any more.
const MOST_FAILURES: u32 = 20;

pub(super) fn listen(mut events: Box<dyn EventSource>, shared: &Shared) {
    let mut failures = 0;
    while !shared.is_stopping() {
        match events.wait(WAIT) {
            Ok(None) => failures = 0,
            Ok(Some((gpu, kind))) => {
                failures = 0;
                let lost = matches!(kind, EventKind::Lost { .. });
                shared.report(gpu, kind);
                // The driver would say the same for ever.
                if lost {
                    return;
                }
            }
            Err(error) => {
                failures += 1;
                if failures == MOST_FAILURES {
                    tracing::warn!("{error}");
                    return;
                }
                std::thread::sleep(WAIT);
            }
        }
    }
}
