//! A real engine in depth: llama.cpp's server, built by `scripts/llama-image.sh`, through its
//! whole life.

use super::*;

/// Image and model of the real engine, from the lines of `scripts/llama-image.sh`.
fn llama_or_skip() -> Option<(ImageRef, String)> {
    match (switch("KITT_LLAMA_IMAGE"), switch("KITT_LLAMA_MODEL")) {
        (Some(image), Some(model)) => Some((image.parse().unwrap(), model)),
        _ if switch("KITT_TEST_LLAMA").as_deref() == Some("required") => {
            panic!("KITT_TEST_LLAMA=required: export the lines that scripts/llama-image.sh prints")
        }
        _ => {
            skipped("KITT_LLAMA_IMAGE and KITT_LLAMA_MODEL are not set (scripts/llama-image.sh)");
            None
        }
    }
}

/// The server with that model, before anybody changes it.
fn llama(image: ImageRef, model: &str) -> LaunchSpec {
    let mut request = request(model);
    request.image = Some(image);
    request.args = vec!["-t".to_owned(), "1".to_owned()];
    engine::find("llama_cpp").unwrap().launch(&request).unwrap()
}

/// A daemon, the server and options; `None` after saying what is missing.
async fn bench(run: &str) -> Option<(Docker, LaunchSpec, ServeOptions)> {
    let docker = docker_or_skip().await?;
    let (image, model) = llama_or_skip()?;
    Some((docker, llama(image, &model), options(run)))
}

fn container(spec: &mut LaunchSpec) -> &mut ContainerSpec {
    let Target::Container(container) = &mut spec.target else {
        panic!("no container")
    };
    container
}

#[tokio::test]
async fn llama_cpp_streams_exactly_as_many_tokens_as_asked_for() {
    let Some((docker, spec, options)) = bench("llama").await else {
        return;
    };
    let begin = Instant::now();
    let (endpoint, ended) = uncancelled(&spec, &options, async |endpoint| {
        for seed in 0..8 {
            let stream = chat(&endpoint.url, &spec.api, seed).await;
            assert_eq!(stream.usage["completion_tokens"], 200, "{}", stream.usage);
            assert_eq!(stream.finish, "length");
            // One chunk a token: nothing is held back.
            assert_eq!(stream.chunks, 200);
        }
        (endpoint, Instant::now())
    })
    .await
    .unwrap();
    println!(
        "llama.cpp: ready after {:?}, whole run {:?}, stop and removal {:?}",
        endpoint.startup,
        ended - begin,
        ended.elapsed()
    );
    assert!(endpoint.facts.version.unwrap().starts_with('b'));
    let last = ["-t".to_owned(), "1".to_owned()];
    assert!(endpoint.facts.args.ends_with(&last));
    nothing_left(&docker, &options).await;
}

/// A counter of the server's metrics page.
async fn counter(base: &url::Url, name: &str) -> f64 {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let page = client
        .get(base.join("/metrics").unwrap())
        .send()
        .await
        .unwrap();
    let page = page.text().await.unwrap();
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {page}"))
        .parse()
        .unwrap()
}

#[tokio::test]
async fn the_same_prompt_is_computed_again_every_time() {
    let Some((docker, spec, options)) = bench("llama-cache").await else {
        return;
    };
    assert_eq!(spec.api.metrics_path, Some("/metrics"));
    let body = async |endpoint: serve::Endpoint| {
        let counted = async || counter(&endpoint.url, "llamacpp:prompt_tokens_total").await;
        let mut sent = 0.0;
        let before = counted().await;
        // One slot after the other has seen this very prompt.
        for _ in 0..4 {
            let stream = chat(&endpoint.url, &spec.api, 7).await;
            let cached = &stream.usage["prompt_tokens_details"]["cached_tokens"];
            assert_eq!(*cached, 0, "{}", stream.usage);
            sent += stream.usage["prompt_tokens"].as_f64().unwrap();
        }
        (sent, counted().await - before)
    };
    let (sent, computed) = uncancelled(&spec, &options, body).await.unwrap();
    assert!(
        sent > 0.0 && (sent - computed).abs() < 0.5,
        "sent {sent}, computed {computed}"
    );
    nothing_left(&docker, &options).await;
}

