//! Domains as ATRN names them (RFC 2645 5.2.1 and grammar A4): letters, digits and hyphens, two labels or more.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Longest domain, in octets (RFC 5321 4.5.3.1.2).
const DOMAIN_LIMIT: usize = 255;
/// Longest label, in octets (RFC 1035 2.3.4).
const LABEL_LIMIT: usize = 63;

/// One domain in lower case, international names as A-labels (`xn--...`).
///
/// Two domains are the same only if all their labels are: `example.org` does not stand for `sub.example.org`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(String);

/// Why a text is not a domain for ATRN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// Nothing where a domain should stand.
    #[error("the domain is empty")]
    Empty,
    /// More than 255 octets.
    #[error("the domain is longer than 255 octets")]
    TooLong,
    /// Only one label, as in `localhost`.
    #[error("the domain has only one label (write it in full, as in example.org)")]
    OneLabel,
    /// A letter that is not ASCII.
    #[error("the domain is not ASCII (write international names in their xn-- form)")]
    NotAscii,
    /// A label that is empty, too long, starts or ends with a hyphen, or has another character in it.
    #[error(
        "a label of the domain is not 1 to 63 letters, digits and hyphens with no hyphen at its ends"
    )]
    Label,
}

impl Domain {
    /// The domain in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        if text.is_empty() {
            return Err(DomainError::Empty);
        }
        if !text.is_ascii() {
            return Err(DomainError::NotAscii);
        }
        if text.len() > DOMAIN_LIMIT {
            return Err(DomainError::TooLong);
        }
        if !text.split('.').all(is_label) {
            return Err(DomainError::Label);
        }
        if !text.contains('.') {
            return Err(DomainError::OneLabel);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

fn is_label(label: &str) -> bool {
    let octets = label.as_bytes();
    let ends_are_alphanumeric = [octets.first(), octets.last()]
        .iter()
        .all(|end| end.is_some_and(u8::is_ascii_alphanumeric));
    ends_are_alphanumeric
        && octets.len() <= LABEL_LIMIT
        && octets
            .iter()
            .all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One domain or more, each once, in the order in which they were named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainList(Vec<Domain>);

impl DomainList {
    /// Makes a list; `None` if there is nothing in it. Repetitions are dropped.
    #[must_use]
    pub fn try_new(domains: Vec<Domain>) -> Option<Self> {
        let mut seen = BTreeSet::new();
        let list: Vec<Domain> = domains
            .into_iter()
            .filter(|domain| seen.insert(domain.clone()))
            .collect();
        (!list.is_empty()).then_some(Self(list))
    }

    /// Reads the argument of ATRN: domains between commas, blanks around a comma tolerated (grammar A4).
    ///
    /// # Errors
    /// The first domain's [`DomainError`]; a comma with nothing beside it is [`DomainError::Empty`].
    pub fn parse_atrn(argument: &str) -> Result<Self, DomainError> {
        let domains: Result<Vec<Domain>, DomainError> = argument
            .split(',')
            .map(|item| item.trim_matches([' ', '\t']).parse())
            .collect();
        Self::try_new(domains?).ok_or(DomainError::Empty)
    }

    /// The domains in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, Domain> {
        self.0.iter()
    }

    /// The domains as a slice; never empty.
    #[must_use]
    pub fn as_slice(&self) -> &[Domain] {
        &self.0
    }

    /// Whether the list names this very domain.
    #[must_use]
    pub fn contains(&self, domain: &Domain) -> bool {
        self.0.contains(domain)
    }
}

impl<'a> IntoIterator for &'a DomainList {
    type Item = &'a Domain;
    type IntoIter = std::slice::Iter<'a, Domain>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The argument of ATRN: commas without blanks.
impl fmt::Display for DomainList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for domain in &self.0 {
            write!(f, "{separator}{domain}")?;
            separator = ",";
        }
        Ok(())
    }
}
