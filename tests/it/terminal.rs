//! What `kitt compare` and the end of a run print: a table of 100 columns.

use kitt_action::{
    render::{Colour, terminal},
    verdict::GatePolicy,
};

use super::sample::{
    self, Sample,
    real::{Side, decided},
};

fn shown(sample: &Sample, colour: Colour) -> String {
    terminal(&sample.decision, &sample.comparison, colour)
}

#[test]
fn a_regression_is_a_table_and_its_reasons() {
    let base = Side {
        scenarios: 1,
        runs: 6,
        ..Side::STEADY
    };
    let slower = Side {
        decode: 1.08,
        ..base
    };
    let sample = decided(Some(base), slower, &GatePolicy::default());
    insta::assert_snapshot!(shown(&sample, Colour::Off));
}

#[test]
fn what_cannot_be_compared_says_what_differs() {
    insta::assert_snapshot!(shown(&sample::incomparable(), Colour::Off));
}

#[test]
fn every_line_of_the_table_fits_and_the_first_is_for_programs() {
    for sample in [
        sample::regression(),
        sample::inconclusive(),
        sample::incomparable(),
        sample::no_baseline(),
        decided(Some(Side::STEADY), Side::STEADY, &GatePolicy::default()),
    ] {
        let text = shown(&sample, Colour::Off);
        let verdict = sample.decision.verdict.name();
        assert!(text.starts_with(&format!("verdict: {verdict} (gate: ")));
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
        assert!(!text.contains('\u{1b}'));
        let coloured = shown(&sample, Colour::On);
        let plain = ["31", "32", "33", "0"].iter().fold(coloured, |text, code| {
            text.replace(&format!("\u{1b}[{code}m"), "")
        });
        assert_eq!(plain, text);
    }
}

#[test]
fn names_from_outside_cannot_draw_on_the_terminal() {
    let mut sample = sample::regression();
    for judged in &mut sample.decision.metrics {
        judged.change.scenario = "\u{1b}[2Jlatency\nverdict: unchanged".to_owned();
        judged.reason.push('\u{7}');
    }
    let text = shown(&sample, Colour::Off);
    assert!(!text.contains(['\u{1b}', '\u{7}']), "{text}");
    assert_eq!(text.matches("\nverdict: ").count(), 0, "{text}");
}
