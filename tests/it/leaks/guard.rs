//! The guard and the reaper, with real containers.

use bollard::{
    models::{ContainerCreateBody, NetworkCreateRequest},
    query_parameters::{
        CreateContainerOptionsBuilder, InspectNetworkOptions, RemoveContainerOptionsBuilder,
    },
};
use kitt_action::results::RunStatus;

use super::{
    child::{Engine, Task},
    native::ready,
    *,
};

#[tokio::test]
async fn kill_9_of_the_whole_group_removes_the_container() {
    let Some(docker) = docker::docker_or_skip().await else {
        return;
    };
    let mut subject = Subject::kitt("kill", &["--requests", "100000", "--skip-warmup"]).await;
    subject.says("engine ready").await;
    let guards = subject.guards();
    assert_eq!(guards.len(), 1, "{}", subject.log());
    lives_apart(&subject, &guards[0]);
    let options = ServeOptions::new(&subject.run);
    assert_eq!(docker::left(&docker, &options).await.len(), 1);
    subject.kill_group();
    let took = eventually(
        "the container is gone",
        Duration::from_secs(2),
        async || docker::left(&docker, &options).await.is_empty(),
    )
    .await;
    println!("kill -9 of the whole group: the container was gone after {took:?}");
    subject.ended(Duration::from_secs(5)).await;
    let guard = guards[0].pid;
    let ended = async || process(guard).is_none();
    eventually("the guard ends", Duration::from_secs(15), ended).await;
    subject
        .nothing_left(Some(&docker), Duration::from_secs(2))
        .await;
    assert_eq!(subject.results_parse(), Some(RunStatus::Running));
    let beside: GuardReport =
        serde_json::from_slice(&fs::read(subject.results().join("guard.json")).unwrap()).unwrap();
    assert_eq!(subject.reports(), std::slice::from_ref(&beside));
    assert_eq!(
        (beside.run.as_str(), beside.removed.len()),
        (subject.run.as_str(), 1)
    );
    // What happened is told by the job's last step.
    let cleanup = || {
        let output = harness::kitt()
            .arg("cleanup")
            .env("KITT_INPUT_LOCK_DIR", subject.locks())
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = cleanup();
    assert!(
        said.contains("the guard of run") && said.contains(&subject.run),
        "{said}"
    );
    assert!(!cleanup().contains("the guard of run"), "told once");
}

/// Neither a signal to the group nor the runner's own cleaning reaches it, and it holds nothing
/// that the runner waits for.
fn lives_apart(subject: &Subject, guard: &Process) {
    assert_eq!((guard.session, guard.group), (guard.pid, guard.pid));
    let of_kitt = environ(subject.pid());
    assert!(of_kitt.contains(&"RUNNER_TRACKING_ID=github_test".to_owned()));
    assert_eq!(environ(guard.pid), [""; 0]);
    let folder = format!("/proc/{}/fd", guard.pid);
    let open = fs::read_dir(folder).unwrap().flatten();
    for entry in open {
        let target = fs::read_link(entry.path()).unwrap();
        let target = target.to_string_lossy();
        let own = ["/dev/null", "anon_inode:", "socket:"];
        assert!(own.iter().any(|own| target.starts_with(own)), "{target}");
    }
}

#[tokio::test]
async fn an_orderly_run_leaves_no_guard_and_no_report() {
    let Some(docker) = docker::docker_or_skip().await else {
        return;
    };
    let mut subject = Subject::kitt("orderly", &["--requests", "2", "--skip-warmup"]).await;
    subject.says("engine ready").await;
    let guard = subject.guards().remove(0).pid;
    let (status, _) = subject.ended(Duration::from_mins(1)).await;
    // A busy test machine may make a measurement invalid.
    assert!(
        [0, 21].contains(&status.code().unwrap()),
        "{}",
        subject.log()
    );
    assert!(process(guard).is_none());
    assert_eq!(subject.left(Some(&docker)).await, [""; 0]);
    assert_eq!(subject.reports(), []);
}

#[tokio::test]
async fn a_guard_that_is_told_to_end_stays() {
    let Some(docker) = docker::docker_or_skip().await else {
        return;
    };
    let mut subject = Task::new("deaf", Engine::Container).start().await;
    ready(&subject).await;
    let guard = Pid::from_raw(subject.guards().remove(0).pid);
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        kill(guard, signal).unwrap();
    }
    subject.kill_group();
    subject.ended(Duration::from_secs(5)).await;
    subject
        .nothing_left(Some(&docker), Duration::from_secs(10))
        .await;
    assert_eq!(
        subject.reports().len(),
        usize::from(process(guard.as_raw()).is_none())
    );
}

