//! An engine's arguments: kitt's own and the user's, without contradictions. Pure.

use super::{LaunchError, recipe::Site};

/// An engine's arguments, built beside the user's own.
pub(super) struct Argv<'a> {
    engine: &'static str,
    user: &'a [String],
    words: Vec<String>,
    fixed: Vec<&'static str>,
}

impl<'a> Argv<'a> {
    pub(super) fn new(site: &Site<'a>) -> Self {
        Self {
            engine: site.about.name,
            user: &site.request.args,
            words: Vec::new(),
            fixed: Vec::new(),
        }
    }

    /// A word of its own.
    pub(super) fn word(mut self, word: impl Into<String>) -> Self {
        self.words.push(word.into());
        self
    }

    /// An option that is kitt's alone: the measurement depends on it. `flags` are all its
    /// spellings; the first is used. Words follow it as its values.
    pub(super) fn fixed(mut self, flags: &[&'static str], value: &str) -> Self {
        self.fixed.extend(flags);
        let flag = flags.iter().take(1).map(|flag| (*flag).to_owned());
        self.words.extend(flag);
        self.word(value)
    }

    /// Options that are refused though kitt does not use them.
    pub(super) fn refused(mut self, flags: &[&'static str]) -> Self {
        self.fixed.extend(flags);
        self
    }

    /// An option with a default of kitt's that the user may replace by any of `flags`; the first
    /// is used.
    pub(super) fn tuned(mut self, flags: &[&'static str], values: &[&str]) -> Self {
        let given = |flag: &&str| self.user.iter().any(|word| same(word, flag));
        if !flags.iter().any(given) {
            let flag = flags.iter().take(1).copied();
            let words = flag.chain(values.iter().copied());
            self.words.extend(words.map(str::to_owned));
        }
        self
    }

    /// [`Argv::tuned`] where there is a value.
    pub(super) fn tuned_if(self, flags: &[&'static str], value: Option<&str>) -> Self {
        match value {
            Some(value) => self.tuned(flags, &[value]),
            None => self,
        }
    }

    /// All arguments, the user's last.
    pub(super) fn finish(mut self) -> Result<Vec<String>, LaunchError> {
        for word in self.user {
            if self.fixed.iter().any(|flag| same(word, flag)) {
                return Err(LaunchError::Argument {
                    engine: self.engine,
                    argument: word.chars().take(80).collect(),
                    why: "kitt sets it itself, so that it measures the server it started"
                        .to_owned(),
                });
            }
        }
        self.words.extend(self.user.iter().cloned());
        Ok(self.words)
    }
}

/// Whether a word is that option: `--a-b`, `--a-b=c` and `--a_b`, as the engines' parsers take
/// them.
pub(super) fn same(word: &str, flag: &str) -> bool {
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    name == flag
        || (flag.starts_with("--")
            && name.len() == flag.len()
            && name.replace('_', "-") == flag.replace('_', "-"))
}
