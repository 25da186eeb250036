//! The provider's hand-offs behind one face: is there mail, prepare before the 250, run after it.

use super::exim_continue::{self, EximContinue, EximSettings};
use super::postfix_cache::{self, PostfixCache, PostfixSettings};
use super::{Ended, HandoffError, Reversed};
use crate::config;
use crate::queue::{Program, QueueError};
use crate::smtp::DomainList;
use crate::smtp::next_hop::NextHop;
use nix::unistd::User;
use std::ffi::OsString;
use std::time::Duration;
use tokio::sync::watch;

/// The names Exim's own user goes by: Debian's, then everybody else's.
const EXIM_USERS: [&str; 4] = ["Debian-exim", "exim", "mailnull", "mail"];

/// How long postconf may take.
const ASK_TIME: Duration = Duration::from_secs(20);

/// The mail server that holds the queue, asked once at the start for what it is.
#[derive(Debug)]
pub enum ProviderHandoff {
    /// Postfix, through its connection cache.
    PostfixCache(PostfixCache),
    /// Exim, which goes on with an open connection.
    EximContinue(EximContinue),
}

/// A mail server that stands ready for one customer's connection.
#[derive(Debug)]
pub enum Ready {
    /// Postfix's connection cache is connected.
    PostfixCache(postfix_cache::Ready),
    /// Exim can be started.
    EximContinue(exim_continue::Ready),
}

impl ProviderHandoff {
    /// Asks the mail server for its version and settings.
    ///
    /// # Errors
    /// When it cannot be asked, or its version is not one this hand-off is known to work with.
    pub async fn new(serve: &config::Serve) -> Result<Self, HandoffError> {
        match serve.handoff {
            config::ProviderHandoff::PostfixCache => {
                let keys = serve.postfix.clone();
                let postfix = PostfixCache::new(PostfixSettings {
                    command_directory: keys.command_directory,
                    config_directory: keys.config_directory,
                    service: keys.service,
                    idle_time: keys.idle_time,
                    total_time: keys.total_time,
                });
                Ok(Self::PostfixCache(postfix.await?))
            }
            config::ProviderHandoff::EximContinue => {
                let keys = serve.exim.clone();
                let exim = EximContinue::new(EximSettings {
                    command: keys.command,
                    transport: keys.transport,
                    total_time: keys.total_time,
                });
                Ok(Self::EximContinue(exim.await?))
            }
        }
    }

    /// The user whose private sockets or spool the hand-off needs, when the operator names none.
    ///
    /// Runs a program and waits for it: for the start only, before there are threads.
    ///
    /// # Errors
    /// When the mail server cannot be asked or has no user of its own here.
    pub fn default_user(serve: &config::Serve) -> Result<String, HandoffError> {
        match serve.handoff {
            config::ProviderHandoff::PostfixCache => postfix_owner(&serve.postfix),
            config::ProviderHandoff::EximContinue => {
                let found = EXIM_USERS
                    .iter()
                    .find(|name| matches!(User::from_name(name), Ok(Some(_))));
                found
                    .map(|name| (*name).to_owned())
                    .ok_or_else(|| HandoffError::Configuration {
                        mta: "Exim",
                        cause:
                            "its user is not known here (set serve.user to the user Exim runs as)"
                                .to_owned(),
                    })
            }
        }
    }

    /// The word in the configuration and in the log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::PostfixCache(_) => config::ProviderHandoff::PostfixCache.name(),
            Self::EximContinue(_) => config::ProviderHandoff::EximContinue.name(),
        }
    }

    /// Does a session under TLS come to its end in good order when the kernel encrypts it? Not with Exim: its QUIT and
    /// the closing of its side are one step, in which the kernel loses the QUIT. No mail is lost, but the customer sees
    /// the connection cut. So `handoff_tls = auto` is the relay there.
    #[must_use]
    pub fn kernel_tls_is_whole(&self) -> bool {
        match self {
            Self::PostfixCache(_) => true,
            Self::EximContinue(_) => false,
        }
    }

    /// Can it be given a connection that a relay carries?
    #[must_use]
    pub fn takes_relay(&self) -> bool {
        match self {
            Self::PostfixCache(_) => true,
            Self::EximContinue(exim) => exim.takes_relay(),
        }
    }

    /// Does a message wait for one of these domains?
    ///
    /// # Errors
    /// The queue could not be asked within `limit`: that is 451, never 453 (RFC 2645 5.2.1).
    pub async fn waiting(&self, domains: &DomainList, limit: Duration) -> Result<bool, QueueError> {
        match self {
            Self::PostfixCache(postfix) => postfix.waiting(domains, limit).await,
            Self::EximContinue(exim) => exim.waiting(domains, limit).await,
        }
    }

    /// Makes the mail server ready, before the point of no return.
    ///
    /// # Errors
    /// When it cannot take a connection now: that is 451.
    pub async fn prepare(
        &self,
        domains: &DomainList,
        next_hops: &[NextHop],
    ) -> Result<Ready, HandoffError> {
        match self {
            Self::PostfixCache(postfix) => Ok(Ready::PostfixCache(
                postfix.prepare(domains, next_hops).await?,
            )),
            Self::EximContinue(exim) => {
                Ok(Ready::EximContinue(exim.prepare(domains, next_hops).await?))
            }
        }
    }
}

impl Ready {
    /// Gives the connection to the mail server and sees it through; `shutdown` turns true at
    /// SIGTERM. It can only end, never fail: whatever happens, the mail server has the mail.
    pub async fn run(self, reversed: Reversed, shutdown: watch::Receiver<bool>) -> Ended {
        match self {
            Self::PostfixCache(ready) => ready.run(reversed, shutdown).await,
            Self::EximContinue(ready) => ready.run(reversed, shutdown).await,
        }
    }
}

fn postfix_owner(keys: &config::PostfixKeys) -> Result<String, HandoffError> {
    let program = keys.command_directory.join("postconf");
    let wrong = |cause: String| HandoffError::Configuration {
        mta: "Postfix",
        cause,
    };
    let directory = keys.config_directory.iter();
    let asked = Program {
        path: program,
        arguments: ["-h", "mail_owner"].map(OsString::from).to_vec(),
        environment: directory
            .map(|directory| ("MAIL_CONFIG", directory.into()))
            .collect(),
        what: "ask Postfix for its user",
        input: Vec::new(),
    };
    let answer = asked.output_now(ASK_TIME).map_err(|error| {
        wrong(format!(
            "{error} (set serve.postfix.command_directory, or serve.user)"
        ))
    })?;
    let owner = answer.trim().to_owned();
    if owner.is_empty() {
        return Err(wrong(
            "postconf does not tell mail_owner (set serve.user)".to_owned(),
        ));
    }
    Ok(owner)
}
