//! What kitt says about an engine before it starts it.

use super::{GpuSet, Mode, ModelFormat};

/// The facts of one engine, for lists, help and checks.
#[derive(Debug)]
pub struct About {
    /// The name typed after `-e`, KITT's where KITT has the engine.
    pub name: &'static str,
    /// Other names people use for it.
    pub aliases: &'static [&'static str],
    /// One line for `kitt engines list` and the README.
    pub summary: &'static str,
    /// Where it can run; the first is chosen when nothing is asked.
    pub modes: &'static [Mode],
    /// How the weights of its models may be stored; empty for engines without model files.
    pub formats: &'static [ModelFormat],
    /// Quantisation methods of `config.json` that it takes beside the usual ones.
    pub quantisations: &'static [&'static str],
    /// Where models come from that are not on this host.
    pub hub: Hub,
    /// Its images.
    pub images: Images,
    /// The port it listens on inside its container.
    pub port: u16,
    /// Program and first arguments of its server on this host; empty when there is none.
    pub command: &'static [&'static str],
    /// Words of a command that prints the version of the server on this host.
    pub version: &'static [&'static str],
}

/// Where models come from that are not files of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hub {
    /// Nowhere: the model must be here.
    None,
    /// huggingface.co, by an id such as `org/name`.
    HuggingFace,
    /// Ollama's library, by a name such as `llama3.2:1b`.
    Ollama,
}

/// The images an engine is started from when none is asked for. Fixed versions, so that a
/// regression is never a newer image; a tag that moves is marked by [`moves`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Images {
    /// For NVIDIA's GPUs.
    pub cuda: Option<&'static str>,
    /// For AMD's GPUs.
    pub rocm: Option<&'static str>,
    /// For processors alone.
    pub cpu: Option<&'static str>,
}

impl Images {
    /// The image for these GPUs.
    pub const fn of(&self, gpus: &GpuSet) -> Option<&'static str> {
        match gpus {
            GpuSet::Nvidia(_) => self.cuda,
            GpuSet::Amd(_) => self.rocm,
            GpuSet::None => self.cpu,
        }
    }

    /// All there are, each with what it is for.
    pub fn all(&self) -> Vec<(&'static str, &'static str)> {
        let named = [("cuda", self.cuda), ("rocm", self.rocm), ("cpu", self.cpu)];
        let named = named.into_iter();
        named
            .filter_map(|(name, image)| Some((name, image?)))
            .collect()
    }
}

/// Whether what an image reference names changes with time: it has no digest, and its tag holds
/// no digit that stands for a version.
pub fn moves(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    let tag = last.split_once(':').map_or("latest", |(_, tag)| tag);
    let first = |part: &str| {
        let digits = part.trim_start_matches(['v', 'b', 'r']);
        digits.starts_with(|c: char| c.is_ascii_digit())
    };
    let accelerator = |part: &str| part.starts_with("cu") || part.starts_with("rocm");
    !tag.split('-').any(|part| first(part) && !accelerator(part)) || tag.starts_with("latest")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::ENGINES, ids::ImageRef};

    #[test]
    fn only_versions_and_digests_stand_still() {
        for still in [
            "vllm/vllm-openai:v0.28.0",
            "ghcr.io/ggml-org/llama.cpp:server-cuda-b10731",
            "ollama/ollama:0.18.2-rocm",
            "127.0.0.1:5000/a:1",
            "a@sha256:00",
        ] {
            assert!(!moves(still), "{still}");
        }
        for moving in [
            "busybox",
            "127.0.0.1:5000/a",
            "ghcr.io/ggml-org/llama.cpp:server-cuda13",
            "ghcr.io/theroyallab/tabbyapi:cu13",
            "vllm/vllm-openai-cpu:latest-arm64",
            "ghcr.io/ggml-org/llama.cpp:server",
        ] {
            assert!(moves(moving), "{moving}");
        }
    }

    #[test]
    fn every_engine_is_described() {
        for engine in ENGINES {
            let about = engine.about();
            assert!(!about.modes.is_empty() && !about.summary.is_empty());
            let docker = about.modes.contains(&Mode::Docker);
            for (_, image) in about.images.all() {
                assert!(image.parse::<ImageRef>().is_ok(), "{image}");
                assert!(docker, "{} has an image and cannot run in one", about.name);
            }
        }
    }
}