/// Asks the server to write beside its model; gives the mount's own word and the status.
async fn write_attempt(
    docker: &Docker,
    spec: &LaunchSpec,
    options: &ServeOptions,
) -> (Option<bool>, u16) {
    let outcome = uncancelled(spec, options, async |endpoint| {
        let name = left(docker, options).await.remove(0);
        let found = docker.inspect_container(name.trim_start_matches('/'), None);
        let mounts = found.await.unwrap().mounts.unwrap();
        // A slot that has computed something is what can be saved.
        let mut api = spec.api.clone();
        api.request_extras.insert("id_slot".into(), 0.into());
        chat(&endpoint.url, &api, 1).await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = endpoint.url.join("/slots/0?action=save").unwrap();
        let body = serde_json::json!({"filename": "kitt-write-attempt"});
        let answer = client.post(url).json(&body).send().await.unwrap();
        (mounts[0].rw, answer.status().as_u16())
    });
    let outcome = outcome.await.unwrap();
    nothing_left(docker, options).await;
    outcome
}

#[tokio::test]
async fn the_model_cannot_be_written_to() {
    let Some((docker, mut spec, options)) = bench("llama-read").await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let inside = container(&mut spec);
    let model = PathBuf::from(&inside.args[1]);
    let model = inside.mounts[0].host.join(model.file_name().unwrap());
    std::fs::copy(&model, folder.path().join(model.file_name().unwrap())).unwrap();
    inside.mounts[0].host = folder.path().to_owned();
    let more = ["--slot-save-path", "/models/"].map(str::to_owned);
    inside.args.extend(more);
    let written = folder.path().join("kitt-write-attempt");
    assert_eq!(
        write_attempt(&docker, &spec, &options).await,
        (Some(false), 500)
    );
    assert!(!written.exists());
    // The attempt is a real one: where writing is allowed it succeeds.
    container(&mut spec).mounts[0].writable = true;
    assert_eq!(
        write_attempt(&docker, &spec, &options).await,
        (Some(true), 200)
    );
    assert!(written.exists());
}

#[tokio::test]
async fn a_slow_start_is_waited_for_and_no_longer() {
    let Some((docker, mut spec, options)) = bench("llama-slow").await else {
        return;
    };
    let script = "/sleep 2; exec /llama-server \"$@\"";
    let container = container(&mut spec);
    container.entrypoint = ["/sh", "-c", script, "llama"].map(str::to_owned).to_vec();
    for program in ["/bin/sh", "/bin/sleep"] {
        container.mounts.push(engine::Mount {
            host: program.into(),
            container: program.trim_start_matches("/bin").to_owned(),
            writable: false,
        });
    }
    let startup = uncancelled(&spec, &options, async |endpoint| endpoint.startup);
    let startup = startup.await.unwrap();
    println!("llama.cpp behind two seconds of sleep: ready after {startup:?}");
    assert!((2..20).contains(&startup.as_secs()), "{startup:?}");
    nothing_left(&docker, &options).await;
}

#[tokio::test]
async fn too_little_memory_is_named_with_its_limit() {
    let Some((docker, mut spec, options)) = bench("llama-oom").await else {
        return;
    };
    container(&mut spec).memory = Some(Bytes::from_mib(24));
    // Much context: the memory is touched when the server warms up.
    let arguments = &mut container(&mut spec).args;
    arguments.extend(["-c".to_owned(), "65536".to_owned()]);
    let error = start_only(&spec, &options).await;
    assert!(
        matches!(error, ServeError::Died { oom: true, .. }),
        "{error}"
    );
    let text = error.to_string();
    assert!(text.contains("memory limit 24 MiB"), "{text}");
    assert_eq!(
        kitt_action::error::Error::from(error).exit(),
        kitt_action::exit::Exit::Engine
    );
    nothing_left(&docker, &options).await;
}

