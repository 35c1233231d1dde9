//! What event and checkout do not say, asked of GitHub once, before anything is decided: the pull
//! request that a comment or a manual run is about, and the changed paths of a shallow clone.
//!
//! Nothing here fails: without an answer kitt goes on with what is known, and says so.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    cli::Typed,
    context::{self, Changed, ContextError, EnvSnapshot, EventKind, Inputs, Learned, Trigger},
    github::{GitHub, GitHubError, operations},
    ids::{PrNumber, RepoSlug},
};

/// Files of a pull request; GitHub lists no more.
const MOST_FILES: usize = 3000;
/// Files of a comparison; GitHub lists no more.
const MOST_COMPARED: usize = 300;

/// Settings, environment and file to [`Inputs`], with what the API has to say where it is needed.
///
/// # Errors
/// As [`context::resolve`].
pub(super) async fn resolve(typed: &Typed, env: &EnvSnapshot) -> Result<Inputs, ContextError> {
    let inputs = context::resolve(typed, env)?;
    let Some(question) = Question::of(&inputs) else {
        return Ok(inputs);
    };
    let pull = question.pull().await;
    let changed = if inputs.paths_unknown {
        Some(question.changed(pull.as_ref()).await)
    } else {
        None
    };
    context::resolve_with(typed, env, &Learned { pull, changed })
}

/// Whom to ask about what.
struct Question<'a> {
    github: GitHub,
    repo: &'a RepoSlug,
    pr: Option<PrNumber>,
    trigger: &'a Trigger,
}

impl<'a> Question<'a> {
    /// `None` where nothing is missing, or nobody can be asked.
    fn of(inputs: &'a Inputs) -> Option<Self> {
        let (publish, trigger) = (&inputs.publish, &inputs.trigger);
        // Outside of a workflow there is no event to make sense of.
        trigger.event.as_ref()?;
        let undescribed = publish.pr.is_some() && !trigger.described;
        if !undescribed && !inputs.paths_unknown {
            return None;
        }
        let github = GitHub::new(&publish.api_url, publish.token.clone()?);
        let github = github.inspect_err(|error| tracing::warn!("GitHub is not asked: {error}"));
        Some(Self {
            github: github.ok()?,
            repo: publish.repo.as_ref()?,
            pr: publish.pr,
            trigger,
        })
    }

    /// The pull request, where the event has but its number.
    async fn pull(&self) -> Option<Value> {
        let number = self.pr.filter(|_| !self.trigger.described)?.to_string();
        let request = operations::GET_PULL.request(&[self.repo.owner(), self.repo.name(), &number]);
        let answer = self.github.ask::<Value>(&request).await;
        let answer = answer.inspect_err(|error| {
            tracing::warn!("going on without what GitHub knows of pull request {number}: {error}");
        });
        Some(answer.ok()?.value)
    }

    /// The changed paths.
    async fn changed(&self, pull: Option<&Value>) -> Changed {
        let found = match self.pr {
            Some(number) => self.files(number).await,
            None => self.compared(pull).await,
        };
        match &found {
            Changed::Known(paths) => {
                tracing::info!(
                    "git cannot tell the changed paths; GitHub lists {}",
                    paths.len()
                );
            }
            Changed::Cut(_, why) | Changed::Unknown(why) => {
                tracing::warn!("the changed paths are not all known: {why}");
            }
        }
        found
    }

    async fn files(&self, number: PrNumber) -> Changed {
        let request = operations::LIST_PULL_FILES.request(&[
            self.repo.owner(),
            self.repo.name(),
            &number.to_string(),
        ]);
        let files = self
            .github
            .pages(request, MOST_FILES, |page: Vec<File>| page);
        match files.await {
            Ok(files) => listed(files, MOST_FILES),
            Err(error) => not_told(&error),
        }
    }

    /// A push: what came since the commit before, or since the default branch was left.
    async fn compared(&self, pull: Option<&Value>) -> Changed {
        let trigger = self.trigger;
        let told = |pointer: &str| pull?.pointer(pointer)?.as_str().map(str::to_owned);
        let new = || trigger.default_branch.clone();
        let new = || new().filter(|_| trigger.kind == EventKind::Push);
        let base = trigger.base.as_ref().map(ToString::to_string);
        let base = base.or_else(|| told("/base/sha")).or_else(new);
        let head = trigger.head.as_ref().map(ToString::to_string);
        let (Some(base), Some(head)) = (base, head.or_else(|| told("/head/sha"))) else {
            return Changed::Unknown("GitHub has nothing to compare".to_owned());
        };
        let range = format!("{base}...{head}");
        let request = operations::COMPARE.request(&[self.repo.owner(), self.repo.name(), &range]);
        match self.github.ask::<Comparison>(&request).await {
            Ok(answer) => listed(answer.value.files, MOST_COMPARED),
            Err(error) => not_told(&error),
        }
    }
}

/// A list of files; GitHub says nothing when it cuts one.
fn listed(files: Vec<File>, most: usize) -> Changed {
    let cut = files.len() >= most;
    let paths = files.into_iter().flat_map(File::paths).collect();
    if cut {
        Changed::Cut(paths, format!("GitHub lists the first {most} files only"))
    } else {
        Changed::Known(paths)
    }
}

fn not_told(error: &GitHubError) -> Changed {
    Changed::Unknown(format!("GitHub does not say either: {error}"))
}

/// A changed file.
#[derive(Deserialize)]
struct File {
    filename: String,
    previous_filename: Option<String>,
}

impl File {
    /// Both names of a moved file count.
    fn paths(self) -> impl Iterator<Item = String> {
        std::iter::once(self.filename).chain(self.previous_filename)
    }
}

#[derive(Deserialize)]
struct Comparison {
    #[serde(default)]
    files: Vec<File>,
}
