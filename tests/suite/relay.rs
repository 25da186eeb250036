//! The relay between a peer under TLS and a mail server: what comes through, how it ends, and what it costs.

use crate::driver::until;
use crate::tls_world::{BOTH, ONLY_12, Peer, secured_server_with};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use turnabout::wire::{Carriage, RelayEnd, RelayView, Relays, Released};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A peer under TLS, a mail server's end of the relay, and the view of it.
struct Relayed {
    peer: Peer,
    mail_server: UnixStream,
    view: RelayView,
    /// A second descriptor of the relay's TCP socket, to set its options.
    socket: std::net::TcpStream,
}

async fn relayed(relays: &Relays) -> Relayed {
    relayed_with(relays, BOTH).await
}

async fn relayed_with(
    relays: &Relays,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Relayed {
    let (ends, peer) = secured_server_with(versions).await;
    let released = ends.wire.release(relays).await.unwrap();
    let (mail_server, view) = taken(released);
    Relayed {
        peer,
        mail_server,
        view,
        socket: ends.watch,
    }
}

/// As a mail server gets it.
fn taken(released: Released) -> (UnixStream, RelayView) {
    let Carriage::Relay(view) = released.carriage().clone() else {
        panic!("not a relay: {:?}", released.carriage());
    };
    let mail_server = UnixStream::from(released.into_fd());
    mail_server.set_read_timeout(Some(PATIENCE)).unwrap();
    mail_server.set_write_timeout(Some(PATIENCE)).unwrap();
    (mail_server, view)
}

fn relays() -> Relays {
    Relays::default()
}

/// Octets of every kind, the same for the same seed.
fn octets(seed: u32, count: usize) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(count)
    .collect()
}

async fn ended(view: &RelayView) -> RelayEnd {
    tokio::time::timeout(PATIENCE, view.ended()).await.unwrap()
}

fn read_to_end(stream: &mut UnixStream) -> Vec<u8> {
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets).unwrap();
    octets
}

