//! Reads Prometheus' text exposition format 0.0.4 and `OpenMetrics` 1.0. Pure.
//!
//! One sample a line: `name{label="value",…} number [timestamp] [# exemplar]`. Comments, types
//! and help are left out: what a number means is known by its name (`super::aliases`). A line that
//! is none of this is counted and skipped, so that one odd line does not hide the others.

use std::borrow::Cow;

/// What a page held.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Page<'a> {
    /// Its samples, in order.
    pub(super) samples: Vec<Sample<'a>>,
    /// The number of the first line that could not be read, counted from 1, and why.
    pub(super) wrong: Option<(usize, &'static str)>,
}

/// One number.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample<'a> {
    /// The metric, `_bucket`, `_sum` and `_count` included.
    pub(super) name: Cow<'a, str>,
    /// Label names and values, as written but unescaped.
    pub(super) labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// May be infinite or no number.
    pub(super) value: f64,
}

impl Sample<'_> {
    /// The value of a label.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        let mut labels = self.labels.iter();
        labels
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_ref())
    }
}

/// Reads a page; nothing after `OpenMetrics`' `# EOF` counts.
pub(super) fn parse(text: &str) -> Page<'_> {
    let mut page = Page::default();
    for (number, line) in (1..).zip(text.split('\n')) {
        let line = line.trim_matches([' ', '\t', '\r']);
        if line == "# EOF" {
            break;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match sample(line) {
            Ok(sample) => page.samples.push(sample),
            Err(why) => page.wrong = page.wrong.or(Some((number, why))),
        }
    }
    page
}

fn sample(line: &str) -> Result<Sample<'_>, &'static str> {
    let (name, rest) = split_name(line, true);
    let mut name = Cow::Borrowed(name);
    let rest = rest.trim_start_matches([' ', '\t']);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => {
            let (quoted, labels, rest) = braces(inside)?;
            if let Some(quoted) = quoted {
                if !name.is_empty() {
                    return Err("the metric has two names");
                }
                name = quoted;
            }
            (labels, rest)
        }
        None => (Vec::new(), rest),
    };
    if name.is_empty() {
        return Err("no metric name stands at its beginning");
    }
    Ok(Sample {
        name,
        labels,
        value: number(rest)?,
    })
}

/// The name a text begins with, and what follows. Metrics' names may hold colons, labels' not.
fn split_name(text: &str, colon: bool) -> (&str, &str) {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || (colon && c == ':');
    let end = text
        .char_indices()
        .find(|(at, c)| !(first(*c) || (*at > 0 && c.is_ascii_digit())))
        .map_or(text.len(), |(at, _)| at);
    text.split_at_checked(end).unwrap_or((text, ""))
}

type Labels<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// What stands between braces: labels, and a quoted metric name where the name is not of the
/// classic form. Gives what follows the closing brace too.
fn braces(mut text: &str) -> Result<(Option<Cow<'_, str>>, Labels<'_>, &str), &'static str> {
    let mut name = None;
    let mut labels = Vec::new();
    loop {
        text = text.trim_start_matches([' ', '\t']);
        if let Some(rest) = text.strip_prefix('}') {
            return Ok((name, labels, rest));
        }
        let (key, rest) = match text.strip_prefix('"') {
            Some(quoted) => string(quoted)?,
            None => match split_name(text, false) {
                ("", _) => return Err("a label has no name"),
                (key, rest) => (Cow::Borrowed(key), rest),
            },
        };
        let was_quoted = text.starts_with('"');
        text = rest.trim_start_matches([' ', '\t']);
        if let Some(rest) = text.strip_prefix('=') {
            let rest = rest.trim_start_matches([' ', '\t']);
            let quoted = rest
                .strip_prefix('"')
                .ok_or("a label's value is not quoted")?;
            let (value, rest) = string(quoted)?;
            labels.push((key, value));
            text = rest;
        } else if was_quoted && name.is_none() && labels.is_empty() {
            name = Some(key);
        } else {
            return Err("a label has no value");
        }
        text = text.trim_start_matches([' ', '\t']);
        match text.strip_prefix(',') {
            Some(rest) => text = rest,
            None if text.starts_with('}') => {}
            None => return Err("the labels do not end"),
        }
    }
}

/// A quoted string whose opening quote is read already. `\\`, `\"` and `\n` are escapes; another
/// backslash stands for itself.
fn string(text: &str) -> Result<(Cow<'_, str>, &str), &'static str> {
    let open = "a quoted text does not end";
    let mut unescaped: Option<String> = None;
    let mut from = 0;
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        let so_far = text.get(from..at).ok_or(open)?;
        match letter {
            '"' => {
                let rest = text.get(at + 1..).ok_or(open)?;
                let value = match unescaped {
                    Some(mut value) => {
                        value.push_str(so_far);
                        Cow::Owned(value)
                    }
                    None => Cow::Borrowed(so_far),
                };
                return Ok((value, rest));
            }
            '\\' => {
                let (at_next, next) = letters.next().ok_or(open)?;
                let value = unescaped.get_or_insert_default();
                value.push_str(so_far);
                match next {
                    '\\' | '"' => value.push(next),
                    'n' => value.push('\n'),
                    other => value.extend(['\\', other]),
                }
                from = at_next + next.len_utf8();
            }
            _ => {}
        }
    }
    Err(open)
}

