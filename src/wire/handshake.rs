//! Putting TLS on a connection, as server or as client.

use super::Wire;
use super::record::RecordIo;
use super::stream::Stream;
use crate::tls::{ClientTls, Facts, ServerTls, TlsError, TlsErrorKind};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

impl Wire {
    /// Handshakes as server. The caller bounds the time; broken off, the connection is gone.
    ///
    /// After STARTTLS the caller has asked [`Wire::pending`] first: what stands behind the command in the clear is
    /// taken for part of the handshake here, which fails then, and never for a command (rule C1).
    ///
    /// # Errors
    /// Why there is no TLS. The wire is good for [`Wire::close`] only.
    pub async fn accept_tls(&mut self, tls: &ServerTls) -> Result<(), TlsError> {
        let io = RecordIo::new(self.plain()?);
        let accept = TlsAcceptor::from(tls.config()).accept(io).into_fallible();
        // Boxed: a session without TLS does not pay for the room that a handshake takes.
        match Box::pin(accept).await {
            Ok(stream) => {
                let facts = tls.facts(stream.get_ref().1);
                self.secured(stream.into(), facts)
            }
            Err((error, io)) => {
                self.stream = Stream::Failed(io.into_stream());
                Err(TlsError::handshake(&error))
            }
        }
    }

    /// Handshakes as client with the host that was dialled. The caller bounds the time; broken off, the connection is
    /// gone.
    ///
    /// # Errors
    /// Why there is no TLS, or why the certificate is not believed. The wire is good for [`Wire::close`] only.
    pub async fn connect_tls(&mut self, tls: &ClientTls, host: &str) -> Result<(), TlsError> {
        let attempt = tls.attempt(host)?;
        let io = RecordIo::new(self.plain()?);
        let connector = TlsConnector::from(attempt.config.clone());
        let connect = connector.connect(attempt.name.clone(), io).into_fallible();
        match Box::pin(connect).await {
            Ok(stream) => {
                let facts = attempt.facts(stream.get_ref().1);
                self.secured(stream.into(), facts)
            }
            Err((error, io)) => {
                self.stream = Stream::Failed(io.into_stream());
                Err(attempt.failed(&error))
            }
        }
    }

    /// What the handshake has shown; nothing without TLS.
    #[must_use]
    pub fn facts(&self) -> Option<&Facts> {
        self.facts.as_deref()
    }

    /// Takes the socket for a handshake; until that is done there is none here.
    fn plain(&mut self) -> Result<TcpStream, TlsError> {
        let unfit = |what: &str| {
            TlsError::new(
                TlsErrorKind::Handshake,
                format!("cannot begin TLS: {what} (please report this)"),
            )
        };
        if !self.reader.is_empty() {
            return Err(unfit("part of a line was already read"));
        }
        match std::mem::replace(&mut self.stream, Stream::Gone) {
            Stream::Plain(stream) => Ok(stream),
            other => {
                self.stream = other;
                Err(unfit("the connection is not a plain one"))
            }
        }
    }

    fn secured(
        &mut self,
        stream: TlsStream<RecordIo>,
        facts: Option<Facts>,
    ) -> Result<(), TlsError> {
        let Some(facts) = facts else {
            self.stream = Stream::Failed(match stream {
                TlsStream::Client(stream) => stream.into_inner().0.into_stream(),
                TlsStream::Server(stream) => stream.into_inner().0.into_stream(),
            });
            return Err(TlsError::new(
                TlsErrorKind::Handshake,
                "the TLS handshake ended without a version or a cipher (please report this)",
            ));
        };
        self.stream = Stream::Tls(Box::new(stream));
        self.facts = Some(Box::new(facts));
        Ok(())
    }
}
