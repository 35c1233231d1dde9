//! `kitt engines`: which there are, and making them ready on this host.

use serde_json::{Value, json};

use super::{clock, measure, out};
use crate::{
    cli::{EnginesCommand, SetupArgs, Typed},
    context::{self, EnvSnapshot, Machine, Measure},
    engine::{self, About, ENGINES, ImageSource, LaunchError, Mode, moves},
    error::Error,
    exit::Exit,
    plan::PlanError,
    serve::{self, ServeError, ServeOptions},
};

/// `kitt engines …`.
///
/// # Errors
/// A setting from file or environment is wrong, no such engine, no daemon, a failed pull.
pub(super) async fn run(command: &EnginesCommand, env: &EnvSnapshot) -> Result<Exit, Error> {
    match command {
        EnginesCommand::List(args) => list(args.json),
        EnginesCommand::Setup(args) => setup(args, &settings(env)?).await?,
        EnginesCommand::Status(args) => Box::pin(status(args.json, &settings(env)?)).await,
    }
    Ok(Exit::Success)
}

fn settings(env: &EnvSnapshot) -> Result<Measure, Error> {
    Ok(context::resolve(&Typed::new(), env)?.measure)
}

fn abouts() -> impl Iterator<Item = &'static About> {
    ENGINES.iter().map(|engine| engine.about())
}

fn list(json: bool) {
    if json {
        let engines: Vec<Value> = abouts().map(described).collect();
        out::text(&format!("{:#}", Value::Array(engines)));
        return;
    }
    let row = |about: &'static About| {
        let [modes, formats] = [modes(about), formats(about)].map(|words| words.join(", "));
        vec![
            about.name.to_owned(),
            modes,
            formats,
            default_image(about),
            about.summary.to_owned(),
        ]
    };
    let head = ["NAME", "MODES", "MODELS", "IMAGE", "WHAT IT IS"].map(str::to_owned);
    columns(
        std::iter::once(head.to_vec())
            .chain(abouts().map(row))
            .collect(),
    );
}

/// An engine's facts as JSON.
fn described(about: &'static About) -> Value {
    let images = about.images.all().into_iter();
    let images = images.map(|(kind, image)| (kind.to_owned(), json!(image)));
    let port = (about.port > 0).then_some(about.port);
    json!({
        "name": about.name,
        "aliases": about.aliases,
        "summary": about.summary,
        "modes": modes(about),
        "formats": formats(about),
        "images": images.collect::<serde_json::Map<_, _>>(),
        "port": port,
        "command": about.command.join(" "),
    })
}

fn modes(about: &About) -> Vec<&'static str> {
    let name = |mode: &Mode| match mode {
        Mode::Docker => "docker",
        Mode::Native => "native",
    };
    about.modes.iter().map(name).collect()
}

fn formats(about: &About) -> Vec<&'static str> {
    about.formats.iter().map(|format| format.name()).collect()
}

/// The image of most runners; a tag that moves says so.
fn default_image(about: &About) -> String {
    match about.images.all().first() {
        Some((_, image)) if moves(image) => format!("{image} (moving tag)"),
        Some((_, image)) => (*image).to_owned(),
        None => String::new(),
    }
}

async fn setup(args: &SetupArgs, settings: &Measure) -> Result<(), Error> {
    let about = engine::find(&args.engine)
        .map_err(PlanError::Launch)?
        .about();
    let source = source(about, args, settings)?;
    let options = ServeOptions {
        docker: settings.machine.docker.clone(),
        auto_pull: true,
        ..ServeOptions::new(clock::invocation())
    };
    let image = Box::pin(serve::fetch(&source, &options)).await?;
    let digest = image.digest.unwrap_or_else(|| "no digest".to_owned());
    out::text(&format!("{}: {} ({digest})", about.name, image.reference));
    Ok(())
}

