//! A throw-away certificate authority, and certificates of every kind for the lab's hosts.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use sha2::{Digest, Sha256};

use super::Host;

/// Where a host has its certificate, its key, and the certificate of the authority.
pub const CERTIFICATE: &str = "/etc/turnabout/certificate.pem";
pub const KEY: &str = "/etc/turnabout/key.pem";
pub const CA: &str = "/etc/turnabout/ca.pem";

/// An authority that lives as long as the test.
#[derive(Debug)]
pub struct Authority {
    params: CertificateParams,
    key: KeyPair,
    /// Its certificate, in PEM.
    pub certificate: String,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
    der: Vec<u8>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = named("Lab authority", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self {
            params,
            key,
            certificate,
        }
    }

    /// A good certificate for these names and addresses; clients may show it as well.
    pub fn issue(&self, names: &[&str]) -> Pair {
        self.sign(&leaf(names))
    }

    /// One that was good until the first day of 2025.
    pub fn expired(&self, names: &[&str]) -> Pair {
        let mut params = leaf(names);
        params.not_before = date_time_ymd(2024, 1, 1);
        params.not_after = date_time_ymd(2025, 1, 1);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Pair::new(&certificate, &key)
    }
}

impl Pair {
    /// A certificate that no authority has seen.
    pub fn self_signed(names: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        Self::new(&leaf(names).self_signed(&key).unwrap(), &key)
    }

    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().to_vec(),
        }
    }

    /// As the configuration names it.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(&self.der);
        let digits: Vec<String> = digest.iter().map(|octet| format!("{octet:02X}")).collect();
        format!("sha256:{}", digits.join(":"))
    }
}

fn leaf(names: &[&str]) -> CertificateParams {
    let mut params = named(names[0], names);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
}

fn named(subject: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, subject.to_owned());
    params
}

impl Host {
    /// Puts a certificate where the host's turnabout looks for it. The key is root's alone, as certbot leaves it.
    pub fn install(&self, pair: &Pair) {
        fs::write(self.path(CERTIFICATE), &pair.certificate).unwrap();
        fs::write(self.path(KEY), &pair.key).unwrap();
        fs::set_permissions(self.path(KEY), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Lets the host know an authority.
    pub fn know(&self, authority: &Authority) {
        fs::write(self.path(CA), &authority.certificate).unwrap();
    }
}
