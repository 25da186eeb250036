//! TLS in the kernel: the keys and record numbers it gets are the right ones, for every cipher, in both roles and after
//! whatever TLS did before; and what must not go there does not.
//!
//! The kernel's part is played here, from what it would be given and by the rules of its own code: so these run
//! everywhere. Those in `in_a_kernel` need a kernel with TLS (`modprobe tls`), and say so where there is none.

mod in_a_kernel;

use crate::tls_world::{
    BOTH, Ends, HOST, ONLY_12, Peer, params, run, secured_server, secured_server_with, self_signed,
};
use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use nix::sys::socket::sockopt::TlsCryptoInfo;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, Connection, ConnectionTrafficSecrets, RootCertStore,
    ServerConfig, ServerConnection, SupportedCipherSuite, SupportedProtocolVersion,
};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};
use turnabout::tls::{HandoffTls, Version, provider};
use turnabout::wire::kernel_tls::keys;
use turnabout::wire::{KernelTls, Relays, Way};

/// All that a kernel can carry.
pub const CIPHERS: [&str; 3] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
];

const DATA: u8 = 23;
const ALERT: u8 = 21;

/// The cryptography with this cipher only, so that it is the one agreed on.
pub fn only(cipher: &str) -> Arc<rustls::crypto::CryptoProvider> {
    let mut provider = (*provider()).clone();
    provider
        .cipher_suites
        .retain(|suite| name(*suite) == cipher);
    assert_eq!(provider.cipher_suites.len(), 1, "{cipher}");
    Arc::new(provider)
}

/// The registered name: the library has its own for TLS 1.3.
fn name(suite: SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or_default();
    name.replace("TLS13_", "TLS_")
}

/// One direction of TLS as the kernel does it: `net/tls/tls_sw.c`, nonce as in `xor_iv_with_seq`.
struct Direction {
    key: LessSafeKey,
    nonce: [u8; 12],
    sequence: u64,
}

impl Direction {
    fn new((sequence, secret): &(u64, ConnectionTrafficSecrets)) -> Self {
        let (algorithm, key, nonce, rec_seq) =
            match keys(Version::Tls13, *sequence, secret).unwrap() {
                TlsCryptoInfo::Aes128Gcm(keys) => {
                    let nonce = [keys.salt.as_slice(), &keys.iv].concat();
                    (&AES_128_GCM, keys.key.to_vec(), nonce, keys.rec_seq)
                }
                TlsCryptoInfo::Aes256Gcm(keys) => {
                    let nonce = [keys.salt.as_slice(), &keys.iv].concat();
                    (&AES_256_GCM, keys.key.to_vec(), nonce, keys.rec_seq)
                }
                TlsCryptoInfo::Chacha20Poly1305(keys) => (
                    &CHACHA20_POLY1305,
                    keys.key.to_vec(),
                    keys.iv.to_vec(),
                    keys.rec_seq,
                ),
            };
        Self {
            key: LessSafeKey::new(UnboundKey::new(algorithm, &key).unwrap()),
            nonce: nonce.try_into().unwrap(),
            sequence: u64::from_be_bytes(rec_seq),
        }
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = self.nonce;
        for (octet, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *octet ^= number;
        }
        self.sequence += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    /// A record of this type.
    fn seal(&mut self, record_type: u8, content: &[u8]) -> Vec<u8> {
        let mut inner = [content, &[record_type]].concat();
        let length = u16::try_from(inner.len() + 16).unwrap().to_be_bytes();
        let head = [DATA, 3, 3, length[0], length[1]];
        let nonce = self.nonce();
        self.key
            .seal_in_place_append_tag(nonce, Aad::from(head), &mut inner)
            .unwrap();
        [head.as_slice(), &inner].concat()
    }

    /// The records in these octets: type and content.
    fn open(&mut self, mut records: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut opened = Vec::new();
        while !records.is_empty() {
            let (head, rest) = records.split_at(5);
            let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
            let (body, rest) = rest.split_at(length);
            records = rest;
            let nonce = self.nonce();
            let mut body = body.to_vec();
            let inner = self
                .key
                .open_in_place(nonce, Aad::from(head), &mut body)
                .expect("a record that is not from this key and number");
            let (record_type, content) = inner.split_last().unwrap();
            opened.push((*record_type, content.to_vec()));
        }
        opened
    }
}

/// Two ends of TLS that agree on this cipher; the first is ours, whose keys may be taken.
fn pair(
    cipher: &str,
    version: &'static SupportedProtocolVersion,
    ours_is_server: bool,
) -> (Connection, Connection) {
    let issued = self_signed(&params(&[HOST]));
    let mut roots = RootCertStore::empty();
    roots.add(issued.der.clone()).unwrap();
    let mut client = ClientConfig::builder_with_provider(only(cipher))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.der.clone()], issued.private())
        .unwrap();
    client.enable_secret_extraction = !ours_is_server;
    server.enable_secret_extraction = ours_is_server;
    if ours_is_server {
        server.send_tls13_tickets = 0;
    }
    let name = ServerName::try_from(HOST).unwrap();
    let client = Connection::from(ClientConnection::new(Arc::new(client), name).unwrap());
    let server = Connection::from(ServerConnection::new(Arc::new(server)).unwrap());
    if ours_is_server {
        (server, client)
    } else {
        (client, server)
    }
}

