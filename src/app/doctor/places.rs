//! What is found about folders, the network and GitHub. Pure.

use std::path::PathBuf;

use super::{
    docker::gib,
    finding::{Finding, Severity},
};
use crate::{app::space, units::Bytes};

/// A folder that kitt writes into.
#[derive(Debug, Clone, Default)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Why it cannot be written; `None` when it can.
    pub(super) refused: Option<String>,
    /// Free bytes on its disk.
    pub(super) free: Option<Bytes>,
}

/// What is known of folders and the network.
#[derive(Debug, Clone, Default)]
pub(super) struct PlaceFacts {
    pub(super) results: Folder,
    pub(super) locks: Folder,
    /// Who holds a lock, in words.
    pub(super) holders: Vec<String>,
    /// Names of the proxy variables that are set.
    pub(super) proxies: Vec<String>,
    /// Files of certificates that were named and cannot be read.
    pub(super) bad_certificates: Vec<String>,
    /// How many certificates the system trusts.
    pub(super) certificates: usize,
    /// What GitHub said about the token; `None` when there is no token.
    pub(super) github: Option<Result<GitHubFacts, String>>,
    /// Engines that are installed on this host.
    pub(super) engines: Vec<String>,
}

/// What GitHub told of a token. Never the token.
#[derive(Debug, Clone, Default)]
pub(super) struct GitHubFacts {
    pub(super) repo: String,
    /// Classic tokens list what they may do.
    pub(super) scopes: Option<String>,
    /// Whether the token may write to the repository; `None` when GitHub does not tell.
    pub(super) may_write: Option<bool>,
}

/// Judges all of it.
pub(super) fn judge(facts: &PlaceFacts) -> Vec<Finding> {
    let mut found = vec![results(&facts.results), locks(&facts.locks)];
    found.extend(holders(&facts.holders));
    found.extend(proxies(&facts.proxies));
    found.extend(certificates(facts));
    found.extend(facts.github.as_ref().map(github));
    found.push(engines(&facts.engines));
    found
}

fn results(folder: &Folder) -> Finding {
    let path = folder.path.display();
    if let Some(why) = &folder.refused {
        return Finding::problem(
            "files.results",
            format!("results cannot be written to {path}: {why}"),
            "a run writes its results as it goes",
            "give another folder with --output, or make this one writable",
        );
    }
    let Some(free) = folder.free else {
        return Finding::ok("files.results", format!("results can be written to {path}"));
    };
    let what = format!("{} free for results in {path}", gib(free));
    let why = "every request is written down";
    if free < space::LEAST {
        Finding::problem(
            "files.results",
            what,
            why,
            "make room, or give another folder",
        )
    } else if free < space::COMFORTABLE {
        Finding::warning(
            "files.results",
            what,
            why,
            "make room, or give another folder",
        )
    } else {
        Finding::ok("files.results", what)
    }
}

fn locks(folder: &Folder) -> Finding {
    let path = folder.path.display();
    match &folder.refused {
        None => Finding::ok("files.locks", format!("GPUs can be locked in {path}")),
        Some(why) => Finding::problem(
            "files.locks",
            format!("GPUs cannot be locked in {path}: {why}"),
            "two jobs could share a GPU without knowing",
            "make the folder writable for every runner (`chmod 1777`), or give another with \
             --lock-dir",
        ),
    }
}

fn holders(holders: &[String]) -> Option<Finding> {
    (!holders.is_empty()).then(|| {
        Finding::note(
            "files.holders",
            format!("GPUs are locked by {}", holders.join("; ")),
            "a run that wants them waits, then stops",
            "wait for it, or give --wait-for-gpu",
        )
    })
}

fn proxies(names: &[String]) -> Option<Finding> {
    (!names.is_empty()).then(|| {
        Finding::note(
            "network.proxy",
            format!("set: {}", names.join(", ")),
            "GitHub is reached through it; engines on this machine never are. The Docker \
             daemon has settings of its own",
            "for pulls, set the proxy in the daemon's own configuration",
        )
    })
}

