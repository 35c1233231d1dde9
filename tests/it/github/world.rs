//! A repository to begin with, and what tests add to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::{Cursor, Write as _},
    sync::Arc,
};

use sha2::{Digest, Sha256};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::state::{
    Activity, Artifact, Comment, Commit, IssueEvent, Pull, Rate, Repository, Run, State, Tree,
};

impl Default for State {
    /// The public repository `org/repo` (id 1) with one commit on `main`.
    fn default() -> Self {
        let mut state = Self {
            repositories: Vec::new(),
            renamed: BTreeMap::new(),
            comments: Vec::new(),
            commit_comments: Vec::new(),
            checks: Vec::new(),
            pulls: Vec::new(),
            events: Vec::new(),
            runs: Vec::new(),
            artifacts: Vec::new(),
            commits: BTreeMap::new(),
            trees: BTreeMap::new(),
            blobs: BTreeMap::new(),
            refs: BTreeMap::new(),
            activity: Vec::new(),
            permissions: BTreeMap::new(),
            unknown_users: BTreeSet::new(),
            tokens: BTreeMap::new(),
            viewer: None,
            rate: Rate {
                limit: 5000,
                remaining: 5000,
                reset_in: 3600,
            },
            faults: Vec::new(),
            chaos: None,
            log: Vec::new(),
            violations: Vec::new(),
            strict_paths: false,
            clock_ahead: 0,
            fork_pulls_by_commit: false,
            // Ids at GitHub have long left 32 bits.
            next_id: 5_000_000_000,
        };
        state.repository("org/repo");
        let root = state.commit(&[], &[("README.md", b"A project.\n")]);
        state.branch("org/repo", "main", &root);
        state
    }
}

impl State {
    /// Adds a public repository, and gives its id.
    pub fn repository(&mut self, full_name: &str) -> u64 {
        let id = self.repositories.len() as u64 + 1;
        self.repositories.push(Repository {
            id,
            full_name: full_name.to_owned(),
            default_branch: "main".to_owned(),
            private: false,
            archived: false,
            parent: None,
        });
        id
    }

    /// Adds a fork of `org/repo`, and gives its id.
    pub fn fork(&mut self, full_name: &str) -> u64 {
        let id = self.repository(full_name);
        self.repo(full_name).parent = Some("org/repo".to_owned());
        let main = self.head("org/repo", "main");
        self.branch(full_name, "main", &main);
        id
    }

    pub fn repo(&mut self, full_name: &str) -> &mut Repository {
        let mut known = self.repositories.iter_mut();
        known.find(|repo| repo.is(full_name)).unwrap()
    }

    /// Gives a repository a new name; the old one redirects.
    pub fn rename(&mut self, old: &str, new: &str) {
        let repo = self.repo(old);
        new.clone_into(&mut repo.full_name);
        let id = repo.id;
        self.renamed.insert(old.to_owned(), id);
        let refs = std::mem::take(&mut self.refs).into_iter();
        let moved = refs.map(|((full, name), sha)| {
            let full = if full == old { new.to_owned() } else { full };
            ((full, name), sha)
        });
        self.refs = moved.collect();
    }

    pub fn branch(&mut self, repo: &str, name: &str, sha: &str) {
        let key = (repo.to_owned(), format!("heads/{name}"));
        let before = self.refs.insert(key, sha.to_owned());
        let (id, timestamp) = (self.id(), self.stamp());
        self.activity.push(Activity {
            id,
            repo: repo.to_owned(),
            reference: format!("refs/heads/{name}"),
            before,
            after: sha.to_owned(),
            timestamp,
        });
    }

    /// The commit of a branch.
    pub fn head(&self, repo: &str, name: &str) -> String {
        self.refs[&(repo.to_owned(), format!("heads/{name}"))].clone()
    }

    /// A commit with the first parent's files and these.
    pub fn commit(&mut self, parents: &[&str], files: &[(&str, &[u8])]) -> String {
        self.commit_as(None, parents, files)
    }