/// Reads what the peer's TLS brings, to its end; a peer that reads and writes at the same time needs two threads and
/// one TLS, so this one writes what it has in between.
fn exchange(peer: &mut Peer, said: &[u8]) -> Vec<u8> {
    peer.socket.set_nonblocking(true).unwrap();
    let mut heard = Vec::new();
    let (mut written, mut closed) = (0, false);
    let by = Instant::now() + PATIENCE;
    loop {
        assert!(
            Instant::now() < by,
            "{} heard, {written} written",
            heard.len()
        );
        if written < said.len() && !peer.tls.wants_write() {
            let part = &said[written..said.len().min(written + 16_000)];
            written += peer.tls.writer().write(part).unwrap();
        } else if written == said.len() && !closed {
            peer.tls.send_close_notify();
            closed = true;
        }
        let mut moved = false;
        while peer.tls.wants_write() {
            match peer.tls.write_tls(&mut peer.socket) {
                Ok(_) => moved = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        match peer.tls.read_tls(&mut peer.socket) {
            Ok(_) => moved = true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
        peer.tls.process_new_packets().unwrap();
        match peer.tls.reader().read_to_end(&mut heard) {
            Ok(_) if closed && !peer.tls.wants_write() => return heard,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
        if !moved {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Rules: C7, B56
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_octet_passes_unchanged_both_ways_at_once() {
    for versions in [BOTH, ONLY_12] {
        let relays = relays();
        let Relayed {
            mut peer,
            mail_server,
            view,
            ..
        } = relayed_with(&relays, versions).await;
        let (to_peer, to_server) = (octets(1, 3_000_000), octets(2, 2_500_000));
        let mut reading = mail_server.try_clone().unwrap();
        let mut writing = mail_server;
        let (expected, sent) = (to_server.clone(), to_peer.clone());
        let reader = std::thread::spawn(move || assert!(read_to_end(&mut reading) == expected));
        let writer = std::thread::spawn(move || {
            // In pieces of many sizes.
            let mut rest = sent.as_slice();
            for size in (1..).map(|step| step * 37 % 9001 + 1) {
                let (piece, later) = rest.split_at(size.min(rest.len()));
                writing.write_all(piece).unwrap();
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            writing.shutdown(Shutdown::Write).unwrap();
        });
        assert!(exchange(&mut peer, &to_server) == to_peer);
        reader.join().unwrap();
        writer.join().unwrap();
        assert_eq!(ended(&view).await, RelayEnd::Closed);
        assert_eq!((view.received(), view.sent()), (2_500_000, 3_000_000));
        assert!(!view.is_open());
    }
}

/// Rules: C7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_tls_has_read_and_nobody_has_taken_goes_to_the_mail_server_first() {
    let (mut ends, mut peer) = secured_server_with(BOTH).await;
    peer.say("ATRN\r\nMAIL FROM:<>\r\n");
    assert_eq!(ends.wire.line().await.unwrap().unwrap().as_bytes(), b"ATRN");
    let released = ends.wire.release(&relays()).await.unwrap();
    let (mut mail_server, _) = taken(released);
    peer.say("RCPT");
    let mut heard = vec![0; 18];
    mail_server.read_exact(&mut heard).unwrap();
    assert_eq!(heard, b"MAIL FROM:<>\r\nRCPT");
}

/// Rules: C7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_words_to_and_fro_are_not_delayed() {
    let mut relayed = relayed(&relays()).await;
    let began = Instant::now();
    for _ in 0..200 {
        relayed.peer.say("NOOP\r\n");
        let mut heard = [0; 6];
        relayed.mail_server.read_exact(&mut heard).unwrap();
        relayed.mail_server.write_all(b"250 ok\r\n").unwrap();
        assert_eq!(relayed.peer.line(), "250 ok");
    }
    // One delayed acknowledgement each would be 8 s.
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    assert!(relayed.view.quiet() < Duration::from_secs(1));
}

/// Rules: C7, B56
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_peer_closes_its_half_the_mail_server_can_still_answer() {
    let mut relayed = relayed(&relays()).await;
    relayed.peer.say("last words");
    let end = relayed.peer.close_notify();
    relayed.peer.send(&end);
    assert_eq!(read_to_end(&mut relayed.mail_server), b"last words");
    assert!(!relayed.view.is_open());
    relayed.mail_server.write_all(b"and the answer").unwrap();
    drop(relayed.mail_server);
    let (heard, end) = relayed.peer.rest();
    assert_eq!(heard, "and the answer");
    end.unwrap();
    assert_eq!(ended(&relayed.view).await, RelayEnd::Closed);
}

/// Rules: C7, B56
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_mail_server_closes_its_half_the_peer_can_still_answer() {
    let mut relayed = relayed(&relays()).await;
    relayed.mail_server.write_all(b"last words").unwrap();
    relayed.mail_server.shutdown(Shutdown::Write).unwrap();
    let (heard, end) = relayed.peer.rest();
    assert_eq!(heard, "last words");
    // The end of TLS, not only of the connection.
    end.unwrap();
    assert!(!relayed.view.is_open());
    std::thread::sleep(Duration::from_millis(700));
    relayed.peer.say("and the answer");
    let end = relayed.peer.close_notify();
    relayed.peer.send(&end);
    assert_eq!(read_to_end(&mut relayed.mail_server), b"and the answer");
    assert_eq!(ended(&relayed.view).await, RelayEnd::Closed);
}

/// Rules: C7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_reply_arrives_whole_although_the_mail_server_has_closed_at_once() {
    let mut relayed = relayed(&relays()).await;
    let before = "250-".to_owned() + &"x".repeat(300_000) + "\r\n";
    let mut said = before.clone().into_bytes();
    said.extend(b"221 2.0.0 bye\r\n");
    let mut mail_server = relayed.mail_server;
    let writer = std::thread::spawn(move || {
        mail_server.write_all(&said).unwrap();
        drop(mail_server);
    });
    // The peer takes its time, and says things that nobody hears any more.
    std::thread::sleep(Duration::from_millis(300));
    for _ in 0..20 {
        relayed.peer.say("RSET\r\n");
    }
    let (heard, end) = relayed.peer.rest();
    assert!(heard == before + "221 2.0.0 bye\r\n", "{}", heard.len());
    end.unwrap();
    writer.join().unwrap();
    drop(relayed.peer);
    assert_eq!(ended(&relayed.view).await, RelayEnd::Closed);
}

/// Exim waits for the close of a client to which it has said 221.
/// Rules: C7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_221_to_quit_both_sides_are_closed_although_neither_has_begun() {
    let mut relayed = relayed(&relays()).await;
    relayed.peer.say("QUIT\r\n");
    let mut quit = [0; 6];
    relayed.mail_server.read_exact(&mut quit).unwrap();
    let began = Instant::now();
    relayed.mail_server.write_all(b"221 bye\r\n").unwrap();
    assert_eq!(read_to_end(&mut relayed.mail_server), b"");
    let (heard, end) = relayed.peer.rest();
    assert_eq!(heard, "221 bye\r\n");
    end.unwrap();
    assert!(
        began.elapsed() < Duration::from_millis(150),
        "{:?}",
        began.elapsed()
    );
    drop(relayed.peer);
    assert_eq!(ended(&relayed.view).await, RelayEnd::Closed);
}

/// Rules: C7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_221_from_the_peer_both_sides_are_closed_too() {
    let mut relayed = relayed(&relays()).await;
    relayed.mail_server.write_all(b"QUIT\r\n").unwrap();
    assert_eq!(relayed.peer.line(), "QUIT");
    relayed.peer.say("221 bye\r\n");
    assert_eq!(read_to_end(&mut relayed.mail_server), b"221 bye\r\n");
    let (heard, end) = relayed.peer.rest();
    assert_eq!(heard, "");
    end.unwrap();
    // A kernel that does TLS for somebody ends so: without the end of TLS. After 221 that is nothing.
    relayed.peer.socket.shutdown(Shutdown::Both).unwrap();
    assert_eq!(ended(&relayed.view).await, RelayEnd::Closed);
}

/// Rules: C7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_without_close_notify_is_a_loss_and_the_mail_server_hears_no_more() {
    let mut relayed = relayed(&relays()).await;
    relayed.peer.say("DATA\r\nhalf a message");
    relayed.peer.socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(
        read_to_end(&mut relayed.mail_server),
        b"DATA\r\nhalf a message"
    );
    let RelayEnd::Lost(why) = ended(&relayed.view).await else {
        panic!("taken for an end in good order");
    };
    assert!(why.contains("without close_notify"), "{why}");
    // Both ways: it cannot even answer.
    let error = relayed.mail_server.write_all(b"354 go on").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

/// Rules: C7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_and_a_forged_record_are_losses_too() {
    for forged in [false, true] {
        let mut relayed = relayed(&relays()).await;
        relayed.peer.say("DATA\r\nhalf");
        if forged {
            let mut record = relayed.peer.record(" a message\r\n.\r\n");
            *record.last_mut().unwrap() ^= 1;
            relayed.peer.send(&record);
        } else {
            let mut heard = [0; 10];
            relayed.mail_server.read_exact(&mut heard).unwrap();
            let socket = socket2::SockRef::from(&relayed.peer.socket);
            socket.set_linger(Some(Duration::ZERO)).unwrap();
            drop(relayed.peer);
        }
        let heard = read_to_end(&mut relayed.mail_server);
        assert!(!heard.ends_with(b".\r\n"));
        assert!(
            matches!(ended(&relayed.view).await, RelayEnd::Lost(_)),
            "{forged}"
        );
    }
}

/// Rules: C7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_on_which_nothing_moves_is_closed_and_one_that_moves_a_little_is_not() {
    let idle = Duration::from_millis(600);
    let mut relayed = relayed(&Relays::new(idle)).await;
    let began = Instant::now();
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(200));
        relayed.peer.say("x");
        relayed.mail_server.read_exact(&mut [0]).unwrap();
    }
    assert!(relayed.view.is_open() && began.elapsed() > idle * 2);
    assert_eq!(read_to_end(&mut relayed.mail_server), b"");
    assert_eq!(ended(&relayed.view).await, RelayEnd::Idle(idle));
    // Not in good order: what the mail server wanted to say may be missing.
    relayed.peer.rest().1.unwrap_err();
}

