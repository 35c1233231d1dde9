//! `kitt run`: one session from start to end.

use std::path::Path;

use super::{
    clock,
    describe::ModelFiles,
    out,
    session::{Finished, Session, SessionOptions},
    signal::Stop,
    space, tell,
};
use crate::{
    cli::RunArgs,
    context::{self, ContextError, EnvSnapshot, Gpus, Inputs, Measure, Trigger},
    engine::{self, GpuSet, Hub, ImageSource, ModelFacts, Target},
    error::Error,
    exit::Exit,
    ids::{ModelRef, NameError},
    measure::Dialect,
    plan::{self, PlanError},
    results::{self, RunStatus, Side},
    secret::Secret,
    telemetry,
};

/// `kitt run`.
///
/// # Errors
/// Anything that stops the measurement.
pub(super) async fn run(args: &RunArgs, env: &EnvSnapshot, stop: &Stop) -> Result<Exit, Error> {
    let mut typed = args.settings.0.clone();
    if let Some(dir) = &args.output {
        typed.insert("results-dir", dir.display().to_string());
    }
    let mut inputs = context::resolve(&typed, env)?;
    // Standard output belongs to the document alone: no workflow commands there.
    inputs.publish.files.commands &= !args.json;
    let dialects = args
        .dialects
        .iter()
        .map(|name| Dialect::parse(name))
        .collect::<Result<Vec<_>, _>>()?;
    let finished = measure(&inputs, &inputs.results_dir, &dialects, stop).await?;
    let metrics = finished.dir.join("metrics.json");
    if args.json {
        for table in &finished.tables {
            tracing::info!("\n{table}");
        }
        let wrong = |source| Error::Write {
            path: metrics.clone(),
            source,
        };
        out::text(std::fs::read_to_string(&metrics).map_err(wrong)?.trim_end());
    } else {
        for table in &finished.tables {
            out::text(table);
        }
        out::text(&format!("results: {}", finished.dir.display()));
    }
    Ok(if finished.invalid {
        Exit::Invalid
    } else {
        Exit::Success
    })
}

/// Measures everything the inputs ask for into a directory.
///
/// # Errors
/// The inputs make no plan, or a run fails; what was measured until then is in the directory.
pub(super) async fn measure(
    inputs: &Inputs,
    dir: &Path,
    dialects: &[Dialect],
    stop: &Stop,
) -> Result<Finished, Error> {
    let prepared = prepare(&inputs.measure)?;
    let runs = prepared.plan.runs.get();
    let mut session = Start {
        dialects,
        ..Start::new(inputs, dir)
    }
    .begin(prepared)?;
    for number in 1..=runs {
        if let Err(error) = session.run_once(number, stop).await {
            session.end(number, &error)?;
            return Err(error);
        }
    }
    session.close(RunStatus::Complete)
}

/// How a session begins.
pub(super) struct Start<'a> {
    pub(super) inputs: &'a Inputs,
    /// Where its results go.
    pub(super) dir: &'a Path,
    /// Commit and run that its results belong to.
    pub(super) trigger: &'a Trigger,
    /// Rivals whose numbers are wanted too.
    pub(super) dialects: &'a [Dialect],
    /// Which side of a comparison it is.
    pub(super) side: Side,
    /// The other side, when both are measured in turn.
    pub(super) beside: Option<&'a Session>,
}

impl<'a> Start<'a> {
    /// The current side, alone.
    pub(super) const fn new(inputs: &'a Inputs, dir: &'a Path) -> Self {
        Self {
            inputs,
            dir,
            trigger: &inputs.trigger,
            dialects: &[],
            side: Side::Current,
            beside: None,
        }
    }

    /// Makes the results directory and says in it that a run is under way.
    ///
    /// # Errors
    /// The disk is full, the directory cannot be written, or the file of items is wrong.
    pub(super) fn begin(self, prepared: Prepared) -> Result<Session, Error> {
        space::enough(self.dir)?;
        if self.side == Side::Current {
            // Before anything starts: a file that is wrong must not cost a measurement.
            results::take_items(self.inputs.measure.items.as_deref(), self.dir)?;
        }
        let options = self.options(&prepared.model, prepared.files);
        Session::begin(prepared.plan, options)
    }

