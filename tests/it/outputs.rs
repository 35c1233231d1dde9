//! Step outputs: their list is the same in the binary, the action and the documentation, and they
//! are out before the step fails.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    gate::{Bench, PLAIN, SLOW, Said},
    github::{GitHub, Rule, What},
    harness::kitt,
    readme::with_section,
};

fn table() -> String {
    let output = kitt().args(["about", "outputs"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Name and meaning of every output.
fn listed() -> BTreeMap<String, String> {
    let row = |line: &str| {
        let (name, help) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some((name.to_owned(), help.strip_suffix(" |")?.to_owned()))
    };
    table().lines().filter_map(row).collect()
}

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_action_has_exactly_the_outputs_of_the_binary() {
    let action = fs::read_to_string(root("action.yml")).unwrap();
    let action: serde_json::Value = serde_saphyr::from_str(&action).unwrap();
    let declared = action["outputs"].as_object().unwrap();
    let described: BTreeMap<String, String> = declared
        .iter()
        .map(|(name, output)| {
            let value = output["value"].as_str().unwrap();
            let own = format!("${{{{ steps.run.outputs.{name}");
            assert!(value.starts_with(&own), "{name}: {value}");
            (
                name.clone(),
                output["description"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(described, listed());
}

#[test]
fn the_documentation_has_the_table_of_the_binary() {
    let path = root("docs/outputs.md");
    let text = fs::read_to_string(&path).unwrap();
    let wanted = with_section(&text, "outputs", &table());
    if std::env::var_os("KITT_UPDATE_README").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(
        text, wanted,
        "run `KITT_UPDATE_README=1 cargo test outputs`"
    );
}

/// A report as a step of a workflow, with the files that a runner gives it.
struct Step {
    bench: Bench,
}

impl Step {
    fn new(bench: Bench) -> Self {
        let file = |bench: &Bench, name: &str| bench.path(name).display().to_string();
        let (output, summary) = (file(&bench, "output"), file(&bench, "summary"));
        Self {
            bench: bench
                .variable("GITHUB_ACTIONS", "true")
                .variable("GITHUB_OUTPUT", &output)
                .variable("GITHUB_STEP_SUMMARY", &summary)
                .config("gate: true"),
        }
    }

    fn report(&self) -> Said {
        self.bench.report()
    }

    /// As the runner reads them.
    fn outputs(&self) -> BTreeMap<String, String> {
        let text = fs::read_to_string(self.bench.path("output")).unwrap();
        let mut lines = text.lines();
        let mut found = BTreeMap::new();
        while let Some(line) = lines.next() {
            let (name, end) = line.split_once("<<").unwrap();
            let value: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
            found.insert(name.to_owned(), value.join("\n"));
        }
        found
    }
}

#[test]
fn every_metric_is_an_output_before_the_step_fails() {
    let step = Step::new(Bench::against(PLAIN, SLOW));
    step.report().ends(10);
    let outputs = step.outputs();
    assert_eq!(outputs["exit-code"], "10");
    assert_eq!(outputs["regressed-metrics"], r#"["output_tps"]"#);
    let metrics: serde_json::Value = serde_json::from_str(&outputs["metrics"]).unwrap();
    let one = &metrics["latency"]["output_tps"];
    let near = |key: &str, wanted: f64| (one[key].as_f64().unwrap() - wanted).abs() < 1e-9;
    assert!(near("baseline", 100.0) && near("current", 50.0), "{one}");
    assert_eq!(
        (one["verdict"].as_str(), one["unit"].as_str()),
        (Some("regressed"), Some("tok/s"))
    );
    assert!((one["delta"].as_f64().unwrap() + 0.5).abs() < 1e-9, "{one}");
    let (low, high) = (
        one["interval"][0].as_f64().unwrap(),
        one["interval"][1].as_f64().unwrap(),
    );
    assert!(low < -0.5 && -0.5 < high, "{one}");
    assert_eq!(metrics["latency"]["error_rate"]["gating"], false);
}

/// Lines that the runner takes for annotations.
fn annotations(said: &Said, kind: &str) -> usize {
    let start = format!("::{kind} ");
    let lines = said.out.lines().chain(said.log.lines());
    lines
        .filter(|line| line.trim_start().starts_with(&start))
        .count()
}

#[test]
fn a_hundred_regressions_are_one_annotation() {
    let names: Vec<String> = (0..100)
        .map(|number| format!("latency-{number:03}"))
        .collect();
    let side = |value: f64| -> Vec<(&str, Vec<(&str, f64)>)> {
        let of = |name| (name, vec![("output_tps", value), ("ttft_ms.p50", 12.0)]);
        names.iter().map(String::as_str).map(of).collect()
    };
    let (fast, slow) = (side(100.0), side(5.0));
    let fast: Vec<_> = fast
        .iter()
        .map(|(name, all)| (*name, all.as_slice()))
        .collect();
    let slow: Vec<_> = slow
        .iter()
        .map(|(name, all)| (*name, all.as_slice()))
        .collect();
    let github = GitHub::start();
    // Each publisher fails, and each may say so once.
    github.state(|s| {
        s.pull(7);
        s.faults
            .push(Rule::on("", "/comments", What::Integration).always());
        s.faults
            .push(Rule::on("", "/check-runs", What::Integration).always());
    });
    let head = github.state(|s| s.pull(7).head_sha.clone());
    let bench = Bench::against(&fast, &slow)
        .variable("GITHUB_API_URL", &github.url)
        .variable("GITHUB_REPOSITORY", "org/repo")
        .variable("GITHUB_EVENT_NAME", "push")
        .variable("GITHUB_SHA", &head)
        .variable("KITT_INPUT_PR", "7")
        .variable("KITT_INPUT_CHECK_RUN", "true")
        .variable("KITT_INPUT_COMMIT_COMMENT", "true")
        .variable("KITT_INPUT_GITHUB_TOKEN", "ghs_token");
    let step = Step::new(bench);
    let said = step.report();
    assert_eq!(step.outputs()["regressions"], "100");
    assert_eq!(annotations(&said, "error"), 1, "{}", said.out);
    assert_eq!(annotations(&said, "warning"), 3, "{}", said.out);
    assert_eq!(annotations(&said, "notice"), 0, "{}", said.out);
    assert!(said.out.contains("::error title=KITT::"), "{}", said.out);
    said.ends(10);
    assert!(fs::metadata(step.bench.path("summary")).unwrap().len() <= 1_000_000);
    assert!(step.outputs()["metrics"].len() <= 60_000);
}

#[test]
fn a_summary_of_a_thousand_metrics_stays_below_what_github_shows() {
    let names: Vec<String> = (0..200)
        .map(|number| format!("scenario-{number:04}"))
        .collect();
    let metrics = [
        ("output_tps", 100.0),
        ("ttft_ms.p50", 12.0),
        ("ttft_ms.p99", 30.0),
        ("tpot_ms.p50", 9.0),
        ("e2e_ms.p90", 400.0),
    ];
    let side: Vec<(&str, &[(&str, f64)])> = names
        .iter()
        .map(|name| (name.as_str(), metrics.as_slice()))
        .collect();
    let step = Step::new(Bench::against(&side, &side));
    // Earlier steps of the action wrote to their own files; this one's may hold text already.
    step.bench
        .write("summary", &"an earlier line\n".repeat(60_000));
    step.report().ends(0);
    let text = fs::read(step.bench.path("summary")).unwrap();
    assert!(text.len() <= 1024 * 1024, "{}", text.len());
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("gating metrics"), "the verdict");
    assert!(text.contains("Cut here"), "{} bytes", text.len());
}
