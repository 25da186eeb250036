//! What is wrong with the accounts file, as one sentence for the operator.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why the accounts could not be read: `cannot read FILE:LINE:COLUMN: CAUSE (what to do)`.
///
/// No credential is ever part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountsError {
    path: PathBuf,
    place: Option<(usize, usize)>,
    cause: String,
    advice: String,
}

impl AccountsError {
    pub(super) fn new(
        path: &Path,
        place: Option<(usize, usize)>,
        cause: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            path: path.to_owned(),
            place,
            cause: cause.into(),
            advice: advice.into(),
        }
    }

    /// Line and column, both from 1, columns in characters; `None` when the whole file is meant.
    #[must_use]
    pub fn place(&self) -> Option<(usize, usize)> {
        self.place
    }
}

impl fmt::Display for AccountsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read {}", self.path.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {} ({})", self.cause, self.advice)
    }
}

impl std::error::Error for AccountsError {}
