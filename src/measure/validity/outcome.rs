//! Rules about what came of the requests, and when throughput was steady.

use super::{Findings, Said, open, percent};
use crate::{
    load::Stopped,
    measure::{Validity, spec::Load, window::Fallback},
};

/// More failed requests than this make the numbers those of a failing server.
const MAX_ERROR_RATE: f64 = 0.01;
/// Above this share of merged chunks there is something to say about ITL.
const MAX_COALESCED: f64 = 0.01;

pub(super) fn server_errors(found: &Findings<'_>) -> Said {
    let rate = found.error_rate.filter(|rate| *rate > 0.0)?;
    let example = found.first_error.map(|text| format!("; the first: {text}"));
    let note = format!(
        "{} of the requests failed{}",
        percent(rate),
        example.unwrap_or_default()
    );
    let verdict = (rate > MAX_ERROR_RATE).then_some(Validity::ServerErrored);
    Some((verdict, note))
}

pub(super) fn no_success(found: &Findings<'_>) -> Said {
    let note = "no request ended well".to_owned();
    (found.ok == 0).then_some((Some(Validity::Inconclusive), note))
}

/// Fewer ended than were planned, and no rule of the plan asked for that.
pub(super) fn stopped_early(found: &Findings<'_>) -> Said {
    let planned = found.spec.planned.map_or(found.sent, u64::from);
    let by_rule = matches!(found.stopped, Stopped::TimeUp | Stopped::Asked(_));
    let missing = found.sent < planned && !by_rule;
    let told = found.cancelled > 0 || *found.stopped == Stopped::Cancelled || missing;
    told.then(|| {
        let ended = found.sent.saturating_sub(found.cancelled);
        let all = planned.max(found.sent);
        let note = format!("stopped early: {ended} of {all} requests ended by themselves");
        (Some(Validity::Inconclusive), note)
    })
}

pub(super) fn asked_to_stop(found: &Findings<'_>) -> Said {
    match found.stopped {
        Stopped::Asked(why) => Some((None, format!("ended before all was sent: {why}"))),
        Stopped::Exhausted | Stopped::TimeUp | Stopped::Cancelled => None,
    }
}

fn fallback(found: &Findings<'_>, wanted: Fallback) -> bool {
    found.window.and_then(|window| window.fallback) == Some(wanted)
}

pub(super) fn never_reached(found: &Findings<'_>) -> Said {
    let note = match found.spec.load {
        Load::Closed { concurrency, .. } => format!(
            "{concurrency} requests were never in flight at once: throughput is over the whole span"
        ),
        Load::Open => "all requests were due at once: throughput is over the whole span".to_owned(),
    };
    fallback(found, Fallback::NeverReached).then_some((Some(Validity::Inconclusive), note))
}

pub(super) fn shortly_reached(found: &Findings<'_>) -> Said {
    let what = match found.spec.load {
        Load::Closed { concurrency, .. } => format!("{concurrency} requests were in flight"),
        Load::Open => "the asked-for rate held".to_owned(),
    };
    let note =
        format!("{what} for a moment only: throughput is over the whole span, ramps included");
    fallback(found, Fallback::TooShort).then_some((None, note))
}

/// What the server's own counters make void (`telemetry::check_server`): it answered without
/// doing the work that was to be measured.
pub(super) fn server_counters(found: &Findings<'_>) -> Said {
    let why = found.server_invalid?.to_owned();
    Some((Some(Validity::ServerErrored), why))
}

pub(super) fn saturated(found: &Findings<'_>) -> Said {
    let note = "the number of requests under way only grew: the server cannot keep up with the \
                rate, and latencies depend on how long it was driven"
        .to_owned();
    (open(found) && found.saturated).then_some((None, note))
}

pub(super) fn level_changed(found: &Findings<'_>) -> Said {
    let (when, share) = found.window?.change?;
    let note = format!(
        "throughput changed at {:.1} s by {}{:.0} %",
        when.as_secs_f64() - found.began.as_secs_f64(),
        if share < 0.0 { "−" } else { "+" },
        share.abs() * 100.0
    );
    Some((None, note))
}

pub(super) fn warm_up_cut(found: &Findings<'_>) -> Option<String> {
    let cut = found.window?.cut.as_secs_f64();
    (cut > 0.0).then(|| {
        format!("throughput was not yet steady in the first {cut:.1} s, which do not count for it")
    })
}

