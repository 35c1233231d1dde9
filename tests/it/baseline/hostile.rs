//! Artifacts that are made to do harm: each is refused with a reason, and the next one is taken.

use std::io::{Cursor, Write};

use kitt_action::store::discover::Rule;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{World, archive, only_reason, usual_conditions};
use crate::history::Past;

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)
}

/// A good archive, as bytes, with a further entry of another name of the same length.
fn with_name(name: &str) -> Vec<u8> {
    let placeholder = "x".repeat(name.len());
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (entry, bytes) in [("metrics.json", b"{}".as_slice()), (&placeholder, b"owned")] {
        writer.start_file(entry, options()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    let mut bytes = writer.finish().unwrap().into_inner();
    let places: Vec<usize> = bytes
        .windows(name.len())
        .enumerate()
        .filter(|(_, window)| *window == placeholder.as_bytes())
        .map(|(at, _)| at)
        .collect();
    for at in places {
        bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
    }
    bytes
}

fn link() -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer
        .add_symlink("metrics.json", "/etc/passwd", options())
        .unwrap();
    writer.finish().unwrap().into_inner()
}

fn filled(name: &str, bytes: &[u8]) -> Vec<u8> {
    crate::github::zip(&[("metrics.json", b"{}"), (name, bytes)])
}

#[test]
fn hostile_artifacts_are_refused_with_a_reason_and_leave_nothing() {
    let large = [b"{".as_slice(), &vec![b' '; 65 << 20], b"}"].concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "zip slip",
            with_name("../../evil.json"),
            "leads out of its folder",
        ),
        ("absolute", with_name("/tmp/evil.json"), "absolute path"),
        ("drive", with_name("C:/evil.json"), "drive"),
        ("backslash", with_name("..\\evil.json"), "backslash"),
        (
            "line break",
            with_name("a\n::error::x"),
            "control character",
        ),
        ("link", link(), "symbolic link"),
        (
            "bomb",
            filled("requests.jsonl.zst", &vec![0; 64 << 20]),
            "more than 200 times",
        ),
        (
            "65 MB JSON",
            crate::github::zip(&[("metrics.json", &large)]),
            "at most 33554432",
        ),
        ("bare 65 MB JSON", large, "at most 33554432"),
        (
            "no archive",
            b"<html>not found</html>".to_vec(),
            "neither a zip archive",
        ),
        (
            "cut",
            archive(&Past::default())[..200].to_vec(),
            "no zip archive",
        ),
        (
            "deep JSON",
            crate::github::zip(&[("metrics.json", "[".repeat(100_000).as_bytes())]),
            "32 levels",
        ),
    ];
    for (what, bytes, says) in cases {
        let world = World::new(2);
        world.stored(0, &Past::default());
        world.stored_by("push", 1, &bytes);
        let search = world.search(1, &usual_conditions()).unwrap();
        let why = only_reason(&search).to_string();
        assert!(why.contains(says), "{what}: {why}");
        assert!(!why.contains('\n'), "{what}");
        let found = search.found.unwrap();
        assert_eq!(found.rule, Rule::NearestAncestor, "{what}");
        // The good one, and nothing beside it.
        let scratch = found.dir.parent().unwrap();
        assert_eq!(std::fs::read_dir(scratch).unwrap().count(), 1, "{what}");
    }
}
