//! Readers that know nothing of how kitt escapes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use html5ever::{ParseOpts, parse_document, tendril::TendrilSink};
use markup5ever_rcdom::{Handle, NodeData, RcDom};
use pulldown_cmark::{Event, Options, Parser, Tag};
use regex::Regex;

/// How often each kind of element stands where.
pub type Shape = BTreeMap<String, usize>;

fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_GFM
        | Options::ENABLE_MATH
        | Options::ENABLE_WIKILINKS
}

/// A tag without what text may change in it.
fn name(tag: &Tag<'_>) -> String {
    if let Tag::CodeBlock(kind) = tag {
        // The fence's word is the template's.
        format!("CodeBlock {kind:?}")
    } else {
        format!("{tag:?}")
    }
}

/// What a markdown document is made of: every element with all it stands in, and every piece of
/// HTML as it is written.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else there is counts as it is"
)]
pub fn markdown_shape(text: &str) -> Shape {
    let mut shape = Shape::new();
    let mut stack: Vec<String> = Vec::new();
    for event in Parser::new_ext(text, options()) {
        let found = match event {
            Event::Start(tag) => {
                stack.push(name(&tag));
                stack.join("/")
            }
            Event::End(_) => {
                stack.pop();
                continue;
            }
            Event::Text(_) | Event::SoftBreak => continue,
            Event::Html(html) | Event::InlineHtml(html) => {
                // The machine's memory is base64 of everything; its frame is what counts.
                let state = html.strip_prefix("<!-- kitt-state:");
                let state = state.and_then(|rest| rest.split_once(' '));
                let html = match state {
                    Some((version, rest)) if version.len() == 1 && is_state(rest) => {
                        "<!-- state -->".to_owned()
                    }
                    _ => html.into_string(),
                };
                format!("{} html {html}", stack.join("/"))
            }
            other => format!("{} {other:?}", stack.join("/")),
        };
        *shape.entry(found).or_default() += 1;
    }
    shape
}

fn is_state(rest: &str) -> bool {
    let code = rest.trim_end().strip_suffix(" -->");
    code.is_some_and(|code| {
        code.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
    })
}

/// The running text of each block, as GitHub's own filters see it: without code.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "only text and what parts it matter"
)]
fn running_text(text: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    let mut code = 0_usize;
    for event in Parser::new_ext(text, options()) {
        match event {
            Event::Start(Tag::CodeBlock(_)) => code += 1,
            Event::End(pulldown_cmark::TagEnd::CodeBlock) => code -= 1,
            // GitHub links nothing inside of code elements either.
            Event::InlineHtml(html) if &*html == "<code>" => code += 1,
            Event::InlineHtml(html) if &*html == "</code>" => code -= 1,
            Event::Text(words) if code == 0 => blocks.last_mut().unwrap().push_str(&words),
            Event::Code(_) | Event::InlineHtml(_) => blocks.last_mut().unwrap().push('\u{fffc}'),
            Event::Start(Tag::Emphasis | Tag::Strong | Tag::Strikethrough | Tag::Link { .. })
            | Event::End(_) => {}
            Event::Start(_) => blocks.push(String::new()),
            _ => blocks.last_mut().unwrap().push(' '),
        }
    }
    blocks
}

/// What GitHub makes of running text by itself: mentions, references, commits, addresses.
pub fn references(text: &str) -> BTreeSet<String> {
    static PATTERNS: OnceLock<Vec<Regex>> = OnceLock::new();
    let patterns = PATTERNS.get_or_init(|| {
        [
            r"(?i)(?:^|[^a-z0-9_])@[a-z0-9][a-z0-9-]*",
            r"(?i)(?:[a-z0-9_.-]+/[a-z0-9_.-]+)?#[0-9]+",
            r"(?i)\bgh-[0-9]+",
            r"(?:^|[^0-9A-Za-z_])[0-9a-f]{7,40}(?:$|[^0-9A-Za-z_])",
            r"(?i)(?:https?|ftp)://[^\s]",
            r"(?i)(?:^|[^a-z0-9])www\.[a-z0-9]",
            r"(?i)(?:mailto|xmpp):[a-z0-9._+-]+@",
            r"(?i)[a-z0-9._+-]+@[a-z0-9-]+\.[a-z0-9-]+",
        ]
        .map(|pattern| Regex::new(pattern).unwrap())
        .into()
    });
    let mut found = BTreeSet::new();
    for block in running_text(text) {
        for pattern in patterns {
            found.extend(pattern.find_iter(&block).map(|hit| hit.as_str().to_owned()));
        }
    }
    found
}

/// Attributes whose values are words for people.
const WORDS: [&str; 2] = ["aria-label", "content"];

/// What an HTML document is made of: every element with its attributes and all it stands in.
pub fn html_shape(text: &str) -> Shape {
    let dom = parse_document(RcDom::default(), ParseOpts::default())
        .from_utf8()
        .one(text.as_bytes());
    let mut shape = Shape::new();
    walk(&dom.document, "", &mut shape);
    shape
}