pub(super) fn coalesced(found: &Findings<'_>) -> Option<String> {
    // Those without a time of their own are told of elsewhere.
    let share = found.audit.coalesced_share? - found.audit.uncertain_share.unwrap_or(0.0);
    (share > MAX_COALESCED).then(|| {
        format!(
            "{} of the output chunks arrived together with the one before: \
             their gaps count as none, the mean of ITL is right",
            percent(share)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{
            by, client, closed, judged, kernel, ms, open_loop, says, schedule, silent, steady,
        },
        *,
    };
    use crate::measure::{audit::Audit, window::Window};

    #[test]
    fn one_per_cent_of_errors_is_the_limit() {
        let at = by(|found| found.error_rate = Some(0.01));
        says(&at, Validity::Valid, "1.0 % of the requests failed");
        let above = by(|found| {
            found.error_rate = Some(0.011);
            found.first_error = Some("http_error: HTTP 503");
        });
        says(
            &above,
            Validity::ServerErrored,
            "the first: http_error: HTTP 503",
        );
    }

    #[test]
    fn nothing_good_or_too_little_is_inconclusive() {
        let none = by(|found| found.ok = 0);
        says(&none, Validity::Inconclusive, "no request ended well");
        let fewer = by(|found| found.sent = 99);
        says(&fewer, Validity::Inconclusive, "99 of 100");
        let cancelled = by(|found| found.cancelled = 3);
        says(&cancelled, Validity::Inconclusive, "97 of 100");
        let ctrl_c = by(|found| found.stopped = &Stopped::Cancelled);
        says(&ctrl_c, Validity::Inconclusive, "100 of 100");
    }

    #[test]
    fn what_the_plan_asked_for_is_not_early() {
        let time = by(|found| {
            found.sent = 40;
            found.stopped = &Stopped::TimeUp;
        });
        silent(&time);
        let asked = Stopped::Asked("known well enough".to_owned());
        let (spec, audit, window) = (closed(), kernel(), steady());
        let found = judged(&spec, &audit, &window, |found| {
            found.sent = 40;
            found.stopped = &asked;
        });
        says(&found, Validity::Valid, "known well enough");
    }

    #[test]
    fn without_full_load_the_whole_span_is_taken() {
        let never = Window {
            fallback: Some(Fallback::NeverReached),
            deficit: Some(0.9),
            ..steady()
        };
        let found = judged(&closed(), &kernel(), &never, |_| ());
        says(
            &found,
            Validity::Inconclusive,
            "4 requests were never in flight",
        );
        let short = Window {
            fallback: Some(Fallback::TooShort),
            ..steady()
        };
        let found = judged(&closed(), &kernel(), &short, |_| ());
        says(&found, Validity::Valid, "for a moment only");
        let found = judged(&open_loop(), &kernel(), &never, |_| ());
        says(&found, Validity::Inconclusive, "due at once");
    }

    #[test]
    fn what_the_server_counted_can_make_it_void() {
        let found = by(|found| found.server_invalid = Some("40 % from the prefix cache"));
        says(
            &found,
            Validity::ServerErrored,
            "40 % from the prefix cache",
        );
    }

    #[test]
    fn a_queue_that_only_grows_is_said() {
        let open = schedule(&kernel(), |found| found.saturated = true);
        says(&open, Validity::Valid, "cannot keep up");
        silent(&by(|found| found.saturated = true));
    }

    #[test]
    fn unsteady_throughput_is_dated_from_the_beginning_of_load() {
        let window = Window {
            change: Some((ms(14_300), -0.18)),
            cut: ms(1200),
            ..steady()
        };
        let found = judged(&closed(), &kernel(), &window, |found| {
            found.began = ms(2000);
        });
        says(&found, Validity::Valid, "changed at 12.3 s by −18 %");
        assert!(found.1.contains("first 1.2 s"), "{}", found.1);
    }

    #[test]
    fn merged_chunks_are_said() {
        let merged = |share| {
            client(&Audit {
                coalesced_share: Some(share),
                ..kernel()
            })
        };
        silent(&merged(0.01));
        says(
            &merged(0.25),
            Validity::Valid,
            "25.0 % of the output chunks",
        );
    }
}
