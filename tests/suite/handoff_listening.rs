//! The customer's hand-off to a mail server that listens: what is asked of it before ATRN, the PROXY header, and what
//! passes between it and the provider.

use crate::driver::{Fetch, Peer, opened, scripted};
use crate::fetch_talk::outcome;
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::process::Output;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use turnabout::config::Proxy;
use turnabout::handoff::relay::header;

const PATIENCE: Duration = Duration::from_secs(20);

/// The signature of the second version.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn parse(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Rules: C9
#[test]
fn the_header_tells_both_ends_in_the_family_that_they_share() {
    let v1 = |peer, local| {
        String::from_utf8(header(Proxy::V1, parse(peer), parse(local)).unwrap()).unwrap()
    };
    assert_eq!(
        v1("192.0.2.1:366", "198.51.100.7:40000"),
        "PROXY TCP4 192.0.2.1 198.51.100.7 366 40000\r\n"
    );
    assert_eq!(
        v1("[2001:db8::1]:366", "[2001:db8::2]:40000"),
        "PROXY TCP6 2001:db8::1 2001:db8::2 366 40000\r\n"
    );
    assert_eq!(
        v1("[2001:db8::1]:366", "198.51.100.7:40000"),
        "PROXY TCP6 2001:db8::1 ::ffff:198.51.100.7 366 40000\r\n"
    );
    let v2 = |peer, local| header(Proxy::V2, parse(peer), parse(local)).unwrap();
    let mut expected = SIGNATURE.to_vec();
    expected.extend([0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 7]);
    expected.extend([366_u16.to_be_bytes(), 40000_u16.to_be_bytes()].concat());
    assert_eq!(v2("192.0.2.1:366", "198.51.100.7:40000"), expected);
    let mixed = v2("192.0.2.1:366", "[2001:db8::2]:40000");
    assert_eq!(mixed[12..16], [0x21, 0x21, 0, 36]);
    assert_eq!(mixed[26..32], [255, 255, 192, 0, 2, 1]);
    assert_eq!(mixed.len(), 16 + 36);
    assert_eq!(
        header(Proxy::None, parse("192.0.2.1:1"), parse("192.0.2.2:2")),
        None
    );
}

/// A mail server that plays a part with the first connection that comes, and with the one behind it, on which it is
/// asked what the header is to it, one that heeds the header.
fn mail_server<T: Send + 'static>(
    part: impl FnOnce(Peer) -> T + Send + 'static,
) -> (String, JoinHandle<T>) {
    mail_server_asked(part, |mut peer| {
        peer.send("220 me ESMTP\r\n");
        assert!(peer.line().unwrap().starts_with("EHLO ["));
        peer.send("250 me\r\n");
        assert_eq!(peer.line().unwrap(), "QUIT");
    })
}

/// The same with a part for the second connection as well, from the header's end on.
fn mail_server_asked<T: Send + 'static>(
    part: impl FnOnce(Peer) -> T + Send + 'static,
    asked: impl FnOnce(Peer) + Send + 'static,
) -> (String, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let first = Peer::new(listener.accept().unwrap().0);
        let second = std::thread::spawn(move || {
            // Not every test comes so far.
            listener.set_nonblocking(true).unwrap();
            let started = Instant::now();
            let stream = loop {
                match listener.accept() {
                    Ok((stream, _)) => break stream,
                    Err(_) if started.elapsed() > Duration::from_secs(5) => return,
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            };
            drop(listener);
            stream.set_nonblocking(false).unwrap();
            let mut peer = Peer::new(stream);
            let mut first = [0];
            peer.stream.read_exact(&mut first).unwrap();
            if first == *b"P" {
                peer.line().unwrap();
            } else {
                peer.stream.read_exact(&mut [0; 27]).unwrap();
            }
            asked(peer);
        });
        let done = part(first);
        second.join().unwrap();
        done
    });
    (address.to_string(), thread)
}

fn fetch(to: &str, more: &[&str]) -> Fetch {
    let mut fetch = Fetch::exec(&[]);
    let handoff = ["--handoff", "relay", "--relay-to", to];
    // The provider is on loopback here, as behind a tunnel.
    let knows = !more.contains(&"none") && !more.contains(&"--i-know");
    let known: &[&str] = if knows { &["--i-know"] } else { &[] };
    fetch.handoff = handoff
        .iter()
        .chain(more)
        .chain(known)
        .map(ToString::to_string)
        .collect();
    fetch
}

