//! Why there is no TLS, as a whole sentence for the operator.

/// Whose fault it is, which decides what is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsErrorKind {
    /// Our own files or settings.
    Configuration,
    /// The peer's certificate is not accepted.
    Certificate,
    /// The two do not agree, or one of them broke the protocol.
    Handshake,
    /// The connection was lost during the handshake.
    Lost,
    /// The handshake took too long.
    Timeout,
}

/// Why there is no TLS; shown, it is the operator's sentence. Text that came from a peer may stand in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct TlsError {
    kind: TlsErrorKind,
    sentence: String,
}

impl TlsError {
    pub(crate) fn new(kind: TlsErrorKind, sentence: impl Into<String>) -> Self {
        Self {
            kind,
            sentence: sentence.into(),
        }
    }

    pub(super) fn configuration(sentence: impl Into<String>) -> Self {
        Self::new(TlsErrorKind::Configuration, sentence)
    }

    /// For the caller, who keeps the time: the handshake did not end within `limit`.
    #[must_use]
    pub fn timeout(limit: std::time::Duration) -> Self {
        Self::new(
            TlsErrorKind::Timeout,
            format!(
                "the TLS handshake did not end in {} s (try later)",
                limit.as_secs()
            ),
        )
    }

    /// Whose fault it is.
    #[must_use]
    pub fn kind(&self) -> TlsErrorKind {
        self.kind
    }
}

/// What became of a handshake that broke off, when it was not the certificate.
pub(crate) fn handshake_failed(error: &std::io::Error) -> TlsError {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(inner) => TlsError::new(
            TlsErrorKind::Handshake,
            format!("the TLS handshake failed: {inner}"),
        ),
        None => TlsError::new(
            TlsErrorKind::Lost,
            format!("the connection was lost during the TLS handshake: {error} (try later)"),
        ),
    }
}
