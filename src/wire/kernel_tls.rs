//! TLS by the kernel (tls(7) in its documentation): which ciphers this kernel can carry, and giving it the keys.
//!
//! **TLS 1.3 only.** With the secrets that rustls hands out for TLS 1.2 with AES-GCM the kernel starts its explicit
//! nonces at the record number, where rustls has used the same ones already: the first record the kernel writes
//! repeats the nonce of the handshake's last, which gives the authentication key away. So keys are only ever made of
//! a [`Version::Tls13`] ([`keys`] refuses anything else), and a session under TLS 1.2 goes through the relay.

use super::close_notify;
use crate::tls::Version;
use nix::libc;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{TcpTlsRx, TcpTlsTx, TcpUlp, TlsCryptoInfo};
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;
use zeroize::Zeroize;

/// The ciphers of TLS 1.3 that both rustls and the kernel know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cipher {
    Aes128Gcm,
    Aes256Gcm,
    Chacha20Poly1305,
}

/// How long a probe may take to get through the loopback.
const PROBE_TIME: Duration = Duration::from_secs(5);

/// What this kernel can carry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KernelTls {
    ciphers: [bool; Cipher::ALL.len()],
}

impl KernelTls {
    /// A kernel that carries nothing, or one that is not to be asked.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            ciphers: [false; Cipher::ALL.len()],
        }
    }

    /// A kernel that is said to carry these ciphers (registered names), whether it does or not: for what is decided by
    /// it.
    #[must_use]
    pub fn assumed(ciphers: &[&str]) -> Self {
        Self {
            ciphers: Cipher::ALL.map(|cipher| ciphers.contains(&cipher.name())),
        }
    }

    /// Tries each cipher on a connection of its own over loopback, both ends by the kernel. That one setting works
    /// says nothing of the next: the socket may be attached and the keys refused, when the cipher's module is missing.
    ///
    /// Tells the log in one line what works, and why the rest does not.
    #[must_use]
    pub fn probe() -> Self {
        let tried = Self::tried();
        let works: Vec<&str> = tried
            .iter()
            .filter_map(|(cipher, result)| result.is_ok().then_some(*cipher))
            .collect();
        let fails: Vec<String> = tried
            .iter()
            .filter_map(|(cipher, result)| Some(format!("{cipher}: {}", result.as_ref().err()?)))
            .collect();
        let first = tried.iter().find_map(|(_, result)| result.as_ref().err());
        if fails.is_empty() {
            tracing::info!(ciphers = %works.join(" "), "kernel TLS works");
        } else if works.is_empty() {
            tracing::info!(
                why = first.map(tracing::field::display),
                "no kernel TLS, sessions under TLS go through the relay (is the module tls loaded?)"
            );
        } else {
            tracing::info!(
                ciphers = %works.join(" "),
                without = %fails.join("; "),
                "kernel TLS works for some ciphers, others go through the relay"
            );
        }
        Self {
            ciphers: tried.map(|(_, result)| result.is_ok()),
        }
    }

    /// Tries each cipher, by its registered name: whether it works, or why not. Whoever is root has the kernel load the
    /// module by it.
    pub fn tried() -> [(&'static str, io::Result<()>); 3] {
        Cipher::ALL.map(|cipher| (cipher.name(), cipher.probe()))
    }

    /// Can a session with this cipher (its registered name) go to the kernel?
    #[must_use]
    pub fn carries(&self, cipher: &str) -> bool {
        let mut known = Cipher::ALL.into_iter().zip(self.ciphers);
        known.any(|(known, works)| works && known.name() == cipher)
    }
}

/// Puts the kernel's TLS on the socket. It still reads and writes octets as they are, so nothing is lost yet.
///
/// # Errors
/// The kernel has no TLS, or may not load it for this process.
pub(super) fn attach(stream: &impl AsFd) -> io::Result<()> {
    Ok(setsockopt(stream, TcpUlp::default(), b"tls")?)
}

/// Gives the kernel the keys of both directions. From here on it encrypts; an error ends the session.
///
/// # Errors
/// The kernel refuses the cipher, or the session is not of TLS 1.3.
pub(super) fn install(
    stream: &impl AsFd,
    version: Version,
    secrets: &ExtractedSecrets,
) -> io::Result<()> {
    let (sequence, secret) = &secrets.tx;
    let mut write = keys(version, *sequence, secret)?;
    let (sequence, secret) = &secrets.rx;
    let mut read = keys(version, *sequence, secret)?;
    let set =
        setsockopt(stream, TcpTlsTx, &write).and_then(|()| setsockopt(stream, TcpTlsRx, &read));
    forget(&mut write);
    forget(&mut read);
    Ok(set?)
}

