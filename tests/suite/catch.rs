//! `turnabout catch` and `handoff = "catch"`, both real, over a socket between them.

use crate::driver::{Catcher, Fetch, Hand, Peer, opened, pair, scripted};
use crate::fetch_talk::outcome;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::mpsc;

/// Greets, answers each line with itself, and ends after QUIT.
pub const SERVER: &[&str] = &[
    "/bin/sh",
    "-c",
    "printf '220 here\\r\\n'; while read line; do printf '250 %s\\r\\n' $line; case $line in QUIT*) exit;; esac; done",
];

/// In place of ATRN.
fn quit_at_once(mut peer: Peer) {
    assert_eq!(peer.line().unwrap(), "QUIT");
    peer.send("221 bye\r\n");
}

/// Rules: C9
#[test]
fn catch_runs_the_command_on_the_connection_as_exec_does() {
    let mut catcher = Catcher::start(&[], &["/usr/bin/env"]);
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        assert_eq!(peer.line().unwrap(), "ATRN example.org,example.com");
        peer.send("250 turning\r\n");
        let environment = peer.rest();
        let stream = &peer.stream;
        let addresses = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        (environment, addresses)
    });
    let fetch = Fetch::catch(&catcher.socket).with(&["--domains", "example.org,example.com"]);
    let (code, said) = outcome(&fetch.run(address));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("handed over by catch"), "{said}");
    let (environment, (theirs, ours)) = provider.join().unwrap();
    let mut found: Vec<&str> = environment.lines().collect();
    found.sort_unstable();
    found.retain(|line| !line.starts_with("TZ="));
    let mut expected = vec![
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "PROTO=TCP".to_owned(),
        "TCPREMOTEIP=127.0.0.1".to_owned(),
        format!("TCPREMOTEPORT={}", theirs.port()),
        "TCPLOCALIP=127.0.0.1".to_owned(),
        format!("TCPLOCALPORT={}", ours.port()),
        "REMOTE_ADDR=127.0.0.1".to_owned(),
        format!("REMOTE_PORT={}", theirs.port()),
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
    let line = catcher.process.logged("connection taken");
    for part in [
        "user=alice",
        "domains=example.org,example.com",
        "carried=plain",
        &format!("peer={theirs}"),
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    catcher.process.logged("session ended");
}

/// Rules: C6
#[test]
fn catch_leaves_the_command_the_connection_standard_error_and_no_other_descriptor() {
    let catcher = Catcher::start(&[], &["/bin/ls", "-l", "/proc/self/fd"]);
    let (ours, mut theirs) = pair();
    let mut hand = catcher.ready();
    hand.say_with(&Hand::record(&ours), &[ours.as_raw_fd()]);
    assert_eq!(hand.hears()["message"], "taken");
    drop(ours);
    let mut list = String::new();
    theirs.read_to_string(&mut list).unwrap();
    let open: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split_once(" -> ")?.0.rsplit(' ').next())
        .collect();
    // 3 is the directory that ls reads.
    assert_eq!(open, ["0", "1", "2", "3"], "{list}");
}

/// Rules: R29
#[test]
fn catch_carries_on_when_the_sender_is_killed() {
    let mut catcher = Catcher::start(&[], SERVER);
    let (killed, go_on) = mpsc::channel();
    let (address, provider) = scripted(move |mut peer| {
        opened(&mut peer);
        peer.line().unwrap();
        peer.send("250 turning\r\n");
        assert_eq!(peer.line().unwrap(), "220 here");
        go_on.recv().unwrap();
        peer.send("MAIL\n");
        assert_eq!(peer.line().unwrap(), "250 MAIL");
        peer.send("QUIT\n");
        peer.rest()
    });
    let run = Fetch::catch(&catcher.socket);
    let mut fetch = run.start(address);
    fetch.logged("handed over");
    fetch.signal(Signal::SIGKILL);
    fetch.ended();
    killed.send(()).unwrap();
    assert_eq!(provider.join().unwrap(), "250 QUIT\r\n");
    catcher.process.logged("session ended");
}

