//! The customer's hand-offs behind one face: prepare before ATRN, commit after the 250.

use super::HandoffError;
use super::catch::words::{About, names_this_machine};
use super::catch::{self, Catch};
use super::exec::{self, Exec};
use super::postfix_pass::{self, PostfixPass};
use super::relay;
use crate::config::CustomerHandoff;
use crate::wire::follow::View;
use crate::wire::{Carriage, Relays, Released, Wire};
use nix::sys::socket::{MsgFlags, Shutdown, send, shutdown};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// How long a relay may take to carry our 421 and the end behind it.
const LAST_WORDS: Duration = Duration::from_secs(15);

/// A mail server that stands ready for one connection.
#[derive(Debug)]
pub enum Ready {
    /// A mail server that listens, to which a relay of ours carries the connection in any case.
    Relay(Box<relay::Ready>),
    /// Somebody who takes the connection itself.
    Taker(Taker),
}

/// Who takes a descriptor.
#[derive(Debug)]
pub enum Taker {
    /// A connection to the `pass` service of a running Postfix.
    PostfixPass(postfix_pass::Ready),
    /// A receiver in another container.
    Catch(catch::Ready),
    /// A command that can be run.
    Exec(Box<exec::Ready>),
}

/// Who has the connection now.
#[derive(Debug)]
pub enum Carried {
    /// A mail server that runs already: nothing of ours is left to wait for but the end, and a relay's last octets.
    Passed(View),
    /// A child of ours.
    Running(Box<exec::Running>),
}

/// A connection that is the mail server's now.
#[derive(Debug)]
pub struct Taken {
    /// Who has it.
    pub carried: Carried,
    /// Who stands in between.
    pub carriage: Carriage,
    /// What can still be seen of it.
    pub view: View,
}

/// Makes the mail server ready; nothing has been promised to the provider yet. `relay_possible` says that the
/// connection may have to go through a relay: under TLS, unless it is sure to go to the kernel. `peer` and `local` are
/// its ends.
///
/// # Errors
/// When the mail server cannot take a connection now, or not one that a relay carries, with what to do about it.
pub async fn prepare(
    handoff: &CustomerHandoff,
    relay_possible: bool,
    (peer, local): (SocketAddr, SocketAddr),
) -> Result<Ready, HandoffError> {
    may_be_told(handoff, peer)?;
    let taker = match handoff {
        CustomerHandoff::PostfixPass { socket } => {
            Taker::PostfixPass(PostfixPass::new(socket).prepare()?)
        }
        CustomerHandoff::Catch {
            socket,
            receiver,
            tunnel,
        } => {
            let catch = Catch::new(socket, *receiver, *tunnel);
            Taker::Catch(catch.prepare(relay_possible, peer).await?)
        }
        CustomerHandoff::Exec {
            command,
            user,
            peer,
            tunnel: _,
        } => {
            let exec = Exec::new(command, user.as_deref(), *peer)?;
            Taker::Exec(Box::new(exec.prepare(relay_possible)?))
        }
        CustomerHandoff::Relay { to, proxy, .. } => {
            let ready = relay::prepare(to, *proxy, peer, local).await?;
            return Ok(Ready::Relay(Box::new(ready)));
        }
    };
    Ok(Ready::Taker(taker))
}

/// A mail server trusts its own machine, and relays anything for it (rule C9). With catch both ends look at that; the
/// service of type `pass` is for turned connections alone and has its own rules.
fn may_be_told(handoff: &CustomerHandoff, peer: SocketAddr) -> Result<(), HandoffError> {
    let whom = match handoff {
        CustomerHandoff::Exec {
            command,
            tunnel: false,
            ..
        } => command.first().cloned().unwrap_or_default(),
        CustomerHandoff::Relay {
            to, tunnel: false, ..
        } => to.to_string(),
        _ => return Ok(()),
    };
    if !names_this_machine(peer) {
        return Ok(());
    }
    Err(HandoffError::new(format!(
        "cannot hand over to {whom}: the provider has the address {}, and a mail server trusts its own machine (reach the \
         provider by its own address; or, if it is the end of a tunnel and the mail server relays for nobody there, say \
         i_know = true)",
        peer.ip()
    )))
}

impl Ready {
    /// Hands the connection over; `about` is what a receiver in another container is told of it. If the mail server
    /// does not take it after all, the provider is greeted with 421, so that it keeps its mail and closes in good order
    /// (rule R26).
    ///
    /// # Errors
    /// When the mail server did not take it, or the connection is lost.
    pub async fn commit(
        self,
        wire: Wire,
        relays: &Relays,
        hostname: &str,
        about: &About<'_>,
    ) -> Result<Taken, HandoffError> {
        let taker = match self {
            Self::Taker(taker) => taker,
            Self::Relay(ready) => {
                let relay = ready.commit(wire, relays, hostname).await?;
                let view = View::Relay(relay.clone());
                return Ok(Taken {
                    carried: Carried::Passed(view.clone()),
                    carriage: Carriage::Relay(relay),
                    view,
                });
            }
        };
        let released = released(wire, relays).await?;
        let (view, carriage) = (released.view(), released.carriage().clone());
        let passed = Carried::Passed(view.clone());
        let taken = match taker {
            Taker::PostfixPass(ready) => ready.commit(released).await.map(|()| passed),
            Taker::Catch(ready) => ready.commit(released, about).await.map(|()| passed),
            Taker::Exec(ready) => ready
                .commit(released)
                .map(|running| Carried::Running(Box::new(running))),
        };
        match taken {
            Ok(carried) => Ok(Taken {
                carried,
                carriage,
                view,
            }),
            Err(refused) => Err(refuse(*refused, hostname).await),
        }
    }
}

async fn released(wire: Wire, relays: &Relays) -> Result<Released, HandoffError> {
    let released = wire.release(relays).await;
    released.map_err(|error| {
        HandoffError::new(format!(
            "connection lost during the turn: {error} (try later)"
        ))
    })
}

async fn refuse((error, released): (HandoffError, Released), hostname: &str) -> HandoffError {
    let view = released.view();
    greet_421(&released, hostname);
    drop(released);
    if matches!(view, View::Relay(_)) {
        // It has not gone further than the relay yet, which ends with this process.
        view.until_closed(LAST_WORDS).await;
    }
    error
}

/// Says in the mail server's place that it is not available (RFC 5321 3.8: 421 may greet).
fn greet_421(released: &Released, hostname: &str) {
    let fd = released.as_fd().as_raw_fd();
    let greeting = format!("421 {hostname} Service not available, keep the mail and try later\r\n");
    // The provider may be gone already; then there is nobody left to tell. The socket is shut
    // for every holder, in case a copy of it still lies in the mail server's queue.
    let said = send(
        fd,
        greeting.as_bytes(),
        MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT,
    );
    if said.is_ok() {
        released.close_notify();
        shutdown(fd, Shutdown::Write).unwrap_or_default();
    }
}
