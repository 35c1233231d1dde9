//! Every example of docs/gating.md is a policy, fits the schema, and does what its mark says.

use std::path::Path;

use serde_json::Value;

use super::{super::harness::kitt, Bench, PLAIN, SLOW};

/// A block of YAML and the mark above it.
struct Example {
    mark: String,
    yaml: String,
}

fn examples() -> Vec<Example> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/gating.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut found = Vec::new();
    let mut mark = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("<!-- ") {
            line.trim_start_matches("<!-- ")
                .trim_end_matches(" -->")
                .clone_into(&mut mark);
        } else if line == "```yaml" {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            found.push(Example {
                mark: std::mem::take(&mut mark),
                yaml: block.join("\n"),
            });
        }
    }
    found
}

#[test]
fn every_example_does_what_it_says() {
    let examples = examples();
    let run = examples.iter().filter(|example| example.mark != "workflow");
    let mut count = 0;
    for example in run {
        let mark = example.mark.strip_prefix("run: ").expect("a mark");
        let (results, code) = mark.split_once(", exits ").expect("results and code");
        let unsure: super::Side<'_> =
            &[("latency", &[("output_tps", 95.0), ("ttft_ms.p50", 12.0)])];
        let current = match results {
            "plain" => PLAIN,
            "slow" => SLOW,
            "unsure" => unsure,
            other => panic!("no results are called {other}"),
        };
        let bench = Bench::against(PLAIN, current).config(&example.yaml);
        bench.gate(&[]).ends(code.parse().unwrap());
        count += 1;
    }
    assert!(count >= 6, "the examples are gone");
}

#[test]
fn the_schema_accepts_every_example_and_refuses_what_kitt_refuses() {
    let schema = kitt().args(["about", "config-schema"]).output().unwrap();
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("kitt.json", schema).unwrap();
    let mut schemas = boon::Schemas::new();
    let index = compiler.compile("kitt.json", &mut schemas).unwrap();
    let fits = |yaml: &str| {
        let value: Value = serde_saphyr::from_str(yaml).unwrap();
        schemas
            .validate(&value, index)
            .map_err(|error| format!("{error:#}"))
    };
    for example in examples()
        .iter()
        .filter(|example| example.mark != "workflow")
    {
        fits(&example.yaml).unwrap_or_else(|error| panic!("{error}\n{}", example.yaml));
    }
    for wrong in [
        "policy: {metric: []}",
        "policy: {stage: loud}",
        "policy: {metrics: [{scenario: x}]}",
        "policy: {metrics: [{name: ''}]}",
        "policy: {on: {inconclusive: maybe}}",
        "policy: {accept: {metrics: [x]}}",
        "limits: [{metric: x, max: high}]",
        "limits: [{metric: x, max: 1, unit: parsecs}]",
        "policy: {contexts: [{name: a, branch: [x]}]}",
    ] {
        assert!(fits(wrong).is_err(), "{wrong}");
        Bench::new(PLAIN).config(wrong).gate(&[]).ends(2);
    }
}
