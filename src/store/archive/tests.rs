//! Archives, good and bad.

use proptest::prelude::*;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::*;

const RESULTS: &[u8] = br#"{"schema_version": 1}"#;

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)
}

fn zip_with(entries: &[(&str, &[u8], SimpleFileOptions)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes, options) in entries {
        writer.start_file(*name, *options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let entries: Vec<_> = entries
        .iter()
        .map(|(name, bytes)| (*name, *bytes, options()))
        .collect();
    zip_with(&entries)
}

/// The same archive with a name of equal length in the place of another, everywhere.
fn renamed(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> = memchr::memmem::find_iter(&bytes, from.as_bytes()).collect();
    for place in places {
        bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

/// What became of it; a refused archive leaves an empty folder behind.
fn outcome(bytes: &[u8], caps: &Caps) -> Result<Vec<String>, ArchiveError> {
    let dir = tempfile::tempdir().unwrap();
    let into = dir.path().join("baseline");
    let done = unpack(bytes, None, None, &into, caps);
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, usize::from(done.is_ok()), "nothing half-written");
    done.map(|()| listing(&into))
}

fn listing(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let below = path.strip_prefix(dir).unwrap();
                found.push(below.display().to_string());
            }
        }
    }
    found.sort();
    found
}

fn refusal(bytes: &[u8]) -> String {
    outcome(bytes, &Caps::default()).unwrap_err().to_string()
}

#[test]
fn only_what_is_read_is_unpacked() {
    let bytes = zip(&[
        ("metrics.json", RESULTS),
        ("comment.md", b"@everyone"),
        ("engine.log", b"::error::x"),
        ("baseline/metrics.json", RESULTS),
        ("pairs.json", b"{}"),
        ("node_modules/x.js", b"x"),
    ]);
    assert_eq!(
        outcome(&bytes, &Caps::default()).unwrap(),
        ["baseline/metrics.json", "metrics.json", "pairs.json"]
    );
}

#[test]
fn archives_written_as_streams_are_read() {
    // As upload-artifact writes them: sizes and checksum behind each file, local ones zero.
    let mut writer = ZipWriter::new_stream(Vec::new());
    writer.start_file("metrics.json", options()).unwrap();
    writer.write_all(RESULTS).unwrap();
    let bytes = writer.finish().unwrap().into_inner();
    assert_eq!(outcome(&bytes, &Caps::default()).unwrap(), ["metrics.json"]);
}

#[test]
fn a_bare_document_is_results() {
    let dir = tempfile::tempdir().unwrap();
    let into = |name: &str| dir.path().join(name);
    let caps = Caps::default();
    unpack(RESULTS, Some("kitt-baseline"), None, &into("a"), &caps).unwrap();
    assert_eq!(listing(&into("a")), ["metrics.json"]);
    let lines = b"{}\n";
    unpack(lines, Some("history.jsonl"), None, &into("b"), &caps).unwrap();
    assert_eq!(listing(&into("b")), ["history.jsonl"]);
    for unknown in [&b"<html>"[..], b"", b"\x1f\x8b\x08", b"[1]"] {
        let error = unpack(unknown, Some("x"), None, &into("c"), &caps).unwrap_err();
        assert!(matches!(error, ArchiveError::Unknown), "{error}");
    }
    // 65 MB of JSON, without and with an archive around it.
    let large = [b"{".as_slice(), &vec![b' '; 65_000_000]].concat();
    assert!(refusal(&large).contains("metrics.json is 65000001 bytes; at most 33554432"));
    let packed = zip(&[("metrics.json", &large)]);
    assert!(refusal(&packed).contains("metrics.json is 65000001 bytes; at most 33554432"));
}

#[test]
fn a_place_outside_refuses_the_whole_archive() {
    let good = zip(&[("metrics.json", RESULTS), ("xxxevil", b"x")]);
    for bad in [
        "../evil", "/x/evil", "C:/evil", "a\\.evil", "a//evil", "..\\evil",
    ] {
        let renamed = renamed(&good, "xxxevil", bad);
        assert!(refusal(&renamed).contains("is refused"), "{bad}");
    }
}

#[test]
fn links_devices_and_folders_in_disguise_are_refused() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("metrics.json", options()).unwrap();
    writer.write_all(RESULTS).unwrap();
    writer
        .add_symlink("history.jsonl", "/etc/passwd", options())
        .unwrap();
    let bytes = writer.finish().unwrap().into_inner();
    assert!(refusal(&bytes).contains("`history.jsonl` is a symbolic link"));
    // The mode stands in the upper half of the attributes, 8 bytes before the name.
    for (kind, says) in [
        (0o020_000_u32, "a device"),
        (0o040_000, "a device"),
        (0o120_000, "a symbolic link"),
    ] {
        let mut bytes = zip_with(&[("metrics.json", RESULTS, options().unix_permissions(0o644))]);
        let at = memchr::memmem::rfind(&bytes, CENTRAL).unwrap();
        let mode = (kind | 0o777) << 16;
        bytes[at + 38..at + 42].copy_from_slice(&mode.to_le_bytes());
        assert!(refusal(&bytes).contains(says), "{kind:o}");
    }
}

