//! Every `kitt` command of the documents for operators works as it stands there.

use std::path::Path;

use super::harness::kitt;

const DOCUMENTS: [&str; 2] = ["docs/operating.md", "docs/fingerprint.md"];

/// What the README says to operators.
fn readme(root: &Path) -> String {
    let text = std::fs::read_to_string(root.join("README.md")).unwrap();
    let (_, section) = text.split_once("\n## Keep a runner\n").unwrap();
    section.split("\n## ").next().unwrap().to_owned()
}

/// The `kitt` lines of the shell blocks.
fn commands(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside {
            assert!(line.starts_with("kitt "), "not a command of kitt: {line}");
            found.push(line.to_owned());
        }
    }
    found
}

#[test]
fn the_commands_for_operators_work() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut ran = 0;
    let documents = DOCUMENTS.map(|name| std::fs::read_to_string(root.join(name)).unwrap());
    for text in documents.into_iter().chain([readme(root)]) {
        for line in commands(&text) {
            let folder = tempfile::tempdir().unwrap();
            let here = |name: &str| folder.path().join(name).display().to_string();
            let line = line
                .replace("/var/lib/kitt/locks", &here("locks"))
                .replace("/var/cache/kitt", &here("cache"));
            let quick = if line.starts_with("kitt run ") {
                " --requests 8 --runs 1 --skip-warmup"
            } else {
                ""
            };
            let words = shlex::split(&format!("{line}{quick}")).unwrap();
            let output = kitt()
                .args(&words[1..])
                .current_dir(folder.path())
                // Other tests' containers are theirs.
                .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
                .env("KITT_ID_KEY", "0123456789abcdef")
                .output()
                .unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            let code = output.status.code();
            // Without Docker the doctor has a problem to tell; a busy machine may make a
            // measurement invalid.
            let allowed: &[i32] = match words[1].as_str() {
                "doctor" => &[0, 20],
                "run" => &[0, 21],
                _ => &[0],
            };
            assert!(
                allowed.contains(&code.unwrap()),
                "{line}: {code:?}\n{stderr}"
            );
            assert!(!stderr.contains("panicked"), "{line}: {stderr}");
            ran += 1;
        }
    }
    assert!(ran >= 12, "{ran} commands");
}

#[test]
fn links_lead_somewhere() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for document in DOCUMENTS {
        let name = document.trim_start_matches("docs/");
        let text = std::fs::read_to_string(docs.join(name)).unwrap();
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap();
            if !target.starts_with("http") {
                assert!(docs.join(target).exists(), "{document} links to {target}");
            }
        }
    }
}
