//! Searches against servers whose curves are known in closed form.

use proptest::prelude::*;

use super::*;
use crate::context::{EnvSnapshot, resolve};

fn search(pairs: &[(&'static str, &str)]) -> Search {
    let typed = pairs.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
    let inputs = resolve(&typed, &EnvSnapshot::default()).unwrap();
    Search::new(&inputs.measure).unwrap()
}

fn result(point: Point, rps: f64, seconds: f64) -> PointResult {
    PointResult {
        point,
        output_tps: Some(100.0 * rps),
        request_rps: Some(rps),
        ttft_p50_ms: Some(1.0),
        tpot_p50_ms: Some(1.0),
        e2e_p50_ms: Some(seconds * 1e3),
        slo_attainment: None,
        error_rate: 0.0,
        saturated: false,
        client_limited: false,
    }
}

/// Runs a search to its end.
fn run(search: &Search, serve: impl Fn(Point) -> PointResult) -> (Vec<PointResult>, SearchSummary) {
    let mut done = Vec::new();
    while let Some(point) = search.next(&done) {
        assert!(!measured(&done, point), "{point} twice");
        search.scenario(point).unwrap();
        done.push(serve(point));
        assert!(done.len() <= MAX_POINTS);
    }
    let summary = search.summary(&done);
    assert!(summary.complete);
    (done, summary)
}

fn levels(done: &[PointResult]) -> Vec<f64> {
    done.iter().map(|result| result.point.level()).collect()
}

/// A closed queueing network of a delay `think` and one queue with service time `demand`, in
/// seconds: exact mean value analysis (Reiser and Lavenberg, J. ACM 27 (1980) 313). Its
/// saturation point is `(think + demand) / demand` (Kleinrock 1976).
fn network(think: f64, demand: f64) -> impl Fn(Point) -> PointResult {
    move |point| {
        let Point::Concurrency(level) = point else {
            panic!("a rate")
        };
        let (mut queue, mut rps, mut response) = (0.0, 0.0, 0.0);
        for customers in 1..=level.get() {
            response = demand * (1.0 + queue);
            rps = f64::from(customers) / (think + response);
            queue = rps * response;
        }
        result(point, rps, think + response)
    }
}

/// An M/M/1 queue with `mu` services per second: response times are exponential with rate
/// `mu − λ`; the objective is `limit` seconds.
fn queue(mu: f64, limit: f64) -> impl Fn(Point) -> PointResult {
    move |point| {
        let spare = mu - point.level();
        let mut found = if spare > 0.0 {
            result(point, point.level(), 2_f64.ln() / spare)
        } else {
            PointResult {
                saturated: true,
                ..result(point, mu, 1e3)
            }
        };
        found.slo_attainment = Some(if spare > 0.0 {
            1.0 - (-spare * limit).exp()
        } else {
            0.0
        });
        found
    }
}

#[test]
fn the_knee_of_a_closed_network_is_found() {
    for (think, demand) in [(0.9, 0.1), (3.0, 0.05), (1.0, 0.03)] {
        let saturation = (think + demand) / demand;
        let (done, summary) = run(&search(&[("sweep", "concurrency")]), network(think, demand));
        let knee = summary.knee.unwrap().level();
        // The highest power of all levels, by trying each.
        let server = network(think, demand);
        let all: Vec<PointResult> = (1..=64)
            .map(|level| server(Point::Concurrency(NonZeroU32::new(level).unwrap())))
            .collect();
        let best = knee::highest_power(&all).unwrap().point.level();
        assert!(
            (knee / best).ln().abs() <= 1.25_f64.ln(),
            "{knee} instead of {best}"
        );
        assert!(
            (0.5..1.5).contains(&(knee / saturation)),
            "{knee} of {saturation}"
        );
        assert!(done.len() <= 14, "{:?}", levels(&done));
        assert_eq!(summary.max_goodput_rps, None);
        assert_eq!(summary.max_sustained_rps, None);
    }
}

#[test]
fn concurrency_doubles_until_throughput_stays() {
    // Saturates at 10: throughput doubles up to 8, grows by a fifth to 16, then stays.
    let (done, summary) = run(&search(&[("sweep", "concurrency")]), |point| {
        let rps = point.level().min(10.0);
        result(point, rps, point.level() / rps)
    });
    assert_eq!(levels(&done)[..6], [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]);
    let Some(Point::Concurrency(knee)) = summary.knee else {
        panic!("no knee")
    };
    assert!((8..=11).contains(&knee.get()), "{knee}");
    assert!(
        summary
            .reason
            .contains("from concurrency 16 to concurrency 32"),
        "{}",
        summary.reason
    );
}

#[test]
fn concurrency_stops_at_its_limit_and_at_errors() {
    let endless = |point: Point| result(point, point.level(), 1.0);
    let (done, summary) = run(
        &search(&[("sweep", "concurrency"), ("max-in-flight", "100")]),
        endless,
    );
    assert!(levels(&done).contains(&100.0));
    assert!(levels(&done).iter().all(|level| *level <= 100.0));
    assert!(
        summary.reason.contains("most allowed"),
        "{}",
        summary.reason
    );
    let (done, summary) = run(&search(&[("sweep", "concurrency")]), |point| PointResult {
        error_rate: if point.level() >= 8.0 { 0.2 } else { 0.0 },
        ..endless(point)
    });
    assert!(levels(&done).iter().all(|level| *level <= 8.0));
    assert!(
        summary.reason.contains("20.0 % of the requests failed"),
        "{}",
        summary.reason
    );
    assert!(summary.knee.unwrap().level() < 8.0);
}

#[test]
fn a_limited_client_ends_a_search_and_says_so() {
    let (_, summary) = run(&search(&[("sweep", "rate")]), |point| PointResult {
        client_limited: point.level() > 4.0,
        ..result(point, point.level(), 1.0)
    });
    assert!(
        summary.reason.contains("load generator was the limit"),
        "{}",
        summary.reason
    );
    assert!(summary.max_sustained_rps.unwrap() <= 4.0);
}

#[test]
fn goodput_of_a_queue_is_found_within_five_percent() {
    for (mu, limit, share) in [
        (50.0, 0.5, "0.99"),
        (3.0, 4.0, "0.9"),
        (0.3, 20.0, "0.9"),
        (5_000.0, 0.1, "0.99"),
    ] {
        // 1 − e^(−(µ − λ) t) = share at λ = µ − ln(1 / (1 − share)) / t.
        let number: f64 = share.parse().unwrap();
        let truth = mu - (1.0 / (1.0 - number)).ln() / limit;
        let sweep = format!("goodput:{share}");
        let search = search(&[("sweep", &sweep), ("slo", "e2e_ms=1")]);
        let (done, summary) = run(&search, queue(mu, limit));
        let found = summary.max_goodput_rps.unwrap();
        assert!(
            found <= truth && found * 1.06 >= truth,
            "{found} of {truth}"
        );
        assert!(done.len() <= 20, "{:?}", levels(&done));
        assert!((summary.goodput_share - number).abs() < 1e-12);
    }
}

#[test]
fn the_highest_sustained_rate_of_a_queue_is_found() {
    let (_, summary) = run(&search(&[("sweep", "rate")]), queue(40.0, 1.0));
    // Latency is ten times that of 1 per second at µ − λ = 39 / 10.
    let found = summary.max_sustained_rps.unwrap();
    assert!((34.0..36.2).contains(&found), "{found}");
    // The highest power of an M/M/1 queue is at half its capacity (Kleinrock 1979).
    let knee = summary.knee.unwrap().level();
    assert!((14.0..28.0).contains(&knee), "{knee}");
}

#[test]
fn a_server_that_bears_nothing_or_everything_ends_the_search() {
    let search = search(&[("sweep", "rate")]);
    let (done, nothing) = run(&search, |point| PointResult {
        error_rate: 1.0,
        ..result(point, 0.0, 1.0)
    });
    assert_eq!((nothing.knee, nothing.max_sustained_rps), (None, None));
    assert!(
        nothing.reason.contains("no lower rate"),
        "{}",
        nothing.reason
    );
    assert!(done.len() < 10);
    let (_, everything) = run(&search, |point| result(point, point.level(), 1.0));
    assert!(
        everything.reason.contains("no higher rate"),
        "{}",
        everything.reason
    );
}

#[test]
fn listed_levels_are_measured_in_their_order() {
    let search = search(&[("sweep", "rate:4,1,2.5"), ("duration", "10s")]);
    let certain: Vec<String> = search
        .certain()
        .unwrap()
        .iter()
        .map(|scenario| scenario.id.to_string())
        .collect();
    assert_eq!(certain, ["custom/r4", "custom/r1", "custom/r2.5"]);
    let (done, summary) = run(&search, |point| result(point, point.level(), 1.0));
    assert_eq!(levels(&done), [4.0, 1.0, 2.5]);
    assert_eq!(summary.reason, "all 3 listed levels were measured");
    assert_eq!(summary.max_sustained_rps, Some(4.0));
}

#[test]
fn a_search_that_was_cut_off_says_what_is_missing() {
    let search = search(&[("sweep", "concurrency")]);
    let summary = search.summary(&[]);
    assert!(!summary.complete && summary.reason.contains("concurrency 1 is still"));
    let json = serde_json::to_value(summary).unwrap();
    assert_eq!(json["knee"], serde_json::Value::Null);
}

#[test]
fn rates_watch_for_saturation_and_closed_loops_do_not() {
    let scenario = |sweep, point| search(&[("sweep", sweep)]).scenario(point).unwrap();
    let open = scenario("rate", Point::Rate(2.0));
    assert!(open.stop.over_saturation && open.stop.duration.is_some());
    let closed = scenario("concurrency", Point::Concurrency(NonZeroU32::MIN));
    assert!(!closed.stop.over_saturation);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is measured, a search ends, and measures nothing twice (`run` checks both).
    #[test]
    fn no_search_goes_on_for_ever(
        seed in any::<u64>(),
        sweep in prop_oneof![Just("concurrency"), Just("rate"), Just("goodput")],
    ) {
        let mut pairs = vec![("sweep", sweep)];
        if sweep == "goodput" {
            pairs.push(("slo", "ttft_ms=1"));
        }
        // Noise that depends on the point alone.
        let noise = |point: Point, salt: u64| {
            let mixed = (point.level().to_bits() ^ seed ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed >> 40) as f64 / f64::from(1_u32 << 24)
        };
        run(&search(&pairs), |point| {
            let some = |salt, value: f64| (noise(point, salt) > 0.05).then_some(value);
            PointResult {
                output_tps: some(1, noise(point, 2) * point.level()),
                request_rps: some(3, noise(point, 4) * 1.3 * point.level()),
                e2e_p50_ms: some(5, noise(point, 6)),
                slo_attainment: some(7, 0.97 + 0.03 * noise(point, 8)),
                error_rate: if noise(point, 9) > 0.9 { 0.5 } else { 0.0 },
                saturated: noise(point, 10) > 0.9,
                ..result(point, 1.0, 1.0)
            }
        });
    }
}
