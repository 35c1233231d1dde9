//! Ollama loads a model when it is first asked for: `POST /api/generate` with the model's name
//! and nothing to generate returns once it is loaded, and `/api/ps` lists what is (Ollama's API
//! documentation, "Load a model" and "List running models").

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::{ServeError, ready::Probe};
use crate::engine::{ApiTraits, LoadModel};

impl Probe {
    /// Asks for the model to be loaded, where that is needed, and checks that it is.
    pub(super) async fn load_model(
        &self,
        base: &Url,
        api: &ApiTraits,
        limit: Duration,
    ) -> Result<(), ServeError> {
        match api.load_model {
            LoadModel::AtStart => return Ok(()),
            LoadModel::OllamaGenerate => {}
        }
        let failed = |detail: String| ServeError::NotLoaded {
            model: api.served_model.clone(),
            detail,
        };
        let body = serde_json::json!({"model": api.served_model, "stream": false});
        let answer = self.post(base, "/api/generate", &body, limit).await;
        let (status, said) = answer.map_err(failed)?;
        if status != 200 {
            return Err(failed(format!("HTTP {status}: {said}")));
        }
        let listed = self.text(base, "/api/ps").await.map_err(failed)?;
        let loaded = find(&listed, &api.served_model).map_err(failed)?;
        if loaded.size_vram < loaded.size {
            tracing::warn!(
                model = api.served_model,
                size = loaded.size,
                size_vram = loaded.size_vram,
                "only a part of the model is in the GPU's memory, the rest is computed by the processor"
            );
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Running {
    models: Vec<Loaded>,
}

/// A loaded model; sizes in bytes.
#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Loaded {
    name: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    size_vram: u64,
}

/// The model among those that are loaded. A name without a tag means `:latest`.
fn find(listed: &str, model: &str) -> Result<Loaded, String> {
    let running: Running = serde_json::from_str(listed)
        .map_err(|error| format!("/api/ps answers something else: {error}"))?;
    let names: Vec<String> = running.models.iter().map(|one| one.name.clone()).collect();
    let latest = format!("{model}:latest");
    let mut all = running.models.into_iter();
    all.find(|one| one.name == model || one.name == latest)
        .ok_or_else(|| format!("/api/ps does not list it, but: {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::ready::tests::server;

    async fn load(answers: &'static [(&'static str, u16, &'static str)]) -> (String, Vec<String>) {
        let (url, asked) = server(answers).await;
        let api = ApiTraits {
            load_model: LoadModel::OllamaGenerate,
            ..ApiTraits::openai("qwen".to_owned())
        };
        let probe = Probe::new(&url, None).unwrap();
        let loaded = probe.load_model(&url, &api, Duration::from_secs(5)).await;
        let error = loaded.err().map(|error| error.to_string());
        let asked = asked.lock().unwrap().clone();
        (error.unwrap_or_default(), asked)
    }

    #[tokio::test]
    async fn the_model_is_asked_for_and_then_looked_for() {
        let (error, asked) = load(&[
            ("POST /api/generate ", 200, "{}"),
            (
                "GET /api/ps ",
                200,
                r#"{"models":[{"name":"qwen:latest","size":7,"size_vram":7}]}"#,
            ),
        ])
        .await;
        assert_eq!(error, "");
        assert_eq!(
            asked,
            ["POST /api/generate HTTP/1.1", "GET /api/ps HTTP/1.1"]
        );
    }

    #[tokio::test]
    async fn what_ollama_says_of_a_model_it_does_not_have_is_told() {
        let absent = &[(
            "POST /api/generate ",
            404,
            r#"{"error":"model 'qwen' not found"}"#,
        )];
        let (error, _) = load(absent).await;
        assert!(
            error.contains("HTTP 404") && error.contains("not found"),
            "{error}"
        );
        let elsewhere = &[
            ("POST /api/generate ", 200, "{}"),
            ("GET /api/ps ", 200, r#"{"models":[]}"#),
        ];
        let (error, _) = load(elsewhere).await;
        assert!(error.contains("does not list it"), "{error}");
    }

    #[test]
    fn a_loaded_model_is_found_under_its_name_or_its_default_tag() {
        let listed =
            r#"{"models":[{"name":"a:8b","size":9},{"name":"b:latest","size":7,"size_vram":3}]}"#;
        assert_eq!(find(listed, "a:8b").unwrap().size_vram, 0);
        let loaded = find(listed, "b").unwrap();
        assert_eq!((loaded.size, loaded.size_vram), (7, 3));
        assert!(find(listed, "a").unwrap_err().contains("a:8b, b:latest"));
        assert!(find("[]", "a").unwrap_err().contains("something else"));
    }
}
