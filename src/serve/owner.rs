//! Whose is it: the labels on everything made here, and what they say about whether the process
//! that made it still lives.
//!
//! A process is its number, its start time (field 22 of `/proc/PID/stat`, proc(5)), the kernel's
//! boot id and its PID namespace; a number alone is reused within hours. When a container was
//! made is not a label: the daemon records it.

use std::{collections::HashMap, fs, path::Path};

use serde::{Deserialize, Serialize};

use super::{LABEL, processes};

/// Label: the run that made it.
pub(super) const RUN: &str = "dev.kitt-action.run";
/// Label: the GPUs it was given, joined by commas.
pub(super) const GPUS: &str = "dev.kitt-action.gpus";
const PID: &str = "dev.kitt-action.owner-pid";
const START: &str = "dev.kitt-action.owner-start";
const BOOT: &str = "dev.kitt-action.boot-id";
const NAMESPACE: &str = "dev.kitt-action.pid-namespace";
const EXPIRES: &str = "dev.kitt-action.expires-at";
/// An engine runs no longer than so many hours, unless its owner can be seen to live.
const MOST_HOURS: i64 = 24;

/// A process, so that it cannot be mistaken for another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) pid: u32,
    pub(super) start: String,
    pub(super) boot: String,
    pub(super) namespace: String,
}

/// What can be said about an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It runs.
    Alive,
    /// It has ended, or the machine was restarted since.
    Dead,
    /// It cannot be seen from here: another machine, another PID namespace, labels missing.
    Unknown,
}

impl Owner {
    /// This process. What the system does not tell stays empty and is never compared.
    pub(super) fn this_process() -> Self {
        let pid = std::process::id();
        Self {
            pid,
            start: alive_since(pid).unwrap_or_default(),
            boot: read("/proc/sys/kernel/random/boot_id"),
            namespace: fs::read_link("/proc/self/ns/pid")
                .map(|link| link.display().to_string())
                .unwrap_or_default(),
        }
    }

    /// The labels of what this process makes for a run.
    pub(super) fn labels(&self, run_id: &str) -> HashMap<String, String> {
        let mut labels = self.identity(run_id);
        let expires = jiff::Timestamp::now().as_second() + MOST_HOURS * 3600;
        labels.insert(EXPIRES.to_owned(), expires.to_string());
        labels
    }

    /// Those labels that say whose it is: nothing of another process has them all.
    pub(super) fn identity(&self, run_id: &str) -> HashMap<String, String> {
        [
            (LABEL, "1"),
            (RUN, run_id),
            (PID, &self.pid.to_string()),
            (START, &self.start),
            (BOOT, &self.boot),
            (NAMESPACE, &self.namespace),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
    }

    fn of(labels: &HashMap<String, String>) -> Option<Self> {
        let label = |key: &str| labels.get(key).cloned().unwrap_or_default();
        Some(Self {
            pid: label(PID).parse().ok()?,
            start: label(START),
            boot: label(BOOT),
            namespace: label(NAMESPACE),
        })
    }

    /// Whether it lives, seen from `here`. `alive` tells the start time of a living process of
    /// this namespace.
    pub(super) fn life(&self, here: &Self, alive: impl Fn(u32) -> Option<String>) -> Life {
        if self.boot.is_empty() || here.boot.is_empty() {
            return Life::Unknown;
        }
        if self.boot != here.boot {
            return Life::Dead;
        }
        if self.namespace.is_empty() || self.namespace != here.namespace || self.start.is_empty() {
            return Life::Unknown;
        }
        match alive(self.pid) {
            Some(since) if since == self.start => Life::Alive,
            Some(_) | None => Life::Dead,
        }
    }
}

/// Whether the owner of a thing with these labels lives. A daemon on another machine (`local` is
/// false) proves nothing.
pub(super) fn life(
    labels: &HashMap<String, String>,
    here: &Owner,
    local: bool,
    alive: impl Fn(u32) -> Option<String>,
) -> Life {
    match Owner::of(labels) {
        Some(owner) if local => owner.life(here, alive),
        Some(_) | None => Life::Unknown,
    }
}

/// Whether a thing of a living or unknown owner has outlived its time. `now` in seconds of Unix
/// time.
pub(super) fn is_expired(labels: &HashMap<String, String>, now: i64) -> bool {
    let expires = labels.get(EXPIRES).and_then(|text| text.parse().ok());
    expires.is_some_and(|expires: i64| expires < now)
}

/// When the process of that number started, in clock ticks since boot; `None` when there is no
/// such process or only its zombie.
pub(super) fn alive_since(pid: u32) -> Option<String> {
    processes::find(pid).map(|process| process.start)
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Owner {
        Owner {
            pid: 10,
            start: "777".into(),
            boot: "b1".into(),
            namespace: "pid:[1]".into(),
        }
    }

    #[test]
    fn this_process_is_alive_under_its_own_start_time() {
        let owner = Owner::this_process();
        assert!(!owner.boot.is_empty() && owner.namespace.starts_with("pid:["));
        let labels = owner.labels("r");
        assert_eq!(life(&labels, &owner, true, alive_since), Life::Alive);
        assert!(owner.identity("r").iter().all(|(k, v)| labels[k] == *v));
    }

    #[test]
    fn death_is_told_from_doubt() {
        let owner = here();
        let labels = owner.labels("r");
        let with = |key: &str, value: &str| {
            let mut labels = labels.clone();
            labels.insert(key.to_owned(), value.to_owned());
            labels
        };
        let same = |_| Some("777".to_owned());
        let reused = |_| Some("778".to_owned());
        let none = |_| None;
        assert_eq!(life(&labels, &owner, true, same), Life::Alive);
        assert_eq!(life(&labels, &owner, true, none), Life::Dead);
        assert_eq!(life(&labels, &owner, true, reused), Life::Dead);
        assert_eq!(life(&with(BOOT, "b0"), &owner, true, same), Life::Dead);
        assert_eq!(life(&labels, &owner, false, none), Life::Unknown);
        for (key, value) in [(NAMESPACE, "pid:[2]"), (PID, "x"), (START, ""), (BOOT, "")] {
            let labels = with(key, value);
            assert_eq!(life(&labels, &owner, true, none), Life::Unknown, "{key}");
        }
        assert_eq!(life(&HashMap::new(), &owner, true, none), Life::Unknown);
    }

    #[test]
    fn a_day_later_it_has_expired() {
        let labels = here().labels("r");
        let now = jiff::Timestamp::now().as_second();
        assert!(!is_expired(&labels, now + 23 * 3600));
        assert!(is_expired(&labels, now + 25 * 3600));
        assert!(!is_expired(&HashMap::new(), i64::MAX));
    }
}
