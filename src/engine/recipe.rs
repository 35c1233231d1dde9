//! What the descriptors of engines share: where the engine runs and what it sees of the model,
//! its arguments beside the user's, its environment, caches and secrets. Pure.
//!
//! A descriptor makes a [`Site`] of the request, which is where everything is refused that this
//! engine cannot do; then its arguments with [`super::argv::Argv`]; then a specification with
//! [`Site::launch`].

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::{
    About, ApiTraits, ContainerSpec, GpuSet, Hub, ImageSource, LaunchError, LaunchRequest,
    LaunchSpec, Mode, Mount, PORT, ProcessSpec, Target, Ulimit,
    source::{Source, last, source},
};
use crate::{ids::ImageRef, secret::Secret, units::Bytes};

/// Where a model's folder is seen inside a container, when the model is one file of it.
const MODELS: &str = "/models";
/// Where a model is seen that is a folder.
pub(super) const MODEL: &str = "/model";
/// Where caches are seen inside a container.
const CACHE: &str = "/cache";

/// Where an engine will run, and what it sees there.
pub(super) struct Site<'a> {
    pub(super) about: &'static About,
    pub(super) request: &'a LaunchRequest,
    /// Whether it runs on this host.
    pub(super) native: bool,
    /// The address it listens on.
    pub(super) host: &'static str,
    /// The port it listens on.
    pub(super) port: String,
    /// The model as the engine is told it: a hub id, or a path where it runs.
    pub(super) model: String,
    /// The model's name in requests.
    pub(super) name: String,
    /// Whether the model's files are on this host.
    pub(super) local: bool,
    image: Option<ImageRef>,
    mounts: Vec<Mount>,
}

/// What a descriptor adds to what all engines have.
#[derive(Default)]
pub(super) struct Parts {
    /// Replaces the image's entry point; empty keeps it.
    pub(super) entrypoint: Vec<String>,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(&'static str, String)>,
    /// Folders of the cache: name below it, and the variable that leads there.
    pub(super) caches: Vec<(String, &'static str)>,
    /// Size of /dev/shm where nothing else is asked.
    pub(super) shm: Option<Bytes>,
    pub(super) ulimits: Vec<Ulimit>,
    pub(super) capabilities: Vec<String>,
    /// See [`ContainerSpec::unfiltered`].
    pub(super) unfiltered: bool,
}

impl<'a> Site<'a> {
    /// Checks the request against what the engine can do.
    pub(super) fn of(
        about: &'static About,
        request: &'a LaunchRequest,
    ) -> Result<Self, LaunchError> {
        let native = mode(about, request)? == Mode::Native;
        fitting(about, request, native)?;
        let source = source(about, request)?;
        if !native {
            reachable(request)?;
        }
        let image = if native {
            None
        } else {
            Some(image(about, request)?)
        };
        let mut site = Self {
            about,
            request,
            native,
            host: if native { "127.0.0.1" } else { "0.0.0.0" },
            port: if native {
                PORT.to_owned()
            } else {
                about.port.to_string()
            },
            model: request.model.to_string(),
            name: request.model.to_string(),
            local: !matches!(source, Source::Hub),
            image,
            mounts: Vec::new(),
        };
        match source {
            Source::Hub => {}
            Source::Folder(folder) => site.see(&folder, None),
            Source::File(folder, file) => site.see(&folder, Some(&file)),
        }
        Ok(site)
    }

    /// Sees the model at a fixed place inside a container, at its own on this host.
    fn see(&mut self, folder: &str, file: Option<&str>) {
        file.unwrap_or_else(|| last(folder))
            .clone_into(&mut self.name);
        let seen = if file.is_some() { MODELS } else { MODEL };
        let folder_seen = if self.native { folder } else { seen };
        self.model = match file {
            Some(file) => format!("{}/{file}", folder_seen.trim_end_matches('/')),
            None => folder_seen.to_owned(),
        };
        if !self.native {
            self.mount(folder, seen);
        }
    }

    fn mount(&mut self, host: &str, container: &str) {
        self.mounts.push(Mount {
            host: host.into(),
            container: container.to_owned(),
            writable: false,
        });
    }

    /// Puts the model's folder elsewhere inside the container, for engines with a place of their
    /// own.
    pub(super) fn see_at(&mut self, container: &str) {
        for mount in &mut self.mounts {
            container.clone_into(&mut mount.container);
        }
    }

    /// The folder of models on this host and the model's name in it, for engines that ask for
    /// the two.
    pub(super) fn parent(&self) -> (String, String) {
        let parent = Path::new(&self.model).parent();
        let parent = parent.map_or_else(String::new, |path| path.display().to_string());
        (parent, last(&self.model).to_owned())
    }

    /// How many GPUs work on one model together; `None` for one, none, or an unknown number.
    pub(super) fn parallel(&self) -> Option<String> {
        let count = self.request.gpus.count().filter(|count| *count > 1);
        count.map(|count| count.to_string())
    }

    /// A name for what was compiled by this image: it must not be used with another.
    pub(super) fn image_key(&self) -> String {
        let word = |c: char| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') {
                c
            } else {
                '_'
            }
        };
        let image = self.image.as_ref().map_or("host", ImageRef::as_str);
        image.chars().map(word).collect()
    }