/// The descriptor has no address then.
/// Rules: C9, C7
#[test]
fn catch_tells_the_command_who_the_peer_is_when_a_relay_carries_it() {
    let catcher = Catcher::start(&["--command-peer", "environment"], &["/usr/bin/env"]);
    let mut hand = catcher.called();
    hand.say(&Hand::offer_of_a_relay());
    assert_eq!(hand.hears()["message"], "ready");
    let (end, mut other) = UnixStream::pair().unwrap();
    hand.say_with(&Hand::relayed("192.0.2.1:366"), &[end.as_raw_fd()]);
    assert_eq!(hand.hears()["message"], "taken");
    drop(end);
    let mut environment = String::new();
    other.read_to_string(&mut environment).unwrap();
    for line in ["TCPREMOTEIP=192.0.2.1\n", "TCPREMOTEPORT=366\n"] {
        assert!(environment.contains(line), "{environment}");
    }
    let mut catcher = catcher;
    let line = catcher.process.logged("connection taken");
    assert!(line.contains("carried=relay"), "{line}");
    assert!(line.contains("tls=\"TLS1.3 "), "{line}");
}

/// Rules: C9, R26
#[test]
fn catch_refuses_before_atrn_what_a_relay_carries_to_a_command_that_cannot_learn_its_peer() {
    let mut catcher = Catcher::start(&[], &["/usr/bin/env"]);
    catcher
        .process
        .logged("connections that come through a relay will be refused");
    let mut hand = catcher.called();
    hand.say(&Hand::offer_of_a_relay());
    let reason = hand.refused();
    assert!(
        reason.contains("it is not known how it learns the peer's address"),
        "{reason}"
    );
}

/// Rules: R26
#[test]
fn catch_that_cannot_start_its_command_after_the_250_makes_a_421_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("smtpd");
    std::fs::write(&program, "#!/nonexistent/interpreter\n").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let catcher = Catcher::start(&[], &[program.to_str().unwrap()]);
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        assert_eq!(peer.line().unwrap(), "ATRN");
        peer.send("250 turning\r\n");
        peer.rest()
    });
    let (code, said) = outcome(&Fetch::catch(&catcher.socket).run(address));
    assert_eq!(code, 75);
    assert!(said.contains("cannot start "), "{said}");
    let heard = provider.join().unwrap();
    assert!(
        heard.starts_with("421 customer.example.org ") && heard.lines().count() == 1,
        "{heard}"
    );
}

/// Rules: R26
#[test]
fn catch_whose_command_is_gone_says_so_before_atrn() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("smtpd");
    std::fs::write(&program, "").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let catcher = Catcher::start(&[], &[program.to_str().unwrap()]);
    std::fs::remove_file(&program).unwrap();
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        quit_at_once(peer);
    });
    let (code, said) = outcome(&Fetch::catch(&catcher.socket).run(address));
    assert_eq!(code, 75);
    assert!(said.contains("is the mail server installed?"), "{said}");
    provider.join().unwrap();
}

/// Rules: C9
#[test]
fn catch_serves_only_users_that_it_was_told_of() {
    // Root is no exception when others are named.
    let stranger = (nix::unistd::geteuid().as_raw() + 1).to_string();
    let mut catcher = Catcher::start(&["--allow-uid", &stranger], &["/usr/bin/env"]);
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        quit_at_once(peer);
    });
    let (code, said) = outcome(&Fetch::catch(&catcher.socket).run(address));
    assert_eq!(code, 75);
    assert!(said.contains("may not send connections here"), "{said}");
    provider.join().unwrap();
    catcher.process.logged("refused");
}

