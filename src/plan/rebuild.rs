//! The baseline side of pairs: the current side's settings with the baseline's engine.
//!
//! In: what the current side does, what stored results say of theirs, what was typed. Out: the
//! settings of the other side, or why it cannot be had. The workload, the GPUs, the limits of the
//! container, its environment, its caches and the host's paths are always the current side's own:
//! stored results may come from an artifact that anybody wrote, and must not reach further than
//! the person who started this run.

use super::{Asked, Plan, Stored};
use crate::{
    context::{Against, Measure, is_path},
    engine::{self, ContainerSpec, Hub, ImageSource, Mode, Target},
    ids::{ImageRef, ModelRef},
};

/// An argument that lets a model's repository bring its own code, as engines write it.
const FOREIGN_CODE: [&str; 2] = ["trust-remote-code", "trust_remote_code"];

/// Why the baseline side cannot be rebuilt; says what to give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRebuildable {
    /// A server that somebody else runs.
    #[error("the engine is a server that somebody else runs: kitt cannot restart it")]
    Endpoint,
    /// Nothing is known of a baseline.
    #[error(
        "nothing says what the baseline is: give --baseline-dir, or --baseline-image, --baseline-args or --baseline-model ({why})"
    )]
    NoBaseline {
        /// Why there is none.
        why: String,
    },
    /// Results of an older kitt, or of KITT.
    #[error(
        "the baseline's config.json does not say how its engine was asked for: measure the baseline again, or give --baseline-image, --baseline-args or --baseline-model"
    )]
    Silent,
    /// Values that nobody could have typed.
    #[error("the baseline's config.json is not believed: {why}")]
    Config {
        /// What is wrong with it.
        why: String,
    },
    /// Another engine, or another place for it.
    #[error(
        "the baseline was measured on {baseline}, this side on {current}: pairs compare one engine at one place"
    )]
    OtherEngine {
        /// The baseline's engine and mode.
        baseline: String,
        /// The current side's.
        current: String,
    },
    /// An image of another repository.
    #[error(
        "the baseline's image {baseline} is not of {current}: stored results may choose a version, not another image; give --baseline-image"
    )]
    OtherImage {
        /// The baseline's image.
        baseline: String,
        /// The current side's repository.
        current: String,
    },
    /// No digest was stored.
    #[error("the baseline does not say which image ran: give --baseline-image")]
    NoImage,
    /// A model on the host that this side was not given.
    #[error(
        "the baseline's model {model} is a path of a host and not this run's own: give --baseline-model"
    )]
    OtherModel {
        /// The model.
        model: String,
    },
    /// Arguments that this side was not given.
    #[error("the baseline's engine arguments {why}: give --baseline-args")]
    OtherArgs {
        /// Why they are not taken.
        why: &'static str,
    },
    /// The image is gone.
    #[error("the baseline's image cannot be had: {why}; give --baseline-image")]
    ImageGone {
        /// What was tried.
        why: String,
    },
}

/// The baseline side as far as settings tell.
#[derive(Debug, Clone)]
pub struct Rebuilt {
    /// Its settings; the image is missing where `pinned` has it.
    pub measure: Measure,
    /// The image that ran, to be found under its digest.
    pub pinned: Option<Pinned>,
    /// Whether the model was named by stored results and by nobody else.
    pub foreign_model: bool,
    /// What a reader must know about it, as sentences.
    pub notes: Vec<String>,
}

/// An image with the digest it had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// As it was named.
    pub image: ImageRef,
    /// `sha256:…`: of its repository, or the image's own id.
    pub digest: String,
}