/// What this end has to say, as it goes over the network.
fn said(end: &mut Connection) -> Vec<u8> {
    let mut octets = Vec::new();
    while end.wants_write() {
        end.write_tls(&mut octets).unwrap();
    }
    octets
}

fn hear(end: &mut Connection, mut octets: &[u8]) {
    while !octets.is_empty() {
        end.read_tls(&mut octets).unwrap();
        end.process_new_packets().unwrap();
    }
}

/// Everything that both have to say, until neither has more.
fn settle(ours: &mut Connection, theirs: &mut Connection) {
    while ours.wants_write() || theirs.wants_write() {
        let octets = said(ours);
        hear(theirs, &octets);
        let octets = said(theirs);
        hear(ours, &octets);
    }
}

fn tell(from: &mut Connection, to: &mut Connection, text: &[u8]) {
    from.writer().write_all(text).unwrap();
    let octets = said(from);
    hear(to, &octets);
    let mut heard = vec![0; text.len()];
    to.reader().read_exact(&mut heard).unwrap();
    assert_eq!(heard, text);
}

/// What happened on the connection before its keys were taken.
#[derive(Debug, Clone, Copy)]
enum Before {
    Nothing,
    Words,
    TheirNewKeys,
    OurNewKeys,
    BothNewKeysTwice,
}

const BEFORE: [Before; 5] = [
    Before::Nothing,
    Before::Words,
    Before::TheirNewKeys,
    Before::OurNewKeys,
    Before::BothNewKeysTwice,
];

fn happen(before: Before, ours: &mut Connection, theirs: &mut Connection) {
    let (our_keys, their_keys) = match before {
        Before::Nothing => return,
        Before::Words => (0, 0),
        Before::TheirNewKeys => (0, 1),
        Before::OurNewKeys => (1, 0),
        Before::BothNewKeysTwice => (2, 2),
    };
    tell(theirs, ours, b"EHLO a\r\n");
    tell(ours, theirs, &[b'x'; 12_000]);
    for _ in 0..our_keys {
        ours.refresh_traffic_keys().unwrap();
        settle(ours, theirs);
        // Their answer, new keys of theirs, goes with what they say next.
        tell(theirs, ours, b"ATRN\r\n");
    }
    for _ in 0..their_keys {
        theirs.refresh_traffic_keys().unwrap();
        settle(ours, theirs);
        tell(ours, theirs, b"235 ok\r\n");
        tell(theirs, ours, b"ATRN\r\n");
    }
    tell(ours, theirs, b"250 turning\r\n");
}

