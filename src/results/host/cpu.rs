//! Processors and memory of this machine, and how much of them a process of ours may use.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{
    limits,
    telemetry::{allowed, groups},
    units::Bytes,
};

/// Values of a `key : value` file such as `/proc/cpuinfo`.
pub(super) fn fields<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then_some(value.trim())
    })
}

pub(super) fn count(number: usize) -> Option<u32> {
    u32::try_from(number).ok().filter(|number| *number > 0)
}

/// x86 names its processors; ARM gives numbers only.
pub(super) fn model(cpuinfo: &str) -> Option<String> {
    let field = |key| fields(cpuinfo, key).next();
    field("model name").map(str::to_owned).or_else(|| {
        let (implementer, part) = field("CPU implementer").zip(field("CPU part"))?;
        Some(format!("ARM {implementer} {part}"))
    })
}

/// A core is a pair of socket and core number; two threads of one core share it.
pub(super) fn cores(cpuinfo: &str) -> Option<u32> {
    let sockets = fields(cpuinfo, "physical id");
    let cores: BTreeSet<_> = sockets.zip(fields(cpuinfo, "core id")).collect();
    count(cores.len())
}

/// Sockets: by `/proc/cpuinfo` on x86, by the topology files elsewhere.
pub(super) fn sockets(root: &Path, cpuinfo: &str) -> Option<u32> {
    let named: BTreeSet<&str> = fields(cpuinfo, "physical id").collect();
    if !named.is_empty() {
        return count(named.len());
    }
    let found: BTreeSet<String> = of_each_cpu(root, "topology/physical_package_id")
        .into_iter()
        // -1: the firmware does not tell.
        .filter(|id| id != "-1")
        .collect();
    count(found.len())
}

/// Processors this process may keep busy: those it may run on, less where a control group's
/// quota allows fewer. In hundredths of a processor, as a quota need not be whole.
pub(super) fn visible_hundredths(root: &Path) -> Option<u64> {
    let text = |path: &str| fs::read_to_string(root.join(path)).ok();
    let affinity = text("proc/self/status").map(|status| allowed(&status).len());
    let affinity = affinity.filter(|found| *found > 0)?;
    let whole = u64::try_from(affinity).ok()?.saturating_mul(100);
    let own = text("proc/self/cgroup").unwrap_or_default();
    let quota = groups(&own, &root.join("sys/fs/cgroup"))
        .iter()
        .filter_map(|stat| quota_hundredths(stat.parent()?))
        .min();
    Some(quota.map_or(whole, |quota| quota.min(whole)))
}

/// The quota of one control group: `cpu.max` in version 2, two files in version 1. `None` where
/// there is no limit.
fn quota_hundredths(group: &Path) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    let (quota, period) = match read("cpu.max") {
        Some(text) => {
            let (quota, period) = text.trim().split_once(' ')?;
            (quota.to_owned(), period.to_owned())
        }
        None => (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?),
    };
    // `max` in version 2 and -1 in version 1 are no limit, and no numbers here.
    let quota: u64 = quota.trim().parse().ok()?;
    let period: u64 = period.trim().parse().ok().filter(|period| *period > 0)?;
    quota.checked_mul(100)?.checked_div(period)
}

/// NUMA nodes that are online, and how many of them this process may take memory from.
pub(super) fn numa(root: &Path) -> (Option<u32>, Option<u32>) {
    let text = |path: &str| fs::read_to_string(root.join(path)).ok();
    let online =
        text("sys/devices/system/node/online").and_then(|list| Some(limits::numbers(&list)?.len()));
    let allowed = text("proc/self/status").and_then(|status| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("Mems_allowed_list:"))?;
        Some(limits::numbers(line)?.len())
    });
    (online.and_then(count), allowed.and_then(count))
}

/// The governor of the processors' frequency, all different ones joined; `None` where the kernel
/// does not steer it (most virtual machines).
pub(super) fn governor(root: &Path) -> Option<String> {
    let found: BTreeSet<String> = of_each_cpu(root, "cpufreq/scaling_governor")
        .into_iter()
        .collect();
    let found: Vec<String> = found.into_iter().collect();
    (!found.is_empty()).then(|| found.join(" + "))
}

