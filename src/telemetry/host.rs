//! What the host took from this program while the load ran: for the load generator's own audit.
//!
//! Linux tells all of it in `/proc` and in the control groups; other systems tell little or
//! nothing, and then the numbers are absent.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::host_files::{CpuTime, Throttling, allowed, cpu_time, groups, throttling};

/// What the host took from this program over a span. `None`: this host does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct HostLoad {
    /// Share of processor time that the hypervisor gave to other guests, 0 to 1.
    pub steal_share: Option<f64>,
    /// Time in which the own control group was held back for its processor quota, as a share of
    /// the span's wall time. Above 1 where the group waited on several processors at once.
    pub throttled_share: Option<f64>,
    /// Scheduling periods in which the own control group was held back.
    pub throttled_periods: Option<u64>,
    /// Times this process was taken off a processor that it still wanted.
    pub involuntary_switches: Option<u64>,
}

/// What is worth knowing about the host once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostState {
    /// Load average of the last minute: processes that run or want to.
    pub load_average: Option<f64>,
    /// Processors this process may run on.
    pub processors: Option<usize>,
    /// The kernel's clock source, such as `tsc` or `kvm-clock`.
    pub clock_source: Option<String>,
}

impl HostState {
    /// Reads this host.
    pub fn read() -> Self {
        Self::read_at(&HostRoots::default())
    }

    /// Reads a host whose files lie elsewhere.
    pub fn read_at(roots: &HostRoots) -> Self {
        let average = roots.proc_text("loadavg").and_then(|text| {
            let first = text.split_whitespace().next()?;
            first.parse().ok()
        });
        let processors = roots.processors();
        let source = roots
            .sys
            .join("devices/system/clocksource/clocksource0/current_clocksource");
        let source = fs::read_to_string(source).ok();
        Self {
            load_average: average,
            processors: (!processors.is_empty()).then_some(processors.len()),
            clock_source: source
                .map(|text| text.trim().to_owned())
                .filter(|name| !name.is_empty()),
        }
    }

    /// What speaks against measuring here, in words; read before the load.
    pub fn notes(&self) -> Vec<String> {
        let busy = self.load_average.zip(self.processors);
        let busy = busy.filter(|(average, processors)| *average > *processors as f64);
        let busy = busy.map(|(average, processors)| {
            format!(
                "the host was busy before the load: load average {average:.1} on {processors} \
                 processors"
            )
        });
        // These are read through the I/O bus, a microsecond or more each time.
        let slow = self.clock_source.as_deref();
        let slow = slow.filter(|name| ["acpi_pm", "hpet", "jiffies"].contains(name));
        let slow = slow.map(|name| {
            format!("the kernel's clock source is `{name}`: reading the time is slow or coarse")
        });
        busy.into_iter().chain(slow).collect()
    }
}

/// Where the kernel's files lie.
#[derive(Debug, Clone)]
pub struct HostRoots {
    /// `/proc`.
    pub proc: PathBuf,
    /// `/sys`.
    pub sys: PathBuf,
}

impl Default for HostRoots {
    fn default() -> Self {
        Self {
            proc: "/proc".into(),
            sys: "/sys".into(),
        }
    }
}

impl HostRoots {
    fn proc_text(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.proc.join(name)).ok()
    }

    /// Numbers of the processors this process may run on; empty when not told.
    fn processors(&self) -> Vec<u32> {
        self.proc_text("self/status")
            .map(|status| allowed(&status))
            .unwrap_or_default()
    }
}

/// The counters at one moment.
#[derive(Debug, Clone, Default)]
struct Counters {
    cpu: Option<CpuTime>,
    /// Of the own group and of those around it, the own first. A quota may stand on any.
    groups: Vec<Throttling>,
    involuntary: Option<u64>,
}

impl Counters {
    fn read(roots: &HostRoots) -> Self {
        let stat = roots.proc_text("stat");
        let own = roots.proc_text("self/cgroup").unwrap_or_default();
        let paths = groups(&own, &roots.sys.join("fs/cgroup"));
        let read = |path: &PathBuf| throttling(&fs::read_to_string(path).ok()?);
        Self {
            cpu: stat.and_then(|text| cpu_time(&text, &roots.processors())),
            groups: paths.iter().filter_map(read).collect(),
            involuntary: involuntary(),
        }
    }
}

/// Watches from its start to its stop.
#[derive(Debug)]
pub struct HostWatch {
    roots: HostRoots,
    started: Instant,
    first: Counters,
}

impl HostWatch {
    /// Begins; right before the load.
    pub fn start() -> Self {
        Self::start_at(HostRoots::default())
    }

    /// Begins on a host whose files lie elsewhere.
    pub fn start_at(roots: HostRoots) -> Self {
        Self {
            first: Counters::read(&roots),
            started: Instant::now(),
            roots,
        }
    }

    /// Ends; right after the load.
    pub fn stop(self) -> HostLoad {
        let last = Counters::read(&self.roots);
        between(&self.first, &last, self.started.elapsed())
    }
}

