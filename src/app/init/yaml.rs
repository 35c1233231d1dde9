//! Texts as YAML on one line, so that a template can hold them.

/// A list of texts on one line.
pub(super) fn flow<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let texts: Vec<String> = texts.into_iter().map(scalar).collect();
    format!("[{}]", texts.join(", "))
}

/// A text as YAML. It stays as it is where no reader of any version could take it for something
/// else, and is quoted elsewhere.
pub(super) fn scalar(text: &str) -> String {
    // YAML 1.1 has more words for yes and no than anyone remembers.
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let letters = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    if begins && text.chars().all(letters) && !WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    let options = serde_saphyr::ser_options! { quote_all: true };
    let written = serde_saphyr::to_string_with_options(&text, options);
    // A text can always be written; JSON's form is YAML too.
    let written = written.unwrap_or_else(|_| serde_json::Value::from(text).to_string());
    written.trim_end_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_that_are_no_text_elsewhere_are_quoted() {
        for text in [
            "yes", "No", "null", "true", "1e3", "0x10", "~", "a: b", "a #b", "[a", "-", "*a", "",
            "'", "\"",
        ] {
            let written = scalar(text);
            assert!(written.starts_with(['\'', '"']), "{text}: {written}");
            assert_eq!(serde_saphyr::from_str::<String>(&written).unwrap(), text);
        }
        assert_eq!(scalar("/models/a-b_c.gguf"), "/models/a-b_c.gguf");
    }

    proptest! {
        #[test]
        fn any_text_is_one_yaml_value(text in "\\PC{0,60}") {
            prop_assert_eq!(serde_saphyr::from_str::<String>(&scalar(&text)).unwrap(), text);
        }

        #[test]
        fn any_texts_are_one_list(texts in proptest::collection::vec("\\PC{0,20}", 0..5)) {
            let written = flow(texts.iter().map(String::as_str));
            prop_assert_eq!(serde_saphyr::from_str::<Vec<String>>(&written).unwrap(), texts);
        }
    }
}
