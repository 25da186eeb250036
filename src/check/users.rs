//! The users: the service must be the mail server's own.

use super::access::Account;
use super::finding::Findings;
use crate::config::{ProviderHandoff, Serve};
use crate::handoff::provider::ProviderHandoff as Handoff;

/// The user that the service becomes; `owner` is the mail server's, where it could be asked.
pub(super) fn service(
    serve: &Serve,
    owner: Option<&str>,
    findings: &mut Findings,
) -> Option<Account> {
    let name = match (&serve.user, owner) {
        (Some(name), _) => name.clone(),
        (None, Some(owner)) => owner.to_owned(),
        // Exim's names are known even where Exim cannot be asked.
        (None, None) => Handoff::default_user(serve).ok()?,
    };
    let Some(account) = Account::find(&name) else {
        let finding = findings.error(
            "serve.user",
            format!("there is no user {name:?} on this machine, so turnabout serve cannot start"),
        );
        if let Some(owner) = owner {
            finding.fix(format!("user = {owner:?}"));
        }
        return None;
    };
    if let Some(owner) = owner.filter(|owner| !same(owner, &name)) {
        let why = match serve.handoff {
            ProviderHandoff::PostfixCache => {
                format!("Postfix's sockets in private/ are open to {owner:?} alone")
            }
            ProviderHandoff::EximContinue => {
                format!("Exim believes -MC from {owner:?} and root alone")
            }
        };
        findings
            .error(
                "serve.user",
                format!("the service would run as {name:?}, but {why}"),
            )
            .fix(format!("user = {owner:?}"));
    }
    Some(account)
}

/// Two names, or a name and a number, for one user.
fn same(one: &str, other: &str) -> bool {
    let uid = |name: &str| match name.parse::<u32>() {
        Ok(number) => Some(number),
        Err(_) => nix::unistd::User::from_name(name)
            .ok()
            .flatten()
            .map(|user| user.uid.as_raw()),
    };
    one == other || (uid(one).is_some() && uid(one) == uid(other))
}
