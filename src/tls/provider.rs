//! The cryptography under TLS, by cargo feature; never the library's process-wide default.

use rustls::crypto::CryptoProvider;
use std::sync::{Arc, OnceLock};

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!("TLS needs its cryptography: build with the feature aws-lc-rs or ring");

/// What every handshake of this process computes with: aws-lc-rs, or ring in a build without it.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(chosen())))
}

#[cfg(feature = "aws-lc-rs")]
fn chosen() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
fn chosen() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}
