//! Reading replies: line by line, bounded, with the same code on each line (RFC 5321 4.2, rules B5, B6).

use super::{Enhanced, Reply, printable};
use crate::smtp::{EXCHANGE_LIMIT, Line, LineError};

/// Largest reply that is read, in octets with all line ends (rule B5).
const REPLY_LIMIT: usize = 65_536;

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
