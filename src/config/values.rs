//! Checks of single values: each says what is wrong and what to do.

use std::net::IpAddr;
use std::time::Duration;

use super::error::ConfigError;
use super::keys::Key;
use super::section::Section;
use super::suggest::suggest;
use crate::sasl::Mechanism;
use crate::smtp::domain::Domain;

/// The least that a duration must be which cannot be zero.
pub(super) const POSITIVE: Duration = Duration::from_millis(1);
/// What to do about a shorter one.
pub(super) const SOME_TIME: &str = "give at least one millisecond, such as \"30s\"";

/// What is wrong with a value, and what to do about it.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) cause: String,
    pub(super) advice: String,
}

/// What is wrong with a value, and what to do about it.
pub(super) fn fault(cause: impl Into<String>, advice: impl Into<String>) -> Fault {
    Fault {
        cause: cause.into(),
        advice: advice.into(),
    }
}

/// One of a few words.
pub(super) fn choice<T: Copy>(
    text: &str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T, Fault> {
    if let Some(one) = all.iter().find(|one| name(**one) == text) {
        return Ok(*one);
    }
    let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
    let advice = match suggest(text, names.iter().copied()) {
        Some(word) => format!("did you mean {word:?}?"),
        None => format!("write {}", names.join(" or ")),
    };
    Err(fault(format!("{text:?} is not known here"), advice))
}

/// A name without blanks, control characters or a leading hyphen: fit for an argument of a command.
pub(super) fn word(text: &str) -> Result<String, Fault> {
    let plain = text
        .chars()
        .all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\' | '/' | ':'));
    if text.is_empty() || text.starts_with('-') || !plain {
        return Err(fault(
            format!("{text:?} is not a name"),
            "use letters, digits, hyphens, dots and underscores",
        ));
    }
    Ok(text.to_owned())
}

/// A domain with two labels or more (rule X8).
pub(super) fn domain(text: &str) -> Result<Domain, Fault> {
    text.parse::<Domain>().map_err(|_| {
        let advice = if !text.is_ascii() {
            "write an internationalised name in its xn-- form"
        } else if !text.contains('.') {
            "ODMR domains have at least two labels, such as example.org"
        } else {
            "write it as example.org: letters, digits and hyphens in two or more labels"
        };
        fault(format!("{text:?} is not a mail domain"), advice)
    })
}

/// A fully qualified host name.
pub(super) fn qualified(text: &str) -> Result<String, Fault> {
    match text.parse::<Domain>() {
        Ok(name) if text.parse::<IpAddr>().is_err() => Ok(name.to_string()),
        _ => Err(fault(
            format!("{text:?} is not a fully qualified host name"),
            "write it with its domain, such as mail.example.org",
        )),
    }
}

/// What a customer may say EHLO with: a fully qualified name or an address literal (rule B8).
pub(super) fn ehlo_name(text: &str) -> Result<String, Fault> {
    let literal = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| match inner.strip_prefix("IPv6:") {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
            None => inner.parse::<std::net::Ipv4Addr>().is_ok(),
        });
    if literal {
        return Ok(text.to_owned());
    }
    qualified(text).map_err(|not_a_name| {
        fault(
            not_a_name.cause,
            "write mail.example.org, or an address literal: [192.0.2.1] or [IPv6:2001:db8::1]",
        )
    })
}

/// A host to dial: an address, or a name that can be looked up.
pub(super) fn host(text: &str) -> Result<String, Fault> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    if bare.parse::<IpAddr>().is_ok() {
        return Ok(bare.to_owned());
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() <= 253 && name.split('.').all(label) {
        return Ok(text.to_owned());
    }
    let advice = if text.contains(':') {
        "the port is a key of its own"
    } else {
        "write a host name or an address"
    };
    Err(fault(format!("{text:?} is not a host"), advice))
}

/// A user name for AUTH: any characters but controls (it goes to logs: rule C15).
pub(super) fn login(text: &str) -> Result<String, Fault> {
    if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
        return Err(fault(
            format!("{text:?} is not a user name"),
            "write 1 to 255 octets without control characters",
        ));
    }
    Ok(text.to_owned())
}

/// The names that stand in lists of mechanisms.
const WRITTEN: [Mechanism; 6] = [
    Mechanism::External,
    Mechanism::ScramSha256,
    Mechanism::ScramSha1,
    Mechanism::CramMd5,
    Mechanism::Plain,
    Mechanism::Login,
];

/// The mechanisms that the operator lists, each with its -PLUS form (rule B71): strongest first, none twice, at least
/// one that is `usable`.
pub(super) fn mechanisms(
    section: &Section<'_>,
    key: &Key,
    usable: impl Fn(Mechanism) -> bool,
) -> Result<Vec<Mechanism>, ConfigError> {
    let mut listed: Vec<Mechanism> = section
        .list(key, |text| {
            choice(&text.to_ascii_uppercase(), &WRITTEN, Mechanism::name)
        })?
        .unwrap_or_default();
    let bound: Vec<Mechanism> = listed.iter().filter_map(|one| one.plus()).collect();
    listed.extend(bound);
    listed.sort();
    listed.dedup();
    if listed.is_empty() {
        return Err(section.error(key, "the list is empty", "name at least one mechanism"));
    }
    if !listed.iter().any(|mechanism| usable(*mechanism)) {
        return Err(section.error(
            key,
            "it lists nothing that is allowed without TLS",
            "add SCRAM-SHA-256, or set plaintext_without_tls = true where the connection is protected otherwise",
        ));
    }
    Ok(listed)
}

/// Whether a mechanism may be used on a connection without TLS (rule B35).
pub(super) fn allowed_in_clear(mechanism: Mechanism, plaintext_without_tls: bool) -> bool {
    Mechanism::WITHOUT_TLS.contains(&mechanism)
        && (plaintext_without_tls || !mechanism.is_plaintext())
}