fn between(first: &Counters, last: &Counters, wall: Duration) -> HostLoad {
    let pairs = first.groups.iter().zip(&last.groups);
    // Of nested groups with a quota each, the one that held us back longest.
    let held = pairs
        .filter(|_| first.groups.len() == last.groups.len())
        .filter_map(|(first, last)| last.since(first))
        .max_by_key(|held| (held.time, held.periods));
    let wall = wall.as_secs_f64();
    HostLoad {
        steal_share: last
            .cpu
            .zip(first.cpu)
            .and_then(|(last, first)| last.steal_share_since(first)),
        throttled_share: held
            .filter(|_| wall > 0.0)
            .map(|held| held.time.as_secs_f64() / wall),
        throttled_periods: held.map(|held| held.periods),
        involuntary_switches: last
            .involuntary
            .zip(first.involuntary)
            .and_then(|(last, first)| last.checked_sub(first)),
    }
}

/// Of all threads of this process, also of those that have ended.
#[cfg(unix)]
fn involuntary() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    u64::try_from(usage.involuntary_context_switches()).ok()
}

#[cfg(not(unix))]
const fn involuntary() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(dir: &tempfile::TempDir, files: &[(&str, &str)]) -> HostRoots {
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        HostRoots {
            proc: dir.path().join("proc"),
            sys: dir.path().join("sys"),
        }
    }

    #[test]
    fn a_span_is_the_difference_of_two_moments() {
        let dir = tempfile::tempdir().unwrap();
        let first = roots(
            &dir,
            &[
                ("proc/self/status", "Cpus_allowed_list:\t0\n"),
                (
                    "proc/stat",
                    "cpu  9 0 0 9 0 0 0 9\ncpu0 500 0 100 300 0 0 0 100\ncpu1 1 0 0 1 0 0 0 1\n",
                ),
                ("proc/self/cgroup", "0::/slice/job\n"),
                (
                    "sys/fs/cgroup/slice/job/cpu.stat",
                    "nr_throttled 0\nthrottled_usec 0\n",
                ),
                (
                    "sys/fs/cgroup/slice/cpu.stat",
                    "nr_throttled 5\nthrottled_usec 1000000\n",
                ),
                ("sys/fs/cgroup/cpu.stat", "usage_usec 1\n"),
            ],
        );
        let before = Counters::read(&first);
        let after = Counters::read(&roots(
            &dir,
            &[
                (
                    "proc/stat",
                    "cpu  9 0 0 9 0 0 0 9\ncpu0 550 0 110 330 0 0 0 110\ncpu1 1 0 0 1 0 0 0 900\n",
                ),
                (
                    "sys/fs/cgroup/slice/cpu.stat",
                    "nr_throttled 9\nthrottled_usec 1500000\n",
                ),
            ],
        ));
        let load = between(&before, &after, Duration::from_secs(2));
        // cpu0 gained 50 + 10 + 30 + 10 ticks, 10 of them stolen; cpu1 is not ours.
        assert_eq!(load.steal_share, Some(0.1));
        // The quota stands on the group around ours: 0.5 s of 2 s.
        assert_eq!(load.throttled_share, Some(0.25));
        assert_eq!(load.throttled_periods, Some(4));
        let backwards = between(&after, &before, Duration::from_secs(2));
        assert_eq!(backwards.steal_share, None);
        assert_eq!(backwards.throttled_periods, Some(0));
    }

    #[test]
    fn a_host_without_these_files_tells_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let empty = roots(&dir, &[]);
        let load = HostWatch::start_at(empty.clone()).stop();
        let told = HostLoad {
            involuntary_switches: None,
            ..load
        };
        assert_eq!(told, HostLoad::default());
        assert_eq!(HostState::read_at(&empty), HostState::default());
        assert!(HostState::default().notes().is_empty());
    }

    #[test]
    fn a_busy_host_and_a_slow_clock_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let source = "sys/devices/system/clocksource/clocksource0/current_clocksource";
        let facts = HostState::read_at(&roots(
            &dir,
            &[
                ("proc/loadavg", "2.50 0.01 0.05 1/234 5678\n"),
                ("proc/self/status", "Cpus_allowed_list:\t0-1\n"),
                (source, "hpet\n"),
            ],
        ));
        assert_eq!(facts.load_average, Some(2.5));
        assert_eq!(facts.processors, Some(2));
        let notes = facts.notes().join("\n");
        assert!(
            notes.contains("load average 2.5 on 2 processors"),
            "{notes}"
        );
        assert!(notes.contains("`hpet`"), "{notes}");
        let quiet = HostState {
            load_average: Some(2.0),
            clock_source: Some("tsc".to_owned()),
            ..facts
        };
        assert!(quiet.notes().is_empty());
    }

    #[test]
    fn this_host_gives_possible_numbers() {
        let load = HostWatch::start().stop();
        assert!(
            load.steal_share
                .is_none_or(|share| (0.0..=1.0).contains(&share))
        );
        assert!(load.throttled_share.is_none_or(|share| share >= 0.0));
        assert_eq!(load.involuntary_switches.is_some(), cfg!(unix));
    }
}
