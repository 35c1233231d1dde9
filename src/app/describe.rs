//! What a session writes about itself, and the requests it sends: plain values of its plan.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::{
    context::Trigger,
    engine::{Mode, Target},
    error::Error,
    ids::ModelRef,
    measure::{Measurement, Validity},
    plan::{Plan, Point, PointResult},
    results::{self, HostFacts, Provenance, ScenarioFacts, Subject},
    serve::DriverFacts,
    telemetry::GpuInfo,
    workload::Lengths,
};

/// Removes the reports and the log of an earlier run: they would speak of other results.
pub(super) fn forget_reports(dir: &Path) -> Result<(), Error> {
    let of_results = [
        "comparison.json",
        "comment.md",
        "report.html",
        "badge.json",
        "engine.log",
    ];
    for name in of_results.into_iter().chain([results::PAIRS_FILE]) {
        let path = dir.join(name);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::Write { path, source });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// What is kept of a measurement beside its numbers.
pub(super) fn facts(measurement: &Measurement) -> ScenarioFacts {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let methods = measurement.quantile_methods.iter();
    ScenarioFacts {
        audit: json(&measurement.audit),
        token_source: json(&measurement.token_sources.output)
            .as_ref()
            .and_then(text),
        quantile_method: methods
            .filter_map(|(name, method)| Some((name.clone(), text(&json(method)?)?)))
            .collect(),
        server: json(&measurement.server),
        gpu: json(&measurement.gpu),
    }
}

/// As JSON; nothing is `None`.
fn json(value: &impl Serialize) -> Option<Value> {
    serde_json::to_value(value)
        .ok()
        .filter(|value| !value.is_null())
}

/// Says when prompts may not have the asked-for length: then nothing can be concluded.
pub(super) fn note_lengths(lengths: Lengths, measurement: &mut Measurement) {
    let note = match lengths {
        Lengths::Exact | Lengths::Estimated => return,
        Lengths::Guessed => {
            "some prompts were written before the tokenizer was ready and have another length \
             than asked for: repeat the measurement with warm-up requests"
                .to_owned()
        }
        Lengths::Miscounted { wrong, counted } => format!(
            "{wrong} of {counted} prompts that were counted had another length than asked for: \
             this tokenizer joins words differently in some texts"
        ),
    };
    measurement.notes.push(note);
    measurement.validity = measurement.validity.max(Validity::Inconclusive);
}

/// Requests by outcome, for a message.
pub(super) fn outcomes(measurement: &Measurement) -> String {
    let outcomes = measurement.outcomes.iter();
    let outcomes: Vec<String> = outcomes
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    outcomes.join(", ")
}

/// What a search needs to know of a point.
pub(super) fn point_result(point: Point, measurement: &Measurement) -> PointResult {
    let metric = |name: &str| measurement.metrics.get(name).copied();
    PointResult {
        point,
        output_tps: metric("output_tps"),
        request_rps: metric("request_rps"),
        ttft_p50_ms: metric("ttft_ms.p50"),
        tpot_p50_ms: metric("tpot_ms.p50"),
        e2e_p50_ms: metric("e2e_ms.p50"),
        slo_attainment: metric("slo_attainment"),
        error_rate: metric("error_rate").unwrap_or_default(),
        saturated: measurement.saturated,
        client_limited: matches!(
            measurement.validity,
            Validity::ClientLimited | Validity::ScheduleMissed
        ),
    }
}

pub(super) fn provenance(plan: &Plan, trigger: &Trigger, telemetry: Option<String>) -> Provenance {
    Provenance {
        kitt_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        commit: trigger.commit().map(ToString::to_string),
        git_ref: trigger.git_ref.clone(),
        event: trigger.event.clone(),
        run_url: trigger.run_url.clone(),
        telemetry,
        engine_args: match &plan.launch.target {
            Target::Container(container) => container.args.clone(),
            Target::Process(process) => process.args.clone(),
            Target::InProcess(_) | Target::Endpoint(_) => Vec::new(),
        },
        ..Provenance::default()
    }
}

/// What is known of a model's files before anything is started.
#[derive(Debug, Clone, Default)]
pub(super) struct ModelFiles {
    /// Branch, tag or commit, as asked for.
    pub(super) revision: Option<String>,
    /// How the weights are quantised.
    pub(super) quantisation: Option<String>,
}

/// The driver of these GPUs; `None` without any.
pub(super) fn driver(gpus: &[GpuInfo]) -> Option<DriverFacts> {
    let gpu = gpus.first()?;
    let (cuda, version) = (gpu.cuda_driver.as_deref(), gpu.driver.as_deref());
    Some(DriverFacts::new(cuda, version))
}

pub(super) fn fingerprint(
    host: &HostFacts,
    plan: &Plan,
    model: &ModelRef,
    files: &ModelFiles,
) -> results::Fingerprint {
    let workload = results::workload_digest(&plan.scenarios, plan.seed, plan.skip_warmup);
    let mode = match &plan.launch.target {
        Target::Container(_) => Some(Mode::Docker),
        Target::InProcess(_) | Target::Process(_) => Some(Mode::Native),
        Target::Endpoint(_) => None,
    };
    let subject = Subject {
        method: results::METHOD,
        engine: plan.engine,
        mode,
        model: model.as_str(),
        workload: Some(&workload),
    };
    let mut print = results::fingerprint(host, &subject);
    print.set_model(files.revision.as_deref(), files.quantisation.as_deref());
    print
}

/// The one effective configuration, beside what the writer knows already.
pub(super) fn effective_config(plan: &Plan) -> Value {
    serde_json::json!({
        "seed": plan.seed,
        "asked": plan.asked,
        "runs": plan.runs,
        "request_extras": plan.launch.api.request_extras,
        "scenarios": plan.scenarios,
    })
}
