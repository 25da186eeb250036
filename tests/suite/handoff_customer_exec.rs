//! The customer's hand-off by exec: what the mail server finds when it is started.

use crate::driver::{Fetch, Peer, opened, scripted};
use crate::fetch_talk::outcome;
use nix::sys::signal::Signal;
use nix::unistd::{Uid, chown, geteuid};
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

/// Turns the connection and gives what comes over it, with the two addresses.
fn turned(run: &Fetch) -> (Output, String, SocketAddr, SocketAddr) {
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        assert_eq!(peer.line().unwrap(), "ATRN");
        peer.send("250 turning\r\n");
        let rest = peer.rest();
        let stream = &peer.stream;
        (
            rest,
            stream.local_addr().unwrap(),
            stream.peer_addr().unwrap(),
        )
    });
    let output = run.run(address);
    let (rest, theirs, ours) = provider.join().unwrap();
    (output, rest, theirs, ours)
}

/// Rules: C9
#[test]
fn the_environment_tells_the_peer_and_nothing_else_is_in_it() {
    let (output, environment, theirs, ours) = turned(&Fetch::exec(&["/usr/bin/env"]));
    assert_eq!(output.status.code(), Some(0));
    let mut found: Vec<&str> = environment.lines().collect();
    found.sort_unstable();
    found.retain(|line| !line.starts_with("TZ="));
    let (peer, local) = (theirs.port(), ours.port());
    let mut expected = vec![
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "PROTO=TCP".to_owned(),
        "TCPREMOTEIP=127.0.0.1".to_owned(),
        format!("TCPREMOTEPORT={peer}"),
        "TCPLOCALIP=127.0.0.1".to_owned(),
        format!("TCPLOCALPORT={local}"),
        "REMOTE_ADDR=127.0.0.1".to_owned(),
        format!("REMOTE_PORT={peer}"),
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
}

/// Rules: C6
#[test]
fn the_socket_is_blocking() {
    let (_, info, ..) = turned(&Fetch::exec(&["/bin/cat", "/proc/self/fdinfo/0"]));
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = i32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
    assert_eq!(flags & nix::fcntl::OFlag::O_NONBLOCK.bits(), 0, "{info}");
}

/// Rules: C6
#[test]
fn the_mail_server_has_the_connection_standard_error_and_no_other_descriptor() {
    // Whoever started us may have left something open.
    let left = std::fs::File::open("/dev/null").unwrap();
    let open_on_exec = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty());
    nix::fcntl::fcntl(&left, open_on_exec).unwrap();
    let (_, list, ..) = turned(&Fetch::exec(&["/bin/ls", "-l", "/proc/self/fd"]));
    let open: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split_once(" -> ")?.0.rsplit(' ').next())
        .collect();
    // 3 is the directory that ls reads.
    assert_eq!(open, ["0", "1", "2", "3"], "{list}");
    let target = |number: &str| {
        let mut lines = list.lines();
        let line = lines.find(|line| line.contains(&format!(" {number} -> ")));
        line.unwrap().split_once(" -> ").unwrap().1.to_owned()
    };
    assert!(target("0").starts_with("socket:") && target("0") == target("1"));
    assert_ne!(target("2"), target("0"));
    assert!(target("3").starts_with("/proc/"), "{list}");
}

#[test]
fn the_exit_of_the_mail_server_is_reported() {
    let (output, ..) = turned(&Fetch::exec(&["/bin/sh", "-c", "exit 3"]));
    let (code, said) = outcome(&output);
    assert_eq!(code, 75);
    assert!(said.contains("/bin/sh ended with exit code 3"), "{said}");
    let (output, ..) = turned(&Fetch::exec(&["/bin/sh", "-c", "kill -9 $$"]));
    let (code, said) = outcome(&output);
    assert_eq!(code, 75);
    assert!(said.contains("/bin/sh ended with signal 9"), "{said}");
}

