//! A container specification as the daemon wants it. Pure.
//!
//! Everything that is the same for every engine is decided here: the published port, mounts that
//! fail instead of creating folders, dropped capabilities, no restart, no health checks of the
//! image's own (they would be load during a measurement).

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, DeviceMapping, DeviceRequest, HealthConfig, HostConfig,
    HostConfigLogConfig, Mount, MountType, PortBinding, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};

use super::{amd, refusal::Again};
use crate::{
    engine::{ContainerSpec, GpuSet},
    units::Bytes,
};

/// The longest run id that goes into a name.
const NAME_PART: usize = 40;

/// How GPUs are handed to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GpuAccess {
    /// A device request, as `docker run --gpus` makes it: NVIDIA's toolkit as a runtime hook.
    Request,
    /// The Container Device Interface: daemons with its specifications and without the hook.
    Cdi,
}

/// Everything a container is made of.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub(super) spec: ContainerSpec,
    /// The image on the daemon.
    pub(super) image: String,
    pub(super) labels: HashMap<String, String>,
    /// The network it is in alone; `None` is the daemon's default one.
    pub(super) network: Option<String>,
    /// What AMD's GPUs need.
    pub(super) amd: amd::Devices,
    /// Capabilities beyond the specification's, for what is mounted.
    pub(super) capabilities: Vec<&'static str>,
    pub(super) gpus: GpuAccess,
    /// Whether limits of processes are set.
    pub(super) ulimits: bool,
}

/// The container's name: the same for the same run, process and count. Letters that Docker does
/// not allow become dashes; the client would put them into a path unescaped.
pub(super) fn name(run_id: &str, pid: u32, count: u32) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let run: String = run_id.chars().take(NAME_PART).map(word).collect();
    format!("kitt-{run}-{pid}-{count}")
}

/// The key of the engine's port in the daemon's tables.
pub(super) fn port_key(port: u16) -> String {
    format!("{port}/tcp")
}

impl Recipe {
    /// The plain one: a device request for GPUs, every limit.
    pub(super) fn new(spec: ContainerSpec, image: String, labels: HashMap<String, String>) -> Self {
        Self {
            spec,
            image,
            labels,
            network: None,
            amd: amd::Devices::default(),
            capabilities: Vec::new(),
            gpus: GpuAccess::Request,
            ulimits: true,
        }
    }

    /// The recipe of a second try, unless this one is that already.
    pub(super) fn after(&self, again: Again) -> Option<Self> {
        let mut next = self.clone();
        match again {
            Again::Cdi if self.gpus == GpuAccess::Request => next.gpus = GpuAccess::Cdi,
            Again::WithoutUlimits if self.ulimits => next.ulimits = false,
            // The port is the daemon's choice anyway.
            Again::OtherPort => {}
            Again::Cdi | Again::WithoutUlimits => return None,
        }
        Some(next)
    }

