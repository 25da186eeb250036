//! Lines under TLS: whatever way the records are cut, no octet of a later one is read, and every end is told apart.

use crate::tls_world::{
    Authority, BOTH, Ends, HOST, ONLY_12, Peer, ends, params, raw_client, run, secured_client,
    secured_server, secured_server_with, self_signed, server,
};
use proptest::prelude::*;
use std::io::{Read, Write};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};
use turnabout::tls::{TlsErrorKind, Version};
use turnabout::wire::{Relays, Wire, WireError};

async fn line(wire: &mut Wire) -> String {
    let line = timeout(Duration::from_secs(20), wire.line()).await.unwrap();
    let line = line.unwrap().unwrap();
    String::from_utf8(line.as_bytes().to_vec()).unwrap()
}

/// Waits until the kernel holds so many octets for the wire.
async fn arrived(ends: &Ends, octets: usize) {
    let by = Instant::now() + Duration::from_secs(20);
    while ends.unread().len() < octets {
        assert!(Instant::now() < by, "{} of {octets}", ends.unread().len());
        sleep(Duration::from_millis(2)).await;
    }
}

/// Rules: C6
#[test]
fn nothing_of_a_later_record_is_read() {
    run(async {
        let (mut ends, mut peer) = secured_server().await;
        let first = peer.record("EHLO a\r\n");
        let second = peer.record("ATRN\r\n");
        let third = peer.record("QUIT\r\n");
        peer.send(&[first, second.clone(), third.clone()].concat());
        assert_eq!(line(&mut ends.wire).await, "EHLO a");
        assert_eq!(ends.unread(), [second, third.clone()].concat());
        assert_eq!(line(&mut ends.wire).await, "ATRN");
        assert_eq!(ends.unread(), third);
        assert!(ends.wire.pending().await.unwrap());
        assert_eq!(line(&mut ends.wire).await, "QUIT");
        assert!(!ends.wire.pending().await.unwrap());
    });
}

/// Rules: C4, C6
#[test]
fn lines_in_one_record_come_one_by_one_and_the_rest_of_it_is_pending() {
    run(async {
        let (mut ends, mut peer) = secured_server().await;
        peer.say("EHLO a\r\nATRN\r\nMAIL FROM:<>\r\nhalf a l");
        assert_eq!(line(&mut ends.wire).await, "EHLO a");
        assert!(ends.wire.pending().await.unwrap());
        assert_eq!(line(&mut ends.wire).await, "ATRN");
        // All octets have left the kernel, and yet they are seen.
        assert!(ends.unread().is_empty());
        assert!(ends.wire.pending().await.unwrap());
        assert_eq!(line(&mut ends.wire).await, "MAIL FROM:<>");
        assert!(ends.wire.pending().await.unwrap());
        peer.say("ine\r\n");
        assert_eq!(line(&mut ends.wire).await, "half a line");
        assert!(!ends.wire.pending().await.unwrap());
    });
}

#[test]
fn a_line_may_come_in_many_records_and_octet_by_octet() {
    run(async {
        let (mut ends, mut peer) = secured_server().await;
        let mut records: Vec<u8> = Vec::new();
        for part in ["EH", "", "LO", " a", "\r", "\nNO", "OP\r\n"] {
            records.extend(peer.record(part));
        }
        let sender = std::thread::spawn(move || {
            for octet in records {
                peer.send(&[octet]);
            }
            peer
        });
        assert_eq!(line(&mut ends.wire).await, "EHLO a");
        assert_eq!(line(&mut ends.wire).await, "NOOP");
        assert!(!ends.wire.pending().await.unwrap());
        drop(sender.join().unwrap());
    });
}

/// A record is at most 16 KiB: the line reader's limit counts lines, not records.
/// Rules: C13
#[test]
fn a_line_that_is_too_long_is_told_once_under_tls_as_well() {
    run(async {
        let (mut ends, mut peer) = secured_server().await;
        let sender = std::thread::spawn(move || {
            peer.say(&"A".repeat(100_000));
            peer.say("\r\nNOOP\r\n");
            peer
        });
        let too_long = ends.wire.line().await.unwrap();
        assert_eq!(too_long, Err(turnabout::smtp::line::LineError::TooLong));
        assert_eq!(line(&mut ends.wire).await, "NOOP");
        drop(sender.join().unwrap());
    });
}

