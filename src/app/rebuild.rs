//! The baseline side of pairs: its stored `config.json` read, its image found, its run planned.

use std::path::Path;

use super::{
    clock,
    measure::{self, Prepared},
    report::BaselineSide,
};
use crate::{
    context::{ContextError, Inputs, Trigger},
    engine::ImageSource,
    error::Error,
    ids::ImageRef,
    plan::{self, NotRebuildable, Pinned, Plan, Stored},
    results::{self, BASELINE_DIR, Limits, Origin, ResultSet},
    serve::{self, ServeError, ServeOptions},
};

/// The other side, ready to begin.
pub(super) struct Rebuilt {
    pub(super) prepared: Prepared,
    /// Commit and run that it stands for.
    pub(super) trigger: Trigger,
}

/// Plans the baseline side with the current side's workload.
///
/// # Errors
/// [`Error::Rebuild`] when it cannot be rebuilt, [`Error::Context`] when its results would
/// overwrite the stored ones; no daemon, or settings that make no plan.
pub(super) async fn rebuild(
    inputs: &Inputs,
    current: &Plan,
    stored: &BaselineSide,
) -> Result<Rebuilt, Error> {
    let set = stored.as_ref().ok();
    not_overwritten(&inputs.results_dir, set)?;
    let config = config(stored);
    let against = &inputs.against;
    let mut side = plan::rebuild(
        (&inputs.measure, current),
        against,
        config.as_ref().map_err(NotRebuildable::clone),
    )?;
    for note in &side.notes {
        tracing::warn!("{note}");
    }
    if let Some(model) = side.measure.model.as_ref().filter(|_| side.foreign_model)
        && Path::new(model.as_str()).exists()
    {
        let model = model.to_string();
        return Err(NotRebuildable::OtherModel { model }.into());
    }
    if let Some(pinned) = &side.pinned {
        side.measure.image = Some(find(inputs, pinned).await?);
    }
    let prepared = measure::prepare(&side.measure)?;
    tell(&prepared.plan);
    Ok(Rebuilt {
        prepared,
        trigger: trigger(&inputs.trigger, set),
    })
}

/// The pairs' baseline side has a place of its own, which must not be the stored baseline's.
fn not_overwritten(results_dir: &Path, stored: Option<&ResultSet>) -> Result<(), Error> {
    let real = |path: &Path| path.canonicalize().ok();
    let place = real(&results_dir.join(BASELINE_DIR));
    let own = stored.and_then(|set| real(set.path.parent()?));
    if place.is_some() && place == own {
        let why = "the baseline lies in the folder `baseline` of the results, where the baseline side of pairs goes";
        return Err(ContextError::Conflict {
            left: "baseline-dir",
            right: "results-dir",
            why,
        }
        .into());
    }
    Ok(())
}

fn config(stored: &BaselineSide) -> Result<Stored, NotRebuildable> {
    let set = match stored {
        Ok(set) => set,
        Err(why) => return Err(NotRebuildable::NoBaseline { why: why.clone() }),
    };
    if set.origin == Origin::Kitt {
        return Err(NotRebuildable::Silent);
    }
    let dir = set.path.parent().unwrap_or(Path::new("."));
    let config = results::read_config(dir, &Limits::default());
    let config = config.map_err(|error| NotRebuildable::Config {
        why: error.to_string(),
    })?;
    Stored::parse(&config.ok_or(NotRebuildable::Silent)?)
}

/// The image under its digest. An image that came from no registry has only its name, which must
/// still lead to the same image.
async fn find(inputs: &Inputs, pinned: &Pinned) -> Result<ImageRef, Error> {
    let repository = pinned.image.repository();
    let exact: Option<ImageRef> = format!("{repository}@{}", pinned.digest).parse().ok();
    let options = |auto_pull| ServeOptions {
        docker: inputs.measure.machine.docker.clone(),
        auto_pull,
        ..ServeOptions::new(clock::invocation())
    };
    let here = async |image: &ImageRef| {
        let source = ImageSource::Reference(image.clone());
        match serve::fetch(&source, &options(false)).await {
            Ok(found) => Ok(found.digest.as_deref() == Some(pinned.digest.as_str())),
            Err(ServeError::ImageMissing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    };
    if let Some(exact) = &exact
        && here(exact).await?
    {
        return Ok(exact.clone());
    }
    if here(&pinned.image).await? {
        return Ok(pinned.image.clone());
    }
    let gone = |why: String| Error::Rebuild(NotRebuildable::ImageGone { why });
    let Some(exact) = exact.filter(|_| inputs.measure.auto_pull) else {
        let why = format!(
            "{repository}@{} is not on this host, and nothing is pulled without --auto-pull",
            pinned.digest
        );
        return Err(gone(why));
    };
    let source = ImageSource::Reference(exact.clone());
    match serve::fetch(&source, &options(true)).await {
        Ok(_) => Ok(exact),
        Err(error @ ServeError::Pull { .. }) => Err(gone(Error::from(error).chain())),
        Err(error) => Err(error.into()),
    }
}

/// Says what the other side is made of.
fn tell(plan: &Plan) {
    let asked = &plan.asked;
    tracing::info!(
        engine = asked.engine,
        model = %asked.model,
        args = asked.args.join(" "),
        "the baseline side is rebuilt"
    );
}

/// Says when the stored baseline was measured with another workload.
pub(super) fn tell_workload(current: &Plan, stored: &BaselineSide) {
    let own = results::workload_digest(&current.scenarios, current.seed, current.skip_warmup);
    let print = stored
        .as_ref()
        .ok()
        .and_then(|set| set.fingerprint.as_ref());
    let theirs = print.and_then(|print| print.get("workload"));
    if theirs.is_some_and(|theirs| *theirs != own) {
        tracing::info!(
            "the stored baseline was measured with another workload: in pairs both sides get the current one"
        );
    }
}

/// Commit and run that the baseline's stored results belong to.
fn trigger(own: &Trigger, stored: Option<&ResultSet>) -> Trigger {
    let known = stored.map(|set| set.provenance.clone()).unwrap_or_default();
    Trigger {
        head: known.commit.and_then(|commit| commit.parse().ok()),
        git_ref: known.git_ref,
        run_url: known.run_url,
        ..own.clone()
    }
}
