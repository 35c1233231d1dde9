//! The decision as step outputs: small enough for an expression of the workflow, with the most
//! urgent metrics first in line for the room there is.
//!
//! In: a decision. Out: JSON texts. `comparison.json` has everything and no limit.

use serde_json::{Map, Value, json};

use crate::verdict::{Decision, Judged, Verdict};

/// Bytes of one output. GitHub takes 1 MB of outputs from a whole job, counted in UTF-16.
const MOST_BYTES: usize = 60_000;
/// Key that says how many metrics found no room; only there when some did not.
const LEFT_OUT: &str = "_left_out";

/// Every metric by scenario and name: `{"latency": {"ttft_ms.p50": {"baseline": 88.0, "current":
/// 91.0, "delta": 0.03, "interval": [0.01, 0.05], "verdict": "unchanged", "unit": "ms"}}}`. `delta`
/// and `interval` are relative (0.05 is 5 %); for the unit `share` they are differences of the
/// shares themselves. `null` is "not known", never zero.
pub fn of(decision: &Decision) -> String {
    let mut all: Map<String, Value> = Map::new();
    let mut bytes = r#"{"_left_out":1000000}"#.len();
    let mut left_out = 0_usize;
    for judged in &decision.metrics {
        let (scenario, name) = (&judged.change.scenario, &judged.change.metric.name);
        let entry = one(judged);
        // As if every scenario were named anew: an upper bound, and names are short.
        let size = json!({ scenario: { name: &entry } }).to_string().len() + 1;
        if bytes + size > MOST_BYTES {
            left_out += 1;
            continue;
        }
        bytes += size;
        let group = all.entry(scenario.clone()).or_insert_with(|| json!({}));
        if let Some(group) = group.as_object_mut() {
            group.insert(name.clone(), entry);
        }
    }
    if left_out > 0 {
        tracing::warn!(
            "the step output `metrics` has no room for {left_out} metrics; comparison.json has them"
        );
        all.insert(LEFT_OUT.to_owned(), json!(left_out));
    }
    Value::Object(all).to_string()
}

fn one(judged: &Judged) -> Value {
    json!({
        "baseline": judged.change.baseline,
        "current": judged.change.current,
        "delta": judged.points().or_else(|| judged.relative()),
        "interval": judged.interval,
        "verdict": judged.verdict,
        "unit": judged.change.metric.unit,
        "gating": judged.gating,
    })
}

/// The names of the gating metrics that regressed, each once, as a JSON array: the most urgent
/// first.
pub fn regressed(decision: &Decision) -> String {
    let mut names: Vec<&str> = Vec::new();
    let mut bytes = 0;
    let regressed = |judged: &&Judged| judged.gating && judged.verdict == Verdict::Regressed;
    for judged in decision.metrics.iter().filter(regressed) {
        let name = judged.change.metric.name.as_str();
        bytes += json!(name).to_string().len() + 1;
        if bytes < MOST_BYTES && !names.contains(&name) {
            names.push(name);
        }
    }
    json!(names).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{compare::Change, metric};

    fn judged(scenario: &str, name: &str, verdict: Verdict) -> Judged {
        let change = Change {
            baseline: Some(100.0),
            current: Some(110.0),
            ..Change::new(scenario, metric::describe(name))
        };
        Judged {
            gating: true,
            interval: Some((0.08, 0.12)),
            ..Judged::new(change, verdict, String::new())
        }
    }

    #[test]
    fn metrics_are_found_by_scenario_and_name() {
        let decision = Decision::new(
            Verdict::Regressed,
            vec![
                judged("latency", "ttft_ms.p50", Verdict::Regressed),
                judged("batch", "ttft_ms.p50", Verdict::Regressed),
                judged("batch", "output_tps", Verdict::Unchanged),
            ],
        );
        let all: Value = serde_json::from_str(&of(&decision)).unwrap();
        let one = &all["batch"]["output_tps"];
        assert_eq!(one["verdict"], "unchanged");
        assert_eq!(one["unit"], "tok/s");
        assert_eq!(one["interval"], json!([0.08, 0.12]));
        assert_eq!(one["baseline"], 100.0);
        assert_eq!(all[LEFT_OUT], Value::Null);
        assert_eq!(regressed(&decision), r#"["ttft_ms.p50"]"#);
    }

    #[test]
    fn what_is_least_urgent_finds_no_room() {
        let many = (0..3_000).map(|number| {
            let name = format!("m{number}\n\"</script>_ms");
            judged("s", &name, Verdict::Regressed)
        });
        let decision = Decision::new(Verdict::Regressed, many.collect());
        let text = of(&decision);
        assert!(text.len() <= MOST_BYTES, "{}", text.len());
        assert!(text.len() > MOST_BYTES / 2);
        let all: Value = serde_json::from_str(&text).unwrap();
        let kept = all["s"].as_object().unwrap();
        assert!(kept.contains_key("m0\n\"</script>_ms"));
        let left_out = all[LEFT_OUT].as_u64().unwrap();
        assert_eq!(kept.len() as u64 + left_out, 3_000);
        assert!(regressed(&decision).len() <= MOST_BYTES);
    }
}
