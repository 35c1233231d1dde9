//! Credential helpers: programs `docker-credential-NAME` that keep passwords for Docker
//! (github.com/docker/docker-credential-helpers, "Development": the registry on standard input
//! of `get`, JSON on standard output).

use std::{process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

/// A helper that asks somebody for a password never ends.
const LIMIT: Duration = Duration::from_secs(10);
/// No answer is longer, in bytes.
const LARGEST: u64 = 64 << 10;
/// What a helper says when it has nothing, on standard output and with exit code 1.
const NOTHING: &str = "credentials not found";
/// The longest part of a helper's complaint that is passed on, in characters.
const COMPLAINT: usize = 200;

/// What a helper gave.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) username: String,
    pub(super) secret: String,
}

/// Asks the helper for the credentials of `registry`; `None` when it has none.
///
/// # Errors
/// A sentence: no such program, a strange name, a failure or an answer that is none.
pub(super) async fn get(helper: &str, registry: &str) -> Result<Option<Kept>, String> {
    let program = program(helper)?;
    let told = |why: String| format!("credential helper {program}: {why}");
    let asked = tokio::time::timeout(LIMIT, run(&program, registry)).await;
    let answer = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(told("no such program in PATH".to_owned()));
        }
        Ok(Err(error)) => return Err(told(error.to_string())),
        // The process is killed as it is dropped.
        Err(_) => return Err(told(format!("no answer within {LIMIT:?}"))),
    };
    read(&answer).map_err(told)
}

/// The name becomes that of a program: nothing but letters, digits and inner joints.
fn program(helper: &str) -> Result<String, String> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    let start = helper.starts_with(|c: char| c.is_ascii_alphanumeric());
    if start && helper.len() <= 64 && helper.bytes().all(ok) {
        return Ok(format!("docker-credential-{helper}"));
    }
    let shown: String = helper.chars().take(80).collect();
    Err(format!(
        "`{}` is not the name of a credential helper: it must be letters, digits, `_`, `.` or `-`",
        shown.escape_debug()
    ))
}

struct Answer {
    success: bool,
    out: String,
    err: String,
}

async fn run(program: &str, registry: &str) -> std::io::Result<Answer> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let asking = ask(&mut child, registry).await;
    if let Err(error) = asking {
        // One that does not read its input may answer all the same.
        tracing::debug!(program, %error, "the helper did not take the registry's name");
    }
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (out, err) = tokio::join!(text(out), text(err));
    let status = child.wait().await?;
    Ok(Answer {
        success: status.success(),
        out,
        err,
    })
}

async fn ask(child: &mut Child, registry: &str) -> std::io::Result<()> {
    let Some(mut input) = child.stdin.take() else {
        return Ok(());
    };
    input.write_all(registry.as_bytes()).await?;
    input.shutdown().await
}

async fn text(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(stream) = stream
        && let Err(error) = stream.take(LARGEST).read_to_end(&mut bytes).await
    {
        tracing::debug!(%error, "the helper's output ended badly");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn read(answer: &Answer) -> Result<Option<Kept>, String> {
    if !answer.success {
        if answer.out.contains(NOTHING) || answer.err.contains(NOTHING) {
            return Ok(None);
        }
        return Err(complaint(answer));
    }
    let wrong = || "its answer is not JSON with Username and Secret".to_owned();
    let json: Value = serde_json::from_str(&answer.out).map_err(|_secret| wrong())?;
    let field = |name| json.get(name).and_then(Value::as_str).map(str::to_owned);
    match (field("Username"), field("Secret")) {
        (Some(_), Some(secret)) if secret.is_empty() => Ok(None),
        (Some(username), Some(secret)) => Ok(Some(Kept { username, secret })),
        _ => Err(wrong()),
    }
}

/// The first line of what the helper says of its failure. Helpers complain on either stream;
/// what looks like an answer may hold the secret and is not shown.
fn complaint(answer: &Answer) -> String {
    let line = |text: &str| {
        let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
        let harmless = !line.contains(['{', '}']) && !line.contains("Secret");
        harmless.then(|| {
            line.chars()
                .filter(|c| !c.is_control())
                .take(COMPLAINT)
                .collect()
        })
    };
    line(&answer.err)
        .or_else(|| line(&answer.out))
        .unwrap_or_else(|| "it failed and did not say why".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(success: bool, out: &str, err: &str) -> Answer {
        Answer {
            success,
            out: out.to_owned(),
            err: err.to_owned(),
        }
    }

    #[test]
    fn only_a_plain_name_becomes_a_program() {
        assert_eq!(program("ecr-login").unwrap(), "docker-credential-ecr-login");
        for bad in [
            "",
            "../x",
            "a/b",
            "-x",
            "a b",
            "a;b",
            "a\n",
            &"a".repeat(65),
        ] {
            assert!(program(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn answers_nothing_and_failures_are_told_apart() {
        let good = r#"{"ServerURL":"r.io","Username":"u","Secret":"s"}"#;
        let kept = read(&answer(true, good, "")).ok().flatten().unwrap();
        assert_eq!((kept.username.as_str(), kept.secret.as_str()), ("u", "s"));
        let nothing = "credentials not found in native keychain\n";
        assert!(read(&answer(false, nothing, "")).ok().unwrap().is_none());
        let error = |answer: &Answer| read(answer).err().unwrap();
        assert_eq!(
            error(&answer(false, "out", "\n  no keyring\x1b[0m here\nmore")),
            "no keyring[0m here"
        );
        assert_eq!(error(&answer(false, "no bus", "")), "no bus");
        let leak = error(&answer(
            false,
            r#"{"Secret":"s3cret"}"#,
            r#"{"x":"s3cret"}"#,
        ));
        assert!(!leak.contains("s3cret"), "{leak}");
        let garbled = error(&answer(true, r#"{"Secret":"s3cret""#, ""));
        assert!(!garbled.contains("s3cret"), "{garbled}");
        let empty = r#"{"Username":"","Secret":""}"#;
        assert!(read(&answer(true, empty, "")).ok().unwrap().is_none());
    }

    proptest! {
        #[test]
        fn a_complaint_is_one_short_line(out in any::<String>(), err in any::<String>()) {
            if let Err(why) = read(&answer(false, &out, &err)) {
                prop_assert!(!why.is_empty() && why.chars().count() <= COMPLAINT);
                prop_assert!(!why.contains(char::is_control));
            }
        }
    }

    #[tokio::test]
    async fn a_helper_that_is_not_there_is_named() {
        let error = get("kitt-none-such", "r.io").await.err().unwrap();
        assert_eq!(
            error,
            "credential helper docker-credential-kitt-none-such: no such program in PATH"
        );
    }
}
