//! Verbs: the first word of a command.

use std::fmt;

/// A verb that is recognised. What is not in this list is answered 500, what is and has no use here 502 (rule R30).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the verb of that name")]
pub enum Verb {
    Ehlo,
    Helo,
    Auth,
    Atrn,
    Starttls,
    Noop,
    Rset,
    Quit,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Vrfy,
    Expn,
    Help,
    Etrn,
    Turn,
}

/// Every verb with its name: the one table for both directions.
const VERBS: [(Verb, &str); 17] = [
    (Verb::Ehlo, "EHLO"),
    (Verb::Helo, "HELO"),
    (Verb::Auth, "AUTH"),
    (Verb::Atrn, "ATRN"),
    (Verb::Starttls, "STARTTLS"),
    (Verb::Noop, "NOOP"),
    (Verb::Rset, "RSET"),
    (Verb::Quit, "QUIT"),
    (Verb::Mail, "MAIL"),
    (Verb::Rcpt, "RCPT"),
    (Verb::Data, "DATA"),
    (Verb::Bdat, "BDAT"),
    (Verb::Vrfy, "VRFY"),
    (Verb::Expn, "EXPN"),
    (Verb::Help, "HELP"),
    (Verb::Etrn, "ETRN"),
    (Verb::Turn, "TURN"),
];

/// The first words of HTTP requests: a browser that was lured here (rule C14).
const HTTP: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI",
];

impl Verb {
    /// The verb of this name, in any case.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        VERBS
            .iter()
            .find(|(_, name)| name.eq_ignore_ascii_case(word))
            .map(|(verb, _)| *verb)
    }

    /// The name in upper case.
    #[must_use]
    pub fn name(self) -> &'static str {
        VERBS
            .iter()
            .find(|(verb, _)| *verb == self)
            .map_or("", |(_, name)| name)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a first line speaks HTTP instead of SMTP.
pub(crate) fn is_http_request(line: &[u8]) -> bool {
    let word = first_word(line);
    HTTP.iter().any(|verb| verb.as_bytes() == word)
}

/// Whether a line is a header, as in `Host: example.org`: the request line before it may have been too long to read.
pub(crate) fn is_http_header(line: &[u8]) -> bool {
    matches!(first_word(line), [_, .., b':'])
}

fn first_word(line: &[u8]) -> &[u8] {
    line.split(|octet| *octet == b' ')
        .next()
        .unwrap_or_default()
}