/// Makes the baseline side's settings. What was typed for it comes first, then what is stored,
/// and where there is neither the current side's own.
///
/// # Errors
/// [`NotRebuildable`] with what to give.
pub fn rebuild(
    current: (&Measure, &Plan),
    against: &Against,
    stored: Result<&Stored, NotRebuildable>,
) -> Result<Rebuilt, NotRebuildable> {
    let (measure, plan) = current;
    let target = &plan.launch.target;
    if matches!(target, Target::Endpoint(_)) {
        return Err(NotRebuildable::Endpoint);
    }
    let mut notes = Vec::new();
    let stored = stored.and_then(|stored| same_engine(stored, &plan.asked).map(|()| stored));
    let stored = match stored {
        Ok(stored) => Some(stored),
        Err(reason) if !against.is_given() => return Err(reason),
        Err(_) => None,
    };
    let mut side = measure.clone();
    let pinned = image(&mut side, target, against, stored, &mut notes)?;
    args(&mut side, target, against, stored)?;
    let foreign_model = model(&mut side, plan.engine, against, stored)?;
    if foreign_model && side.hf_token.take().is_some() {
        notes.push(
            "the token for gated models is not given to a model that only stored results name"
                .to_owned(),
        );
    }
    Ok(Rebuilt {
        measure: side,
        pinned,
        foreign_model,
        notes,
    })
}

fn same_engine(stored: &Stored, current: &Asked) -> Result<(), NotRebuildable> {
    let asked = &stored.asked;
    if asked.engine == current.engine && asked.mode == current.mode {
        return Ok(());
    }
    let place = |asked: &Asked| {
        let place = match asked.mode {
            Some(Mode::Docker) => "in a container",
            Some(Mode::Native) => "on the host",
            None => "as a server of somebody else",
        };
        format!("{} {place}", asked.engine)
    };
    Err(NotRebuildable::OtherEngine {
        baseline: place(asked),
        current: place(current),
    })
}

fn image(
    side: &mut Measure,
    target: &Target,
    against: &Against,
    stored: Option<&Stored>,
    notes: &mut Vec<String>,
) -> Result<Option<Pinned>, NotRebuildable> {
    let Target::Container(container) = target else {
        if matches!(target, Target::Process(_)) {
            notes.push("both sides start the program of this host: a change of its version is not seen in pairs".to_owned());
        }
        return Ok(None);
    };
    if let Some(image) = &against.image {
        side.image = Some(image.clone());
        return Ok(None);
    }
    let Some(stored) = stored else {
        return Ok(None);
    };
    if let Some(own) = repository(container) {
        return pinned(stored, &own).map(Some);
    }
    notes.push(
        "the simulated engine is a part of kitt: both sides run this version of it".to_owned(),
    );
    Ok(None)
}

/// Where the current side's image comes from; `None`: it is made of this program.
fn repository(container: &ContainerSpec) -> Option<String> {
    match &container.image {
        ImageSource::Reference(image) => Some(image.repository()),
        ImageSource::RunningBinary => None,
    }
}

fn pinned(stored: &Stored, own: &str) -> Result<Pinned, NotRebuildable> {
    let image = stored.image.clone().ok_or(NotRebuildable::NoImage)?;
    if image.repository() != own {
        return Err(NotRebuildable::OtherImage {
            baseline: image.to_string(),
            current: own.to_owned(),
        });
    }
    let digest = stored.digest.clone();
    let digest = digest.or_else(|| image.digest().map(str::to_owned));
    Ok(Pinned {
        digest: digest.ok_or(NotRebuildable::NoImage)?,
        image,
    })
}

fn args(
    side: &mut Measure,
    target: &Target,
    against: &Against,
    stored: Option<&Stored>,
) -> Result<(), NotRebuildable> {
    let refused = |why| Err(NotRebuildable::OtherArgs { why });
    if let Some(args) = &against.args {
        side.engine_args.clone_from(args);
        return Ok(());
    }
    let Some(stored) = stored else {
        return Ok(());
    };
    let args = &stored.asked.args;
    if *args == side.engine_args {
        return Ok(());
    }
    if matches!(target, Target::Process(_)) {
        return refused("are for a program of this host, which takes none from stored results");
    }
    let foreign = |args: &[String]| {
        let names = |arg: &String| FOREIGN_CODE.iter().any(|name| arg.contains(name));
        args.iter().any(names)
    };
    if foreign(args) && !foreign(&side.engine_args) {
        return refused("let a model bring its own code, and this side's do not");
    }
    side.engine_args.clone_from(args);
    Ok(())
}

