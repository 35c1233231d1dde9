//! Parsers of the kernel's files about processor time: proc(5) and the kernel's documents on
//! control groups. Pure.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::limits;

/// Processor time of some processors since boot, in clock ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CpuTime {
    all: u64,
    steal: u64,
}

impl CpuTime {
    /// Share of the time that was stolen; `None` when no tick has passed or a counter fell.
    pub(super) fn steal_share_since(self, first: Self) -> Option<f64> {
        let all = self.all.checked_sub(first.all).filter(|all| *all > 0)?;
        let steal = self.steal.checked_sub(first.steal)?;
        Some(steal as f64 / all as f64)
    }

    const fn add(self, other: Self) -> Self {
        Self {
            all: self.all.saturating_add(other.all),
            steal: self.steal.saturating_add(other.steal),
        }
    }
}

/// The time of the named processors in `/proc/stat`, of all when none is named. `None` when the
/// file does not have them, or tells no stolen time (Linux before 2.6.11).
pub(super) fn cpu_time(stat: &str, processors: &[u32]) -> Option<CpuTime> {
    let line = |name: &str| {
        stat.lines().find_map(|line| {
            let (found, numbers) = line.split_once(' ')?;
            (found == name).then(|| fields(numbers)).flatten()
        })
    };
    let named: Option<Vec<CpuTime>> = processors
        .iter()
        .map(|number| line(&format!("cpu{number}")))
        .collect();
    match named {
        Some(times) if !times.is_empty() => {
            Some(times.into_iter().fold(CpuTime::default(), CpuTime::add))
        }
        _ => line("cpu"),
    }
}

/// user nice system idle iowait irq softirq steal; guest time, which follows, is in user already.
fn fields(numbers: &str) -> Option<CpuTime> {
    let ticks: Option<Vec<u64>> = numbers
        .split_whitespace()
        .take(8)
        .map(|word| word.parse().ok())
        .collect();
    let ticks = ticks?;
    Some(CpuTime {
        all: ticks
            .iter()
            .fold(0, |sum: u64, one| sum.saturating_add(*one)),
        steal: *ticks.get(7)?,
    })
}

/// `Cpus_allowed_list` of `/proc/self/status`, such as `0-3,8`; empty when it is not there.
pub(crate) fn allowed(status: &str) -> Vec<u32> {
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    limits::numbers(list.unwrap_or_default()).unwrap_or_default()
}

/// How often and how long a control group was held back, since its creation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Throttling {
    pub(super) periods: u64,
    pub(super) time: Duration,
}

impl Throttling {
    /// What came since; `None` when a counter fell.
    pub(super) fn since(self, first: &Self) -> Option<Self> {
        Some(Self {
            periods: self.periods.checked_sub(first.periods)?,
            time: self.time.checked_sub(first.time)?,
        })
    }
}

/// A group's `cpu.stat`: `throttled_usec` in version 2, `throttled_time` in nanoseconds in
/// version 1. `None` for the root of version 2, which has no quota.
pub(super) fn throttling(stat: &str) -> Option<Throttling> {
    let value = |key: &str| -> Option<u64> {
        stat.lines().find_map(|line| {
            let (found, value) = line.split_once(' ')?;
            (found == key).then(|| value.trim().parse().ok()).flatten()
        })
    };
    let time = value("throttled_usec").map(Duration::from_micros);
    let time = time.or_else(|| value("throttled_time").map(Duration::from_nanos))?;
    Some(Throttling {
        periods: value("nr_throttled")?,
        time,
    })
}

/// The `cpu.stat` files of the own group and of those around it, from `/proc/self/cgroup`. Which
/// of them exist depends on where each version is mounted and on what a container may see.
pub(crate) fn groups(own: &str, mount: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in own.lines() {
        // hierarchy:controllers:path
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let mounts: Vec<PathBuf> = if controllers.is_empty() {
            vec![mount.to_owned(), mount.join("unified")]
        } else if is_list(controllers) && controllers.split(',').any(|name| name == "cpu") {
            vec![mount.join(controllers), mount.join("cpu")]
        } else {
            continue;
        };
        // A path outside what the container sees begins with `/..`.
        let path = path.trim_start_matches('/');
        let path = if path.split('/').any(|part| part == "..") {
            ""
        } else {
            path
        };
        for mount in mounts {
            let around = Path::new(path).ancestors();
            files.extend(around.map(|group| mount.join(group).join("cpu.stat")));
        }
    }
    files.dedup();
    files
}