#[tokio::test]
async fn a_kill_while_it_is_measured_is_seen_at_once() {
    let Some((docker, spec, options)) = bench("llama-kill").await else {
        return;
    };
    let mut killed = None;
    let outcome = uncancelled(&spec, &options, async |endpoint| {
        let name = left(&docker, &options).await.remove(0);
        let kill = async {
            // In the middle of its second answer.
            chat(&endpoint.url, &spec.api, 1).await;
            killed = Some(Instant::now());
            let name = name.trim_start_matches('/');
            let kill = docker.kill_container(name, None::<KillContainerOptions>);
            kill.await.unwrap();
            std::future::pending::<()>().await;
        };
        let load = async {
            loop {
                let answer = stream(&endpoint.url, &spec.api, 2).await;
                if answer.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::join!(kill, load);
    })
    .await;
    let after = killed.unwrap().elapsed();
    let error = outcome.unwrap_err();
    println!("killed: reported and removed after {after:?}");
    let ServeError::Lost {
        code: 137,
        oom: false,
        last,
    } = &error
    else {
        panic!("{error}")
    };
    assert!(error.to_string().contains("SIGKILL"), "{error}");
    assert!(!last.log.is_empty());
    // The body has a second to hand back what it has; then the container goes.
    assert!(after < Duration::from_secs(6), "{after:?}");
    nothing_left(&docker, &options).await;
}

#[tokio::test]
async fn cancelling_while_it_is_measured_removes_it_in_time() {
    let Some((docker, spec, options)) = bench("llama-cancel").await else {
        return;
    };
    let cancel = CancellationToken::new();
    let mut cancelled = None;
    let outcome = with_engine(&spec, &options, &cancel, async |endpoint| {
        chat(&endpoint.url, &spec.api, 1).await;
        let load = async {
            loop {
                drop(stream(&endpoint.url, &spec.api, 2).await);
            }
        };
        let stop = async {
            cancelled = Some(Instant::now());
            cancel.cancel();
        };
        tokio::join!(load, stop);
    })
    .await;
    let after = cancelled.unwrap().elapsed();
    println!("cancelled: gone after {after:?}");
    assert!(
        matches!(outcome, Err(ServeError::Cancelled { .. })),
        "{outcome:?}"
    );
    assert!(after < Duration::from_millis(6500), "{after:?}");
    nothing_left(&docker, &options).await;
}

struct Streamed {
    chunks: usize,
    finish: String,
    usage: serde_json::Value,
}

/// A whole answer of two hundred tokens, as text.
async fn stream(base: &url::Url, api: &ApiTraits, seed: u32) -> reqwest::Result<String> {
    let mut body = serde_json::json!({
        "model": api.served_model,
        "messages": [{"role": "user", "content": format!("{seed}: why is the sky blue?")}],
        "max_tokens": 200, "seed": seed, "stream": true,
        "stream_options": {"include_usage": true},
    });
    body.as_object_mut()
        .unwrap()
        .extend(api.request_extras.clone());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = base.join("/v1/chat/completions").unwrap();
    let answer = client.post(url).json(&body).send().await?;
    assert_eq!(answer.status(), 200);
    answer.text().await
}

async fn chat(base: &url::Url, api: &ApiTraits, seed: u32) -> Streamed {
    let text = stream(base, api, seed).await.unwrap();
    assert!(text.trim_end().ends_with("data: [DONE]"), "{text}");
    let events: Vec<serde_json::Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str(data).ok())
        .collect();
    let content = |event: &&serde_json::Value| {
        let text = event["choices"][0]["delta"]["content"].as_str();
        text.is_some_and(|text| !text.is_empty())
    };
    let finish = events
        .iter()
        .filter_map(|event| event["choices"][0]["finish_reason"].as_str());
    Streamed {
        chunks: events.iter().filter(content).count(),
        finish: finish
            .into_iter()
            .next_back()
            .unwrap_or_default()
            .to_owned(),
        usage: events.last().unwrap()["usage"].clone(),
    }
}
