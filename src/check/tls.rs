//! TLS: do the files belong together, until when, for which names; and what goes without.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::finding::Findings;
use super::machine::{self, Machine};
use crate::config::{Provider, ProviderTls, Serve, ServeTls};
use crate::tls::{ClientSettings, ClientTls, Dates, Judged, KeyPair, Pem, ServerTls};

/// How long before its end a certificate is a warning.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// The provider's certificates.
pub(super) fn provider(serve: &Serve, findings: &mut Findings) {
    let (mut judged, mut all) = (Vec::new(), true);
    for pair in &serve.certificates {
        match certificate(pair, "serve.certificate", findings) {
            Some((pem, one)) => judged.push((pem, one)),
            None => all = false,
        }
    }
    let named = judged.iter().any(|(_, one)| one.is_for(&serve.hostname));
    if all && !judged.is_empty() && !named {
        let place = serve.certificates.first().map(|pair| &pair.certificate);
        findings.warning(
            place.map_or(String::new(), |path| path.display().to_string()),
            format!(
                "no certificate is valid for {}, by which this provider calls itself: a customer that dials that name refuses it (get one for that name, or set serve.hostname to a name in it)",
                serve.hostname
            ),
        );
    }
    if let (Some(file), Some((pem, _))) = (&serve.client_ca, judged.first()) {
        let place = file.display().to_string();
        match std::fs::read(file) {
            Ok(content) => {
                // The pair is in order, so what is refused now is the authorities.
                let tls = ServerTls::new(std::slice::from_ref(pem), Some((file, &content)), false);
                if let Err(error) = tls {
                    findings.error(place, error.to_string());
                }
            }
            Err(error) => {
                findings.error(place, format!("cannot read client_ca: {error}"));
            }
        }
    }
    let outside = serve.listen.iter().find(|at| !at.ip().is_loopback());
    if let Some(at) = outside.filter(|_| serve.tls == ServeTls::None) {
        findings
            .warning(
                "serve.tls",
                format!(
                    "there is no TLS on {at}: whoever is on the way reads all mail, unless the line is protected otherwise"
                ),
            )
            .fix("tls = \"required\"");
    }
}

/// What the customer needs to judge a provider, and to show to it.
pub(super) fn customer(provider: &Provider, machine: &Machine, findings: &mut Findings) {
    let place = format!("providers.{}", provider.name);
    if provider.tls == ProviderTls::None {
        if !machine.is_here(&provider.host) {
            findings
                .warning(
                    format!("{place}.tls"),
                    format!(
                        "there is no TLS to {}: whoever is on the way reads all mail, unless the line is protected otherwise",
                        provider.host
                    ),
                )
                .fix("tls = \"starttls\"");
        }
        return;
    }
    if let Some(pair) = &provider.certificate {
        certificate(pair, &format!("{place}.certificate"), findings);
    }
    let settings = ClientSettings {
        ca_file: provider.ca_file.clone(),
        fingerprints: provider.fingerprints.clone(),
        // Looked at above, where its dates are said as well.
        certificate: None,
    };
    if let Err(error) = ClientTls::new(&settings) {
        findings.error(place, error.to_string());
    }
}

/// A certificate with its key, if they can be used.
fn certificate(pair: &KeyPair, key: &str, findings: &mut Findings) -> Option<(Pem, Judged)> {
    let place = pair.certificate.display().to_string();
    let unreadable = |path: &Path| {
        std::fs::File::open(path)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    };
    if !machine::is_root() && (unreadable(&pair.certificate) || unreadable(&pair.key)) {
        findings.note(
            place,
            format!(
                "the certificate and its key could not be looked at as user {}",
                machine::who()
            ),
        );
        return None;
    }
    let looked = Pem::read(pair).and_then(|pem| Ok((Judged::new(&pem)?, pem)));
    let (judged, pem) = match looked {
        Ok(looked) => looked,
        Err(error) => {
            findings.error(key, error.to_string());
            return None;
        }
    };
    match judged.dates(SystemTime::now(), SOON) {
        Dates::Fine => {}
        Dates::EndsSoon(day) => {
            findings.warning(
                place,
                format!("this certificate ends on {day} (has its renewal failed?)"),
            );
        }
        Dates::Invalid(fault) => {
            findings.error(
                place,
                format!("this certificate {fault}, and nobody will trust it (renew it, or set the clock right)"),
            );
        }
    }
    Some((pem, judged))
}