fn certificates(facts: &PlaceFacts) -> Option<Finding> {
    let why = "GitHub and https endpoints are verified with them";
    if !facts.bad_certificates.is_empty() {
        return Some(Finding::warning(
            "network.certificates",
            format!("cannot be read: {}", facts.bad_certificates.join(", ")),
            why,
            "correct SSL_CERT_FILE or SSL_CERT_DIR, or unset it",
        ));
    }
    (facts.certificates == 0).then(|| {
        Finding::warning(
            "network.certificates",
            "the system trusts no certificate",
            why,
            "install ca-certificates",
        )
    })
}

fn github(answer: &Result<GitHubFacts, String>) -> Finding {
    const WHY: &str = "the comment on the pull request is written with it";
    match answer {
        Err(why) => Finding::warning(
            "github.token",
            format!("the token does not work: {why}"),
            WHY,
            "give the job `permissions: pull-requests: write`, or post no comment",
        ),
        Ok(facts) => {
            let scopes = facts.scopes.as_deref().filter(|scopes| !scopes.is_empty());
            let scopes = scopes.map_or_else(String::new, |scopes| format!(" (scopes: {scopes})"));
            let repo = &facts.repo;
            let severity = match facts.may_write {
                Some(false) => Severity::Note,
                Some(true) | None => Severity::Ok,
            };
            if severity == Severity::Ok {
                return Finding::ok("github.token", format!("the token reads {repo}{scopes}"));
            }
            Finding::bad(
                severity,
                "github.token",
                format!("the token reads {repo} and may not push{scopes}"),
                "that is enough for comments where the job has `pull-requests: write`",
                "nothing, unless comments do not appear",
            )
        }
    }
}

fn engines(names: &[String]) -> Finding {
    let what = if names.is_empty() {
        "no engine is installed on this host: containers only".to_owned()
    } else {
        format!("installed on this host: {}", names.join(", "))
    };
    Finding::ok("engines.native", what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> PlaceFacts {
        let folder = |path: &str| Folder {
            path: path.into(),
            refused: None,
            free: Some(Bytes(50 << 30)),
        };
        PlaceFacts {
            results: folder("results"),
            locks: folder("locks"),
            certificates: 140,
            github: Some(Ok(GitHubFacts {
                repo: "o/r".into(),
                scopes: Some("repo".into()),
                may_write: Some(true),
            })),
            ..PlaceFacts::default()
        }
    }

    #[test]
    fn good_places_have_nothing_to_be_said() {
        let found = judge(&good());
        assert!(
            found.iter().all(|one| one.severity == Severity::Ok),
            "{found:?}"
        );
        assert!(found.iter().any(|one| one.what.contains("(scopes: repo)")));
    }

    fn severity(spoil: impl FnOnce(&mut PlaceFacts), id: &str) -> Severity {
        let mut facts = good();
        spoil(&mut facts);
        let found = judge(&facts);
        let one = found.iter().find(|one| one.id == id).unwrap();
        assert!(one.remedy.is_some());
        one.severity
    }

    #[test]
    fn folders_are_judged() {
        let results = |spoil: fn(&mut Folder)| severity(|p| spoil(&mut p.results), "files.results");
        assert_eq!(results(|f| f.refused = Some("x".into())), Severity::Problem);
        assert_eq!(
            results(|f| f.free = Some(Bytes(1 << 20))),
            Severity::Problem
        );
        assert_eq!(
            results(|f| f.free = Some(Bytes(500 << 20))),
            Severity::Warning
        );
        let locks = severity(|p| p.locks.refused = Some("x".into()), "files.locks");
        assert_eq!(locks, Severity::Problem);
        let held = severity(|p| p.holders = vec!["run 7".into()], "files.holders");
        assert_eq!(held, Severity::Note);
    }

    #[test]
    fn the_network_is_judged() {
        let proxy = severity(|p| p.proxies = vec!["HTTPS_PROXY".into()], "network.proxy");
        assert_eq!(proxy, Severity::Note);
        let id = "network.certificates";
        let bad = severity(|p| p.bad_certificates = vec!["/x".into()], id);
        assert_eq!(bad, Severity::Warning);
        assert_eq!(severity(|p| p.certificates = 0, id), Severity::Warning);
        let refused = severity(|p| p.github = Some(Err("401".into())), "github.token");
        assert_eq!(refused, Severity::Warning);
        let reader = GitHubFacts {
            may_write: Some(false),
            ..GitHubFacts::default()
        };
        let reads = severity(|p| p.github = Some(Ok(reader)), "github.token");
        assert_eq!(reads, Severity::Note);
    }
}
