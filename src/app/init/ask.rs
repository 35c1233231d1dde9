//! Questions on a terminal. Where there is none, a flag or the default answers.

use std::io::{BufRead, Write};

use crate::error::Error;

/// Letters of a refused answer that are shown again.
const SHOWN: usize = 80;

/// One question; its flag answers it too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    /// The flag, without its dashes.
    pub(super) flag: &'static str,
    /// What is asked.
    pub(super) text: &'a str,
    /// The answer when none is given; without one it is needed.
    pub(super) default: Option<&'a str>,
}

/// Who is asked.
pub(super) struct Ask<'a> {
    /// Lines that are typed.
    pub(super) input: &'a mut dyn BufRead,
    /// Where questions are shown.
    pub(super) out: &'a mut dyn Write,
    /// Whether somebody sits there.
    pub(super) asking: bool,
    /// Flags that are needed and were not given.
    pub(super) missing: Vec<&'static str>,
}

impl Ask<'_> {
    /// The checked answer: what was given, else what is typed, else the default. `None` when there
    /// is none, which [`Self::complete`] tells. A wrong answer is asked for again; a wrong flag is
    /// an error. `check` returns what is wrong as a sentence fragment.
    ///
    /// # Errors
    /// A flag's value is refused, or the terminal is closed.
    pub(super) fn settle<T>(
        &mut self,
        question: Question<'_>,
        given: Option<&str>,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Error> {
        let flag = question.flag;
        if let Some(text) = given.or(question.default.filter(|_| !self.asking)) {
            let refused = |why| Error::Answer {
                flag,
                text: text.chars().take(SHOWN).collect(),
                why,
            };
            return check(text).map(Some).map_err(refused);
        }
        if !self.asking {
            self.missing.push(flag);
            return Ok(None);
        }
        loop {
            let text = self.typed(question)?;
            match check(&text) {
                Ok(answer) => return Ok(Some(answer)),
                Err(why) => self.say(&format!("  {why}\n")),
            }
        }
    }

    /// Whether the answer is yes; nothing typed is yes.
    ///
    /// # Errors
    /// The terminal is closed.
    pub(super) fn confirmed(&mut self, text: &str) -> Result<bool, Error> {
        let question = Question {
            flag: "yes",
            text,
            default: Some("yes"),
        };
        Ok(self.settle(question, None, yes_or_no)?.unwrap_or(true))
    }

    /// Whether every question that needs an answer has one.
    ///
    /// # Errors
    /// The flags that are missing.
    pub(super) fn complete(&self) -> Result<(), Error> {
        if self.missing.is_empty() {
            return Ok(());
        }
        let flags: Vec<String> = self
            .missing
            .iter()
            .map(|flag| format!("--{flag}"))
            .collect();
        let flags = flags.join(", ");
        Err(Error::Unanswered { flags })
    }

    fn typed(&mut self, question: Question<'_>) -> Result<String, Error> {
        let default = question.default.unwrap_or_default();
        let hint = if default.is_empty() {
            String::new()
        } else {
            format!(" [{default}]")
        };
        self.say(&format!("{}{hint}: ", question.text));
        let mut line = String::new();
        match self.input.read_line(&mut line) {
            Ok(0) | Err(_) => Err(Error::Unanswered {
                flags: format!("--{}", question.flag),
            }),
            Ok(_) => {
                let line = line.trim();
                let answer = if line.is_empty() { default } else { line };
                Ok(answer.to_owned())
            }
        }
    }

    /// A terminal that cannot be written to is one that cannot be read from, which is told then.
    fn say(&mut self, text: &str) {
        drop(
            self.out
                .write_all(text.as_bytes())
                .and_then(|()| self.out.flush()),
        );
    }
}

/// Yes or no, in the words people type.
pub(super) fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "true" => Ok(true),
        "n" | "no" | "false" => Ok(false),
        _ => Err("answer yes or no".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATE: Question<'_> = Question {
        flag: "gate",
        text: "Gate",
        default: Some("yes"),
    };

    fn asked(
        typed: &str,
        asking: bool,
        given: Option<&str>,
    ) -> (Result<Option<bool>, Error>, String) {
        let (mut input, mut out) = (typed.as_bytes(), Vec::new());
        let mut ask = Ask {
            input: &mut input,
            out: &mut out,
            asking,
            missing: Vec::new(),
        };
        let answer = ask.settle(GATE, given, yes_or_no);
        (answer, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_wrong_answer_is_asked_for_again() {
        let (answer, shown) = asked("perhaps\nn\n", true, None);
        assert_eq!(answer.unwrap(), Some(false));
        assert_eq!(shown, "Gate [yes]:   answer yes or no\nGate [yes]: ");
    }

    #[test]
    fn an_empty_line_takes_the_default_and_a_flag_is_not_asked_for() {
        assert_eq!(asked("\n", true, None).0.unwrap(), Some(true));
        let (answer, shown) = asked("", true, Some("no"));
        assert_eq!((answer.unwrap(), shown.as_str()), (Some(false), ""));
    }

    #[test]
    fn a_closed_terminal_and_a_wrong_flag_are_errors() {
        let closed = asked("perhaps\n", true, None).0.unwrap_err();
        assert!(closed.to_string().contains("--gate"), "{closed}");
        let wrong = asked("", true, Some("perhaps")).0.unwrap_err();
        assert_eq!(wrong.to_string(), "--gate: `perhaps`: answer yes or no");
    }

    #[test]
    fn without_a_terminal_what_has_no_default_is_missing() {
        let (mut input, mut out) = ("".as_bytes(), Vec::new());
        let mut ask = Ask {
            input: &mut input,
            out: &mut out,
            asking: false,
            missing: Vec::new(),
        };
        for flag in ["engine", "model"] {
            let question = Question {
                flag,
                text: "?",
                default: None,
            };
            assert!(ask.settle(question, None, yes_or_no).unwrap().is_none());
        }
        let error = ask.complete().unwrap_err().to_string();
        assert_eq!(
            error,
            "give --engine, --model: there is no terminal to ask on"
        );
    }
}
