//! When a standing customer fetches: the keys of `[providers.NAME]` for it.

use std::time::Duration;

use super::error::ConfigError;
use super::keys;
use super::section::Section;

/// No provider is asked more often than that by itself.
const LEAST: Duration = Duration::from_secs(60);
const WHY: &str = "a provider may refuse who asks too often: give a minute or more";

/// When a standing customer fetches from a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// From the end of a fetch that went well to the next.
    pub interval: Duration,
    /// Up to this much is added to each wait, by chance.
    pub jitter: Duration,
    /// The wait after the first failure; each further one doubles it.
    pub retry_first: Duration,
    /// The longest wait after failures, not less than `retry_first`.
    pub retry_longest: Duration,
}

impl Schedule {
    pub(super) fn read(section: &Section<'_>) -> Result<Self, ConfigError> {
        let schedule = Self {
            interval: section.duration(&keys::INTERVAL, LEAST, WHY)?,
            jitter: section.duration(&keys::JITTER, Duration::ZERO, "")?,
            retry_first: section.duration(&keys::RETRY_FIRST, LEAST, WHY)?,
            retry_longest: section.duration(&keys::RETRY_LONGEST, LEAST, WHY)?,
        };
        if schedule.retry_longest < schedule.retry_first {
            return Err(section.error(
                &keys::RETRY_LONGEST,
                "it is less than retry_first",
                "give at least as much",
            ));
        }
        Ok(schedule)
    }
}
