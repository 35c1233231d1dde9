//! Text from outside, made harmless for the document it goes into.
//!
//! In: model names, engine errors, arguments, links. Out: text that shows the same letters and
//! does nothing: no markup, no mention, no reference, no link, no table border
//! (`research/ci-actions.md` §5).

/// The longest text a document takes from outside, in characters.
const LONGEST: usize = 500;
/// The longest link, in bytes.
const LONGEST_URL: usize = 2_000;
/// Zero width joiner: invisible, and ends what GitHub would turn into a mention or a link.
const JOINER: char = '\u{200d}';

/// Whether a character changes how its neighbours are shown without being seen itself:
/// controls, zero-width and bidirectional formatting characters.
fn is_invisible(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// One line of visible characters: white space of any kind becomes one space, invisible
/// characters go, and what is longer than `longest` characters ends in `…`.
pub(super) fn clean(text: &str, longest: usize) -> String {
    let mut line = String::with_capacity(text.len().min(longest));
    let mut count = 0_usize;
    for letter in text.trim().chars() {
        let space = letter == ' ' || (letter.is_whitespace() && !is_nbsp(letter));
        if space && line.ends_with(' ') || (!space && is_invisible(letter)) {
            continue;
        }
        if count == longest {
            line.push('…');
            return line;
        }
        line.push(if space { ' ' } else { letter });
        count = count.saturating_add(1);
    }
    line.truncate(line.trim_end_matches(' ').len());
    line
}

/// The spaces that hold a number and its unit together.
const fn is_nbsp(letter: char) -> bool {
    matches!(letter, '\u{a0}' | '\u{202f}')
}

/// For a markdown paragraph, list item or table cell: every character with a meaning gets a
/// backslash, and what GitHub links by itself (`@name`, `#12`, `GH-12`, commits, `www.`,
/// `https://`) is cut by a joiner. At most 500 characters of the text are kept.
pub fn markdown(text: &str) -> String {
    markdown_cut(text, Cut::default())
}

/// As [`markdown`], inside a code element: GitHub links no commit there, and one can be copied.
pub(super) fn markdown_code(text: &str) -> String {
    markdown_cut(text, Cut::in_code())
}

fn markdown_cut(text: &str, mut cut: Cut) -> String {
    let line = clean(text, LONGEST);
    let block = block_mark(&line);
    let mut out = String::with_capacity(line.len().saturating_mul(2));
    for (position, letter) in line.char_indices() {
        if is_markup(letter) || block == Some(position) {
            out.push('\\');
        }
        out.push(letter);
        let rest = line.get(position..).unwrap_or_default();
        if cut.after(letter, rest) {
            out.push(JOINER);
        }
    }
    out
}

/// Where a text at the beginning of a line has to be broken, so that it begins no list, rule,
/// heading or table: the position of its mark.
fn block_mark(line: &str) -> Option<usize> {
    let only = |letters: &[char]| line.chars().all(|letter| letters.contains(&letter));
    // Rules, underlines of headings, and the second line of a table with one column.
    if (only(&['-', ':', ' ']) && line.contains('-')) || (only(&['=', ' ']) && !line.is_empty()) {
        return Some(0);
    }
    let ends = |rest: &str| rest.is_empty() || rest.starts_with(' ');
    if line.strip_prefix(['-', '+']).is_some_and(ends) {
        return Some(0);
    }
    let rest = line.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let digits = line.len().saturating_sub(rest.len());
    let number = digits > 0 && rest.strip_prefix(['.', ')']).is_some_and(ends);
    number.then_some(digits)
}

const fn is_markup(letter: char) -> bool {
    matches!(
        letter,
        '\\' | '`' | '|' | '*' | '_' | '[' | ']' | '<' | '>' | '~' | '#' | '@' | '!' | '&' | '$'
    )
}

/// Where a joiner has to cut what GitHub would make a mention, a reference, a commit, a link or a
/// picture of.
#[derive(Debug, Default)]
struct Cut {
    /// The last letters, in lower case: enough for every word that is looked for.
    before: String,
    number: Number,
    commits_stay: bool,
}

/// Where in a hexadecimal number a text is.
#[derive(Debug, Clone, Copy, Default)]
enum Number {
    #[default]
    Outside,
    /// In one that is no commit's name.
    Whole,
    /// In one that may be, after so many digits of a piece.
    Commit(usize),
}

/// Letters that are kept of what came before.
const KEPT: usize = 8;
/// Digits of what GitHub links as a commit.
const COMMIT: std::ops::RangeInclusive<usize> = 7..=40;
/// Digits that no commit is linked by.
const PIECE: usize = 6;

impl Cut {
    /// For a code element.
    fn in_code() -> Self {
        Self {
            commits_stay: true,
            ..Self::default()
        }
    }

    /// Whether a joiner goes in after this letter, with which `rest` begins.
    fn after(&mut self, letter: char, rest: &str) -> bool {
        if self.before.chars().count() == KEPT {
            self.before.remove(0);
        }
        self.before.push(letter.to_ascii_lowercase());
        self.links(letter, rest) || self.commit(letter, rest)
    }

    fn links(&self, letter: char, rest: &str) -> bool {
        let ends = |word: &str| self.before.ends_with(word);
        match letter {
            '@' | '#' => true,
            ':' => rest.starts_with("://") || ends("mailto:") || ends("xmpp:") || emoji(rest),
            'w' | 'W' => ends("www"),
            '-' => ends("gh-"),
            _ => false,
        }
    }

    /// Cuts what may be a commit's name before it is long enough to be one. Digests are longer than
    /// that, and stay whole, as do words.
    fn commit(&mut self, letter: char, rest: &str) -> bool {
        let digit = |letter: &char| matches!(letter, '0'..='9' | 'a'..='f');
        let in_word = |letter: char| letter.is_alphanumeric() || letter == '_';
        if !digit(&letter) {
            self.number = Number::Outside;
            return false;
        }
        self.number = match self.number {
            Number::Outside => {
                let length = rest.chars().take_while(digit).count();
                let after = rest.chars().nth(length);
                let alone = !self.before.chars().rev().nth(1).is_some_and(in_word)
                    && !after.is_some_and(in_word);
                if alone && COMMIT.contains(&length) {
                    Number::Commit(1)
                } else {
                    Number::Whole
                }
            }
            Number::Whole => Number::Whole,
            Number::Commit(count) => Number::Commit(count % PIECE + 1),
        };
        let goes_on = rest.chars().nth(1).is_some_and(|next| digit(&next));
        matches!(self.number, Number::Commit(PIECE)) && goes_on && !self.commits_stay
    }
}

/// Names of pictures that begin with no letter: other digits between colons are times.
const DIGITS: [&str; 8] = [
    "+1",
    "-1",
    "100",
    "1234",
    "8ball",
    "1st_place_medal",
    "2nd_place_medal",
    "3rd_place_medal",
];

/// Whether a colon begins the name of a picture, such as `:octocat:`.
fn emoji(rest: &str) -> bool {
    let mut parts = rest.split(':').skip(1);
    let (Some(name), Some(_)) = (parts.next(), parts.next()) else {
        return false;
    };
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-');
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic());
    (1..=50).contains(&name.len()) && name.chars().all(letter) && (named || DIGITS.contains(&name))
}

