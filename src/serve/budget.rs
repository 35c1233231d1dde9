//! How long things may take once we are told to stop: a runner that cancels a job kills after
//! ten seconds, and a second of that belongs to the results.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{ServeError, scope::STARTING};

/// A creation under way is waited for; whatever else a start waits for is given up.
const START: Duration = Duration::from_millis(2200);
/// Removing a container takes half a second, with a GPU's memory a little more. What takes longer
/// is the guard's.
const REMOVE: Duration = Duration::from_secs(3);

/// A start, given up a while after the cancellation if it does not heed it.
pub(super) async fn starting<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, ServeError>>,
) -> Result<T, ServeError> {
    tokio::select! {
        done = work => done,
        () = after(cancel, START) => Err(ServeError::Cancelled { phase: STARTING }),
    }
}

/// A removal, given up a while after the cancellation.
pub(super) async fn removing(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<(), ServeError>>,
) -> Result<(), ServeError> {
    tokio::select! {
        done = work => done,
        () = after(cancel, REMOVE) => Err(ServeError::Cancelled { phase: "removing the engine" }),
    }
}

/// So long after the cancellation, or after now if that was earlier.
async fn after(cancel: &CancellationToken, patience: Duration) {
    cancel.cancelled().await;
    tokio::time::sleep(patience).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn patience_begins_with_the_cancellation() {
        let cancel = CancellationToken::new();
        let patience = Duration::from_millis(30);
        let slow = tokio::time::sleep(patience * 3);
        tokio::select! {
            () = slow => {}
            () = after(&cancel, patience) => panic!("nobody cancelled"),
        }
        cancel.cancel();
        let begin = std::time::Instant::now();
        after(&cancel, patience).await;
        assert!(begin.elapsed() >= patience);
    }

    #[test]
    fn everything_together_fits_before_the_runner_loses_patience() {
        // A start that is given up and a body that is waited for exclude each other.
        assert!(START + REMOVE < Duration::from_secs(6));
    }
}
