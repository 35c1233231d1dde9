//! What the files of a local model say of themselves, read before anything is started: a wrong
//! format, a missing part or a broken download costs a second here and minutes inside an engine.
//!
//! In: a model as typed. Out: [`ModelFacts`], or `None` for a hub id. The bytes are read here,
//! with bounds; what they mean is `engine`'s.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::ContextError;
use crate::{
    engine::{
        Config, Gguf, HeaderError, LENGTH_BYTES, ModelFacts, ModelFormat, header_length, main_dtype,
    },
    ids::ModelRef,
};

/// A folder with more entries is no model's.
const MOST_ENTRIES: usize = 10_000;
/// Bytes of a GGUF header read at first, and at most: vocabularies stand inside it.
const GGUF_FIRST: u64 = 1 << 20;
const GGUF_MOST: u64 = 64 << 20;
/// The longest `config.json` or index, in bytes.
const MOST_JSON: u64 = 32 << 20;
/// Endings of pickled PyTorch weights.
const PICKLES: [&str; 3] = ["bin", "pt", "pth"];
/// How many candidates an error lists.
const LISTED: usize = 12;

/// Reads the headers of a model on this host. `None`: there are no such files, and the name is
/// one that a hub could have.
///
/// # Errors
/// The files are there and cannot be served: incomplete, broken, of no known format, or several
/// models in one folder. A name that can only be a path, and nothing is there.
pub fn read_model(model: &ModelRef) -> Result<Option<ModelFacts>, ContextError> {
    let path = Path::new(model.as_str());
    let read = match fs::metadata(path) {
        Ok(found) if found.is_dir() => folder(path),
        Ok(_) => file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_path(model.as_str()) => {
            return Ok(None);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err("nothing is there: check the path, or give a hub id such as org/name".to_owned())
        }
        Err(error) => Err(format!("it cannot be read: {error}")),
    };
    read.map(Some).map_err(|why| ContextError::Model {
        path: path.to_owned(),
        why,
    })
}

/// Whether a model's name can only mean a path on this host.
pub fn is_path(model: &str) -> bool {
    let path = Path::new(model);
    let starts = path.is_absolute() || model.starts_with("./") || model.starts_with("../");
    starts || has_ending(path, &["gguf", "safetensors"])
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| {
        endings
            .iter()
            .any(|known| ending.eq_ignore_ascii_case(known))
    })
}

/// A single file: GGUF is the only format of one file.
fn file(path: &Path) -> Result<ModelFacts, String> {
    if has_ending(path, &["safetensors", "bin", "pt", "pth"]) {
        return Err(
            "a single weights file cannot be served: give its folder, which holds config.json too"
                .to_owned(),
        );
    }
    let header = gguf(path)?;
    if !header.is_model() {
        return Err(
            "it is a projector or an adapter, not a model: give the model's own file".to_owned(),
        );
    }
    let folder = path.parent().unwrap_or(path);
    complete_split(folder, path, &header)?;
    Ok(gguf_facts(folder, path, &header))
}

/// A folder: safetensors before PyTorch before GGUF, as KITT chooses.
fn folder(path: &Path) -> Result<ModelFacts, String> {
    let files = entries(path)?;
    let with = |endings: &[&str]| -> Vec<PathBuf> {
        let chosen = files.iter().filter(|file| has_ending(file, endings));
        chosen.cloned().collect()
    };
    let (safetensors, pickles, ggufs) = (with(&["safetensors"]), with(&PICKLES), with(&["gguf"]));
    let config = path.join("config.json");
    if !safetensors.is_empty() && (config.exists() || ggufs.is_empty()) {
        return weights(path, &safetensors, ModelFormat::Safetensors);
    }
    if !ggufs.is_empty() {
        return one_gguf(path, &ggufs);
    }
    if !pickles.is_empty() && config.exists() {
        return weights(path, &pickles, ModelFormat::Pytorch);
    }
    Err("no model is in this folder: neither config.json with .safetensors or .bin files, nor a .gguf file".to_owned())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error: io::Error| format!("it cannot be read: {error}");
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        files.push(entry.map_err(unreadable)?.path());
        if files.len() > MOST_ENTRIES {
            return Err(format!(
                "it holds more than {MOST_ENTRIES} files: give the model's own folder"
            ));
        }
    }
    files.sort();
    Ok(files)
}

