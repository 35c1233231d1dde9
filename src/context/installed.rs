//! Which programs this host has.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use tokio::process::Command;

/// Programs in Python load much before they print their version.
const LIMIT: Duration = Duration::from_secs(30);
/// The longest version worth showing, in characters.
const LONGEST: usize = 100;

/// What a command prints first: a version, when it is asked for one. `None`: there is no such
/// program, it fails, says nothing, or takes longer than half a minute. It gets `env` and nothing
/// of this process's own environment.
pub async fn version_of(command: &[&str], env: &BTreeMap<String, String>) -> Option<String> {
    let (program, args) = command.split_first()?;
    // Looked up in the PATH that the program gets, not in this process's.
    let output = Command::new(program)
        .args(args)
        .env_clear()
        .envs(env)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, output).await.ok()?.ok()?;
    if !output.status.success() {
        return None;
    }
    // Some print it where errors go.
    first_line(&output.stdout).or_else(|| first_line(&output.stderr))
}

fn first_line(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let plain = line.chars().filter(|c| !c.is_control()).take(LONGEST);
    Some(plain.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> BTreeMap<String, String> {
        [("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())].into()
    }

    #[tokio::test]
    async fn a_version_is_the_first_line_of_either_output() {
        let of = async |script: &str| version_of(&["sh", "-c", script], &path()).await;
        assert_eq!(
            of("echo; echo ' v1 '; echo v2").await.as_deref(),
            Some("v1")
        );
        assert_eq!(
            of("echo version: 7 >&2").await.as_deref(),
            Some("version: 7")
        );
        assert_eq!(of("echo v1; exit 1").await, None);
        assert_eq!(of("true").await, None);
        assert_eq!(of("echo $HOME").await, None);
    }

    #[tokio::test]
    async fn an_absent_program_is_none() {
        assert_eq!(version_of(&["kitt-no-such-program"], &path()).await, None);
        assert_eq!(version_of(&[], &path()).await, None);
    }
}
