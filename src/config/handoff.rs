//! `handoff` of `[providers.NAME]`: how the turned connection reaches this machine's mail server.

use std::path::PathBuf;

use super::error::ConfigError;
use super::keys::{self, Key};
use super::mail_server::{self, MailServer, Proxy};
use super::section::Section;
use super::sendmail::is_postfix_sendmail_bs;
use super::values::{self, choice};

/// How the customer gives the turned connection to its mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomerHandoff {
    /// Pass the descriptor to a running Postfix.
    PostfixPass {
        /// The socket of a service of type `pass`.
        socket: PathBuf,
    },
    /// Send the descriptor to `turnabout catch` in another container.
    Catch {
        /// Where it listens.
        socket: PathBuf,
        /// The number of the user that it must be; `None`: root, our own, or the owner of the socket's directory.
        receiver: Option<u32>,
        /// The provider may have a loopback address: it is reached through a tunnel, and the operator knows.
        tunnel: bool,
    },
    /// Start a program with the connection on descriptors 0 and 1.
    Exec {
        /// The program by its absolute path, and its arguments.
        command: Vec<String>,
        /// The user to run it as; `None` is our own.
        user: Option<String>,
        /// How it learns the provider's address; `None` is told from the program's name.
        peer: Option<CommandPeer>,
        /// As with `Catch`.
        tunnel: bool,
    },
    /// Connect to a mail server that listens, and carry the octets.
    Relay {
        /// Where it listens.
        to: MailServer,
        /// How it is told the provider's address.
        proxy: Proxy,
        /// As with `Catch`; without a PROXY header the operator has said so anyway.
        tunnel: bool,
    },
}

/// How a program learns the provider's address when its descriptors do not tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandPeer {
    /// By the arguments `-oMa` and `-oMi`.
    Exim,
    /// By `TCPREMOTEIP` and its like (UCSPI).
    Environment,
}

impl CommandPeer {
    /// The word in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            CommandPeer::Exim => "exim",
            CommandPeer::Environment => "environment",
        }
    }
}

impl CustomerHandoff {
    /// The word in the configuration and in the log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            CustomerHandoff::PostfixPass { .. } => POSTFIX_PASS,
            CustomerHandoff::Catch { .. } => CATCH,
            CustomerHandoff::Exec { .. } => EXEC,
            CustomerHandoff::Relay { .. } => RELAY,
        }
    }
}

const POSTFIX_PASS: &str = "postfix-pass";
const CATCH: &str = "catch";
const EXEC: &str = "exec";
const RELAY: &str = "relay";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Pass,
    Catch,
    Exec,
    Relay,
}

/// The keys that belong to some kinds of hand-off alone.
const OWN: [(&[Way], &[&Key]); 5] = [
    (&[Way::Pass, Way::Catch], &[&keys::SOCKET]),
    (
        &[Way::Exec],
        &[&keys::COMMAND, &keys::COMMAND_USER, &keys::COMMAND_PEER],
    ),
    (&[Way::Relay], &[&keys::RELAY_TO, &keys::PROXY]),
    (&[Way::Catch], &[&keys::RECEIVER_UID]),
    (&[Way::Catch, Way::Exec, Way::Relay], &[&keys::I_KNOW]),
];

pub(super) fn read(section: &Section<'_>) -> Result<CustomerHandoff, ConfigError> {
    let way = section.required(&keys::HANDOFF, |text| {
        let all = [Way::Pass, Way::Catch, Way::Exec, Way::Relay];
        choice(text, &all, |way| match way {
            Way::Pass => POSTFIX_PASS,
            Way::Catch => CATCH,
            Way::Exec => EXEC,
            Way::Relay => RELAY,
        })
    })?;
    let mut foreign = OWN.iter().filter(|(own, _)| !own.contains(&way));
    if let Some(key) = foreign.find_map(|(_, keys)| keys.iter().find(|key| section.has(key))) {
        return Err(section.error(
            key,
            "it belongs to another kind of hand-off",
            "leave it out, or change handoff",
        ));
    }
    if way == Way::Pass {
        let socket = section.required_path(&keys::SOCKET)?;
        return Ok(CustomerHandoff::PostfixPass { socket });
    }
    let tunnel = section.switch(&keys::I_KNOW)?;
    if way == Way::Catch {
        if !section.has(&keys::SOCKET) {
            return Err(section.error(
                &keys::SOCKET,
                "it is missing",
                "handoff \"catch\" needs the socket where turnabout catch listens",
            ));
        }
        let socket = section.required_path(&keys::SOCKET)?;
        let receiver = section
            .has(&keys::RECEIVER_UID)
            .then(|| section.number(&keys::RECEIVER_UID, 0, u32::MAX - 1));
        return Ok(CustomerHandoff::Catch {
            socket,
            receiver: receiver.transpose()?,
            tunnel,
        });
    }
    if way == Way::Relay {
        let (to, proxy) = mail_server::read(section, tunnel)?;
        return Ok(CustomerHandoff::Relay { to, proxy, tunnel });
    }
    let Some(command) = section.command(&keys::COMMAND)? else {
        return Err(section.error(
            &keys::COMMAND,
            "it is missing",
            "handoff \"exec\" needs the program to start, such as /usr/sbin/exim4 -bs",
        ));
    };
    if is_postfix_sendmail_bs(&command) {
        return Err(section.error(
            &keys::COMMAND,
            "this is Postfix's sendmail -bs, which takes the provider for a local user and relays anything for it",
            "use handoff \"postfix-pass\", or Postfix's smtpd -S as its mail_owner",
        ));
    }
    Ok(CustomerHandoff::Exec {
        command,
        user: section.text(&keys::COMMAND_USER, values::word)?,
        peer: section.text(&keys::COMMAND_PEER, |text| {
            let all = &[CommandPeer::Exim, CommandPeer::Environment];
            choice(text, all, CommandPeer::name)
        })?,
        tunnel,
    })
}
