//! Reaching the mail server.

use crate::config::MailServer;
use crate::wire::Far;
use std::io;
use tokio::net::{TcpStream, UnixStream};

/// Connects; of a name's addresses the first that answers is taken.
pub(super) async fn dial(to: &MailServer) -> io::Result<Far> {
    match to {
        MailServer::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            Ok(Far::tcp(stream)?)
        }
        MailServer::Unix(path) => Ok(Far::Unix(UnixStream::connect(path).await?)),
    }
}