/// Fetches from a provider that expects no ATRN.
fn no_atrn(fetch: &Fetch) -> (i32, String) {
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        assert_eq!(peer.line().unwrap(), "QUIT");
        peer.send("221 bye\r\n");
        peer.rest();
    });
    let output = fetch.run(address);
    provider.join().unwrap();
    outcome(&output)
}

/// Fetches from a provider that turns and then does as the test says.
fn turned<T: Send + 'static>(
    fetch: &Fetch,
    after: impl FnOnce(&mut Peer) -> T + Send + 'static,
) -> (Output, T) {
    let (address, provider) = scripted(move |mut peer| {
        opened(&mut peer);
        assert_eq!(peer.line().unwrap(), "ATRN");
        peer.send("250 turning\r\n");
        after(&mut peer)
    });
    let output = fetch.run(address);
    (output, provider.join().unwrap())
}

/// Reads the header of the second version; gives the provider's port in it.
fn take_v2(peer: &mut Peer) -> u16 {
    let mut octets = [0; 28];
    peer.stream.read_exact(&mut octets).unwrap();
    assert_eq!(octets[..12], *SIGNATURE);
    assert_eq!(octets[12..20], [0x21, 0x11, 0, 12, 127, 0, 0, 1]);
    u16::from_be_bytes([octets[24], octets[25]])
}

/// Rules: C9
#[test]
fn mail_passes_behind_a_header_that_names_the_provider() {
    for version in ["v1", "v2"] {
        let (to, server) = mail_server(move |mut peer| {
            let port = if version == "v1" {
                let line = peer.line().unwrap();
                let words: Vec<&str> = line.split(' ').collect();
                assert_eq!(words[..4], ["PROXY", "TCP4", "127.0.0.1", "127.0.0.1"]);
                words[4].parse().unwrap()
            } else {
                take_v2(&mut peer)
            };
            (port, peer.take_mail())
        });
        let (output, own) = turned(&fetch(&to, &["--proxy", version]), |peer| {
            assert_eq!(peer.reply().0, 220);
            assert_eq!(peer.code("EHLO provider.example.com"), 250);
            peer.give_mail("alice@example.org", "Subject: one\r\n\r\nhello");
            assert_eq!(peer.code("QUIT"), 221);
            peer.stream.local_addr().unwrap().port()
        });
        let (code, said) = outcome(&output);
        assert_eq!(code, 0, "{said}");
        assert!(
            said.contains("turned, relayed to relay, session ended"),
            "{said}"
        );
        let (named, mail) = server.join().unwrap();
        assert_eq!((named, mail.len()), (own, 1));
        assert_eq!(mail[0], "Subject: one\n\nhello\n");
    }
}

/// Rules: C9
#[test]
fn a_server_that_greets_without_the_header_is_refused_before_atrn() {
    let (to, server) = mail_server(|mut peer| {
        peer.send("220 me ESMTP\r\n");
        peer.rest()
    });
    let (code, said) = no_atrn(&fetch(&to, &[]));
    assert_eq!(code, 75, "{said}");
    let sentence =
        "it greets without a PROXY header, so it would take the provider for this machine";
    assert!(said.contains(sentence), "{said}");
    // Nothing was sent that could be taken for a command.
    assert_eq!(server.join().unwrap(), "");
}

/// One that was only slow to greet answers the header as the command that it takes it for.
/// Rules: C9
#[test]
fn a_server_that_greets_late_and_takes_the_header_for_a_command_is_refused_before_atrn() {
    for version in ["v1", "v2"] {
        let (to, server) = mail_server(|mut peer| {
            std::thread::sleep(Duration::from_millis(2500));
            peer.send("220 me ESMTP\r\n");
            peer.line().unwrap();
            std::thread::sleep(Duration::from_millis(100));
            peer.send("502 5.5.2 what?\r\n");
            peer.rest()
        });
        let (code, said) = no_atrn(&fetch(&to, &["--proxy", version]));
        assert_eq!(code, 75, "{said}");
        assert!(said.contains("takes the header for a command"), "{said}");
        assert!(!server.join().unwrap().contains("EHLO"));
    }
}