/// A folder with `config.json` and weights in one or several files.
fn weights(folder: &Path, files: &[PathBuf], format: ModelFormat) -> Result<ModelFacts, String> {
    let config = folder.join("config.json");
    if !config.exists() {
        return Err(if folder.join("adapter_config.json").exists() {
            "it is an adapter (LoRA), not a model: merge it into its base model first".to_owned()
        } else {
            "config.json is missing (a download that was cut short?)".to_owned()
        });
    }
    let text = json_file(&config)?;
    let config = Config::parse(&text).map_err(|error| told(&config, &error))?;
    let index = match format {
        ModelFormat::Pytorch => "pytorch_model.bin.index.json",
        ModelFormat::Safetensors | ModelFormat::Gguf => "model.safetensors.index.json",
    };
    indexed(folder, index)?;
    let mut dtype = config.dtype;
    for file in files.iter().filter(|_| format == ModelFormat::Safetensors) {
        let stored = safetensors(file).map_err(|error| told(file, &error))?;
        dtype = dtype.or(stored);
    }
    Ok(ModelFacts {
        format,
        architecture: config.architecture,
        quantisation: config.quantisation,
        dtype,
        context_length: config.context_length,
        file: None,
        linked: files.iter().any(|file| leads_out(folder, file)),
    })
}

/// The index of a model in several files names them all.
#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    weight_map: BTreeMap<String, String>,
}

/// Every file that the index names is there.
fn indexed(folder: &Path, index: &str) -> Result<(), String> {
    let path = folder.join(index);
    if !path.exists() {
        return Ok(());
    }
    let index: Index = serde_json::from_slice(&json_file(&path)?)
        .map_err(|error| format!("{}: {error}", shown(&path)))?;
    let named: BTreeSet<String> = index.weight_map.into_values().collect();
    // A name with a slash would lead elsewhere; such a file cannot be a part.
    let absent = named
        .iter()
        .filter(|name| name.contains('/') || !folder.join(name).exists());
    let absent: Vec<&str> = absent.map(String::as_str).collect();
    if absent.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "parts are missing: {} (a download that was cut short?)",
            listed(&absent)
        ))
    }
}

/// The one model among GGUF files: projectors and adapters are passed over, a split model counts
/// once.
fn one_gguf(folder: &Path, files: &[PathBuf]) -> Result<ModelFacts, String> {
    let mut models = Vec::new();
    for path in files {
        let header = gguf(path)?;
        // Later parts repeat only the split's own keys.
        if header.is_model() && header.split_number == 0 {
            models.push((path, header));
        }
    }
    match models.as_slice() {
        [] => Err(
            "its .gguf files are projectors, adapters or later parts: the model itself is missing"
                .to_owned(),
        ),
        [(path, header)] => {
            complete_split(folder, path, header)?;
            Ok(gguf_facts(folder, path, header))
        }
        several => {
            let line = |(path, header): &(&PathBuf, Gguf)| {
                let kind = header
                    .type_name()
                    .unwrap_or_else(|| "unknown type".to_owned());
                format!("{} ({kind})", shown(path))
            };
            let lines: Vec<String> = several.iter().map(line).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            Err(format!(
                "it holds several models; give one of these files: {}",
                listed(&lines)
            ))
        }
    }
}

