//! Stored baselines against a fake GitHub: which is chosen, which is refused and why, and how one
//! is stored.

mod branch;
mod choice;
mod commands;
mod flow;
mod hostile;

use std::{path::Path, time::Duration};

use kitt_action::{
    github::{GitHub as Client, GitHubError},
    ids::RepoSlug,
    secret::Secret,
    store::discover::{self, Conditions, Parent, Place, Question, Refused, Search},
};
use tempfile::TempDir;

use crate::{
    github::{GitHub, zip},
    history::Past,
};

pub const NAME: &str = "kitt-baseline";

/// The files of a results directory, as `upload-artifact` packs them.
pub fn packed(dir: &Path) -> Vec<u8> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            files.push((name, std::fs::read(path).unwrap()));
        }
    }
    files.sort();
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    zip(&files)
}

/// A job's results, packed.
pub fn archive(past: &Past) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    past.store(dir.path());
    packed(dir.path())
}

/// A repository with commits on `main`, and baselines of some of them.
pub struct World {
    pub gh: GitHub,
    /// Commits of `main`, oldest first.
    pub commits: Vec<String>,
    pub scratch: TempDir,
}

impl World {
    pub fn new(commits: usize) -> Self {
        let gh = GitHub::start();
        let commits = gh.state(|s| {
            let mut found = vec![s.head("org/repo", "main")];
            for number in 1..commits {
                let text = number.to_string();
                found.push(s.push("org/repo", "main", &[("src/lib.rs", text.as_bytes())]));
            }
            found
        });
        Self {
            gh,
            commits,
            scratch: tempfile::tempdir().unwrap(),
        }
    }

    /// A baseline of a commit of `main`, stored by a green run of a push; the artifact's id.
    pub fn stored(&self, at: usize, past: &Past) -> u64 {
        self.stored_by("push", at, &archive(past))
    }

    pub fn stored_by(&self, event: &str, at: usize, bytes: &[u8]) -> u64 {
        let sha = self.commits[at].clone();
        self.gh.state(|s| {
            let run = s.run(event, "main", &sha).id;
            s.artifact(run, NAME, bytes)
        })
    }

    /// Changes the run behind an artifact.
    pub fn edit_run(&self, artifact: u64, edit: impl FnOnce(&mut crate::github::Run)) {
        self.gh.state(|s| {
            let run = s.artifacts.iter().find(|a| a.id == artifact).unwrap().run;
            edit(s.runs.iter_mut().find(|known| known.id == run).unwrap());
        });
    }

    pub fn edit(&self, artifact: u64, edit: impl FnOnce(&mut crate::github::Artifact)) {
        self.gh.state(|s| {
            let found = s.artifacts.iter_mut().find(|a| a.id == artifact);
            edit(found.unwrap());
        });
    }

    pub fn parent(&self, at: usize) -> Parent {
        Parent {
            commit: self.commits[at].clone(),
            is: "the test's",
        }
    }

    pub fn client(url: &str) -> Client {
        Client::new(url, Secret::new("t0ken").unwrap())
            .unwrap()
            .with_base_delay(Duration::from_millis(1))
    }

    /// Looks for a baseline of a commit of `main`.
    pub fn search(&self, at: usize, conditions: &Conditions) -> Result<Search, GitHubError> {
        self.search_at(&self.gh.url, Place::Artifacts(NAME), Some(at), conditions)
    }

    pub fn search_at(
        &self,
        url: &str,
        place: Place<'_>,
        at: Option<usize>,
        conditions: &Conditions,
    ) -> Result<Search, GitHubError> {
        let repo: RepoSlug = "org/repo".parse().unwrap();
        // Each search downloads into a place of its own.
        let scratch = tempfile::tempdir_in(self.scratch.path()).unwrap().keep();
        let question = Question {
            repo: &repo,
            repo_id: 1,
            place,
            branches: vec!["main".to_owned()],
            own_run: Some(42),
            parent: at.map(|at| self.parent(at)),
            conditions,
            scratch: &scratch,
        };
        block_on(async { discover::discover(&Self::client(url), &question).await })
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// The conditions of jobs as [`Past`] makes them.
pub fn usual_conditions() -> Conditions {
    Conditions::of(&Past::default().header().fingerprint)
}

/// Why the one thing that is stored was not taken.
pub fn only_reason(search: &Search) -> &Refused {
    let [(_, why)] = search.refused.as_slice() else {
        panic!("{search:?}");
    };
    why
}