/// The value; a time stamp and an exemplar behind it are checked for their form only.
fn number(text: &str) -> Result<f64, &'static str> {
    let text = text.split(" #").next().unwrap_or_default();
    let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
    let value = words.next().ok_or("it has no value")?;
    let value = value.parse().or(Err("its value is no number"))?;
    if words
        .next()
        .is_some_and(|time| time.parse::<f64>().is_err())
    {
        return Err("its time is no number");
    }
    match words.next() {
        None => Ok(value),
        Some(_) => Err("something stands behind its time"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(line: &str) -> Sample<'_> {
        let page = parse(line);
        assert_eq!(page.wrong, None, "{line}");
        assert_eq!(page.samples.len(), 1, "{line}");
        page.samples.into_iter().next().unwrap()
    }

    #[test]
    fn the_formats_own_example_is_read() {
        // The parts of the example in Prometheus' "Exposition formats" that are hard to read.
        let text = r#"# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9
metric_without_timestamp_and_labels 12.47
something_weird{problem="division by zero"} +Inf -3982045
http_request_duration_seconds_bucket{le="0.05"} 24054
http_request_duration_seconds_sum 53423
"#;
        let page = parse(text);
        assert_eq!(page.wrong, None);
        let values: Vec<f64> = page.samples.iter().map(|sample| sample.value).collect();
        assert_eq!(
            values,
            [
                1027.0,
                3.0,
                1_458_255_915.0,
                12.47,
                f64::INFINITY,
                24054.0,
                53423.0
            ]
        );
        assert_eq!(page.samples[0].label("code"), Some("200"));
        assert_eq!(page.samples[0].label("Code"), None);
        assert_eq!(page.samples[2].label("path"), Some(r"C:\DIR\FILE.TXT"));
        assert_eq!(
            page.samples[2].label("error"),
            Some("Cannot find file:\n\"FILE.TXT\"")
        );
    }

    #[test]
    fn open_metrics_exemplars_and_its_end_are_understood() {
        let text = "foo_bucket{le=\"0.1\"} 8 # {trace_id=\"a b\"} 0.054 1.5\n\
                    acme:hits_total 17.0 1520879607.789\n# EOF\nafter 1\n";
        let page = parse(text);
        assert_eq!(page.wrong, None);
        assert_eq!(page.samples.len(), 2);
        assert_eq!((page.samples[0].value, page.samples[1].value), (8.0, 17.0));
        assert_eq!(page.samples[1].name, "acme:hits_total");
    }

    #[test]
    fn odd_but_legal_lines_are_read() {
        assert!(one("x NaN").value.is_nan());
        assert!(one("x -Inf\r").value < 0.0);
        assert_eq!(Some(one("x{} 1e3").value), Some(1000.0));
        let spaced = one("\tx { a = \"1\" , b=\"\\x\", } 2");
        assert_eq!(spaced.name, "x");
        assert_eq!(
            (spaced.label("a"), spaced.label("b")),
            (Some("1"), Some("\\x"))
        );
        // Names outside the classic alphabet, quoted (Prometheus 3).
        let quoted = one("{\"my.hits\", \"a.b\"=\"}\"} 4");
        assert_eq!(quoted.name, "my.hits");
        assert_eq!(quoted.label("a.b"), Some("}"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_the_rest_is_read() {
        for (line, why) in [
            ("<html>", "no metric name"),
            ("x", "no value"),
            ("x one", "its value is no number"),
            ("x 1 soon", "its time is no number"),
            ("x 1 2 3", "something stands behind"),
            ("x{a=1} 1", "not quoted"),
            ("x{a=\"1} 1", "does not end"),
            ("x{a=\"1\"", "the labels do not end"),
            ("x{=\"1\"} 1", "a label has no name"),
            ("x{a} 1", "a label has no value"),
            ("x{\"y\"} 1", "two names"),
            ("{} 1", "no metric name"),
            ("9x 1", "no metric name"),
        ] {
            let text = format!("good 1\n{line}\ngood 2");
            let page = parse(&text);
            let (number, found) = page.wrong.unwrap_or_else(|| panic!("{line} was read"));
            assert_eq!(number, 2, "{line}");
            assert!(found.contains(why), "{line}: {found}");
            assert_eq!(page.samples.len(), 2, "{line}");
        }
    }

    fn escaped(value: &str) -> String {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        value.replace('\n', "\\n")
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC*|(.|\n|\\{|\\}|\"|\\\\|=|,|x|1|#| ){0,80}") {
            let lines = text.split('\n').count();
            prop_assert!(parse(&text).samples.len() <= lines);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let text = String::from_utf8_lossy(&bytes);
            prop_assert!(parse(&text).samples.len() <= bytes.len() + 1);
        }

        #[test]
        fn what_is_written_is_read(
            name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,20}",
            labels in prop::collection::vec(("[a-zA-Z_][a-zA-Z0-9_]{0,8}", "(.|\n|\\\\|\"){0,12}"), 0..4),
            value in any::<f64>(),
            time in prop::option::of(any::<i32>()),
        ) {
            let list: Vec<String> = labels
                .iter()
                .map(|(key, value)| format!("{key}=\"{}\"", escaped(value)))
                .collect();
            let time = time.map(|time| format!(" {time}")).unwrap_or_default();
            let line = format!("{name}{{{}}} {value}{time}", list.join(","));
            let page = parse(&line);
            prop_assert_eq!(page.wrong, None);
            let sample = &page.samples[0];
            prop_assert_eq!(&sample.name, &name);
            let expected: Vec<(Cow<'_, str>, Cow<'_, str>)> = labels
                .iter()
                .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
                .collect();
            prop_assert_eq!(&sample.labels, &expected);
            let same = sample.value.to_bits() == value.to_bits();
            prop_assert!(same || (sample.value.is_nan() && value.is_nan()));
        }
    }
}
