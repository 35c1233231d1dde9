//! The command line: usage errors, help, facts about itself.

use std::process::Output;

use super::harness::kitt;

fn run(args: &[&str]) -> Output {
    kitt().args(args).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn wrong_words_are_usage_errors_that_help() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let cases = [
        ("-m m -e vlm", "did you mean `vllm`?"),
        ("-m m -e zzz", "known engines: vllm, sglang, llama_cpp"),
        ("-m ./absent -e vllm", "nothing is there"),
        ("-m m -e lama_cpp", "did you mean `llama_cpp`?"),
        ("-m m -e sim -s qick", "did you mean `quick`?"),
        ("-m m -e sim --tests mmlu", "not available"),
        ("-m m", "give --engine"),
        ("-e sim", "give --model"),
        ("-m m -e openai", "--endpoint"),
        (
            "-m m -e sim --engine-args --slowdwn=1",
            "did you mean `--slowdown`?",
        ),
    ];
    for (line, says) in cases {
        let mut args = vec!["run", "-o", out];
        args.extend(line.split_whitespace());
        let output = run(&args);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(says),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(
            !dir.path().join("metrics.json").exists(),
            "{args:?} left results behind"
        );
    }
}

#[test]
fn settings_of_the_load_that_do_not_fit_are_usage_errors() {
    let cases: [(&[&str], &str); 4] = [
        (
            &["--concurrency", "2", "--request-rate", "2"],
            "concurrency and request-rate cannot be used together",
        ),
        (
            &["-s", "quick", "--concurrency", "2"],
            "suite and concurrency cannot be used together",
        ),
        (&["--sweep", "goodput"], "slo is not set"),
        (&["--rate-schedule", "5..50"], "5..50:60s"),
    ];
    for (load, says) in cases {
        let output = run(&[&["run", "-m", "m", "-e", "sim"], load].concat());
        assert_eq!(
            output.status.code(),
            Some(2),
            "{load:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(says),
            "{load:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn a_wrong_config_file_names_line_key_and_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kitt.yml");
    for (text, says) in [
        ("engine: sim\nmodle: x\n", "kitt.yml:2:1"),
        ("runs: [1, 2]\n", "kitt.yml:1:"),
        ("engine: \"sim\nmodel: x\n", "kitt.yml:"),
        (
            "limits:\n- metric: ttft_ms.p50\n  maximum: 3\n",
            "kitt.yml:3:",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let output = run(&[
            "ci",
            "run",
            "--config",
            file.to_str().unwrap(),
            "--print-config",
        ]);
        assert_eq!(output.status.code(), Some(2), "{text}: {}", stderr(&output));
        assert!(
            stderr(&output).contains(says),
            "{text}: {}",
            stderr(&output)
        );
    }
    let output = run(&[
        "ci",
        "run",
        "--config",
        "/nonexistent/kitt.yml",
        "--print-config",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("/nonexistent/kitt.yml"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn print_config_shows_sources_and_hides_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kitt.yml");
    std::fs::write(&file, "suite: standard\nengine: sim\n").unwrap();
    let output = kitt()
        .args(["ci", "run", "--print-config", "--runs", "3"])
        .env("KITT_INPUT_CONFIG", &file)
        .env("KITT_INPUT_ENGINE", "openai")
        .env("KITT_SUITE", "performance")
        .env("KITT_INPUT_GITHUB_TOKEN", "ghs_secret")
        .env("KITT_INPUT_MODEL", "")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let line = |name: &str| {
        let row = text
            .lines()
            .find(|line| line.split_whitespace().next() == Some(name));
        row.unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(line("runs"), "runs 3 flag --runs");
    assert_eq!(line("engine"), "engine openai input engine");
    assert_eq!(line("suite"), format!("suite standard {}", file.display()));
    assert_eq!(line("seed"), "seed 42 default");
    assert_eq!(line("model"), "model not set");
    assert!(!text.contains("ghs_secret") && line("github-token").contains("***"));
}

#[test]
fn a_misspelt_input_is_warned_about() {
    let output = kitt()
        .args(["ci", "run", "--print-config"])
        .env("KITT_INPUT_ENGIN", "sim")
        .output()
        .unwrap();
    assert!(
        stderr(&output).contains("did you mean KITT_INPUT_ENGINE?"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn facts_are_listed() {
    let settings: serde_json::Value =
        serde_json::from_str(&stdout(&run(&["about", "settings"]))).unwrap();
    assert!(
        settings
            .as_array()
            .unwrap()
            .iter()
            .any(|setting| setting["name"] == "gate")
    );
    let schema: serde_json::Value =
        serde_json::from_str(&stdout(&run(&["about", "config-schema"]))).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    let print: serde_json::Value =
        serde_json::from_str(&stdout(&run(&["fingerprint", "--json"]))).unwrap();
    assert_eq!(print["digest"].as_str().unwrap().len(), 64);
}

#[test]
fn a_closed_standard_output_is_no_failure() {
    use std::process::Stdio;
    let mut child = kitt()
        .args(["about", "settings"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
