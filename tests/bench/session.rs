//! One customer that asks for mail and gets none: the session of the measurements, said to
//! turnabout and to nginx alike.

use crate::accounts;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt::Debug;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

/// How the customer logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    Plain,
    CramMd5,
}

impl Login {
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::CramMd5 => "CRAM-MD5",
        }
    }
}

/// With TLS or without.
pub trait Stream: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin> Stream for S {}

/// A connection as its client sees it.
#[derive(Debug)]
pub struct Session {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl Session {
    /// Connects from an address of its own (each customer has one), reads the greeting, says EHLO,
    /// and STARTTLS and EHLO again if it is to be encrypted.
    pub async fn open(
        server: SocketAddr,
        number: usize,
        tls: Option<&Arc<ClientConfig>>,
    ) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_nodelay(true)?;
        let octet = |number: usize| u8::try_from(number % 200).unwrap_or(0);
        let source = Ipv4Addr::new(127, 10 + octet(number / 200), octet(number), 1);
        socket.bind(SocketAddr::from((source, 0)))?;
        let stream = socket.connect(server).await?;
        let mut session = Self {
            stream: Box::new(stream),
            buffer: Vec::with_capacity(512),
        };
        session.expect("220").await?;
        session.say("EHLO customer.test\r\n", "250").await?;
        if let Some(client) = tls {
            session.say("STARTTLS\r\n", "220").await?;
            let name = ServerName::try_from("provider.test").map_err(io::Error::other)?;
            let connector = TlsConnector::from(Arc::clone(client));
            let encrypted = connector.connect(name, session.stream).await?;
            session.stream = Box::new(encrypted);
            session.say("EHLO customer.test\r\n", "250").await?;
        }
        Ok(session)
    }

    pub async fn login(&mut self, login: Login, user: &str) -> io::Result<()> {
        match login {
            Login::Plain => self.say(&accounts::plain(user), "235").await,
            Login::CramMd5 => {
                self.say("AUTH CRAM-MD5\r\n", "334").await?;
                let challenge =
                    String::from_utf8_lossy(self.buffer.get(4..).unwrap_or_default()).into_owned();
                self.say(&accounts::cram(user, &challenge), "235").await
            }
        }
    }

    /// Sends a line and reads a whole reply, which must begin so.
    pub async fn say(&mut self, line: &str, expected: &str) -> io::Result<()> {
        self.stream.write_all(line.as_bytes()).await?;
        self.expect(expected).await
    }

    /// QUIT, its reply, and the end of the connection, which is the server's to make.
    pub async fn quit(mut self) -> io::Result<()> {
        self.say("QUIT\r\n", "221").await?;
        self.buffer.clear();
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Ok(()),
            Ok(_) => Err(io::Error::other("something came after the 221")),
            Err(error) => Err(error),
        }
    }

    async fn expect(&mut self, expected: &str) -> io::Result<()> {
        self.buffer.clear();
        while !is_whole(&self.buffer) {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::other(format!("closed instead of {expected}")));
            }
        }
        if self.buffer.starts_with(expected.as_bytes()) {
            return Ok(());
        }
        let got = String::from_utf8_lossy(&self.buffer);
        Err(io::Error::other(format!(
            "{} instead of {expected}",
            got.trim()
        )))
    }
}

/// Its last line is complete and has no hyphen behind the code.
fn is_whole(reply: &[u8]) -> bool {
    reply.ends_with(b"\r\n")
        && reply
            .split(|byte| *byte == b'\n')
            .rev()
            .nth(1)
            .is_some_and(|line| line.get(3) != Some(&b'-'))
}
