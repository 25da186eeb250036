//! One table of the file, read key by key through the table of keys.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use super::error::ConfigError;
use super::keys::{Fallback, Key, Table};
use super::suggest::suggest;
use super::tree::{self, Entry, Node, Origin, Value};
use super::values::{Fault, fault};

/// The longest duration that makes sense anywhere here; keeps deadlines inside what a clock can count.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// One table of the file, and where it came from.
#[derive(Debug)]
pub(super) struct Section<'a> {
    origin: &'a Origin,
    /// `providers.isp`, to name keys in errors.
    title: String,
    node: &'a tree::Table,
    at: usize,
}

/// A value and where it stood.
#[derive(Debug)]
struct Given<'a> {
    node: Cow<'a, Node>,
    origin: &'a Origin,
}

impl<'a> Section<'a> {
    /// Opens a table; a key that is not in the table of keys is refused, with a suggestion.
    pub(super) fn open(
        origin: &'a Origin,
        kind: Table,
        title: impl Into<String>,
        node: &'a tree::Table,
        at: usize,
    ) -> Result<Section<'a>, ConfigError> {
        let section = Section {
            origin,
            title: title.into(),
            node,
            at,
        };
        let tables: &[&str] = match kind {
            Table::Serve => &["limits", "postfix", "exim"],
            _ => &[],
        };
        let known = || {
            kind.keys()
                .map(|key| key.name)
                .chain(tables.iter().copied())
        };
        for entry in &node.entries {
            if !known().any(|name| name == entry.name) {
                let known: Vec<&str> = known().collect();
                return Err(unknown(origin, entry, &section.title, &known));
            }
        }
        Ok(section)
    }

    /// A table inside this one; empty if it is not there.
    pub(super) fn table(&self, name: &str, kind: Table) -> Result<Section<'a>, ConfigError> {
        static NONE: tree::Table = tree::Table {
            entries: Vec::new(),
        };
        let title = format!("{}.{name}", self.title);
        match self.node.get(name) {
            None => Section::open(self.origin, kind, title, &NONE, self.at),
            Some(entry) => match &entry.node.value {
                Value::Table(table) => Section::open(self.origin, kind, title, table, entry.at),
                other => Err(not_a_table(self.origin, entry, &title, other)),
            },
        }
    }

    /// True if the operator gave this key.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.node.get(key.name).is_some()
    }

    /// True if this came from options of the command line.
    pub(super) fn is_options(&self) -> bool {
        matches!(self.origin, Origin::Options)
    }

    /// An error about the value of a key, or about its absence.
    pub(super) fn error(&self, key: &Key, cause: &str, advice: &str) -> ConfigError {
        let at = self
            .node
            .get(key.name)
            .map_or(self.at, |entry| entry.node.at);
        self.error_at(self.origin, key, at, cause, advice)
    }

    /// The value the operator gave, or the default, or nothing.
    fn value(&self, key: &Key) -> Result<Option<Given<'a>>, ConfigError> {
        static DEFAULT: Origin = Origin::Default;
        if let Some(entry) = self.node.get(key.name) {
            return Ok(Some(Given {
                node: Cow::Borrowed(&entry.node),
                origin: self.origin,
            }));
        }
        match key.fallback {
            Fallback::Value(text) => match tree::parse_value(text) {
                Some(node) => Ok(Some(Given {
                    node: Cow::Owned(node),
                    origin: &DEFAULT,
                })),
                None => Err(self.error(key, "its default is broken", "report this as a bug")),
            },
            Fallback::Required => {
                Err(self.error(key, "it is missing", "it has no default and must be given"))
            }
            Fallback::Unset(_) => Ok(None),
        }
    }

    /// A key for which nothing was given and which has no default value.
    fn needed<T>(&self, key: &Key, value: Option<T>) -> Result<T, ConfigError> {
        value.ok_or_else(|| self.error(key, "it is missing", "it must be given"))
    }

    /// A string, parsed; the parser's error is (cause, what to do).
    pub(super) fn text<T>(
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
    pub(super) fn required<T>(
        &self,
        key: &Key,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<T, ConfigError> {
        let value = self.text(key, parse)?;
        self.needed(key, value)
    }

    /// A list of strings, each parsed; `None` if it was not given and has no default.
    pub(super) fn list<T>(
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
    pub(super) fn path(&self, key: &Key) -> Result<Option<PathBuf>, ConfigError> {
        let relative_allowed = self.is_options();
        self.text(key, |text| {
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
        })
    }

    /// A path that has a default.
    pub(super) fn required_path(&self, key: &Key) -> Result<PathBuf, ConfigError> {
        let path = self.path(key)?;
        self.needed(key, path)
    }

    /// A duration of at least `shortest`.
    pub(super) fn duration(
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
    pub(super) fn number(&self, key: &Key, least: u32, most: u32) -> Result<u32, ConfigError> {
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
    pub(super) fn switch(&self, key: &Key) -> Result<bool, ConfigError> {
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

    fn error_at(
        &self,
        origin: &Origin,
        key: &Key,
        at: usize,
        cause: &str,
        advice: &str,
    ) -> ConfigError {
        let object = match origin {
            Origin::File { .. } => {
                format!("{}.{} in {}", self.title, key.name, origin.place(at))
            }
            Origin::Options if key.name == super::keys::COMMAND.name => {
                "the command after --".to_owned()
            }
            Origin::Options => format!("--{}", key.name.replace('_', "-")),
            Origin::Default => format!("the default of {}.{}", self.title, key.name),
        };
        ConfigError::new("use", object, cause, advice)
    }
}

/// An entry that nobody knows.
pub(super) fn unknown(origin: &Origin, entry: &Entry, title: &str, known: &[&str]) -> ConfigError {
    let advice = match suggest(&entry.name, known.iter().copied()) {
        Some(word) => format!("did you mean {word:?}?"),
        None => format!("known here: {}", known.join(", ")),
    };
    let inside = if title.is_empty() {
        "at the top of the file".to_owned()
    } else {
        format!("in [{title}]")
    };
    ConfigError::new(
        "use",
        origin.place(entry.at),
        format!("unknown key {:?} {inside}", entry.name),
        advice,
    )
}

/// A value where a table is needed.
pub(super) fn not_a_table(
    origin: &Origin,
    entry: &Entry,
    title: &str,
    value: &Value,
) -> ConfigError {
    ConfigError::new(
        "use",
        origin.place(entry.node.at),
        format!("{title} is {}", value.noun()),
        format!("write it as a table: [{title}]"),
    )
}
