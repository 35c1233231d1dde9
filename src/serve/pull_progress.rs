//! How far a pull has come: bytes by layer, and how long the daemon may be silent. Pure.

use std::{collections::HashMap, time::Duration};

use bollard::models::CreateImageInfo;

/// What happens to a layer, by the daemon's words (moby `distribution/xfer`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It waits for its turn: the daemon fetches few layers at once, and those of other pulls
    /// come first.
    Queued,
    /// Bytes are under way, or should be.
    Fetching,
    /// All its bytes are here; it is checked and unpacked, or waits for an earlier one.
    Unpacking,
    /// Nothing is left to do.
    Done,
}

#[derive(Debug, Clone, Copy)]
struct Layer {
    stage: Stage,
    /// Bytes fetched.
    current: u64,
    /// Its size, once it is known.
    total: u64,
}

/// The layers of one pull; the daemon reports them one by one and out of order.
#[derive(Debug, Default)]
pub(super) struct Progress {
    layers: HashMap<String, Layer>,
}

impl Progress {
    /// Takes one message of the daemon.
    pub(super) fn take(&mut self, info: CreateImageInfo) {
        let (Some(id), Some(status)) = (info.id, info.status) else {
            return;
        };
        let Some(stage) = stage(&status) else {
            return;
        };
        let layer = self.layers.entry(id).or_insert(Layer {
            stage,
            current: 0,
            total: 0,
        });
        layer.stage = stage;
        let bytes = |number: Option<i64>| u64::try_from(number.unwrap_or(0)).unwrap_or(0);
        let detail = info.progress_detail.unwrap_or_default();
        if status == "Downloading" {
            layer.current = bytes(detail.current);
            layer.total = bytes(detail.total).max(layer.total);
        } else if matches!(stage, Stage::Unpacking | Stage::Done) {
            layer.current = layer.total;
        }
    }

    /// Bytes fetched and bytes known to be fetched in all.
    pub(super) fn bytes(&self) -> (u64, u64) {
        self.layers.values().fold((0, 0), |(done, total), layer| {
            (
                done.saturating_add(layer.current),
                total.saturating_add(layer.total),
            )
        })
    }

    /// Layers that are done and layers in all.
    pub(super) fn layers(&self) -> (usize, usize) {
        let done = |layer: &&Layer| layer.stage == Stage::Done;
        (self.layers.values().filter(done).count(), self.layers.len())
    }

    /// Whether the daemon has reason to be silent: it unpacks, or other pulls come first, and
    /// nothing is fetched besides.
    fn may_be_silent(&self) -> bool {
        let stages = || self.layers.values().map(|layer| layer.stage);
        !stages().any(|stage| stage == Stage::Fetching)
            && stages().any(|stage| matches!(stage, Stage::Unpacking | Stage::Queued))
    }

    /// How long the daemon may be silent now. A layer that is unpacked speaks seldom; one that
    /// is fetched speaks with every chunk.
    pub(super) fn patience(&self, fetching: Duration, unpacking: Duration) -> Duration {
        if self.may_be_silent() {
            unpacking
        } else {
            fetching
        }
    }

    /// Such as `1.2 of 3.4 GB (35 %), 5 of 9 layers`.
    pub(super) fn text(&self) -> String {
        let (done, total) = self.bytes();
        let (finished, layers) = self.layers();
        if total == 0 {
            return format!("{finished} of {layers} layers");
        }
        let percent = done.saturating_mul(100) / total;
        format!(
            "{} of {} ({percent} %), {finished} of {layers} layers",
            size(done),
            size(total)
        )
    }
}

/// What a layer's status means; `None` for words that are about the whole image.
fn stage(status: &str) -> Option<Stage> {
    match status {
        "Waiting" => Some(Stage::Queued),
        "Pulling fs layer" | "Downloading" => Some(Stage::Fetching),
        "Verifying Checksum" | "Download complete" | "Extracting" => Some(Stage::Unpacking),
        "Pull complete" | "Already exists" => Some(Stage::Done),
        other if other.starts_with("Retrying in ") => Some(Stage::Fetching),
        _ => None,
    }
}

/// Decimal units, as registries count.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;
    use proptest::prelude::*;

    use super::*;

    fn line(id: &str, status: &str, current: i64, total: i64) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(id.into()),
            status: Some(status.into()),
            progress_detail: Some(ProgressDetail {
                current: Some(current),
                total: Some(total),
            }),
            ..CreateImageInfo::default()
        }
    }

    const SHORT: Duration = Duration::from_mins(1);
    const LONG: Duration = Duration::from_mins(10);

    #[test]
    fn layers_are_summed_not_counted_twice() {
        let mut progress = Progress::default();
        for (id, status, current) in [
            ("a", "Pulling fs layer", 0),
            ("b", "Already exists", 0),
            ("a", "Downloading", 3_000),
            ("a", "Downloading", 7_000),
            ("c", "Downloading", 1_000),
        ] {
            progress.take(line(id, status, current, 10_000));
        }
        assert_eq!(progress.bytes(), (8_000, 20_000));
        assert_eq!(progress.text(), "8.0 kB of 20.0 kB (40 %), 1 of 3 layers");
        // The counts of unpacking are not those of fetching.
        progress.take(line("c", "Extracting", 2, 10_000));
        assert_eq!(progress.bytes(), (17_000, 20_000));
    }

    #[test]
    fn patience_is_long_only_while_nothing_is_fetched() {
        let mut progress = Progress::default();
        assert_eq!(progress.patience(SHORT, LONG), SHORT);
        progress.take(line("a", "Downloading", 1, 2));
        progress.take(line("b", "Extracting", 1, 2));
        assert_eq!(progress.patience(SHORT, LONG), SHORT);
        progress.take(line("a", "Download complete", 0, 0));
        assert_eq!(progress.patience(SHORT, LONG), LONG);
        progress.take(line("a", "Retrying in 5 seconds", 0, 0));
        assert_eq!(progress.patience(SHORT, LONG), SHORT);
        progress.take(line("a", "Waiting", 0, 0));
        assert_eq!(progress.patience(SHORT, LONG), LONG);
        for id in ["a", "b"] {
            progress.take(line(id, "Pull complete", 0, 0));
        }
        assert_eq!(progress.patience(SHORT, LONG), SHORT);
    }

    #[test]
    fn words_about_the_whole_image_are_no_layer() {
        let mut progress = Progress::default();
        progress.take(line("latest", "Pulling from kitt/x", 0, 0));
        progress.take(CreateImageInfo::default());
        assert_eq!(progress.layers(), (0, 0));
        assert_eq!(progress.text(), "0 of 0 layers");
    }

    proptest! {
        #[test]
        fn no_message_breaks_the_count(
            messages in proptest::collection::vec(("[ab]", "Downloading|Extracting|x", any::<i64>(), any::<i64>()), 0..8),
        ) {
            let mut progress = Progress::default();
            for (id, status, current, total) in messages {
                progress.take(line(&id, &status, current, total));
            }
            prop_assert!(!progress.text().is_empty());
        }
    }
}
