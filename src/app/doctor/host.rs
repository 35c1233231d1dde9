//! What is found about the machine: processors, clock, memory, limits. Pure.

use super::{docker::gib, finding::Finding};
use crate::{
    results::{HostFacts, Virtualisation},
    units::Bytes,
};

/// What is known of the machine beside [`HostFacts`]. `None`: it does not tell.
#[derive(Debug, Clone, Default)]
pub(super) struct MachineFacts {
    pub(super) host: HostFacts,
    /// Load average of the last minute.
    pub(super) load: Option<f64>,
    /// Processors this process may run on.
    pub(super) processors: Option<usize>,
    /// Swap, and how much of it is in use.
    pub(super) swap: Option<(Bytes, Bytes)>,
    /// Size of `/dev/shm`.
    pub(super) shm: Option<Bytes>,
    /// Open files this process may have.
    pub(super) open_files: Option<u64>,
    /// Open files that the asked-for load needs.
    pub(super) files_needed: Option<u64>,
    /// Whether something keeps the wall clock right; `None` when nothing tells.
    pub(super) time_kept: Option<bool>,
}

/// Clock sources that are read through the I/O bus, a microsecond or more each time.
const SLOW_CLOCKS: [&str; 3] = ["acpi_pm", "hpet", "jiffies"];
/// Governors that keep the clock up.
const STEADY_GOVERNORS: [&str; 1] = ["performance"];
/// A thousand streams and what else is open.
const COMFORTABLE_FILES: u64 = 1_100;