    fn options(self, model: &'a ModelRef, files: ModelFiles) -> SessionOptions<'a> {
        let inputs = self.inputs;
        SessionOptions {
            dir: self.dir,
            model,
            trigger: self.trigger,
            section: inputs.publish.section.as_ref(),
            machine: &inputs.measure.machine,
            auto_pull: inputs.measure.auto_pull,
            request_timeout: inputs.measure.request_timeout,
            run_id: inputs
                .trigger
                .run_id
                .clone()
                .unwrap_or_else(clock::invocation),
            secrets: inputs
                .publish
                .token
                .iter()
                .chain(&inputs.measure.load.api_key)
                .chain(&inputs.measure.hf_token)
                .cloned()
                .collect(),
            mask: inputs
                .publish
                .files
                .commands
                .then_some(tell::hide_one as fn(&Secret)),
            bearer: inputs.measure.load.api_key.clone(),
            dialects: self.dialects.to_vec(),
            files,
            side: self.side,
            beside: self.beside,
        }
    }
}

/// What a session is made of.
pub(super) struct Prepared {
    pub(super) plan: plan::Plan,
    /// The model as typed.
    pub(super) model: ModelRef,
    /// What is known of its files.
    pub(super) files: ModelFiles,
}

/// Plans a measurement.
///
/// # Errors
/// The settings make no plan, or the model's files cannot be served.
pub(super) fn prepare(measure: &Measure) -> Result<Prepared, Error> {
    let Some(name) = measure.engine.as_deref() else {
        let known: Vec<_> = engine::ENGINES.iter().map(|engine| engine.name()).collect();
        let remedy = format!("give --engine, one of {}", known.join(", "));
        return Err(ContextError::Missing {
            name: "engine",
            remedy,
        }
        .into());
    };
    let Some(model) = measure.model.clone() else {
        let remedy = "give --model: a path on this host or a hub id".to_owned();
        return Err(ContextError::Missing {
            name: "model",
            remedy,
        }
        .into());
    };
    let (located, facts) = locate(name, &model)?;
    let files = ModelFiles {
        revision: measure.model_revision.clone(),
        quantisation: facts.as_ref().and_then(|facts| facts.quantisation.clone()),
    };
    let plan = plan::build(measure, &located, facts, gpus(&measure.gpus))?;
    advise(&plan, &located, measure);
    make_caches(&plan)?;
    Ok(Prepared { plan, model, files })
}

/// What the model's files say, for engines that load files; the model by its absolute path then.
/// What was typed goes on naming it in results.
fn locate(name: &str, model: &ModelRef) -> Result<(ModelRef, Option<ModelFacts>), Error> {
    let engine = engine::find(name).map_err(PlanError::Launch)?;
    if engine.about().formats.is_empty() {
        return Ok((model.clone(), None));
    }
    let Some(facts) = context::read_model(model)? else {
        return Ok((model.clone(), None));
    };
    let path = std::path::absolute(model.as_str()).map_err(|source| ContextError::Model {
        path: model.as_str().into(),
        why: source.to_string(),
    })?;
    let located = path.display().to_string().parse();
    let located = located.map_err(|error: NameError| ContextError::Model {
        path,
        why: error.to_string(),
    })?;
    tracing::info!(
        format = facts.format.name(),
        architecture = facts.architecture,
        quantisation = facts.quantisation,
        "the model's files were read"
    );
    Ok((located, Some(facts)))
}

/// What will work and is not wise.
fn advise(plan: &plan::Plan, model: &ModelRef, measure: &Measure) {
    let Target::Container(container) = &plan.launch.target else {
        return;
    };
    if let ImageSource::Reference(image) = &container.image
        && engine::moves(image.as_str())
    {
        tracing::warn!(%image, "the image's tag does not stand still, so a slower image looks like a slower change: give --image with a version or a digest");
    }
    let fetched = engine::find(plan.engine).is_ok_and(|engine| engine.about().hub != Hub::None)
        && container.mounts.iter().all(|mount| mount.writable);
    if fetched && measure.cache_dir.is_none() {
        tracing::warn!(%model, "the model is downloaded anew for each run: give --cache-dir to keep it");
    }
}

/// Caches are folders of ours: Docker would refuse to mount what is not there.
fn make_caches(plan: &plan::Plan) -> Result<(), Error> {
    let Target::Container(container) = &plan.launch.target else {
        return Ok(());
    };
    for mount in container.mounts.iter().filter(|mount| mount.writable) {
        std::fs::create_dir_all(&mount.host).map_err(|source| Error::Write {
            path: mount.host.clone(),
            source,
        })?;
    }
    Ok(())
}

/// The GPUs for the engine.
pub(super) fn gpus(asked: &Gpus) -> GpuSet {
    match asked {
        Gpus::None => GpuSet::None,
        Gpus::Listed(uuids) => GpuSet::Nvidia(uuids.clone()),
        Gpus::Amd(numbers) => GpuSet::Amd(numbers.clone()),
        Gpus::Auto => match telemetry::gpus() {
            Ok(gpus) => GpuSet::Nvidia(gpus.into_iter().map(|gpu| gpu.uuid).collect()),
            Err(none) => {
                tracing::info!("{none}");
                GpuSet::None
            }
        },
    }
}

/// One command that repeats this measurement, for the report. Only what was given: no token.
pub(super) fn command_line(inputs: &Inputs) -> String {
    let skip = [
        "github-token",
        "repo",
        "pr",
        "results-dir",
        "config",
        "post-comment",
        "key",
        "baseline-dir",
    ];
    let given = inputs.layers.explain().into_iter();
    let given = given.filter(|(name, _, source)| {
        !skip.contains(name) && source != "default" && source != "not set"
    });
    let words = given.flat_map(|(name, value, _)| [format!("--{name}={value}")]);
    let words: Vec<String> = ["kitt".to_owned(), "ci".to_owned(), "run".to_owned()]
        .into_iter()
        .chain(words)
        .collect();
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| "kitt ci run".to_owned())
}
