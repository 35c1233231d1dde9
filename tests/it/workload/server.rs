//! Lengths from a server's tokenize endpoint.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use kitt_action::{
    engine::SimSpec,
    secret::Secret,
    sim,
    workload::{Lengths, TokenCounter, WorkloadError},
};
use serde_json::{Value, json};
use url::Url;

use super::{jobs, scenario, text, uniform, workload};

/// What is asked, and with what authorization.
struct Question {
    path: String,
    bearer: Option<String>,
    body: Value,
}

type Answer = dyn Fn(&Question) -> (u16, Value) + Send + Sync;

/// A server on loopback that answers with a function and remembers what it was asked.
struct Fake {
    url: Url,
    asked: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

impl Fake {
    fn start(answer: impl Fn(&Question) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fake = Self {
            url: url.parse().unwrap(),
            asked: Arc::default(),
            stop: Arc::default(),
        };
        let (asked, stop) = (Arc::clone(&fake.asked), Arc::clone(&fake.stop));
        let answer: Arc<Answer> = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
                thread::spawn(move || one(&mut stream.unwrap(), &*answer, &asked));
            }
        });
        fake
    }

    fn questions(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the listener.
        drop(TcpStream::connect(
            self.url.socket_addrs(|| None).unwrap()[0],
        ));
    }
}

/// One request, then the connection closes.
fn one(stream: &mut TcpStream, answer: &Answer, asked: &Mutex<Vec<String>>) {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).unwrap_or(0);
        if count == 0 {
            return;
        }
        bytes.extend(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.parse::<usize>().unwrap())
            });
            break (head.to_owned(), length.unwrap_or(0));
        }
    };
    let begin = head.len() + 4;
    while bytes.len() < begin + length {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).unwrap();
        bytes.extend(&buffer[..count]);
    }
    let header = |wanted: &str| {
        head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case(wanted).then(|| value.to_owned())
        })
    };
    let path = head.split(' ').nth(1).unwrap().to_owned();
    asked.lock().unwrap().push(path.clone());
    let question = Question {
        path,
        bearer: header("authorization"),
        body: serde_json::from_slice(&bytes[begin..]).unwrap(),
    };
    let (status, body) = answer(&question);
    let body = body.to_string();
    let length = body.len();
    let reply = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    drop(stream.write_all(reply.as_bytes()));
}

/// Tokens of a text: one for each five letters of a word begun, as small vocabularies do.
fn pieces(text: &str) -> usize {
    text.split(' ').map(|word| word.len().div_ceil(5)).sum()
}

fn vllm(question: &Question) -> (u16, Value) {
    let (Some(prompt), Some("m")) = (
        question.body["prompt"].as_str(),
        question.body["model"].as_str(),
    ) else {
        return (400, json!({ "error": "prompt and model are needed" }));
    };
    assert_eq!(question.body["add_special_tokens"], false);
    let count = pieces(prompt);
    (
        200,
        json!({ "count": count, "max_model_len": 4096, "tokens": vec![1; count] }),
    )
}

#[tokio::test]
async fn vllms_form_is_learned_with_few_questions() {
    let server = Fake::start(|question| match question.path.as_str() {
        "/tokenize" => vllm(question),
        _ => (404, Value::Null),
    });
    let base = server.url.join("/v1").unwrap();
    let counter = TokenCounter::server(&base, None, "m").await.unwrap();
    let learning = server.questions();
    assert!(learning <= 150, "{learning} questions");
    let made = workload(&uniform(scenario(1), 1, 600), &counter);
    for job in jobs(&made, "a", 50) {
        let request = &job.turns[0];
        assert_eq!(
            request.input_tokens,
            Some(u32::try_from(pieces(text(&job))).unwrap())
        );
    }
    assert_eq!(server.questions(), learning);
    assert_eq!(made.check().await.unwrap(), Lengths::Exact);
    assert_eq!(server.questions(), learning + 8);
    assert_eq!(made.check().await.unwrap(), Lengths::Exact);
    assert_eq!(server.questions(), learning + 8);
    assert_eq!(
        counter.describe(),
        "server tokenize endpoint /tokenize (vLLM's form)"
    );
}

#[tokio::test]
async fn a_vocabulary_with_whole_words_takes_some_twenty_questions() {
    let server = Fake::start(|question| {
        let words = question.body["prompt"].as_str().unwrap().split(' ').count();
        (200, json!({ "count": words }))
    });
    TokenCounter::server(&server.url, None, "m").await.unwrap();
    assert!(server.questions() <= 20, "{}", server.questions());
}