/// Sendmail's way: the code of what was refused last, behind 221.
#[test]
fn a_code_about_mail_at_the_end_of_a_session_that_sendmail_held_is_a_warning() {
    let serve =
        r"printf '220 me\r\n'; read ehlo; printf '250 me\r\n'; read quit; printf '221 bye\r\n'";
    let others = [("sendmail-wrapper", 68, 75), ("another", 69, 75)];
    let sendmails = [68, 64].map(|code| ("sendmail", code, 0));
    let troubles = [75, 78, 1].map(|code| ("sendmail", code, 75));
    for (name, code, end) in others.into_iter().chain(sendmails).chain(troubles) {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join(name);
        std::fs::write(&program, format!("#!/bin/sh\n{serve}; exit {code}\n")).unwrap();
        let mode = PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        let (address, provider) = scripted(|mut peer| {
            opened(&mut peer);
            peer.line().unwrap();
            peer.send("250 turning\r\n");
            assert_eq!(peer.reply().0, 220);
            assert_eq!(peer.code("EHLO provider.example.com"), 250);
            // As long as it takes to refuse something.
            std::thread::sleep(std::time::Duration::from_millis(1000));
            assert_eq!(peer.code("QUIT"), 221);
        });
        let output = Fetch::exec(&[program.to_str().unwrap()]).run(address);
        provider.join().unwrap();
        let (found, said) = outcome(&output);
        assert_eq!(found, end, "{name} {code}: {said}");
        let log = String::from_utf8(output.stderr).unwrap();
        let warned = log.contains("the session was held") && log.contains(&format!("code {code} "));
        assert_eq!(warned, end == 0, "{log}");
    }
}

/// The same codes from a program that was never heard: it did not start.
#[test]
fn a_code_about_mail_from_a_program_that_held_no_session_is_a_failed_fetch() {
    for code in [64, 67, 68, 69, 77, 126, 127] {
        let (output, ..) = turned(&Fetch::exec(&["/bin/sh", "-c", &format!("exit {code}")]));
        let (found, said) = outcome(&output);
        assert_eq!(found, 75, "{said}");
        assert!(
            said.contains(&format!("ended with exit code {code}")),
            "{said}"
        );
    }
}

#[test]
fn what_the_mail_server_says_on_standard_error_never_reaches_the_provider() {
    let run = Fetch::exec(&[
        "/bin/sh",
        "-c",
        "echo to the operator >&2; echo to the provider",
    ]);
    let (output, rest, ..) = turned(&run);
    assert_eq!(rest, "to the provider\n");
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("to the operator")
    );
}

#[test]
fn the_provider_sees_the_end_as_soon_as_the_mail_server_has_closed() {
    // The child closes the connection and stays: no copy of it may be left in our hands.
    let run = Fetch::exec(&["/bin/sh", "-c", "exec <&- >&- 2>&-; sleep 2"]);
    let started = std::time::Instant::now();
    let (address, provider) = scripted(move |mut peer: Peer| {
        opened(&mut peer);
        peer.line().unwrap();
        peer.send("250 turning\r\n");
        peer.assert_ended();
        started.elapsed()
    });
    let output = run.run(address);
    assert_eq!(output.status.code(), Some(0));
    let closed = provider.join().unwrap();
    assert!(
        closed + std::time::Duration::from_secs(1) < started.elapsed(),
        "{closed:?}"
    );
}

/// Turns the connection for a customer that something else has started.
fn turned_by(starter: Command) -> (Output, String) {
    turned_by_to(starter, &Fetch::exec(&["/bin/cat", "/proc/self/status"]))
}

/// The same, for this one.
fn turned_by_to(mut starter: Command, fetch: &Fetch) -> (Output, String) {
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        peer.line().unwrap();
        peer.send("250 turning\r\n");
        peer.rest()
    });
    starter.arg(env!("CARGO_BIN_EXE_turnabout"));
    starter.args(fetch.arguments_for(address));
    let output = starter.stdin(Stdio::null()).output().unwrap();
    (output, provider.join().unwrap())
}