    /// The same with a given SHA.
    pub fn commit_as(
        &mut self,
        sha: Option<&str>,
        parents: &[&str],
        files: &[(&str, &[u8])],
    ) -> String {
        let first = parents.first().and_then(|sha| self.commits.get(*sha));
        let tree = first.and_then(|commit| self.trees.get(&commit.tree));
        let mut tree = tree.cloned().unwrap_or_default();
        for (path, bytes) in files {
            let blob = self.add_blob(bytes);
            tree.insert((*path).to_owned(), ("100644".to_owned(), blob));
        }
        let tree = self.add_tree(tree);
        let parents = parents.iter().map(|sha| (*sha).to_owned()).collect();
        self.add_commit(sha, &tree, parents, "A change", "dev")
    }

    /// Commits these files to a branch.
    pub fn push(&mut self, repo: &str, branch: &str, files: &[(&str, &[u8])]) -> String {
        let parent = self.head(repo, branch);
        let sha = self.commit(&[&parent], files);
        self.branch(repo, branch, &sha);
        sha
    }

    pub fn add_blob(&mut self, bytes: &[u8]) -> String {
        let sha = hash(&[b"blob", bytes]);
        self.blobs.insert(sha.clone(), bytes.into());
        sha
    }

    /// With every folder in it.
    pub fn add_tree(&mut self, tree: Tree) -> String {
        let folders: BTreeSet<String> = tree
            .keys()
            .filter_map(|path| path.split_once('/'))
            .map(|(name, _)| name.to_owned())
            .collect();
        for folder in folders {
            self.add_tree(below(&tree, &folder));
        }
        let sha = tree_sha(&tree);
        self.trees.insert(sha.clone(), tree);
        sha
    }

    pub fn add_commit(
        &mut self,
        sha: Option<&str>,
        tree: &str,
        parents: Vec<String>,
        message: &str,
        author: &str,
    ) -> String {
        let (order, date) = (self.id(), self.stamp());
        let name = || {
            let (order, parents) = (order.to_string(), parents.join(" "));
            let parts = [
                b"commit",
                tree.as_bytes(),
                parents.as_bytes(),
                order.as_bytes(),
            ];
            hash(&parts)
        };
        let sha = sha.map_or_else(name, str::to_owned);
        let commit = Commit {
            sha: sha.clone(),
            tree: tree.to_owned(),
            parents,
            message: message.to_owned(),
            author: author.to_owned(),
            date,
            order,
        };
        self.commits.insert(sha.clone(), commit);
        sha
    }

    /// An open pull request of `org/repo`, made when it is not there: from the branch
    /// `pull-<number>` with one commit on `main`.
    pub fn pull(&mut self, number: u64) -> &mut Pull {
        let repo = self.repositories[0].clone();
        let known = |pull: &Pull| pull.repo == repo.id && pull.number == number;
        if let Some(at) = self.pulls.iter().position(known) {
            return &mut self.pulls[at];
        }
        let base = self.head(&repo.full_name, &repo.default_branch);
        let head_ref = format!("pull-{number}");
        let head = self.commit(&[&base], &[("src/lib.rs", head_ref.as_bytes())]);
        self.branch(&repo.full_name, &head_ref, &head);
        let now = self.stamp();
        self.pulls.push(Pull {
            repo: repo.id,
            number,
            open: true,
            draft: false,
            locked: false,
            title: format!("Pull request {number}"),
            body: None,
            author: "dev".to_owned(),
            labels: Vec::new(),
            head_ref,
            head_sha: head,
            head_repo: Some(repo.id),
            head_owner: repo.owner().to_owned(),
            base_ref: repo.default_branch.clone(),
            base_sha: base,
            merge_commit_sha: None,
            merged: false,
            files: None,
            created_at: now.clone(),
            updated_at: now,
        });
        self.pulls.last_mut().unwrap()
    }

    /// The same from a fork, which is made when it is not there.
    pub fn fork_pull(&mut self, number: u64, fork: &str) -> &mut Pull {
        let known = self.repositories.iter().find(|repo| repo.is(fork));
        let id = known.map(|repo| repo.id);
        let id = id.unwrap_or_else(|| self.fork(fork));
        let pull = self.pull(number);
        pull.head_repo = Some(id);
        let owner = fork.split('/').next().unwrap_or_default();
        owner.clone_into(&mut pull.head_owner);
        let (branch, sha) = (pull.head_ref.clone(), pull.head_sha.clone());
        self.branch(fork, &branch, &sha);
        self.pull(number)
    }