/// The image to make available: as asked, else what a run on this host would choose.
fn source(about: &About, args: &SetupArgs, settings: &Measure) -> Result<ImageSource, Error> {
    let wrong = |what, remedy| {
        Error::Plan(PlanError::Launch(LaunchError::Unsupported {
            engine: about.name,
            what,
            remedy,
        }))
    };
    if !about.modes.contains(&Mode::Docker) {
        return Err(wrong(
            "be set up",
            "it runs already; nothing has to be pulled",
        ));
    }
    if let Some(image) = &args.image {
        return Ok(ImageSource::Reference(image.clone()));
    }
    if about.images.all().is_empty() {
        return Ok(ImageSource::RunningBinary);
    }
    let image = about
        .images
        .of(&measure::gpus(&settings.gpus))
        .ok_or_else(|| {
            wrong(
                "be set up for the GPUs of this host",
                "none of its images is for them: give --image",
            )
        })?;
    let image = image.parse().map_err(LaunchError::Image);
    Ok(ImageSource::Reference(image.map_err(PlanError::Launch)?))
}

/// What this host has of an engine.
struct Look {
    about: &'static About,
    /// Images on the daemon and their digests.
    images: Vec<(String, Option<String>)>,
    /// Version of the program on this host.
    native: Option<String>,
}

impl Look {
    fn json(&self) -> Value {
        let images = self.images.iter();
        let images = images.map(|(image, digest)| (image.clone(), json!(digest)));
        let images: serde_json::Map<_, _> = images.collect();
        json!({ "name": self.about.name, "images": images, "native": self.native })
    }

    fn row(&self) -> Vec<String> {
        let images: Vec<&str> = self
            .images
            .iter()
            .map(|(image, _)| image.as_str())
            .collect();
        let images = if images.is_empty() {
            "none".to_owned()
        } else {
            images.join(", ")
        };
        let native = match &self.native {
            Some(version) => version.as_str(),
            None if self.about.version.is_empty() => "-",
            None => "none",
        };
        vec![self.about.name.to_owned(), images, native.to_owned()]
    }
}

async fn status(json: bool, settings: &Measure) {
    let machine = &settings.machine;
    let daemon = serve::connect(&machine.docker).await;
    let docker = match &daemon {
        Ok(daemon) => format!("{} at {}", daemon.version, daemon.address),
        Err(error) => error.to_string(),
    };
    let looks = abouts().map(async |about| Look {
        about,
        images: if daemon.is_ok() {
            images(about, machine).await
        } else {
            Vec::new()
        },
        native: context::version_of(about.version, &machine.passed_on).await,
    });
    let looks = futures_util::future::join_all(looks).await;
    if json {
        let engines: Vec<Value> = looks.iter().map(Look::json).collect();
        let usable = daemon.is_ok();
        let text = json!({ "docker": docker, "docker_usable": usable, "engines": engines });
        out::text(&format!("{text:#}"));
        return;
    }
    out::text(&format!("Docker: {docker}"));
    let head = ["NAME", "IMAGES ON THE DAEMON", "ON THIS HOST"].map(str::to_owned);
    columns(
        std::iter::once(head.to_vec())
            .chain(looks.iter().map(Look::row))
            .collect(),
    );
}

/// Which of an engine's default images are on the daemon, with their digests.
async fn images(about: &About, machine: &Machine) -> Vec<(String, Option<String>)> {
    // No pulls: this only looks.
    let options = ServeOptions {
        docker: machine.docker.clone(),
        ..ServeOptions::new("status")
    };
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    for (_, image) in about.images.all() {
        let Ok(reference) = image.parse() else {
            continue;
        };
        let source = ImageSource::Reference(reference);
        match serve::fetch(&source, &options).await {
            Ok(facts) if found.iter().all(|(known, _)| *known != facts.reference) => {
                found.push((facts.reference, facts.digest));
            }
            Ok(_) | Err(ServeError::ImageMissing { .. }) => {}
            Err(error) => tracing::warn!(image, %error, "cannot look at the image"),
        }
    }
    found
}

/// Writes rows in columns as wide as their widest cell; the last column is not padded.
fn columns(rows: Vec<Vec<String>>) {
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        for (at, cell) in row.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(at) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    let line = |row: Vec<String>| {
        let cells = row.iter().zip(&widths);
        let padded: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let lines: Vec<String> = rows.into_iter().map(line).collect();
    out::text(&lines.join("\n"));
}
