//! A slower current side: found, and only where it is slower.

use super::*;

#[tokio::test]
async fn five_per_cent_slower_decode_is_regressed() {
    if docker::docker_or_skip().await.is_none() {
        return;
    }
    let bench = Bench::new("worse");
    let ab = ["--baseline", "ab", "--baseline-args", ENGINE];
    let slower = format!("{ENGINE} --slowdown=0.05");
    let output = bench.in_container(&slower, &ab).output().unwrap();
    assert_eq!(output.status.code(), Some(10), "{}", stderr(&output));
    assert_eq!(bench.verdict(), "regressed");
    let pairs = bench.pairs();
    assert!(pairs.interleaved() && pairs.counting().count() >= 3);
    let why = pairs.stopped.unwrap();
    assert!(why.contains("regressed"), "{why}");
    // What was said before and what was learned on the way.
    let forecast = pairs.forecast.unwrap();
    assert!(forecast.contains("3 pairs ≈"), "{forecast}");
    let log = stderr(&output);
    for said in [
        "a first run of the baseline side warms the machine up",
        "how long one takes is not known yet",
        "smallest effect this runner can resolve in 12 pairs",
    ] {
        assert!(log.contains(said), "{said} is not in {log}");
    }
    first_token_is_left_alone(&bench);
    baseline_is_described_as_it_was(&bench);
}

fn first_token_is_left_alone(bench: &Bench) {
    let comparison = json(&bench.results().join("comparison.json"));
    let rows = comparison["metrics"].as_array().unwrap();
    let first = rows.iter().find(|row| row["metric"] == "ttft_ms.p50");
    assert_ne!(first.unwrap()["verdict"], "regressed");
}

/// The baseline's results do not carry the pull request's commit, and can themselves be rebuilt.
fn baseline_is_described_as_it_was(bench: &Bench) {
    let config = json(&bench.results().join("baseline/config.json"));
    let asked = &config["effective"]["asked"];
    assert_eq!(
        (asked["engine"].as_str(), asked["mode"].as_str()),
        (Some("sim"), Some("docker"))
    );
    let args: Vec<_> = asked["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|arg| arg.as_str().unwrap())
        .collect();
    assert_eq!(args.join(" "), ENGINE);
    // The first run of the baseline side warmed the machine up.
    let first = bench.pairs().pairs[0].clone();
    assert_eq!((first.baseline, first.current), (2, 1));
}