    /// A new commit on the branch of a pull request.
    pub fn push_pull(&mut self, number: u64, files: &[(&str, &[u8])]) -> String {
        let pull = self.pull(number).clone();
        let sha = self.commit(&[&pull.head_sha], files);
        let repo = self
            .repositories
            .iter()
            .find(|r| Some(r.id) == pull.head_repo);
        if let Some(full) = repo.map(|repo| repo.full_name.clone()) {
            self.branch(&full, &pull.head_ref, &sha);
        }
        self.pull(number).head_sha.clone_from(&sha);
        sha
    }

    /// A comment on a pull request of `org/repo`, by anyone.
    pub fn comment(&mut self, number: u64, login: &str, body: &str) -> u64 {
        let (id, now) = (self.id(), self.stamp());
        let app = super::Token::read_write().app;
        self.comments.push(Comment {
            id,
            repo: self.repositories[0].id,
            issue: number,
            author: login.to_owned(),
            app: app.filter(|_| login == "github-actions[bot]"),
            body: body.to_owned(),
            created_at: now.clone(),
            updated_at: now,
        });
        id
    }

    pub fn label(&mut self, number: u64, label: &str, actor: &str) {
        self.pull(number).labels.push(label.to_owned());
        self.event(number, "labeled", Some(label), actor);
    }

    pub fn unlabel(&mut self, number: u64, label: &str, actor: &str) {
        self.pull(number).labels.retain(|name| name != label);
        self.event(number, "unlabeled", Some(label), actor);
    }

    pub fn event(&mut self, number: u64, event: &str, label: Option<&str>, actor: &str) {
        let (id, now) = (self.id(), self.stamp());
        self.events.push(IssueEvent {
            id,
            repo: self.repositories[0].id,
            issue: number,
            event: event.to_owned(),
            actor: actor.to_owned(),
            label: label.map(str::to_owned),
            commit_id: None,
            created_at: now,
        });
    }

    /// A successful run of `.github/workflows/bench.yml` in `org/repo`, to be changed at will.
    pub fn run(&mut self, event: &str, branch: &str, sha: &str) -> &mut Run {
        let (id, now, number) = (self.id(), self.stamp(), self.runs.len() as u64 + 1);
        let repo = self.repositories[0].id;
        self.runs.push(Run {
            id,
            repo,
            name: "Bench".to_owned(),
            path: ".github/workflows/bench.yml".to_owned(),
            workflow_id: 4_000_001,
            event: event.to_owned(),
            status: "completed".to_owned(),
            conclusion: Some("success".to_owned()),
            head_sha: sha.to_owned(),
            head_branch: Some(branch.to_owned()),
            head_repo: Some(repo),
            run_number: number,
            run_attempt: 1,
            actor: "dev".to_owned(),
            pulls: Vec::new(),
            created_at: now.clone(),
            updated_at: now,
        });
        self.runs.last_mut().unwrap()
    }

    /// An artifact of a run, with these bytes as its zip.
    pub fn artifact(&mut self, run: u64, name: &str, bytes: &[u8]) -> u64 {
        let (id, now) = (self.id(), self.stamp());
        let repo = self.runs.iter().find(|known| known.id == run).unwrap().repo;
        let expires = self.now() + jiff::SignedDuration::from_hours(24 * 90);
        self.artifacts.push(Artifact {
            id,
            repo,
            run,
            name: name.to_owned(),
            bytes: Arc::from(bytes),
            expired: false,
            digest: Some(format!("sha256:{}", hex(&Sha256::digest(bytes)))),
            created_at: now,
            expires_at: expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        });
        id
    }
}

/// The files of one folder, named from there.
pub(super) fn below(tree: &Tree, folder: &str) -> Tree {
    let inside = format!("{folder}/");
    tree.iter()
        .filter_map(|(path, file)| Some((path.strip_prefix(&inside)?, file)))
        .map(|(path, file)| (path.to_owned(), file.clone()))
        .collect()
}

pub(super) fn tree_sha(tree: &Tree) -> String {
    let lines = tree
        .iter()
        .fold(String::new(), |lines, (path, (mode, blob))| {
            format!("{lines}{mode} {path} {blob}\n")
        });
    hash(&[b"tree", lines.as_bytes()])
}

fn hash(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let mut text = hex(&hasher.finalize());
    text.truncate(40);
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A zip with these files, compressed, as `actions/upload-artifact` makes it.
pub fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, bytes) in files {
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}
