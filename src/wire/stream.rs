//! What stands between the lines and the network: nothing, TLS here, or TLS in the kernel.

use super::record::RecordIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// The connection itself. Thousands of plain ones are held at a time, so TLS stands behind a pointer.
#[derive(Debug)]
pub(super) enum Stream {
    /// Octets as they are.
    Plain(TcpStream),
    /// TLS by this process.
    Tls(Box<TlsStream<RecordIo>>),
    /// TLS by the kernel: reads and writes like a plain one, but nothing can be looked at beforehand.
    Kernel(TcpStream),
    /// A handshake failed: nothing can be said any more, the socket waits for its close.
    Failed(TcpStream),
    /// A handshake was broken off, and the socket went with it.
    Gone,
}

impl Stream {
    /// The socket below.
    pub(super) fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) | Self::Kernel(stream) | Self::Failed(stream) => Some(stream),
            Self::Tls(tls) => Some(tls.get_ref().0.stream()),
            Self::Gone => None,
        }
    }
}
