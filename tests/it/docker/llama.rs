//! A real engine: llama.cpp's server, built by `scripts/llama-image.sh`.

use super::*;

/// Image and model of the real engine, from the lines of `scripts/llama-image.sh`.
fn llama_or_skip() -> Option<(ImageRef, String)> {
    match (switch("KITT_LLAMA_IMAGE"), switch("KITT_LLAMA_MODEL")) {
        (Some(image), Some(model)) => Some((image.parse().unwrap(), model)),
        _ if switch("KITT_TEST_LLAMA").as_deref() == Some("required") => {
            panic!("KITT_TEST_LLAMA=required: export the lines that scripts/llama-image.sh prints")
        }
        _ => {
            skipped("KITT_LLAMA_IMAGE and KITT_LLAMA_MODEL are not set (scripts/llama-image.sh)");
            None
        }
    }
}

#[tokio::test]
async fn llama_cpp_streams_exactly_as_many_tokens_as_asked_for() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let Some((image, model)) = llama_or_skip() else {
        return;
    };
    let mut request = request(&model);
    request.image = Some(image);
    request.args = vec!["-t".to_owned(), "1".to_owned()];
    let spec = engine::find("llama_cpp").unwrap().launch(&request).unwrap();
    let options = options("llama");
    let begin = Instant::now();
    let (endpoint, ended) = with_engine(
        &spec,
        &options,
        &CancellationToken::new(),
        async |endpoint| {
            for seed in 0..8 {
                let stream = chat(&endpoint.url, &spec.api, seed).await;
                assert_eq!(stream.usage["completion_tokens"], 200, "{}", stream.usage);
                assert_eq!(stream.usage["prompt_tokens_details"]["cached_tokens"], 0);
                assert_eq!(stream.finish, "length");
                // One chunk a token: nothing is held back.
                assert_eq!(stream.chunks, 200);
            }
            (endpoint, Instant::now())
        },
    )
    .await
    .unwrap();
    println!(
        "llama.cpp: ready after {:?}, whole run {:?}, stop and removal {:?}",
        endpoint.startup,
        ended - begin,
        ended.elapsed()
    );
    assert!(endpoint.facts.version.unwrap().starts_with('b'));
    assert!(
        endpoint
            .facts
            .args
            .ends_with(&["-t".to_owned(), "1".to_owned()])
    );
    assert_eq!(left(&docker, &options).await, [""; 0]);
}

struct Streamed {
    chunks: usize,
    finish: String,
    usage: serde_json::Value,
}

async fn chat(base: &url::Url, api: &ApiTraits, seed: u32) -> Streamed {
    let mut body = serde_json::json!({
        "model": api.served_model,
        "messages": [{"role": "user", "content": format!("{seed}: why is the sky blue?")}],
        "max_tokens": 200, "seed": seed, "stream": true,
        "stream_options": {"include_usage": true},
    });
    body.as_object_mut()
        .unwrap()
        .extend(api.request_extras.clone());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = base.join("/v1/chat/completions").unwrap();
    let answer = client.post(url).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.unwrap();
    assert!(text.trim_end().ends_with("data: [DONE]"), "{text}");
    let events: Vec<serde_json::Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str(data).ok())
        .collect();
    let content = |event: &&serde_json::Value| {
        let text = event["choices"][0]["delta"]["content"].as_str();
        text.is_some_and(|text| !text.is_empty())
    };
    let finish = events
        .iter()
        .filter_map(|event| event["choices"][0]["finish_reason"].as_str());
    Streamed {
        chunks: events.iter().filter(content).count(),
        finish: finish
            .into_iter()
            .next_back()
            .unwrap_or_default()
            .to_owned(),
        usage: events.last().unwrap()["usage"].clone(),
    }
}