/// How much can be written before nothing moves for a while.
fn fill(mut write: impl FnMut(&[u8]) -> std::io::Result<usize>) -> usize {
    let mut written = 0;
    let mut stuck = 0;
    while stuck < 25 {
        match write(&octets(3, 8192)) {
            Ok(count) => {
                written += count;
                stuck = 0;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                stuck += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => panic!("{error}"),
        }
        assert!(written < 8 << 20, "no end of it");
    }
    written
}

/// Rules: C7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_stops_the_mail_server_and_loses_nothing() {
    let mut relayed = relayed(&relays()).await;
    for socket in [&relayed.socket, &relayed.peer.socket] {
        let socket = socket2::SockRef::from(socket);
        socket.set_send_buffer_size(16 * 1024).unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
    }
    relayed.mail_server.set_nonblocking(true).unwrap();
    let written = fill(|octets| relayed.mail_server.write(octets));
    // What the kernel holds in both sockets, and twice 64 KiB: in the relay and in TLS.
    assert!(written < 1 << 20, "{written}");
    drop(relayed.mail_server);
    let mut heard = Vec::new();
    relayed.peer.read_to_end(&mut heard).unwrap();
    assert_eq!(heard.len(), written);
}

/// Rules: C7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_server_that_does_not_read_stops_the_peer_and_loses_nothing() {
    let mut relayed = relayed(&relays()).await;
    for socket in [&relayed.socket, &relayed.peer.socket] {
        let socket = socket2::SockRef::from(socket);
        socket.set_send_buffer_size(16 * 1024).unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
    }
    relayed.peer.socket.set_nonblocking(true).unwrap();
    let Peer { socket, tls } = &mut relayed.peer;
    let written = fill(|octets| {
        if !tls.wants_write() {
            assert_eq!(tls.writer().write(octets).unwrap(), octets.len());
            tls.write_tls(socket)?;
            return Ok(octets.len());
        }
        tls.write_tls(socket)?;
        Ok(0)
    });
    assert!(written < 1 << 20, "{written}");
    let mut mail_server = relayed.mail_server;
    let reader = std::thread::spawn(move || read_to_end(&mut mail_server).len());
    socket.set_nonblocking(false).unwrap();
    tls.send_close_notify();
    while tls.wants_write() {
        tls.write_tls(socket).unwrap();
    }
    // What was written when the socket was full may have been counted or not.
    let heard = reader.join().unwrap();
    assert!(
        heard == written || heard == written + 8192,
        "{heard} {written}"
    );
}