/// All parts of a split model are there, and this is the first: `name-00001-of-00003.gguf`
/// (llama.cpp's `gguf-split`).
fn complete_split(folder: &Path, path: &Path, header: &Gguf) -> Result<(), String> {
    let count = header.split_count;
    if count <= 1 {
        return Ok(());
    }
    let name = shown(path);
    let suffix = |number: u64| format!("-{number:05}-of-{count:05}.gguf");
    let own = header.split_number.saturating_add(1);
    let Some(stem) = name.strip_suffix(&suffix(own)) else {
        return Err(format!(
            "its header says it is part {own} of {count}, so its name must end in {}",
            suffix(own)
        ));
    };
    if own != 1 {
        return Err(format!(
            "it is part {own} of {count}: give the first, {stem}{}",
            suffix(1)
        ));
    }
    if count > MOST_ENTRIES as u64 {
        return Err(format!("its header says it has {count} parts"));
    }
    let names = (1..=count).map(|number| format!("{stem}{}", suffix(number)));
    let absent: Vec<String> = names.filter(|name| !folder.join(name).exists()).collect();
    let absent: Vec<&str> = absent.iter().map(String::as_str).collect();
    if absent.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "parts are missing: {} (a download that was cut short?)",
            listed(&absent)
        ))
    }
}

fn gguf_facts(folder: &Path, path: &Path, header: &Gguf) -> ModelFacts {
    ModelFacts {
        format: ModelFormat::Gguf,
        architecture: header.architecture.clone(),
        quantisation: header.quantisation(),
        dtype: header.type_name(),
        context_length: header.context_length,
        file: path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned()),
        linked: leads_out(folder, path),
    }
}

/// Reads more and more of a file until its header is whole.
fn gguf(path: &Path) -> Result<Gguf, String> {
    let mut limit = GGUF_FIRST;
    loop {
        let bytes = start(path, limit)?;
        let whole = (bytes.len() as u64) < limit;
        match Gguf::parse(&bytes) {
            Err(HeaderError::Truncated) if !whole && limit < GGUF_MOST => limit *= 8,
            parsed => return parsed.map_err(|error| told(path, &error)),
        }
    }
}

fn safetensors(path: &Path) -> Result<Option<String>, HeaderError> {
    let broken = |error: io::Error| HeaderError::Broken {
        why: error.to_string(),
    };
    let mut file = File::open(path).map_err(broken)?;
    let size = file.metadata().map_err(broken)?.len();
    let mut first = Vec::new();
    // Long enough to know a Git LFS pointer by.
    let read = file.by_ref().take(64).read_to_end(&mut first);
    read.map_err(broken)?;
    let length = header_length(&first)?;
    if size < length.saturating_add(LENGTH_BYTES as u64) {
        return Err(HeaderError::Truncated);
    }
    let mut header = first.split_off(LENGTH_BYTES.min(first.len()));
    header.truncate(usize::try_from(length).unwrap_or(usize::MAX));
    let rest = length.saturating_sub(header.len() as u64);
    file.take(rest).read_to_end(&mut header).map_err(broken)?;
    main_dtype(&header)
}

fn json_file(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = start(path, MOST_JSON)?;
    if bytes.len() as u64 == MOST_JSON {
        return Err(format!("{} is larger than such a file is", shown(path)));
    }
    Ok(bytes)
}

/// The first bytes of a file.
fn start(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("{} cannot be read: {error}", shown(path))),
    }
}

/// Whether a file is a link to somewhere outside its folder.
fn leads_out(folder: &Path, file: &Path) -> bool {
    match (fs::canonicalize(folder), fs::canonicalize(file)) {
        (Ok(folder), Ok(file)) => !file.starts_with(folder),
        _ => false,
    }
}

fn told(path: &Path, error: &HeaderError) -> String {
    format!("{}: {error}", shown(path))
}

