//! A daemon that goes away while an engine is measured.

use kitt_action::{error::Error, exit::Exit};

use super::{proxy::Proxy, *};

#[tokio::test]
async fn a_daemon_that_stays_away_ends_the_run_as_the_hosts_fault() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let proxy = Proxy::start().await;
    let (spec, mut options) = (simulator().await, options("away"));
    options.docker = proxy.place();
    let mut cut = None;
    let outcome = uncancelled(&spec, &options, async |_| {
        proxy.cut();
        cut = Some(Instant::now());
        std::future::pending::<()>().await;
    });
    let error = outcome.await.unwrap_err();
    let cut = cut.unwrap();
    println!("daemon away: the run ended after {:?}", cut.elapsed());
    let ServeError::DaemonLost {
        attempts, after, ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(*attempts, 3);
    assert!((10..14).contains(&after.as_secs()), "{after:?}");
    // Ten seconds of asking, ten of trying to remove, and some for a busy machine.
    assert!(
        cut.elapsed() < Duration::from_secs(35),
        "{:?}",
        cut.elapsed()
    );
    assert_eq!(Error::from(error).exit(), Exit::Host);
    // The daemon itself never stopped: the engine is still there, for whoever sweeps next.
    assert_eq!(left(&docker, &options).await.len(), 1);
    proxy.restore();
    // This process lives: its things are only removed because it says so.
    let sweep = serve::Sweep {
        docker: proxy.place(),
        run: Some(options.run_id.clone()),
        even_living: true,
        ..serve::Sweep::default()
    };
    let swept = serve::cleanup(&sweep).await.unwrap();
    assert_eq!(swept.removed.len(), 1);
    nothing_left(&docker, &options).await;
}

#[tokio::test]
async fn a_daemon_that_is_back_while_we_clean_up_loses_the_container() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let proxy = Proxy::start().await;
    let (spec, mut options) = (simulator().await, options("back"));
    options.docker = proxy.place();
    let ended = CancellationToken::new();
    let dropped = ended.clone().drop_guard();
    let run = uncancelled(&spec, &options, async |_| {
        proxy.cut();
        // Dropped with the body, when the load is stopped.
        let _dropped = dropped;
        std::future::pending::<()>().await;
    });
    let back = async {
        ended.cancelled().await;
        proxy.restore();
    };
    let (outcome, ()) = tokio::join!(run, back);
    let error = outcome.unwrap_err();
    assert!(matches!(error, ServeError::DaemonLost { .. }), "{error}");
    nothing_left(&docker, &options).await;
}

#[tokio::test]
async fn a_short_interruption_is_survived_and_the_log_is_whole() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let proxy = Proxy::start().await;
    let (spec, mut options) = (simulator().await, options("hiccup"));
    options.docker = proxy.place();
    let folder = tempfile::tempdir().unwrap();
    options.log_file = Some(folder.path().join("engine.log"));
    let value = uncancelled(&spec, &options, async |endpoint| {
        proxy.cut();
        tokio::time::sleep(Duration::from_millis(300)).await;
        proxy.restore();
        // The watcher asks again after two seconds.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let url = endpoint.url.join("/v1/models").unwrap();
        reqwest::get(url).await.unwrap().status()
    });
    assert_eq!(value.await.unwrap(), 200);
    let log = std::fs::read_to_string(folder.path().join("engine.log")).unwrap();
    let mut lines: Vec<&str> = log.lines().collect();
    let all = lines.len();
    lines.dedup();
    assert!(all > 0 && lines.len() == all, "{log}");
    nothing_left(&docker, &options).await;
}

#[tokio::test]
async fn a_container_that_somebody_else_removes_is_told() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let (spec, options) = (simulator().await, options("vanished"));
    let outcome = uncancelled(&spec, &options, async |_| {
        let name = left(&docker, &options).await.remove(0);
        let force = RemoveContainerOptionsBuilder::new().force(true).build();
        let name = name.trim_start_matches('/');
        docker.remove_container(name, Some(force)).await.unwrap();
        std::future::pending::<()>().await;
    });
    let error = outcome.await.unwrap_err();
    // The daemon may still know the dead container when it is asked.
    assert!(
        matches!(
            error,
            ServeError::Vanished | ServeError::Lost { code: 137, .. }
        ),
        "{error}"
    );
    nothing_left(&docker, &options).await;
}
