//! Whose processes use a GPU: the engine's, or somebody else's.
//!
//! NVML and its kin give process numbers. A container's processes name it in their control group
//! (`/proc/PID/cgroup`), those of an engine on this host are in its process group or descend from
//! it. A process that cannot be looked up (it has just ended, or its number is of another
//! namespace) is nobody's: only what is known to be foreign is called so.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{GpuProcess, ProcessKind};

/// Generations that are followed upwards; engines fork twice or three times.
const MOST_ANCESTORS: usize = 32;
/// The multi-process service runs other programs' work: it is no user itself.
const MPS: &str = "nvidia-cuda-mps";

/// Whose processes on the GPUs are expected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Owner {
    /// Nothing is known, so that nobody is called foreign.
    #[default]
    Unknown,
    /// The GPUs are to be free.
    Nobody,
    /// A container, by its full id.
    Container(String),
    /// A process of this host that leads its own group, and what descends from it.
    Group(u32),
}

/// Those of `processes` that compute on the GPU and are known not to be the owner's.
pub fn foreign(processes: &[GpuProcess], owner: &Owner) -> Vec<GpuProcess> {
    Lookup::host().foreign(processes, owner)
}

/// The program behind a process number, where it can be read.
pub fn program(pid: u32) -> Option<String> {
    Lookup::host().program(pid)
}

/// Where processes are looked up: `/proc`, or a copy of it.
struct Lookup(PathBuf);

impl Lookup {
    fn host() -> Self {
        Self(PathBuf::from("/proc"))
    }

    fn foreign(&self, processes: &[GpuProcess], owner: &Owner) -> Vec<GpuProcess> {
        processes
            .iter()
            .filter(|process| match process.kind {
                ProcessKind::Compute | ProcessKind::Mps => self.is_foreign(process.pid, owner),
                // Desktops draw; that is told elsewhere and harms little.
                ProcessKind::Graphics => false,
            })
            .cloned()
            .collect()
    }

    fn is_foreign(&self, pid: u32, owner: &Owner) -> bool {
        if pid == std::process::id() {
            return false;
        }
        // Gone, or of another namespace.
        let Some(program) = self.program(pid) else {
            return false;
        };
        if program.starts_with(MPS) {
            return false;
        }
        match owner {
            Owner::Unknown => false,
            Owner::Nobody => true,
            Owner::Container(id) => !self.in_container(pid, id),
            Owner::Group(leader) => !self.descends(pid, *leader),
        }
    }

    fn file(&self, pid: u32, name: &str) -> Option<String> {
        let path: &Path = &self.0;
        fs::read_to_string(path.join(pid.to_string()).join(name)).ok()
    }

    fn program(&self, pid: u32) -> Option<String> {
        Some(self.file(pid, "comm")?.trim().to_owned())
    }

    fn in_container(&self, pid: u32, id: &str) -> bool {
        !id.is_empty()
            && self
                .file(pid, "cgroup")
                .is_some_and(|groups| groups.contains(id))
    }

    fn descends(&self, pid: u32, leader: u32) -> bool {
        let mut at = pid;
        for _ in 0..MOST_ANCESTORS {
            if at == leader {
                return true;
            }
            let Some((parent, group)) = self.file(at, "stat").as_deref().and_then(parents) else {
                return false;
            };
            if group == leader {
                return true;
            }
            if parent <= 1 {
                return false;
            }
            at = parent;
        }
        false
    }
}

