//! Pulling an image: progress through tracing, an idle limit, a few attempts where another one
//! may help. Dropping the future cancels the pull on the daemon.
//!
//! Only public images: credentials of registries are not sent yet.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bollard::{models::CreateImageInfo, query_parameters::CreateImageOptionsBuilder};

use futures_util::{Stream, StreamExt};

use super::{
    ServeError,
    docker::{Daemon, chain},
};

/// A registry that sends nothing for so long is given up. Unpacking a large layer is silent
/// for minutes on slow disks.
const IDLE: Duration = Duration::from_mins(10);
const REPORT_EVERY: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 3;
/// Answers that stay the same however often one asks.
const FINAL: [&str; 8] = [
    "manifest unknown",
    "not found",
    "denied",
    "unauthorized",
    "no basic auth credentials",
    "invalid reference",
    "no space left",
    "no matching manifest",
];

/// Pulls `name`, which carries a tag or digest.
pub(super) async fn pull(daemon: &Daemon, name: &str) -> Result<(), ServeError> {
    let mut attempt = 1;
    loop {
        tracing::info!(image = name, attempt, "pulling");
        let options = CreateImageOptionsBuilder::new().from_image(name).build();
        let answer = daemon.docker.create_image(Some(options), None, None);
        let mut progress = Progress::new(name);
        match drain(answer, IDLE, |info| progress.take(info)).await {
            Ok(()) => return Ok(()),
            Err(detail) if attempt >= ATTEMPTS || is_final(&detail) => {
                return Err(ServeError::Image {
                    image: name.to_owned(),
                    detail,
                });
            }
            Err(detail) => tracing::warn!(image = name, attempt, detail, "pull failed, once more"),
        }
        tokio::time::sleep(Duration::from_secs(1 << attempt)).await;
        attempt += 1;
    }
}

fn is_final(detail: &str) -> bool {
    let detail = detail.to_ascii_lowercase();
    FINAL.iter().any(|text| detail.contains(text))
}

/// Bytes per layer; the daemon reports layers one by one and out of order.
struct Progress<'a> {
    image: &'a str,
    layers: HashMap<String, (i64, i64)>,
    reported: Instant,
}

impl<'a> Progress<'a> {
    fn new(image: &'a str) -> Self {
        Self {
            image,
            layers: HashMap::new(),
            reported: Instant::now(),
        }
    }

    fn take(&mut self, info: CreateImageInfo) {
        let downloading = info.status.as_deref() == Some("Downloading");
        if let (true, Some(id), Some(detail)) = (downloading, info.id, info.progress_detail) {
            let bytes = (detail.current.unwrap_or(0), detail.total.unwrap_or(0));
            self.layers.insert(id, bytes);
        }
        if self.reported.elapsed() >= REPORT_EVERY {
            self.reported = Instant::now();
            let (done, total) = self.sum();
            tracing::info!(image = self.image, done, total, "pulling, bytes");
        }
    }

    fn sum(&self) -> (i64, i64) {
        self.layers.values().fold((0, 0), |(done, total), layer| {
            (done.saturating_add(layer.0), total.saturating_add(layer.1))
        })
    }
}

/// Reads the daemon's progress to its end. An error is a sentence.
pub(super) async fn drain(
    answer: impl Stream<Item = Result<CreateImageInfo, bollard::errors::Error>>,
    idle: Duration,
    mut each: impl FnMut(CreateImageInfo),
) -> Result<(), String> {
    let mut answer = std::pin::pin!(answer);
    loop {
        match tokio::time::timeout(idle, answer.next()).await {
            Ok(Some(Ok(info))) => each(info),
            Ok(Some(Err(error))) => return Err(chain(&error)),
            Ok(None) => return Ok(()),
            Err(_) => return Err(format!("the daemon said nothing for {idle:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    #[test]
    fn only_what_may_change_is_tried_again() {
        for text in [
            "Docker responded with status code 500: manifest unknown",
            "pull access denied for x, repository does not exist",
            "Get https://r/v2/: no basic auth credentials",
        ] {
            assert!(is_final(text), "{text}");
        }
        assert!(!is_final(
            "dial tcp 127.0.0.1:1: connect: connection refused"
        ));
        assert!(!is_final("net/http: TLS handshake timeout"));
    }

    #[test]
    fn layers_are_summed_not_counted_twice() {
        let mut progress = Progress::new("x");
        let line = |id: &str, current, status: &str| CreateImageInfo {
            id: Some(id.into()),
            status: Some(status.into()),
            progress_detail: Some(ProgressDetail {
                current: Some(current),
                total: Some(10),
            }),
            ..CreateImageInfo::default()
        };
        progress.take(line("a", 3, "Downloading"));
        progress.take(line("a", 7, "Downloading"));
        progress.take(line("b", 1, "Downloading"));
        progress.take(line("b", 9, "Extracting"));
        assert_eq!(progress.sum(), (8, 20));
    }
}
