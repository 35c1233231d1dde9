//! The simulated runs vary as the published figures say.

use verdict_lab::{
    bank::{Bank, Touched},
    requests::{RANDOM_QUEUES, REQUESTS, TWO_CLOCKS, USUAL, place},
};

fn deviation(bank: &Bank, metric: &str) -> f64 {
    let at = place(metric);
    let values: Vec<f64> = (0..bank.len())
        .map(|run| bank.logs(run, Touched::All)[at])
        .collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

/// Within-run deviation of log summaries at 1000 requests, research/regression-statistics.md §4.
#[test]
fn within_run_deviations_are_those_of_the_research() {
    assert_eq!(REQUESTS, 1000);
    let bank = Bank::new(&USUAL, 1500, 20);
    for (metric, published) in [
        ("output_tps", 0.005),
        ("ttft_ms.p50", 0.012),
        ("ttft_ms.p90", 0.017),
        ("ttft_ms.p99", 0.056),
        ("itl_ms.mean", 0.006),
    ] {
        let ratio = deviation(&bank, metric) / published;
        assert!(
            (0.7..1.3).contains(&ratio),
            "{metric}: {ratio:.2} of what is published"
        );
    }
}

#[test]
fn other_weathers_are_worse() {
    let usual = Bank::new(&USUAL, 600, 1);
    let clocks = Bank::new(&TWO_CLOCKS, 600, 1);
    let queues = Bank::new(&RANDOM_QUEUES, 600, 1);
    assert!(deviation(&clocks, "output_tps") > 2.0 * deviation(&usual, "output_tps"));
    assert!(deviation(&queues, "ttft_ms.mean") > deviation(&usual, "ttft_ms.mean"));
}
