//! The metrics on a TCP port, for a Prometheus on this machine or in this network.
//!
//! This is no web server: it answers `GET /metrics` by HTTP/1.0, a few connections at the same time, each in [`TIME`] and
//! with a request of [`HEAD`] octets at most.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{TIME, answer_beside};
use crate::report::Ledger;
use crate::service::listen;

/// The longest head of a request.
const HEAD: usize = 8 * 1024;

/// How many connections the kernel keeps meanwhile.
const BACKLOG: i32 = 8;

/// The format that every version of Prometheus reads.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// An address that is listened on, and not yet answered.
#[derive(Debug)]
pub struct MetricsListener(StdListener);

impl MetricsListener {
    /// Listens; nobody is answered before [`Desk`](super::Desk) does.
    ///
    /// # Errors
    /// The address is not to be had.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        listen::tcp(address, BACKLOG).map(Self)
    }

    /// Where it listens: port 0 has become a number.
    ///
    /// # Errors
    /// The system does not know.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers for ever.
    pub(super) async fn answer(self, ledger: Ledger) {
        let listener = match TcpListener::from_std(self.0) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(%error, "cannot answer for metrics");
                return;
            }
        };
        let mut askers = JoinSet::new();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let ledger = ledger.clone();
                    let answer = async move {
                        if timeout(TIME, serve(stream, &ledger)).await.is_err() {
                            tracing::debug!("somebody asked for metrics and did not take them");
                        }
                    };
                    answer_beside(&mut askers, answer).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection for metrics");
                    sleep(TIME).await;
                }
            }
        }
    }
}

async fn serve(mut stream: TcpStream, ledger: &Ledger) {
    let Some(line) = head(&mut stream).await else {
        return;
    };
    let mut words = line.split(|octet| *octet == b' ');
    let answer = match (words.next(), words.next()) {
        (Some(b"GET"), Some(b"/metrics")) => match ledger.metrics() {
            Ok(metrics) => response("200 OK", TEXT, &metrics),
            Err(_) => response(
                "500 Internal Server Error",
                "text/plain",
                "no metrics, please report this\n",
            ),
        },
        (Some(b"GET"), _) => response(
            "404 Not Found",
            "text/plain",
            "there is /metrics, and nothing else\n",
        ),
        _ => response(
            "405 Method Not Allowed",
            "text/plain",
            "there is GET, and nothing else\n",
        ),
    };
    // A scraper that has gone is asked for nothing.
    let written = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // Octets that are not read would make a reset of our close.
        let mut scrap = [0; 512];
        while stream.read(&mut scrap).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    if let Err(error) = written.await {
        tracing::debug!(%error, "metrics were not taken");
    }
}

/// The first line, once the whole head has come.
async fn head(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    while !octets.windows(4).any(|four| four == b"\r\n\r\n") {
        if octets.len() >= HEAD || stream.read_buf(&mut octets).await.ok()? == 0 {
            return None;
        }
    }
    let end = octets.iter().position(|octet| *octet == b'\r')?;
    octets.truncate(end);
    Some(octets)
}

fn response(status: &str, kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