#[test]
fn waiting_for_a_line_under_tls_can_be_broken_off_without_loss() {
    run(async {
        let (mut ends, mut peer) = secured_server().await;
        let mut record = peer.record("EHLO");
        record.extend(peer.record(" a\r\n"));
        for part in record.chunks(7) {
            let waited = timeout(Duration::from_millis(5), ends.wire.line()).await;
            waited.unwrap_err();
            peer.send(part);
        }
        assert_eq!(line(&mut ends.wire).await, "EHLO a");
    });
}

/// Rules: C4, C5
#[test]
fn a_part_of_a_record_is_pending_when_its_rest_does_not_come() {
    run(async {
        for cut in [1, 4, 5, 6, 20] {
            let (mut ends, mut peer) = secured_server().await;
            let record = peer.record("MAIL FROM:<>\r\n");
            peer.send(&record[..cut]);
            arrived(&ends, cut).await;
            let asked = Instant::now();
            assert!(ends.wire.pending().await.unwrap(), "{cut}");
            assert!(asked.elapsed() < Duration::from_secs(10), "{cut}");
            // Nothing is lost by having looked.
            peer.send(&record[cut..]);
            assert_eq!(line(&mut ends.wire).await, "MAIL FROM:<>");
        }
    });
}

/// Rules: C4, C5
#[test]
fn a_part_of_a_record_is_waited_for_before_it_is_judged() {
    run(async {
        let (mut ends, mut peer) = secured_server().await;
        let update = peer.key_update();
        peer.send(&update[..7]);
        arrived(&ends, 7).await;
        let sender = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            peer.send(&update[7..]);
            peer
        });
        assert!(!ends.wire.pending().await.unwrap());
        let mut peer = sender.join().unwrap();
        assert!(ends.unread().is_empty());
        // With the new keys on that side the conversation goes on.
        peer.say("NOOP\r\n");
        assert_eq!(line(&mut ends.wire).await, "NOOP");
    });
}

#[test]
fn new_keys_of_the_peer_are_not_pending_and_are_answered() {
    run(async {
        let (mut ends, mut peer) = secured_server().await;
        let mut records = peer.key_update();
        records.extend(peer.key_update());
        peer.send(&records);
        arrived(&ends, records.len()).await;
        assert!(!ends.wire.pending().await.unwrap());
        assert!(ends.unread().is_empty());
        // The answer is on its way already, not kept for our next words.
        let mut head = [0; 5];
        let peeked = std::thread::spawn(move || {
            assert_eq!(peer.socket.peek(&mut head).unwrap(), 5);
            peer
        });
        let mut peer = peeked.join().unwrap();
        ends.wire.send(b"250 ok\r\n").await.unwrap();
        assert_eq!(peer.line(), "250 ok");
    });
}

#[test]
fn tickets_of_the_provider_are_not_pending() {
    run(async {
        let (mut ends, mut peer) = secured_client().await;
        // They came behind the handshake, and nothing else has.
        arrived(&ends, 100).await;
        assert!(!ends.wire.pending().await.unwrap());
        assert!(ends.unread().is_empty());
        peer.say("220 again?\r\n");
        arrived(&ends, 10).await;
        assert!(ends.wire.pending().await.unwrap());
    });
}

/// Rules: B56
#[test]
fn the_end_of_tls_is_told_from_a_connection_that_was_cut() {
    run(async {
        let (mut ends, mut peer) = secured_server().await;
        let mut octets = peer.record("QUIT\r\n");
        octets.extend(peer.close_notify());
        peer.send(&octets);
        assert_eq!(line(&mut ends.wire).await, "QUIT");
        assert!(!ends.wire.pending().await.unwrap());
        assert!(matches!(ends.wire.line().await, Err(WireError::Closed)));

        let (mut ends, mut peer) = secured_server().await;
        peer.say("QUIT\r\n");
        peer.socket.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(line(&mut ends.wire).await, "QUIT");
        assert!(matches!(ends.wire.line().await, Err(WireError::Truncated)));

        // In the middle of a record.
        let (mut ends, mut peer) = secured_server().await;
        let record = peer.record("QUIT\r\n");
        peer.send(&record[..9]);
        peer.socket.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(matches!(ends.wire.line().await, Err(WireError::Truncated)));
    });
}

/// Rules: B56
#[test]
fn closing_ends_tls_before_the_connection() {
    run(async {
        let (mut ends, mut peer) = secured_server().await;
        peer.say(&"nobody reads this\r\n".repeat(500));
        ends.wire.send(b"421 too many errors\r\n").await.unwrap();
        let reader = std::thread::spawn(move || peer.rest());
        ends.wire.close().await;
        let (said, end) = reader.join().unwrap();
        assert_eq!(said, "421 too many errors\r\n");
        end.unwrap();
    });
}