    /// The longest prompt plus answer in tokens, with room for what the plan cannot count: it
    /// counts words, a tokenizer may make two tokens of one, and the chat template adds its own.
    pub(super) const fn room(&self) -> u32 {
        let longest = self.request.max_tokens_per_request;
        longest.saturating_mul(2).saturating_add(256)
    }

    /// The specification of an engine on this site.
    pub(super) fn launch(
        self,
        parts: Parts,
        api: ApiTraits,
        startup_timeout: Duration,
    ) -> LaunchSpec {
        let startup_timeout = self.request.startup_timeout.unwrap_or(startup_timeout);
        let target = match self.image.clone() {
            Some(image) => Target::Container(Box::new(self.container(image, parts))),
            None => Target::Process(Box::new(self.process(parts))),
        };
        LaunchSpec {
            target,
            api,
            startup_timeout,
        }
    }

    fn container(mut self, image: ImageRef, mut parts: Parts) -> ContainerSpec {
        let env = self.env(&mut parts, CACHE);
        let request = self.request;
        if let Some(cache) = &request.cache
            && !parts.caches.is_empty()
        {
            for (folder, _) in &parts.caches {
                self.mounts.push(Mount {
                    host: cache.join(folder),
                    container: format!("{CACHE}/{folder}"),
                    writable: true,
                });
            }
            // The cache belongs to the runner's user. Root without this capability is bound by
            // the permissions of others and could not write to it.
            parts.capabilities.push("DAC_OVERRIDE".to_owned());
        }
        let secrets = self.secrets();
        ContainerSpec {
            entrypoint: parts.entrypoint,
            args: parts.args,
            env,
            mounts: self.mounts,
            secrets,
            gpus: request.gpus.clone(),
            memory: request.memory,
            cpuset: request.cpuset.clone(),
            shm: request.shm.or(parts.shm),
            ulimits: parts.ulimits,
            capabilities: parts.capabilities,
            // ROCm's runtime uses system calls that Docker's filter forbids (AMD's container
            // guide: `--security-opt seccomp=unconfined`).
            unfiltered: parts.unfiltered || matches!(request.gpus, GpuSet::Amd(_)),
            offline: request.offline,
            ..ContainerSpec::new(ImageSource::Reference(image), self.about.port)
        }
    }

    fn process(&self, mut parts: Parts) -> ProcessSpec {
        let cache = self.request.cache.as_ref();
        let cache = cache.map_or_else(String::new, |cache| cache.display().to_string());
        let env = self.env(&mut parts, &cache);
        let usual = || self.about.command.iter().map(|word| (*word).to_owned());
        let mut words: Vec<String> = if self.request.command.is_empty() {
            usual().collect()
        } else {
            self.request.command.clone()
        };
        words.extend(parts.args);
        let mut words = words.into_iter();
        ProcessSpec {
            program: words.next().unwrap_or_default(),
            args: words.collect(),
            env,
            secrets: self.secrets(),
            gpus: self.request.gpus.clone(),
            cpuset: self.request.cpuset.clone(),
        }
    }

