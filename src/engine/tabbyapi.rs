//! TabbyAPI, which serves ExLlamaV3 models.

use std::time::Duration;

use super::{
    About, ApiTraits, Engine, Hub, Images, LaunchError, LaunchRequest, LaunchSpec, Mode,
    ModelFormat,
    argv::Argv,
    recipe::{Parts, Site, extras, gib, words},
};

/// Descriptor of TabbyAPI.
pub(super) struct TabbyApi;

static ABOUT: About = About {
    name: "tabbyapi",
    aliases: &["tabby"],
    summary: "TabbyAPI, for EXL3 models; the model is a folder on the host",
    modes: &[Mode::Docker],
    formats: &[ModelFormat::Safetensors],
    quantisations: &["exl3"],
    hub: Hub::None,
    images: Images {
        // Upstream makes no versions: give --image with a digest.
        cuda: Some("ghcr.io/theroyallab/tabbyapi:latest"),
        rocm: None,
        cpu: None,
    },
    port: 5000,
    command: &[],
    version: &[],
};

const STARTUP_TIMEOUT: Duration = Duration::from_mins(5);
/// Where the server looks for models, and the name kitt gives the one there is.
const FOLDER: &str = "/app/models/model";
const NAME: &str = "model";
/// The cache is a multiple of its pages, in tokens.
const PAGE: u32 = 256;

impl Engine for TabbyApi {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn launch(&self, request: &LaunchRequest) -> Result<LaunchSpec, LaunchError> {
        let mut site = Site::of(&ABOUT, request)?;
        site.see_at(FOLDER);
        let args = Argv::new(&site)
            .word("main.py")
            .refused(&["--config"])
            .fixed(&["--host"], site.host)
            .fixed(&["--port"], &site.port)
            .finish()?;
        let known = request
            .facts
            .as_ref()
            .and_then(|facts| facts.context_length);
        let known = known.and_then(|known| u32::try_from(known).ok());
        let longest = site.room().min(known.unwrap_or(u32::MAX));
        let pages = longest.div_ceil(PAGE).saturating_mul(PAGE);
        let slots = request.max_concurrency.max(1);
        let setting = |name, value: u32| (name, value.to_string());
        let mut env = vec![
            ("TABBY_NETWORK_DISABLE_AUTH", "true".to_owned()),
            ("TABBY_MODEL_MODEL_NAME", NAME.to_owned()),
            setting("TABBY_MODEL_MAX_SEQ_LEN", longest),
            setting("TABBY_MODEL_CACHE_SIZE", pages.saturating_mul(slots)),
            setting("TABBY_MODEL_MAX_BATCH_SIZE", slots),
        ];
        if site.parallel().is_some() {
            env.push(("TABBY_MODEL_TENSOR_PARALLEL", "true".to_owned()));
        }
        let parts = Parts {
            entrypoint: words(&["python3"]),
            args,
            env,
            shm: Some(gib(8)),
            ..Parts::default()
        };
        let api = ApiTraits {
            request_extras: extras(&[("ban_eos_token", true)]),
            exact_length: true,
            ..ApiTraits::openai(NAME.to_owned())
        };
        Ok(site.launch(parts, api, STARTUP_TIMEOUT))
    }
}
