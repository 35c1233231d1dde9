//! The launch specification of every engine, as text that a person can check, and what they
//! refuse.
#![expect(
    clippy::use_debug,
    reason = "a golden text shows plain values as they are"
)]

use std::{fmt::Write as _, fs, path::Path, process::Command};

use kitt_action::{
    engine::{
        self, ApiTraits, ContainerSpec, GpuSet, ImageSource, LaunchRequest, LaunchSpec, Mode,
        ModelFacts, ModelFormat, ProcessSpec, Target,
    },
    secret::Secret,
    units::Bytes,
};

use super::engine_commands::stub;

/// Must never be seen in a specification that is printed.
const TOKEN: &str = "hf_golden_secret";

fn text(spec: &LaunchSpec) -> String {
    let mut out = String::new();
    match &spec.target {
        Target::Container(container) => container_text(&mut out, container),
        Target::Process(process) => process_text(&mut out, process),
        Target::InProcess(sim) => writeln!(out, "in this process: {sim:?}").unwrap(),
        Target::Endpoint(url) => writeln!(out, "at {url}").unwrap(),
    }
    let ApiTraits {
        health_path,
        load_model,
        request_extras,
        exact_length,
        metrics_path,
        served_model,
        check_model,
    } = &spec.api;
    let extras = serde_json::to_string(request_extras).unwrap();
    writeln!(
        out,
        "api: ready {health_path}, model {load_model:?}, metrics {metrics_path:?}"
    )
    .unwrap();
    writeln!(out, "     serves {served_model} (checked: {check_model}), extras {extras}, exact length: {exact_length}").unwrap();
    writeln!(out, "timeout: {:?}", spec.startup_timeout).unwrap();
    out
}

