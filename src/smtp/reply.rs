//! Replies: a code, perhaps an enhanced code, and text that nobody acts on (RFC 5321 4.2, RFC 2034).

use super::line::{Line, LineError};
use super::{COMMAND_LIMIT, EXCHANGE_LIMIT};
use std::fmt;

/// Largest reply that is read, in octets with all line ends (rule B5).
const REPLY_LIMIT: usize = 65_536;

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

/// Why what came is no reply. The conversation cannot go on after it (rule B6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The line itself is broken.
    #[error("the reply has {0}")]
    Line(LineError),
    /// No code from 200 to 599 at the start, or something else than blank or `-` behind it.
    #[error("the reply has no reply code")]
    NoCode,
    /// Lines of one reply with different codes.
    #[error("the lines of the reply differ in their code")]
    CodeChanged,
    /// More than 64 KiB.
    #[error("the reply is longer than 64 KiB")]
    TooLong,
}

/// Puts the lines of replies together. Holds 64 KiB at most.
#[derive(Debug, Default)]
pub struct ReplyReader {
    code: Option<u16>,
    texts: Vec<String>,
    octets: usize,
}

impl ReplyReader {
    /// The limit for the lines of replies, CRLF included: generous, since a 334 is a line of an exchange (rule B31).
    pub const LINE_LIMIT: usize = EXCHANGE_LIMIT;

    /// A reader that expects the first line of a reply.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the reader stands between two replies.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.code.is_none()
    }

    /// Takes one line; gives the reply if that was its last.
    ///
    /// # Errors
    /// [`ReplyError`]. The reader then starts anew, but what the peer means is no longer known.
    pub fn feed_line(
        &mut self,
        line: Result<Line, LineError>,
    ) -> Result<Option<Reply>, ReplyError> {
        let outcome = line
            .map_err(ReplyError::Line)
            .and_then(|line| self.take(&line));
        match outcome {
            Ok(false) => Ok(None),
            Ok(true) => {
                let read = std::mem::take(self);
                Ok(read.code.map(|code| assemble(code, read.texts)))
            }
            Err(error) => {
                *self = Self::default();
                Err(error)
            }
        }
    }

    /// True if the line was the reply's last.
    fn take(&mut self, line: &Line) -> Result<bool, ReplyError> {
        let octets = line.as_bytes();
        let (code, rest) = match octets {
            [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] => {
                let digit = |octet: &u8| u16::from(octet.saturating_sub(b'0'));
                (digit(a) * 100 + digit(b) * 10 + digit(c), rest)
            }
            _ => return Err(ReplyError::NoCode),
        };
        let (last, text) = match rest {
            [] => (true, rest),
            [b' ', text @ ..] => (true, text),
            [b'-', text @ ..] => (false, text),
            _ => return Err(ReplyError::NoCode),
        };
        if self.code.is_some_and(|first| first != code) {
            return Err(ReplyError::CodeChanged);
        }
        self.octets = self.octets.saturating_add(octets.len()).saturating_add(2);
        if self.octets > REPLY_LIMIT {
            return Err(ReplyError::TooLong);
        }
        self.code = Some(code);
        let text = String::from_utf8_lossy(text);
        self.texts.push(
            text.chars()
                .map(printable(char::REPLACEMENT_CHARACTER))
                .collect(),
        );
        Ok(last)
    }
}

/// Splits off the enhanced code if every line has the same and its class fits.
fn assemble(code: u16, texts: Vec<String>) -> Reply {
    let split: Option<Vec<(Enhanced, &str)>> = texts.iter().map(|text| split(code, text)).collect();
    let common = split.and_then(|pairs| {
        let first = pairs.first().map(|(enhanced, _)| *enhanced)?;
        pairs
            .iter()
            .all(|(enhanced, _)| *enhanced == first)
            .then(|| {
                let lines = pairs.iter().map(|(_, text)| (*text).to_owned()).collect();
                (first, lines)
            })
    });
    match common {
        Some((enhanced, lines)) => Reply {
            code,
            enhanced: Some(enhanced),
            lines,
        },
        None => Reply {
            code,
            enhanced: None,
            lines: texts,
        },
    }
}

fn split(code: u16, text: &str) -> Option<(Enhanced, &str)> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    Enhanced::parse(word)
        .filter(|enhanced| u16::from(enhanced.class) == code / 100)
        .map(|enhanced| (enhanced, rest))
}
