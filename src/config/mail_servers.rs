//! `[serve.postfix]` and `[serve.exim]`: where the provider's mail server is, and how long a connection stays with it.

use std::path::PathBuf;
use std::time::Duration;

use super::error::ConfigError;
use super::keys;
use super::section::Section;
use super::values::{self, POSITIVE, SOME_TIME};

/// `[serve.postfix]`: where the provider's Postfix is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostfixKeys {
    /// The delivery service for on-demand domains.
    pub service: String,
    /// Where `postconf` and `postqueue` are.
    pub command_directory: PathBuf,
    /// Another configuration directory than Postfix's default.
    pub config_directory: Option<PathBuf>,
    /// How long an idle turned connection stays open once the queue is empty.
    pub idle_time: Duration,
    /// How long a turned connection stays with Postfix at most.
    pub total_time: Duration,
}

/// `[serve.exim]`: where the provider's Exim is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EximKeys {
    /// The Exim program.
    pub command: PathBuf,
    /// The smtp transport for on-demand domains.
    pub transport: String,
    /// How long a turned connection stays with Exim at most.
    pub total_time: Duration,
}

impl PostfixKeys {
    pub(super) fn read(section: &Section<'_>) -> Result<PostfixKeys, ConfigError> {
        Ok(PostfixKeys {
            service: section.required(&keys::POSTFIX_SERVICE, values::word)?,
            command_directory: section.required_path(&keys::POSTFIX_COMMANDS)?,
            config_directory: section.path(&keys::POSTFIX_CONFIG)?,
            idle_time: section.duration(&keys::POSTFIX_IDLE, POSITIVE, SOME_TIME)?,
            total_time: section.duration(&keys::POSTFIX_TOTAL, POSITIVE, SOME_TIME)?,
        })
    }
}

impl EximKeys {
    pub(super) fn read(section: &Section<'_>) -> Result<EximKeys, ConfigError> {
        Ok(EximKeys {
            command: section.required_path(&keys::EXIM_COMMAND)?,
            transport: section.required(&keys::EXIM_TRANSPORT, values::word)?,
            total_time: section.duration(&keys::EXIM_TOTAL, POSITIVE, SOME_TIME)?,
        })
    }
}
