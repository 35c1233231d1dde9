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
    total: u64,
    bar: Option<ProgressBar>,
    last_line: Mutex<Instant>,
}

impl Progress {
    /// Announces a scenario of `total` requests.
    pub(super) fn start(name: String, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| bar(&name, total));
        if bar.is_none() {
            let requests = if total == 1 { "request" } else { "requests" };
            tracing::info!("{name}: sending {total} {requests}");
        }
        Self {
            name,
            total,
            bar,
            last_line: Mutex::new(Instant::now()),
        }
    }

    /// Says that `done` requests have ended.
    pub(super) fn done(&self, done: usize) {
        let done = done as u64;
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            return;
        }
        // A poisoned lock means a panic elsewhere, which is not made better by one more.
        if let Ok(mut last) = self.last_line.lock()
            && last.elapsed() >= LINE_EVERY
        {
            *last = Instant::now();
            tracing::info!("{}: {done} of {} requests", self.name, self.total);
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

fn bar(name: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let template = "{prefix:30!} {wide_bar} {pos}/{len} {elapsed}";
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_prefix(name.to_owned());
    bar
}
