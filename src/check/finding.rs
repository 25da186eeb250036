//! What is found: one sentence, where it belongs, and the line that mends it.

use std::fmt;

use serde::Serialize;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Mail will not flow, goes astray, or somebody gets what is not his.
    Error,
    /// It works, but not always or not well.
    Warning,
    /// Worth to know; also what could not be looked at.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// The file, table, parameter or address that it is about.
    pub place: String,
    /// What is wrong, in one sentence without a full stop.
    pub sentence: String,
    /// The exact line to add, or the command to run; several lines where a service has several.
    pub fix: Option<String>,
}

/// All findings of one look, in the order they were made.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn error(
        &mut self,
        place: impl Into<String>,
        sentence: impl Into<String>,
    ) -> Added<'_> {
        self.add(Severity::Error, place.into(), sentence.into())
    }

    pub(super) fn warning(
        &mut self,
        place: impl Into<String>,
        sentence: impl Into<String>,
    ) -> Added<'_> {
        self.add(Severity::Warning, place.into(), sentence.into())
    }

    pub(super) fn note(
        &mut self,
        place: impl Into<String>,
        sentence: impl Into<String>,
    ) -> Added<'_> {
        self.add(Severity::Note, place.into(), sentence.into())
    }

    pub(super) fn add(&mut self, severity: Severity, place: String, sentence: String) -> Added<'_> {
        self.0.push(Finding {
            severity,
            place,
            sentence,
            fix: None,
        });
        Added(self.0.last_mut())
    }

    /// The gravest first, otherwise as they came; what was found twice once.
    pub(super) fn sorted(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|finding| finding.severity);
        let mut seen: Vec<Finding> = Vec::with_capacity(self.0.len());
        for finding in self.0 {
            if !seen.contains(&finding) {
                seen.push(finding);
            }
        }
        seen
    }
}

/// The finding that was just made.
pub(super) struct Added<'f>(Option<&'f mut Finding>);

impl Added<'_> {
    /// Nothing mends it, or nothing need.
    pub(super) fn end(self) {}

    /// The line that mends it.
    pub(super) fn fix(self, fix: impl Into<String>) {
        if let Some(finding) = self.0 {
            finding.fix = Some(fix.into());
        }
    }
}
