//! Documents link to files and headings that exist.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [root.to_owned(), root.join("docs")];
    let files = folders.iter().flat_map(|dir| fs::read_dir(dir).unwrap());
    let files = files.map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|kind| kind == "md"))
        .collect();
    files.sort();
    files
}

/// Targets of links and pictures, and the anchors that GitHub makes of headings.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "links and headings alone are of interest"
)]
fn read(path: &Path) -> (Vec<String>, BTreeSet<String>) {
    let text = fs::read_to_string(path).unwrap();
    let (mut links, mut anchors, mut heading) = (Vec::new(), BTreeSet::new(), None);
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                links.push(dest_url.into_string());
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(words) | Event::Code(words) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&words);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                anchors.extend(heading.take().map(|text| anchor(&text)));
            }
            _ => {}
        }
    }
    (links, anchors)
}

fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn documents_link_to_what_exists() {
    let mut checked = 0;
    let mut wrong = Vec::new();
    for document in documents() {
        for link in read(&document).0 {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, wanted) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                document.clone()
            } else {
                document.parent().unwrap().join(file)
            };
            let there = target.exists() && (wanted.is_empty() || read(&target).1.contains(wanted));
            if !there {
                wrong.push(format!("{}: {link}", document.display()));
            }
            checked += 1;
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(checked > 20, "{checked} links were found");
}

#[test]
fn every_document_can_be_reached_from_the_readme() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut reached = BTreeSet::new();
    let mut open = vec![root.join("README.md")];
    while let Some(document) = open.pop() {
        if !reached.insert(document.clone()) {
            continue;
        }
        for link in read(&document).0 {
            let file = link.split('#').next().unwrap_or_default();
            let target = document.parent().unwrap().join(file);
            if target.extension().is_some_and(|kind| kind == "md") && target.exists() {
                open.push(target.canonicalize().unwrap());
            }
        }
    }
    let root = root.canonicalize().unwrap();
    let docs = documents();
    let lost: Vec<&PathBuf> = docs
        .iter()
        .filter(|path| path.starts_with(root.join("docs")) && !reached.contains(*path))
        .collect();
    assert_eq!(lost, Vec::<&PathBuf>::new(), "no document links to these");
}

#[test]
fn anchors_are_those_of_github() {
    assert_eq!(anchor("What blocks when"), "what-blocks-when");
    assert_eq!(
        anchor("`pull_request_target`, `issue_comment`"),
        "pull_request_target-issue_comment"
    );
}
