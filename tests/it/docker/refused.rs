//! What a daemon refuses: it is explained, another way is taken where there is one, and the
//! container that was made first is gone.

use kitt_action::{
    engine::{GpuSet, Ulimit},
    error::Error,
    exit::Exit,
    serve::Fault,
};
use serde_json::{Value, json};

use super::{proxy::Proxy, *};

fn container(spec: &mut LaunchSpec) -> &mut ContainerSpec {
    let Target::Container(container) = &mut spec.target else {
        panic!("no container")
    };
    container
}

/// The refusal of a start that changes the specification so.
async fn refusal(run: &str, change: impl FnOnce(&mut ContainerSpec)) -> Option<(Exit, String)> {
    let docker = docker_or_skip().await?;
    let (mut spec, options) = (shell(HANG).await, options(run));
    change(container(&mut spec));
    let error = start_only(&spec, &options).await;
    nothing_left(&docker, &options).await;
    let text = error.to_string();
    Some((Error::from(error).exit(), text))
}

/// Bodies of the creations that went by.
fn created(proxy: &Proxy) -> Vec<Value> {
    let seen = proxy.seen("/containers/create");
    let bodies = seen.iter().map(|one| serde_json::from_str(&one.body));
    bodies.map(Result::unwrap).collect()
}

/// Order of creations, starts and removals.
fn steps(proxy: &Proxy) -> Vec<&'static str> {
    let steps = proxy.seen("/containers/").into_iter().filter_map(|one| {
        let line = one.line;
        if line.contains("/create") {
            Some("create")
        } else if line.contains("/start") {
            Some("start")
        } else if line.starts_with("DELETE") {
            Some("remove")
        } else {
            None
        }
    });
    steps.collect()
}

#[tokio::test]
async fn a_daemon_without_gpus_is_told_with_what_to_install() {
    let gpu = GpuSet::Nvidia(vec!["GPU-0".into()]);
    let Some((exit, text)) = refusal("gpu", |spec| spec.gpus = gpu).await else {
        return;
    };
    assert_eq!(exit, Exit::Host, "{text}");
    assert!(text.contains("could not select device driver"), "{text}");
    assert!(
        text.contains("install NVIDIA's container toolkit"),
        "{text}"
    );
}

#[tokio::test]
async fn amd_nodes_that_are_not_there_are_the_hosts_fault() {
    if Path::new("/dev/kfd").exists() {
        return skipped("this host has AMD's driver");
    }
    let Some((exit, text)) = refusal("amd", |spec| spec.gpus = GpuSet::Amd(Vec::new())).await
    else {
        return;
    };
    assert_eq!(exit, Exit::Host, "{text}");
    assert!(text.contains("/dev/kfd"), "{text}");
    let (exit, text) = refusal("amd-1", |spec| spec.gpus = GpuSet::Amd(vec![1]))
        .await
        .unwrap();
    assert_eq!(exit, Exit::Host, "{text}");
    assert!(text.contains("AMD GPU 1"), "{text}");
}

#[tokio::test]
async fn impossible_limits_are_settings() {
    let cpus = |spec: &mut ContainerSpec| spec.cpuset = Some("4000".into());
    let Some((exit, text)) = refusal("cpus", cpus).await else {
        return;
    };
    assert_eq!(exit, Exit::Usage, "{text}");
    assert!(text.contains("lscpu"), "{text}");
    let memory = |spec: &mut ContainerSpec| spec.memory = Some(Bytes(1 << 20));
    let (exit, text) = refusal("memory", memory).await.unwrap();
    assert_eq!(exit, Exit::Usage, "{text}");
    assert!(text.contains("raise the memory limit"), "{text}");
}

#[tokio::test]
async fn a_missing_program_is_the_engines_fault() {
    let program = |spec: &mut ContainerSpec| spec.entrypoint = vec!["/no-such-server".into()];
    let Some((exit, text)) = refusal("program", program).await else {
        return;
    };
    assert_eq!(exit, Exit::Engine, "{text}");
    assert!(
        text.contains("not found") || text.contains("does not hold the program"),
        "{text}"
    );
}

