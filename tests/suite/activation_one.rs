//! One process for one connection, as inetd and its like start it.

use crate::driver::{ALICE, ALICE_HOP, Inetd, Message, Peer, Setup, service_user, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use std::fs;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use turnabout::sasl::Mechanism;

pub fn hello(recipient: &'static str, next_hop: &'static str) -> Message {
    Message {
        recipient,
        next_hop,
        text: "Subject: hello",
    }
}

pub fn mail_for_alice() -> Setup {
    Setup {
        queue: vec![hello("someone@example.org", ALICE_HOP)],
        ..Setup::default()
    }
}

pub fn log_in(peer: &mut Peer, who: (&str, &str)) {
    assert_eq!(peer.reply().0, 220);
    assert_eq!(peer.code("EHLO customer.example.org"), 250);
    assert_eq!(peer.login(Mechanism::CramMd5, who), 235);
}

#[test]
fn a_connection_on_descriptor_0_is_served_and_the_process_ends_with_it() {
    let inetd = Inetd::new(&mail_for_alice());
    let (mut peer, one) = inetd.start();
    log_in(&mut peer, ALICE);
    assert_eq!(peer.code("ATRN"), 250);
    assert_eq!(peer.take_mail(), ["Subject: hello\n"]);
    peer.assert_ended();
    let (status, log) = one.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("delivered all"), "{log}");
    assert!(!log.contains(" ready "), "{log}");
}

#[test]
fn a_connection_from_a_service_manager_is_served() {
    let inetd = Inetd::new(&mail_for_alice());
    let (mut peer, served) = inetd.connection();
    let one = inetd.run(passed(&inetd, &[served.into()], "connection"));
    log_in(&mut peer, ALICE);
    assert_eq!(peer.code("ATRN"), 250);
    assert_eq!(peer.take_mail(), ["Subject: hello\n"]);
    peer.assert_ended();
    assert_eq!(one.ended().0.code(), Some(0));
}

/// The command with these descriptors from 3 on, as a service manager passes them.
pub fn passed(inetd: &Inetd, sockets: &[OwnedFd], names: &str) -> std::process::Command {
    let inner = inetd.command();
    let mut script = String::from("exec 9<&0; ");
    // A shell can name descriptors up to 9 only; 0 to 2 are in use.
    let count = sockets.len();
    assert!(count <= 2, "more descriptors than a shell can give");
    let mut command = std::process::Command::new("/bin/sh");
    // The first comes as 0, the second as 1.
    script += match count {
        1 => "exec 3<&0 0</dev/null 9<&-; ",
        _ => "exec 3<&0 4<&1 0</dev/null 1>/dev/null 9<&-; ",
    };
    script += "export LISTEN_PID=$$; exec \"$@\"";
    command.args(["-c", &script, "sh"]);
    command.arg(inner.get_program()).args(inner.get_args());
    command.env("LISTEN_FDS", count.to_string());
    command.env("LISTEN_FDNAMES", names);
    let mut sockets = sockets.iter().map(|one| one.try_clone().unwrap());
    command.stdin(Stdio::from(sockets.next().unwrap()));
    if let Some(second) = sockets.next() {
        command.stdout(Stdio::from(second));
    }
    command
}

