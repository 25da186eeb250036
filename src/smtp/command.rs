//! Commands: a line in, a value out, and back (RFC 5321 4.1.1, RFC 4954 4, RFC 2645 5.2.1).

use super::domain::DomainList;
use super::line::Line;
use super::verb::Verb;
use std::fmt;
use zeroize::Zeroizing;

/// One command with arguments that are well-formed.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    /// The name is a domain or an address literal, by the characters in it; whose it is was not asked (rule B11).
    Ehlo(String),
    /// The name as with EHLO.
    Helo(String),
    /// A mechanism in upper case and the initial response as it stood on the wire: base64, or `=` for an empty one.
    Auth {
        /// 1 to 20 of `A-Z0-9-_` (RFC 4422 3.1).
        mechanism: String,
        /// Not yet decoded: an unknown mechanism is refused before anybody looks at it.
        initial: Option<Zeroizing<String>>,
    },
    /// The named domains, or all of the customer's.
    Atrn(Option<DomainList>),
    /// Never with an argument (rule B3).
    Starttls,
    /// Its argument is dropped.
    Noop,
    /// Never with an argument (rule B3).
    Rset,
    /// Never with an argument (rule B3).
    Quit,
    /// Recognised, and not implemented on this port: MAIL, RCPT, ETRN, TURN and so on. Arguments are dropped.
    Other(Verb),
}

/// Why a line is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Octets above 127 (rule B2).
    #[error("the command is not ASCII")]
    NotAscii,
    /// The first word is no verb of SMTP.
    #[error("the command is unknown")]
    Unknown,
    /// The verb is known, its argument is wrong.
    #[error("the argument of {0} is wrong")]
    Argument(Verb),
}

impl CommandError {
    /// The reply code of this error when the verb would have been in order: 500 or 501.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::NotAscii | Self::Unknown => 500,
            Self::Argument(_) => 501,
        }
    }

    /// The verb, if it was recognised.
    #[must_use]
    pub fn verb(self) -> Option<Verb> {
        match self {
            Self::NotAscii | Self::Unknown => None,
            Self::Argument(verb) => Some(verb),
        }
    }
}

/// A blank of RFC 5321.
const BLANK: [char; 2] = [' ', '\t'];

impl Command {
    /// Reads a command. White space at the end is tolerated (rule B3).
    ///
    /// # Errors
    /// [`CommandError`], which knows the verb if there was one.
    pub fn parse(line: &Line) -> Result<Self, CommandError> {
        let text = line.as_str().ok_or(CommandError::NotAscii)?;
        let text = text.trim_end_matches(BLANK);
        let (word, rest) = match text.find(BLANK) {
            Some(at) => text.split_at_checked(at).unwrap_or((text, "")),
            None => (text, ""),
        };
        let verb = Verb::parse(word).ok_or(CommandError::Unknown)?;
        Self::with_argument(verb, rest).ok_or(CommandError::Argument(verb))
    }

    /// `rest` is empty, or starts with the blank after the verb and does not end with one.
    fn with_argument(verb: Verb, rest: &str) -> Option<Self> {
        // One SP separates verb and argument; a tab alone does not (grammar A4).
        let argument = match rest.strip_prefix(' ') {
            Some(argument) => argument,
            None if rest.is_empty() => "",
            None => return None,
        };
        let name = argument.trim_start_matches(BLANK);
        match verb {
            Verb::Ehlo => is_host(name).then(|| Self::Ehlo(name.to_owned())),
            Verb::Helo => is_host(name).then(|| Self::Helo(name.to_owned())),
            Verb::Auth => Self::auth(argument),
            Verb::Atrn if name.is_empty() => Some(Self::Atrn(None)),
            Verb::Atrn => DomainList::parse_atrn(name)
                .ok()
                .map(|domains| Self::Atrn(Some(domains))),
            Verb::Noop => Some(Self::Noop),
            Verb::Starttls => name.is_empty().then_some(Self::Starttls),
            Verb::Rset => name.is_empty().then_some(Self::Rset),
            Verb::Quit => name.is_empty().then_some(Self::Quit),
            Verb::Mail
            | Verb::Rcpt
            | Verb::Data
            | Verb::Bdat
            | Verb::Vrfy
            | Verb::Expn
            | Verb::Help
            | Verb::Etrn
            | Verb::Turn => Some(Self::Other(verb)),
        }
    }

