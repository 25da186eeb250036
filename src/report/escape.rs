//! Text from strangers, made harmless (rule C15).

use std::fmt::{self, Write};

/// The longest stranger's text worth a log line, in characters.
const LONGEST: usize = 200;

/// A stranger's text that shows as printable characters only; see [`safe`] and [`whole`].
#[derive(Debug, Clone, Copy)]
pub struct Safe<'a> {
    text: &'a str,
    longest: usize,
}

/// Shows a text from a peer: what is not printable is escaped as in `\n` or `\u{1b}`, and what is
/// longer than 200 characters is cut and ends in `...`.
///
/// Escaping twice changes nothing, so a caller need not know what a callee does.
#[must_use]
pub fn safe(text: &str) -> Safe<'_> {
    Safe {
        text,
        longest: LONGEST,
    }
}

/// The same without a cut: for our own sentences with a stranger's words in them.
#[must_use]
pub fn whole(text: &str) -> Safe<'_> {
    Safe {
        text,
        longest: usize::MAX,
    }
}

impl fmt::Display for Safe<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, c) in self.text.chars().enumerate() {
            if count == self.longest {
                return out.write_str("...");
            }
            write_printable(out, c)?;
        }
        Ok(())
    }
}

/// Writes a character, escaped unless it is printable: control characters, line and paragraph
/// separators, directional marks and unassigned code points are not.
pub(super) fn write_printable(out: &mut impl Write, c: char) -> fmt::Result {
    if is_printable(c) {
        out.write_char(c)
    } else {
        write!(out, "{}", c.escape_debug())
    }
}

/// Printable as the standard library sees it; quotes and backslash are.
pub(super) fn is_printable(c: char) -> bool {
    matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1
}
