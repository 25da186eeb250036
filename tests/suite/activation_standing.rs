//! A server that stands on sockets which it was started with: systemd's, and inetd's in wait mode.

use crate::driver::{ALICE, ALICE_HOP, Inetd, Message, Peer, Setup, until, write_pair};
use crate::tls_world::{Authority, BOTH, HOST, params, raw_client};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Instant;

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn with_mail(limits: &'static str) -> Setup {
    Setup {
        limits,
        // Nobody may listen there: the sockets that come are all there is.
        listen: "\"192.0.2.77:366\"",
        queue: vec![Message {
            recipient: "someone@example.org",
            next_hop: ALICE_HOP,
            text: "Subject: hello",
        }],
        ..Setup::default()
    }
}

#[test]
fn a_listening_descriptor_0_is_served_again_and_again_until_nobody_comes() {
    let inetd = Inetd::new(&with_mail("lent_time = \"2s\""));
    let (listener, address) = listener();
    let mut command = inetd.command();
    command
        .stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())))
        .stdout(Stdio::null());
    let one = inetd.run(command);
    let mut peer = Peer::logged_in(address, ALICE);
    assert_eq!(peer.code("ATRN"), 250);
    assert_eq!(peer.take_mail(), ["Subject: hello\n"]);
    // For a moment the session behind us may still be the customer's one (450).
    until("no mail", || {
        let code = Peer::logged_in(address, ALICE).code("ATRN");
        assert!([450, 453].contains(&code), "{code}");
        (code == 453).then_some(())
    });
    // Whoever stays is not left, however long it takes.
    let mut stays = Peer::greeted(address);
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(stays.code("QUIT"), 221);
    let (status, log) = one.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("serve.limits.lent_time"), "{log}");
    // The socket is inetd's still, and listens.
    std::net::TcpStream::connect(address).unwrap();
    drop(listener);
}

#[test]
fn a_standing_server_on_a_lent_socket_ends_at_sigterm() {
    let inetd = Inetd::new(&with_mail(""));
    let (listener, address) = listener();
    let mut command = inetd.command();
    command
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null());
    let one = inetd.run(command);
    Peer::greeted(address);
    kill(Pid::from_raw(one.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(one.ended().0.code(), Some(0));
}

/// systemd's own program for it, with a socket in the clear and one for TLS.
#[test]
fn sockets_of_systemd_are_served_each_by_its_name() {
    let authority = Authority::new();
    let issued = authority.issue(&params(&[HOST]));
    let mut setup = with_mail("");
    setup.tls = "required";
    setup.keys = "certificate = [\"DIR/cert.pem\"]\nkey = [\"DIR/key.pem\"]\n".to_owned();
    let inetd = Inetd::with(&setup, |directory| write_pair(directory, &issued));
    let addresses = [free_port(), free_port()];
    let mut command = Command::new("systemd-socket-activate");
    for address in addresses {
        command.args(["-l", &address.to_string()]);
    }
    command.arg("--fdname=odmr:odmr-tls");
    let inner = inetd.command();
    command.arg(inner.get_program()).args(inner.get_args());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let one = inetd.run(command);
    one.logged("Listening on");
    until("the second socket", || {
        (one.log().matches("Listening on").count() == 2).then_some(())
    });
    let mut peer = Peer::connect(addresses[0]);
    assert_eq!(peer.reply().0, 220);
    assert_eq!(peer.code("EHLO customer.example.org"), 250);
    assert_eq!(peer.code("STARTTLS"), 220);
    let mut peer = Peer::connect(addresses[1]);
    peer.begin_tls(raw_client(&authority.der, BOTH), HOST)
        .unwrap();
    assert_eq!(peer.reply().0, 220);
    let ready = one.log();
    let ready = ready.lines().find(|line| line.contains(" ready "));
    let ready = ready.unwrap();
    assert!(
        ready.contains(&format!(
            "listen={} listen_tls={}",
            addresses[0], addresses[1]
        )),
        "{ready}"
    );
}

/// An address that was free a moment ago.
fn free_port() -> SocketAddr {
    listener().1
}

#[test]
fn a_standing_server_and_a_process_for_one_connection_know_of_each_other() {
    let inetd = Inetd::new(&with_mail(""));
    let (listener, address) = listener();
    let mut command = inetd.command();
    command
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null());
    let _standing = inetd.run(command);
    let mut first = Peer::logged_in(address, ALICE);
    assert_eq!(first.code("ATRN"), 250);
    let (mut second, _one) = inetd.start();
    assert_eq!(second.reply().0, 220);
    assert_eq!(second.code("EHLO customer.example.org"), 250);
    assert_eq!(
        second.login(turnabout::sasl::Mechanism::CramMd5, ALICE),
        235
    );
    assert_eq!(second.code("ATRN"), 450);
    assert_eq!(first.take_mail(), ["Subject: hello\n"]);
    let began = Instant::now();
    while second.code("ATRN") != 453 {
        assert!(began.elapsed().as_secs() < 30);
    }
}

#[test]
fn a_standing_server_without_a_place_to_lock_customers_warns_and_serves_one_at_a_time_by_itself() {
    let mut setup = with_mail("");
    setup.listen = "\"127.0.0.1:0\"";
    let inetd = Inetd::with(&setup, |directory| {
        std::fs::write(directory.join("run"), "no directory").unwrap();
    });
    let mut command = inetd.command();
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let one = inetd.run(command);
    one.logged(" ready ");
    let log = one.log();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(
        warnings[0].contains("Not a directory")
            && warnings[0].contains("only this process knows which customers it serves"),
        "{log}"
    );
    let ready = log.lines().find(|line| line.contains(" ready ")).unwrap();
    let address = ready.split([' ', '=']).find_map(|word| word.parse().ok());
    let mut first = Peer::logged_in(address.unwrap(), ALICE);
    assert_eq!(first.code("ATRN"), 250);
    let mut second = Peer::logged_in(address.unwrap(), ALICE);
    assert_eq!(second.code("ATRN"), 450);
    assert_eq!(first.take_mail(), ["Subject: hello\n"]);
}