/// One that greets late, and punishes a bad command by a late answer, looks like one that heeds the header until it is
/// asked something.
///
/// Rules: C9
#[test]
fn a_server_that_is_late_with_all_it_says_is_refused_before_atrn() {
    let (to, server) = mail_server_asked(
        |mut peer| {
            std::thread::sleep(Duration::from_millis(2500));
            peer.send("220 me ESMTP\r\n");
            peer.line().unwrap();
            std::thread::sleep(Duration::from_secs(4));
            peer.rest()
        },
        |mut peer| {
            peer.send("220 me ESMTP\r\n");
            std::thread::sleep(Duration::from_secs(1));
            peer.send("502 5.5.2 what?\r\n");
            peer.line().unwrap();
            peer.send("250 me\r\n");
            peer.line();
        },
    );
    let (code, said) = no_atrn(&fetch(&to, &["--proxy", "v1"]));
    assert_eq!(code, 75, "{said}");
    assert!(
        said.contains("answers EHLO with \"502 5.5.2 what?\""),
        "{said}"
    );
    assert_eq!(server.join().unwrap(), "QUIT\r\n");
}

/// Rules: C9
#[test]
fn a_server_that_is_not_there_closes_or_refuses_is_no_atrn() {
    let (to, server) = mail_server(drop);
    let (code, said) = no_atrn(&fetch(&to, &[]));
    assert!(
        code == 75 && said.contains("closes the connection before"),
        "{said}"
    );
    server.join().unwrap();
    let (to, server) = mail_server(|mut peer| {
        take_v2(&mut peer);
    });
    let (code, said) = no_atrn(&fetch(&to, &[]));
    let sentence = "after the PROXY header it closes the connection";
    assert!(code == 75 && said.contains(sentence), "{said}");
    server.join().unwrap();
    let (to, server) = mail_server(|mut peer| {
        take_v2(&mut peer);
        peer.send("554 5.7.1 go away\r\n");
        peer.rest();
    });
    let (code, said) = no_atrn(&fetch(&to, &[]));
    assert!(
        code == 75 && said.contains("it greets with \"554 5.7.1 go away\""),
        "{said}"
    );
    server.join().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    drop(listener);
    let (code, said) = no_atrn(&fetch(&to, &[]));
    assert!(
        code == 75 && said.contains(&format!("cannot relay to {to}: ")),
        "{said}"
    );
}

/// Rules: C7
#[test]
fn a_session_in_the_midst_of_being_spliced_goes_on_after_sigterm_until_its_end() {
    let (to, server) = mail_server(|mut peer| {
        take_v2(&mut peer);
        peer.take_mail()
    });
    let (half, until_told) = std::sync::mpsc::channel();
    let (told, wait) = std::sync::mpsc::channel();
    let (address, provider) = scripted(move |mut peer| {
        opened(&mut peer);
        assert_eq!(peer.line().unwrap(), "ATRN");
        peer.send("250 turning\r\n");
        assert_eq!(peer.reply().0, 220);
        assert_eq!(peer.code("EHLO provider.example.com"), 250);
        peer.give_mail("alice@example.org", "Subject: one\r\n\r\nbefore");
        half.send(()).unwrap();
        wait.recv().unwrap();
        peer.give_mail("alice@example.org", "Subject: two\r\n\r\nafter");
        assert_eq!(peer.code("QUIT"), 221);
    });
    let fetch = fetch(&to, &[]);
    let mut running = fetch.start(address);
    until_told.recv_timeout(PATIENCE).unwrap();
    running.signal(Signal::SIGTERM);
    running.logged("stopping");
    told.send(()).unwrap();
    provider.join().unwrap();
    let (status, log) = running.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(server.join().unwrap().len(), 2);
}

