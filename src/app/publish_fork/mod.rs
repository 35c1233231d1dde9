//! `kitt ci publish`: the second half of a benchmark of a fork. Its run measures without any right
//! and uploads data; this command runs on the default branch, in a job that may write, and tells
//! the pull request (`research/ci-actions.md` §5.1).
//!
//! Nothing that the first run says is believed but its numbers, and those only as numbers: the
//! pull request comes from GitHub, the baseline, limits and words from this repository. No code of
//! the pull request is checked out, and nothing of its results becomes a baseline.

mod artifacts;
mod judge;
mod pull;
mod take;
mod told;

use std::path::{Path, PathBuf};

use self::pull::Pull;
use super::{accept, ci, policy, signal::Stop, tell};
use crate::{
    cli::{CiPublishArgs, Typed},
    context::{self, CompletedRun, ContextError, EnvSnapshot, Inputs, Learned, Trigger},
    error::Error,
    exit::Exit,
    github::GitHub,
    ids::RepoSlug,
};

/// Reports what the run of a pull request measured.
///
/// # Errors
/// The job is none of `workflow_run`, a setting makes no sense, GitHub does not answer or does not
/// take the comment, or this repository's own baseline cannot be read.
pub(super) async fn run(
    args: &CiPublishArgs,
    env: &EnvSnapshot,
    stop: &Stop,
) -> Result<Exit, Error> {
    let inputs = match context::resolve(&args.settings.0, env) {
        Ok(inputs) => inputs,
        Err(error) => {
            let error = error.into();
            ci::unresolved(env, &error).await;
            return Err(error);
        }
    };
    tell::hide(&inputs);
    let published = Box::pin(publish(args, env, &inputs, stop)).await;
    if let Err(error) = &published {
        told::failed(&inputs, error).await;
    }
    published
}

async fn publish(
    args: &CiPublishArgs,
    env: &EnvSnapshot,
    inputs: &Inputs,
    stop: &Stop,
) -> Result<Exit, Error> {
    let run = CompletedRun::read(env)?;
    if let Some(why) = nothing_to_do(inputs, &run) {
        return Ok(told::nothing(inputs, &why).await);
    }
    let place = Place::of(inputs)?;
    let pull = match pull::find(&place, &run).await? {
        Ok(pull) => pull,
        Err(why) => return Ok(told::nothing(inputs, &why).await),
    };
    tracing::info!("run {} belongs to pull request {}", run.id, pull.number);
    let inputs = for_pull(&args.settings.0, env, &place, &run, &pull)?;
    policy::say_contexts(&inputs);
    // Labels may be newer than the measurement: who set which when is asked of GitHub.
    let inputs = accept::heard(&inputs).await;
    let out = folder(args.output.as_deref(), env)?;
    let legs = match fetched(&inputs) {
        Some(dir) => take::from_folder(&dir, &out)?,
        None => artifacts::fetch(&place, &run, &inputs.foreign.artifact, &out).await?,
    };
    stop.check()?;
    let origin = origin(&run, &place);
    let judged = judge::all(legs, &inputs, env, &run, origin.as_deref()).await?;
    told::tell(&inputs, &out, judged).await
}

/// Why a run is none to report; `None`: it is one.
fn nothing_to_do(inputs: &Inputs, run: &CompletedRun) -> Option<String> {
    if run.event != "pull_request" {
        return Some("the completed run was not started by a pull request".to_owned());
    }
    if let Some(workflow) = &inputs.foreign.workflow
        && !run.is_of(workflow)
    {
        return Some(format!("the completed run is none of {workflow}"));
    }
    match run.conclusion.as_str() {
        "skipped" => Some("the completed run was skipped".to_owned()),
        "action_required" => Some("the run waits for somebody's approval".to_owned()),
        _ => None,
    }
}

/// The repository that asks, and who it asks.
struct Place {
    github: GitHub,
    repo: RepoSlug,
    /// Its id: names can be taken over, ids cannot.
    id: u64,
}