/// For HTML text and double- or single-quoted attributes. At most 500 characters are kept.
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars().take(LONGEST) {
        match letter {
            // HTML joins spaces by itself, except where code is shown.
            space if space.is_whitespace() && !is_nbsp(space) => out.push(' '),
            gone if is_invisible(gone) => {}
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '`' => out.push_str("&#96;"),
            other => out.push(other),
        }
    }
    out
}

/// For HTML inside a comment, where markdown's backslashes would be seen: as [`html`], and
/// mentions and references are cut by a joiner.
pub(super) fn html_in_comment(text: &str) -> String {
    html_cut(text, Cut::default())
}

/// As [`html_in_comment`], inside a code element.
pub(super) fn html_code(text: &str) -> String {
    html_cut(text, Cut::in_code())
}

fn html_cut(text: &str, mut cut: Cut) -> String {
    let mut safe = String::with_capacity(text.len());
    let line = clean(text, LONGEST);
    for (position, letter) in line.char_indices() {
        safe.push(letter);
        if cut.after(letter, line.get(position..).unwrap_or_default()) {
            safe.push(JOINER);
        }
    }
    // `clean` would take the joiners away again, so the entities are written here.
    safe.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// A link that is safe to write unescaped into markdown and HTML: `https`, no user name, and
/// only characters that mean nothing in either. `None` for everything else.
pub(super) fn link(text: &str) -> Option<String> {
    let url = url::Url::parse(text.trim()).ok()?;
    let plain = url.scheme() == "https" && url.username().is_empty() && url.password().is_none();
    if !plain || url.host_str().is_none() || url.as_str().len() > LONGEST_URL {
        return None;
    }
    let mut out = String::with_capacity(url.as_str().len());
    for byte in url.as_str().bytes() {
        let safe = byte.is_ascii_alphanumeric() || b"-._~:/?#=&%+,;@".contains(&byte);
        if byte == b'&' {
            out.push_str("&amp;");
        } else if safe {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for half in [byte >> 4, byte & 15] {
                out.extend(char::from_digit(u32::from(half), 16).map(|d| d.to_ascii_uppercase()));
            }
        }
    }
    Some(out)
}

/// A fenced block's content and its fence: lines of visible characters, the fence longer than
/// any run of backticks inside. `longest` counts lines; what is left out is said.
pub(super) fn fenced(text: &str, longest: usize) -> (String, Vec<String>) {
    let mut lines: Vec<String> = text.lines().take(longest).map(fenced_line).collect();
    let dropped = text.lines().count().saturating_sub(longest);
    if dropped > 0 {
        lines.push(format!(" … {dropped} more lines"));
    }
    let run = |line: &String| {
        line.split(|letter| letter != '`')
            .map(str::len)
            .max()
            .unwrap_or(0)
    };
    let longest_run = lines.iter().map(run).max().unwrap_or(0);
    ("`".repeat(longest_run.saturating_add(1).max(3)), lines)
}

/// Indentation stays; a line that a runner would read as a workflow command is moved.
fn fenced_line(line: &str) -> String {
    let indent: String = line.chars().take_while(|letter| *letter == ' ').collect();
    let indent = clean_indent(&indent);
    // Code is shown as it is, and no line of it may be taken for one of kitt's own markers.
    let text = clean(line, LONGEST)
        .replace("##[", "## [")
        .replace("<!-- kitt-", "<! -- kitt-");
    if text.starts_with("::") {
        format!("{indent}\\{text}")
    } else {
        format!("{indent}{text}")
    }
}

fn clean_indent(indent: &str) -> &str {
    indent.get(..indent.len().min(40)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulldown_cmark::{Event, Options, Parser, Tag};

    use super::*;

    /// What text from outside may try.
    pub(super) const HOSTILE: &[&str] = &[
        "a|b\\|c",
        "`code` ``x`` ```",
        "<script>alert(1)</script>",
        "<!-- kitt-benchmark -->",
        "--> <img src=x onerror=alert(1)>",
        "@octocat @org/team hi@example.org",
        "#12 org/repo#3 GH-7 gh-8",
        "[x](javascript:alert(1)) ![y](http://e.vil/p.png)",
        "https://e.vil/ www.e.vil mailto:a@b.c",
        "**bold** _em_ ~~no~~ $x^2$",
        "line\r\n::error::pwned\n\n# head",
        "::set-output name=x::y",
        "##[error]pwned",
        "\u{202e}evil\u{2066}\u{200b}x\u{feff}",
        "&lt;b&gt; &#64;octocat",
        "\u{0}\u{7}\u{1b}[31mred",
        "| --- | --- |",
        "</details></td></table>",
        "\\",
        "\\\\|",
    ];

    fn options() -> Options {
        Options::ENABLE_TABLES
            | Options::ENABLE_STRIKETHROUGH
            | Options::ENABLE_TASKLISTS
            | Options::ENABLE_MATH
    }

    /// Renders `text` in the middle of three table cells; gives the cell's text back, or what
    /// else became of it.
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else a reader of markdown finds is a fault"
    )]
    fn in_a_table(text: &str) -> Result<String, String> {
        let table = format!(
            "| a | b | c |\n|---|---|---|\n| x | {} | z |\n",
            markdown(text)
        );
        let mut cells = Vec::new();
        for event in Parser::new_ext(&table, options()) {
            match event {
                Event::Start(Tag::TableCell) => cells.push(String::new()),
                Event::Start(Tag::Table(_) | Tag::TableHead | Tag::TableRow) | Event::End(_) => {}
                Event::Text(words) => cells.last_mut().unwrap().push_str(&words),
                other => return Err(format!("{other:?} from {text:?}")),
            }
        }
        match cells.as_slice() {
            [.., before, cell, after] if cells.len() == 6 && before == "x" && after == "z" => {
                Ok(cell.replace(JOINER, ""))
            }
            other => Err(format!("{} cells from {text:?}", other.len())),
        }
    }

    #[test]
    fn hostile_text_is_shown_as_it_is_and_does_nothing() {
        for text in HOSTILE {
            assert_eq!(in_a_table(text), Ok(clean(text, LONGEST)), "{text:?}");
            let plain = html(text);
            assert!(!plain.contains(['<', '>', '"', '\'', '\n', '`']), "{plain}");
        }
    }

    #[test]
    fn mentions_references_and_links_are_cut() {
        assert_eq!(markdown("@org"), "\\@\u{200d}org");
        assert_eq!(markdown("a#1"), "a\\#\u{200d}1");
        assert_eq!(markdown("GH-7"), "GH-\u{200d}7");
        assert_eq!(markdown("https://x.y"), "https:\u{200d}//x.y");
        assert_eq!(markdown("www.x.y"), "www\u{200d}.x.y");
        assert_eq!(html_in_comment("<@org>"), "&lt;@\u{200d}org&gt;");
        assert_eq!(markdown("deadbee"), "deadbe\u{200d}e");
        assert_eq!(
            markdown("x 0123456789012345"),
            "x 012345\u{200d}678901\u{200d}2345"
        );
        assert_eq!(markdown_code("a_deadbee deadbee"), "a\\_deadbee deadbee");
        assert_eq!(html_code("<deadbee"), "&lt;deadbee");
        assert_eq!(markdown(":octocat:"), ":\u{200d}octocat:");
        // Short numbers, words, times and digests stay whole.
        for whole in [
            "123456",
            "decade",
            "feedback",
            "10:30:00+00:00",
            "16:05:00Z: x",
            "a:b",
            &"0f".repeat(32),
        ] {
            assert_eq!(markdown(whole), whole);
        }
    }

    #[test]
    fn no_text_begins_a_block() {
        for (text, safe) in [
            ("- a", "\\- a"),
            ("-", "\\-"),
            ("--- -", "\\--- -"),
            ("===", "\\==="),
            (":--:", "\\:--:"),
            ("+ a", "\\+ a"),
            ("12) a", "12\\) a"),
            ("1.", "1\\."),
            ("+10.7 %", "+10.7 %"),
            ("--help", "--help"),
            ("1.5 ms", "1.5 ms"),
        ] {
            assert_eq!(markdown(text), safe);
        }
    }

    #[test]
    fn only_clean_https_links_pass() {
        assert_eq!(
            link("https://github.com/o/r/actions/runs/1?a=b&c=d").as_deref(),
            Some("https://github.com/o/r/actions/runs/1?a=b&amp;c=d")
        );
        assert_eq!(
            link("https://e.vil/a)b|c\"'<>[x](y)").as_deref(),
            Some("https://e.vil/a%29b%7Cc%22%27%3C%3E%5Bx%5D%28y%29")
        );
        for bad in [
            "http://github.com/",
            "javascript:alert(1)",
            "https://user:pass@github.com/",
            "//github.com/",
            "",
            "https://",
        ] {
            assert_eq!(link(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_fence_is_longer_than_what_it_holds() {
        let (fence, lines) = fenced("-a\n+````\n::error::x\n   ::warning::y\nlast", 4);
        assert_eq!(fence, "`````");
        let expected = [
            "-a",
            "+````",
            "\\::error::x",
            "   \\::warning::y",
            " … 1 more lines",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn long_text_is_cut_with_a_sign() {
        assert_eq!(clean("abcdef", 3), "abc…");
        assert_eq!(clean("  a \t\n b  ", 9), "a b");
        assert_eq!(clean("1\u{a0}ms", 9), "1\u{a0}ms");
    }

    proptest! {
        #[test]
        fn any_text_survives_a_table(text in "\\PC{0,60}|[ -~\\n\\r\\t]{0,60}") {
            prop_assert_eq!(in_a_table(&text), Ok(clean(&text, LONGEST)));
        }

        #[test]
        fn mixtures_of_hostile_text_survive_a_table(
            parts in proptest::collection::vec(proptest::sample::select(HOSTILE), 1..4),
            glue in "[ |`*\\\\<]{0,3}",
        ) {
            let text = parts.join(&glue);
            prop_assert_eq!(in_a_table(&text), Ok(clean(&text, LONGEST)));
        }
    }
}
