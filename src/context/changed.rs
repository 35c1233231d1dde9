//! Which paths a change touches: from a file that lists them, else from git, else what the API
//! answered to whoever asked it.

use std::{io::Read, path::Path};

use super::{ContextError, Layers, Trigger, checkout::git};

/// Largest list that is read, in bytes; the largest change known is far below.
const MAX_BYTES: u64 = 16 << 20;

/// The changed paths, relative to the repository's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// These.
    Known(Vec<String>),
    /// These, and more that nobody names, for this reason.
    Cut(Vec<String>, String),
    /// Nobody can tell, for this reason.
    Unknown(String),
}

/// Finds the changed paths. `workspace` is where git is asked, `learned` what the API answered.
///
/// # Errors
/// The file that was named cannot be read.
pub(super) fn changed(
    layers: &Layers,
    trigger: &Trigger,
    workspace: &Path,
    learned: Option<&Changed>,
) -> Result<Changed, ContextError> {
    let Some(file) = layers.text("changed-files") else {
        return Ok(match (from_git(trigger, workspace), learned) {
            (Changed::Unknown(why), Some(Changed::Unknown(also))) => {
                Changed::Unknown(format!("{why}; {also}"))
            }
            (Changed::Unknown(_), Some(learned)) => learned.clone(),
            (found, _) => found,
        });
    };
    let wrong = |why| layers.refuse("changed-files", file, why);
    let open = std::fs::File::open(workspace.join(file));
    let open = open.map_err(|error| wrong(format!("it cannot be read: {error}")))?;
    let mut text = String::new();
    let read = open.take(MAX_BYTES + 1).read_to_string(&mut text);
    match read {
        Ok(size) if size as u64 <= MAX_BYTES => Ok(Changed::Known(paths(&text))),
        Ok(_) => Err(wrong(format!("it is larger than {MAX_BYTES} bytes"))),
        Err(error) => Err(wrong(format!("it cannot be read: {error}"))),
    }
}

/// One path per line.
fn paths(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    let paths = lines.map(|line| line.strip_prefix("./").unwrap_or(line));
    // `./` alone names the workspace, which is no changed file.
    paths
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect()
}

fn from_git(trigger: &Trigger, workspace: &Path) -> Changed {
    let unknown = |why: &str| Changed::Unknown(why.to_owned());
    let (Some(base), Some(head)) = (&trigger.base, &trigger.head) else {
        return unknown("the event does not name base and head");
    };
    let asked = git(workspace)
        // Both names of a moved file count.
        .args(["diff", "--name-only", "--no-renames", "--no-ext-diff", "-z"])
        .arg(format!("{}...{}", base.as_str(), head.as_str()))
        .args(["--"])
        .output();
    match asked {
        Err(_) => unknown("git cannot be started"),
        Ok(output) if !output.status.success() => {
            unknown("git does not have base and head: check out with fetch-depth 0")
        }
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            let names = text.split('\0').filter(|name| !name.is_empty());
            Changed::Known(names.map(str::to_owned).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_has_one_path_per_line() {
        let found = paths("src/a.rs\r\n\n ./docs/b c.md \n./\n");
        assert_eq!(found, ["src/a.rs", "docs/b c.md"]);
    }

    #[test]
    fn without_commits_nobody_can_tell() {
        let found = from_git(&Trigger::default(), Path::new("."));
        assert!(matches!(found, Changed::Unknown(why) if why.contains("base and head")));
    }

    proptest! {
        #[test]
        fn any_text_is_a_list_of_paths(text in "(\\PC|\n|\r){0,80}") {
            prop_assert!(paths(&text).iter().all(|path| !path.is_empty() && !path.contains('\n')));
        }
    }
}