    fn auth(argument: &str) -> Option<Self> {
        let (name, initial) = match argument.split_once(' ') {
            Some((name, initial)) => (name, Some(Zeroizing::new(initial.to_owned()))),
            None => (argument, None),
        };
        is_mechanism(name).then(|| Self::Auth {
            mechanism: name.to_ascii_uppercase(),
            initial,
        })
    }

    /// The verb of this command.
    #[must_use]
    pub fn verb(&self) -> Verb {
        match self {
            Self::Ehlo(_) => Verb::Ehlo,
            Self::Helo(_) => Verb::Helo,
            Self::Auth { .. } => Verb::Auth,
            Self::Atrn(_) => Verb::Atrn,
            Self::Starttls => Verb::Starttls,
            Self::Noop => Verb::Noop,
            Self::Rset => Verb::Rset,
            Self::Quit => Verb::Quit,
            Self::Other(verb) => *verb,
        }
    }

    /// The command as it goes on the wire, CRLF included. Wiped when dropped: it may hold a password.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let argument = Zeroizing::new(match self {
            Self::Ehlo(name) | Self::Helo(name) => format!(" {name}"),
            Self::Auth {
                mechanism,
                initial: Some(initial),
            } => format!(" {mechanism} {}", initial.as_str()),
            Self::Auth { mechanism, .. } => format!(" {mechanism}"),
            Self::Atrn(Some(domains)) => format!(" {domains}"),
            _ => String::new(),
        });
        let name = self.verb().name();
        let mut bytes = Zeroizing::new(Vec::with_capacity(name.len() + argument.len() + 2));
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(argument.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        bytes
    }
}

/// The initial response may be a password, so that only its presence is shown.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ehlo(name) => write!(f, "Ehlo({name:?})"),
            Self::Helo(name) => write!(f, "Helo({name:?})"),
            Self::Auth { mechanism, initial } => {
                write!(f, "Auth({mechanism:?}, initial: {})", initial.is_some())
            }
            Self::Atrn(domains) => write!(f, "Atrn({domains:?})"),
            Self::Other(verb) => write!(f, "Other({verb})"),
            Self::Starttls | Self::Noop | Self::Rset | Self::Quit => {
                write!(f, "{:?}", self.verb())
            }
        }
    }
}

/// Longest host name that is taken, in octets.
const HOST_LIMIT: usize = 255;

/// Whether a text may stand for a host in EHLO and its reply: a domain (one label is enough, and underscores are
/// tolerated, for they are common) or something in square brackets. Never a leading `-`, never a control
/// character: the name travels on to logs and to other programs (rule C15).
#[must_use]
pub fn is_host(name: &str) -> bool {
    let octets = name.as_bytes();
    let allowed = |extra: &'static [u8]| {
        move |octet: &u8| octet.is_ascii_alphanumeric() || extra.contains(octet)
    };
    let well_formed = match octets {
        [b'[', literal @ .., b']'] => !literal.is_empty() && literal.iter().all(allowed(b".:-")),
        [first, rest @ ..] => {
            (first.is_ascii_alphanumeric() || *first == b'_') && rest.iter().all(allowed(b".-_"))
        }
        [] => false,
    };
    well_formed && octets.len() <= HOST_LIMIT
}

/// Whether a text is a mechanism's name: 1 to 20 of letters, digits, `-` and `_` (RFC 4422 3.1, rule B42).
fn is_mechanism(name: &str) -> bool {
    (1..=20).contains(&name.len())
        && name
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_')
}