/// Judges the machine.
pub(super) fn judge(facts: &MachineFacts) -> Vec<Finding> {
    [
        Some(place(&facts.host)),
        governor(&facts.host),
        clock(&facts.host),
        load(facts),
        quota(&facts.host),
        files(facts),
        swap(facts),
        shm(facts),
        Some(time(facts)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn place(host: &HostFacts) -> Finding {
    let Some(place) = host.virtualisation else {
        return Finding::ok("host.place", "bare metal or a machine that does not tell");
    };
    match place {
        Virtualisation::Bare => Finding::ok("host.place", "bare metal"),
        Virtualisation::Machine => Finding::note(
            "host.place",
            "a virtual machine",
            "the hypervisor may take processor time away; results tell how much",
            "pin the machine's processors, or measure on bare metal",
        ),
        Virtualisation::Wsl => Finding::warning(
            "host.place",
            "Windows' subsystem for Linux",
            "GPU readings are incomplete and the clock may jump",
            "measure on Linux itself",
        ),
        Virtualisation::Container => Finding::note(
            "host.place",
            "a container",
            "paths handed to the Docker daemon are the host's, not this container's",
            "mount model folders at the same path inside and outside",
        ),
    }
}

fn governor(host: &HostFacts) -> Option<Finding> {
    let governor = host.governor.as_deref()?;
    Some(if STEADY_GOVERNORS.contains(&governor) {
        Finding::ok(
            "host.governor",
            format!("the processors' governor is {governor}"),
        )
    } else {
        Finding::warning(
            "host.governor",
            format!("the processors' governor is {governor}"),
            "clocks follow the load: latencies vary more",
            "cpupower frequency-set -g performance",
        )
    })
}

fn clock(host: &HostFacts) -> Option<Finding> {
    let source = host.clock_source.as_deref()?;
    Some(if SLOW_CLOCKS.contains(&source) {
        Finding::warning(
            "host.clock",
            format!("the kernel's clock source is {source}"),
            "reading the time is slow or coarse",
            "see why tsc is not used (`dmesg | grep -i tsc`)",
        )
    } else {
        Finding::ok(
            "host.clock",
            format!("the kernel's clock source is {source}"),
        )
    })
}

fn load(facts: &MachineFacts) -> Option<Finding> {
    let (load, processors) = facts.load.zip(facts.processors)?;
    let what = format!("load average {load:.1} on {processors} processors");
    Some(if load > processors as f64 {
        Finding::warning(
            "host.load",
            what,
            "something else uses the processors: latencies include waiting for them",
            "end it, or measure when it is done",
        )
    } else {
        Finding::ok("host.load", what)
    })
}

fn quota(host: &HostFacts) -> Option<Finding> {
    let visible = host.visible_hundredths?;
    let threads = u64::from(host.threads?).saturating_mul(100);
    if visible >= threads {
        return None;
    }
    Some(Finding::note(
        "host.quota",
        format!(
            "{} of {} processors may be used",
            visible as f64 / 100.0,
            threads / 100
        ),
        "a quota stops all threads at once when it is used up",
        "give the runner whole processors (cpuset) instead of a quota",
    ))
}

fn files(facts: &MachineFacts) -> Option<Finding> {
    let allowed = facts.open_files?;
    let what = format!("{allowed} files may be open at once");
    let remedy = "raise the hard limit: LimitNOFILE= of the runner's service, or `ulimit -Hn`";
    Some(match facts.files_needed {
        Some(needed) if allowed < needed => Finding::problem(
            "host.files",
            format!("{what}, this load needs {needed}"),
            "every stream is a connection",
            remedy,
        ),
        _ if allowed < COMFORTABLE_FILES => Finding::warning(
            "host.files",
            what,
            "every stream is a connection: a thousand of them do not fit",
            remedy,
        ),
        _ => Finding::ok("host.files", what),
    })
}

fn swap(facts: &MachineFacts) -> Option<Finding> {
    let (total, used) = facts.swap?;
    // A tenth in use is memory that was wanted once and is not any more.
    (used.0 > total.0 / 10).then(|| {
        Finding::note(
            "host.swap",
            format!("{} of {} of swap are in use", gib(used), gib(total)),
            "an engine whose memory comes back from disk is slow at first",
            "see what needs the memory; containers of kitt get no swap",
        )
    })
}

fn shm(facts: &MachineFacts) -> Option<Finding> {
    let size = facts.shm.filter(|size| size.0 < 1 << 30)?;
    Some(Finding::note(
        "host.shm",
        format!("/dev/shm has {}", gib(size)),
        "engines on several GPUs exchange data there when they run on the host (--mode native)",
        "mount -o remount,size=8g /dev/shm; containers of kitt get their own (--shm-size)",
    ))
}

fn time(facts: &MachineFacts) -> Finding {
    match facts.time_kept {
        Some(true) => Finding::ok("host.time", "the wall clock is kept right"),
        Some(false) | None => Finding::note(
            "host.time",
            "nothing is seen that keeps the wall clock right",
            "measurements use a clock that never jumps; dates in results may be wrong",
            "run systemd-timesyncd or chrony",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Severity, *};

    fn good() -> MachineFacts {
        MachineFacts {
            host: HostFacts {
                virtualisation: Some(Virtualisation::Bare),
                governor: Some("performance".into()),
                clock_source: Some("tsc".into()),
                threads: Some(8),
                visible_hundredths: Some(800),
                ..HostFacts::default()
            },
            load: Some(0.5),
            processors: Some(8),
            swap: Some((Bytes(8 << 30), Bytes(0))),
            shm: Some(Bytes(16 << 30)),
            open_files: Some(1 << 20),
            files_needed: Some(300),
            time_kept: Some(true),
        }
    }

    #[test]
    fn a_quiet_machine_has_nothing_to_be_said() {
        let found = judge(&good());
        assert!(
            found.iter().all(|one| one.severity == Severity::Ok),
            "{found:?}"
        );
        // What a machine does not tell is not held against it, but for its clock.
        let silent = judge(&MachineFacts::default());
        let said: Vec<_> = silent.iter().map(|one| (one.id, one.severity)).collect();
        assert_eq!(
            said,
            [("host.place", Severity::Ok), ("host.time", Severity::Note)]
        );
    }

    #[test]
    fn each_condition_has_its_finding() {
        type Spoil = fn(&mut MachineFacts);
        let cases: [(Spoil, &str, Severity); 11] = [
            (
                |m| m.host.virtualisation = Some(Virtualisation::Wsl),
                "host.place",
                Severity::Warning,
            ),
            (
                |m| m.host.virtualisation = Some(Virtualisation::Container),
                "host.place",
                Severity::Note,
            ),
            (
                |m| m.host.governor = Some("powersave".into()),
                "host.governor",
                Severity::Warning,
            ),
            (
                |m| m.host.clock_source = Some("hpet".into()),
                "host.clock",
                Severity::Warning,
            ),
            (|m| m.load = Some(8.1), "host.load", Severity::Warning),
            (
                |m| m.host.visible_hundredths = Some(250),
                "host.quota",
                Severity::Note,
            ),
            (
                |m| m.open_files = Some(299),
                "host.files",
                Severity::Problem,
            ),
            (
                |m| m.open_files = Some(512),
                "host.files",
                Severity::Warning,
            ),
            (
                |m| m.swap = Some((Bytes(8 << 30), Bytes(2 << 30))),
                "host.swap",
                Severity::Note,
            ),
            (
                |m| m.shm = Some(Bytes(64 << 20)),
                "host.shm",
                Severity::Note,
            ),
            (|m| m.time_kept = Some(false), "host.time", Severity::Note),
        ];
        for (spoil, id, severity) in cases {
            let mut facts = good();
            spoil(&mut facts);
            let found = judge(&facts);
            let one = found.iter().find(|one| one.id == id).unwrap();
            assert_eq!(one.severity, severity, "{id}");
            assert!(one.remedy.is_some());
        }
    }
}
