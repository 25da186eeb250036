//! Replies: a code, perhaps an enhanced code, and text that nobody acts on (RFC 5321 4.2, RFC 2034).

mod reader;

use super::{COMMAND_LIMIT, EXCHANGE_LIMIT};
pub use reader::{ReplyError, ReplyReader};
use std::fmt;

/// An enhanced status code (RFC 3463), for instance `5.7.8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Enhanced {
    /// 2, 4 or 5, the same as the first digit of the reply code.
    pub class: u8,
    /// 0 to 999.
    pub subject: u16,
    /// 0 to 999.
    pub detail: u16,
}

impl Enhanced {
    /// Reads `c.s.d` without leading zeros (rule B63).
    fn parse(word: &str) -> Option<Self> {
        let mut parts = word.split('.');
        let (class, subject, detail) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let class = number(class)?;
        Some(Self {
            class: u8::try_from(class)
                .ok()
                .filter(|class| matches!(class, 2 | 4 | 5))?,
            subject: number(subject)?,
            detail: number(detail)?,
        })
    }
}

/// One to three digits without a leading zero.
fn number(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|octet| octet.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    (plain && canonical && (1..=3).contains(&text.len()))
        .then(|| text.parse().ok())
        .flatten()
}

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// One reply, of one line or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// The same on every line; only with 2yz, 4yz and 5yz (rule B62).
    pub enhanced: Option<Enhanced>,
    /// The text of each line, without codes. Never empty when it was read.
    pub lines: Vec<String>,
}

impl Reply {
    /// A reply of one line without an enhanced code.
    #[must_use]
    pub fn plain(code: u16, text: &str) -> Self {
        Self {
            code,
            enhanced: None,
            lines: vec![text.to_owned()],
        }
    }

    /// A reply of one line with an enhanced code, whose class is the first digit of the code (rule B62).
    #[must_use]
    pub fn enhanced(code: u16, subject: u16, detail: u16, text: &str) -> Self {
        let class = u8::try_from(code / 100).unwrap_or(5);
        Self {
            enhanced: Some(Enhanced {
                class,
                subject,
                detail,
            }),
            ..Self::plain(code, text)
        }
    }

    /// 2yz.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 3yz: more is wanted.
    #[must_use]
    pub fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// 4yz: not now.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5yz: no.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// The first line's text; empty if there is none.
    #[must_use]
    pub fn text(&self) -> &str {
        self.lines.first().map_or("", String::as_str)
    }

    /// The reply as it goes on the wire, with CRLFs.
    ///
    /// No line is longer than 512 octets with its CRLF (rule B5), except a 334, whose text is part of an AUTH
    /// exchange and may have 12288 (rule B31). Control characters become `?`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let limit = if self.code == 334 {
            EXCHANGE_LIMIT
        } else {
            COMMAND_LIMIT
        };
        let mut bytes = Vec::new();
        let last = self.lines.len().saturating_sub(1);
        let lines = self.lines.iter().map(String::as_str).enumerate();
        let none = self.lines.is_empty().then_some((0, ""));
        for (index, text) in lines.chain(none) {
            let separator = if index < last { '-' } else { ' ' };
            let mut line = format!("{:03}{separator}", self.code);
            if let Some(enhanced) = self.enhanced {
                line.push_str(&enhanced.to_string());
                line.push(' ');
            }
            for character in text.chars().map(printable('?')) {
                if line.len() + character.len_utf8() + 2 > limit {
                    break;
                }
                line.push(character);
            }
            bytes.extend_from_slice(line.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }
}

/// Control characters have no business in a text; a tab is allowed (RFC 5321 4.2).
fn printable(replacement: char) -> impl Fn(char) -> char {
    move |character| {
        if character.is_control() && character != '\t' {
            replacement
        } else {
            character
        }
    }
}

/// Code and text on one line, as a log would show them.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        for line in self.lines.iter().filter(|line| !line.is_empty()) {
            write!(f, " {line}")?;
        }
        Ok(())
    }
}