/// The other end goes on with whoever has the keys, and sees no difference.
#[test]
fn a_kernel_that_is_given_the_keys_goes_on_where_tls_has_stopped() {
    for cipher in CIPHERS {
        for ours_is_server in [true, false] {
            for before in BEFORE {
                let what = format!("{cipher}, ours is server: {ours_is_server}, {before:?}");
                // As client we are sent two tickets, which is what a server does by default.
                let (mut ours, mut theirs) = pair(cipher, &TLS13, ours_is_server);
                settle(&mut ours, &mut theirs);
                happen(before, &mut ours, &mut theirs);
                assert_eq!(name(ours.negotiated_cipher_suite().unwrap()), cipher);
                let secrets = ours.dangerous_extract_secrets().unwrap();
                let (mut write, mut read) =
                    (Direction::new(&secrets.tx), Direction::new(&secrets.rx));
                for text in [&b"220 me\r\n"[..], b"250 ok\r\n", &[b'y'; 16_000]] {
                    hear(&mut theirs, &write.seal(DATA, text));
                    let mut heard = vec![0; text.len()];
                    theirs.reader().read_exact(&mut heard).unwrap();
                    assert_eq!(heard, text, "{what}");
                    theirs.writer().write_all(text).unwrap();
                    let records = said(&mut theirs);
                    assert_eq!(read.open(&records), [(DATA, text.to_vec())], "{what}");
                }
                hear(&mut theirs, &write.seal(ALERT, &[1, 0]));
                assert!(
                    theirs.process_new_packets().unwrap().peer_has_closed(),
                    "{what}"
                );
                theirs.send_close_notify();
                let records = said(&mut theirs);
                assert_eq!(read.open(&records), [(ALERT, vec![1, 0])], "{what}");
            }
        }
    }
}

/// With TLS 1.2 the kernel's first record would have the nonce of a record that is on the network already: the
/// handshake's last one. Whoever has both has the key of their authentication.
#[test]
fn the_keys_of_tls_1_2_would_repeat_a_nonce_and_are_refused() {
    let cipher = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    let (mut ours, mut theirs) = pair(cipher, &TLS12, true);
    let mut last = Vec::new();
    while ours.is_handshaking() || theirs.is_handshaking() || ours.wants_write() {
        let octets = said(&mut theirs);
        hear(&mut ours, &octets);
        last = said(&mut ours);
        hear(&mut theirs, &last);
    }
    // The last is the change of cipher, six octets, and Finished: head, explicit nonce, body.
    let on_the_network = &last[last.len() - (5 + 8 + 16 + 16)..][5..13];
    let secrets = ours.dangerous_extract_secrets().unwrap();
    let (sequence, secret) = &secrets.tx;
    let ConnectionTrafficSecrets::Aes128Gcm { iv, .. } = secret else {
        panic!("another cipher");
    };
    // This is what the kernel begins its explicit nonces with (`cctx->iv` behind the salt).
    assert_eq!(&iv.as_ref()[4..], on_the_network);
    assert_eq!(*sequence, 1, "and yet it is not the first record");
    let refused = keys(Version::Tls12, *sequence, secret).unwrap_err();
    assert!(
        refused.to_string().contains("would repeat a nonce"),
        "{refused}"
    );
}

/// A kernel that can do everything.
fn any() -> KernelTls {
    KernelTls::assumed(&CIPHERS)
}

async fn goes_on(ends: Ends, mut peer: Peer) {
    let released = ends.wire.release(&Relays::default()).await.unwrap();
    assert_eq!(released.carriage().name(), "relay");
    let mut mail_server = std::os::unix::net::UnixStream::from(released.into_fd());
    mail_server.write_all(b"220 me\r\n").unwrap();
    let line = tokio::task::spawn_blocking(move || peer.line());
    assert_eq!(line.await.unwrap(), "220 me");
}

