//! What is wrong with the configuration, as one sentence for the operator.

use std::fmt;

/// `cannot VERB OBJECT: CAUSE (what to do)`.
///
/// The object names file, line and column, or the option. Nothing secret is ever part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    verb: &'static str,
    object: String,
    cause: String,
    advice: String,
}

impl ConfigError {
    pub(super) fn new(
        verb: &'static str,
        object: impl Into<String>,
        cause: impl Into<String>,
        advice: impl Into<String>,
    ) -> ConfigError {
        ConfigError {
            verb,
            object: object.into(),
            cause: cause.into(),
            advice: advice.into(),
        }
    }
}

/// A system error in words alone: its number helps nobody who reads the sentence.
#[must_use]
pub fn in_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConfigError {
            verb,
            object,
            cause,
            advice,
        } = self;
        write!(out, "cannot {verb} {object}: {cause} ({advice})")
    }
}

impl std::error::Error for ConfigError {}
