//! The task of one relay: both directions, and the ways they end.

use super::drain;
use super::far::Far;
use super::flow::{Fault, Flow};
use super::view::{RelayEnd, Sight};
use super::words::{Offer, Words};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};

/// How long the peer has to close when there is nobody left to hear it.
const LINGER: Duration = Duration::from_secs(10);

/// How often it is looked whether a mail server that has closed half has closed the rest.
const LOOK: Duration = Duration::from_millis(500);

/// A relay at work.
pub(super) struct Pump<S> {
    peer: S,
    mail_server: Far,
    /// From the peer to the mail server.
    inward: Flow,
    /// From the mail server to the peer.
    outward: Flow,
    words: Words,
    offer: Offer,
    /// QUIT was answered: what happens to the connection now harms nobody.
    over: bool,
    sight: Sight,
    idle: Duration,
}

/// Why carrying came to its end.
enum Stop {
    /// Nothing is left to carry. The peer has closed too, or not.
    Done { peer_closed: bool },
    /// The peer's connection broke.
    Lost(io::Error),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Pump<S> {
    pub(super) fn new(peer: S, mail_server: Far, sight: Sight, idle: Duration) -> Self {
        Self {
            peer,
            mail_server,
            inward: Flow::new(),
            outward: Flow::new(),
            words: Words::default(),
            offer: Offer::default(),
            over: false,
            sight,
            idle,
        }
    }

    /// Carries until the end; tells it to the log and to whoever looks on.
    pub(super) async fn run(mut self, address: SocketAddr) {
        let end = match self.carry().await {
            None => RelayEnd::Idle(self.idle),
            Some(Stop::Done { peer_closed: true }) => RelayEnd::Closed,
            Some(Stop::Done { peer_closed: false }) => {
                self.sight.closing();
                // Octets that are not read make of our close a reset, which may overtake the last reply.
                timeout(LINGER, drain(&mut self.peer))
                    .await
                    .unwrap_or_default();
                RelayEnd::Closed
            }
            Some(Stop::Lost(error)) if self.over => {
                tracing::debug!(peer = %address, %error, "the peer left without a word after QUIT");
                RelayEnd::Closed
            }
            Some(Stop::Lost(error)) => RelayEnd::Lost(why(&error)),
        };
        let Self {
            peer,
            mail_server,
            sight,
            ..
        } = self;
        match &end {
            RelayEnd::Closed => tracing::debug!(peer = %address, "relay ended"),
            end => tracing::warn!(
                peer = %address,
                "{end}; what was not acknowledged stays with its sender"
            ),
        }
        // Both directions at once: part of a message must not look like the whole of it.
        drop(mail_server);
        drop(peer);
        sight.ended(end);
    }

    /// `None`: nothing moved for too long.
    async fn carry(&mut self) -> Option<Stop> {
        let mut clock = pin!(sleep_until(Instant::now() + self.idle));
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(stop) = self.poll_both(cx) {
                    return Poll::Ready(Some(stop));
                }
                let left = self.idle.saturating_sub(self.sight.quiet());
                if left.is_zero() {
                    return Poll::Ready(None);
                }
                // The clock runs behind: it is set anew only when it strikes, or when the end is near.
                let half_closed = self.outward.is_done();
                let wanted = Instant::now() + if half_closed { left.min(LOOK) } else { left };
                if half_closed && clock.deadline() > wanted {
                    clock.as_mut().reset(wanted);
                }
                if clock.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                clock.as_mut().reset(wanted);
            }
        })
        .await
    }

    fn poll_both(&mut self, cx: &mut Context<'_>) -> Poll<Stop> {
        // Each direction can end the other: once more, until neither does.
        loop {
            let before = (self.inward.is_done(), self.outward.is_done(), self.over);
            self.move_outward(cx);
            if let Some(lost) = self.move_inward(cx) {
                return Poll::Ready(Stop::Lost(lost));
            }
            let after = (self.inward.is_done(), self.outward.is_done(), self.over);
            if after.1 && (after.0 || self.mail_server.is_hung_up()) {
                let peer_closed = self.inward.has_seen_end();
                return Poll::Ready(Stop::Done { peer_closed });
            }
            if before == after {
                // What TLS itself has to answer; should the peer be lost, its next reading tells.
                let _answered = Pin::new(&mut self.peer).poll_flush(cx);
                return Poll::Pending;
            }
        }
    }

    /// Mail server to peer.
    fn move_outward(&mut self, cx: &mut Context<'_>) {
        let (words, offer, over, sight) = (
            &mut self.words,
            &mut self.offer,
            &mut self.over,
            &self.sight,
        );
        let passed = |octets: &[u8]| {
            if octets.is_empty() {
                sight.closing();
                return true;
            }
            sight.sent(octets.len());
            if offer.hear(octets) {
                sight.offers_starttls();
            }
            *over |= words.of_the_mail_server(octets);
            *over
        };
        let (from, to) = (&mut self.mail_server, &mut self.peer);
        match self.outward.poll_carry(cx, from, to, passed) {
            Poll::Pending | Poll::Ready(Ok(())) => {}
            // It has gone and left octets of ours unread: an end like any other, all it wrote has come.
            Poll::Ready(Err(Fault::Read(_))) => {
                self.outward.finish();
                return self.move_outward(cx);
            }
            // The peer takes no more. What it said before is still to be read, and tells how it ended.
            Poll::Ready(Err(Fault::Write(error))) => {
                tracing::debug!(%error, "the peer takes no more");
                self.outward.abandon();
                self.sight.closing();
            }
        }
        if self.over {
            self.inward.finish();
        }
    }

    /// Peer to mail server; gives the reason when the peer is lost.
    fn move_inward(&mut self, cx: &mut Context<'_>) -> Option<io::Error> {
        let (words, over, sight) = (&mut self.words, &mut self.over, &self.sight);
        let passed = |octets: &[u8]| {
            if octets.is_empty() {
                sight.closing();
                return true;
            }
            sight.received(octets.len());
            *over |= words.of_the_peer(octets);
            *over
        };
        let (from, to) = (&mut self.peer, &mut self.mail_server);
        match self.inward.poll_carry(cx, from, to, passed) {
            Poll::Pending | Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(Fault::Read(error))) => return Some(error),
            // The mail server hears no more. What it wrote before is still for the peer.
            Poll::Ready(Err(Fault::Write(error))) => {
                tracing::debug!(%error, "the mail server hears no more");
                self.inward.abandon();
                self.sight.closing();
            }
        }
        if self.over {
            self.outward.finish();
        }
        None
    }
}

/// In the operator's words.
fn why(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        // The text of the library is about its interface.
        "the connection ended without close_notify".to_owned()
    } else {
        error.to_string()
    }
}
