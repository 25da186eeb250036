//! TLS with a provider: what is asked of it, and what it means for the operator when there is none.

use super::report::End;
use super::stop::Stop;
use crate::config::{Provider, ProviderTls};
use crate::report;
use crate::sasl::{ChannelBinding, Mechanism};
use crate::tls::{ClientSettings, ClientTls, TlsError, TlsErrorKind};
use crate::wire::Wire;
use tokio::time::timeout;

/// Reads the files for TLS; none where there is to be no TLS. Waits for the disk.
///
/// # Errors
/// When one of them cannot be used.
pub(super) fn client_tls(provider: &Provider) -> Result<Option<ClientTls>, TlsError> {
    if provider.tls == ProviderTls::None {
        return Ok(None);
    }
    let settings = ClientSettings {
        ca_file: provider.ca_file.clone(),
        fingerprints: provider.fingerprints.clone(),
        certificate: provider.certificate.clone(),
    };
    ClientTls::new(&settings).map(Some)
}

/// Handshakes, in the time that a connection may take.
///
/// # Errors
/// Why nothing is said to this provider: 77 for a certificate that is not to be trusted, 75 for what may mend.
pub(super) async fn handshake(
    wire: &mut Wire,
    tls: &ClientTls,
    provider: &Provider,
    id: &str,
) -> Result<(), Stop> {
    let limit = provider.timers.connect;
    let done = timeout(limit, wire.connect_tls(tls, &provider.host)).await;
    match done.unwrap_or_else(|_| Err(TlsError::timeout(limit))) {
        Ok(()) => {
            let facts = wire.facts();
            tracing::info!(
                session = id,
                tls = facts.map(tracing::field::display),
                "TLS started"
            );
            Ok(())
        }
        Err(error) => Err(stop(&error)),
    }
}

/// What a failure of TLS means for the exit code.
pub(super) fn stop(error: &TlsError) -> Stop {
    let end = match error.kind() {
        TlsErrorKind::Configuration => End::Configuration,
        TlsErrorKind::Certificate => End::Refused,
        TlsErrorKind::Handshake | TlsErrorKind::Lost | TlsErrorKind::Timeout => End::TryLater,
    };
    // Whole: at its end stands the fingerprint, ready to paste.
    Stop(end, report::whole(&error.to_string()).to_string())
}

/// What a login can be bound to (rule B72).
pub(super) fn binding(wire: &Wire) -> Option<ChannelBinding> {
    let binding = wire.facts()?.binding.as_ref()?;
    Some(ChannelBinding::from(binding.0))
}

/// What the operator lists; a SCRAM stands for its -PLUS form as well, which is stronger (rule B71).
pub(super) fn mechanisms(provider: &Provider) -> Vec<Mechanism> {
    let listed = provider.mechanisms.iter().copied();
    listed
        .flat_map(|one| one.plus().into_iter().chain([one]))
        .collect()
}
