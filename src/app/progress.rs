//! What is going on, on stderr: a bar when a person watches, plain lines otherwise.

use std::{
    io::IsTerminal,
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a log line may say how far a scenario is.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Progress of one scenario.
pub(super) struct Progress {
    name: String,
    /// `None`: the time decides.
    total: Option<u64>,
    bar: Option<ProgressBar>,
    last_line: Mutex<Instant>,
}

impl Progress {
    /// Announces a scenario of `total` requests, where that is known.
    pub(super) fn start(name: String, total: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| bar(&name, total));
        if bar.is_none() {
            match total {
                Some(1) => tracing::info!("{name}: sending 1 request"),
                Some(total) => tracing::info!("{name}: sending {total} requests"),
                None => tracing::info!("{name}: sending requests until the time is up"),
            }
        }
        Self {
            name,
            total,
            bar,
            last_line: Mutex::new(Instant::now()),
        }
    }

    /// Says that `done` requests have ended.
    pub(super) fn done(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            return;
        }
        // A poisoned lock means a panic elsewhere, which is not made better by one more.
        if let Ok(mut last) = self.last_line.lock()
            && last.elapsed() >= LINE_EVERY
        {
            *last = Instant::now();
            let of = self.total.map(|total| format!(" of {total}"));
            tracing::info!("{}: {done}{} requests", self.name, of.unwrap_or_default());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(name: &str, total: Option<u64>) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let template = if total.is_some() {
        "{prefix:30!} {wide_bar} {pos}/{len} {elapsed}"
    } else {
        "{prefix:30!} {spinner} {pos} {elapsed}"
    };
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_prefix(name.to_owned());
    bar
}
