//! What `kitt ci run` measures: the current side alone, or both sides in pairs.
//!
//! In: settings and stored results. Out: results in the results directory, `pairs.json` beside
//! them where there were pairs. The rules are in [`when`]; the pairs in [`course`].

mod course;
mod forecast;
mod when;

use std::{path::Path, time::Duration};

pub(super) use self::{
    course::{Course, Sides},
    forecast::Forecast,
};
use self::{
    forecast::Reach,
    when::{Known, Next, after_stored, late},
};
use super::{
    measure::{self, Start},
    past,
    rebuild::{self, Rebuilt},
    report::{self, BaselineSide, Judgement},
    session::Session,
    signal::Stop,
};
use crate::{
    context::{BaselineMode, Inputs},
    error::Error,
    plan::{NotRebuildable, Plan},
    results::{self, BASELINE_DIR, ITEMS_FILE, ResultSet, RunStatus, Side},
};

/// How a measurement went.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    /// Whether a run says of itself that its numbers tell nothing.
    pub(super) invalid: bool,
    /// Whether both sides were measured in turn: then good pairs outweigh a spoiled one.
    pub(super) in_pairs: bool,
}

/// Measures what the settings ask for.
///
/// # Errors
/// The settings make no plan, a run fails, or pairs are asked for and the baseline side cannot be
/// rebuilt. What was measured until then is in the results directory.
pub(super) async fn measure(inputs: &Inputs, stop: &Stop) -> Result<Measured, Error> {
    match inputs.against.baseline {
        BaselineMode::Stored => {
            tracing::info!("no pairs: `baseline: stored` asks for none");
            let finished = measure::measure(inputs, &inputs.results_dir, &[], stop).await?;
            Ok(Measured {
                invalid: finished.invalid,
                in_pairs: false,
            })
        }
        BaselineMode::Pairs => Box::pin(always(inputs, stop)).await,
        BaselineMode::Auto => Box::pin(when_unsure(inputs, stop)).await,
    }
}

/// `baseline: ab`: a first run of the baseline side, which warms the machine up, then pairs.
async fn always(inputs: &Inputs, stop: &Stop) -> Result<Measured, Error> {
    tracing::info!("pairs: `baseline: ab` asks for them");
    let prepared = measure::prepare(&inputs.measure)?;
    let stored = report::stored_baseline(inputs, inputs.baseline_dir.as_deref())?;
    let rebuilt = rebuild::rebuild(inputs, &prepared.plan, &stored).await?;
    let run = stored.as_ref().ok().and_then(time_of_a_run);
    let forecast = forecast(inputs, &prepared.plan, &stored, run)?;
    let current = Start::new(inputs, &inputs.results_dir).begin(prepared)?;
    rebuild::tell_workload(current.plan(), &stored);
    let sides = beside(inputs, current, rebuilt, &stored)?;
    Course::new(inputs, sides, forecast, stop)
        .measure(true)
        .await
}

/// `baseline: auto`: the current side alone, and pairs when stored results leave it open.
async fn when_unsure(inputs: &Inputs, stop: &Stop) -> Result<Measured, Error> {
    let prepared = measure::prepare(&inputs.measure)?;
    let mut current = Start::new(inputs, &inputs.results_dir).begin(prepared)?;
    for number in 1..=current.plan().runs.get() {
        if let Err(error) = current.run_once(number, stop).await {
            current.end(number, &error)?;
            return Err(error);
        }
    }
    match unsure(inputs, &current).await {
        Ok(Ok((rebuilt, stored, forecast))) => {
            rebuild::tell_workload(current.plan(), &stored);
            let sides = beside(inputs, current, rebuilt, &stored)?;
            Course::new(inputs, sides, forecast, stop)
                .measure(false)
                .await
        }
        Ok(Err(stands)) => {
            tracing::info!("no pairs: {stands}");
            let finished = current.close(RunStatus::Complete)?;
            Ok(Measured {
                invalid: finished.invalid,
                in_pairs: false,
            })
        }
        Err(error) => {
            current.close(RunStatus::Complete)?;
            Err(error)
        }
    }
}

