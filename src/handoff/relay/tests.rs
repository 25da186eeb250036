//! What takes minutes outside of a test: a mail server that hangs, and one that has waited too long.
// As in tests/: what goes wrong in a test is to end it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::{Instant, prepare_within};
use crate::config::{MailServer, Proxy};
use crate::smtp::ReplyReader;
use crate::wire::{RelayEnd, Relays, Wire};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// The provider's address and ours, in the header.
const ENDS: (SocketAddr, SocketAddr) = (
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 366),
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 49152),
);

/// How many octets the header of the second version has.
const HEADER: usize = 28;

fn mail_server<T: Send + 'static>(
    part: impl FnOnce(TcpListener) -> T + Send + 'static,
) -> (MailServer, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = MailServer::Tcp {
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().unwrap().port(),
    };
    (to, std::thread::spawn(move || part(listener)))
}

fn accepted(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn read(mut stream: &TcpStream, count: usize) -> Vec<u8> {
    let mut octets = vec![0; count];
    stream.read_exact(&mut octets).unwrap();
    octets
}

/// All up to the end. Who leaves has not read the greeting, so the end is a reset.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut octets = Vec::new();
    match stream.read_to_end(&mut octets) {
        Ok(_) => octets,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => octets,
        Err(error) => panic!("{error}"),
    }
}

/// Rules: C9
#[tokio::test]
async fn a_server_that_hangs_behind_the_header_is_given_up_before_atrn() {
    let (to, server) = mail_server(|listener| rest(accepted(&listener)));
    let patience = Duration::from_secs(2);
    let refused = prepare_within(patience, &to, Proxy::V2, ENDS).await;
    let said = refused.unwrap_err().to_string();
    let sentence = "it does not greet in 2 s although the PROXY header was sent";
    assert!(said.contains(sentence), "{said}");
    // It was sent the header, and nothing behind it.
    assert_eq!(server.join().unwrap().len(), HEADER);
}

/// Rules: C9
#[tokio::test]
async fn a_server_that_greets_and_hangs_at_ehlo_is_given_up_before_atrn() {
    let (to, server) = mail_server(|listener| {
        let both = [(); 2].map(|()| {
            let mut stream = accepted(&listener);
            read(&stream, HEADER);
            stream.write_all(b"220 me\r\n").unwrap();
            stream
        });
        both.map(rest)
    });
    let patience = Duration::from_secs(3);
    let refused = prepare_within(patience, &to, Proxy::V2, ENDS).await;
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("does not answer EHLO in 3 s"), "{said}");
    let [first, second] = server.join().unwrap();
    assert_eq!(first, b"QUIT\r\n");
    assert_eq!(second, b"EHLO [192.0.2.2]\r\nQUIT\r\n");
}

/// The provider took its time with ATRN, and the mail server may be about to hang up.
/// Rules: R26
#[tokio::test]
async fn a_connection_that_has_waited_too_long_is_left_and_another_is_made() {
    let (to, server) = mail_server(|listener| {
        let mut first = accepted(&listener);
        first.write_all(b"220 first\r\n").unwrap();
        let mut second = accepted(&listener);
        second.write_all(b"220 second\r\n").unwrap();
        let quit = read(&second, 6);
        second.write_all(b"221 bye\r\n").unwrap();
        (rest(first), quit)
    });
    let mut ready = prepare_within(PATIENCE, &to, Proxy::None, ENDS)
        .await
        .unwrap();
    ready.opened.as_mut().unwrap().fresh_until = Instant::now();
    let provider = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(provider.local_addr().unwrap()).unwrap();
    let mut peer = accepted(&provider);
    ours.set_nonblocking(true).unwrap();
    let ours = tokio::net::TcpStream::from_std(ours).unwrap();
    let wire = Wire::new(ours, ReplyReader::LINE_LIMIT).unwrap();
    let view = ready.commit(wire, &Relays::default(), "me").await.unwrap();
    let session = std::thread::spawn(move || {
        assert_eq!(read(&peer, 12), b"220 second\r\n");
        peer.write_all(b"QUIT\r\n").unwrap();
        assert_eq!(read(&peer, 9), b"221 bye\r\n");
        peer.shutdown(Shutdown::Both).unwrap();
    });
    let end = tokio::time::timeout(PATIENCE, view.ended()).await.unwrap();
    assert_eq!(end, RelayEnd::Closed);
    session.join().unwrap();
    let (first, quit) = server.join().unwrap();
    assert_eq!(
        (&first[..], &quit[..]),
        (&b"QUIT\r\n"[..], &b"QUIT\r\n"[..])
    );
}
