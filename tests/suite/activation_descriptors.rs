//! What the descriptors are that `turnabout serve` is started with.

use crate::activation_one::passed;
use crate::driver::{Inetd, One, Setup};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;

fn refused(one: One, sentence: &str) {
    let (status, log) = one.ended();
    assert_eq!((status.code(), log.lines().count()), (Some(78), 1), "{log}");
    assert!(log.contains(sentence), "{log}");
}

#[test]
fn what_is_no_tcp_socket_is_refused_in_one_sentence() {
    let inetd = Inetd::new(&Setup::default());
    let udp = || std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    refused(
        inetd.start_on(udp()),
        "cannot serve on descriptor 0: it is a UDP socket (ODMR is spoken over TCP: say `stream tcp` in inetd.conf)",
    );
    let tcp = "(ODMR is spoken over TCP: give ListenStream= with a port)";
    refused(
        inetd.run(passed(&inetd, &[udp().into()], "odmr")),
        &format!("cannot serve on descriptor 3 (odmr): it is a UDP socket {tcp}"),
    );
    let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    refused(
        inetd.run(passed(&inetd, &[unix.into()], "odmr")),
        &format!("cannot serve on descriptor 3 (odmr): it is a Unix socket {tcp}"),
    );
    let (pipe, _other) = nix::unistd::pipe().unwrap();
    refused(
        inetd.run(passed(&inetd, &[pipe], "odmr")),
        &format!("cannot serve on descriptor 3 (odmr): it is no socket {tcp}"),
    );
    let (_peers, served): (Vec<_>, Vec<_>) = (0..2).map(|_| inetd.connection()).unzip();
    let served: Vec<OwnedFd> = served.into_iter().map(OwnedFd::from).collect();
    refused(
        inetd.run(passed(&inetd, &served, "one:two")),
        "cannot serve on descriptor 3 (one): it is a connection, and it is not the only one",
    );
}

#[test]
fn a_pipe_or_a_local_socket_as_descriptor_0_is_a_start_by_hand() {
    let inetd = Inetd::new(&Setup::default());
    let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let (pipe, _writer) = nix::unistd::pipe().unwrap();
    for stdin in [OwnedFd::from(unix), pipe] {
        let mut command = inetd.command();
        command.stdin(Stdio::from(stdin)).stdout(Stdio::null());
        inetd.run(command).logged(" ready ");
    }
}

#[test]
fn what_a_service_manager_means_for_another_process_is_not_taken() {
    let inetd = Inetd::new(&Setup::default());
    let mut command = inetd.command();
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    inetd.run(command).logged(" ready ");
}

#[test]
fn a_socket_that_listens_and_one_that_is_connected_are_told_apart() {
    let inetd = Inetd::new(&Setup::default());
    let (_peer, served) = inetd.connection();
    assert!(turnabout::service::is_connection(served.as_fd()));
    assert!(!turnabout::service::is_connection(inetd.listener.as_fd()));
    assert!(!turnabout::service::is_connection(std::io::stdin().as_fd()));
}