/// Whatever somebody else made, however much it looks like ours.
struct Foreign {
    container: String,
    network: String,
}

impl Foreign {
    async fn plant(docker: &Docker, run: &str) -> Self {
        let container = format!("kitt-{run}-1-0");
        let labels: HashMap<String, String> = [
            ("dev.kitt-action.managed-by", "1"),
            ("dev.kitt-action.run", run),
            ("dev.kitt-action.owner-pid", "1"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let options = CreateContainerOptionsBuilder::new()
            .name(&container)
            .build();
        let body = ContainerCreateBody {
            image: Some(docker::images().await.1.to_string()),
            labels: Some(labels.clone()),
            ..ContainerCreateBody::default()
        };
        docker.create_container(Some(options), body).await.unwrap();
        let request = NetworkCreateRequest {
            name: format!("kitt-{run}"),
            labels: Some(labels),
            ..NetworkCreateRequest::default()
        };
        let network = docker.create_network(request).await.unwrap().id;
        Self { container, network }
    }

    async fn untouched(self, docker: &Docker) {
        docker
            .inspect_container(&self.container, None)
            .await
            .unwrap();
        let options = None::<InspectNetworkOptions>;
        docker
            .inspect_network(&self.network, options)
            .await
            .unwrap();
        let force = RemoveContainerOptionsBuilder::new().force(true).build();
        docker
            .remove_container(&self.container, Some(force))
            .await
            .unwrap();
        docker.remove_network(&self.network).await.unwrap();
    }
}

#[tokio::test]
async fn without_a_guard_the_next_run_removes_it_and_nothing_else() {
    let Some(docker) = docker::docker_or_skip().await else {
        return;
    };
    let mut task = Task::new("reaped", Engine::Container);
    task.guard = false;
    let mut subject = task.start().await;
    ready(&subject).await;
    assert!(subject.guards().is_empty());
    // Its network too, as an engine without a way out has one.
    let options = ServeOptions::new(&subject.run);
    let name = docker::left(&docker, &options).await.remove(0);
    let found = docker
        .inspect_container(name.trim_start_matches('/'), None)
        .await
        .unwrap();
    let labels = found.config.unwrap().labels.unwrap();
    let network = NetworkCreateRequest {
        name: format!("kitt-{}-net", subject.run),
        labels: Some(labels.clone()),
        ..NetworkCreateRequest::default()
    };
    docker.create_network(network).await.unwrap();
    let foreign = Foreign::plant(&docker, &format!("{}-foreign", subject.run)).await;
    // Of a machine that was restarted since, by the process that is this one now.
    let rebooted = docker_create(&docker, &subject.run, labels).await;
    subject.kill_group();
    subject.ended(Duration::from_secs(5)).await;
    // The next run: its start sweeps.
    let next = docker::options("leaks-next");
    docker::start_only(&docker::shell("exit 4").await, &next).await;
    assert_eq!(subject.left(Some(&docker)).await, [""; 0]);
    assert!(docker.inspect_container(&rebooted, None).await.is_err());
    foreign.untouched(&docker).await;
}

/// A container of this living process on the boot before this one.
async fn docker_create(docker: &Docker, run: &str, labels: HashMap<String, String>) -> String {
    let mut labels = labels;
    let own = [
        ("dev.kitt-action.owner-pid", std::process::id().to_string()),
        ("dev.kitt-action.boot-id", "an earlier boot".to_owned()),
        ("dev.kitt-action.run", format!("{run}-rebooted")),
    ];
    labels.extend(own.map(|(key, value)| (key.to_owned(), value)));
    let name = format!("kitt-{run}-rebooted");
    let options = CreateContainerOptionsBuilder::new().name(&name).build();
    let body = ContainerCreateBody {
        image: Some(docker::images().await.1.to_string()),
        labels: Some(labels),
        ..ContainerCreateBody::default()
    };
    docker.create_container(Some(options), body).await.unwrap();
    name
}

#[tokio::test]
async fn the_guard_command_is_for_kitt_alone() {
    let output = harness::kitt()
        .arg("guard")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("started by kitt itself"), "{said}");
    let help = harness::kitt().arg("--help").output().unwrap();
    assert!(!String::from_utf8(help.stdout).unwrap().contains("guard"));
}
