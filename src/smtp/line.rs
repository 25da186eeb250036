//! Lines: what stands between two CRLFs, and nothing else ends one (RFC 5321 2.3.8, rules B1, C8, C13).
//!
//! The reader takes bytes as they come and never takes one beyond the end of a line, so that what follows (a
//! TLS handshake, another program's conversation) is still the caller's. Its memory is bounded by the limit.

use std::fmt;
use zeroize::Zeroizing;

/// One line without its CRLF. It holds no CR, LF or NUL; octets above 127 are possible.
///
/// Lines may carry passwords: the content is wiped when dropped and never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Line(Zeroizing<Vec<u8>>);

impl Line {
    /// Makes a line of octets that came without their line end.
    ///
    /// # Errors
    /// The first of [`LineError::BareCr`], [`LineError::BareLf`], [`LineError::Nul`] that is found.
    pub fn new(octets: &[u8]) -> Result<Self, LineError> {
        match octets.iter().find_map(|octet| LineError::of(*octet)) {
            Some(error) => Err(error),
            None => Ok(Self(Zeroizing::new(octets.to_vec()))),
        }
    }

    /// The octets between the line ends.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if it is ASCII: commands must be (rule B2).
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0)
            .ok()
            .filter(|text| text.is_ascii())
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({} octets)", self.0.len())
    }
}

/// Why a line was refused. The whole line, up to its CRLF, is then gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// A CR that no LF follows.
    #[error("a CR without LF")]
    BareCr,
    /// A LF that no CR precedes: the stuff SMTP smuggling is made of (rule C8).
    #[error("a LF without CR")]
    BareLf,
    /// A NUL octet.
    #[error("a NUL")]
    Nul,
    /// More octets than the limit.
    #[error("the line is too long")]
    TooLong,
}

impl LineError {
    fn of(octet: u8) -> Option<Self> {
        match octet {
            b'\r' => Some(Self::BareCr),
            b'\n' => Some(Self::BareLf),
            0 => Some(Self::Nul),
            _ => None,
        }
    }
}

/// Room taken at once for a new line; most lines never need more.
const FIRST_ROOM: usize = 128;

/// Cuts a stream of bytes into lines.
pub struct LineReader {
    /// Octets of the unfinished line, without a pending CR.
    partial: Zeroizing<Vec<u8>>,
    /// The last byte was a CR: the next decides what it was.
    after_cr: bool,
    /// The line is lost: its rest is thrown away up to the CRLF, then this is reported once.
    lost: Option<LineError>,
    limit: usize,
}

impl fmt::Debug for LineReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineReader")
            .field("partial_octets", &self.partial.len())
            .field("lost", &self.lost)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl LineReader {
    /// A reader for lines of at most `limit_incl_crlf` octets, the CRLF counted.
    #[must_use]
    pub fn new(limit_incl_crlf: usize) -> Self {
        Self {
            partial: Zeroizing::new(Vec::new()),
            after_cr: false,
            lost: None,
            limit: limit_incl_crlf,
        }
    }

    /// Changes the limit, also for the line that is being read.
    pub fn set_limit(&mut self, limit_incl_crlf: usize) {
        self.limit = limit_incl_crlf;
    }

    /// Whether the reader stands between two lines, holding nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.partial.is_empty() && !self.after_cr && self.lost.is_none()
    }

    /// What is wrong already with the line that is not finished. A peer that ends its lines with LF never finishes one.
    #[must_use]
    pub fn fault(&self) -> Option<LineError> {
        self.lost
    }

    /// Takes bytes up to and including one line end, and says how many it took.
    ///
    /// Without a line end in `bytes` it takes them all and gives `None`. What it did not take belongs to the
    /// caller, who gives it again for the next line.
    pub fn feed(&mut self, bytes: &[u8]) -> (usize, Option<Result<Line, LineError>>) {
        for (index, octet) in bytes.iter().enumerate() {
            if self.push(*octet) {
                return (index.saturating_add(1), Some(self.finish()));
            }
        }
        (bytes.len(), None)
    }

    /// Takes one byte; true if it ended the line.
    fn push(&mut self, octet: u8) -> bool {
        if self.after_cr {
            self.after_cr = false;
            if octet == b'\n' {
                return true;
            }
            self.lose(LineError::BareCr);
        }
        match octet {
            b'\r' => self.after_cr = true,
            b'\n' => self.lose(LineError::BareLf),
            0 => self.lose(LineError::Nul),
            _ if self.lost.is_some() => {}
            _ if self.partial.len().saturating_add(3) > self.limit => self.lose(LineError::TooLong),
            _ => self.keep(octet),
        }
        false
    }

    /// Adds an octet. A full buffer moves to a larger one, and the old one is wiped on the way out.
    fn keep(&mut self, octet: u8) {
        if self.partial.len() == self.partial.capacity() {
            let room = self.partial.len().saturating_mul(2).max(FIRST_ROOM);
            let mut larger = Zeroizing::new(Vec::with_capacity(room.min(self.limit)));
            larger.extend_from_slice(&self.partial);
            self.partial = larger;
        }
        self.partial.push(octet);
    }

    /// The first fault of a line is the one to report.
    fn lose(&mut self, error: LineError) {
        if self.lost.is_none() {
            self.lost = Some(error);
            self.partial = Zeroizing::new(Vec::new());
        }
    }

    fn finish(&mut self) -> Result<Line, LineError> {
        let line = std::mem::take(&mut self.partial);
        match self.lost.take() {
            Some(error) => Err(error),
            None => Ok(Line(line)),
        }
    }
}
