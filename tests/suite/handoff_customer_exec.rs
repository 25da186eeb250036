//! The customer's hand-off by exec: what the mail server finds when it is started.

use crate::driver::{Fetch, Peer, opened, scripted};
use crate::fetch_talk::outcome;
use std::net::SocketAddr;
use std::process::Output;

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

#[test]
fn the_command_runs_as_its_user() {
    if !nix::unistd::geteuid().is_root() {
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
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
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