fn shown(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

fn listed(names: &[&str]) -> String {
    let first: Vec<&str> = names.iter().take(LISTED).copied().collect();
    match names.len().saturating_sub(LISTED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [
            (text.len() as u64).to_le_bytes().as_slice(),
            text.as_bytes(),
        ]
        .concat()
    }

    /// A GGUF header with texts and numbers, and a vocabulary of that many bytes between.
    fn gguf_file(texts: &[(&str, &str)], numbers: &[(&str, u32)], vocabulary: usize) -> Vec<u8> {
        let mut pairs: Vec<Vec<u8>> = Vec::new();
        let kind = |kind: u32| kind.to_le_bytes().to_vec();
        for (key, value) in texts {
            pairs.push([text(key), kind(8), text(value)].concat());
        }
        pairs.push([text("t"), kind(8), text(&"v".repeat(vocabulary))].concat());
        for (key, value) in numbers {
            pairs.push([text(key), kind(4), value.to_le_bytes().to_vec()].concat());
        }
        let count = (pairs.len() as u64).to_le_bytes();
        [
            b"GGUF\x03\0\0\0".as_slice(),
            &[0; 8],
            &count,
            &pairs.concat(),
        ]
        .concat()
    }

    fn model(numbers: &[(&str, u32)]) -> Vec<u8> {
        gguf_file(&[("general.architecture", "llama")], numbers, 0)
    }

    fn tensors(dtype: &str) -> Vec<u8> {
        let header = format!(r#"{{"w":{{"dtype":"{dtype}","shape":[],"data_offsets":[0,0]}}}}"#);
        [
            (header.len() as u64).to_le_bytes().as_slice(),
            header.as_bytes(),
        ]
        .concat()
    }

    fn folder_of(files: &[(&str, &[u8])]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }

    fn read(path: &Path) -> Result<Option<ModelFacts>, ContextError> {
        read_model(&path.to_str().unwrap().parse().unwrap())
    }

    fn facts(path: &Path) -> ModelFacts {
        read(path).unwrap().unwrap()
    }

    fn refusal(path: &Path) -> String {
        read(path).unwrap_err().to_string()
    }

    #[test]
    fn a_gguf_file_with_its_type_behind_a_large_vocabulary() {
        let numbers = [("llama.context_length", 2048), ("general.file_type", 15)];
        let bytes = gguf_file(&[("general.architecture", "llama")], &numbers, 3 << 20);
        let folder = folder_of(&[("a.gguf", &bytes)]);
        let facts = facts(&folder.path().join("a.gguf"));
        assert_eq!(facts.quantisation.as_deref(), Some("Q4_K_M"));
        assert_eq!(facts.context_length, Some(2048));
        assert_eq!(facts.file.as_deref(), Some("a.gguf"));
    }

    #[test]
    fn the_model_is_chosen_by_header_not_by_name() {
        let projector = gguf_file(&[("general.architecture", "clip")], &[], 0);
        let folder = folder_of(&[("a-mmproj.gguf", &projector), ("b.gguf", &model(&[]))]);
        assert_eq!(facts(folder.path()).file.as_deref(), Some("b.gguf"));
        assert!(refusal(&folder.path().join("a-mmproj.gguf")).contains("projector"));
    }

    #[test]
    fn several_models_are_an_error_that_lists_them() {
        let (q4, q8) = (
            model(&[("general.file_type", 2)]),
            model(&[("general.file_type", 7)]),
        );
        let folder = folder_of(&[("x.gguf", &q4), ("y.gguf", &q8)]);
        let says = refusal(folder.path());
        assert!(says.contains("x.gguf (Q4_0), y.gguf (Q8_0)"), "{says}");
    }

    #[test]
    fn a_split_model_counts_once_and_must_be_complete() {
        let part = |number| model(&[("split.count", 3), ("split.no", number)]);
        let name = |number| format!("m-0000{number}-of-00003.gguf");
        let folder = folder_of(&[(&name(1), &part(0)), (&name(2), &part(1))]);
        let missing = refusal(folder.path());
        assert!(
            missing.contains("parts are missing: m-00003-of-00003.gguf"),
            "{missing}"
        );
        fs::write(folder.path().join(name(3)), part(2)).unwrap();
        assert_eq!(facts(folder.path()).file, Some(name(1)));
        let second = refusal(&folder.path().join(name(2)));
        assert!(
            second.contains("give the first, m-00001-of-00003.gguf"),
            "{second}"
        );
        fs::write(folder.path().join("renamed.gguf"), part(0)).unwrap();
        assert!(
            refusal(&folder.path().join("renamed.gguf"))
                .contains("must end in -00001-of-00003.gguf")
        );
    }

    #[test]
    fn a_folder_of_safetensors_is_its_config() {
        let config = br#"{"architectures":["LlamaForCausalLM"],"quantization_config":{"quant_method":"awq"},"max_position_embeddings":4096}"#;
        let folder = folder_of(&[
            ("config.json", config),
            ("model.safetensors", &tensors("F16")),
        ]);
        let facts = facts(folder.path());
        assert_eq!(facts.format, ModelFormat::Safetensors);
        assert_eq!(facts.quantisation.as_deref(), Some("awq"));
        assert_eq!(facts.dtype.as_deref(), Some("F16"));
        assert!(!facts.linked && facts.file.is_none());
        let file = refusal(&folder.path().join("model.safetensors"));
        assert!(file.contains("give its folder"), "{file}");
    }

    #[test]
    fn incomplete_downloads_are_named() {
        let index = br#"{"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}}"#;
        let files: [(&str, &[u8]); 3] = [
            ("config.json", b"{}"),
            ("m-1.safetensors", &tensors("BF16")),
            ("model.safetensors.index.json", index),
        ];
        let says = refusal(folder_of(&files).path());
        assert!(
            says.contains("parts are missing: m-2.safetensors"),
            "{says}"
        );
        let cut = &tensors("BF16")[..20];
        let says = refusal(folder_of(&[("config.json", b"{}"), ("m.safetensors", cut)]).path());
        assert!(
            says.contains("m.safetensors: it ends inside its header"),
            "{says}"
        );
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
        let says = refusal(folder_of(&[("m.gguf", pointer)]).path());
        assert!(says.contains("git lfs pull"), "{says}");
        let says = refusal(folder_of(&[("m.safetensors", &tensors("F16"))]).path());
        assert!(says.contains("config.json is missing"), "{says}");
    }

    #[test]
    fn adapters_pickles_and_empty_folders() {
        let adapter = [
            ("adapter_config.json", b"{}".as_slice()),
            ("a.safetensors", &tensors("F16")),
        ];
        assert!(refusal(folder_of(&adapter).path()).contains("merge it"));
        let pickles = folder_of(&[("config.json", b"{}"), ("pytorch_model.bin", b"PK")]);
        assert_eq!(facts(pickles.path()).format, ModelFormat::Pytorch);
        assert!(
            refusal(folder_of(&[("README.md", b"")]).path()).contains("no model is in this folder")
        );
    }

    #[test]
    fn a_hub_id_is_none_and_a_path_to_nothing_an_error() {
        assert_eq!(read(Path::new("org/absent-model")).unwrap(), None);
        assert!(refusal(Path::new("/nonexistent/model")).contains("nothing is there"));
        assert!(refusal(Path::new("./absent")).contains("nothing is there"));
        assert!(refusal(Path::new("absent.gguf")).contains("nothing is there"));
    }

    #[test]
    fn links_out_of_the_folder_are_told() {
        let blobs = folder_of(&[("blob", &tensors("F16"))]);
        let folder = folder_of(&[("config.json", b"{}")]);
        let link = folder.path().join("model.safetensors");
        std::os::unix::fs::symlink(blobs.path().join("blob"), link).unwrap();
        assert!(facts(folder.path()).linked);
    }
}
