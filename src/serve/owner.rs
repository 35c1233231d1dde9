//! Whose container is it: the labels on everything made here, and what they say about whether
//! the process that made it still lives.
//!
//! A process is its number, its start time (field 22 of `/proc/PID/stat`, proc(5)), the kernel's
//! boot id and its PID namespace; a number alone is reused within hours. When a container was
//! made is not a label: the daemon records it.

use std::{collections::HashMap, fs, path::Path};

use super::LABEL;

/// Label: the run that made it.
pub(super) const RUN: &str = "dev.kitt-action.run";
const PID: &str = "dev.kitt-action.owner-pid";
const START: &str = "dev.kitt-action.owner-start";
const BOOT: &str = "dev.kitt-action.boot-id";
const NAMESPACE: &str = "dev.kitt-action.pid-namespace";

/// A process, so that it cannot be mistaken for another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pid: u32,
    start: String,
    boot: String,
    namespace: String,
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
}

/// Whether the process that made a thing with these labels is gone for certain. Doubt means no:
/// labels missing, another PID namespace, a daemon on another machine (`local` is false).
/// `alive` tells the start time of a living process of this namespace.
pub(super) fn is_stale(
    labels: &HashMap<String, String>,
    here: &Owner,
    local: bool,
    alive: impl Fn(u32) -> Option<String>,
) -> bool {
    let label = |key: &str| labels.get(key).map_or("", String::as_str);
    let (boot, start) = (label(BOOT), label(START));
    if label(LABEL) != "1" || !local || boot.is_empty() || here.boot.is_empty() {
        return false;
    }
    if boot != here.boot {
        return true;
    }
    if label(NAMESPACE).is_empty() || label(NAMESPACE) != here.namespace {
        return false;
    }
    match label(PID).parse() {
        Ok(pid) if !start.is_empty() => alive(pid).is_none_or(|since| since != start),
        Ok(_) | Err(_) => false,
    }
}

/// When the process of that number started, in clock ticks since boot; `None` when there is no
/// such process or only its zombie.
pub(super) fn alive_since(pid: u32) -> Option<String> {
    start_of(&read(Path::new("/proc").join(pid.to_string()).join("stat")))
}

/// Field 22 of a `/proc/PID/stat` line. The command in field 2 may hold spaces and parentheses,
/// so counting starts after the last one.
fn start_of(stat: &str) -> Option<String> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // Field 3 is gone; 22 is the 19th of what remains.
    fields.nth(18).map(str::to_owned)
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
    fn the_start_time_is_found_behind_a_hostile_command_name() {
        // proc(5): pid (comm) state ppid … starttime is field 22.
        let stat = "42 (a) S 1 ) b) S 1 42 42 0 -1 4194560 100 0 0 0 5 6 0 0 20 0 3 0 98765 1 2";
        assert_eq!(start_of(stat).as_deref(), Some("98765"));
        assert_eq!(start_of(&stat.replace("b) S", "b) Z")), None);
        assert_eq!(start_of(""), None);
    }

    #[test]
    fn this_process_is_alive_under_its_own_start_time() {
        let owner = Owner::this_process();
        assert!(!owner.boot.is_empty() && owner.namespace.starts_with("pid:["));
        let labels = owner.labels("r");
        assert!(!is_stale(&labels, &owner, true, alive_since));
    }

    #[test]
    fn only_certain_death_is_stale() {
        let owner = here();
        let labels = owner.labels("r");
        let with = |key: &str, value: &str| {
            let mut labels = labels.clone();
            labels.insert(key.to_owned(), value.to_owned());
            labels
        };
        let same = |_| Some("777".to_owned());
        let reused = |_| Some("778".to_owned());
        assert!(!is_stale(&labels, &owner, true, same));
        assert!(is_stale(&labels, &owner, true, |_| None));
        assert!(is_stale(&labels, &owner, true, reused));
        assert!(is_stale(&with(BOOT, "b0"), &owner, true, same));
        // In doubt it stays.
        assert!(!is_stale(&labels, &owner, false, |_| None));
        assert!(!is_stale(&with(NAMESPACE, "pid:[2]"), &owner, true, |_| {
            None
        }));
        assert!(!is_stale(&with(PID, "x"), &owner, true, |_| None));
        assert!(!is_stale(&with(START, ""), &owner, true, |_| None));
        assert!(!is_stale(&with(LABEL, "0"), &owner, true, |_| None));
        assert!(!is_stale(&HashMap::new(), &owner, true, |_| None));
    }
}