    /// The whole request.
    pub(super) fn body(&self) -> ContainerCreateBody {
        let spec = &self.spec;
        ContainerCreateBody {
            image: Some(self.image.clone()),
            entrypoint: (!spec.entrypoint.is_empty()).then(|| spec.entrypoint.clone()),
            cmd: Some(spec.args.clone()),
            env: Some(self.env()),
            labels: Some(self.labels.clone()),
            exposed_ports: Some(vec![port_key(spec.port)]),
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..HealthConfig::default()
            }),
            host_config: Some(self.host()),
            ..ContainerCreateBody::default()
        }
    }

    /// The specification's environment, after what the GPUs ask for: who set it knows better.
    fn env(&self) -> Vec<String> {
        let mut all = BTreeMap::new();
        match &self.spec.gpus {
            // Images made for CUDA ask for every GPU, and a host may hand them out unasked.
            GpuSet::None => {
                all.insert("NVIDIA_VISIBLE_DEVICES", "void".to_owned());
            }
            GpuSet::Nvidia(_) => {}
            GpuSet::Amd(_) => {
                if let Some(count) = self.amd.chosen {
                    // Only the chosen nodes are inside, where ROCm counts them from 0.
                    let numbers: Vec<String> = (0..count).map(|at| at.to_string()).collect();
                    let numbers = numbers.join(",");
                    all.insert("ROCR_VISIBLE_DEVICES", numbers.clone());
                    all.insert("HIP_VISIBLE_DEVICES", numbers);
                }
            }
        }
        let own = self.spec.env.iter();
        all.extend(own.map(|(key, value)| (key.as_str(), value.clone())));
        let hidden = self.spec.secrets.iter();
        all.extend(hidden.map(|(key, value)| (key.as_str(), value.expose().to_owned())));
        all.into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect()
    }

    fn host(&self) -> HostConfig {
        let spec = &self.spec;
        let memory = spec.memory.map(bytes);
        let some = |capabilities: Vec<String>| (!capabilities.is_empty()).then_some(capabilities);
        HostConfig {
            port_bindings: self.ports(),
            network_mode: self.network.clone(),
            mounts: Some(spec.mounts.iter().map(mount).collect()),
            device_requests: requests(&spec.gpus, self.gpus),
            devices: self.devices(),
            group_add: self.groups(),
            memory,
            // The same as the memory: no swap, so that a limit is a limit.
            memory_swap: memory,
            cpuset_cpus: spec.cpuset.clone(),
            shm_size: spec.shm.map(bytes),
            ulimits: self.limits(),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: some(self.added()),
            security_opt: Some(self.security()),
            // A small init as process 1: it passes signals on and reaps zombies.
            init: Some(true),
            // A dead container is asked for its last words.
            auto_remove: Some(false),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            log_config: Some(log_rotation()),
            ..HostConfig::default()
        }
    }

    /// On this host's loopback alone; a network without a way out publishes nothing.
    fn ports(&self) -> Option<HashMap<String, Option<Vec<PortBinding>>>> {
        let loopback = PortBinding {
            host_ip: Some("127.0.0.1".to_owned()),
            // The daemon chooses: two runs on one host never collide.
            host_port: Some("0".to_owned()),
        };
        (!self.spec.offline).then(|| [(port_key(self.spec.port), Some(vec![loopback]))].into())
    }

    fn devices(&self) -> Option<Vec<DeviceMapping>> {
        let mapping = |node: &String| DeviceMapping {
            path_on_host: Some(node.clone()),
            path_in_container: Some(node.clone()),
            cgroup_permissions: Some("rw".to_owned()),
        };
        let amd = matches!(self.spec.gpus, GpuSet::Amd(_));
        amd.then(|| self.amd.nodes.iter().map(mapping).collect())
    }

    fn groups(&self) -> Option<Vec<String>> {
        let amd = matches!(self.spec.gpus, GpuSet::Amd(_)) && !self.amd.groups.is_empty();
        amd.then(|| self.amd.groups.iter().map(u32::to_string).collect())
    }

    fn limits(&self) -> Option<Vec<ResourcesUlimits>> {
        let limit = |limit: &crate::engine::Ulimit| ResourcesUlimits {
            name: Some(limit.name.to_owned()),
            soft: Some(limit.value),
            hard: Some(limit.value),
        };
        let wanted = self.ulimits && !self.spec.ulimits.is_empty();
        wanted.then(|| self.spec.ulimits.iter().map(limit).collect())
    }

    fn added(&self) -> Vec<String> {
        let mounts = self.capabilities.iter().map(|name| (*name).to_owned());
        let mut all: Vec<String> = self
            .spec
            .capabilities
            .iter()
            .cloned()
            .chain(mounts)
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// `ROCm` maps memory with calls that Docker's filter forbids.
    fn security(&self) -> Vec<String> {
        let mut all = vec!["no-new-privileges:true".to_owned()];
        if self.spec.unfiltered || matches!(self.spec.gpus, GpuSet::Amd(_)) {
            all.push("seccomp=unconfined".to_owned());
        }
        all
    }
}

fn bytes(amount: Bytes) -> i64 {
    i64::try_from(amount.0).unwrap_or(i64::MAX)
}

/// `mounts`, never `binds`: a missing source is an error, not a new folder owned by root.
fn mount(mount: &crate::engine::Mount) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(mount.host.display().to_string()),
        target: Some(mount.container.clone()),
        read_only: Some(!mount.writable),
        ..Mount::default()
    }
}

/// Always UUIDs: the driver and CUDA number the same GPUs differently.
fn requests(gpus: &GpuSet, access: GpuAccess) -> Option<Vec<DeviceRequest>> {
    let GpuSet::Nvidia(gpus) = gpus else {
        return None;
    };
    let request = match access {
        GpuAccess::Request => DeviceRequest {
            device_ids: Some(gpus.clone()),
            capabilities: Some(vec![vec!["gpu".to_owned()]]),
            ..DeviceRequest::default()
        },
        GpuAccess::Cdi => DeviceRequest {
            driver: Some("cdi".to_owned()),
            device_ids: Some(
                gpus.iter()
                    .map(|id| format!("nvidia.com/gpu={id}"))
                    .collect(),
            ),
            ..DeviceRequest::default()
        },
    };
    Some(vec![request])
}