/// One direction's key, nonce and record number as the kernel takes them.
///
/// # Errors
/// The version is not TLS 1.3 (see the head of this file), or the kernel has no such cipher.
pub fn keys(
    version: Version,
    sequence: u64,
    secret: &ConnectionTrafficSecrets,
) -> io::Result<TlsCryptoInfo> {
    if version != Version::Tls13 {
        return Err(io::Error::other(
            "only TLS 1.3 can go to the kernel: with TLS 1.2 it would repeat a nonce",
        ));
    }
    let (cipher, key, nonce) = match secret {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Cipher::Aes128Gcm, key, iv),
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Cipher::Aes256Gcm, key, iv),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
            (Cipher::Chacha20Poly1305, key, iv)
        }
        _ => return Err(io::Error::other("the kernel has no such cipher")),
    };
    cipher.keys(sequence, key.as_ref(), nonce.as_ref())
}

impl Cipher {
    const ALL: [Self; 3] = [Self::Aes128Gcm, Self::Aes256Gcm, Self::Chacha20Poly1305];

    /// Its registered name.
    const fn name(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "TLS_AES_128_GCM_SHA256",
            Self::Aes256Gcm => "TLS_AES_256_GCM_SHA384",
            Self::Chacha20Poly1305 => "TLS_CHACHA20_POLY1305_SHA256",
        }
    }

    /// `struct tls12_crypto_info_*` of `linux/tls.h`, which serve TLS 1.3 as well.
    fn keys(self, sequence: u64, key: &[u8], nonce: &[u8]) -> io::Result<TlsCryptoInfo> {
        let info = |cipher_type| libc::tls_crypto_info {
            version: libc::TLS_1_3_VERSION,
            cipher_type,
        };
        let rec_seq = sequence.to_be_bytes();
        // GCM's nonce has two parts there.
        let (salt, iv) = nonce.split_at_checked(4).unwrap_or_default();
        Ok(match self {
            Self::Aes128Gcm => TlsCryptoInfo::Aes128Gcm(libc::tls12_crypto_info_aes_gcm_128 {
                info: info(libc::TLS_CIPHER_AES_GCM_128),
                iv: exact(iv)?,
                key: exact(key)?,
                salt: exact(salt)?,
                rec_seq,
            }),
            Self::Aes256Gcm => TlsCryptoInfo::Aes256Gcm(libc::tls12_crypto_info_aes_gcm_256 {
                info: info(libc::TLS_CIPHER_AES_GCM_256),
                iv: exact(iv)?,
                key: exact(key)?,
                salt: exact(salt)?,
                rec_seq,
            }),
            Self::Chacha20Poly1305 => {
                TlsCryptoInfo::Chacha20Poly1305(libc::tls12_crypto_info_chacha20_poly1305 {
                    info: info(libc::TLS_CIPHER_CHACHA20_POLY1305),
                    iv: exact(nonce)?,
                    key: exact(key)?,
                    salt: [],
                    rec_seq,
                })
            }
        })
    }

    /// One octet from end to end over loopback, and the end of TLS behind it.
    fn probe(self) -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let mut here = TcpStream::connect(listener.local_addr()?)?;
        let (mut there, _) = listener.accept()?;
        there.set_read_timeout(Some(PROBE_TIME))?;
        // They protect nothing but this octet, and both ends must have the same.
        let key_length = if self == Self::Aes128Gcm { 16 } else { 32 };
        let keys = self.keys(0, [0; 32].get(..key_length).unwrap_or_default(), &[0; 12])?;
        for end in [&here, &there] {
            attach(end)?;
            setsockopt(end, TcpTlsTx, &keys)?;
            setsockopt(end, TcpTlsRx, &keys)?;
        }
        here.write_all(b"1")?;
        let mut octet = [0];
        there.read_exact(&mut octet)?;
        if &octet != b"1" {
            return Err(io::Error::other("what arrives is not what was sent"));
        }
        close_notify::send(here.as_fd())
    }
}

fn exact<const N: usize>(octets: &[u8]) -> io::Result<[u8; N]> {
    <[u8; N]>::try_from(octets)
        .map_err(|_| io::Error::other("a key of another length than the cipher's"))
}

fn forget(keys: &mut TlsCryptoInfo) {
    match keys {
        TlsCryptoInfo::Aes128Gcm(keys) => {
            keys.key.zeroize();
            keys.iv.zeroize();
            keys.salt.zeroize();
        }
        TlsCryptoInfo::Aes256Gcm(keys) => {
            keys.key.zeroize();
            keys.iv.zeroize();
            keys.salt.zeroize();
        }
        TlsCryptoInfo::Chacha20Poly1305(keys) => {
            keys.key.zeroize();
            keys.iv.zeroize();
        }
    }
}