/// As its own user, whom the socket's mode keeps away or not.
#[test]
fn catch_is_called_by_another_user_only_if_that_was_allowed() {
    if !nix::unistd::geteuid().is_root() {
        // Only root can become somebody else.
        return;
    }
    const OTHER: &str = "61017";
    let answers = |options: &[&str]| {
        let catcher = Catcher::start(options, SERVER);
        let open = PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(catcher.directory.path(), open).unwrap();
        let mode = std::fs::metadata(&catcher.socket).unwrap().permissions();
        let offer = format!("{}\n", Hand::offer());
        let script = "use Socket; $SIG{PIPE} = 'IGNORE'; socket(S, PF_UNIX, SOCK_STREAM, 0); \
            connect(S, sockaddr_un($ARGV[0])) or die $!; syswrite S, $ARGV[1]; sysread S, $x, 8192; print $x";
        let output = Command::new("setpriv")
            .args(["--reuid", OTHER, "--clear-groups", "perl", "-e", script])
            .arg(&catcher.socket)
            .arg(offer)
            .output()
            .unwrap();
        (
            mode.mode() & 0o777,
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    assert_eq!(answers(&[]), (0o600, String::new()));
    let (mode, answer) = answers(&["--allow-uid", "61018"]);
    assert_eq!(mode, 0o666);
    assert!(answer.contains("user 61017 may not send"), "{answer}");
    let (_, answer) = answers(&["--allow-uid", OTHER]);
    assert!(answer.contains("\"ready\""), "{answer}");
}

#[test]
fn catch_takes_as_many_at_once_as_it_was_told() {
    let catcher = Catcher::start(&["--most", "2"], SERVER);
    let (ours, mut theirs) = pair();
    let mut running = catcher.ready();
    running.say_with(&Hand::record(&ours), &[ours.as_raw_fd()]);
    assert_eq!(running.hears()["message"], "taken");
    drop(ours);
    let waiting = catcher.ready();
    let mut third = catcher.called();
    third.say(&Hand::offer());
    assert!(third.refused().contains("--most"));
    // A place is free when a caller has hung up, and when a session has ended.
    drop(waiting);
    crate::driver::until("a free place", || {
        let mut again = catcher.called();
        again.say(&Hand::offer());
        (again.hears()["message"] == "ready").then_some(())
    });
    let _waiting = catcher.ready();
    theirs.write_all(b"QUIT\n").unwrap();
    crate::driver::until("another free place", || {
        let mut again = catcher.called();
        again.say(&Hand::offer());
        (again.hears()["message"] == "ready").then_some(())
    });
}

#[test]
fn catch_sees_its_sessions_out_after_sigterm_and_takes_no_more() {
    let mut catcher = Catcher::start(&[], SERVER);
    let (ours, mut theirs) = pair();
    let mut hand = catcher.ready();
    hand.say_with(&Hand::record(&ours), &[ours.as_raw_fd()]);
    assert_eq!(hand.hears()["message"], "taken");
    drop(ours);
    let mut waiting = catcher.ready();
    catcher.process.signal(Signal::SIGTERM);
    assert!(waiting.refused().contains("stopping"));
    assert!(!catcher.socket.exists(), "the socket is left");
    theirs.write_all(b"QUIT\n").unwrap();
    let mut said = String::new();
    theirs.read_to_string(&mut said).unwrap();
    assert_eq!(said, "220 here\r\n250 QUIT\r\n");
    let (status, log) = catcher.process.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("session ended"), "{log}");
}

#[test]
fn catch_leaves_its_sessions_to_themselves_at_a_second_signal() {
    // Standard error is read to its end here, which the mail server must not put off.
    let script = SERVER[2].replacen("printf", "exec 2>/dev/null; printf", 1);
    let mut catcher = Catcher::start(&[], &[SERVER[0], SERVER[1], &script]);
    let (ours, mut theirs) = pair();
    let mut hand = catcher.ready();
    hand.say_with(&Hand::record(&ours), &[ours.as_raw_fd()]);
    assert_eq!(hand.hears()["message"], "taken");
    drop(ours);
    catcher.process.signal(Signal::SIGTERM);
    catcher.process.logged("stopping");
    catcher.process.signal(Signal::SIGTERM);
    let (status, log) = catcher.process.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    theirs.write_all(b"MAIL\nQUIT\n").unwrap();
    let mut said = String::new();
    theirs.read_to_string(&mut said).unwrap();
    assert_eq!(said, "220 here\r\n250 MAIL\r\n250 QUIT\r\n");
}

#[test]
fn catch_that_was_killed_leaves_a_socket_that_the_next_one_replaces() {
    let mut catcher = Catcher::start(&[], SERVER);
    catcher.process.signal(Signal::SIGKILL);
    catcher.process.ended();
    let left = std::fs::metadata(&catcher.socket).unwrap();
    assert!(left.file_type().is_socket());
    let arguments = Catcher::arguments(&catcher.socket, &[], SERVER);
    let mut next = crate::driver::Running::start(&arguments);
    next.logged(" ready ");
    catcher.ready();
}

#[test]
fn catch_does_not_take_a_socket_from_another_program_nor_a_file() {
    let catcher = Catcher::start(&[], SERVER);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "kept").unwrap();
    let foreign = directory.path().join("foreign");
    let _listener = UnixListener::bind(&foreign).unwrap();
    let missing = directory.path().join("missing/socket");
    for (socket, why) in [
        (&catcher.socket, "somebody does already"),
        (&foreign, "somebody does already"),
        (&file, "it is no socket"),
        (&missing, "is the directory there"),
    ] {
        let arguments = Catcher::arguments(socket, &[], SERVER);
        let (status, log) = crate::driver::Running::start(&arguments).ended();
        assert_eq!(status.code(), Some(69), "{log}");
        assert!(log.contains(why), "{why}: {log}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
    catcher.ready();
}

/// Rules: C9
#[test]
fn catch_does_not_start_with_a_command_that_would_relay_anything_or_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let sendmail = directory.path().join("sendmail");
    std::fs::write(&sendmail, "\x7fELF ... postdrop ...").unwrap();
    std::fs::set_permissions(&sendmail, PermissionsExt::from_mode(0o755)).unwrap();
    let socket = directory.path().join("catch.sock");
    for (command, why) in [
        (
            &[sendmail.to_str().unwrap(), "-bs"][..],
            "Postfix's sendmail -bs",
        ),
        (&["/nonexistent/smtpd"], "is the mail server installed?"),
        (&["cat"], "not an absolute path"),
    ] {
        let arguments = Catcher::arguments(&socket, &[], command);
        let (status, log) = crate::driver::Running::start(&arguments).ended();
        assert_eq!(status.code(), Some(78), "{log}");
        assert!(log.contains(why), "{why}: {log}");
        assert!(!socket.exists());
    }
}

#[test]
fn catch_cannot_allow_the_user_that_stands_for_everybody_or_nobody_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("catch.sock");
    for (options, why) in [
        (
            ["--allow-uid", "65534"],
            "every user of another user namespace",
        ),
        (["--allow-user", "nosuchuser"], "no such user here"),
    ] {
        let arguments = Catcher::arguments(&socket, &options, SERVER);
        let (status, log) = crate::driver::Running::start(&arguments).ended();
        assert_eq!(status.code(), Some(78), "{log}");
        assert!(log.contains(why), "{why}: {log}");
    }
}

