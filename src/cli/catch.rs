//! `turnabout catch`: be the mail server's end of a hand-off between containers.

use std::path::PathBuf;

use super::{Exit, failed};
use crate::catch::{self, Allowed, CatchError};
use crate::config::CommandPeer;

/// The arguments of `turnabout catch`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "In the mail server's container: turnabout catch /run/odmr/catch.sock -- /usr/sbin/exim4 -bs\n\
    In the other, for [providers.NAME]: handoff = \"catch\" and socket = \"/run/odmr/catch.sock\""
)]
pub(super) struct Args {
    /// The user with this number may send connections; may be given more than once [default: root and our own].
    #[arg(long, value_name = "UID")]
    allow_uid: Vec<u32>,

    /// The user of this name may send connections; may be given more than once.
    #[arg(long, value_name = "NAME")]
    allow_user: Vec<String>,

    /// The provider may have a loopback address, as at the end of a tunnel: the command relays for nobody there.
    #[arg(long)]
    allow_loopback: bool,

    /// How many connections may be waiting or open at the same time.
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    most: u16,

    /// The user to run the command as [default: our own].
    #[arg(long, value_name = "USER")]
    command_user: Option<String>,

    /// How the command learns the provider's address behind a relay [default: told from its name].
    #[arg(long, value_name = "KIND", value_enum)]
    command_peer: Option<Peer>,

    /// How long sessions may go on after SIGTERM.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    stop_time: std::time::Duration,

    /// Where to listen, in a directory that both containers share; systemd may have opened it.
    #[arg(value_name = "SOCKET")]
    socket: PathBuf,

    /// The mail server, by its absolute path, and its arguments.
    #[arg(last = true, value_name = "COMMAND", required = true)]
    command: Vec<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Peer {
    /// By the arguments -oMa and -oMi.
    Exim,
    /// By TCPREMOTEIP and its like.
    Environment,
}

impl Args {
    /// Receives until SIGTERM.
    pub(super) fn run(self) -> Exit {
        let allowed = match Allowed::new(&self.allow_uid, &self.allow_user) {
            Ok(allowed) => allowed,
            Err(error) => return failed(&error, Exit::Config),
        };
        let options = catch::Options {
            socket: self.socket,
            command: self.command,
            command_user: self.command_user,
            command_peer: self.command_peer.map(|peer| match peer {
                Peer::Exim => CommandPeer::Exim,
                Peer::Environment => CommandPeer::Environment,
            }),
            allowed,
            allow_loopback: self.allow_loopback,
            most: usize::from(self.most),
            stop_time: self.stop_time,
        };
        match catch::run(options) {
            Ok(()) => Exit::Done,
            Err(error) => failed(&error, exit(&error)),
        }
    }
}

/// Whose fault a start that failed is.
fn exit(error: &CatchError) -> Exit {
    match error {
        CatchError::Command(_) | CatchError::Started(_) => Exit::Config,
        CatchError::Listen(_) => Exit::Unavailable,
        CatchError::Start(_) => Exit::Internal,
    }
}