/// Nothing but SMTP goes to the connection: no log, no complaint about the command line, no panic.
#[test]
fn what_is_logged_never_goes_to_the_connection_that_is_descriptor_2_too() {
    let inetd = Inetd::new(&Setup::default());
    let (mut peer, served) = inetd.connection();
    let stdio = || Stdio::from(OwnedFd::from(served.try_clone().unwrap()));
    let mut command = inetd.command();
    command.stdin(stdio()).stdout(stdio()).stderr(stdio());
    command.args(["--log-level", "trace"]);
    let mut child = command.spawn().unwrap();
    drop(command);
    drop(served);
    peer.send("EHLO customer.example.org\r\nFOO\r\nATRN\r\nQUIT\r\n");
    let said = peer.rest();
    let codes: Vec<&str> = said.lines().map(|line| &line[..4]).collect();
    assert_eq!(
        codes,
        [
            "220 ", "250-", "250-", "250-", "250 ", "500 ", "530 ", "221 "
        ],
        "{said}"
    );
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_wrong_command_line_is_no_text_on_the_connection() {
    let inetd = Inetd::new(&Setup::default());
    for wrong in [&["--no-such-option"][..], &["--help"], &["no-such-word"]] {
        let (mut peer, served) = inetd.connection();
        let stdio = || Stdio::from(OwnedFd::from(served.try_clone().unwrap()));
        let mut command = inetd.command();
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        let mut child = command.args(wrong).spawn().unwrap();
        drop(command);
        drop(served);
        let said = peer.rest();
        assert!(
            said.is_empty() || (said.starts_with("421 ") && said.lines().count() == 1),
            "{wrong:?}: {said}"
        );
        assert_eq!(child.wait().unwrap().code(), Some(64), "{wrong:?}");
    }
}

#[test]
fn root_is_given_up_before_the_first_octet_is_read() {
    let inetd = Inetd::new(&Setup::default());
    let (mut peer, one) = inetd.start();
    assert_eq!(peer.reply().0, 220);
    assert_eq!(peer.code("NOOP"), 250);
    let status = fs::read_to_string(format!("/proc/{}/status", one.id())).unwrap();
    let user = User::from_name(service_user()).unwrap().unwrap();
    let id = user.uid.as_raw();
    assert!(
        status.contains(&format!("Uid:\t{id}\t{id}\t{id}\t{id}")),
        "{status}"
    );
    assert!(status.contains("Threads:\t1\n"), "{status}");
    drop(peer);
    one.ended();
    if !geteuid().is_root() {
        return;
    }
    // Who cannot become the user does not read: the peer hears 421, whatever it said before.
    let inetd = Inetd::new(&Setup {
        user: "no-such-user-here",
        ..Setup::default()
    });
    let (mut peer, served) = inetd.connection();
    peer.send("EHLO customer.example.org\r\n");
    let kept = served.try_clone().unwrap();
    let one = inetd.start_on(served);
    assert_eq!(peer.reply().0, 220);
    assert_eq!(peer.reply().0, 421);
    peer.stream.shutdown(std::net::Shutdown::Both).unwrap();
    let (status, log) = one.ended();
    assert_eq!(status.code(), Some(77), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    let mut octets = [0; 64];
    let unread = kept.peek(&mut octets).unwrap();
    assert_eq!(&octets[..unread], b"EHLO customer.example.org\r\n");
}

#[test]
fn the_greeting_waits_for_nobody() {
    let inetd = Inetd::new(&Setup {
        // Postfix is asked whom to become, if there is a choice.
        user: "",
        ..Setup::default()
    });
    let postconf = inetd.path("postfix/postconf");
    let held_up = fs::read_to_string(&postconf).unwrap().replacen(
        "here=${0%/*}\n",
        "here=${0%/*}\nwhile [ ! -e \"$here/go\" ]; do sleep 0.05; done\n",
        1,
    );
    assert!(held_up.contains("sleep"));
    fs::write(&postconf, held_up).unwrap();
    let (mut peer, _one) = inetd.start();
    assert_eq!(peer.reply().0, 220);
    fs::write(inetd.path("postfix/go"), "").unwrap();
    assert_eq!(peer.code("NOOP"), 250);
}

#[test]
fn nothing_that_was_open_is_left_open_for_the_mail_server() {
    let inetd = Inetd::new(&Setup::default());
    let (mut peer, served) = inetd.connection();
    // Descriptor 7 is somebody's secret.
    let inner = inetd.command();
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", "exec 7</etc/hostname; exec \"$@\"", "sh"]);
    command.arg(inner.get_program()).args(inner.get_args());
    command.stdin(Stdio::from(OwnedFd::from(served)));
    let one = inetd.run(command);
    assert_eq!(peer.reply().0, 220);
    assert_eq!(peer.code("NOOP"), 250);
    let open: Vec<(String, String, u32)> = fs::read_dir(format!("/proc/{}/fd", one.id()))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let number = entry.file_name().into_string().unwrap();
            let link = fs::read_link(entry.path()).unwrap();
            let facts = fs::read_to_string(format!("/proc/{}/fdinfo/{number}", one.id())).unwrap();
            let flags = facts.lines().find_map(|line| line.strip_prefix("flags:\t"));
            let flags = u32::from_str_radix(flags.unwrap(), 8).unwrap();
            (number, link.to_str().unwrap().to_owned(), flags)
        })
        .collect();
    assert!(
        !open.iter().any(|(_, link, _)| link.contains("hostname")),
        "{open:?}"
    );
    for (number, link, flags) in &open {
        if number.parse::<u32>().unwrap() > 2 {
            // O_CLOEXEC.
            assert!(flags & 0o2_000_000 != 0, "{number} {link} {flags:o}");
        }
        assert!(
            number != "0" || link == "/dev/null",
            "descriptor 0 is {link}"
        );
    }
}

