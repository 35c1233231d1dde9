//! `kitt engines list`, `setup` and `status`, and what a run does with a model before it asks for
//! Docker.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use kitt_action::engine;

use super::harness::kitt;

/// A program that is a shell script, in a folder of its own.
pub fn stub(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn output(args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = kitt();
    let output = command
        .args(args)
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn engines_are_listed_for_people_and_programs() {
    let (code, table, _) = output(&["engines", "list"], &[]);
    assert_eq!(
        (code, table.lines().count()),
        (Some(0), engine::ENGINES.len() + 1)
    );
    let (_, json, _) = output(&["engines", "list", "--json"], &[]);
    let listed: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    for (engine, listed) in engine::ENGINES.iter().zip(&listed) {
        assert_eq!(listed["name"], engine.name());
        assert!(table.contains(engine.about().summary));
    }
}

#[test]
fn status_tells_of_programs_here_without_docker() {
    let folder = tempfile::tempdir().unwrap();
    stub(
        folder.path(),
        "llama-server",
        "echo 'version: 10731 (a1b2c3d)' >&2",
    );
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let env = [
        ("PATH", path.as_str()),
        ("DOCKER_HOST", "unix:///nonexistent"),
    ];
    let (code, json, stderr) = output(&["engines", "status", "--json"], &env);
    assert_eq!(code, Some(0), "{stderr}");
    let status: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(status["docker_usable"], false);
    let engines = status["engines"].as_array().unwrap();
    let native = |name: &str| {
        let found = engines.iter().find(|engine| engine["name"] == name);
        found.unwrap()["native"].clone()
    };
    assert_eq!(native("llama_cpp"), "version: 10731 (a1b2c3d)");
    assert!(native("ollama").is_null() && native("sim").is_null());
    let (_, table, _) = output(&["engines", "status"], &env);
    assert!(
        table.contains("version: 10731") && table.contains("Docker is not usable"),
        "{table}"
    );
}

#[test]
fn setup_refuses_what_needs_none_and_says_what_is_missing() {
    let docker = [
        ("DOCKER_HOST", "unix:///nonexistent"),
        ("KITT_INPUT_GPUS", "none"),
    ];
    for (engine, code, says) in [
        ("openai", 2, "nothing has to be pulled"),
        ("vlm", 2, "did you mean `vllm`?"),
        ("sglang", 2, "give --image"),
        ("vllm", 20, "Docker is not usable"),
    ] {
        let (found, _, stderr) = output(&["engines", "setup", engine], &docker);
        assert_eq!(found, Some(code), "{engine}: {stderr}");
        assert!(stderr.contains(says), "{engine}: {stderr}");
    }
}

#[test]
fn a_broken_model_is_a_usage_error_before_docker_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("results").display().to_string();
    let model = folder.path().join("m.gguf");
    fs::write(&model, "version https://git-lfs.github.com/spec/v1\n").unwrap();
    let model = model.display().to_string();
    let docker = [("DOCKER_HOST", "unix:///nonexistent")];
    let args = ["run", "-e", "llama_cpp", "-m", &model, "-o", &out];
    let (code, _, stderr) = output(&args, &docker);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("git lfs pull"), "{stderr}");
}

#[test]
fn caches_are_made_by_the_runners_user_and_downloads_without_one_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let [cache, out] = ["cache", "out"].map(|name| folder.path().join(name).display().to_string());
    let docker = [("DOCKER_HOST", "unix:///nonexistent")];
    let plain = [
        "run",
        "-e",
        "vllm",
        "-m",
        "org/absent-model",
        "--gpus",
        "none",
        "-o",
        &out,
    ];
    let (code, _, stderr) = output(&plain, &docker);
    assert_eq!(code, Some(20), "{stderr}");
    assert!(stderr.contains("downloaded anew for each run"), "{stderr}");
    let kept = [plain.as_slice(), &["--cache-dir", &cache]].concat();
    let (_, _, stderr) = output(&kept, &docker);
    assert!(!stderr.contains("downloaded anew"), "{stderr}");
    let cache = Path::new(&cache);
    assert!(cache.join("huggingface").is_dir() && cache.join("vllm").is_dir());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "tests read their own switches")]
fn setup_makes_the_simulators_image_once() {
    let (code, stdout, stderr) = output(&["engines", "setup", "sim"], &[]);
    let required = std::env::var("KITT_TEST_DOCKER").is_ok_and(|value| value == "required");
    if code == Some(20) && !required {
        println!("skipped: {stderr}");
        return;
    }
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.starts_with("sim: kitt-sim:") && stdout.contains("(sha256:"),
        "{stdout}"
    );
    // Nothing is made a second time.
    let (_, again, stderr) = output(&["engines", "setup", "sim"], &[]);
    assert_eq!(again, stdout);
    assert!(!stderr.contains("making"), "{stderr}");
}