/// One file of every processor's folder, where it is there.
fn of_each_cpu(root: &Path, file: &str) -> Vec<String> {
    let Ok(folders) = fs::read_dir(root.join("sys/devices/system/cpu")) else {
        return Vec::new();
    };
    let is_cpu = |name: &str| {
        name.strip_prefix("cpu")
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    folders
        .filter_map(|entry| {
            let entry = entry.ok()?;
            is_cpu(entry.file_name().to_str()?).then_some(())?;
            let text = fs::read_to_string(entry.path().join(file)).ok()?;
            Some(text.trim().to_owned())
        })
        .collect()
}

pub(super) fn ram_gb(meminfo: &str) -> Option<u64> {
    let total = fields(meminfo, "MemTotal").next()?;
    let kib: u64 = total.strip_suffix("kB")?.trim().parse().ok()?;
    let bytes = Bytes(kib.checked_mul(1024)?);
    Some(bytes.0 >> 30)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::tests::root, *};

    #[test]
    fn a_quota_and_an_affinity_both_bound_what_is_visible() {
        let status = "Cpus_allowed_list:\t0-7\n";
        let none = root(&[("proc/self/status", status)]);
        assert_eq!(visible_hundredths(none.path()), Some(800));
        let version_2 = root(&[
            ("proc/self/status", status),
            ("proc/self/cgroup", "0::/pod/engine\n"),
            ("sys/fs/cgroup/pod/cpu.max", "250000 100000\n"),
            ("sys/fs/cgroup/pod/engine/cpu.max", "max 100000\n"),
        ]);
        assert_eq!(visible_hundredths(version_2.path()), Some(250));
        let version_1 = root(&[
            ("proc/self/status", status),
            ("proc/self/cgroup", "4:cpu,cpuacct:/docker/abc\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us", "400000\n"),
            ("sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(visible_hundredths(version_1.path()), Some(400));
        let wide = root(&[
            ("proc/self/status", status),
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/cpu.max", "9900000 100000\n"),
        ]);
        assert_eq!(visible_hundredths(wide.path()), Some(800));
    }

    #[test]
    fn sockets_are_told_by_the_topology_where_cpuinfo_is_silent() {
        let arm = root(&[
            (
                "sys/devices/system/cpu/cpu0/topology/physical_package_id",
                "0\n",
            ),
            (
                "sys/devices/system/cpu/cpu1/topology/physical_package_id",
                "1\n",
            ),
            (
                "sys/devices/system/cpu/cpufreq/topology/physical_package_id",
                "7\n",
            ),
        ]);
        assert_eq!(sockets(arm.path(), "CPU part : 0xd4f\n"), Some(2));
        let silent = root(&[(
            "sys/devices/system/cpu/cpu0/topology/physical_package_id",
            "-1\n",
        )]);
        assert_eq!(sockets(silent.path(), ""), None);
    }

    #[test]
    fn governors_that_differ_are_all_named() {
        let mixed = root(&[
            (
                "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
                "powersave\n",
            ),
            (
                "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor",
                "performance\n",
            ),
        ]);
        assert_eq!(
            governor(mixed.path()).as_deref(),
            Some("performance + powersave")
        );
        assert_eq!(governor(root(&[]).path()), None);
    }

    proptest! {
        #[test]
        fn any_quota_is_read_without_a_panic(max in ".{0,40}", quota in "-?[0-9]{0,25}", period in "[0-9]{0,25}") {
            let tree = root(&[
                ("proc/self/status", "Cpus_allowed_list:\t0-3\n"),
                ("proc/self/cgroup", "0::/a\n5:cpu:/b\n"),
                ("sys/fs/cgroup/a/cpu.max", &max),
                ("sys/fs/cgroup/cpu/b/cpu.cfs_quota_us", &quota),
                ("sys/fs/cgroup/cpu/b/cpu.cfs_period_us", &period),
            ]);
            prop_assert!(visible_hundredths(tree.path()).is_some_and(|seen| seen <= 400));
        }
    }
}
