//! When the requests so far are enough.

use std::time::Duration;

use super::Accumulator;
use crate::measure::{
    spec::Load,
    stop::{LEAST_FOR_ERRORS, QUEUE_SPANS, queue_grows},
};

/// Ended requests before a queue is looked at, and how often from then on.
const LEAST_FOR_QUEUE: u64 = 100;
const QUEUE_EVERY: u64 = 50;

impl Accumulator {
    /// Why to send no further request, in words; `None` to go on. To be asked after each
    /// [`Accumulator::add`].
    pub fn should_stop(&self) -> Option<String> {
        self.too_many_errors()
            .or_else(|| self.known_well())
            .or_else(|| self.over_saturated())
    }

    fn too_many_errors(&self) -> Option<String> {
        let most = self.spec.stop.max_error_rate?;
        let rate = self.error_rate()?;
        (self.sent - self.cancelled >= LEAST_FOR_ERRORS && rate > most).then(|| {
            format!(
                "{:.1} % of the requests failed; the limit is {:.1} %",
                rate * 100.0,
                most * 100.0
            )
        })
    }

    fn known_well(&self) -> Option<String> {
        let width = self.spec.stop.ci_width?;
        let (e2e, ttft) = (self.e2e.half_width()?, self.ttft.half_width()?);
        (e2e <= width && ttft <= width).then(|| {
            format!(
                "the means of E2E latency and TTFT are known to ±{:.1} % and ±{:.1} % (95 %)",
                e2e * 100.0,
                ttft * 100.0
            )
        })
    }

    fn over_saturated(&self) -> Option<String> {
        let ended = self.sent - self.cancelled;
        let due = ended >= LEAST_FOR_QUEUE && ended.is_multiple_of(QUEUE_EVERY);
        if !self.spec.stop.over_saturation || !due {
            return None;
        }
        // Of requests still under way nothing is known. Servers answer roughly in order: what
        // was due before the requests that ended last has ended too.
        let known = self.recent.iter().min()?;
        self.queue_grows_until(*known).then(|| {
            "the number of requests under way only grows: the server cannot keep up with the rate"
                .to_owned()
        })
    }

    /// Whether the number of requests under way only grew until then.
    pub(super) fn queue_grows_until(&self, until: Duration) -> bool {
        let Some(first) = self
            .edges
            .first_due()
            .filter(|_| self.spec.load == Load::Open)
        else {
            return false;
        };
        let scale = self.timeline.scale();
        let bins = scale.inside(first..until);
        let per_span = (bins.len() / QUEUE_SPANS).max(1);
        let values = self.timeline.busy.values();
        let inside: Vec<f64> = values.into_iter().take(bins.end).skip(bins.start).collect();
        let length = per_span as f64 * scale.seconds();
        let spans = inside.chunks_exact(per_span);
        let under_way: Vec<f64> = spans
            .map(|span| span.iter().sum::<f64>() / length)
            .collect();
        queue_grows(&under_way)
    }
}
