//! What holds for any bytes and any measurement.

use std::{collections::BTreeMap, fs};

use kitt_action::{
    measure::{Measurement, Validity},
    results::{Limits, ResultSet, ResultsError, ResultsWriter, RunStatus, read},
};
use proptest::prelude::*;

use super::{
    load,
    support::{header, measurement, record, scenario, write},
};
use crate::harness::fixture;

fn read_bytes(bytes: &[u8]) -> Result<ResultSet, ResultsError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.json");
    fs::write(&path, bytes).unwrap();
    read(&path, &Limits::default())
}

/// Any JSON at all, a few levels deep, made of words a results file knows.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let words = prop_oneof![
        "schema_version|results|measurements|metrics|run|scenario|ttft_ms|passed|value|engine|total|accuracy|system_info|gpu|count",
        ".{0,8}",
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        words.clone().prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map(words.clone(), inner, 0..6)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

fn any_measurement() -> impl Strategy<Value = Measurement> {
    let positive = prop_oneof![0.0..1e9_f64, 0.0..1e-3_f64, Just(f64::MIN_POSITIVE)];
    let name = "(ttft|e2e|itl)_ms\\.(p50|p99|mean)|output_tps|[a-z]{1,9}_ms";
    let maybe = prop::option::of(positive.clone());
    let validity = prop_oneof![Just(Validity::Valid), Just(Validity::ClientLimited)];
    let times = prop::collection::vec(maybe.clone(), 1..6);
    (
        prop::collection::btree_map(name, positive, 0..6),
        prop::collection::btree_map("[a-z_]{1,9}", any::<u64>(), 0..4),
        (1..1_000_000_u64, 0..9_u64),
        (maybe, validity, ".{0,20}"),
        times,
    )
        .prop_map(
            |(metrics, samples, (ok, lost), (tokens, validity, note), times)| {
                let mut measured = measurement(u32::try_from(times.len()).unwrap());
                let times = BTreeMap::from([("ttft_ms".to_owned(), times)]);
                measured.per_request = times
                    .into_iter()
                    .filter(|(_, values)| values.iter().any(Option::is_some))
                    .collect();
                Measurement {
                    metrics,
                    samples,
                    sent: ok + lost,
                    ok,
                    output_tokens_mean: tokens,
                    validity,
                    notes: vec![note],
                    ..measured
                }
            },
        )
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _read = read_bytes(&bytes);
    }

    #[test]
    fn no_json_makes_the_reader_panic(json in any_json()) {
        let _read = read_bytes(json.to_string().as_bytes());
    }

    #[test]
    fn no_damage_makes_the_reader_panic(place in any::<prop::sample::Index>(), byte in any::<u8>(), own in any::<bool>()) {
        let name = if own { "results/v1/complete/metrics.json" } else { "kitt/baseline/metrics.json" };
        let mut bytes = fs::read(fixture(name)).unwrap();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Err(error) = read_bytes(&bytes) {
            prop_assert!(error.to_string().contains("metrics.json"));
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn no_damage_to_traces_makes_the_reader_panic(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let dir = tempfile::tempdir().unwrap();
        for name in ["metrics.json", "requests.jsonl.zst"] {
            fs::copy(fixture("results/v1/complete").join(name), dir.path().join(name)).unwrap();
        }
        let traces = dir.path().join("requests.jsonl.zst");
        let mut bytes = fs::read(&traces).unwrap();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        fs::write(&traces, bytes).unwrap();
        let _read = read(&dir.path().join("metrics.json"), &Limits::default());
    }
}

proptest! {
    // Every case syncs a dozen files.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_measurement_comes_back_equal(measured in any_measurement()) {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = ResultsWriter::create(dir.path(), header()).unwrap();
        write(&mut writer, 1, &scenario("latency"), &measured);
        let set = load(&writer.finish(RunStatus::Complete, 1.0).unwrap());
        prop_assert_eq!(&set.runs[0].scenarios["latency"], &record(&measured));
    }
}