/// Parent and process group in `/proc/PID/stat`. The program's name, in brackets, may hold
/// anything.
fn parents(stat: &str) -> Option<(u32, u32)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace();
    let _state = words.next()?;
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn compute(pid: u32) -> GpuProcess {
        GpuProcess {
            pid,
            kind: ProcessKind::Compute,
            memory: None,
            gpu_instance: None,
        }
    }

    /// A `/proc` with the processes given as (pid, parent, group, program, control group).
    fn lookup(processes: &[(u32, u32, u32, &str, &str)]) -> (tempfile::TempDir, Lookup) {
        let root = tempfile::tempdir().unwrap();
        for (pid, parent, group, comm, cgroup) in processes {
            let dir = root.path().join(pid.to_string());
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("comm"), format!("{comm}\n")).unwrap();
            fs::write(dir.join("cgroup"), cgroup).unwrap();
            let stat = format!("{pid} ({comm}) S {parent} {group} 1 0 -1 0 0");
            fs::write(dir.join("stat"), stat).unwrap();
        }
        let lookup = Lookup(root.path().to_owned());
        (root, lookup)
    }

    fn pids(found: &[GpuProcess]) -> Vec<u32> {
        found.iter().map(|process| process.pid).collect()
    }

    #[test]
    fn a_containers_processes_name_it_in_their_control_group() {
        let v1 = format!("12:memory:/docker/{ID}\n1:name=systemd:/docker/{ID}\n");
        let v2 = format!("0::/system.slice/docker-{ID}.scope\n");
        let (_root, lookup) = lookup(&[
            (9_000_001, 1, 9, "vllm", &v1),
            (9_000_002, 1, 9, "vllm", &v2),
            (9_000_003, 1, 9, "python", "0::/user.slice\n"),
        ]);
        let all = [9_000_001, 9_000_002, 9_000_003, 9_000_004].map(compute);
        let owner = Owner::Container(ID.to_owned());
        // The last one does not exist: it may be of another namespace.
        assert_eq!(pids(&lookup.foreign(&all, &owner)), [9_000_003]);
        assert_eq!(
            pids(&lookup.foreign(&all, &Owner::Nobody)),
            [9_000_001, 9_000_002, 9_000_003]
        );
        assert!(lookup.foreign(&all, &Owner::Unknown).is_empty());
        // An id that was not told owns nothing.
        assert_eq!(
            lookup.foreign(&all, &Owner::Container(String::new())).len(),
            3
        );
    }

    #[test]
    fn a_host_engines_processes_are_its_group_and_its_descendants() {
        let (_root, lookup) = lookup(&[
            (9_000_010, 1, 9_000_010, "server", ""),
            (9_000_011, 9_000_010, 9_000_010, "worker ) 7", ""),
            // A worker with a session of its own.
            (9_000_012, 9_000_011, 9_000_012, "worker", ""),
            (9_000_013, 1, 9_000_013, "python", ""),
        ]);
        let all = [9_000_010, 9_000_011, 9_000_012, 9_000_013].map(compute);
        let owner = Owner::Group(9_000_010);
        assert_eq!(pids(&lookup.foreign(&all, &owner)), [9_000_013]);
    }

    #[test]
    fn who_draws_and_who_shares_are_not_foreign() {
        let (_root, lookup) = lookup(&[
            (9_000_020, 1, 1, "Xorg", ""),
            (9_000_021, 1, 1, "nvidia-cuda-mps-server", ""),
        ]);
        let all = [
            GpuProcess {
                kind: ProcessKind::Graphics,
                ..compute(9_000_020)
            },
            compute(9_000_021),
            compute(std::process::id()),
        ];
        assert!(lookup.foreign(&all, &Owner::Nobody).is_empty());
    }

    #[test]
    fn the_real_proc_names_this_program() {
        assert!(program(std::process::id()).is_some() || !cfg!(target_os = "linux"));
        assert_eq!(program(u32::MAX), None);
    }

    proptest! {
        #[test]
        fn any_stat_line_is_read_or_refused(line in "\\PC{0,80}") {
            let _either = parents(&line);
        }

        #[test]
        fn a_name_cannot_change_the_parents(name in "[ -~]{0,15}") {
            prop_assert_eq!(parents(&format!("5 ({name}) S 12 34 0")), Some((12, 34)));
        }
    }
}
