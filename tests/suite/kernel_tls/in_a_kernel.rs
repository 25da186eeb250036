//! With the kernel's own TLS: a session moves there, and whoever holds the socket then speaks TLS without knowing.

use super::{CIPHERS, only};
use crate::tls_world::{Ends, HOST, Peer, ends, params, self_signed, server};
use nix::sys::socket::{MsgFlags, recv};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;
use turnabout::handoff::exec::Exec;
use turnabout::tls::HandoffTls;
use turnabout::wire::{Carriage, KernelTls, Relays, Released, Way};

/// What this kernel can carry; tells the log where that is nothing.
fn kernel() -> Option<KernelTls> {
    let support = KernelTls::probe();
    if support == KernelTls::none() {
        println!("SKIPPED: this kernel has no TLS (modprobe tls); nothing is shown here");
        return None;
    }
    Some(support)
}

/// A wire that is a server, and a client, with this cipher.
async fn secured(cipher: &str) -> (Ends, Peer) {
    let issued = self_signed(&params(&[HOST]));
    let mut ends = ends();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(issued.der.clone()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(only(cipher))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut peer = Peer::client(ends.peer.try_clone().unwrap(), config, HOST);
    let peer = std::thread::spawn(move || {
        peer.handshake().unwrap();
        peer
    });
    ends.wire.accept_tls(&server(&issued)).await.unwrap();
    (ends, peer.join().unwrap())
}

/// In the kernel, and let go of.
async fn released(cipher: &str) -> (Released, Peer) {
    let (ends, peer) = secured(cipher).await;
    let wire = ends.wire.into_kernel().await.unwrap();
    let released = wire.release(&Relays::default()).await.unwrap();
    assert!(matches!(released.carriage(), Carriage::Kernel));
    (released, peer)
}

fn decrypt_errors() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/net/tls_stat").ok()?;
    let line = stat
        .lines()
        .find(|line| line.starts_with("TlsDecryptError"))?;
    line.split_whitespace().last()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_there_with_each_cipher_and_its_words_come_octet_by_octet() {
    let Some(support) = kernel() else { return };
    let errors = decrypt_errors();
    for cipher in CIPHERS {
        assert!(support.carries(cipher), "{cipher}");
        let (mut ends, mut peer) = secured(cipher).await;
        // There is a past: words, and new keys.
        peer.say("EHLO a\r\n");
        assert_eq!(
            ends.wire.line().await.unwrap().unwrap().as_bytes(),
            b"EHLO a"
        );
        let update = peer.key_update();
        peer.send(&update);
        peer.say("ATRN\r\n");
        assert_eq!(ends.wire.line().await.unwrap().unwrap().as_bytes(), b"ATRN");
        assert_eq!(ends.wire.way(HandoffTls::Auto, &support).await, Way::Kernel);
        let mut wire = ends.wire.into_kernel().await.unwrap();
        assert_eq!(wire.way(HandoffTls::Relay, &support).await, Way::Kernel);
        wire.send(b"250 turning\r\n").await.unwrap();
        assert_eq!(peer.line(), "250 turning");
        // Three lines in one record, and part of a fourth.
        peer.say("220-me\r\n220 really\r\n250 extra\r\nhalf a");
        assert_eq!(wire.line().await.unwrap().unwrap().as_bytes(), b"220-me");
        assert_eq!(
            wire.line().await.unwrap().unwrap().as_bytes(),
            b"220 really"
        );
        assert!(wire.pending().await.unwrap());
        let released = wire.release(&Relays::default()).await.unwrap();
        assert!(!released.control_record());
        // The rest is for whoever has the socket then, and it is a blocking one.
        let mut mail_server = TcpStream::from(released.as_fd().try_clone_to_owned().unwrap());
        peer.say(" line\r\n");
        let mut heard = [0; 24];
        mail_server.read_exact(&mut heard[..23]).unwrap();
        assert_eq!(&heard[..23], b"250 extra\r\nhalf a line\r");
        mail_server.read_exact(&mut heard[..1]).unwrap();
        // Many records each way.
        let many = "m".repeat(300_000).into_bytes();
        let sent = many.clone();
        let mut writing = mail_server.try_clone().unwrap();
        let writer = std::thread::spawn(move || writing.write_all(&sent).unwrap());
        let mut heard = vec![0; many.len()];
        peer.read_exact(&mut heard).unwrap();
        assert!(heard == many);
        writer.join().unwrap();
        let sender = std::thread::spawn(move || {
            for _ in 0..30 {
                peer.say(&"n".repeat(10_000));
            }
            peer
        });
        mail_server.read_exact(&mut heard).unwrap();
        assert!(heard.iter().all(|octet| *octet == b'n'));
        let mut peer = sender.join().unwrap();
        drop(mail_server);
        released.close().await;
        let (rest, end) = peer.rest();
        assert_eq!(rest, "");
        end.unwrap();
    }
    assert_eq!(decrypt_errors(), errors);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_ours_goes_there_too_after_the_tickets_of_its_server() {
    let Some(support) = kernel() else { return };
    let (mut ends, mut peer) = crate::tls_world::secured_client().await;
    peer.say("250 turning\r\n");
    assert_eq!(
        ends.wire.line().await.unwrap().unwrap().as_bytes(),
        b"250 turning"
    );
    assert_eq!(ends.wire.way(HandoffTls::Auto, &support).await, Way::Kernel);
    let mut wire = ends.wire.into_kernel().await.unwrap();
    wire.send(b"220 me\r\n").await.unwrap();
    assert_eq!(peer.line(), "220 me");
    peer.say("EHLO you\r\n");
    assert_eq!(wire.line().await.unwrap().unwrap().as_bytes(), b"EHLO you");
    wire.close().await;
    peer.rest().1.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_no_mail_server_can_read_is_seen_and_the_end_of_tls_is_none() {
    if kernel().is_none() {
        return;
    }
    for (what, control) in [
        ("new keys", true),
        ("an alert", true),
        ("the end", false),
        ("words", false),
    ] {
        let (released, mut peer) = released(CIPHERS[0]).await;
        assert!(!released.control_record(), "nothing has come");
        let octets = match what {
            "new keys" => peer.key_update(),
            "words" => peer.record("220 me\r\n"),
            "the end" => peer.close_notify(),
            _ => {
                // A record from the middle of nowhere: it says so in an alert and ends.
                let mut forged = released
                    .as_fd()
                    .try_clone_to_owned()
                    .map(TcpStream::from)
                    .unwrap();
                forged.write_all(b"x").unwrap();
                peer.tls.read_tls(&mut BadRecord(&mut peer.socket)).unwrap();
                peer.tls.process_new_packets().unwrap_err();
                let mut octets = Vec::new();
                while peer.tls.wants_write() {
                    peer.tls.write_tls(&mut octets).unwrap();
                }
                octets
            }
        };
        peer.send(&octets);
        wait_for_octets(&released);
        let fd = released.as_fd().as_raw_fd();
        if what != "words" {
            // As the mail server sees it, which says nothing of records.
            let seen = recv(fd, &mut [0; 100], MsgFlags::MSG_DONTWAIT);
            assert_eq!(seen, Err(nix::errno::Errno::EIO), "{what}");
        }
        assert_eq!(released.control_record(), control, "{what}");
        // It was looked at only.
        assert_eq!(released.control_record(), control, "{what}");
        if what == "words" {
            let mut heard = [0; 100];
            assert_eq!(recv(fd, &mut heard, MsgFlags::MSG_DONTWAIT), Ok(8));
            assert_eq!(&heard[..8], b"220 me\r\n");
        }
        released.close().await;
    }
}

/// Spoils the last octet of what it reads.
struct BadRecord<'a>(&'a mut TcpStream);

impl Read for BadRecord<'_> {
    fn read(&mut self, octets: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read(octets)?;
        octets[count - 1] ^= 1;
        Ok(count)
    }
}

fn wait_for_octets(released: &Released) {
    let mut asked = [nix::poll::PollFd::new(
        released.as_fd(),
        nix::poll::PollFlags::POLLIN,
    )];
    assert_eq!(nix::poll::poll(&mut asked, 10_000_u16), Ok(1));
}

/// Rules: B56
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_command_has_ended_the_peer_sees_the_end_of_tls() {
    if kernel().is_none() {
        return;
    }
    for ends_well in [true, false] {
        let (released, mut peer) = released(CIPHERS[1]).await;
        let script = if ends_well {
            "echo 220 me; read quit; echo 221 bye"
        } else {
            "echo 220 me; read quit; exit 3"
        };
        let command = ["/bin/sh", "-c", script].map(str::to_owned);
        let exec = Exec::new(&command, None, None).unwrap();
        let running = exec.prepare(false).unwrap().commit(released).unwrap();
        let peer = std::thread::spawn(move || {
            let mut said = String::new();
            said.push_str(&{
                let mut line = [0; 7];
                peer.read_exact(&mut line).unwrap();
                String::from_utf8(line.to_vec()).unwrap()
            });
            peer.say("QUIT\n");
            // Its own end comes at once, as some clients do it: that must not reset the connection.
            let end = peer.close_notify();
            peer.send(&end);
            let (rest, end) = peer.rest();
            (said + &rest, end)
        });
        let over = running.wait().await;
        assert_eq!(over.child.is_ok(), ends_well);
        assert!(!over.control_record && over.relay.is_none());
        let (said, end) = peer.join().unwrap();
        end.unwrap();
        assert_eq!(
            said,
            if ends_well {
                "220 me\n221 bye\n"
            } else {
                "220 me\n"
            }
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_keys_in_the_middle_of_a_command_are_told_afterwards() {
    if kernel().is_none() {
        return;
    }
    let (released, mut peer) = released(CIPHERS[2]).await;
    let command = ["/bin/sh", "-c", "read line; read line; exit 1"].map(str::to_owned);
    let exec = Exec::new(&command, None, None).unwrap();
    let running = exec.prepare(false).unwrap().commit(released).unwrap();
    peer.say("MAIL\n");
    let update = peer.key_update();
    peer.send(&update);
    let over = tokio::time::timeout(Duration::from_secs(20), running.wait())
        .await
        .unwrap();
    assert!(over.control_record && over.child.is_err());
}

/// Somebody has closed the socket without a word, as a mail server with the only descriptor does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_descriptor_of_ours_the_last_words_arrive_and_the_end_of_tls_does_not() {
    if kernel().is_none() {
        return;
    }
    let (released, mut peer) = released(CIPHERS[0]).await;
    let mut mail_server = TcpStream::from(released.into_fd());
    mail_server.write_all(b"221 bye\r\n").unwrap();
    drop(mail_server);
    let (said, end) = peer.rest();
    assert_eq!(said, "221 bye\r\n");
    assert_eq!(end.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    peer.socket.shutdown(Shutdown::Both).unwrap_or_default();
}
