//! The driver of this crate, as `kitt run` uses it.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use kitt_action::{
    app::calibrate::{Collector, target},
    load::{self, DriveOptions, Receiver, RequestTrace, StampSource},
    plan::{Job, PlannedRequest},
};
use tokio_util::sync::CancellationToken;

use crate::{
    open_loop,
    work::{Done, LoadSpec, prompt},
};

/// Keeps samples only where they are asked for.
struct Taker {
    keep: bool,
    ok: u64,
    collector: Collector,
}

impl Receiver for Taker {
    fn receive(&mut self, trace: RequestTrace) -> ControlFlow<String> {
        self.ok += u64::from(trace.outcome == load::Outcome::Ok);
        let flow = self.collector.receive(trace);
        if !self.keep {
            self.collector.samples.clear();
        }
        flow
    }
}

/// Runs a closed loop, or an open one where a rate is given.
pub fn run(spec: &LoadSpec) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let options = DriveOptions {
        concurrency: NonZeroU32::new(spec.concurrency).filter(|_| spec.rate.is_none()),
        max_in_flight: None,
        duration: spec.seconds.map(Duration::from_secs_f64),
        threads: NonZeroUsize::MIN,
    };
    let taker = Taker {
        keep: spec.keep,
        ok: 0,
        collector: Collector::default(),
    };
    let target = Arc::new(target(&spec.url).unwrap());
    let driven = load::drive(target, jobs(spec), options, CancellationToken::new(), taker);
    let (report, taker) = runtime.block_on(driven).unwrap();
    let millis = |nanos: Option<f64>| nanos.map(|nanos| nanos / 1e6);
    Done {
        ok: taker.ok,
        failed: taker.collector.failed,
        error: taker.collector.last_error,
        tokens: taker.collector.tokens,
        coalesced: Some(taker.collector.coalesced),
        wall_s: report.ended.saturating_sub(report.began).as_secs_f64(),
        samples: taker.collector.samples,
        late_sends_p99_ms: millis(report.audit.late_sends.quantile_ns(0.99)),
        loop_lag_p99_ms: millis(report.audit.loop_lag.quantile_ns(0.99)),
        stalls: report.audit.stalls,
        kernel_stamps: report.audit.stamps == StampSource::Kernel,
        ..Done::default()
    }
}

fn jobs(spec: &LoadSpec) -> Box<dyn Iterator<Item = Job> + Send> {
    let spec = spec.clone();
    let requests = spec.requests.unwrap_or(u32::MAX);
    let due = spec.rate.map(|open| open_loop::due(open, requests));
    Box::new((0..requests).map(move |index| {
        let request = PlannedRequest::text(index, prompt(index), spec.tokens);
        let mut job = Job::from(request);
        job.due = due
            .as_ref()
            .and_then(|due| due.get(usize::try_from(index).ok()?).copied());
        job
    }))
}