fn words(out: &mut String, title: &str, words: &[String]) {
    // An option and its value on one line.
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        let word = shlex::try_quote(word).unwrap().into_owned();
        let value = !word.starts_with('-');
        match lines.last_mut() {
            Some(line) if value && line.starts_with('-') && !line.contains(' ') => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    writeln!(out, "{title}: {}", lines.join("\n  ")).unwrap();
}

fn container_text(out: &mut String, spec: &ContainerSpec) {
    let ContainerSpec {
        image,
        entrypoint,
        args,
        env,
        port,
        mounts,
        secrets,
        gpus,
        memory,
        cpuset,
        shm,
        ulimits,
        capabilities,
        unfiltered,
        offline,
    } = spec;
    match image {
        ImageSource::Reference(image) => writeln!(out, "image: {image}"),
        ImageSource::RunningBinary => writeln!(out, "image: of the running binary"),
    }
    .unwrap();
    words(out, "entrypoint", entrypoint);
    words(out, "args", args);
    for (name, value) in env {
        writeln!(out, "env: {name}={}", value.escape_debug()).unwrap();
    }
    writeln!(out, "secrets: {secrets:?}").unwrap();
    for mount in mounts {
        let mode = if mount.writable { "rw" } else { "ro" };
        writeln!(
            out,
            "mount: {} -> {} {mode}",
            mount.host.display(),
            mount.container
        )
        .unwrap();
    }
    let shm = shm.map(Bytes::gib);
    let ulimits: Vec<_> = ulimits
        .iter()
        .map(|limit| (limit.name, limit.value))
        .collect();
    writeln!(
        out,
        "port {port}, {gpus:?}, memory {memory:?}, cpuset {cpuset:?}, shm {shm:?} GiB"
    )
    .unwrap();
    writeln!(out, "ulimits {ulimits:?}, capabilities {capabilities:?}, unfiltered {unfiltered}, offline {offline}").unwrap();
}

fn process_text(out: &mut String, spec: &ProcessSpec) {
    let ProcessSpec {
        program,
        args,
        env,
        secrets,
        gpus,
        cpuset,
    } = spec;
    writeln!(out, "program: {program}").unwrap();
    words(out, "args", args);
    for (name, value) in env {
        writeln!(out, "env: {name}={value}").unwrap();
    }
    writeln!(out, "secrets: {secrets:?}\n{gpus:?}, cpuset {cpuset:?}").unwrap();
}

/// A hub model on two GPUs of NVIDIA's, with everything that can be asked for.
fn full(engine: &str) -> LaunchRequest {
    let (model, revision) = match engine {
        "ollama" => ("llama3.2", None),
        "llama_cpp" => ("org/model-GGUF:Q4_K_M", None),
        _ => ("org/model", Some("v1".to_owned())),
    };
    let args = match engine {
        "ollama" => vec![],
        _ => vec!["--user-option".to_owned(), "two words".to_owned()],
    };
    LaunchRequest {
        revision,
        cache: Some("/srv/cache".into()),
        hf_token: Secret::new(TOKEN),
        args,
        env: [("MINE".to_owned(), "1".to_owned())].into(),
        seed: (7 << 32) + 5,
        max_concurrency: 300,
        max_tokens_per_request: 960,
        gpus: GpuSet::Nvidia(vec!["GPU-1".into(), "GPU-2".into()]),
        cpuset: Some("0-3".into()),
        ..LaunchRequest::new(model.parse().unwrap())
    }
}

fn facts(format: ModelFormat, quantisation: Option<&str>) -> ModelFacts {
    ModelFacts {
        format,
        architecture: Some("LlamaForCausalLM".into()),
        quantisation: quantisation.map(str::to_owned),
        dtype: Some("bfloat16".into()),
        context_length: Some(2048),
        file: (format == ModelFormat::Gguf).then(|| "m.gguf".to_owned()),
        linked: false,
    }
}

/// A model on this host and nothing else.
fn local(engine: &str) -> LaunchRequest {
    let format = engine::find(engine).unwrap().about().formats[0];
    let path = match format {
        ModelFormat::Gguf => "/srv/models/m.gguf",
        ModelFormat::Safetensors | ModelFormat::Pytorch => "/srv/models/My-Model",
    };
    LaunchRequest {
        facts: Some(facts(format, None)),
        max_concurrency: 4,
        max_tokens_per_request: 960,
        ..LaunchRequest::new(path.parse().unwrap())
    }
}

fn golden(engine: &str, cases: &[(&str, LaunchRequest)]) {
    let descriptor = engine::find(engine).unwrap();
    let mut out = String::new();
    for (title, request) in cases {
        let spec = descriptor.launch(request).unwrap();
        writeln!(out, "# {title}\n{}", text(&spec)).unwrap();
    }
    assert!(!out.contains(TOKEN), "a secret is seen");
    insta::assert_snapshot!(format!("launch_{engine}"), out);
}

fn usual(engine: &str) -> Vec<(&'static str, LaunchRequest)> {
    let images = engine::find(engine).unwrap().about().images;
    let mut cases = vec![("CUDA, hub id", full(engine))];
    if images.rocm.is_some() {
        let gpus = GpuSet::Amd(vec![0]);
        cases.push((
            "ROCm, local path, offline",
            LaunchRequest {
                gpus,
                offline: true,
                ..local(engine)
            },
        ));
    }
    let cpu = images.cpu.is_some();
    let gpus = if cpu {
        GpuSet::None
    } else {
        GpuSet::Nvidia(vec!["GPU-1".into()])
    };
    let title = if cpu {
        "CPU, local path"
    } else {
        "CUDA, local path"
    };
    cases.push((
        title,
        LaunchRequest {
            gpus,
            ..local(engine)
        },
    ));
    cases
}

fn native(engine: &str) -> (&'static str, LaunchRequest) {
    let request = LaunchRequest {
        mode: Some(Mode::Native),
        gpus: GpuSet::Nvidia(vec!["GPU-1".into()]),
        cache: Some("/srv/cache".into()),
        ..local(engine)
    };
    ("native", request)
}

#[test]
fn engines_of_the_hub_start_as_reviewed() {
    for engine in [
        "vllm",
        "sglang",
        "llama_cpp",
        "tgi",
        "tensorrt_llm",
        "lmdeploy",
    ] {
        let mut cases = usual(engine);
        cases.push(native(engine));
        golden(engine, &cases);
    }
}

#[test]
fn engines_with_a_way_of_their_own_start_as_reviewed() {
    let mut cases = usual("ollama");
    let named = LaunchRequest {
        model: "hf.co/org/model-GGUF:Q4_0".parse().unwrap(),
        facts: None,
        ..native("ollama").1
    };
    cases.push(("native, by name", named));
    golden("ollama", &cases);
    golden("tabbyapi", &usual("tabbyapi")[1..]);
}

#[test]
fn engines_without_model_files_start_as_reviewed() {
    let plain = LaunchRequest::new("m".parse().unwrap());
    let docker = LaunchRequest {
        mode: Some(Mode::Docker),
        ..plain.clone()
    };
    golden("sim", &[("native", plain.clone()), ("docker", docker)]);
    let endpoint = LaunchRequest {
        endpoint: Some("http://127.0.0.1:8000".parse().unwrap()),
        ..plain
    };
    golden("openai", &[("endpoint", endpoint)]);
}

#[test]
fn every_engine_has_a_golden_launch() {
    for engine in engine::ENGINES {
        let name = format!(
            "tests/it/snapshots/it__engines__launch_{}.snap",
            engine.name()
        );
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        assert!(path.exists(), "{}", path.display());
    }
}

fn refusal(engine: &str, request: &LaunchRequest) -> String {
    let launched = engine::find(engine).unwrap().launch(request);
    launched.map_or_else(|error| error.to_string(), |_| "it was taken".to_owned())
}

#[test]
fn the_wrong_format_is_refused_before_anything_starts() {
    let of = |engine: &str, format, quantisation| {
        let path = if format == ModelFormat::Gguf {
            "/srv/m.gguf"
        } else {
            "/srv/m"
        };
        let request = LaunchRequest {
            facts: Some(facts(format, quantisation)),
            gpus: GpuSet::Nvidia(vec!["GPU-1".into()]),
            ..LaunchRequest::new(path.parse().unwrap())
        };
        refusal(engine, &request)
    };
    for engine in [
        "vllm",
        "sglang",
        "tgi",
        "tensorrt_llm",
        "lmdeploy",
        "tabbyapi",
    ] {
        let says = of(engine, ModelFormat::Gguf, Some("Q4_K_M"));
        assert!(says.contains("its weights are GGUF"), "{engine}: {says}");
    }
    for engine in ["llama_cpp", "ollama"] {
        let says = of(engine, ModelFormat::Safetensors, None);
        assert!(says.contains("takes GGUF"), "{engine}: {says}");
    }
    let says = of("tensorrt_llm", ModelFormat::Pytorch, None);
    assert!(says.contains("its weights are PyTorch"), "{says}");
    let says = of("vllm", ModelFormat::Safetensors, Some("exl3"));
    assert!(says.contains("use engine `tabbyapi`"), "{says}");
    let says = of("tabbyapi", ModelFormat::Safetensors, Some("exl2"));
    assert!(says.contains("dropped ExLlamaV2"), "{says}");
    assert_eq!(
        of("tabbyapi", ModelFormat::Safetensors, Some("exl3")),
        "it was taken"
    );
    assert_eq!(
        of("vllm", ModelFormat::Safetensors, Some("awq")),
        "it was taken"
    );
}

#[test]
fn links_out_of_the_folder_work_on_this_host_only() {
    let mut request = local("vllm");
    request.facts.as_mut().unwrap().linked = true;
    assert!(refusal("vllm", &request).contains("links"));
    request.mode = Some(Mode::Native);
    assert_eq!(refusal("vllm", &request), "it was taken");
}

#[test]
fn arguments_that_are_kitts_own_are_refused_and_defaults_yield() {
    for (engine, argument) in [
        ("vllm", "--port"),
        ("vllm", "--port=1"),
        ("vllm", "--served_model_name=x"),
        ("vllm", "--model"),
        ("sglang", "--model-path"),
        ("llama_cpp", "-hf"),
        ("llama_cpp", "--alias"),
        ("tgi", "--hostname"),
        ("tensorrt_llm", "--host"),
        ("lmdeploy", "--server-port"),
        ("tabbyapi", "--config"),
    ] {
        let gpus = GpuSet::Nvidia(vec!["GPU-1".into()]);
        let args = vec![argument.to_owned()];
        let request = LaunchRequest {
            gpus,
            args,
            ..local(engine)
        };
        let says = refusal(engine, &request);
        assert!(
            says.contains(argument) && says.contains("does not take"),
            "{engine}: {says}"
        );
    }
    let args = ["--enable-prefix-caching", "--max_model_len=512"].map(str::to_owned);
    let request = LaunchRequest {
        args: args.to_vec(),
        ..local("vllm")
    };
    let spec = engine::find("vllm").unwrap().launch(&request).unwrap();
    let Target::Container(container) = spec.target else {
        panic!("{:?}", spec.target)
    };
    let options = |part: &str| {
        container
            .args
            .iter()
            .filter(|word| word.contains(part))
            .count()
    };
    assert_eq!((options("prefix-caching"), options("max")), (1, 1));
    assert!(container.args.ends_with(&args));
}

/// A hub model on one GPU of NVIDIA's.
fn hub() -> LaunchRequest {
    LaunchRequest {
        gpus: GpuSet::Nvidia(vec!["GPU-1".into()]),
        ..LaunchRequest::new("org/model".parse().unwrap())
    }
}

#[test]
fn places_where_an_engine_cannot_run_are_refused() {
    let refused = |engine: &str, change: fn(&mut LaunchRequest), says: &str| {
        let mut request = hub();
        change(&mut request);
        let refusal = refusal(engine, &request);
        assert!(refusal.contains(says), "{engine}: {refusal}");
    };
    refused("sglang", |r| r.gpus = GpuSet::None, "run without a GPU");
    refused("lmdeploy", |r| r.gpus = GpuSet::Amd(vec![]), "AMD");
    refused(
        "tabbyapi",
        |r| r.mode = Some(Mode::Native),
        "be started on this host",
    );
    refused(
        "vllm",
        |r| r.endpoint = Some("http://h".parse().unwrap()),
        "engine `openai`",
    );
    refused(
        "openai",
        |r| r.mode = Some(Mode::Docker),
        "run in a container",
    );
    refused("ollama", |r| r.args = vec!["-x".into()], "--engine-args");
    let docker = |r: &mut LaunchRequest| {
        r.mode = Some(Mode::Docker);
        r.command = vec!["x".into()];
    };
    refused("vllm", docker, "replace its command");
    let image = |r: &mut LaunchRequest| {
        r.mode = Some(Mode::Native);
        r.image = Some("a:1".parse().unwrap());
    };
    refused("vllm", image, "use an image on this host");
    let memory = |r: &mut LaunchRequest| {
        r.mode = Some(Mode::Native);
        r.memory = Some(Bytes(1));
    };
    refused("vllm", memory, "limit the memory");
}

#[test]
fn models_that_an_engine_cannot_get_are_refused() {
    let offline = LaunchRequest {
        offline: true,
        ..hub()
    };
    let revised = LaunchRequest {
        revision: Some("a".into()),
        ..local("vllm")
    };
    let relative = LaunchRequest {
        model: "./here".parse().unwrap(),
        ..hub()
    };
    let native = LaunchRequest {
        mode: Some(Mode::Native),
        ..local("ollama")
    };
    for (engine, request, says) in [
        ("vllm", offline, "--cache-dir"),
        ("vllm", revised, "revision"),
        ("vllm", relative, "absolute path"),
        ("ollama", native, "ollama create"),
        ("tabbyapi", hub(), "fetches no models"),
    ] {
        let refusal = refusal(engine, &request);
        assert!(refusal.contains(says), "{engine}: {refusal}");
    }
}

#[test]
fn a_command_of_the_users_own_runs_on_this_host() {
    let request = LaunchRequest {
        command: vec!["/opt/bin/server".into(), "--fast".into()],
        ..local("llama_cpp")
    };
    let spec = engine::find("llama.cpp").unwrap().launch(&request).unwrap();
    let Target::Process(process) = spec.target else {
        panic!("{:?}", spec.target)
    };
    assert_eq!(process.program, "/opt/bin/server");
    assert_eq!(process.args[..3], ["--fast", "-m", "/srv/models/m.gguf"]);
    assert!(process.args.contains(&engine::PORT.to_owned()));
}

/// Runs the start script of Ollama's container beside a stub of `ollama` that writes down how it
/// is called, and gives that.
fn prepared_by_ollama(request: &LaunchRequest, known: bool) -> String {
    let folder = tempfile::tempdir().unwrap();
    let calls = folder.path().join("calls");
    let up = folder.path().join("up");
    let script = format!(
        r#"echo "$* at $OLLAMA_HOST" >>'{calls}'
case "$1" in
serve) [ "$OLLAMA_HOST" = 127.0.0.1:11435 ] || exit 0; : >'{up}'; exec sleep 60 ;;
list) [ -e '{up}' ] ;;
show) {known} ;;
create) cat "$4" >>'{calls}' ;;
esac"#,
        calls = calls.display(),
        up = up.display(),
    );
    stub(folder.path(), "ollama", &script);
    let spec = engine::find("ollama").unwrap().launch(request).unwrap();
    let Target::Container(container) = spec.target else {
        panic!("{:?}", spec.target)
    };
    let status = Command::new(&container.entrypoint[0])
        .args(&container.entrypoint[1..])
        .args(&container.args)
        .envs(&container.env)
        .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
        .env("TMPDIR", folder.path())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    let calls = fs::read_to_string(calls).unwrap();
    // How often it asks whether the server is up depends on the machine.
    let calls = calls.lines().filter(|line| !line.starts_with("list"));
    calls.collect::<Vec<_>>().join("\n")
}