#[tokio::test]
async fn llama_cpps_form_is_found_below_the_base_path_with_a_token() {
    let server = Fake::start(|question| {
        if question.bearer.as_deref() != Some("Bearer key") {
            return (401, Value::Null);
        }
        match (question.path.as_str(), question.body["content"].as_str()) {
            // llama.cpp answers so to a body without `content`.
            ("/llm/tokenize", None) => (200, json!({ "tokens": [] })),
            ("/llm/tokenize", Some(text)) => (200, json!({ "tokens": vec![7; pieces(text)] })),
            _ => (404, Value::Null),
        }
    });
    let base = server.url.join("/llm/v1").unwrap();
    let key = Secret::new("key");
    let counter = TokenCounter::server(&base, key.as_ref(), "m")
        .await
        .unwrap();
    let made = workload(&scenario(77), &counter);
    for job in jobs(&made, "a", 5) {
        assert_eq!(pieces(text(&job)), 77);
    }
    assert!(
        counter
            .describe()
            .contains("/llm/tokenize (llama.cpp's form)")
    );
    assert!(!format!("{counter:?}").contains("key"));
    let refused = TokenCounter::server(&base, None, "m")
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("HTTP 401"), "{refused}");
}

#[tokio::test]
async fn the_simulated_engine_is_learned() {
    let spec = SimSpec {
        model: "sim".to_owned(),
        ..SimSpec::default()
    };
    let server = sim::start(spec, Ipv4Addr::LOCALHOST.into(), 0, None)
        .await
        .unwrap();
    let counter = TokenCounter::server(&server.url(), None, "sim")
        .await
        .unwrap();
    let made = workload(&scenario(50), &counter);
    assert_eq!(made.check().await.unwrap(), Lengths::Exact);
    assert_eq!(text(&jobs(&made, "a", 1)[0]).split(' ').count(), 50);
}

#[tokio::test]
async fn a_server_that_does_not_count_is_told_apart() {
    for (status, body, says) in [
        (404, Value::Null, "/tokenize: HTTP 404"),
        (500, Value::Null, "HTTP 500"),
        (200, json!([1]), "not that of a tokenizer"),
        (200, json!({ "other": 1 }), "neither count nor tokens"),
        (200, json!({ "count": 0 }), "no tokens"),
    ] {
        let server = Fake::start(move |_| (status, body.clone()));
        let error = TokenCounter::server(&server.url, None, "m")
            .await
            .unwrap_err();
        assert!(
            matches!(error, WorkloadError::NoTokenizeEndpoint { .. }),
            "{error}"
        );
        let message = error.to_string();
        assert!(
            message.contains(says) && message.contains("give a tokenizer.json"),
            "{message}"
        );
    }
    // Nobody listens there.
    let gone = Fake::start(|_| (200, Value::Null)).url.clone();
    assert!(TokenCounter::server(&gone, None, "m").await.is_err());
}

#[tokio::test]
async fn a_server_whose_tokens_reach_over_words_is_refused() {
    let server = Fake::start(|question| {
        let text = question.body["prompt"].as_str().unwrap();
        // "of the" is one token.
        let words = text.split(' ').count() - text.matches("of the").count();
        (200, json!({ "count": words }))
    });
    // Words that touch are found in the learning or in the long text that follows it, or, when
    // that happens not to hold the pair, prompts are exact.
    match TokenCounter::server(&server.url, None, "m").await {
        Err(error) => assert!(
            matches!(error, WorkloadError::ServerDisagrees { .. }),
            "{error}"
        ),
        Ok(counter) => {
            let made = workload(&scenario(100), &counter);
            assert!(made.check().await.is_ok());
        }
    }
}

#[tokio::test]
async fn a_count_that_changes_later_is_an_error() {
    let more = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&more);
    let server = Fake::start(move |question| {
        let words = question.body["prompt"].as_str().unwrap().split(' ').count();
        let extra = usize::from(switch.load(Ordering::Relaxed));
        (200, json!({ "count": words + extra }))
    });
    let counter = TokenCounter::server(&server.url, None, "m").await.unwrap();
    let made = workload(&scenario(33), &counter);
    more.store(true, Ordering::Relaxed);
    let error = made.check().await.unwrap_err();
    let WorkloadError::ServerDisagrees {
        wanted: 33,
        counted: 34,
        ..
    } = error
    else {
        panic!("{error}");
    };
}
