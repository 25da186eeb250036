//! Which Postfix it is, and so which form of the connection cache's labels and properties it uses.

use crate::handoff::HandoffError;

/// The forms of the cache's interface, by Postfix version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Postfix 3.4 to 3.7, tried with 3.7.11.
    Plain,
    /// Postfix 3.8 to 3.10, tried with 3.10.13: the port travels with the destination.
    Port,
    /// Postfix 3.11 and 3.12, tried with 3.11.7: and the labels tell apart what a message needs of TLS and SMTPUTF8.
    Needs,
}

/// What is written in the refusal.
const KNOWN: &str = "Postfix 3.4 to 3.12";

impl Form {
    /// The form for a `mail_version` such as `3.7.11`, `3.12-20260301` or `3.11-RC1`.
    ///
    /// # Errors
    /// A version whose interface nobody has looked at: older than 3.4, or newer than 3.12.
    pub fn of(mail_version: &str) -> Result<Self, HandoffError> {
        let mut numbers = mail_version.split(['.', '-']).map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(3)), Some(Ok(4..=7))) => Ok(Self::Plain),
            (Some(Ok(3)), Some(Ok(8..=10))) => Ok(Self::Port),
            (Some(Ok(3)), Some(Ok(11..=12))) => Ok(Self::Needs),
            _ => Err(HandoffError::UnknownVersion {
                mta: "Postfix",
                version: mail_version.to_owned(),
                known: KNOWN,
            }),
        }
    }

    /// Whether the cache greets first: since Postfix 3.6.
    #[must_use]
    pub fn greets(self, mail_version: &str) -> bool {
        let minor = mail_version
            .split(['.', '-'])
            .nth(1)
            .and_then(|minor| minor.parse::<u32>().ok());
        self != Self::Plain || minor.is_some_and(|minor| minor >= 6)
    }
}

/// A time in Postfix's notation: a number and `s`, `m`, `h`, `d` or `w`; seconds without.
#[must_use]
pub fn time(text: &str) -> Option<std::time::Duration> {
    let text = text.trim();
    let number = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let factor = match text.strip_prefix(number)? {
        "" | "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        "w" => 7 * 24 * 60 * 60,
        _ => return None,
    };
    Some(std::time::Duration::from_secs(
        number.parse::<u64>().ok()?.checked_mul(factor)?,
    ))
}
