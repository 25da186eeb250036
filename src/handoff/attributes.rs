//! Postfix's attribute lists: `name NUL value NUL ... NUL`.
//!
//! Postfix programs talk to each other in these lists, on the sockets under `$queue_directory/private`.
//! A list is a sequence of names and values, each ended by a NUL, and one more NUL ends the list. Names may
//! repeat and their order matters, so a list is a vector and no map.

use thiserror::Error;

/// The longest name or value we take, in octets.
pub const VALUE_LIMIT: usize = 8192;
/// The longest list we take, in octets.
pub const LIST_LIMIT: usize = 32 * 1024;

/// Why a list cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AttributeError {
    /// A name, a value or the list is longer than we hold in memory.
    #[error("an attribute list is too long")]
    TooLong,
    /// A name or value is not UTF-8: none that we ask for is anything but ASCII.
    #[error("an attribute list is not text")]
    NotText,
}

/// Writes one list. A NUL cannot be said in this form and is left out, and so is an attribute without a name: either
/// would end the list early and make the rest of it mean something else.
#[must_use]
pub fn encode(attributes: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in attributes
        .iter()
        .filter(|(name, _)| name.bytes().any(|byte| byte != 0))
    {
        for part in [name, value] {
            bytes.extend(part.bytes().filter(|byte| *byte != 0));
            bytes.push(0);
        }
    }
    bytes.push(0);
    bytes
}

/// One list that was read: names and values in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes(Vec<(String, String)>);

impl Attributes {
    /// The value of the first attribute with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// All names and values in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Reads one list after the other from bytes as they come.
#[derive(Debug, Default)]
pub struct Reader {
    part: Vec<u8>,
    name: Option<String>,
    list: Vec<(String, String)>,
    taken: usize,
}

impl Reader {
    /// A reader at the start of a list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes up to the end of one list at most; gives how many it took, and the list if it ended there.
    ///
    /// # Errors
    /// A list that is too long or no text. The stream is of no use afterwards: where the next list begins is unknown.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(usize, Option<Attributes>), AttributeError> {
        for (index, byte) in bytes.iter().enumerate() {
            self.taken += 1;
            if *byte != 0 {
                if self.part.len() >= VALUE_LIMIT || self.taken >= LIST_LIMIT {
                    return Err(AttributeError::TooLong);
                }
                self.part.push(*byte);
                continue;
            }
            let part = String::from_utf8(std::mem::take(&mut self.part))
                .map_err(|_| AttributeError::NotText)?;
            match self.name.take() {
                None if part.is_empty() => {
                    self.taken = 0;
                    return Ok((index + 1, Some(Attributes(std::mem::take(&mut self.list)))));
                }
                None => self.name = Some(part),
                Some(name) => self.list.push((name, part)),
            }
            if self.taken >= LIST_LIMIT {
                return Err(AttributeError::TooLong);
            }
        }
        Ok((bytes.len(), None))
    }
}
