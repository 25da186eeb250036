//! A turned socket that nobody reads or writes any more: the value a mail server is given.

use super::close_notify;
use super::cookie::cookie;
use super::follow::View;
use super::relay::RelayView;
use crate::tls::Facts;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, TlsGetRecordType, recvmsg};
use std::io::IoSliceMut;
use std::net::{Shutdown, SocketAddr, TcpStream as TcpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the peer has to close after us.
const LINGER: Duration = Duration::from_secs(2);

/// Who stands between the mail server's descriptor and the peer.
#[derive(Debug, Clone)]
pub enum Carriage {
    /// Nobody: it is the TCP socket, without TLS.
    Plain,
    /// The kernel: it is the TCP socket, and the kernel encrypts.
    Kernel,
    /// A task of this process: it is one end of a Unix socket pair.
    Relay(RelayView),
}

impl Carriage {
    /// The word in the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Kernel => "kernel",
            Self::Relay(_) => "relay",
        }
    }
}

/// A connection out of our hands: blocking, nothing of the reversed session read or written by
/// us, owned once. Whoever holds this value decides who gets the descriptor; dropping it closes
/// the connection.
#[derive(Debug)]
pub struct Released {
    fd: OwnedFd,
    peer: SocketAddr,
    local: SocketAddr,
    carriage: Carriage,
    tls: Option<Box<Facts>>,
}

impl Released {
    pub(super) fn new(
        fd: OwnedFd,
        (peer, local): (SocketAddr, SocketAddr),
        carriage: Carriage,
        tls: Option<Box<Facts>>,
    ) -> Self {
        Self {
            fd,
            peer,
            local,
            carriage,
            tls,
        }
    }

    /// The peer's address and port: those of the TCP connection, whatever the descriptor is.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Our own address and port on the TCP connection.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Who carries it.
    #[must_use]
    pub fn carriage(&self) -> &Carriage {
        &self.carriage
    }

    /// What the handshake has shown; none without TLS.
    #[must_use]
    pub fn tls(&self) -> Option<&Facts> {
        self.tls.as_deref()
    }

    /// What can be seen of the connection once the descriptor is given away.
    #[must_use]
    pub fn view(&self) -> View {
        match &self.carriage {
            Carriage::Relay(relay) => View::Relay(relay.clone()),
            Carriage::Plain | Carriage::Kernel => View::Socket {
                local: self.local,
                peer: self.peer,
                cookie: cookie(&self.fd),
            },
        }
    }

    /// Says the end of TLS, where it is the kernel's and so nobody else will (rule B56): nothing may be written
    /// behind it. A relay says it by itself when the mail server's end is closed.
    pub fn close_notify(&self) {
        if matches!(self.carriage, Carriage::Kernel)
            && let Err(error) = close_notify::send(self.fd.as_fd())
        {
            // The peer has gone before: it needs no word any more.
            tracing::debug!(peer = %self.peer, %error, "close_notify is not sent");
        }
    }

    /// Does a TLS record that no mail server can read stand in the way: new keys, a late ticket, an alert? The mail
    /// server has then seen an error, and the next session with this peer had better go through the relay. The
    /// ordinary end of TLS is none.
    #[must_use]
    pub fn control_record(&self) -> bool {
        if !matches!(self.carriage, Carriage::Kernel) {
            return false;
        }
        control_record(self.fd.as_fd())
    }

    /// Closes what is nobody else's any more. Where the kernel encrypts that is the end of TLS, then that of the
    /// connection, and the peer's own close is waited for a while: what it has sent and nobody has read (its own end
    /// of TLS, mostly) would make a reset of our close.
    pub async fn close(self) {
        if !matches!(self.carriage, Carriage::Kernel) {
            return;
        }
        self.close_notify();
        let socket = TcpSocket::from(self.fd);
        let stream = socket
            .shutdown(Shutdown::Write)
            .and_then(|()| socket.set_nonblocking(true))
            .and_then(|()| TcpStream::from_std(socket));
        if let Ok(stream) = stream {
            timeout(LINGER, drain(stream)).await.unwrap_or_default();
        }
    }

    /// The descriptor itself, given up by this value.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

/// See [`Released::control_record`]; `socket` is one whose TLS is the kernel's.
pub(super) fn control_record(socket: BorrowedFd<'_>) -> bool {
    let mut octets = [0_u8; 2];
    let mut slices = [IoSliceMut::new(&mut octets)];
    let mut space = nix::cmsg_space!(u8);
    // Looked at, not taken.
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    let record = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags).and_then(
        |message| {
            Ok((
                message.bytes,
                message.cmsgs()?.find_map(|message| record_type(&message)),
            ))
        },
    );
    match record {
        Ok((_, None | Some(TlsGetRecordType::ApplicationData))) | Err(_) => false,
        // Level and description, which is 0 for close_notify.
        Ok((length, Some(TlsGetRecordType::Alert))) => length < 2 || octets.last() != Some(&0),
        Ok((_, Some(_))) => true,
    }
}

/// Takes all records, whatever their type, until the peer has closed.
async fn drain(stream: TcpStream) {
    let mut scrap = vec![0; 4096];
    loop {
        let taken = stream
            .async_io(Interest::READABLE, || {
                let mut slices = [IoSliceMut::new(&mut scrap)];
                let mut space = nix::cmsg_space!(u8);
                let flags = MsgFlags::MSG_DONTWAIT;
                let message =
                    recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
                Ok((message.bytes, message.cmsgs()?.next().is_some()))
            })
            .await;
        match taken {
            // A record of data is never empty, one of another type may be.
            Ok((0, false)) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

fn record_type(message: &ControlMessageOwned) -> Option<TlsGetRecordType> {
    match message {
        ControlMessageOwned::TlsGetRecordType(record_type) => Some(*record_type),
        _ => None,
    }
}

impl AsFd for Released {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