/// Whether a hierarchy's controllers can be a folder's name.
fn is_list(controllers: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || [',', '_', '='].contains(&c);
    controllers.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAT: &str = "cpu  300 0 100 1500 50 0 10 40 20 0
cpu0 200 0 50 700 25 0 5 20 20 0
cpu1 100 0 50 800 25 0 5 20 0 0
intr 8885917 17
ctxt 19
";

    #[test]
    fn stolen_time_is_a_share_of_all_time() {
        // user nice system idle iowait irq softirq steal; guest (20) is in user already.
        let all = cpu_time(STAT, &[]).unwrap();
        assert_eq!((all.all, all.steal), (2000, 40));
        let one = cpu_time(STAT, &[1]).unwrap();
        assert_eq!((one.all, one.steal), (1000, 20));
        assert_eq!(cpu_time(STAT, &[0, 1]), cpu_time(STAT, &[]));
        // A processor the file does not have: the total.
        assert_eq!(cpu_time(STAT, &[0, 9]), cpu_time(STAT, &[]));
        assert_eq!(all.steal_share_since(one), Some(0.02)); // 20 of 1000
        assert_eq!(one.steal_share_since(one), None);
        assert_eq!(one.steal_share_since(all), None);
        assert_eq!(cpu_time("cpu  1 2 3 4\n", &[]), None);
        assert_eq!(cpu_time("cpu  1 2 3 4 5 6 7 x\n", &[]), None);
        assert_eq!(cpu_time("", &[]), None);
    }

    #[test]
    fn allowed_processors_are_ranges() {
        let status =
            |list: &str| format!("Name:\tkitt\nCpus_allowed:\tff\nCpus_allowed_list:\t{list}\n");
        assert_eq!(allowed(&status("0-3,8")), [0, 1, 2, 3, 8]);
        assert_eq!(allowed(&status("5")), [5]);
        for odd in ["", "x", "1-", "0-4294967295"] {
            assert_eq!(allowed(&status(odd)), [0_u32; 0], "{odd}");
        }
        assert_eq!(allowed("Name:\tkitt\n"), [0_u32; 0]);
    }

    #[test]
    fn both_versions_of_control_groups_tell_throttling() {
        let two = "usage_usec 100\nnr_periods 50\nnr_throttled 7\nthrottled_usec 1500000\n";
        let one = "nr_periods 50\nnr_throttled 7\nthrottled_time 1500000000\n";
        let expected = Throttling {
            periods: 7,
            time: Duration::from_millis(1500),
        };
        assert_eq!(throttling(two), Some(expected));
        assert_eq!(throttling(one), Some(expected));
        // The root of version 2, and a damaged file.
        assert_eq!(throttling("usage_usec 100\nuser_usec 60\n"), None);
        assert_eq!(throttling("nr_throttled many\nthrottled_usec 3\n"), None);
        let earlier = Throttling {
            periods: 8,
            time: Duration::ZERO,
        };
        assert_eq!(expected.since(&earlier), None);
    }

    #[test]
    fn groups_are_looked_for_where_they_can_be() {
        let found = |own: &str| -> Vec<String> {
            let files = groups(own, Path::new("/cg"));
            files
                .iter()
                .map(|file| file.display().to_string())
                .collect()
        };
        assert_eq!(
            found("0::/kube/pod\n"),
            [
                "/cg/kube/pod/cpu.stat",
                "/cg/kube/cpu.stat",
                "/cg/cpu.stat",
                "/cg/unified/kube/pod/cpu.stat",
                "/cg/unified/kube/cpu.stat",
                "/cg/unified/cpu.stat",
            ]
        );
        assert_eq!(
            found("5:memory:/a\n4:cpu,cpuacct:/a\n3:cpuset:/a\n"),
            [
                "/cg/cpu,cpuacct/a/cpu.stat",
                "/cg/cpu,cpuacct/cpu.stat",
                "/cg/cpu/a/cpu.stat",
                "/cg/cpu/cpu.stat",
            ]
        );
        assert_eq!(
            found("0::/../../other\n"),
            ["/cg/cpu.stat", "/cg/unified/cpu.stat"]
        );
        assert!(found("garbage\n\n1:2\n").is_empty());
        assert!(found("4:/etc,cpu:/a\n4:../x,cpu:/a\n").is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(.|\n|cpu|0|9| |:|,|/|-|throttled_usec|Cpus_allowed_list:){0,60}") {
            let files = groups(&text, Path::new("/cg"));
            prop_assert!(files.iter().all(|file| file.starts_with("/cg")));
            prop_assert!(allowed(&text).len() < 1 << 22);
            let time = cpu_time(&text, &[0]).unwrap_or_default();
            prop_assert!(time.steal <= time.all);
            prop_assert_eq!(throttling(&text).is_some() && !text.contains("throttled"), false);
        }
    }
}
