//! Judging what a client has shown, with the same work whoever it says it is.

use super::{Account, Accounts, Credential};
use crate::sasl::server::Evidence;
use crate::sasl::{Secret, cram_md5};
use crate::smtp::DomainList;
use std::net::IpAddr;

/// A judgement, and the work it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Whether the login is accepted.
    pub outcome: Outcome,
    /// How many credentials were computed and compared: the same for every login with one mechanism, known user
    /// or not (rule C11).
    pub checks: usize,
}

/// Whether a login is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is.
    Accepted {
        /// The user's name, prepared.
        user: String,
        /// Everything the user may fetch.
        domains: DomainList,
    },
    /// It is not. The peer must not learn why: the reason is for the operator.
    Rejected(Reason),
}

/// Why a login is rejected, for the operator's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No account has this name.
    #[error("unknown user")]
    UnknownUser,
    /// The password is another.
    #[error("wrong password")]
    WrongPassword,
    /// What is stored for the account cannot serve the mechanism: CRAM-MD5 needs `{PLAIN}`, and an account may have
    /// certificates only.
    #[error("the stored credential does not serve this mechanism")]
    NotForThisMechanism,
    /// The account is limited to other networks.
    #[error("the address is not one of the account's sources")]
    ForeignSource,
    /// No account names the certificate that was shown.
    #[error("no account has this certificate")]
    UnknownCertificate,
    /// An account names the certificate by a `dns:` name, which no authority vouches for.
    #[error(
        "the certificate has the name of an account, but does not lead to client_ca or is not valid today"
    )]
    UntrustedCertificate,
    /// The certificate is that of several accounts, and the client did not say which it wants.
    #[error("several accounts have this certificate, and the client asked for none of them")]
    SeveralAccounts,
    /// PLAIN or EXTERNAL named another identity to act for (rules B65, B75).
    #[error("asked to act for another user")]
    OtherIdentity,
}

impl Accounts {
    /// Judges a login from an address. This is work for the processor, a tenth of a second and more with some
    /// schemes: call it where nobody else has to wait.
    ///
    /// Every scheme that the file uses is computed once, the user's own with its credential, the others with some
    /// other account's; so an unknown user takes what a known one takes. Only parameters that differ within one
    /// scheme can still show.
    #[must_use]
    pub fn verify(&self, evidence: &Evidence, peer: IpAddr) -> Judgement {
        let (user, right, checks) = match evidence {
            Evidence::Password {
                authzid,
                authcid,
                password,
            } => {
                let account = self.account(authcid);
                let (right, checks) = self.check_password(account, password);
                let other = authzid.as_ref().is_some_and(|authzid| authzid != authcid);
                let right = right.and(if other {
                    Err(Reason::OtherIdentity)
                } else {
                    Ok(())
                });
                (authcid, right, checks)
            }
            // No password shows what a certificate has shown.
            Evidence::External { .. } => {
                return Judgement {
                    outcome: Outcome::Rejected(Reason::NotForThisMechanism),
                    checks: 0,
                };
            }
            Evidence::CramMd5 {
                user,
                challenge,
                digest_hex,
            } => {
                let account = self.account(user);
                (user, check_cram_md5(account, challenge, digest_hex), 1)
            }
        };
        let access = self.access(user, peer).cloned();
        let outcome = match right.and(access) {
            Ok(domains) => Outcome::Accepted {
                user: user.clone(),
                domains,
            },
            Err(reason) => Outcome::Rejected(reason),
        };
        Judgement { outcome, checks }
    }

    fn check_password(
        &self,
        account: Option<&Account>,
        password: &Secret,
    ) -> (Result<(), Reason>, usize) {
        let own = account.and_then(|account| account.credential.as_ref());
        let mut right = Err(match (account, own) {
            (None, _) => Reason::UnknownUser,
            (Some(_), None) => Reason::NotForThisMechanism,
            (Some(_), Some(_)) => Reason::WrongPassword,
        });
        for (scheme, model) in &self.models {
            let mine = own.filter(|credential| credential.scheme() == *scheme);
            let model = self.accounts.get(*model);
            let model = model.and_then(|account| account.credential.as_ref());
            let matches = mine
                .or(model)
                .is_some_and(|credential: &Credential| credential.matches(password));
            if matches && mine.is_some() {
                right = Ok(());
            }
        }
        (right, self.models.len())
    }
}

fn check_cram_md5(
    account: Option<&Account>,
    challenge: &[u8],
    digest_hex: &str,
) -> Result<(), Reason> {
    let stored = account.and_then(Account::password);
    let nobody = Secret::from("the digest of this is computed for nobody");
    let matches = cram_md5::matches(stored.unwrap_or(&nobody), challenge, digest_hex);
    match (account, stored) {
        (None, _) => Err(Reason::UnknownUser),
        (Some(_), None) => Err(Reason::NotForThisMechanism),
        (Some(_), Some(_)) if !matches => Err(Reason::WrongPassword),
        (Some(_), Some(_)) => Ok(()),
    }
}
