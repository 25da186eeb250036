//! Ten thousand that say nothing, and one customer that wants its mail.

use crate::driver::{ALICE, ALICE_HOP, Message, Peer, Serve, Setup, connected_from};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const STRANGERS: u32 = 10_000;

/// Generous: a machine that does a dozen other things at the same time. What is shown is how long it took.
const SERVED: Duration = Duration::from_secs(30);

fn serve(limits: &'static str) -> Serve {
    Serve::start(Setup {
        limits,
        queue: vec![Message {
            recipient: "someone@example.org",
            next_hop: ALICE_HOP,
            text: "Subject: hello",
        }],
        ..Setup::default()
    })
}

/// Both ends of each connection need a descriptor in a process of their own; root may allow itself as many as it likes.
fn raise_descriptor_limit() {
    let needed = 2 * u64::from(STRANGERS);
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard.max(needed), hard.max(needed));
    assert!(
        raised.is_ok() || setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok(),
        "{raised:?}"
    );
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(
        soft > u64::from(STRANGERS) + 1000,
        "only {soft} open files are allowed: ulimit -Hn {needed}"
    );
}

/// Connects two from each address, a network of its own for every 250 of them.
fn strangers(address: SocketAddr) -> Vec<TcpStream> {
    let source = |number: u32| {
        let [_, _, high, low] = (number / 2).to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(127, 8 + high / 16, high, low))
    };
    (0..STRANGERS)
        .map(|number| connected_from(source(number), address))
        .collect()
}

/// How many of them are greeted and have heard nothing else.
fn waiting(strangers: &[TcpStream]) -> usize {
    let greeted = |stream: &&TcpStream| {
        stream.set_read_timeout(Some(SERVED)).unwrap();
        let mut octets = [0; 512];
        let mut stream = *stream;
        let count = stream.read(&mut octets).unwrap_or(0);
        let text = String::from_utf8_lossy(&octets[..count]).into_owned();
        if !text.starts_with("220 ") || text.matches("\r\n").count() != 1 {
            return false;
        }
        stream.set_nonblocking(true).unwrap();
        matches!(stream.read(&mut octets), Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    strangers.iter().filter(greeted).count()
}

/// The whole of it: connect, log in, turn, take the message.
fn fetch(address: SocketAddr) -> Duration {
    let started = Instant::now();
    let mut alice = Peer::connect_from(Ipv4Addr::new(127, 99, 0, 1).into(), address);
    assert_eq!(alice.reply().0, 220);
    assert_eq!(alice.code("EHLO customer.example.org"), 250);
    let mechanism = turnabout::sasl::Mechanism::ScramSha256;
    assert_eq!(alice.login(mechanism, ALICE), 235);
    assert_eq!(alice.code("ATRN"), 250);
    assert_eq!(alice.take_mail(), ["Subject: hello\n"]);
    let took = started.elapsed();
    assert!(took < SERVED, "{took:?}");
    took
}

/// Rules: C12
#[test]
fn ten_thousand_that_say_nothing_do_not_keep_a_customer_from_its_mail() {
    raise_descriptor_limit();
    let serve = serve("connections = 20000\nlogin_time = \"1h\"\ncommand_time = \"1h\"");
    let strangers = strangers(serve.address());
    assert_eq!(waiting(&strangers), strangers.len());
    let took = fetch(serve.address());
    println!("A customer among {STRANGERS} idle connections had its mail after {took:?}.");
}

/// Rules: C12
#[test]
fn with_the_limits_as_they_are_by_default_the_customer_finds_its_place_too() {
    raise_descriptor_limit();
    let serve = serve("");
    let strangers = strangers(serve.address());
    let took = fetch(serve.address());
    println!("A customer had its mail after {took:?}, while others took all places.");
    let left = waiting(&strangers);
    assert!((7_000..8_000).contains(&left), "{left} are still there");
}