    /// The engine's environment; the user's comes last and wins.
    fn env(&self, parts: &mut Parts, cache: &str) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
        // huggingface_hub, under every Python engine: no telemetry, no calls home.
        if self.about.hub == Hub::HuggingFace {
            set("HF_HUB_DISABLE_TELEMETRY", "1".to_owned());
            if !self.local {
                parts
                    .caches
                    .insert(0, ("huggingface".to_owned(), "HF_HOME"));
            }
            if self.offline() {
                set("HF_HUB_OFFLINE", "1".to_owned());
                set("TRANSFORMERS_OFFLINE", "1".to_owned());
            }
        }
        if self.request.cache.is_some() {
            for (folder, name) in &parts.caches {
                set(name, format!("{cache}/{folder}"));
            }
        }
        for (name, value) in std::mem::take(&mut parts.env) {
            set(name, value);
        }
        env.extend(self.request.env.clone());
        env
    }

    /// Whether nothing has to be fetched, or may be.
    pub(super) const fn offline(&self) -> bool {
        self.request.offline || self.local
    }

    fn secrets(&self) -> BTreeMap<String, Secret> {
        let token = self.request.hf_token.clone();
        let token = token.filter(|_| self.about.hub == Hub::HuggingFace && !self.local);
        token
            .map(|token| ("HF_TOKEN".to_owned(), token))
            .into_iter()
            .collect()
    }
}

fn mode(about: &About, request: &LaunchRequest) -> Result<Mode, LaunchError> {
    let usual = about.modes.first().copied().unwrap_or(Mode::Docker);
    let can_native = about.modes.contains(&Mode::Native);
    // A command makes sense on this host only.
    let told = !request.command.is_empty() && can_native;
    let mode = request
        .mode
        .unwrap_or(if told { Mode::Native } else { usual });
    if about.modes.contains(&mode) {
        return Ok(mode);
    }
    Err(LaunchError::Unsupported {
        engine: about.name,
        what: match mode {
            Mode::Docker => "run in a container",
            Mode::Native => "be started on this host",
        },
        remedy: "leave --mode away, or start its server yourself and use engine `openai`",
    })
}

/// Settings that make no sense here would be ignored otherwise.
fn fitting(about: &About, request: &LaunchRequest, native: bool) -> Result<(), LaunchError> {
    let wrong = [
        (
            request.endpoint.is_some(),
            "measure an endpoint",
            "use engine `openai` for a server that runs already",
        ),
        (
            !native && !request.command.is_empty(),
            "replace its command in a container",
            "add --mode native, or give --image",
        ),
        (
            native && request.image.is_some(),
            "use an image on this host",
            "leave --image away, or --mode native",
        ),
        (
            native && (request.memory.is_some() || request.shm.is_some()),
            "limit the memory of a process on this host",
            "leave --memory and --shm-size away, or --mode native",
        ),
    ];
    match wrong.into_iter().find(|(found, ..)| *found) {
        Some((_, what, remedy)) => Err(LaunchError::Unsupported {
            engine: about.name,
            what,
            remedy,
        }),
        None => Ok(()),
    }
}

/// A container sees the model's folder alone.
fn reachable(request: &LaunchRequest) -> Result<(), LaunchError> {
    if request.facts.as_ref().is_none_or(|facts| !facts.linked) {
        return Ok(());
    }
    Err(LaunchError::Model {
        model: request.model.clone(),
        why: "its files are links that lead out of its folder, as in the hub's cache, and a container cannot follow them: give the hub id and --cache-dir, or a copy of the files".to_owned(),
    })
}

fn image(about: &About, request: &LaunchRequest) -> Result<ImageRef, LaunchError> {
    if let Some(image) = &request.image {
        return Ok(image.clone());
    }
    let default = about.images.of(&request.gpus).ok_or(LaunchError::Unsupported {
        engine: about.name,
        what: match request.gpus {
            GpuSet::None => "run without a GPU",
            GpuSet::Nvidia(_) => "run on NVIDIA's GPUs",
            GpuSet::Amd(_) => "run on AMD's GPUs",
        },
        remedy: "none of its images is for that: give --gpus, or --image with a build of your own (`kitt doctor` shows the GPUs it finds)",
    })?;
    default.parse().map_err(LaunchError::Image)
}

/// A request's extras of one key.
pub(super) fn extras(keys: &[(&str, bool)]) -> serde_json::Map<String, serde_json::Value> {
    let pairs = keys
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).into()));
    pairs.collect()
}

/// Owned words.
pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Gibibytes.
pub(super) const fn gib(gib: u64) -> Bytes {
    Bytes(gib << 30)
}
