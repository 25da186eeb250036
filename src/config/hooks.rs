//! Programs that run round a fetch: the keys of `[providers.NAME]` for them.

use std::time::Duration;

use super::error::ConfigError;
use super::keys;
use super::section::Section;
use super::values::{POSITIVE, SOME_TIME};

/// What to run round each fetch from a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hooks {
    /// Before the provider is dialled: a program by its absolute path, and its arguments.
    pub before: Option<Vec<String>>,
    /// When the fetch has ended; written as `before`.
    pub after: Option<Vec<String>>,
    /// How long each of them may take.
    pub time: Duration,
}

impl Hooks {
    pub(super) fn read(section: &Section<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            before: section.command(&keys::HOOK_BEFORE)?,
            after: section.command(&keys::HOOK_AFTER)?,
            time: section.duration(&keys::HOOK_TIME, POSITIVE, SOME_TIME)?,
        })
    }
}