#[test]
fn a_damaged_record_ends_the_connection_with_its_reason() {
    run(async {
        let (mut ends, mut peer) = secured_server().await;
        let mut record = peer.record("QUIT\r\n");
        *record.last_mut().unwrap() ^= 1;
        peer.send(&record);
        let error = ends.wire.line().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "TLS failed: a record from the peer was damaged on its way"
        );
        assert!(ends.wire.send(b"250 ok\r\n").await.is_err());
    });
}

#[test]
fn octets_that_are_no_record_end_the_connection_with_their_reason() {
    run(async {
        let (mut ends, mut peer) = secured_client().await;
        let mut damaged = peer.record("220 me\r\n");
        drop(peer.tls);
        damaged[0] = 99;
        peer.socket.write_all(&damaged).unwrap();
        let error = ends.wire.line().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "TLS failed: what the peer sent is not TLS (is this port for TLS from the first octet?)"
        );
    });
}

/// Rules: C1
#[test]
fn a_command_in_the_clear_behind_starttls_is_never_read_inside_tls() {
    run(async {
        let issued = self_signed(&params(&[HOST]));
        let Ends {
            mut wire, mut peer, ..
        } = ends();
        let mut client = Peer::client(
            peer.try_clone().unwrap(),
            raw_client(&issued.der, BOTH),
            HOST,
        );
        let mut hello = b"STARTTLS\r\nRSET\r\n".to_vec();
        client.tls.write_tls(&mut hello).unwrap();
        peer.write_all(&hello).unwrap();
        assert_eq!(line(&mut wire).await, "STARTTLS");
        // The driver stops here. Should it go on, there is no TLS and no RSET.
        assert!(wire.pending().await.unwrap());
        let error = wire.accept_tls(&server(&issued)).await.unwrap_err();
        assert_eq!(error.kind(), TlsErrorKind::Handshake);
        assert_eq!(
            error.to_string(),
            "cannot begin TLS: what the peer sent is not TLS (is this port for TLS from the first octet?)"
        );
        assert!(matches!(wire.line().await, Err(WireError::Closed)));
        assert!(matches!(wire.pending().await, Err(WireError::Closed)));
        assert!(matches!(
            wire.send(b"250 ok\r\n").await,
            Err(WireError::Closed)
        ));
        assert!(matches!(
            wire.release(&Relays::default()).await,
            Err(WireError::Closed)
        ));
    });
}

/// Rules: C2
#[test]
fn a_reply_in_the_clear_behind_the_220_is_never_read_inside_tls() {
    run(async {
        let (client, _files) = Authority::new().client();
        let Ends {
            mut wire, mut peer, ..
        } = ends();
        peer.write_all(b"220 go ahead\r\n250 injected\r\n").unwrap();
        assert_eq!(line(&mut wire).await, "220 go ahead");
        assert!(wire.pending().await.unwrap());
        let error = wire.connect_tls(&client, HOST).await.unwrap_err();
        assert_eq!(error.kind(), TlsErrorKind::Handshake);
        assert!(matches!(wire.line().await, Err(WireError::Closed)));
    });
}

/// Rules: C12
#[test]
fn a_stalled_handshake_can_be_broken_off_and_the_peer_sees_the_end() {
    run(async {
        let tls = server(&self_signed(&params(&[HOST])));
        for sent in [
            &b""[..],
            b"\x16",
            b"\x16\x03\x01\x02\x00",
            b"\x16\x03\x01\x02\x00\x01",
        ] {
            let Ends {
                mut wire,
                mut peer,
                watch,
            } = ends();
            drop(watch);
            peer.write_all(sent).unwrap();
            let waited = timeout(Duration::from_millis(50), wire.accept_tls(&tls)).await;
            waited.unwrap_err();
            assert!(matches!(wire.line().await, Err(WireError::Closed)));
            // Once more is no harm.
            assert!(wire.accept_tls(&tls).await.is_err());
            wire.close().await;
            assert_eq!(peer.read(&mut [0; 10]).unwrap_or(0), 0);
        }
    });
}

