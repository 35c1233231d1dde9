//! `kitt calibrate client` through the binary: its structure, and that it measures; no bounds on
//! times, because this machine may be busy.

use serde_json::Value;

use crate::harness::kitt;

#[test]
fn the_error_bars_are_printed_as_json() {
    let output = kitt()
        .args([
            "calibrate",
            "client",
            "--concurrency",
            "4,2,4",
            "--seconds",
            "1",
            "--json",
        ])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["ttft_limit_ms"], 0.1);
    assert_eq!(found["itl_limit_ms"], 0.05);
    assert_eq!(found["tokens_per_answer"], 64);
    let levels = found["levels"].as_array().unwrap();
    // From the lowest on, each once.
    let streams: Vec<_> = levels
        .iter()
        .map(|one| one["concurrency"].as_u64().unwrap())
        .collect();
    assert_eq!(streams, [2, 4]);
    for level in levels {
        assert_eq!(level["failed"], 0);
        assert_eq!(level["errors"]["unmatched"], 0);
        // Each request that the simulator served was compared, with all of its gaps.
        let requests = level["requests"].as_u64().unwrap();
        assert!(requests >= level["concurrency"].as_u64().unwrap());
        assert_eq!(level["errors"]["requests"], requests);
        assert_eq!(level["errors"]["ttft"]["count"], requests);
        assert_eq!(level["errors"]["itl"]["count"], requests * 63);
        for key in [
            "tokens_per_second",
            "load_share",
            "coalesced_share",
            "late_sends_p99_ms",
        ] {
            assert!(level[key].is_number(), "{key}: {level}");
        }
        assert!(level["errors"]["itl"]["p99_ms"].is_number());
        let kernel = if cfg!(target_os = "linux") {
            "kernel"
        } else {
            "user"
        };
        assert_eq!(level["stamps"], kernel);
    }
    let up_to = &found["holds_up_to"];
    assert!(up_to.is_null() || *up_to == 2 || *up_to == 4);
    assert_eq!(up_to.is_null(), levels[0]["holds"] == false);
}

#[test]
fn the_error_bars_are_told_in_words() {
    let output = kitt()
        .args([
            "calibrate",
            "client",
            "--concurrency",
            "1",
            "--seconds",
            "1",
        ])
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("TTFT error p50/p95/p99 ms"), "{text}");
    assert!(lines[1].trim_start().starts_with("1 "), "{text}");
    assert!(text.contains("On this machine kitt"), "{text}");
}

#[test]
fn a_wrong_list_is_a_usage_error() {
    let output = kitt()
        .args(["calibrate", "client", "--concurrency", "4,none"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}