fn walk(node: &Handle, above: &str, shape: &mut Shape) {
    let mut here = above.to_owned();
    match &node.data {
        NodeData::Element { name, attrs, .. } => {
            let mut attributes: Vec<String> = attrs
                .borrow()
                .iter()
                .map(|attribute| {
                    let (name, value) = (&attribute.name.local, &attribute.value);
                    // Where in a picture something stands may depend on the order of names.
                    let numbers = value
                        .bytes()
                        .all(|b| b.is_ascii_digit() || b".- ".contains(&b));
                    if WORDS.contains(&&**name) || numbers {
                        name.to_string()
                    } else {
                        format!("{name}={value}")
                    }
                })
                .collect();
            attributes.sort();
            here = format!("{above}/{}[{}]", name.local, attributes.join(","));
            let count = shape.entry(here.clone()).or_default();
            // A block of code has as many lines as its text, and equal notes are said once.
            let listed = above.ends_with("/pre[]") || above.ends_with("/summary[]");
            *count = if listed { 1 } else { *count + 1 };
        }
        NodeData::Comment { contents } => {
            *shape
                .entry(format!("{above}/comment {contents}"))
                .or_default() += 1;
        }
        NodeData::ProcessingInstruction { .. } => {
            *shape.entry(format!("{above}/instruction")).or_default() += 1;
        }
        NodeData::Document | NodeData::Doctype { .. } | NodeData::Text { .. } => {}
    }
    for child in node.children.borrow().iter() {
        walk(child, &here, shape);
    }
}

/// What one shape has and the other has not, in words.
pub fn difference(harmless: &Shape, hostile: &Shape) -> Vec<String> {
    let mut both = more(harmless, hostile);
    both.extend(more(hostile, harmless));
    both
}

/// What the second shape has more of.
pub fn more(harmless: &Shape, hostile: &Shape) -> Vec<String> {
    let count = |shape: &Shape, key: &String| shape.get(key).copied().unwrap_or(0);
    hostile
        .keys()
        .filter(|key| count(harmless, key) < count(hostile, key))
        .map(|key| format!("{key}: {} → {}", count(harmless, key), count(hostile, key)))
        .collect()
}

/// A line that the runner would take for a command, as actions/runner's `ActionCommand` finds
/// them: `::name …::` after white space, or `##[name …]` anywhere.
pub fn commands(printed: &str) -> Vec<String> {
    let legacy = |line: &&str| {
        let start = line.find("##[");
        start.is_some_and(|start| line[start..].contains(']'))
    };
    let modern = |line: &&str| {
        let line = line.trim_start();
        line.strip_prefix("::")
            .is_some_and(|rest| rest.contains("::"))
    };
    // ReadLine of .NET ends a line at CR, LF or both.
    printed
        .split(['\r', '\n'])
        .filter(|line| modern(line) || legacy(line))
        .map(str::to_owned)
        .collect()
}

/// Characters that change what a terminal shows without being seen.
pub fn unseen(printed: &str) -> Vec<char> {
    let hidden = |c: &char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
    };
    printed.chars().filter(hidden).collect()
}

#[test]
fn the_readers_see_what_they_are_for() {
    let harmless = markdown_shape("| a |\n|---|\n| x |\n");
    for hostile in [
        "| a |\n|---|\n| **x** |\n",
        "| a |\n|---|\n| [x](https://e.vil) |\n",
        "| a |\n|---|\n| <b>x |\n",
        "| a |\n|---|\n| x |\n| y |\n",
        "| a |\n|---|\n| x |\n\n# y\n",
        "| a |\n|---|\n| `x` |\n",
        "| a |\n|---|\n| $x$ |\n",
        "| a |\n|---|\n| x[^1] |\n\n[^1]: y\n",
    ] {
        assert!(
            !difference(&harmless, &markdown_shape(hostile)).is_empty(),
            "{hostile}"
        );
    }
    for said in [
        "@octocat",
        "x #1",
        "a/b#2",
        "GH-3",
        "at deadbee.",
        "https://e.vil",
        "www.e.vil",
        "a@b.c",
        "mailto:a@b",
    ] {
        assert!(!references(said).is_empty(), "{said}");
        assert!(references(&format!("`{said}`")).is_empty(), "{said}");
    }
    assert!(references("a@\u{200d}b #\u{200d}1 1,234,567").is_empty());
    let harmless = html_shape("<table><tr><td class=\"a\">x</td></tr></table>");
    for hostile in [
        "x</td><td>",
        "<b>x</b>",
        "<!-- x -->",
        "<script>",
        "</table>x<p>",
    ] {
        let text = format!("<table><tr><td class=\"a\">{hostile}</td></tr></table>");
        assert!(
            !difference(&harmless, &html_shape(&text)).is_empty(),
            "{hostile}"
        );
    }
    let broken = html_shape("<table><tr><td class=\"a\" onclick=\"x\">x</td></tr></table>");
    assert!(!difference(&harmless, &broken).is_empty());
    assert_eq!(
        commands("a\n ::error::x\r::add-mask::y\nsee ##[error]z\n: :error::x\n").len(),
        3
    );
    assert_eq!(unseen("a\n\u{1b}[31m\u{202e}").len(), 2);
}