/// A chatty engine must not fill the daemon's disk.
fn log_rotation() -> HostConfigLogConfig {
    let settings = [("max-size", "50m"), ("max-file", "2")];
    HostConfigLogConfig {
        typ: Some("json-file".to_owned()),
        config: Some(settings.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{ImageSource, Ulimit},
        secret::Secret,
    };

    fn spec() -> ContainerSpec {
        ContainerSpec {
            args: vec!["-m".into(), "$(id)".into()],
            env: [("A".to_owned(), "b c".to_owned())].into(),
            mounts: vec![crate::engine::Mount {
                host: "/srv/models".into(),
                container: "/models".into(),
                writable: false,
            }],
            gpus: GpuSet::Nvidia(vec!["GPU-1".into(), "MIG-2".into()]),
            memory: Some(Bytes(64 << 20)),
            cpuset: Some("0-1".into()),
            shm: Some(Bytes(16 << 30)),
            secrets: [("HF_TOKEN".to_owned(), Secret::new("hf_x").unwrap())].into(),
            ulimits: vec![Ulimit {
                name: "memlock",
                value: -1,
            }],
            ..ContainerSpec::new(ImageSource::RunningBinary, 8080)
        }
    }

    fn recipe(spec: ContainerSpec) -> Recipe {
        let labels = [("dev.kitt-action.managed".to_owned(), "1".to_owned())];
        Recipe::new(spec, "a:b".to_owned(), labels.into())
    }

    fn json(recipe: &Recipe) -> String {
        let value = serde_json::to_value(recipe.body()).unwrap();
        serde_json::to_string_pretty(&value).unwrap()
    }

    #[test]
    fn nvidia_by_request() {
        insta::assert_snapshot!(json(&recipe(spec())));
    }

    #[test]
    fn nvidia_by_device_specifications_and_without_limits() {
        let first = recipe(spec());
        let second = first.after(Again::Cdi).unwrap();
        assert_eq!(second.after(Again::Cdi).map(|_| ()), None);
        let third = second.after(Again::WithoutUlimits).unwrap();
        assert_eq!(third.after(Again::WithoutUlimits).map(|_| ()), None);
        insta::assert_snapshot!(json(&third));
    }

    #[test]
    fn amd_by_device_nodes() {
        let recipe = Recipe {
            amd: amd::Devices {
                nodes: vec!["/dev/kfd".into(), "/dev/dri/renderD129".into()],
                groups: vec![44, 109],
                chosen: Some(1),
            },
            ..recipe(ContainerSpec {
                gpus: GpuSet::Amd(vec![1]),
                ulimits: Vec::new(),
                ..spec()
            })
        };
        insta::assert_snapshot!(json(&recipe));
    }

    #[test]
    fn offline_without_a_gpu() {
        let recipe = Recipe {
            network: Some("kitt-r-1-0".into()),
            capabilities: vec!["DAC_OVERRIDE"],
            ..recipe(ContainerSpec {
                entrypoint: vec!["/serve".into()],
                gpus: GpuSet::None,
                ulimits: Vec::new(),
                secrets: BTreeMap::new(),
                capabilities: vec!["SYS_NICE".into()],
                unfiltered: true,
                offline: true,
                memory: None,
                ..spec()
            })
        };
        insta::assert_snapshot!(json(&recipe));
    }

    #[test]
    fn who_sets_a_variable_knows_better() {
        let key = "NVIDIA_VISIBLE_DEVICES".to_owned();
        let mut spec = spec();
        spec.gpus = GpuSet::None;
        assert!(recipe(spec.clone()).env().contains(&format!("{key}=void")));
        spec.env.insert(key.clone(), "all".to_owned());
        assert!(recipe(spec).env().contains(&format!("{key}=all")));
    }

    #[test]
    fn a_hostile_run_id_makes_a_harmless_name() {
        assert_eq!(name("a/../b?x=1\n", 7, 0), "kitt-a----b-x-1--7-0");
        assert_eq!(name(&"r".repeat(200), 1, 2).len(), 5 + NAME_PART + 4);
    }
}
