//! The last words on a connection that is ours again: QUIT and the customer's 221 (RFC 5321 4.1.1.10).

use crate::wire::{Carriage, Released};
use std::net::TcpStream as TcpSocket;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as UnixSocket;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// How long the customer has for its 221.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// How much of an answer we read, in octets: a reply of one line, and then some.
const ANSWER_LIMIT: usize = 2048;

/// Says QUIT, waits for the answer, closes. True if the answer was 221.
pub(crate) async fn quit(connection: Released) -> bool {
    let answered = tokio::time::timeout(ANSWER_TIME, exchange(&connection))
        .await
        .is_ok_and(|answer| answer.is_ok_and(|code| code));
    connection.close().await;
    answered
}

async fn exchange(connection: &Released) -> std::io::Result<bool> {
    let socket = connection.as_fd().try_clone_to_owned()?;
    if let Carriage::Relay(_) = connection.carriage() {
        let socket = UnixSocket::from(socket);
        socket.set_nonblocking(true)?;
        converse(UnixStream::from_std(socket)?).await
    } else {
        let socket = TcpSocket::from(socket);
        socket.set_nonblocking(true)?;
        converse(TcpStream::from_std(socket)?).await
    }
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<bool> {
    stream.write_all(b"QUIT\r\n").await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\n") && answer.len() < ANSWER_LIMIT {
        if stream.read_buf(&mut answer).await? == 0 {
            break;
        }
    }
    Ok(answer.starts_with(b"221"))
}
