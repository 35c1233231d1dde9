//! What a session writes about itself, and the requests it sends: plain values of its plan.

use std::path::Path;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    context::Trigger,
    engine::{Mode, Target},
    error::Error,
    ids::ModelRef,
    plan::{self, Plan, PlannedRequest, Scenario},
    results::{self, HostFacts, Provenance, Subject},
    telemetry::{GpuInfo, NoGpu},
};

/// Removes the reports and the log of an earlier run: they would speak of other results.
pub(super) fn forget_reports(dir: &Path) -> Result<(), Error> {
    for name in ["comparison.json", "comment.md", "report.html", "engine.log"] {
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

/// The requests of one phase of a scenario. Fewer when cancelled meanwhile: many long prompts
/// take a while to write.
pub(super) fn requests(
    seed: u64,
    nonce: &str,
    scenario: &Scenario,
    count: u32,
    cancel: &CancellationToken,
) -> Vec<PlannedRequest> {
    let one = |index| PlannedRequest {
        index,
        prompt: plan::prompt(
            seed,
            nonce,
            scenario.id.as_str(),
            index,
            scenario.input_tokens,
        ),
        output_tokens: scenario.output_tokens,
    };
    (0..count)
        .take_while(|_| !cancel.is_cancelled())
        .map(one)
        .collect()
}

pub(super) fn provenance(
    plan: &Plan,
    trigger: &Trigger,
    gpus: &Result<Vec<GpuInfo>, NoGpu>,
) -> Provenance {
    Provenance {
        kitt_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        commit: trigger.head.as_ref().map(ToString::to_string),
        git_ref: trigger.git_ref.clone(),
        run_url: trigger.run_url.clone(),
        telemetry: Some(match gpus {
            Ok(gpus) => format!("nvml, {} GPU(s)", gpus.len()),
            Err(none) => none.to_string(),
        }),
        engine_args: match &plan.launch.target {
            Target::Container(container) => container.args.clone(),
            Target::InProcess(_) | Target::Endpoint(_) => Vec::new(),
        },
        ..Provenance::default()
    }
}

pub(super) fn fingerprint(host: &HostFacts, plan: &Plan, model: &ModelRef) -> results::Fingerprint {
    let workload = results::workload_digest(&plan.scenarios, plan.seed, plan.skip_warmup);
    let mode = match &plan.launch.target {
        Target::Container(_) => Some(Mode::Docker),
        Target::InProcess(_) => Some(Mode::Native),
        Target::Endpoint(_) => None,
    };
    let subject = Subject {
        method: results::METHOD,
        engine: plan.engine,
        mode,
        model: model.as_str(),
        workload: Some(&workload),
    };
    results::fingerprint(host, &subject)
}

/// The one effective configuration, beside what the writer knows already.
pub(super) fn effective_config(plan: &Plan) -> Value {
    serde_json::json!({
        "seed": plan.seed,
        "runs": plan.runs,
        "request_extras": plan.launch.api.request_extras,
        "scenarios": plan.scenarios,
    })
}
