//! Login by certificate (EXTERNAL): by which certificates an account is known, and whose a shown one is.

use super::{Account, Accounts, Judgement, Misfit, Outcome, Reason};
use crate::smtp::Domain;
use crate::tls::{Fingerprint, PeerCertificate};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// How a certificate is named in the accounts file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Named {
    /// `sha256:...`: this very certificate, whatever its authority and its dates.
    Pinned(Fingerprint),
    /// `dns:home.example.org`: any certificate for this name that leads to `client_ca` and is valid today.
    Dns(Domain),
}

/// A text that names no certificate. It is not repeated: a password may stand there by mistake (rule C16).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this names no certificate")]
pub(super) struct NamesNone;

impl FromStr for Named {
    type Err = NamesNone;

    fn from_str(text: &str) -> Result<Self, NamesNone> {
        match text.split_once(':') {
            Some((kind, name)) if kind.eq_ignore_ascii_case("dns") => {
                name.parse().map(Self::Dns).map_err(|_| NamesNone)
            }
            _ => text.parse().map(Self::Pinned).map_err(|_| NamesNone),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned(fingerprint) => fingerprint.fmt(f),
            Self::Dns(name) => write!(f, "dns:{name}"),
        }
    }
}

/// What one name says about a shown certificate.
enum Says {
    /// It is another.
    Other,
    /// It would be this one, if an authority vouched for it.
    Unproved,
    /// It is this one.
    This,
}

impl Named {
    fn says(&self, shown: &PeerCertificate) -> Says {
        match self {
            Self::Pinned(fingerprint) if *fingerprint == shown.fingerprint => Says::This,
            Self::Dns(name) if shown.is_for(name.as_str()) => {
                if shown.trusted {
                    Says::This
                } else {
                    Says::Unproved
                }
            }
            Self::Pinned(_) | Self::Dns(_) => Says::Other,
        }
    }
}

impl Accounts {
    /// Whether any account is known by a certificate, so that clients need to be asked for theirs (rule B55).
    #[must_use]
    pub fn uses_certificates(&self) -> bool {
        self.accounts
            .iter()
            .any(|account| !account.certificates.is_empty())
    }

    /// For a service without an authority (`client_ca`) that vouches for names: no account relies on one.
    ///
    /// # Errors
    /// The first that does.
    pub fn need_no_authority(&self) -> Result<(), Misfit> {
        let by_name = |named: &Named| matches!(named, Named::Dns(_));
        let relies = |account: &&Account| account.certificates.iter().any(by_name);
        match self.accounts.iter().find(relies) {
            Some(account) => Err(Misfit::NoAuthority(account.user.clone())),
            None => Ok(()),
        }
    }

    /// Judges EXTERNAL: `shown` is the certificate whose key the client has proved to have in the handshake, `authzid`
    /// whom it wants to act for, if it says so (rule B75). One certificate may stand for several accounts; then the
    /// client has to say which.
    #[must_use]
    pub fn external(
        &self,
        shown: &PeerCertificate,
        authzid: Option<&str>,
        peer: IpAddr,
    ) -> Judgement {
        let outcome = match self.identified(shown, authzid) {
            Ok(account) => match self.access(&account.user, peer) {
                Ok(domains) => Outcome::Accepted {
                    user: account.user.clone(),
                    domains: domains.clone(),
                },
                Err(reason) => Outcome::Rejected(reason),
            },
            Err(reason) => Outcome::Rejected(reason),
        };
        // No stored credential is looked at.
        Judgement { outcome, checks: 0 }
    }

    fn identified(
        &self,
        shown: &PeerCertificate,
        authzid: Option<&str>,
    ) -> Result<&Account, Reason> {
        let mut owners = Vec::new();
        let mut unproved = false;
        for account in &self.accounts {
            let says = |named: &Named| named.says(shown);
            for says in account.certificates.iter().map(says) {
                match says {
                    Says::This => owners.push(account),
                    Says::Unproved => unproved = true,
                    Says::Other => {}
                }
            }
        }
        owners.dedup_by_key(|account| account.user.as_str());
        match (authzid, owners.as_slice()) {
            (_, []) if unproved => Err(Reason::UntrustedCertificate),
            (_, []) => Err(Reason::UnknownCertificate),
            (Some(wanted), owners) => owners
                .iter()
                .find(|account| account.user == wanted)
                .copied()
                .ok_or(Reason::OtherIdentity),
            (None, [account]) => Ok(account),
            (None, _) => Err(Reason::SeveralAccounts),
        }
    }
}
