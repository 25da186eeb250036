//! Telling a mail server who its peer is, when its descriptor does not.
//!
//! With TLS of this process the mail server gets one end of a socket pair, which has no address. A server that asks its
//! descriptor for one takes the provider for a user of this machine then, and relays its mail to anywhere (rule C9). So
//! such a connection goes to servers only of which it is known how they are told: Exim by `-oMa` and `-oMi`, and those
//! that read the environment as tcpserver(1) sets it, of which Courier's is known by its name. All others are refused before ATRN.

use super::HandoffError;
use super::courier::{can_read_settings, is_courier};
use crate::config::CommandPeer;
use crate::queue::Program;
use nix::unistd::{Uid, User};
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long Exim may take to say whom it trusts.
const ASK_TIME: Duration = Duration::from_secs(20);

/// What the command line says, and who runs it.
pub(super) struct Said<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: &'a [OsString],
    pub(super) user: Option<&'a User>,
    /// What the operator says of it.
    pub(super) peer: Option<CommandPeer>,
}

impl Said<'_> {
    /// Is this a way to start this program at all? Sendmail that is not root takes the mail and cannot deliver it: it
    /// has neither the rights for mailboxes nor for its own queue.
    ///
    /// # Errors
    /// It is none, with what to do instead.
    pub(super) fn may_run(&self) -> Result<(), HandoffError> {
        let real = real(self.program);
        let uid = self.user.map_or_else(Uid::effective, |user| user.uid);
        if is_sendmail(&real) && self.speaks_smtp() && !uid.is_root() {
            return Err(HandoffError::new(format!(
                "cannot start {}: Sendmail that is not root takes mail which it cannot deliver (run turnabout fetch as root, without command_user)",
                self.program.display()
            )));
        }
        if is_courier(&real) {
            can_read_settings()?;
        }
        Ok(())
    }

    /// How this command is told its peer's address.
    ///
    /// # Errors
    /// It cannot be told, with what to do instead.
    pub(super) fn how(&self) -> Result<CommandPeer, HandoffError> {
        let real = real(self.program);
        let how = match self.peer {
            Some(how) => how,
            None if is_exim(&real) && self.speaks_smtp() => CommandPeer::Exim,
            None if is_courier(&real) => CommandPeer::Environment,
            None => return Err(self.refused("it is not known how it learns the peer's address")),
        };
        match how {
            CommandPeer::Environment if is_exim(&real) || asks_its_descriptor(&real) => {
                Err(self.refused("it asks its descriptor for the peer's address, not the environment"))
            }
            CommandPeer::Environment => Ok(how),
            // They take -oMa without a word, and do nothing about it.
            CommandPeer::Exim if asks_its_descriptor(&real) => {
                Err(self.refused("by its name it is not Exim, and others do not heed -oMa"))
            }
            CommandPeer::Exim if self.is_trusted() => Ok(how),
            CommandPeer::Exim => Err(self.refused(
                "Exim believes -oMa from root and its trusted users only, and takes the provider for a local user else",
            )),
        }
    }

    fn speaks_smtp(&self) -> bool {
        self.arguments.iter().any(|argument| argument == "-bs")
    }

    /// Does Exim believe this user? It ignores `-oMa` in silence otherwise.
    fn is_trusted(&self) -> bool {
        let uid = self.user.map_or_else(Uid::effective, |user| user.uid);
        uid.is_root() || self.trusts(uid)
    }

    fn trusts(&self, uid: Uid) -> bool {
        let question = ["-bP", "exim_user", "trusted_users"].map(OsString::from);
        let asked = Program {
            path: self.program.to_owned(),
            // What another configuration says of trust is worth nothing.
            arguments: configuration(self.arguments)
                .into_iter()
                .cloned()
                .chain(question)
                .collect(),
            environment: Vec::new(),
            what: "ask Exim whom it trusts",
            input: Vec::new(),
        };
        let answer = match asked.output_now(ASK_TIME) {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!("{error}");
                return false;
            }
        };
        answer
            .lines()
            .filter_map(|line| line.split_once(" = "))
            .filter(|(name, _)| ["exim_user", "trusted_users"].contains(name))
            .flat_map(|(_, users)| users.split([':', ',', ' ']))
            .any(|user| match user.parse::<u32>() {
                Ok(number) => number == uid.as_raw(),
                Err(_) => matches!(User::from_name(user), Ok(Some(user)) if user.uid == uid),
            })
    }

    fn refused(&self, why: &str) -> HandoffError {
        HandoffError::new(format!(
            "cannot give a connection under TLS to {} through a relay: {why} \
             (use handoff = \"postfix-pass\" or Exim as root, set command_peer if you know, or handoff_tls = \"kernel\")",
            self.program.display()
        ))
    }
}

/// By a name as Exim is installed: `exim`, `exim4`, `exim-4.98-1`. What is called after it, a script around it mostly,
/// may keep the arguments to itself.
pub(super) fn is_exim(real: &Path) -> bool {
    let name = real.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.strip_prefix("exim"))
        .is_some_and(|version| {
            let mut rest = version.chars();
            rest.all(|character| character.is_ascii_digit() || ".-_".contains(character))
        })
}

/// Postfix's smtpd and every `sendmail` do, whatever the operator says.
fn asks_its_descriptor(real: &Path) -> bool {
    match real.file_name().and_then(|name| name.to_str()) {
        Some("smtpd") => real.with_file_name("cleanup").exists(),
        Some(_) => is_sendmail(real),
        None => false,
    }
}

/// The arguments that choose Exim's configuration.
pub(super) fn configuration(arguments: &[OsString]) -> Vec<&OsString> {
    let mut chosen = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let text = argument.as_encoded_bytes();
        if text == b"-C" {
            chosen.push(argument);
            chosen.extend(arguments.next());
        } else if text.starts_with(b"-C") || text.starts_with(b"-D") {
            chosen.push(argument);
        }
    }
    chosen
}

/// The program itself, links followed.
pub(super) fn real(program: &Path) -> PathBuf {
    fs::canonicalize(program).unwrap_or_else(|_| program.to_owned())
}

/// Sendmail itself, by the names that systems give it; what is called nearly so may be anything.
pub(super) fn is_sendmail(real: &Path) -> bool {
    let name = real.file_name().and_then(|name| name.to_str());
    matches!(
        name,
        Some("sendmail" | "sendmail-mta" | "sendmail.sendmail")
    )
}

/// The two addresses in Exim's notation.
pub(super) fn to_exim(peer: SocketAddr, local: SocketAddr) -> [String; 4] {
    let dotted = |address: SocketAddr| format!("{}.{}", address.ip(), address.port());
    [
        "-oMa".to_owned(),
        dotted(peer),
        "-oMi".to_owned(),
        dotted(local),
    ]
}
