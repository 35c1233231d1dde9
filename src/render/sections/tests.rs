//! Sections are put together, found again, renewed, and made to fit.

use proptest::prelude::*;

use super::{legs as read_legs, *};
use crate::{
    ids::ReportKey,
    render::{GateWord, KITT_MARKER, MOST_EARLIER, Outcome, budget, posted::timeless},
    verdict::Verdict,
};

const HEAD: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const BEFORE: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn leg_of(name: &str, verdict: Verdict, run: u64, text: &str) -> Leg {
    let failed = verdict == Verdict::Regressed;
    let state = State {
        version: 2,
        section: Some(name.parse().unwrap()),
        outcome: Outcome::Of(verdict),
        gate: if failed {
            GateWord::Failed
        } else {
            GateWord::Passed
        },
        head: Some(if run < 10 { BEFORE } else { HEAD }.to_owned()),
        updated: "2026-01-31T17:05:00Z".to_owned(),
        run: Some(run),
        attempt: Some(1),
        url: Some(format!("https://github.com/org/repo/actions/runs/{run}")),
        worst: failed.then(|| "TPOT p50 +10.7 %".to_owned()),
        regressions: Vec::new(),
        earlier: Vec::new(),
    };
    Leg::new(state, vec![text.to_owned()]).unwrap()
}

fn leg(name: &str, run: u64, text: &str) -> Leg {
    leg_of(name, Verdict::Unchanged, run, text)
}

fn composed(legs: &[Leg]) -> String {
    compose(&ReportKey::default(), legs.to_vec()).unwrap().body
}

fn names(legs: &[Leg]) -> Vec<&str> {
    legs.iter().map(|leg| leg.name().as_str()).collect()
}

#[test]
fn a_matrix_has_one_headline_and_a_line_for_each_job() {
    let legs = [
        leg_of("h100 · fp8", Verdict::Regressed, 10, "why"),
        leg("l4", 9, "old"),
        leg("a100", 10, "nothing"),
    ];
    insta::assert_snapshot!(composed(&legs));
}

#[test]
fn what_is_composed_is_read_whatever_line_ends_it_comes_back_with() {
    let legs = [
        leg("b", 10, "two\n\nlines"),
        leg("a", 10, "one"),
        leg("c", 9, ""),
    ];
    let body = composed(&legs);
    let read = read_legs(&body);
    assert_eq!(names(&read), ["a", "b", "c"]);
    assert_eq!(read[1].text(), "two\n\nlines");
    assert_eq!(read_legs(&body.replace('\n', "\r\n")), read);
    assert_eq!(composed(&read), body, "nothing changes on the way");
}

#[test]
fn a_newer_report_of_a_job_takes_its_place_and_an_older_one_does_not() {
    let standing = vec![leg("a", 10, "new"), leg("b", 10, "b")];
    let late = merge(standing.clone(), &[leg("a", 9, "late")], false);
    assert_eq!(late, standing);
    let again = leg("a", 11, "again");
    let renewed = merge(standing.clone(), std::slice::from_ref(&again), false);
    assert_eq!(renewed, [again, standing[1].clone()]);
    let same = merge(standing.clone(), &[leg("a", 10, "said twice")], false);
    assert_eq!(same[0].text(), "said twice");
}

#[test]
fn a_report_of_all_jobs_takes_away_the_others() {
    let standing = vec![
        leg("a", 10, "a"),
        leg("gone", 10, "x"),
        leg("later", 12, "x"),
    ];
    let all = merge(standing, &[leg("a", 11, "a"), leg("b", 11, "b")], true);
    assert_eq!(names(&all), ["a", "later", "b"]);
}

#[test]
fn a_section_of_an_older_push_is_kept_and_said_to_be_old() {
    let body = composed(&[
        leg("a", 10, "new"),
        leg_of("b", Verdict::Regressed, 9, "old"),
    ]);
    assert!(
        body.contains("### ✅ Unchanged: 1 job · 1 of an older push — gate passed"),
        "{body}"
    );
    assert!(body.contains("</code>, not this push"), "{body}");
    assert!(
        !body.contains("<details open>"),
        "old news are not unfolded"
    );
}

#[test]
fn what_six_pushes_did_not_renew_goes() {
    let push = |number: u32| crate::render::Push {
        outcome: Outcome::Of(Verdict::Unchanged),
        gate: GateWord::Off,
        head: Some(format!("{number:012x}")),
        updated: String::new(),
        worst: None,
    };
    let mut new = leg("a", 20, "new");
    new.state.earlier = (1..=5).map(push).collect();
    assert_eq!(new.state.earlier.len(), MOST_EARLIER);
    let legs = [new.clone(), leg("b", 9, "old")];
    assert_eq!(names(&read_legs(&composed(&legs))), ["a"]);
    new.state.earlier[2].head = BEFORE.get(..12).map(str::to_owned);
    let legs = [new, leg("b", 9, "old")];
    assert_eq!(names(&read_legs(&composed(&legs))), ["a", "b"]);
}

#[test]
fn names_are_ordered_by_their_numbers_too() {
    let legs = ["gpu 10", "gpu 2", "Gpu 1", "fp8"].map(|name| leg(name, 10, ""));
    assert_eq!(
        names(&read_legs(&composed(&legs))),
        ["fp8", "Gpu 1", "gpu 2", "gpu 10"]
    );
}

