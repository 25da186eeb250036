//! The keys about TLS: what is wished, and which wishes contradict each other.

use std::path::PathBuf;

use super::error::ConfigError;
use super::keys::{self, Key};
use super::section::Section;
use super::values::{choice, fault};
use crate::tls::{Fingerprint, HandoffTls, KeyPair};

/// `tls` of `[serve]`: what holds on the addresses of `listen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServeTls {
    /// STARTTLS, and nothing of value before it (rule B44).
    Required,
    /// STARTTLS for who wants it.
    Offered,
    /// No STARTTLS.
    None,
}

impl ServeTls {
    /// The word in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Offered => "offered",
            Self::None => "none",
        }
    }
}

/// `tls` of `[providers.NAME]`: how the connection to a provider is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderTls {
    /// STARTTLS or nothing (rules B49, C3).
    Starttls,
    /// TLS from the first octet.
    Implicit,
    /// Not at all.
    None,
}

impl ProviderTls {
    /// The word in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starttls => "starttls",
            Self::Implicit => "implicit",
            Self::None => "none",
        }
    }
}

/// The provider's certificates, each with its key, in the order of the file; at least one where `needed`.
pub(super) fn pairs(section: &Section<'_>, needed: bool) -> Result<Vec<KeyPair>, ConfigError> {
    let certificates = section.paths(&keys::SERVE_CERTIFICATE)?;
    let files = section.paths(&keys::SERVE_KEY)?;
    if needed && certificates.is_empty() && files.is_empty() {
        return Err(section.lacks(
            "has no certificate",
            "add certificate = [...] and key = [...], or tls = \"none\" if the line is protected otherwise",
        ));
    }
    if certificates.len() != files.len() {
        let (key, cause) = if certificates.len() > files.len() {
            (&keys::SERVE_CERTIFICATE, "it lists more files than key")
        } else {
            (&keys::SERVE_KEY, "it lists more files than certificate")
        };
        let advice = "give one key for each certificate, in the same order";
        return Err(section.error(key, cause, advice));
    }
    if !needed {
        let keys = [
            &keys::SERVE_CERTIFICATE,
            &keys::SERVE_KEY,
            &keys::SERVE_CLIENT_CA,
            &keys::SERVE_HANDOFF_TLS,
        ];
        let cause = "no address has TLS: tls is \"none\" and listen_tls is empty";
        only_with_tls(section, &keys, cause)?;
    }
    Ok(certificates
        .into_iter()
        .zip(files)
        .map(|(certificate, key)| KeyPair { certificate, key })
        .collect())
}

/// `handoff_tls` of either side.
pub(super) fn handoff_tls(section: &Section<'_>, key: &Key) -> Result<HandoffTls, ConfigError> {
    const ALL: &[HandoffTls] = &[HandoffTls::Auto, HandoffTls::Kernel, HandoffTls::Relay];
    section.required(key, |text| choice(text, ALL, HandoffTls::name))
}

/// What a customer asks of a provider's TLS.
#[derive(Debug)]
pub(super) struct Wishes {
    pub(super) tls: ProviderTls,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) fingerprints: Vec<Fingerprint>,
    pub(super) certificate: Option<KeyPair>,
    pub(super) handoff_tls: HandoffTls,
}

impl Wishes {
    pub(super) fn read(section: &Section<'_>) -> Result<Wishes, ConfigError> {
        const ALL: &[ProviderTls] = &[
            ProviderTls::Starttls,
            ProviderTls::Implicit,
            ProviderTls::None,
        ];
        let tls = section.required(&keys::TLS, |text| choice(text, ALL, ProviderTls::name))?;
        let wishes = Wishes {
            tls,
            ca_file: section.path(&keys::CA_FILE)?,
            fingerprints: fingerprints(section)?,
            certificate: own_certificate(section)?,
            handoff_tls: handoff_tls(section, &keys::HANDOFF_TLS)?,
        };
        if tls == ProviderTls::None {
            let keys = [
                &keys::CA_FILE,
                &keys::FINGERPRINT,
                &keys::CERTIFICATE,
                &keys::HANDOFF_TLS,
            ];
            only_with_tls(section, &keys, "there is no TLS: tls is \"none\"")?;
        }
        if wishes.ca_file.is_some() && section.has(&keys::FINGERPRINT) {
            return Err(section.error(
                &keys::CA_FILE,
                "fingerprint is given as well, and then no authority is asked",
                "give one of the two",
            ));
        }
        if tls == ProviderTls::Implicit && !section.has(&keys::PORT) {
            return Err(section.error(
                &keys::PORT,
                "it is missing",
                "no port is registered for ODMR with implicit TLS: give the one the provider names",
            ));
        }
        Ok(wishes)
    }
}

fn fingerprints(section: &Section<'_>) -> Result<Vec<Fingerprint>, ConfigError> {
    let listed = section.list(&keys::FINGERPRINT, |text| {
        text.parse::<Fingerprint>().map_err(|_| {
            fault(
                format!("{text:?} is not a fingerprint"),
                "write sha256: and 64 hexadecimal digits, with or without colons",
            )
        })
    })?;
    match listed {
        Some(list) if list.is_empty() => Err(section.error(
            &keys::FINGERPRINT,
            "the list is empty",
            "name at least one certificate, or leave the key out",
        )),
        list => Ok(list.unwrap_or_default()),
    }
}

fn own_certificate(section: &Section<'_>) -> Result<Option<KeyPair>, ConfigError> {
    let (certificate, key) = (section.path(&keys::CERTIFICATE)?, section.path(&keys::KEY)?);
    let missing = |key, other| {
        let advice = "a certificate and its key go together; one file may hold both";
        Err(section.error(key, other, advice))
    };
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(KeyPair { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => missing(&keys::CERTIFICATE, "there is no key for it"),
        (None, Some(_)) => missing(&keys::KEY, "there is no certificate for it"),
    }
}

/// A wish that nothing would come of is a mistake: somebody believes in it.
fn only_with_tls(section: &Section<'_>, keys: &[&Key], cause: &str) -> Result<(), ConfigError> {
    match keys.iter().find(|key| section.has(key)) {
        Some(key) => Err(section.error(key, cause, "leave it out, or choose another tls")),
        None => Ok(()),
    }
}