#[test]
fn a_session_of_tls_1_2_never_goes_to_the_kernel_and_lives_on() {
    run(async {
        let (mut ends, peer) = secured_server_with(ONLY_12).await;
        assert_eq!(ends.wire.facts().unwrap().version, Version::Tls12);
        for wish in [HandoffTls::Auto, HandoffTls::Kernel] {
            assert_eq!(
                ends.wire.way(wish, &any()).await,
                Way::Relay("only TLS 1.3 can go to the kernel")
            );
        }
        // Nor when nobody has asked.
        let uncommitted = ends.wire.into_kernel().await.unwrap_err();
        assert!(
            uncommitted.to_string().contains("only TLS 1.3"),
            "{uncommitted}"
        );
        ends.wire = uncommitted.wire.unwrap();
        goes_on(ends, peer).await;
    });
}

#[test]
fn what_the_operator_and_the_kernel_say_decides_the_way() {
    run(async {
        let (mut ends, _peer) = secured_server().await;
        let cipher = ends.wire.facts().unwrap().cipher;
        let others: Vec<&str> = CIPHERS.into_iter().filter(|name| *name != cipher).collect();
        let wire = &mut ends.wire;
        let (auto, kernel, relay) = (HandoffTls::Auto, HandoffTls::Kernel, HandoffTls::Relay);
        assert_eq!(wire.way(auto, &any()).await, Way::Kernel);
        assert_eq!(wire.way(kernel, &any()).await, Way::Kernel);
        assert_eq!(
            wire.way(relay, &any()).await,
            Way::Relay("the configuration says so")
        );
        assert_eq!(
            wire.way(kernel, &KernelTls::none()).await,
            Way::Relay("the kernel has no TLS")
        );
        assert_eq!(
            wire.way(auto, &KernelTls::assumed(&others)).await,
            Way::Relay("the kernel does not have this cipher")
        );
        // Without TLS there is nothing to decide.
        let mut plain = crate::tls_world::ends();
        assert_eq!(plain.wire.way(kernel, &any()).await, Way::Plain);
    });
}

async fn arrived(ends: &Ends, octets: usize) {
    let by = Instant::now() + Duration::from_secs(20);
    while ends.unread().len() < octets {
        assert!(Instant::now() < by);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Rules: C4, C6
#[test]
fn whatever_of_the_peers_is_there_already_keeps_a_session_out_of_the_kernel() {
    // Words, part of a record, the end of TLS.
    for what in ["words", "half a record", "the end"] {
        run(async {
            let (mut ends, mut peer) = secured_server().await;
            let octets = match what {
                "words" => peer.record("220 too early\r\n"),
                "the end" => peer.close_notify(),
                _ => {
                    let mut record = peer.record("220 me\r\n");
                    record.truncate(record.len() / 2);
                    record
                }
            };
            peer.send(&octets);
            arrived(&ends, octets.len()).await;
            let way = ends.wire.way(HandoffTls::Auto, &any()).await;
            assert!(matches!(way, Way::Relay(_)), "{what}: {way:?}");
            let uncommitted = ends.wire.into_kernel().await.unwrap_err();
            assert!(uncommitted.wire.is_some(), "{what}: {uncommitted}");
        });
    }
}

/// Rules: C4
#[test]
fn new_keys_at_the_turn_are_taken_and_answered_before_the_way_is_chosen() {
    run(async {
        let (mut ends, mut peer) = secured_server().await;
        let update = peer.key_update();
        peer.send(&update);
        arrived(&ends, update.len()).await;
        assert_eq!(ends.wire.way(HandoffTls::Auto, &any()).await, Way::Kernel);
        assert!(ends.unread().is_empty());
        goes_on(ends, peer).await;
    });
}

#[test]
fn a_kernel_without_tls_gives_the_session_back_unharmed() {
    if KernelTls::probe() != KernelTls::none() {
        // Then `in_a_kernel` shows what happens.
        return;
    }
    run(async {
        let (mut ends, peer) = secured_server_with(BOTH).await;
        // Believed to be able, and found not to be.
        assert_eq!(ends.wire.way(HandoffTls::Auto, &any()).await, Way::Kernel);
        let uncommitted = ends.wire.into_kernel().await.unwrap_err();
        ends.wire = uncommitted.wire.unwrap();
        goes_on(ends, peer).await;
    });
}
