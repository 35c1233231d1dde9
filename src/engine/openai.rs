//! Any OpenAI-compatible server that runs already.

use std::time::Duration;

use super::{
    About, ApiTraits, Engine, Hub, Images, LaunchError, LaunchRequest, LaunchSpec, Mode, Target,
};

/// Descriptor of a server kitt does not start.
pub(super) struct OpenAi;

static ABOUT: About = About {
    name: "openai",
    aliases: &[],
    summary: "any OpenAI-compatible server that is already running (needs --endpoint)",
    modes: &[Mode::Native],
    formats: &[],
    quantisations: &[],
    hub: Hub::None,
    images: Images {
        cuda: None,
        rocm: None,
        cpu: None,
    },
    port: 0,
    command: &[],
    version: &[],
};

impl Engine for OpenAi {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn launch(&self, request: &LaunchRequest) -> Result<LaunchSpec, LaunchError> {
        if request.mode == Some(Mode::Docker) {
            return Err(LaunchError::Unsupported {
                engine: "openai",
                what: "run in a container",
                remedy: "leave --mode away: kitt only speaks to the server at --endpoint",
            });
        }
        let endpoint = request.endpoint.clone().ok_or(LaunchError::Missing {
            engine: "openai",
            needs: "an endpoint",
            remedy: "give --endpoint http://host:port",
        })?;
        Ok(LaunchSpec {
            target: Target::Endpoint(endpoint),
            api: ApiTraits {
                health_path: "/v1/models",
                // Answers of equal length are what makes runs comparable. A server that refuses
                // the key is asked again without it, and its lengths are checked all the same.
                request_extras: serde_json::Map::from_iter([(
                    "ignore_eos".to_owned(),
                    true.into(),
                )]),
                ..ApiTraits::openai(request.model.to_string())
            },
            startup_timeout: request.startup_timeout.unwrap_or(Duration::from_secs(30)),
        })
    }
}
