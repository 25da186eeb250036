//! A process for one connection, as inetd, tcpserver and systemd's `Accept=yes` start it: no threads, and what takes
//! time comes after the greeting, while the peer's first line is under way, or when it is needed.
//!
//! ```text
//! configuration -> 220 -> certificates, as root -> root is given up -> accounts -> the peer's first line is read
//!                                                                                    ... ATRN -> mail server, kernel
//! ```
//!
//! Nothing of the peer's is read before root is given up. The process ends with its session.

use super::activation;
use super::certificates::Certificates;
use super::confine::confine;
use super::mail_server::MailServer;
use super::places::Places;
use super::session::Begins;
use super::state::{self, Files, State};
use super::{Options, ServeError, Stops, ends, fits, last_sessions, privileges, refusal, session};
use crate::accounts::{Accounts, StandInKey};
use crate::config::{self, ServeTls};
use crate::handoff::provider::ProviderHandoff;
use crate::odmr::provider::greeting;
use crate::service::Connection;
use crate::smtp::{COMMAND_LIMIT, Reply, literal};
use crate::wire::Wire;
use nix::libc::POLLRDHUP;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::geteuid;
use std::io::{self, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use tokio::task::JoinSet;

/// How long a peer that hears 421 has to close before us, in milliseconds.
const LAST_WORDS: u16 = 2000;

/// Serves the connection to its end.
///
/// # Errors
/// Whatever makes that impossible; the peer has been told 421 then.
pub fn run_one(options: Options, connection: Connection) -> Result<(), ServeError> {
    let Connection { mut socket, name } = connection;
    let Ok(peer) = socket.peer_addr() else {
        tracing::debug!("the peer has gone before it was greeted");
        return Ok(());
    };
    let peer = peer.ip().to_canonical();
    let serve = &options.serve;
    let admitted = state::admits(serve, peer);
    let begins = match activation::begins(name.as_deref(), socket.local_addr().ok(), serve)? {
        Begins::InClear if admitted => {
            let greeting = greeting(&serve.hostname).to_bytes();
            if socket.write_all(&greeting).is_err() {
                tracing::debug!(%peer, "the peer has gone before it was greeted");
                return Ok(());
            }
            Begins::Greeted
        }
        begins => begins,
    };
    let hostname = serve.hostname.clone();
    match Prepared::new(options.serve, begins).and_then(|ready| Ok((ready, runtime()?))) {
        Ok((prepared, runtime)) => {
            let ended = runtime.block_on(prepared.serve(socket, begins, peer, admitted));
            runtime.shutdown_background();
            Ok(ended?)
        }
        Err(error) => {
            if begins != Begins::WithTls {
                say_421(&socket, &hostname);
            }
            Err(error)
        }
    }
}

/// Tells the peer that there is no service, because of something that the log names.
pub fn turn_away(connection: &Connection) {
    let tls = connection.name.as_deref().is_some_and(activation::says_tls);
    if !tls {
        let local = connection.socket.local_addr().ok();
        let local = local.map(|local| literal(local.ip()));
        let name = config::own_name().or(local).unwrap_or_default();
        say_421(&connection.socket, &name);
    }
}

/// 421 in the place of, or behind, the greeting (RFC 5321 3.8). Nothing is read: we may be root still.
fn say_421(mut socket: &TcpStream, name: &str) {
    let reply = Reply::plain(421, &format!("{name} no service now, try later"));
    let said = socket
        .write_all(&reply.to_bytes())
        .and_then(|()| socket.shutdown(Shutdown::Write));
    if said.is_ok() {
        // A close with something unread is a reset, which may overtake the reply.
        let gone = PollFd::new(socket.as_fd(), PollFlags::from_bits_retain(POLLRDHUP));
        poll(&mut [gone], PollTimeout::from(LAST_WORDS)).ok();
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // For a password, whose hash takes its time.
        .max_blocking_threads(1)
        .build()
}

/// What a session needs, ready before the peer is heard.
struct Prepared {
    files: Files,
    key: StandInKey,
    places: Places,
}

impl Prepared {
    /// Reads certificates as whoever we are, gives root up, and reads the rest.
    fn new(serve: config::Serve, begins: Begins) -> Result<Self, ServeError> {
        let tls = begins == Begins::WithTls || serve.tls != ServeTls::None;
        let certificates = tls.then(|| Certificates::hold(&serve)).transpose()?;
        let user = match &serve.user {
            Some(user) => Some(user.clone()),
            // Started by a user's own choice as somebody else: that is who this service is.
            None if !geteuid().is_root() => None,
            None => Some(ProviderHandoff::default_user(&serve)?),
        };
        Places::make(
            &serve.runtime_directory,
            user.as_deref().unwrap_or_default(),
        );
        if let Some(user) = user {
            privileges::drop_to(&user)?;
        }
        let places = Places::new(serve.runtime_directory.clone());
        let key = match places.stand_in_key() {
            Ok(key) => key,
            // Where the whole directory is of no use, ATRN will be 451.
            Err(error) => {
                tracing::warn!(
                    "{error}: unknown users can be told from known ones by asking twice"
                );
                StandInKey::draw().map_err(|error| io::Error::other(error.to_string()))?
            }
        };
        let accounts = Accounts::load(&serve.accounts, &key)?;
        fits(&serve, &accounts)?;
        let tls = certificates.map(|held| held.server_tls(&serve, &accounts));
        let files = Files {
            tls: tls.transpose()?,
            serve,
            accounts: Arc::new(accounts),
        };
        confine(&files.serve, None);
        Ok(Self { files, key, places })
    }

    /// The session, and what it leaves with our relay; cut short by SIGTERM.
    async fn serve(
        self,
        socket: TcpStream,
        begins: Begins,
        peer: IpAddr,
        admitted: bool,
    ) -> io::Result<()> {
        let (ends, told) = ends();
        let mut stops = Stops::new()?;
        let asked_later = MailServer::default();
        let state = State::new(self.files, self.key, asked_later, Some(self.places), told);
        let state = Arc::new(state);
        socket.set_nonblocking(true)?;
        let stream = tokio::net::TcpStream::from_std(socket)?;
        let Ok(wire) = Wire::new(stream, COMMAND_LIMIT) else {
            tracing::debug!(%peer, "the peer has gone before it was served");
            return Ok(());
        };
        if !admitted {
            if begins == Begins::WithTls {
                tracing::info!(peer = %wire.peer(), "closed: not in serve.sources");
            } else {
                tracing::info!(peer = %wire.peer(), "554: not in serve.sources");
                refusal::turn_away(wire, &refusal::not_for_you(&state.files())).await;
            }
            return Ok(());
        }
        let Some(place) = state.admit(peer) else {
            return Ok(());
        };
        let mut sessions = JoinSet::new();
        sessions.spawn(session::serve(Arc::clone(&state), wire, begins, place));
        tokio::select! {
            () = super::all(&mut sessions) => {}
            name = stops.first() => {
                tracing::info!(signal = name, "stopping");
                ends.stop.send_replace(true);
                last_sessions(&state, sessions, &ends).await;
                return Ok(());
            }
        }
        // The mail server may be done before what it has written has gone through our relay.
        tokio::select! {
            () = state.relays.ended() => {}
            name = stops.first() => {
                tracing::info!(signal = name, "stopping");
                last_sessions(&state, sessions, &ends).await;
            }
        }
        Ok(())
    }
}