#[test]
fn encrypted_entries_are_refused() {
    let mut bytes = zip(&[("metrics.json", RESULTS)]);
    let at = memchr::memmem::rfind(&bytes, CENTRAL).unwrap();
    bytes[at + 8] |= 1;
    bytes[6] |= 1;
    assert!(refusal(&bytes).contains("is encrypted"));
}

#[test]
fn the_same_place_twice_is_refused() {
    let twice = zip(&[("metrics.json", RESULTS), ("metrics.jsoX", b"{}")]);
    let twice = renamed(&twice, "metrics.jsoX", "metrics.json");
    assert!(refusal(&twice).contains("there twice"));
    let cases = zip(&[("metrics.json", RESULTS), ("Metrics.json", b"{}")]);
    assert!(refusal(&cases).contains("there twice"));
}

#[test]
fn bombs_are_refused_by_what_comes_out() {
    // 40 MB of zeros in 40 kB.
    let zeros = vec![0_u8; 40_000_000];
    let log = zip(&[("metrics.json", RESULTS), ("requests.jsonl.zst", &zeros)]);
    assert!(log.len() < 100_000);
    assert!(refusal(&log).contains("more than 200 times"));
    // One that lies about its size: what comes out counts.
    let mut lies = zip(&[("metrics.json", &zeros)]);
    let at = memchr::memmem::rfind(&lies, CENTRAL).unwrap();
    lies[at + 24..at + 28].copy_from_slice(&100_u32.to_le_bytes());
    lies[22..26].copy_from_slice(&100_u32.to_le_bytes());
    assert!(outcome(&lies, &Caps::default()).is_err());
    let caps = Caps {
        total: 1000,
        ..Caps::default()
    };
    let many = [b'x'; 600];
    let two = zip(&[("metrics.json", &many), ("a/metrics.json", &many)]);
    let error = outcome(&two, &caps).unwrap_err();
    assert!(matches!(error, ArchiveError::Total { limit: 1000 }));
}

#[test]
fn more_entries_than_results_have_are_refused() {
    let names: Vec<String> = (0..513).map(|n| format!("{n}/metrics.json")).collect();
    let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), RESULTS)).collect();
    assert!(refusal(&zip(&entries)).contains("more than 512 entries"));
    assert!(outcome(&zip(&entries[1..]), &Caps::default()).is_ok());
}

#[test]
fn the_digest_is_compared() {
    let dir = tempfile::tempdir().unwrap();
    let good = format!("sha256:{:x}", Sha256::digest(RESULTS));
    let try_with = |digest: &str, into: &str| {
        let into = dir.path().join(into);
        unpack(RESULTS, None, Some(digest), &into, &Caps::default())
    };
    assert!(try_with(&good, "a").is_ok());
    let other = format!("sha256:{}", "0".repeat(64));
    let error = try_with(&other, "b").unwrap_err();
    assert!(error.to_string().contains("cut or changed"), "{error}");
    for odd in ["sha256:", "sha512:00", "md5:x", ""] {
        let error = try_with(odd, "c").unwrap_err();
        assert!(matches!(error, ArchiveError::UnknownDigest(_)));
    }
    assert!(!dir.path().join("b").exists() && !dir.path().join("c").exists());
}

#[test]
fn without_results_there_is_nothing_to_unpack() {
    for names in [&["comment.md"][..], &[], &["baseline/metrics.json"]] {
        let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, RESULTS)).collect();
        assert!(refusal(&zip(&entries)).contains("no metrics.json"));
    }
}

#[test]
fn what_is_there_already_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let into = dir.path().join("there");
    std::fs::create_dir(&into).unwrap();
    std::fs::write(into.join("mine"), "x").unwrap();
    let bytes = zip(&[("metrics.json", RESULTS)]);
    let error = unpack(&bytes, None, None, &into, &Caps::default()).unwrap_err();
    assert!(matches!(error, ArchiveError::Io { .. }));
    assert_eq!(listing(dir.path()), ["there/mine"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Any damage is a refusal or a smaller whole, and leaves nothing outside.
    #[test]
    fn mutated_archives_are_refused_or_whole(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        cutting in any::<bool>(),
    ) {
        let mut bytes = zip(&[
            ("metrics.json", RESULTS),
            ("a/baseline/metrics.json", RESULTS),
            ("history.jsonl", &[b'x'; 3000]),
            ("comment.md", b"x"),
        ]);
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cutting {
            bytes.truncate(cut.index(bytes.len()));
        }
        let caps = Caps { total: 1 << 20, ..Caps::default() };
        if let Ok(files) = outcome(&bytes, &caps) {
            for file in files {
                let name = Path::new(&file).file_name().unwrap().to_str().unwrap().to_owned();
                prop_assert!(FILES.contains(&name.as_str()), "{file}");
            }
        }
    }

    #[test]
    fn any_bytes_are_refused_or_whole(bytes in prop::collection::vec(any::<u8>(), 0..300), zip in any::<bool>()) {
        let bytes = if zip { [b"PK\x03\x04".as_slice(), &bytes].concat() } else { bytes };
        drop(outcome(&bytes, &Caps::default()));
    }
}