#[test]
fn ollama_has_its_model_before_it_answers() {
    let hub = LaunchRequest::new("llama3.2".parse().unwrap());
    assert_eq!(
        prepared_by_ollama(&hub, false),
        "serve at 127.0.0.1:11435\nshow llama3.2:latest at 127.0.0.1:11435\n\
         pull llama3.2:latest at 127.0.0.1:11435\nserve at 0.0.0.0:11434"
    );
    assert!(!prepared_by_ollama(&hub, true).contains("pull"));
    let mut file = local("ollama");
    file.model = "/srv/models/a $(id) b.gguf".parse().unwrap();
    file.facts.as_mut().unwrap().file = Some("a $(id) b.gguf".into());
    let calls = prepared_by_ollama(&file, false);
    assert!(calls.contains("create kitt-a---id--b:latest"), "{calls}");
    assert!(calls.contains("FROM /models/a $(id) b.gguf"), "{calls}");
    assert!(calls.ends_with("serve at 0.0.0.0:11434"), "{calls}");
}

#[test]
fn trtllm_gets_its_settings_and_every_word() {
    let spec = engine::find("trtllm")
        .unwrap()
        .launch(&full("tensorrt_llm"))
        .unwrap();
    let Target::Container(container) = spec.target else {
        panic!("{:?}", spec.target)
    };
    let folder = tempfile::tempdir().unwrap();
    stub(
        folder.path(),
        "trtllm-serve",
        "for word; do echo \"[$word]\"; done",
    );
    let settings = folder.path().join("settings.yml").display().to_string();
    let here = |word: &String| word.replace("/tmp/kitt-settings.yml", &settings);
    let output = Command::new(&container.entrypoint[0])
        .args(container.entrypoint[1..].iter().map(here))
        .args(container.args.iter().map(here))
        .envs(&container.env)
        .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
        .output()
        .unwrap();
    let words = String::from_utf8(output.stdout).unwrap();
    assert!(
        words.starts_with("[serve]\n[org/model]\n[--host]\n"),
        "{words}"
    );
    assert!(
        words.contains(&format!("[--extra_llm_api_options]\n[{settings}]")),
        "{words}"
    );
    assert!(words.ends_with("[--user-option]\n[two words]\n"), "{words}");
    let written = fs::read_to_string(settings).unwrap();
    assert_eq!(written, "kv_cache_config:\n  enable_block_reuse: false\n");
}