/// A line of `/proc/PID/status`.
fn line<'a>(status: &'a str, name: &str) -> &'a str {
    let mut lines = status.lines();
    let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    found.unwrap_or_else(|| panic!("no {name} in {status:?}"))
}

#[test]
fn the_mail_server_ignores_and_blocks_no_signal_that_it_needs() {
    let mut starter = Command::new("/usr/bin/env");
    starter.args(["--ignore-signal=ALRM,CHLD,PIPE,TERM", "--block-signal"]);
    let (output, status) = turned_by(starter);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(u64::from_str_radix(line(&status, "SigBlk"), 16), Ok(0));
    let ignored = u64::from_str_radix(line(&status, "SigIgn"), 16).unwrap();
    for signal in [
        Signal::SIGALRM,
        Signal::SIGCHLD,
        Signal::SIGPIPE,
        Signal::SIGTERM,
    ] {
        assert_eq!(
            ignored >> (signal as i32 - 1) & 1,
            0,
            "{signal} in {ignored:x}"
        );
    }
}

#[test]
fn the_mail_server_writes_no_file_that_everybody_may_write() {
    for (ours, its) in [("000", "0022"), ("077", "0077"), ("022", "0022")] {
        let mut starter = Command::new("/bin/sh");
        starter.args(["-c", &format!("umask {ours}; exec \"$0\" \"$@\"")]);
        let (_, status) = turned_by(starter);
        assert_eq!(line(&status, "Umask"), its);
    }
}

#[test]
fn the_mail_server_starts_in_the_root_directory_and_in_a_process_group_of_its_own() {
    let (_, where_it_is, ..) = turned(&Fetch::exec(&["/bin/pwd"]));
    assert_eq!(where_it_is, "/\n");
    let (_, stat, ..) = turned(&Fetch::exec(&["/bin/cat", "/proc/self/stat"]));
    let fields: Vec<&str> = stat.split(' ').collect();
    assert_eq!(fields[0], fields[4], "{stat}");
}

#[test]
fn the_command_runs_as_its_user() {
    if !geteuid().is_root() {
        // Only root can become somebody else.
        return;
    }
    let run = Fetch::exec(&["/usr/bin/id"]).with(&["--command-user", "nobody"]);
    let (output, who, ..) = turned(&run);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    assert!(
        who.contains(&format!("uid={}(nobody)", nobody.uid)),
        "{who}"
    );
    assert!(!who.contains("(root)"), "root's groups are left: {who}");
}

/// Rules: R26
#[test]
fn a_program_that_does_not_start_after_the_250_is_a_421_to_the_provider() {
    let run = Fetch::exec(&[]);
    let program = run.path("smtpd");
    std::fs::write(&program, "#!/nonexistent/interpreter\n").unwrap();
    let mode = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    let mut run = run;
    run.handoff.push(program.to_str().unwrap().to_owned());
    let (output, rest, ..) = turned(&run);
    let (code, said) = outcome(&output);
    assert_eq!(code, 75);
    assert!(said.contains("cannot start "), "{said}");
    assert!(rest.starts_with("421 customer.example.org "), "{rest}");
    assert_eq!(rest.lines().count(), 1);
}

/// As a unit of systemd may have it.
#[test]
fn a_set_user_id_bit_without_effect_is_a_warning() {
    if !geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("server");
    std::fs::copy("/bin/cat", &program).unwrap();
    chown(&program, Some(Uid::from_raw(65_534)), None).unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o4755)).unwrap();
    let words = "set-user-ID bit has no effect";
    for (switch, warns) in [("--no-new-privs", true), ("--inh-caps=-all", false)] {
        let run = Fetch::exec(&[program.to_str().unwrap(), "/proc/self/status"]);
        let mut starter = Command::new("setpriv");
        starter.arg(switch);
        let (output, status) = turned_by_to(starter, &run);
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(log.contains(words), warns, "{log}");
        let expected = if warns { "0" } else { "65534" };
        let effective = line(&status, "Uid").split_whitespace().nth(1);
        assert_eq!(effective, Some(expected), "{status}");
    }
}
