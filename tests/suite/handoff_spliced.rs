//! Two TCP connections that the kernel joins with splice(2).

use crate::driver::until;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use turnabout::smtp::ReplyReader;
use turnabout::wire::{Far, RelayEnd, RelayView, Relays, Wire};

const PATIENCE: Duration = Duration::from_secs(20);

/// A plain peer and a mail server, joined.
struct Joined {
    peer: TcpStream,
    server: TcpStream,
    view: RelayView,
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    one.set_read_timeout(Some(PATIENCE)).unwrap();
    one.set_write_timeout(Some(PATIENCE)).unwrap();
    other.set_nonblocking(true).unwrap();
    (one, other)
}

async fn joined(relays: &Relays) -> Joined {
    let ((peer, ours), (server, far)) = (pair(), pair());
    let wire = tokio::net::TcpStream::from_std(ours).unwrap();
    let wire = Wire::new(wire, ReplyReader::LINE_LIMIT).unwrap();
    let far = Far::tcp(tokio::net::TcpStream::from_std(far).unwrap()).unwrap();
    let view = wire.carry_to(far, relays).await.unwrap();
    Joined { peer, server, view }
}

async fn ended(view: &RelayView) -> RelayEnd {
    tokio::time::timeout(PATIENCE, view.ended()).await.unwrap()
}

fn octets(seed: u32, count: usize) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(count)
    .collect()
}

/// Writes in pieces of many sizes, then closes that half.
fn write_in_pieces(mut stream: &TcpStream, octets: &[u8]) {
    let mut rest = octets;
    for size in (1..).map(|step| step * 37 % 9001 + 1) {
        let (piece, later) = rest.split_at(size.min(rest.len()));
        stream.write_all(piece).unwrap();
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

fn to_end(mut stream: &TcpStream) -> Vec<u8> {
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets).unwrap();
    octets
}

/// Rules: C7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_octet_is_spliced_unchanged_both_ways_at_once() {
    let relays = Relays::default();
    let Joined { peer, server, view } = joined(&relays).await;
    let (inward, outward) = (octets(1, 3_000_000), octets(2, 2_500_000));
    std::thread::scope(|threads| {
        threads.spawn(|| write_in_pieces(&peer, &inward));
        threads.spawn(|| write_in_pieces(&server, &outward));
        threads.spawn(|| assert!(to_end(&peer) == outward));
        threads.spawn(|| assert!(to_end(&server) == inward));
    });
    assert_eq!(ended(&view).await, RelayEnd::Closed);
    assert_eq!((view.received(), view.sent()), (3_000_000, 2_500_000));
    assert!(!view.is_open());
    relays.ended().await;
}

/// Rules: C7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_close_is_spliced_through_as_half_a_close_from_either_side() {
    for from_peer in [true, false] {
        let Joined { peer, server, view } = joined(&Relays::default()).await;
        let (first, second) = if from_peer {
            (&peer, &server)
        } else {
            (&server, &peer)
        };
        write_in_pieces(first, b"last words");
        assert_eq!(to_end(second), b"last words");
        // It is known to whoever looks on a moment after the end was passed on.
        until("the end", || (!view.is_open()).then_some(()));
        std::thread::sleep(Duration::from_millis(700));
        write_in_pieces(second, b"and the answer");
        assert_eq!(to_end(first), b"and the answer");
        assert_eq!(ended(&view).await, RelayEnd::Closed);
    }
}

/// Rules: C7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_side_that_does_not_read_stops_the_other_and_nothing_is_lost() {
    for from_peer in [true, false] {
        let Joined { peer, server, view } = joined(&Relays::default()).await;
        let (writing, reading) = if from_peer {
            (&peer, &server)
        } else {
            (&server, &peer)
        };
        writing.set_nonblocking(true).unwrap();
        let (mut written, mut stuck) = (0, 0);
        while stuck < 25 {
            match (&mut &*writing).write(&[7; 8192]) {
                Ok(count) => (written, stuck) = (written + count, 0),
                Err(_) => {
                    stuck += 1;
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            // Four socket buffers of the kernel's and one pipe.
            assert!(written < 64 << 20, "no end of it");
        }
        writing.shutdown(Shutdown::Write).unwrap();
        assert_eq!(to_end(reading).len(), written);
        drop((peer, server));
        ended(&view).await;
    }
}

/// Rules: C7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_reset_is_lost_and_one_that_is_silent_is_given_up() {
    let Joined { peer, server, view } = joined(&Relays::default()).await;
    let reset = socket2::SockRef::from(&peer);
    reset.set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    assert!(matches!(ended(&view).await, RelayEnd::Lost(_)));
    assert_eq!(to_end(&server), b"");

    let idle = Duration::from_millis(600);
    let Joined {
        mut peer,
        mut server,
        view,
    } = joined(&Relays::new(idle)).await;
    let began = Instant::now();
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(200));
        peer.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
    }
    assert!(view.is_open() && began.elapsed() > idle * 2);
    assert_eq!(ended(&view).await, RelayEnd::Idle(idle));
    assert_eq!(to_end(&server), b"");
}