/// Rules: B46
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starttls_in_the_mail_servers_offer_is_noticed_and_passes_unchanged() {
    for (offer, noticed) in [
        ("250-me\r\n250-STARTTLS\r\n250 SIZE\r\n", true),
        ("250-me\r\n250 SIZE\r\n", false),
    ] {
        let mut relayed = relayed(&relays()).await;
        relayed.mail_server.write_all(b"220 me\r\n").unwrap();
        assert_eq!(relayed.peer.line(), "220 me");
        relayed.peer.say("EHLO you\r\n");
        let mut asked = [0; 10];
        relayed.mail_server.read_exact(&mut asked).unwrap();
        relayed.mail_server.write_all(offer.as_bytes()).unwrap();
        for line in offer.lines() {
            assert_eq!(relayed.peer.line(), line);
        }
        if noticed {
            // The peer may have it a moment before the relay has thought about it.
            until("the notice", || {
                relayed.view.starttls_offered().then_some(())
            });
        }
        // Whatever was noticed is there when the next word has passed.
        relayed.peer.say("QUIT\r\n");
        let mut asked = [0; 6];
        relayed.mail_server.read_exact(&mut asked).unwrap();
        assert_eq!(relayed.view.starttls_offered(), noticed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_to_end_can_wait_for_its_relays() {
    let relays = relays();
    assert_eq!(relays.running(), 0);
    relays.ended().await;
    let one = relayed(&relays).await;
    let other = relayed(&relays).await;
    assert_eq!(relays.running(), 2);
    let waiting = tokio::spawn({
        let relays = relays.clone();
        async move { relays.ended().await }
    });
    drop(one.mail_server);
    drop(one.peer);
    ended(&one.view).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(relays.running(), 1);
    assert!(!waiting.is_finished());
    drop(other.mail_server);
    drop(other.peer);
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(relays.running(), 0);
}

/// Postfix's copy may be closed while ours is open: then the peer's close is the end of the session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_peers_close_is_seen_from_outside_while_the_mail_servers_end_is_held() {
    let mut relayed = relayed(&relays()).await;
    let held = relayed.mail_server.try_clone().unwrap();
    relayed.mail_server.write_all(b"QUIT\r\n").unwrap();
    drop(relayed.mail_server);
    assert_eq!(relayed.peer.line(), "QUIT");
    assert!(relayed.view.is_open());
    let end = relayed.peer.close_notify();
    relayed.peer.send(&end);
    let by = Instant::now() + PATIENCE;
    while relayed.view.is_open() {
        assert!(Instant::now() < by);
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(held);
    relayed.peer.rest().1.unwrap();
    assert_eq!(ended(&relayed.view).await, RelayEnd::Closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_released_tells_the_true_addresses_and_the_cipher() {
    let (ends, peer) = secured_server_with(BOTH).await;
    let released = ends.wire.release(&relays()).await.unwrap();
    assert_eq!(released.peer(), peer.socket.local_addr().unwrap());
    assert_eq!(released.local(), peer.socket.peer_addr().unwrap());
    assert_eq!(released.carriage().name(), "relay");
    assert!(released.tls().unwrap().cipher.starts_with("TLS_"));
    assert!(!released.control_record());
    // Nobody takes it: the peer sees an end in good order.
    drop(released);
    let mut peer = peer;
    let (heard, end) = peer.rest();
    assert_eq!(heard, "");
    end.unwrap();
}