#[test]
fn a_peer_that_leaves_during_the_handshake_is_told_apart() {
    run(async {
        let tls = server(&self_signed(&params(&[HOST])));
        let Ends { mut wire, peer, .. } = ends();
        drop(peer);
        let error = wire.accept_tls(&tls).await.unwrap_err();
        assert_eq!(error.kind(), TlsErrorKind::Lost);
        assert_eq!(
            error.to_string(),
            "cannot begin TLS: the peer closed the connection during the handshake (try later)"
        );
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Records of any type, length and content where a handshake should begin, then one of a type that does not exist:
    /// what stands behind that one is nobody's business.
    /// Rules: C6
    #[test]
    fn whatever_octets_come_none_is_read_beyond_the_record_that_ends_the_handshake(
        records in proptest::collection::vec(
            (prop_oneof![4 => Just(22_u8), 1 => 20..25_u8, 1 => any::<u8>()],
             prop_oneof![4 => Just(1_u8), 1 => any::<u8>()],
             proptest::collection::vec(any::<u8>(), 0..300)),
            1..5),
        behind in 1..400_usize,
    ) {
        let mut octets = Vec::new();
        // Where a reader may stop: behind a head, and behind a record.
        let mut stops = Vec::new();
        for (kind, first, body) in records.into_iter().chain([(99, 0, vec![0; 30])]) {
            let length = u16::try_from(body.len() + 1).unwrap().to_be_bytes();
            octets.extend([kind, 3, 1, length[0], length[1]]);
            stops.push(octets.len());
            octets.push(first);
            octets.extend(body);
            stops.push(octets.len());
        }
        octets.extend(vec![22; behind]);
        run(async {
            let mut ends = ends();
            ends.peer.write_all(&octets).unwrap();
            ends.peer.shutdown(std::net::Shutdown::Write).unwrap();
            arrived(&ends, octets.len()).await;
            let tls = shared_server();
            let accepted = timeout(Duration::from_secs(20), ends.wire.accept_tls(tls)).await;
            assert!(accepted.unwrap().is_err());
            let read = octets.len() - ends.unread().len();
            assert!(stops.contains(&read), "{read} of {octets:?}");
        });
    }
}

fn shared_server() -> &'static turnabout::tls::ServerTls {
    static SERVER: std::sync::OnceLock<turnabout::tls::ServerTls> = std::sync::OnceLock::new();
    SERVER.get_or_init(|| server(&self_signed(&params(&[HOST]))))
}

/// Rules: B72
#[test]
fn both_ends_know_the_same_facts_and_the_same_binding() {
    run(async {
        let (ends, peer) = secured_server().await;
        let facts = ends.wire.facts().unwrap();
        assert_eq!(facts.version, Version::Tls13);
        assert_eq!(facts.to_string(), "TLS1.3 TLS_AES_256_GCM_SHA384");
        assert_eq!(facts.server_name.as_deref(), Some(HOST));
        assert!(facts.peer.is_none());
        let theirs = exported(&peer);
        assert_eq!(facts.binding.as_ref().unwrap().0, theirs);

        let (ends, peer) = secured_client().await;
        let facts = ends.wire.facts().unwrap();
        assert_eq!(facts.server_name.as_deref(), Some(HOST));
        let shown = facts.peer.as_ref().unwrap();
        assert!(shown.trusted);
        assert_eq!(facts.binding.as_ref().unwrap().0, exported(&peer));
        assert_ne!(exported(&peer), theirs);
    });
}

/// RFC 9266: the label, no context, 32 octets.
fn exported(peer: &Peer) -> [u8; 32] {
    peer.tls
        .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""))
        .unwrap()
}

/// Rules: B72, B73
#[test]
fn there_is_no_binding_under_tls_1_2() {
    run(async {
        let (mut ends, mut peer) = secured_server_with(ONLY_12).await;
        let facts = ends.wire.facts().unwrap();
        assert_eq!(facts.version, Version::Tls12);
        assert!(
            facts.to_string().starts_with("TLS1.2 TLS_ECDHE_"),
            "{facts}"
        );
        assert!(facts.binding.is_none());
        // And all the same it carries lines, record by record.
        let second = {
            let first = peer.record("EHLO a\r\n");
            let second = peer.record("QUIT\r\n");
            peer.send(&[first, second.clone()].concat());
            second
        };
        assert_eq!(line(&mut ends.wire).await, "EHLO a");
        assert_eq!(ends.unread(), second);
        assert_eq!(line(&mut ends.wire).await, "QUIT");
    });
}

#[test]
fn without_tls_there_are_no_facts() {
    run(async {
        assert!(ends().wire.facts().is_none());
    });
}