/// Rules: R26
#[test]
fn when_the_mail_server_is_lost_before_the_250_the_provider_is_greeted_with_421() {
    let (to, server) = mail_server(|mut peer| {
        take_v2(&mut peer);
        peer.send("220 me ESMTP\r\n");
        // Seen before it goes: then nobody listens there any more.
        std::thread::sleep(Duration::from_millis(1500));
    });
    let (address, provider) = scripted(move |mut peer| {
        opened(&mut peer);
        assert_eq!(peer.line().unwrap(), "ATRN");
        server.join().unwrap();
        std::thread::sleep(Duration::from_millis(200));
        peer.send("250 turning\r\n");
        peer.rest()
    });
    let (code, said) = outcome(&fetch(&to, &[]).run(address));
    assert_eq!(code, 75, "{said}");
    let rest = provider.join().unwrap();
    assert!(rest.starts_with("421 customer.example.org "), "{rest}");
    assert_eq!(rest.lines().count(), 1);
}

#[test]
fn when_there_is_no_mail_the_mail_server_hears_quit() {
    let (to, server) = mail_server(|mut peer| {
        take_v2(&mut peer);
        peer.send("220 me ESMTP\r\n");
        peer.rest()
    });
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        peer.line().unwrap();
        peer.send("453 4.0.0 no mail\r\n");
        peer.line().unwrap();
        peer.send("221 bye\r\n");
    });
    assert_eq!(outcome(&fetch(&to, &[]).run(address)).0, 0);
    provider.join().unwrap();
    assert_eq!(server.join().unwrap(), "QUIT\r\n");
}

#[test]
fn a_unix_socket_without_a_header_serves_whoever_says_that_he_knows() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("smtp");
    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 me\r\n").unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        heard
    });
    let to = format!("unix:{}", path.display());
    let (output, ()) = turned(&fetch(&to, &["--proxy", "none", "--i-know"]), |peer| {
        assert_eq!(peer.line().unwrap(), "220 me");
        peer.send("QUIT\r\n");
        peer.stream.shutdown(Shutdown::Write).unwrap();
        peer.rest();
    });
    assert_eq!(outcome(&output).0, 0);
    assert_eq!(server.join().unwrap(), "QUIT\r\n");
}

/// Rules: C9
#[test]
fn without_a_header_the_operator_must_say_that_he_knows_what_is_trusted() {
    let nobody = parse("127.0.0.1:1");
    let here = "the mail server takes the provider for this machine and may relay anything for it";
    let there = "if it trusts this machine it relays anything for the provider";
    for (to, sentence) in [
        ("127.0.0.1:2525", here),
        ("127.9.9.9:25", here),
        ("[::1]:2525", here),
        ("localhost:2525", here),
        ("0.0.0.0:25", here),
        ("unix:/run/smtp", here),
        ("192.0.2.1:25", there),
        ("mail.example.org:25", there),
    ] {
        let output = fetch(to, &["--proxy", "none"]).run(nobody);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(sentence), "{to}: {said}");
    }
    for (to, more, sentence) in [
        ("127.0.0.1", &[][..], "not an address with a port"),
        ("127.0.0.1:0", &[], "not an address with a port"),
        ("::1:25", &[], "not an address with a port"),
        ("unix:smtp", &[], "not an absolute path"),
        ("127.0.0.1:25", &["--proxy", "v3"], "v3"),
        (
            "127.0.0.1:25",
            &["--handoff-tls", "kernel"],
            "turnabout itself encrypts",
        ),
        (
            "127.0.0.1:25",
            &["--socket", "/x"],
            "belongs to another kind of hand-off",
        ),
    ] {
        let mut fetch = fetch(to, more);
        if more.contains(&"--handoff-tls") {
            fetch.tls = "starttls";
        }
        let output = fetch.run(nobody);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(sentence), "{to}: {said}");
    }
}

/// Rules: C9
#[test]
fn a_provider_at_the_end_of_a_tunnel_is_no_atrn_unless_the_operator_says_that_he_knows() {
    let (server, _held) = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        (listener.local_addr().unwrap().to_string(), listener)
    };
    for mut fetch in [fetch(&server, &[]), Fetch::exec(&["/bin/true"])] {
        fetch.handoff.retain(|word| word != "--i-know");
        let (code, log) = no_atrn(&fetch);
        assert_eq!(code, 75, "{log}");
        let sentence =
            "the provider has the address 127.0.0.1, and a mail server trusts its own machine";
        assert!(log.contains(sentence), "{log}");
        assert!(log.contains("say i_know = true"), "{log}");
    }
}