#[tokio::test]
async fn device_specifications_are_tried_where_the_daemon_has_them() {
    if docker_or_skip().await.is_none() {
        return;
    }
    let proxy = Proxy::start().await;
    proxy.answer("GET /info", 200, &json!({"CDISpecDirs": ["/etc/cdi"]}));
    let (mut spec, mut options) = (shell(HANG).await, options("cdi"));
    options.docker = proxy.place();
    container(&mut spec).gpus = GpuSet::Nvidia(vec!["GPU-7".into()]);
    let error = start_only(&spec, &options).await;
    // This daemon can do neither: the second refusal is reported.
    let ServeError::Refused { detail, fault, .. } = &error else {
        panic!("{error}")
    };
    assert!(*fault == Fault::Host && detail.contains("cdi"), "{error}");
    let requests: Vec<Value> = created(&proxy)
        .into_iter()
        .map(|body| body["HostConfig"]["DeviceRequests"][0].clone())
        .collect();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0]["DeviceIDs"], json!(["GPU-7"]));
    assert_eq!(requests[1]["Driver"], "cdi");
    assert_eq!(requests[1]["DeviceIDs"], json!(["nvidia.com/gpu=GPU-7"]));
    assert_eq!(
        steps(&proxy),
        ["create", "start", "remove", "create", "start", "remove"]
    );
    nothing_left(&docker_or_skip().await.unwrap(), &options).await;
}

#[tokio::test]
async fn limits_the_daemon_may_not_raise_are_left_out() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let proxy = Proxy::start().await;
    let message = "OCI runtime create failed: error setting rlimit type 8: operation not permitted";
    proxy.answer("/start", 500, &json!({"message": message}));
    let (mut spec, mut options) = (simulator().await, options("rlimit"));
    options.docker = proxy.place();
    container(&mut spec).ulimits = vec![Ulimit {
        name: "stack",
        value: 8 << 20,
    }];
    uncancelled(&spec, &options, async |_| ()).await.unwrap();
    let limits: Vec<bool> = created(&proxy)
        .iter()
        .map(|body| body["HostConfig"].get("Ulimits").is_some())
        .collect();
    assert_eq!(limits, [true, false]);
    nothing_left(&docker, &options).await;
}

/// Where this daemon may raise its limits the engine has them; where it may not, it runs anyway.
#[tokio::test]
async fn an_engine_that_wants_locked_memory_runs_here() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let (mut spec, options) = (simulator().await, options("memlock"));
    container(&mut spec).ulimits = vec![Ulimit {
        name: "memlock",
        value: -1,
    }];
    uncancelled(&spec, &options, async |_| ()).await.unwrap();
    nothing_left(&docker, &options).await;
}

const CLASH: &str = "driver failed programming external connectivity on endpoint x: Error starting \
userland proxy: listen tcp4 127.0.0.1:49153: bind: address already in use";

#[tokio::test]
async fn a_port_that_is_taken_is_tried_once_more() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let proxy = Proxy::start().await;
    proxy.answer("/start", 500, &json!({"message": CLASH}));
    let (spec, mut options) = (simulator().await, options("port"));
    options.docker = proxy.place();
    uncancelled(&spec, &options, async |_| ()).await.unwrap();
    assert_eq!(
        steps(&proxy),
        ["create", "start", "remove", "create", "start", "remove"]
    );
    nothing_left(&docker, &options).await;
    // A second time in a row is no accident.
    proxy.answer("/start", 500, &json!({"message": CLASH}));
    proxy.answer("/start", 500, &json!({"message": CLASH}));
    let error = start_only(&spec, &options).await;
    assert!(
        matches!(
            error,
            ServeError::Refused {
                fault: Fault::Host,
                ..
            }
        ),
        "{error}"
    );
    nothing_left(&docker, &options).await;
}

#[tokio::test]
async fn a_foreign_container_of_that_name_stays() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let proxy = Proxy::start().await;
    proxy.intrude(&docker);
    let (spec, mut options) = (simulator().await, options("name"));
    options.docker = proxy.place();
    let names = uncancelled(&spec, &options, async |_| left(&docker, &options).await);
    let names = names.await.unwrap();
    let seen = proxy.seen("/containers/create");
    assert_eq!(seen.len(), 2, "{seen:?}");
    let asked = seen[0].line.split_once("name=").unwrap().1;
    let foreign = asked.split(['&', ' ']).next().unwrap();
    assert!(names[0].starts_with(&format!("/{foreign}-")), "{names:?}");
    nothing_left(&docker, &options).await;
    assert!(docker.inspect_container(foreign, None).await.is_ok());
    let force = RemoveContainerOptionsBuilder::new().force(true).build();
    docker.remove_container(foreign, Some(force)).await.unwrap();
}
