//! One table of the file, read key by key through the table of keys.

mod typed;

use std::borrow::Cow;

use super::error::ConfigError;
use super::keys::{Fallback, Key, Table};
use super::suggest::suggest;
use super::tree::{self, Entry, Node, Origin, Value};

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

    /// An error about the table as a whole: what it has not.
    pub(super) fn lacks(&self, what: &str, advice: &str) -> ConfigError {
        let cause = format!("[{}] {what}", self.title);
        ConfigError::new("use", self.origin.place(self.at), cause, advice)
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
