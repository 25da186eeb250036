//! The last words on a connection that is ours again: QUIT and the customer's 221 (RFC 5321 4.1.1.10).

use std::net::TcpStream as StdStream;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long the customer has for its 221.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// How much of an answer we read, in octets: a reply of one line, and then some.
const ANSWER_LIMIT: usize = 2048;

/// Says QUIT, waits for the answer, closes. True if the answer was 221.
pub(crate) async fn quit(connection: OwnedFd) -> bool {
    tokio::time::timeout(ANSWER_TIME, exchange(connection))
        .await
        .is_ok_and(|answer| answer.is_ok_and(|code| code))
}

async fn exchange(connection: OwnedFd) -> std::io::Result<bool> {
    let stream = StdStream::from(connection);
    stream.set_nonblocking(true)?;
    let mut stream = TcpStream::from_std(stream)?;
    stream.write_all(b"QUIT\r\n").await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\n") && answer.len() < ANSWER_LIMIT {
        if stream.read_buf(&mut answer).await? == 0 {
            break;
        }
    }
    Ok(answer.starts_with(b"221"))
}
