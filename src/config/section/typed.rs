//! The values of a table's keys, by their types.

use std::path::PathBuf;
use std::time::Duration;

use super::{Given, Section};
use crate::config::error::ConfigError;
use crate::config::keys::Key;
use crate::config::tree::Value;
use crate::config::values::{Fault, fault};

/// The longest duration that makes sense anywhere here; keeps deadlines inside what a clock can count.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

impl Section<'_> {
    /// A string, parsed; the parser's error is (cause, what to do).
    pub(in crate::config) fn text<T>(
        &self,
        key: &Key,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(given) = self.value(key)? else {
            return Ok(None);
        };
        let text = match &given.node.value {
            Value::Text(text) => text,
            other => return Err(self.wrong_type(key, &given, other, "a string in quotes")),
        };
        self.parsed(key, &given, given.node.at, text, &parse)
            .map(Some)
    }

    /// A string that must be there.
    pub(in crate::config) fn required<T>(
        &self,
        key: &Key,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<T, ConfigError> {
        let value = self.text(key, parse)?;
        self.needed(key, value)
    }

    /// A list of strings, each parsed; `None` if it was not given and has no default.
    pub(in crate::config) fn list<T>(
        &self,
        key: &Key,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<Option<Vec<T>>, ConfigError> {
        let Some(given) = self.value(key)? else {
            return Ok(None);
        };
        let items = match &given.node.value {
            Value::List(items) => items,
            other => {
                return Err(self.wrong_type(key, &given, other, "a list of strings in brackets"));
            }
        };
        let mut all = Vec::with_capacity(items.len());
        for item in items {
            let Value::Text(text) = &item.value else {
                return Err(self.error_at(
                    given.origin,
                    key,
                    item.at,
                    &format!("{} stands in the list", item.value.noun()),
                    "every item must be a string in quotes",
                ));
            };
            all.push(self.parsed(key, &given, item.at, text, &parse)?);
        }
        Ok(Some(all))
    }

    /// A path: absolute in a file, since a service has no useful current directory.
    pub(in crate::config) fn path(&self, key: &Key) -> Result<Option<PathBuf>, ConfigError> {
        self.text(key, |text| path(text, self.is_options()))
    }

    /// A list of paths, like [`path`](Self::path); empty if it was not given.
    pub(in crate::config) fn paths(&self, key: &Key) -> Result<Vec<PathBuf>, ConfigError> {
        let paths = self.list(key, |text| path(text, self.is_options()))?;
        Ok(paths.unwrap_or_default())
    }

    /// A path that has a default.
    pub(in crate::config) fn required_path(&self, key: &Key) -> Result<PathBuf, ConfigError> {
        let path = self.path(key)?;
        self.needed(key, path)
    }

    /// A program by its absolute path, and its arguments.
    pub(in crate::config) fn command(&self, key: &Key) -> Result<Option<Vec<String>>, ConfigError> {
        let words = self.list(key, |text| {
            if text.contains('\0') {
                return Err(fault(
                    "there is a NUL in it",
                    "no program can be given that",
                ));
            }
            Ok(text.to_owned())
        })?;
        match words {
            None => Ok(None),
            Some(words) if words.first().is_some_and(|word| word.starts_with('/')) => {
                Ok(Some(words))
            }
            Some(words) => {
                let program = words.first().map_or("", String::as_str);
                Err(self.error(
                    key,
                    &format!("the program {program:?} is not an absolute path"),
                    "write its whole path; neither a shell nor PATH is used",
                ))
            }
        }
    }

    /// A duration of at least `shortest`.
    pub(in crate::config) fn duration(
        &self,
        key: &Key,
        shortest: Duration,
        why: &'static str,
    ) -> Result<Duration, ConfigError> {
        self.required(key, |text| {
            let duration = humantime::parse_duration(text).map_err(|error| {
                fault(
                    format!("{text:?} is not a duration: {error}"),
                    "write it as \"30s\", \"5m\" or \"1h 30m\"",
                )
            })?;
            if duration < shortest {
                let least = humantime::format_duration(shortest);
                return Err(fault(format!("{text:?} is less than {least}"), why));
            }
            if duration > LONGEST {
                return Err(fault(
                    format!("{text:?} is more than 30 days"),
                    "give a shorter time",
                ));
            }
            Ok(duration)
        })
    }

    /// A whole number between two bounds, both included.
    pub(in crate::config) fn number(
        &self,
        key: &Key,
        least: u32,
        most: u32,
    ) -> Result<u32, ConfigError> {
        let given = self.value(key)?;
        let given = self.needed(key, given)?;
        let number = match &given.node.value {
            Value::Number(number) => *number,
            other => return Err(self.wrong_type(key, &given, other, "a number without quotes")),
        };
        u32::try_from(number)
            .ok()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| {
                self.error_at(
                    given.origin,
                    key,
                    given.node.at,
                    &format!("{number} is out of range"),
                    &format!("write a number from {least} to {most}"),
                )
            })
    }

    /// A switch.
    pub(in crate::config) fn switch(&self, key: &Key) -> Result<bool, ConfigError> {
        let given = self.value(key)?;
        let given = self.needed(key, given)?;
        match &given.node.value {
            Value::Switch(on) => Ok(*on),
            other => Err(self.wrong_type(key, &given, other, "true or false, without quotes")),
        }
    }

    fn parsed<T>(
        &self,
        key: &Key,
        given: &Given<'_>,
        at: usize,
        text: &str,
        parse: &impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<T, ConfigError> {
        parse(text)
            .map_err(|fault| self.error_at(given.origin, key, at, &fault.cause, &fault.advice))
    }

    fn wrong_type(&self, key: &Key, given: &Given<'_>, value: &Value, wanted: &str) -> ConfigError {
        self.error_at(
            given.origin,
            key,
            given.node.at,
            &format!("it is {}", value.noun()),
            &format!("write {wanted}"),
        )
    }
}

fn path(text: &str, relative_allowed: bool) -> Result<PathBuf, Fault> {
    if text.is_empty() || text.contains('\0') {
        return Err(fault(
            format!("{text:?} is not a path"),
            "write an absolute path",
        ));
    }
    let path = PathBuf::from(text);
    if path.is_absolute() || relative_allowed {
        Ok(path)
    } else {
        Err(fault(
            format!("{text:?} is a relative path"),
            "write an absolute path",
        ))
    }
}