/// Whether the model is one that only stored results name.
fn model(
    side: &mut Measure,
    engine: &str,
    against: &Against,
    stored: Option<&Stored>,
) -> Result<bool, NotRebuildable> {
    if let Some(model) = &against.model {
        if side.model.as_ref() != Some(model) {
            side.model_revision = None;
        }
        side.model = Some(model.clone());
        return Ok(false);
    }
    let Some(stored) = stored else {
        return Ok(false);
    };
    let asked = &stored.asked;
    side.model_revision.clone_from(&asked.revision);
    if side.model.as_ref() == Some(&asked.model) {
        return Ok(false);
    }
    let about = engine::find(engine).map(engine::Engine::about);
    let (fetches, loads) = about.map_or((false, true), |about| {
        (about.hub != Hub::None, !about.formats.is_empty())
    });
    if loads && !(fetches && is_hub_id(&asked.model)) {
        return Err(NotRebuildable::OtherModel {
            model: asked.model.to_string(),
        });
    }
    side.model = Some(asked.model.clone());
    Ok(true)
}

/// Whether a name can only be a hub's: `name`, `org/name`, or with the hub's host before it.
fn is_hub_id(model: &ModelRef) -> bool {
    let name = model.as_str();
    let parts = name.split('/').collect::<Vec<_>>();
    !is_path(name) && parts.len() <= 3 && parts.iter().all(|part| !part.is_empty() && *part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::Typed,
        context::{EnvSnapshot, Inputs, resolve},
        engine::GpuSet,
        plan,
    };

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn inputs(settings: &[(&'static str, &str)]) -> Inputs {
        let typed: Typed = settings
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        resolve(&typed, &EnvSnapshot::default()).unwrap()
    }

    const VLLM: [(&str, &str); 5] = [
        ("engine", "vllm"),
        ("model", "org/name"),
        ("image", "vllm/vllm-openai:v0.11.0"),
        ("engine-args", "--max-num-seqs 128"),
        ("hf-token", "hf_secret"),
    ];

    fn stored(change: impl FnOnce(&mut Stored)) -> Stored {
        let mut stored = Stored {
            asked: Asked {
                engine: "vllm".to_owned(),
                mode: Some(Mode::Docker),
                model: "org/name".parse().unwrap(),
                revision: Some("abc".to_owned()),
                args: vec!["--max-num-seqs".to_owned(), "64".to_owned()],
            },
            image: Some("vllm/vllm-openai:v0.10.0".parse().unwrap()),
            digest: Some(DIGEST.to_owned()),
        };
        change(&mut stored);
        stored
    }

    fn side(
        settings: &[(&'static str, &str)],
        more: &[(&'static str, &str)],
        stored: Result<&Stored, NotRebuildable>,
    ) -> Result<Rebuilt, NotRebuildable> {
        let inputs = inputs(&[settings, more].concat());
        let model = inputs.measure.model.clone().unwrap();
        let plan = plan::build(&inputs.measure, &model, None, GpuSet::None).unwrap();
        rebuild((&inputs.measure, &plan), &inputs.against, stored)
    }

    #[test]
    fn engine_and_model_are_the_baselines_and_the_rest_is_the_current_sides() {
        let stored = stored(|_| {});
        let more = [("seed", "7"), ("memory", "512")];
        let built = side(&VLLM, &more, Ok(&stored)).unwrap();
        let pinned = built.pinned.unwrap();
        assert_eq!(pinned.image.as_str(), "vllm/vllm-openai:v0.10.0");
        assert_eq!(pinned.digest, DIGEST);
        let measure = built.measure;
        assert_eq!(measure.engine_args, ["--max-num-seqs", "64"]);
        assert_eq!(measure.model_revision.as_deref(), Some("abc"));
        assert_eq!((measure.seed, measure.memory.is_some()), (7, true));
        assert!(measure.hf_token.is_some(), "it is the same model");
    }

    #[test]
    fn what_was_typed_comes_first() {
        let stored = stored(|_| {});
        let more = [
            ("baseline-image", "mine/vllm:1"),
            ("baseline-args", "-x 1"),
            ("baseline-model", "org/other"),
        ];
        for known in [Ok(&stored), Err(NotRebuildable::Silent)] {
            let built = side(&VLLM, &more, known).unwrap();
            assert_eq!(built.pinned, None);
            let measure = built.measure;
            assert_eq!(measure.image.unwrap().as_str(), "mine/vllm:1");
            assert_eq!(measure.engine_args, ["-x", "1"]);
            assert_eq!(measure.model.unwrap().as_str(), "org/other");
            assert_eq!(measure.model_revision, None);
        }
        // Without anything stored, what was not typed is the current side's own.
        let built = side(&VLLM, &more[1..2], Err(NotRebuildable::Silent)).unwrap();
        assert_eq!(built.measure.image.unwrap().as_str(), VLLM[2].1);
    }

    #[test]
    fn stored_results_choose_a_version_and_reach_no_further() {
        let refused = |change: fn(&mut Stored)| {
            let stored = stored(change);
            side(&VLLM, &[], Ok(&stored)).unwrap_err().to_string()
        };
        let other_image =
            refused(|it| it.image = Some("evil/vllm-openai:v0.10.0".parse().unwrap()));
        assert!(other_image.contains("--baseline-image"), "{other_image}");
        let no_image = refused(|it| it.image = None);
        assert!(no_image.contains("--baseline-image"), "{no_image}");
        let engine = refused(|it| it.asked.engine = "sglang".to_owned());
        assert!(engine.contains("sglang in a container"), "{engine}");
        let place = refused(|it| it.asked.mode = Some(Mode::Native));
        assert!(place.contains("on the host"), "{place}");
        let code = refused(|it| it.asked.args.push("--trust-remote-code".to_owned()));
        assert!(code.contains("--baseline-args"), "{code}");
        for path in ["/etc", "./model", "a/../../etc", "x.gguf", "a/b/c/d"] {
            let stored = stored(|it| it.asked.model = path.parse().unwrap());
            let error = side(&VLLM, &[], Ok(&stored)).unwrap_err().to_string();
            assert!(error.contains("--baseline-model"), "{path}: {error}");
        }
    }

    #[test]
    fn a_model_that_only_stored_results_name_gets_no_token() {
        let stored = stored(|it| it.asked.model = "org/other".parse().unwrap());
        let built = side(&VLLM, &[], Ok(&stored)).unwrap();
        assert!(built.foreign_model && built.measure.hf_token.is_none());
        assert!(built.notes.iter().any(|note| note.contains("token")));
    }

    #[test]
    fn a_program_of_this_host_takes_no_arguments_from_stored_results() {
        let native = [("mode", "native"), ("image", "")];
        let settings: Vec<_> = VLLM
            .iter()
            .filter(|(name, _)| *name != "image")
            .copied()
            .collect();
        let stored = stored(|it| it.asked.mode = Some(Mode::Native));
        let error = side(&settings, &native[..1], Ok(&stored)).unwrap_err();
        assert!(matches!(error, NotRebuildable::OtherArgs { .. }), "{error}");
        let given = [native[0], ("baseline-args", "--max-num-seqs 64")];
        let built = side(&settings, &given, Ok(&stored)).unwrap();
        assert!(built.notes[0].contains("program of this host"));
    }

    #[test]
    fn the_simulator_and_servers_of_others() {
        let sim = [("engine", "sim"), ("model", "m")];
        let stored = stored(|it| {
            it.asked.engine = "sim".to_owned();
            it.asked.mode = Some(Mode::Native);
            it.asked.args = vec!["--slowdown=0".to_owned()];
        });
        let built = side(&sim, &[("engine-args", "--slowdown=1")], Ok(&stored)).unwrap();
        assert_eq!(built.measure.engine_args, ["--slowdown=0"]);
        let server = [
            ("engine", "openai"),
            ("model", "m"),
            ("endpoint", "http://127.0.0.1:1"),
            ("baseline-args", "-x"),
        ];
        let error = side(&server, &[], Ok(&stored)).unwrap_err();
        assert_eq!(error, NotRebuildable::Endpoint);
    }

    #[test]
    fn without_anything_the_reason_is_passed_on() {
        let why = "none was given".to_owned();
        let none = NotRebuildable::NoBaseline { why };
        let error = side(&VLLM, &[], Err(none.clone())).unwrap_err();
        assert_eq!(error, none);
        assert!(error.to_string().contains("--baseline-dir"));
    }
}