/// In a container it is often the first process, and mail servers leave work to the background.
#[test]
fn catch_as_the_first_process_leaves_no_zombies() {
    if !nix::unistd::geteuid().is_root() {
        // Only root can make a process namespace here.
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("catch.sock");
    let script = "for n in 1 2 3 4 5; do sh -c 'exec <&- >&-; sleep 0.2' & done; echo 220 left";
    let mut child = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(env!("CARGO_BIN_EXE_turnabout"))
        .args(Catcher::arguments(&socket, &[], &["/bin/sh", "-c", script]))
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    crate::driver::until("the socket", || socket.exists().then_some(()));
    let first = crate::driver::until("the first process", || {
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let text = std::fs::read_to_string(children).ok()?;
        text.trim().parse::<i32>().ok()
    });
    for _ in 0..2 {
        let (ours, mut theirs) = pair();
        let mut hand = Hand::new(crate::driver::until("an answer", || {
            UnixStream::connect(&socket).ok()
        }));
        hand.say(&Hand::offer());
        assert_eq!(hand.hears()["message"], "ready");
        hand.say_with(&Hand::record(&ours), &[ours.as_raw_fd()]);
        assert_eq!(hand.hears()["message"], "taken");
        drop(ours);
        let mut said = String::new();
        theirs.read_to_string(&mut said).unwrap();
        assert_eq!(said, "220 left\n");
    }
    let children = format!("/proc/{first}/task/{first}/children");
    crate::driver::until("the end of every orphan", || {
        std::fs::read_to_string(&children)
            .unwrap()
            .trim()
            .is_empty()
            .then_some(())
    });
    kill(Pid::from_raw(first), Signal::SIGTERM).unwrap();
    let status = crate::driver::until("the end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}
