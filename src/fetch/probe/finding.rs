//! What a probe finds worth saying: a sentence and the section that it is held against.

use crate::report;
use serde::Serialize;
use std::fmt;

/// One thing that the provider does otherwise than the standards say, or that an operator should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How grave it is.
    pub kind: Kind,
    /// What the provider does, in one sentence without a full stop.
    pub text: String,
    /// The section, as `RFC 2645 section 5.1.1`.
    pub section: &'static str,
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The section asks for something else.
    Deviates,
    /// Nothing is broken, but it is good to know.
    Note,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.section)
    }
}

/// All findings of one probe, in the order in which they were made; each once.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn deviates(&mut self, section: &'static str, text: impl AsRef<str>) {
        self.add(Kind::Deviates, section, text.as_ref());
    }

    pub(super) fn note(&mut self, section: &'static str, text: impl AsRef<str>) {
        self.add(Kind::Note, section, text.as_ref());
    }

    pub(super) fn take(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.0)
    }

    /// A provider's words may be in the text.
    fn add(&mut self, kind: Kind, section: &'static str, text: &str) {
        let text = report::whole(text).to_string();
        let found = Finding {
            kind,
            text,
            section,
        };
        if !self.0.contains(&found) {
            self.0.push(found);
        }
    }
}
