//! One peer's connection: nothing is read beyond a line, and what is let go of is as it came.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use tokio::net::{TcpListener, TcpStream};
use turnabout::smtp::line::LineError;
use turnabout::wire::{Relays, Wire, WireError};

/// Ours, and the peer's end of it.
async fn pair() -> (Wire, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ours = TcpStream::connect(address).await.unwrap();
    let (theirs, _) = listener.accept().await.unwrap();
    let theirs = theirs.into_std().unwrap();
    theirs.set_nonblocking(false).unwrap();
    (Wire::new(ours, 512).unwrap(), theirs)
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(test)
}

/// Rules: C6
#[test]
fn octets_behind_the_last_line_are_read_by_whoever_has_the_socket_then() {
    run(async {
        let (mut wire, mut peer) = pair().await;
        let after = b"220 me\r\nhalf a li".repeat(500);
        peer.write_all(b"EHLO a\r\nATRN\r\n").unwrap();
        peer.write_all(&after).unwrap();
        assert_eq!(wire.line().await.unwrap().unwrap().as_bytes(), b"EHLO a");
        assert_eq!(wire.line().await.unwrap().unwrap().as_bytes(), b"ATRN");
        assert!(wire.pending().await.unwrap());
        let mut holder =
            std::net::TcpStream::from(wire.release(&Relays::default()).await.unwrap().into_fd());
        let mut octets = vec![0; after.len()];
        holder.read_exact(&mut octets).unwrap();
        assert_eq!(octets, after);
    });
}

/// Rules: C6
#[test]
fn a_released_socket_is_blocking_and_closed_on_exec() {
    run(async {
        let (wire, peer) = pair().await;
        let (here, there) = (wire.local(), wire.peer());
        let released = wire.release(&Relays::default()).await.unwrap();
        assert_eq!((released.local(), released.peer()), (here, there));
        assert_eq!(peer.peer_addr().unwrap(), here);
        let flags = |fd: &OwnedFd, which| nix::fcntl::fcntl(fd.as_fd(), which).unwrap();
        let fd = released.into_fd();
        let status = flags(&fd, nix::fcntl::FcntlArg::F_GETFL);
        assert_eq!(status & nix::fcntl::OFlag::O_NONBLOCK.bits(), 0);
        let descriptor = flags(&fd, nix::fcntl::FcntlArg::F_GETFD);
        assert_ne!(descriptor & nix::fcntl::FdFlag::FD_CLOEXEC.bits(), 0);
    });
}

/// Rules: C6
#[test]
fn a_socket_with_part_of_a_line_taken_is_not_released() {
    run(async {
        let (mut wire, mut peer) = pair().await;
        peer.write_all(b"half a li").unwrap();
        let line = tokio::time::timeout(std::time::Duration::from_millis(50), wire.line());
        line.await.unwrap_err();
        assert!(matches!(
            wire.release(&Relays::default()).await,
            Err(WireError::PartialLine)
        ));
        // Dropped with it: the peer sees the end.
        assert_eq!(peer.read(&mut [0]).unwrap_or(0), 0);
    });
}

#[test]
fn waiting_for_a_line_can_be_broken_off_without_loss() {
    run(async {
        let (mut wire, mut peer) = pair().await;
        for part in [&b"EH"[..], b"LO", b" a\r", b"\n"] {
            let line = tokio::time::timeout(std::time::Duration::from_millis(20), wire.line());
            line.await.unwrap_err();
            peer.write_all(part).unwrap();
        }
        assert_eq!(wire.line().await.unwrap().unwrap().as_bytes(), b"EHLO a");
        assert!(!wire.pending().await.unwrap());
    });
}

/// Rules: C13
#[test]
fn a_line_that_is_too_long_is_told_once_and_the_next_is_whole() {
    run(async {
        let (mut wire, mut peer) = pair().await;
        let writer = std::thread::spawn(move || {
            peer.write_all(&b"A".repeat(1 << 20)).unwrap();
            peer.write_all(b"\r\nNOOP\r\n").unwrap();
            peer
        });
        assert_eq!(wire.line().await.unwrap(), Err(LineError::TooLong));
        assert_eq!(wire.line().await.unwrap().unwrap().as_bytes(), b"NOOP");
        drop(writer.join().unwrap());
        assert!(matches!(wire.line().await, Err(WireError::Closed)));
    });
}

#[test]
fn a_last_reply_arrives_although_the_peers_octets_were_never_read() {
    run(async {
        let (mut wire, mut peer) = pair().await;
        peer.write_all(&b"nobody reads this\r\n".repeat(2000))
            .unwrap();
        wire.send(b"421 too many errors\r\n").await.unwrap();
        let reader = std::thread::spawn(move || {
            let mut said = String::new();
            peer.read_to_string(&mut said).unwrap();
            said
        });
        wire.close().await;
        assert_eq!(reader.join().unwrap(), "421 too many errors\r\n");
    });
}
