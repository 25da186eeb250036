//! The kernel's TLS itself, without turnabout: what rustls has agreed on, the kernel continues.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use nix::libc;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{TcpTlsRx, TcpTlsTx, TcpUlp, TlsCryptoInfo};
use rustls::crypto::CryptoProvider;
use rustls::version::TLS13;
use rustls::{
    CipherSuite, ClientConnection, ConnectionTrafficSecrets, ServerConnection, StreamOwned,
};
use turnabout::tls::provider;

use super::{Statistics, has_tls};
use crate::lab::{Pair, body_of_lines, client_config_of, server_config};

const CIPHERS: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];

#[test]
#[ignore = "needs TLS in the kernel: kernel/mod.rs runs it in a guest"]
fn the_kernel_continues_what_rustls_has_agreed_on_with_each_cipher() {
    assert!(has_tls(), "the running kernel has no TLS");
    for cipher in CIPHERS {
        let before = Statistics::here();
        continues(cipher);
        let after = Statistics::here();
        after.assert_no_error();
        let [sending, receiving] = before.sessions();
        assert_eq!(
            after.sessions(),
            [sending + 1, receiving + 1],
            "{cipher:?}: {after:?}"
        );
    }
}

/// A server that gives its keys to the kernel and reads and writes octets; its client is rustls to the end.
fn continues(cipher: CipherSuite) {
    let pair = Pair::self_signed(&["localhost"]);
    let mut config = server_config(&pair, &[&TLS13]);
    config.enable_secret_extraction = true;
    config.send_tls13_tickets = 0;
    let client = client_config_of(only(cipher), &[&TLS13]);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let text = body_of_lines(3000);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = into_kernel(stream, ServerConnection::new(Arc::new(config)).unwrap());
            let mut heard = vec![0; text.len()];
            stream.read_exact(&mut heard).unwrap();
            assert!(heard == text, "{cipher:?}: what the kernel has decrypted");
            stream.write_all(&text).unwrap();
            let now = Statistics::here();
            assert!(now.get("TlsCurrTxSw") > 0, "{now:?}");
            assert!(now.get("TlsCurrRxSw") > 0, "{now:?}");
        });
        let name = "localhost".try_into().unwrap();
        let tls = ClientConnection::new(Arc::new(client), name).unwrap();
        let mut stream = StreamOwned::new(tls, TcpStream::connect(address).unwrap());
        stream.write_all(&text).unwrap();
        stream.flush().unwrap();
        let mut heard = vec![0; text.len()];
        stream.read_exact(&mut heard).unwrap();
        assert!(heard == text, "{cipher:?}: what the kernel has encrypted");
        let agreed = stream.conn.negotiated_cipher_suite().unwrap();
        assert_eq!(agreed.suite(), cipher);
    });
}

/// One cipher of all.
fn only(cipher: CipherSuite) -> Arc<CryptoProvider> {
    let mut provider = (*provider()).clone();
    provider
        .cipher_suites
        .retain(|suite| suite.suite() == cipher);
    Arc::new(provider)
}

/// The handshake record by record: rustls must not take what comes behind it.
fn into_kernel(mut stream: TcpStream, mut tls: ServerConnection) -> TcpStream {
    while tls.is_handshaking() {
        if tls.wants_write() {
            tls.write_tls(&mut stream).unwrap();
            continue;
        }
        let mut record = vec![0; 5];
        stream.read_exact(&mut record).unwrap();
        let length = usize::from(record[3]) * 256 + usize::from(record[4]);
        record.resize(5 + length, 0);
        stream.read_exact(&mut record[5..]).unwrap();
        tls.read_tls(&mut record.as_slice()).unwrap();
        tls.process_new_packets().unwrap();
    }
    assert!(!tls.wants_write());
    setsockopt(&stream, TcpUlp::default(), b"tls").unwrap();
    let secrets = tls.dangerous_extract_secrets().unwrap();
    let (sequence, keys) = secrets.tx;
    setsockopt(&stream, TcpTlsTx, &info(sequence, &keys)).unwrap();
    let (sequence, keys) = secrets.rx;
    setsockopt(&stream, TcpTlsRx, &info(sequence, &keys)).unwrap();
    stream
}

/// `linux/tls.h`: GCM's nonce is four octets of salt and eight more, `ChaCha20`'s is one of twelve.
fn info(sequence: u64, keys: &ConnectionTrafficSecrets) -> TlsCryptoInfo {
    let rec_seq = sequence.to_be_bytes();
    let info = |cipher_type| libc::tls_crypto_info {
        version: libc::TLS_1_3_VERSION,
        cipher_type,
    };
    match keys {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => {
            TlsCryptoInfo::Aes128Gcm(libc::tls12_crypto_info_aes_gcm_128 {
                info: info(libc::TLS_CIPHER_AES_GCM_128),
                iv: iv.as_ref()[4..].try_into().unwrap(),
                key: key.as_ref().try_into().unwrap(),
                salt: iv.as_ref()[..4].try_into().unwrap(),
                rec_seq,
            })
        }
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => {
            TlsCryptoInfo::Aes256Gcm(libc::tls12_crypto_info_aes_gcm_256 {
                info: info(libc::TLS_CIPHER_AES_GCM_256),
                iv: iv.as_ref()[4..].try_into().unwrap(),
                key: key.as_ref().try_into().unwrap(),
                salt: iv.as_ref()[..4].try_into().unwrap(),
                rec_seq,
            })
        }
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
            TlsCryptoInfo::Chacha20Poly1305(libc::tls12_crypto_info_chacha20_poly1305 {
                info: info(libc::TLS_CIPHER_CHACHA20_POLY1305),
                iv: iv.as_ref().try_into().unwrap(),
                key: key.as_ref().try_into().unwrap(),
                salt: [],
                rec_seq,
            })
        }
        _ => panic!("a cipher that was not offered"),
    }
}