#[test]
fn a_wrong_configuration_is_one_line_in_the_log_and_421_to_the_peer() {
    let inetd = Inetd::new(&Setup::default());
    fs::write(inetd.path("turnabout.toml"), "[serve]\nlisden = 1\n").unwrap();
    let (mut peer, one) = inetd.start();
    let (code, text) = peer.reply();
    assert_eq!(code, 421, "{text}");
    // The name, or the address, of this machine comes first (RFC 5321 4.2).
    assert!(text.ends_with(" no service now, try later"), "{text}");
    peer.stream.shutdown(std::net::Shutdown::Both).unwrap();
    let (status, log) = one.ended();
    assert_eq!((status.code(), log.lines().count()), (Some(78), 1), "{log}");
    assert!(log.contains("unknown key"), "{log}");
}

#[test]
fn accounts_that_are_wrong_are_one_line_in_the_log_and_421_to_the_peer() {
    let inetd = Inetd::new(&Setup {
        accounts: "[[account]]\nuser = 1\n".to_owned(),
        ..Setup::default()
    });
    let (mut peer, one) = inetd.start();
    assert_eq!(peer.reply().0, 220);
    peer.send("EHLO customer.example.org\r\n");
    assert_eq!(peer.reply().0, 421);
    peer.stream.shutdown(std::net::Shutdown::Both).unwrap();
    let (status, log) = one.ended();
    assert_eq!((status.code(), log.lines().count()), (Some(78), 1), "{log}");
    assert!(log.contains("accounts.toml:2:8"), "{log}");
}

#[test]
fn a_mail_server_that_cannot_be_asked_is_451() {
    let inetd = Inetd::new(&Setup {
        version: "2.11.3",
        ..mail_for_alice()
    });
    let (mut peer, one) = inetd.start();
    log_in(&mut peer, ALICE);
    assert_eq!(peer.code("ATRN"), 451);
    assert_eq!(peer.code("QUIT"), 221);
    peer.assert_ended();
    let (status, log) = one.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("cannot use Postfix 2.11.3"), "{log}");
}

#[test]
fn a_peer_from_elsewhere_hears_554_in_place_of_the_greeting() {
    let inetd = Inetd::new(&Setup {
        keys: "sources = [\"192.0.2.0/24\"]".to_owned(),
        ..Setup::default()
    });
    let (mut peer, one) = inetd.start();
    assert_eq!(peer.reply().0, 554);
    assert_eq!(peer.code("QUIT"), 221);
    peer.assert_ended();
    assert_eq!(one.ended().0.code(), Some(0));
}

/// Rules: B12, B13
#[test]
fn sigterm_tells_the_peer_421() {
    let inetd = Inetd::new(&Setup::default());
    let (mut peer, one) = inetd.start();
    log_in(&mut peer, ALICE);
    kill(Pid::from_raw(one.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(peer.reply().0, 421);
    peer.assert_ended();
    assert_eq!(one.ended().0.code(), Some(0));
}

#[test]
fn a_peer_that_goes_at_once_ends_the_process() {
    let inetd = Inetd::new(&Setup::default());
    let (peer, one) = inetd.start();
    drop(peer);
    assert_eq!(one.ended().0.code(), Some(0));
}

/// A descriptor of the connection that is kept beyond the hand-over would keep the customer waiting.
#[test]
fn the_process_lets_go_when_the_mail_server_has_said_quit() {
    let inetd = Inetd::new(&mail_for_alice());
    let (mut peer, one) = inetd.start();
    log_in(&mut peer, ALICE);
    assert_eq!(peer.code("ATRN"), 250);
    assert_eq!(peer.take_mail(), ["Subject: hello\n"]);
    peer.assert_ended();
    until("the end of the process", || {
        (!std::path::Path::new(&format!("/proc/{}/exe", one.id())).exists()).then_some(())
    });
}