/// What pairs need, or why there are none.
type Needed = Result<(Rebuilt, BaselineSide, Forecast), String>;

/// Compares with stored results, and prepares pairs where they leave it open.
async fn unsure(inputs: &Inputs, current: &Session) -> Result<Needed, Error> {
    let against = &inputs.against;
    let dir = inputs.baseline_dir.as_deref();
    let Judgement {
        baseline, decision, ..
    } = report::judge(&inputs.results_dir, dir, inputs)?;
    let known = Known {
        baseline: baseline.is_ok(),
        invalid: current.last_is_void(),
    };
    let why = match after_stored(&decision, against, known) {
        Next::Stands(why) => return Ok(Err(why)),
        Next::Pairs(why) => why,
    };
    let run = current.busy() / current.plan().runs.get();
    let pair = run.saturating_mul(2);
    if let Some(late) = late(Duration::ZERO, Some(pair), against.time_budget) {
        return Ok(Err(late));
    }
    match rebuild::rebuild(inputs, current.plan(), &baseline).await {
        Ok(rebuilt) => {
            tracing::info!("pairs: {why}");
            let forecast = forecast(inputs, current.plan(), &baseline, Some(run))?;
            Ok(Ok((rebuilt, baseline, forecast)))
        }
        Err(Error::Rebuild(NotRebuildable::Endpoint)) => {
            Ok(Err(NotRebuildable::Endpoint.to_string()))
        }
        Err(error) => Ok(Err(format!(
            "{why}, but the baseline side cannot be rebuilt: {}",
            error.chain()
        ))),
    }
}

/// Begins the baseline side beside the current one.
fn beside(
    inputs: &Inputs,
    current: Session,
    rebuilt: Rebuilt,
    stored: &BaselineSide,
) -> Result<Sides, Error> {
    let dir = inputs.results_dir.join(BASELINE_DIR);
    let start = Start {
        trigger: &rebuilt.trigger,
        side: Side::Baseline,
        beside: Some(&current),
        ..Start::new(inputs, &dir)
    };
    let begun = start.begin(rebuilt.prepared).and_then(|baseline| {
        // Items are evaluated elsewhere, once a commit: those of the stored baseline go on counting.
        let items = stored
            .as_ref()
            .ok()
            .map(|side| side.path.with_file_name(ITEMS_FILE));
        results::take_items(items.filter(|path| is_plain_file(path)).as_deref(), &dir)?;
        Ok(baseline)
    });
    match begun {
        Ok(baseline) => Ok(Sides { baseline, current }),
        Err(error) => {
            current.close(RunStatus::Failed)?;
            Err(error)
        }
    }
}

/// A link could lead out of the stored baseline, which may come from anywhere.
fn is_plain_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|file| file.is_file())
}

fn forecast(
    inputs: &Inputs,
    plan: &Plan,
    stored: &BaselineSide,
    run: Option<Duration>,
) -> Result<Forecast, Error> {
    let most = inputs.against.pairs.get();
    let conditions = stored
        .as_ref()
        .ok()
        .and_then(|side| side.fingerprint.as_ref());
    let noise = past::noise(inputs, conditions);
    let reach = Reach::of(&noise, &inputs.policy, &plan.scenarios, most)?;
    Ok(Forecast { run, reach, most })
}

/// How long one run of stored results took, the start of its engine included.
fn time_of_a_run(stored: &ResultSet) -> Option<Duration> {
    let runs = u32::try_from(stored.runs.len())
        .ok()
        .filter(|runs| *runs > 0)?;
    let whole = Duration::try_from_secs_f64(stored.total_time_s?).ok()?;
    Some(whole / runs)
}
