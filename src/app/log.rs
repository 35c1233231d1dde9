//! Logs on stderr, safe for a runner that reads commands from it.
//!
//! The runner looks for `::command::` at the start of every line and for `##[command]` anywhere.
//! An engine's log line or an error text must never become one, so both are broken up.

use std::io::{self, Write};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer,
    filter::Targets,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Starts logging to stderr. `debug`: everything of kitt; else what people should see.
pub(super) fn start(debug: bool, colour: bool) {
    let own = if debug {
        LevelFilter::DEBUG
    } else {
        LevelFilter::INFO
    };
    // Libraries speak only when something is wrong.
    let filter = Targets::new()
        .with_target("kitt_action", own)
        .with_default(LevelFilter::WARN);
    let lines = fmt::layer()
        .with_target(false)
        .with_ansi(colour)
        .with_writer(Stderr);
    // Fails only when logging has begun already, as in tests: then that one stays.
    drop(
        tracing_subscriber::registry()
            .with(lines.with_filter(filter))
            .try_init(),
    );
}

/// Makes a writer for each event.
struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line::default()
    }
}

/// Collects one event and writes it, made harmless, when dropped.
#[derive(Default)]
struct Line(Vec<u8>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let text = harmless(&String::from_utf8_lossy(&self.0));
        // A closed stderr leaves nobody to tell.
        drop(io::stderr().lock().write_all(text.as_bytes()));
    }
}

/// A text without anything the runner would take for a command.
fn harmless(text: &str) -> String {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let lines: Vec<String> = body
        .split(['\n', '\r'])
        .map(|line| {
            let line = line.replace("##[", "## [");
            if line.trim_start().starts_with("::") {
                format!("| {line}")
            } else {
                line
            }
        })
        .collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_a_command() {
        let text = harmless("INFO engine said\n::error::x\r  ::set-output name=a::b ##[group]y\n");
        assert!(!text.contains("##["));
        assert!(
            text.lines()
                .all(|line| !line.trim_start().starts_with("::")),
            "{text}"
        );
        assert!(text.ends_with("y\n"));
    }
}
