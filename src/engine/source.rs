//! Where an engine gets its model from, and whether it can load it at all. Pure.

use std::path::Path;

use super::{About, Hub, LaunchError, LaunchRequest, ModelFacts, ModelFormat};

/// Quantisations that only special engines load; the others fail late and obscurely.
const SPECIAL: [&str; 3] = ["exl2", "exl3", "mlx"];

/// Where the model comes from.
pub(super) enum Source {
    /// The engine fetches it.
    Hub,
    /// A folder.
    Folder(String),
    /// A folder and a file in it.
    File(String, String),
}

/// Finds and checks the model.
pub(super) fn source(about: &About, request: &LaunchRequest) -> Result<Source, LaunchError> {
    let model = request.model.as_str();
    let wrong = |why: String| LaunchError::Model {
        model: request.model.clone(),
        why,
    };
    let path = Path::new(model);
    let gguf = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"));
    let local = request.facts.is_some() || path.is_absolute() || gguf || model.starts_with('.');
    if !local {
        return hub(about, request);
    }
    if !path.is_absolute() {
        return Err(wrong("give its absolute path".to_owned()));
    }
    if request.revision.is_some() {
        return Err(LaunchError::Unsupported {
            engine: about.name,
            what: "choose a revision of a model on this host",
            remedy: "leave --model-revision away, or give a hub id",
        });
    }
    // Without facts the name is all there is to go by.
    let guessed = if gguf {
        ModelFormat::Gguf
    } else {
        ModelFormat::Safetensors
    };
    let format = request.facts.as_ref().map_or(guessed, |facts| facts.format);
    if request.facts.is_some() || gguf {
        accepted(about, format, request.facts.as_ref()).map_err(wrong)?;
    }
    let file = request.facts.as_ref().and_then(|facts| facts.file.clone());
    let own = last(model);
    let folder = path.parent().map(|parent| parent.display().to_string());
    match (format, file) {
        (ModelFormat::Gguf, Some(file)) if file != own => Ok(Source::File(model.to_owned(), file)),
        (ModelFormat::Gguf, _) => Ok(Source::File(
            folder.ok_or_else(|| wrong("give the path of a .gguf file".to_owned()))?,
            own.to_owned(),
        )),
        _ if about.formats == [ModelFormat::Gguf] => {
            Err(wrong(format!("engine `{}` needs a .gguf file", about.name)))
        }
        _ => Ok(Source::Folder(model.to_owned())),
    }
}

/// Whether the engine loads what the model's header says it is.
fn accepted(about: &About, format: ModelFormat, facts: Option<&ModelFacts>) -> Result<(), String> {
    let engine = about.name;
    if !about.formats.contains(&format) {
        let takes: Vec<&str> = about.formats.iter().map(|format| format.name()).collect();
        let takes = takes.join(" or ");
        let format = format.name();
        return Err(format!(
            "its weights are {format}, engine `{engine}` takes {takes}: use another engine (`kitt engines list`) or another file of the model"
        ));
    }
    let method = facts.and_then(|facts| facts.quantisation.as_deref());
    if let Some(method) = method
        && SPECIAL.contains(&method)
        && !about.quantisations.contains(&method)
    {
        let remedy = match method {
            "exl3" => "use engine `tabbyapi`",
            "exl2" => {
                "TabbyAPI dropped ExLlamaV2 in 2026; serve it by an older TabbyAPI of your own and use engine `openai`, or take an EXL3 quantisation"
            }
            _ => "take the original weights or another quantisation",
        };
        return Err(format!(
            "it is quantised by {method}, which engine `{engine}` cannot load: {remedy}"
        ));
    }
    Ok(())
}

/// A model that the engine fetches itself.
fn hub(about: &About, request: &LaunchRequest) -> Result<Source, LaunchError> {
    match about.hub {
        Hub::None => Err(LaunchError::Model {
            model: request.model.clone(),
            why: format!(
                "engine `{}` fetches no models: download it and give its absolute path",
                about.name
            ),
        }),
        Hub::HuggingFace | Hub::Ollama if request.offline && request.cache.is_none() => {
            Err(LaunchError::Missing {
                engine: about.name,
                needs: "the model on this host when it may not use the network",
                remedy: "give its path, or --cache-dir with a cache that holds it",
            })
        }
        Hub::HuggingFace | Hub::Ollama => Ok(Source::Hub),
    }
}

/// The last part of a path.
pub(super) fn last(path: &str) -> &str {
    let name = Path::new(path).file_name().and_then(|name| name.to_str());
    name.unwrap_or(path)
}