impl Place {
    fn of(inputs: &Inputs) -> Result<Self, Error> {
        let missing = |name, remedy: &str| ContextError::Missing {
            name,
            remedy: remedy.to_owned(),
        };
        let publish = &inputs.publish;
        let token = publish.token.clone().ok_or_else(|| {
            missing(
                "github-token",
                "give the job's own token, with `permissions: {actions: read, pull-requests: write}`",
            )
        })?;
        let repo = publish.repo.clone();
        let repo = repo.ok_or_else(|| missing("repo", "set GITHUB_REPOSITORY or give --repo"))?;
        let id = inputs.trigger.repo_id;
        let id =
            id.ok_or_else(|| missing("GITHUB_REPOSITORY_ID", "set it to the repository's id"))?;
        Ok(Self {
            github: GitHub::new(&publish.api_url, token)
                .map_err(crate::publish::PublishError::from)?,
            repo,
            id,
        })
    }
}

/// The settings as they are for the pull request, of which only GitHub tells. Labels and the
/// description have no say: they may be newer than the measurement.
fn for_pull(
    typed: &Typed,
    env: &EnvSnapshot,
    place: &Place,
    run: &CompletedRun,
    pull: &Pull,
) -> Result<Inputs, Error> {
    let head = run.head_repository.as_ref().map(|head| head.id);
    let trigger = Trigger {
        // What the policy says of pull requests is meant for this one.
        event: Some(run.event.clone()),
        pr: Some(pull.number),
        head: Some(run.head_sha.clone()),
        base: Some(pull.base_sha.clone()),
        base_branch: Some(pull.base_branch.clone()),
        // Of this job's checkout, which is not what was measured.
        sha: None,
        head_repo_id: head,
        head_branch: Some(run.head_branch.clone()),
        // The token is this repository's own, and may be given more rights.
        fork: false,
        labels: Vec::new(),
        body: None,
        run_url: Some(run_url(env, place, run)),
        attempt: Some(run.attempt),
        ..Trigger::read(env, None)
    };
    let mut inputs = context::resolve_as(typed, env, trigger, &Learned::default())?;
    let publish = &mut inputs.publish;
    publish.pr = Some(pull.number);
    publish.store_baseline = false;
    publish.commit_comment = false;
    Ok(inputs)
}

/// The page of the run that measured.
fn run_url(env: &EnvSnapshot, place: &Place, run: &CompletedRun) -> String {
    let server = env.get("GITHUB_SERVER_URL").unwrap_or("https://github.com");
    format!(
        "{server}/{}/actions/runs/{}/attempts/{}",
        place.repo, run.id, run.attempt
    )
}

/// Where results lie that somebody fetched already, if so. The config file's folder is the one
/// that a measurement writes to and does not count.
fn fetched(inputs: &Inputs) -> Option<PathBuf> {
    let given = inputs.layers.above_file("results-dir");
    given.then(|| inputs.results_dir.clone())
}

/// What every document says of where its numbers come from.
fn origin(run: &CompletedRun, place: &Place) -> Option<String> {
    let head = run.head_repository.as_ref()?;
    (head.id != place.id).then(|| {
        format!(
            "the code of {} measured and reported these numbers itself, so they show no more than \
             it wants to show. Baseline, limits and verdict are those of {}.",
            head.slug, place.repo
        )
    })
}

/// An empty folder for what was checked and what is made of it.
fn folder(asked: Option<&Path>, env: &EnvSnapshot) -> Result<PathBuf, Error> {
    let wrong = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Write { path, source }
    };
    let Some(dir) = asked else {
        let temporary = env.get("RUNNER_TEMP").map(PathBuf::from);
        let temporary = temporary.unwrap_or_else(std::env::temp_dir);
        let made = tempfile::Builder::new()
            .prefix("kitt-published-")
            .tempdir_in(&temporary);
        return Ok(made.map_err(wrong(&temporary))?.keep());
    };
    std::fs::create_dir_all(dir).map_err(wrong(dir))?;
    let mut entries = std::fs::read_dir(dir).map_err(wrong(dir))?;
    if entries.next().is_some() {
        let error = std::io::Error::new(
            std::io::ErrorKind::AlreadyExists,
            "it is not empty; name a new folder",
        );
        return Err(wrong(dir)(error));
    }
    Ok(dir.to_owned())
}
