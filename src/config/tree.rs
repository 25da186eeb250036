//! A TOML file as a tree in which every value remembers where it stood.
//!
//! Options of the command line become the same tree, so that a value is checked by the same lines
//! wherever it came from.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, in_words};

/// Where a tree came from, to name the place in an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A file: its path and its text (the text turns an offset into line and column).
    File { path: PathBuf, text: String },
    /// Options of the command line.
    Options,
    /// A default of the table of keys.
    Default,
}

impl Origin {
    /// `FILE:LINE:COLUMN` for an offset in octets; columns count characters, as editors do.
    pub(super) fn place(&self, at: usize) -> String {
        match self {
            Origin::File { path, text } => {
                let before = text.get(..at).unwrap_or(text);
                let line = before.matches('\n').count().saturating_add(1);
                let column = before
                    .rsplit('\n')
                    .next()
                    .map_or(0, |tail| tail.chars().count())
                    .saturating_add(1);
                format!("{}:{line}:{column}", path.display())
            }
            Origin::Options => "the command line".to_owned(),
            Origin::Default => "the built-in default".to_owned(),
        }
    }
}

/// A value and its offset in the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) at: usize,
    pub(super) value: Value,
}

/// What a value can be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Switch(bool),
    List(Vec<Node>),
    Table(Table),
    /// A type no key has (a float, a date, a number beyond 64 bits): its name.
    Other(&'static str),
}

impl Value {
    /// What the operator wrote, as a noun.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Number(_) => "a number",
            Value::Switch(_) => "true or false",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(noun) => noun,
        }
    }
}

/// The keys of one table.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
}

/// A key, where it stood, and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) at: usize,
    pub(super) name: String,
    pub(super) node: Node,
}

impl Table {
    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

/// Reads a file into its origin and its top table.
pub(super) fn read(path: &Path) -> Result<(Origin, Table), ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "write it as turnabout.toml(5) says, or name another with --config"
            }
            std::io::ErrorKind::PermissionDenied => {
                "start turnabout as a user that may read it, usually root"
            }
            _ => "it must be a text file in TOML",
        };
        ConfigError::new("read", path.display().to_string(), in_words(&error), advice)
    })?;
    parse(path, text)
}

/// Reads the text of a file.
pub(super) fn parse(path: &Path, text: String) -> Result<(Origin, Table), ConfigError> {
    let table = match DeTable::parse(&text) {
        Ok(table) => from_table(table.get_ref()),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let message = error.message().to_owned();
            let origin = Origin::File {
                path: path.to_owned(),
                text,
            };
            return Err(ConfigError::new(
                "read",
                origin.place(at),
                message,
                "the file is written in TOML",
            ));
        }
    };
    let origin = Origin::File {
        path: path.to_owned(),
        text,
    };
    Ok((origin, table))
}

/// Reads one value, as the defaults in the table of keys are written.
pub(super) fn parse_value(text: &str) -> Option<Node> {
    DeValue::parse(text).ok().map(|value| from_value(&value))
}

fn from_table(table: &DeTable<'_>) -> Table {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(name, value)| Entry {
            at: name.span().start,
            name: name.get_ref().to_string(),
            node: from_value(value),
        })
        .collect();
    // In the order of the file: errors name the first mistake, providers keep their order.
    entries.sort_by_key(|entry| entry.at);
    Table { entries }
}

fn from_value(value: &Spanned<DeValue<'_>>) -> Node {
    let at = value.span().start;
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other("a number that is too large"), Value::Number),
        DeValue::Float(_) => Value::Other("a fraction"),
        DeValue::Boolean(on) => Value::Switch(*on),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => Value::List(items.iter().map(from_value).collect()),
        DeValue::Table(table) => Value::Table(from_table(table)),
    };
    Node { at, value }
}
