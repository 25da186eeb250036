//! The certificates in use: read at the start, at SIGHUP, and when their files have changed.

use super::keys::{KeyError, KeyReader};
use crate::accounts::Accounts;
use crate::config;
use crate::sasl::Mechanism;
use crate::tls::{KeyPair, Pem, ServerTls, TlsError};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// How often the files are looked at: what renews a certificate need not tell us.
pub(super) const LOOK: Duration = Duration::from_secs(15);

/// How long before its end a certificate is a warning, and how often.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] KeyError),
    /// What is in it is of no use.
    #[error(transparent)]
    Unfit(#[from] TlsError),
}

/// Reads certificates, and knows those it has read.
#[derive(Debug)]
pub(super) struct Certificates {
    reader: KeyReader,
    seen: Option<Seen>,
    /// When the operator was last told that one is about to end.
    warned: Option<Instant>,
}

/// What the files held the last time, or why they could not be read.
type Seen = Result<[u8; 32], String>;

/// The contents of all files that `[serve]` names.
struct Contents {
    pairs: Vec<Pem>,
    client_ca: Option<(PathBuf, Vec<u8>)>,
}

/// Files that have been read, and are not yet in use.
pub(super) struct Held(Contents);

impl Held {
    /// Puts them to use.
    ///
    /// # Errors
    /// When one is of no use.
    pub(super) fn server_tls(
        &self,
        serve: &config::Serve,
        accounts: &Accounts,
    ) -> Result<ServerTls, CertificateError> {
        Ok(self.0.server_tls(serve, accounts)?)
    }
}

impl Certificates {
    pub(super) fn new(reader: KeyReader) -> Self {
        Self {
            reader,
            seen: None,
            warned: None,
        }
    }

    /// All files that have to be read for `[serve]`.
    pub(super) fn files(serve: &config::Serve) -> Vec<PathBuf> {
        let pairs = serve.certificates.iter();
        pairs
            .flat_map(|pair| [pair.certificate.clone(), pair.key.clone()])
            .chain(serve.client_ca.clone())
            .collect()
    }

    /// Reads them; none where no address has TLS.
    ///
    /// # Errors
    /// When one cannot be read or used.
    pub(super) fn load(
        &mut self,
        serve: &config::Serve,
        accounts: &Accounts,
    ) -> Result<Option<ServerTls>, CertificateError> {
        if !serve.has_tls() {
            return Ok(None);
        }
        let contents = self.read(serve)?;
        let tls = contents.server_tls(serve, accounts)?;
        self.seen = Some(Ok(contents.digest()));
        self.warned = None;
        self.warn_before_the_end(&tls);
        Ok(Some(tls))
    }

    /// Reads the files now, for [`Held::server_tls`]: by a process that can read them now and not later.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(super) fn hold(serve: &config::Serve) -> Result<Held, CertificateError> {
        Ok(Held(Self::new(KeyReader::own()).read(serve)?))
    }

    /// Says once a day that a certificate is about to end. That it has ended is said when it is read.
    pub(super) fn warn_before_the_end(&mut self, tls: &ServerTls) {
        let left = tls
            .expires()
            .and_then(|end| end.duration_since(SystemTime::now()).ok());
        let recent = self.warned.is_some_and(|at| at.elapsed() < DAY);
        if let Some(left) = left.filter(|left| *left < SOON && !recent) {
            self.warned = Some(Instant::now());
            tracing::warn!(
                days = left.as_secs() / DAY.as_secs(),
                "a certificate ends soon (has its renewal failed?)"
            );
        }
    }

    /// Reads them if they are not what they were the last time. A change that is no good is an error once.
    pub(super) fn renewed(
        &mut self,
        serve: &config::Serve,
        accounts: &Accounts,
    ) -> Option<Result<ServerTls, CertificateError>> {
        if !serve.has_tls() {
            return None;
        }
        let read = self.read(serve);
        let seen = match &read {
            Ok(contents) => Ok(contents.digest()),
            Err(error) => Err(error.to_string()),
        };
        if self.seen.as_ref() == Some(&seen) {
            return None;
        }
        self.seen = Some(seen);
        Some(read.and_then(|contents| Ok(contents.server_tls(serve, accounts)?)))
    }

    fn read(&mut self, serve: &config::Serve) -> Result<Contents, CertificateError> {
        let mut pairs = Vec::with_capacity(serve.certificates.len());
        for pair in &serve.certificates {
            pairs.push(self.pair(pair)?);
        }
        let client_ca = match &serve.client_ca {
            Some(file) => Some((file.clone(), self.reader.read(file)?.to_vec())),
            None => None,
        };
        Ok(Contents { pairs, client_ca })
    }

    fn pair(&mut self, pair: &KeyPair) -> Result<Pem, CertificateError> {
        Ok(Pem {
            certificate: self.reader.read(&pair.certificate)?.to_vec(),
            key: self.reader.read(&pair.key)?,
            pair: pair.clone(),
        })
    }
}

impl Contents {
    fn server_tls(
        &self,
        serve: &config::Serve,
        accounts: &Accounts,
    ) -> Result<ServerTls, TlsError> {
        // Nobody is asked for a certificate that nothing is done with (rule B55).
        let ask = serve.mechanisms.contains(&Mechanism::External) && accounts.uses_certificates();
        let client_ca = self.client_ca.as_ref();
        let client_ca = client_ca.map(|(file, text)| (file.as_path(), text.as_slice()));
        ServerTls::new(&self.pairs, client_ca, ask)
    }

    fn digest(&self) -> [u8; 32] {
        let mut all = Sha256::new();
        let mut add = |file: &Path, text: &[u8]| {
            all.update(file.as_os_str().as_encoded_bytes());
            all.update([0]);
            all.update(Sha256::digest(text));
        };
        for pem in &self.pairs {
            add(&pem.pair.certificate, &pem.certificate);
            add(&pem.pair.key, &pem.key);
        }
        if let Some((file, text)) = &self.client_ca {
            add(file, text);
        }
        all.finalize().into()
    }
}