#[test]
fn the_largest_section_without_bad_news_gives_way_first() {
    let part = |size: usize| format!("core\n\n{CUT}\n\n{}", "| x | y |\n".repeat(size / 10));
    let legs = [
        leg_of("bad", Verdict::Regressed, 10, &part(30_000)),
        leg("fine", 10, &part(29_000)),
        leg("small", 10, "small"),
        leg("old", 9, &part(5_000)),
    ];
    let body = composed(&legs);
    let read = read_legs(&body);
    let text = |name: &str| {
        read.iter()
            .find(|leg| leg.name().as_str() == name)
            .unwrap()
            .text()
    };
    assert!(text("bad").len() > 29_000, "bad news stay whole");
    assert_eq!(text("fine"), format!("core\n\n{SHORTENED}"));
    assert_eq!(text("small"), "small");
    assert!(body.len() < 60_000 && text("old").len() > 4_000);
}

#[test]
fn a_hundred_jobs_fit_with_a_line_each_and_more_are_counted() {
    let many = |number: usize| -> Vec<Leg> {
        let names = (0..number).map(|index| format!("h100 · fp8 · tensor parallel {index}"));
        let long = format!("core {}\n\n{CUT}\n\nmore", "y".repeat(400));
        names.map(|name| leg(&name, 10, &long)).collect()
    };
    for number in [20, 60, 100, 256] {
        let composed = compose(&ReportKey::default(), many(number)).unwrap();
        assert!(budget::fits(budget::COMMENT, &composed.body));
        println!(
            "{number} jobs: {} bytes, {} shown",
            composed.body.len(),
            composed.legs.len()
        );
        let read = read_legs(&composed.body);
        assert_eq!(names(&read), names(&composed.legs));
        if number <= 80 {
            assert_eq!(read.len(), number);
        } else if read.len() < number {
            let more = format!("{} more jobs", number - read.len());
            assert!(composed.body.contains(&more), "{number}");
        }
    }
}

#[test]
fn the_time_alone_makes_no_difference() {
    let mut later = leg("a", 10, "x · updated 2026-01-31 17:09 UTC · y");
    later.state.updated = "2026-01-31T17:09:00Z".to_owned();
    let body = composed(&[leg("a", 10, "x · updated 2026-01-31 17:05 UTC · y")]);
    assert_eq!(timeless(&body), timeless(&composed(&[later])));
    assert_ne!(timeless(&body), timeless(&composed(&[leg("a", 11, "x")])));
}

#[test]
fn a_section_that_is_not_whole_is_left_out() {
    let body = composed(&[leg("a", 10, "one"), leg("b", 10, "two")]);
    let end = format!("{SECTION_END}{}{END}", leg("a", 10, "").id());
    assert_eq!(names(&read_legs(&body.replace(&end, ""))), ["b"]);
    let other = body.replace(&leg("a", 10, "").id(), "0123456789abcdef");
    assert_eq!(names(&read_legs(&other)), ["b"], "the id is the name's");
    assert_eq!(read_legs(&format!("> {body}")), []);
    assert_eq!(read_legs(""), []);
}

fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(CUT.to_owned()),
        Just(BODY.to_owned()),
        Just("</details>".to_owned()),
        Just(format!("{SECTION}0123456789abcdef e30={END}")),
        Just(format!("{SECTION_END}0123456789abcdef{END}")),
        Just(String::new()),
        "\\PC{0,40}",
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn any_body_is_read_without_harm(body in "\\PC{0,300}|[<>! a-z=\\n-]{0,300}", marked: bool) {
        let marker = if marked { KITT_MARKER } else { "" };
        drop(read_legs(&format!("{marker}\n{body}")));
    }

    #[test]
    fn a_spoiled_comment_is_read_without_harm(
        texts in proptest::collection::vec(any_text(), 1..4),
        at in 0_usize..10_000,
        junk in "\\PC{0,20}",
    ) {
        let legs: Vec<Leg> = texts.iter().enumerate()
            .map(|(index, text)| leg(&format!("job {index}"), 10, text)).collect();
        let mut body = composed(&legs);
        let cut = (0..=at % (body.len() + 1)).rev().find(|at| body.is_char_boundary(*at));
        body.insert_str(cut.unwrap(), &junk);
        let read = read_legs(&body);
        // Whatever it was, what is made of it is whole again.
        let again = composed(&read);
        let reread = read_legs(&again);
        prop_assert_eq!(names(&reread), names(&read));
    }

    #[test]
    fn any_section_comes_back(
        texts in proptest::collection::vec("[a-z |*\\n]{0,200}", 1..6),
        crlf: bool,
    ) {
        let legs: Vec<Leg> = texts.iter().enumerate()
            .map(|(index, text)| leg(&format!("job {index}"), 10, text.trim())).collect();
        let body = composed(&legs);
        let stored = if crlf { body.replace('\n', "\r\n") } else { body.clone() };
        let read = read_legs(&stored);
        prop_assert_eq!(read.len(), legs.len());
        let lines = |text: &str| {
            let lines: Vec<_> = text.lines().map(str::trim_end).collect();
            lines.join("\n").trim_matches('\n').to_owned()
        };
        for (read, made) in read.iter().zip(&legs) {
            prop_assert_eq!(read.text(), lines(made.text()));
            prop_assert_eq!(read.state(), made.state());
        }
        prop_assert_eq!(lines(&composed(&read)), lines(&body));
    }
}
