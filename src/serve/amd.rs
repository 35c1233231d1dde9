//! AMD's GPUs as device nodes: which nodes a container needs and which groups may open them.
//! Reads `/dev` and `/sys` below a root that tests replace.
//!
//! A container computes through `/dev/kfd` and one render node for each GPU. `ROCm` numbers its
//! GPUs in the order of the kernel's topology (`/sys/class/kfd/kfd/topology/nodes`), whose
//! `drm_render_minor` names the render node (Linux, `amdkfd/kfd_topology.c`).

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What a container gets for AMD's GPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Devices {
    /// Paths on the host, the same inside.
    pub(super) nodes: Vec<String>,
    /// Numeric groups of those nodes on this host: names mean other numbers in other images.
    pub(super) groups: Vec<u32>,
    /// How many GPUs were chosen; `None` for all.
    pub(super) chosen: Option<usize>,
}

const KFD: &str = "/dev/kfd";
const DRI: &str = "/dev/dri";
const TOPOLOGY: &str = "sys/class/kfd/kfd/topology/nodes";

/// The nodes of the GPUs of those `ROCm` numbers, of all when there are none. What does not exist
/// is asked for all the same: this process may see less of `/dev` than the daemon does.
///
/// # Errors
/// A sentence: a number that no GPU has, with the numbers there are.
pub(super) fn devices(root: &Path, numbers: &[u32]) -> Result<Devices, String> {
    let mut nodes = vec![KFD.to_owned()];
    if numbers.is_empty() {
        nodes.push(DRI.to_owned());
    } else {
        nodes.extend(render_nodes(root, numbers)?);
    }
    Ok(Devices {
        groups: groups(root, &nodes),
        nodes,
        chosen: (!numbers.is_empty()).then_some(numbers.len()),
    })
}

fn render_nodes(root: &Path, numbers: &[u32]) -> Result<Vec<String>, String> {
    let known = minors(&root.join(TOPOLOGY));
    let mut wanted: Vec<u32> = numbers.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    let node = |number: &u32| {
        let minor = usize::try_from(*number).ok().and_then(|at| known.get(at));
        minor
            .map(|minor| format!("{DRI}/renderD{minor}"))
            .ok_or_else(|| absent(*number, known.len()))
    };
    wanted.iter().map(node).collect()
}

fn absent(number: u32, count: usize) -> String {
    match count.checked_sub(1) {
        None => format!(
            "AMD GPU {number} was asked for, but the kernel lists none (is the amdgpu driver loaded?)"
        ),
        Some(0) => format!("AMD GPU {number} was asked for, but there is only GPU 0"),
        Some(last) => format!("AMD GPU {number} was asked for, but there are GPUs 0 to {last}"),
    }
}

/// Render minors of the GPUs, in `ROCm`'s order. Processors are nodes too, without a minor.
fn minors(topology: &Path) -> Vec<u32> {
    let entries = fs::read_dir(topology).into_iter().flatten().flatten();
    let mut nodes: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, entry.path().join("properties")))
        })
        .collect();
    nodes.sort_unstable();
    let minor = |(_, file): &(u32, PathBuf)| render_minor(&fs::read_to_string(file).ok()?);
    nodes.iter().filter_map(minor).collect()
}

fn render_minor(properties: &str) -> Option<u32> {
    let mut lines = properties.lines().filter_map(|line| line.split_once(' '));
    let (_, minor) = lines.find(|(key, _)| *key == "drm_render_minor")?;
    minor.trim().parse().ok().filter(|minor| *minor > 0)
}

/// Groups that own the nodes. Root's needs no mention.
fn groups(root: &Path, nodes: &[String]) -> Vec<u32> {
    let paths = nodes.iter().flat_map(|node| {
        let path = root.join(node.trim_start_matches('/'));
        let below = fs::read_dir(&path).into_iter().flatten().flatten();
        let mut all: Vec<PathBuf> = below.map(|entry| entry.path()).collect();
        all.push(path);
        all
    });
    let mut groups: Vec<u32> = paths
        .filter_map(|path| fs::metadata(path).ok())
        .filter(|found| !found.is_dir())
        .map(|found| found.gid())
        .filter(|group| *group != 0)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host with a processor and two GPUs, whose second one has the lower render node.
    fn host() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let dri = root.path().join("dev/dri");
        fs::create_dir_all(&dri).unwrap();
        for node in ["card0", "renderD128", "renderD129"] {
            fs::write(dri.join(node), "").unwrap();
        }
        fs::write(root.path().join("dev/kfd"), "").unwrap();
        for (node, minor) in [("0", 0), ("2", 128), ("1", 129), ("10", 130)] {
            let folder = root.path().join(TOPOLOGY).join(node);
            fs::create_dir_all(&folder).unwrap();
            let text = format!("cpu_cores_count 0\nsimd_count 304\ndrm_render_minor {minor}\n");
            fs::write(folder.join("properties"), text).unwrap();
        }
        root
    }

    #[test]
    fn all_gpus_are_the_whole_folder() {
        let host = host();
        let own = fs::metadata(host.path().join("dev/kfd")).unwrap().gid();
        let all = devices(host.path(), &[]).unwrap();
        assert_eq!(all.nodes, [KFD, DRI]);
        assert_eq!(all.chosen, None);
        let expected: Vec<u32> = Some(own).filter(|group| *group != 0).into_iter().collect();
        assert_eq!(all.groups, expected);
    }

    #[test]
    fn numbers_follow_the_topology_and_not_the_minors() {
        let host = host();
        let nodes = |numbers: &[u32]| devices(host.path(), numbers).map(|found| found.nodes);
        assert_eq!(nodes(&[0]).unwrap(), [KFD, "/dev/dri/renderD129"]);
        // Node 10 stands after node 2, although its text stands before.
        assert_eq!(
            nodes(&[2, 1]).unwrap(),
            [KFD, "/dev/dri/renderD128", "/dev/dri/renderD130"]
        );
        assert!(nodes(&[3]).unwrap_err().contains("GPUs 0 to 2"));
    }

    #[test]
    fn a_host_without_the_driver_says_so() {
        let empty = tempfile::tempdir().unwrap();
        let error = devices(empty.path(), &[0]).unwrap_err();
        assert!(error.contains("amdgpu"), "{error}");
        // All of them: the daemon may see what this process does not.
        assert_eq!(devices(empty.path(), &[]).unwrap().nodes, [KFD, DRI]);
    }
}
