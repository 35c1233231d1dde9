//! A container specification as the daemon wants it. Pure.
//!
//! Everything that is the same for every engine is decided here: the published port, mounts that
//! fail instead of creating folders, dropped capabilities, no restart, no health checks of the
//! image's own (they would be load during a measurement).

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, DeviceRequest, HealthConfig, HostConfig, HostConfigLogConfig, Mount,
    MountType, PortBinding, RestartPolicy, RestartPolicyNameEnum,
};

use crate::{engine::ContainerSpec, units::Bytes};

/// The longest run id that goes into a name.
const NAME_PART: usize = 40;

/// How GPUs are handed to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GpuAccess {
    /// A device request, as `docker run --gpus` makes it: NVIDIA's toolkit as a runtime hook.
    Request,
    /// The Container Device Interface: daemons with its specifications and without the runtime.
    Cdi,
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

/// The whole request.
pub(super) fn body(
    spec: &ContainerSpec,
    image: &str,
    labels: HashMap<String, String>,
    gpus: GpuAccess,
) -> ContainerCreateBody {
    let env = spec.env.iter().map(|(key, value)| format!("{key}={value}"));
    ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: (!spec.entrypoint.is_empty()).then(|| spec.entrypoint.clone()),
        cmd: Some(spec.args.clone()),
        env: Some(env.collect()),
        labels: Some(labels),
        exposed_ports: Some(vec![port_key(spec.port)]),
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        host_config: Some(host(spec, gpus)),
        ..ContainerCreateBody::default()
    }
}

fn host(spec: &ContainerSpec, gpus: GpuAccess) -> HostConfig {
    let loopback = PortBinding {
        host_ip: Some("127.0.0.1".to_owned()),
        // The kernel chooses: two runs on one host never collide.
        host_port: Some("0".to_owned()),
    };
    let memory = spec.memory.map(bytes);
    HostConfig {
        port_bindings: Some([(port_key(spec.port), Some(vec![loopback]))].into()),
        mounts: Some(spec.mounts.iter().map(mount).collect()),
        device_requests: devices(&spec.gpus, gpus),
        memory,
        // The same as the memory: no swap, so that a limit is a limit.
        memory_swap: memory,
        cpuset_cpus: spec.cpuset.clone(),
        shm_size: spec.shm.map(bytes),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
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
fn devices(gpus: &[String], access: GpuAccess) -> Option<Vec<DeviceRequest>> {
    if gpus.is_empty() {
        return None;
    }
    let request = match access {
        GpuAccess::Request => DeviceRequest {
            device_ids: Some(gpus.to_vec()),
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
    use crate::engine::ImageSource;

    fn spec() -> ContainerSpec {
        ContainerSpec {
            image: ImageSource::RunningBinary,
            entrypoint: Vec::new(),
            args: vec!["-m".into(), "$(id)".into()],
            env: [("A".to_owned(), "b c".to_owned())].into(),
            port: 8080,
            mounts: vec![crate::engine::Mount {
                host: "/srv/models".into(),
                container: "/models".into(),
                writable: false,
            }],
            gpus: vec!["GPU-1".into()],
            memory: Some(Bytes(64 << 20)),
            cpuset: Some("0-1".into()),
            shm: None,
        }
    }

    #[test]
    fn the_request_holds_every_decision() {
        let body = body(&spec(), "a:b", HashMap::new(), GpuAccess::Request);
        let json = serde_json::to_value(&body).unwrap();
        assert_eq!(json["Cmd"], serde_json::json!(["-m", "$(id)"]));
        assert_eq!(json["Env"], serde_json::json!(["A=b c"]));
        assert_eq!(json["Healthcheck"]["Test"], serde_json::json!(["NONE"]));
        assert!(json.get("Entrypoint").is_none());
        let host = &json["HostConfig"];
        assert_eq!(
            host["PortBindings"]["8080/tcp"],
            serde_json::json!([{"HostIp": "127.0.0.1", "HostPort": "0"}])
        );
        assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]));
        assert_eq!(
            host["SecurityOpt"],
            serde_json::json!(["no-new-privileges:true"])
        );
        assert_eq!(host["Memory"], 64 << 20);
        assert_eq!(host["MemorySwap"], 64 << 20);
        assert_eq!(host["CpusetCpus"], "0-1");
        assert_eq!(host["AutoRemove"], false);
        assert_eq!(host["RestartPolicy"]["Name"], "no");
        assert_eq!(host["Mounts"][0]["ReadOnly"], true);
        assert!(host.get("Binds").is_none() && host.get("Privileged").is_none());
        assert_eq!(
            host["DeviceRequests"][0]["DeviceIDs"],
            serde_json::json!(["GPU-1"])
        );
        assert_eq!(host["LogConfig"]["Config"]["max-size"], "50m");
    }

    #[test]
    fn gpus_by_cdi_or_none_at_all() {
        let cdi = devices(&["GPU-1".into()], GpuAccess::Cdi).unwrap();
        assert_eq!(cdi[0].driver.as_deref(), Some("cdi"));
        assert_eq!(cdi[0].device_ids, Some(vec!["nvidia.com/gpu=GPU-1".into()]));
        assert_eq!(devices(&[], GpuAccess::Request), None);
    }

    #[test]
    fn a_hostile_run_id_makes_a_harmless_name() {
        assert_eq!(name("a/../b?x=1\n", 7, 0), "kitt-a----b-x-1--7-0");
        assert_eq!(name(&"r".repeat(200), 1, 2).len(), 5 + NAME_PART + 4);
    }
}
