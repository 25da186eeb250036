//! Hand-offs of a connection that a relay carries: the mail server is told who the peer is, or does not get it.

use crate::driver::Receiver;
use crate::tls_world::{Peer, secured_server};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use turnabout::config::{CommandPeer, CustomerHandoff};
use turnabout::handoff::Reversed;
use turnabout::handoff::catch::words::About;
use turnabout::handoff::customer::{Carried, prepare};
use turnabout::handoff::exec::{Exec, Over};
use turnabout::handoff::exim_continue::{EximContinue, EximSettings};
use turnabout::smtp::domain::DomainList;
use turnabout::smtp::ehlo::Offer;
use turnabout::wire::follow::Followed;
use turnabout::wire::{RelayEnd, Relays, Released};

const PATIENCE: Duration = Duration::from_secs(20);

const ABOUT: About<'static> = About {
    session: "test",
    provider: "isp",
    user: "alice",
    domains: None,
};

async fn carried() -> (Released, Peer) {
    carried_by(&Relays::default()).await
}

async fn carried_by(relays: &Relays) -> (Released, Peer) {
    let (ends, peer) = secured_server().await;
    let released = ends.wire.release(relays).await.unwrap();
    assert_eq!(released.carriage().name(), "relay");
    (released, peer)
}

/// A program of this name that does what the script says.
fn program(directory: &Path, name: &str, script: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/bash\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn exec(path: &Path, arguments: &[&str], user: Option<&str>, peer: Option<CommandPeer>) -> Exec {
    let path = [path.to_str().unwrap()];
    let command: Vec<String> = path
        .iter()
        .chain(arguments)
        .map(|word| (*word).to_owned())
        .collect();
    Exec::new(&command, user, peer).unwrap()
}

/// Runs the command on a connection of its own; gives what the peer has heard of it, and the end.
async fn heard(exec: &Exec) -> (String, Over, Addresses) {
    let (released, mut peer) = carried().await;
    let addresses = Addresses {
        peer: format!("{}.{}", released.peer().ip(), released.peer().port()),
        local: format!("{}.{}", released.local().ip(), released.local().port()),
    };
    let listening = std::thread::spawn(move || {
        let (heard, end) = peer.rest();
        end.unwrap();
        heard
    });
    let running = exec.prepare(true).unwrap().commit(released).unwrap();
    let over = tokio::time::timeout(PATIENCE, running.wait())
        .await
        .unwrap();
    (listening.join().unwrap(), over, addresses)
}

/// Both addresses as Exim writes them.
struct Addresses {
    peer: String,
    local: String,
}

/// Rules: C9
#[tokio::test]
async fn exim_is_told_both_addresses_by_its_arguments() {
    if !nix::unistd::geteuid().is_root() {
        // Exim believes root only.
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let exim = program(directory.path(), "exim4", r#"echo "$@""#);
    let link = directory.path().join("sendmail");
    std::os::unix::fs::symlink(&exim, &link).unwrap();
    let wrapper = program(directory.path(), "wrapper", r#"echo "$@""#);
    for exec in [
        exec(&exim, &["-bs"], None, None),
        exec(&link, &["-bs"], None, None),
        exec(&wrapper, &["-bs"], None, Some(CommandPeer::Exim)),
    ] {
        let (heard, over, Addresses { peer, local }) = heard(&exec).await;
        assert_eq!(heard, format!("-bs -oMa {peer} -oMi {local}\n"));
        over.child.unwrap();
        assert_eq!(over.relay, Some(RelayEnd::Closed));
    }
}

/// Rules: C9
#[tokio::test]
async fn a_server_that_reads_the_environment_is_told_there_and_only_there() {
    let exec = exec(
        Path::new("/usr/bin/env"),
        &[],
        None,
        Some(CommandPeer::Environment),
    );
    let (heard, _, Addresses { peer, local }) = heard(&exec).await;
    for (name, address) in [("TCPREMOTE", peer), ("TCPLOCAL", local)] {
        let (ip, port) = address.rsplit_once('.').unwrap();
        assert!(heard.contains(&format!("{name}IP={ip}\n")), "{heard}");
        assert!(heard.contains(&format!("{name}PORT={port}\n")), "{heard}");
    }
    assert!(!heard.contains("RELAYCLIENT"), "{heard}");
}

/// On a socket pair they would take the provider for a user of this machine, and relay for it.
/// Rules: C9
#[tokio::test]
async fn servers_that_ask_their_descriptor_are_refused_before_atrn() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let smtpd = program(root, "smtpd", "echo never");
    program(root, "cleanup", "");
    let sendmail = program(root, "sendmail", "echo never");
    let other = program(root, "other", "echo never");
    let exim = program(root, "exim4", "echo never");
    let around = program(root, "exim-wrapper", "echo never");
    let environment = Some(CommandPeer::Environment);
    for (exec, why) in [
        (exec(&smtpd, &["-S"], None, None), "not known"),
        (
            exec(&smtpd, &["-S"], None, environment),
            "asks its descriptor",
        ),
        (exec(&sendmail, &["-bs"], None, None), "not known"),
        (
            exec(&sendmail, &["-bs"], None, environment),
            "asks its descriptor",
        ),
        (exec(&other, &[], None, None), "not known"),
        // Not as a server.
        (exec(&exim, &["-bd"], None, None), "not known"),
        (
            exec(&exim, &["-bs"], None, environment),
            "asks its descriptor",
        ),
        // Nobody knows whether it hands its arguments on.
        (exec(&around, &["-bs"], None, None), "not known"),
        // They are silent about -oMa, and do not heed it.
        (
            exec(&sendmail, &["-bs"], None, Some(CommandPeer::Exim)),
            "not Exim",
        ),
        (
            exec(&smtpd, &["-S"], None, Some(CommandPeer::Exim)),
            "not Exim",
        ),
    ] {
        let refused = exec.prepare(true).unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
        assert!(
            refused.starts_with("cannot give a connection under TLS to "),
            "{refused}"
        );
        // The same command is good for a connection of its own.
        let ready = exec.prepare(false).unwrap();
        // And if it comes to a relay all the same, it does not get it.
        let (released, _peer) = carried().await;
        let refused = ready.commit(released).unwrap_err();
        assert!(refused.0.to_string().contains("not made ready for a relay"));
    }
    assert!(exec(&other, &[], None, environment).prepare(true).is_ok());
}

/// Rules: C9
#[test]
fn exim_that_would_not_believe_its_arguments_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let by_number = format!("exim_user = {}", nobody.uid);
    for (says, trusted) in [
        ("exim_user = mail\ntrusted_users =", false),
        ("exim_user = mail\ntrusted_users = daemon:nobody", true),
        ("exim_user = nobody", true),
        (by_number.as_str(), true),
        ("nobody", false),
        ("other_option = nobody", false),
        ("", false),
    ] {
        let exim = program(
            directory.path(),
            "exim4",
            &format!("cat <<'END'\n{says}\nEND"),
        );
        let ready = exec(&exim, &["-bs"], Some("nobody"), None).prepare(true);
        match ready {
            Ok(_) => assert!(trusted, "{says}"),
            Err(refused) => {
                assert!(!trusted, "{says}");
                assert!(
                    refused.to_string().contains("trusted users only"),
                    "{refused}"
                );
            }
        }
    }
}

/// The same Exim with another configuration trusts others.
/// Rules: C9
#[test]
fn exim_is_asked_whom_it_trusts_with_the_configuration_it_will_have() {
    let directory = tempfile::tempdir().unwrap();
    let script =
        "[[ $* == '-C /other -DX=y -bP exim_user trusted_users' ]] || echo trusted_users = nobody";
    let exim = program(directory.path(), "exim4", script);
    let trusts = |arguments: &[&str]| {
        let exec = exec(&exim, arguments, Some("nobody"), None);
        exec.prepare(true).is_ok()
    };
    assert!(trusts(&["-bs"]));
    assert!(trusts(&["-C", "/one", "-bs"]));
    assert!(!trusts(&["-C", "/other", "-v", "-DX=y", "-bs"]));
}

/// Rules: C7
#[tokio::test]
async fn a_command_has_ended_when_its_last_words_are_carried() {
    let words = "for n in $(seq 20000); do echo 250-$n; done; echo 221 bye";
    let directory = tempfile::tempdir().unwrap();
    let server = program(directory.path(), "server", words);
    let exec = exec(&server, &[], None, Some(CommandPeer::Environment));
    let (released, mut peer) = carried().await;
    let listening = std::thread::spawn(move || {
        // It is in no hurry.
        std::thread::sleep(Duration::from_millis(500));
        peer.rest()
    });
    let running = exec.prepare(true).unwrap().commit(released).unwrap();
    let over = tokio::time::timeout(PATIENCE, running.wait())
        .await
        .unwrap();
    assert_eq!(over.relay, Some(RelayEnd::Closed));
    // Nothing of this process is needed any more.
    let (heard, end) = tokio::task::spawn_blocking(|| listening.join().unwrap())
        .await
        .unwrap();
    end.unwrap();
    assert_eq!(heard.lines().count(), 20_001);
    assert!(heard.ends_with("221 bye\n"));
}

/// Rules: C7
#[tokio::test]
async fn a_provider_that_is_lost_during_a_command_is_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let server = program(directory.path(), "server", "cat >/dev/null");
    let exec = exec(&server, &[], None, Some(CommandPeer::Environment));
    let (released, mut peer) = carried().await;
    let running = exec.prepare(true).unwrap().commit(released).unwrap();
    peer.say("half a message");
    drop(peer);
    let over = tokio::time::timeout(PATIENCE, running.wait())
        .await
        .unwrap();
    assert!(matches!(over.relay, Some(RelayEnd::Lost(_))), "{over:?}");
}

/// Rules: R26, C7
#[tokio::test]
async fn a_mail_server_that_does_not_take_it_is_a_421_through_the_relay() {
    let directory = tempfile::tempdir().unwrap();
    let server = program(directory.path(), "other", "echo never");
    let handoff = CustomerHandoff::Exec {
        command: vec![server.to_str().unwrap().to_owned()],
        user: None,
        peer: None,
        tunnel: true,
    };
    let relays = Relays::default();
    let (ends, mut peer) = secured_server().await;
    let addresses = (ends.wire.peer(), ends.wire.local());
    let ready = prepare(&handoff, false, addresses).await.unwrap();
    let listening = std::thread::spawn(move || peer.rest());
    let committed = ready
        .commit(ends.wire, &relays, "me.example.org", &ABOUT)
        .await;
    committed.unwrap_err();
    // The process may end now, and a relay would end with it.
    assert_eq!(relays.running(), 0);
    let (heard, end) = tokio::task::spawn_blocking(|| listening.join().unwrap())
        .await
        .unwrap();
    assert!(heard.starts_with("421 me.example.org "), "{heard}");
    end.unwrap();
}

/// Rules: C9, C7
#[tokio::test]
async fn postfix_is_told_the_true_addresses_and_speaks_through_the_relay() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(directory.path());
    let handoff = CustomerHandoff::PostfixPass {
        socket: receiver.socket.clone(),
    };
    let (ends, mut peer) = secured_server().await;
    let (theirs, ours) = (ends.wire.peer(), ends.wire.local());
    let ready = prepare(&handoff, true, (theirs, ours)).await.unwrap();
    let expected = [
        ("client_address", theirs.ip().to_string()),
        ("client_port", theirs.port().to_string()),
        ("server_address", ours.ip().to_string()),
        ("server_port", ours.port().to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    let committed = ready
        .commit(ends.wire, &Relays::default(), "me", &ABOUT)
        .await;
    let Carried::Passed(view) = committed.unwrap().carried else {
        panic!("not passed");
    };
    let session = std::thread::spawn(move || {
        let passed = receiver.next();
        assert_eq!(passed.attributes, expected);
        let mut mail_server = UnixStream::from(passed.connection);
        mail_server.write_all(b"220 me\r\n").unwrap();
        assert_eq!(peer.line(), "220 me");
        peer.say("QUIT\r\n");
        let mut quit = [0; 6];
        mail_server.read_exact(&mut quit).unwrap();
        mail_server.write_all(b"221 bye\r\n").unwrap();
        drop(mail_server);
        peer.rest()
    });
    assert_eq!(view.is_open(), Some(true));
    assert_eq!(view.until_closed(PATIENCE).await, Followed::Ended);
    let (heard, end) = tokio::task::spawn_blocking(|| session.join().unwrap())
        .await
        .unwrap();
    assert_eq!(heard, "221 bye\r\n");
    end.unwrap();
}

/// An Exim of one script: it has a queue of one message, and what `-MC` does is the test's.
struct Exim(TempDir);

impl Exim {
    fn new(continued: &str, with_tls: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().display();
        let refuse = "echo 'exim: malformed message id none after -MC option' >&2; exit 1";
        let proxied = if with_tls {
            refuse
        } else {
            "echo 'unknown option -MCt' >&2; exit 1"
        };
        program(
            directory.path(),
            "exim4",
            &format!(
                "case \"$*\" in\n\
                 -bV) echo 'Exim version 4.96 #2 built' ;;\n\
                 '-bP spool_directory') echo 'spool_directory = {root}' ;;\n\
                 *-MCt*none) {proxied} ;;\n\
                 *' 2 none') {refuse} ;;\n\
                 -bpu) cat {root}/queue 2>/dev/null; exit 0 ;;\n\
                 '-M '*|-Mvl*) ;;\n\
                 *' 2 1kEw3Y-0003Fj-2c') echo \"$*\" >{root}/arguments; {continued} ;;\n\
                 *) exit 1 ;;\n\
                 esac"
            ),
        );
        let message = " 4m   2.3K 1kEw3Y-0003Fj-2c <a@example.com>\n          x@example.org\n\n";
        std::fs::write(directory.path().join("queue"), message).unwrap();
        Self(directory)
    }

    async fn known(&self) -> EximContinue {
        EximContinue::new(EximSettings {
            command: self.0.path().join("exim4"),
            transport: "odmr".to_owned(),
            total_time: PATIENCE,
        })
        .await
        .unwrap()
    }
}

async fn reversed() -> (Reversed, Peer) {
    let (released, peer) = carried().await;
    let reversed = Reversed {
        released,
        customer: "customer.example.org".to_owned(),
        offer: Offer {
            pipelining: true,
            ..Offer::default()
        },
        domains: DomainList::parse_atrn("example.org").unwrap(),
        next_hops: vec!["[127.77.0.1]:2525".parse().unwrap()],
        session: "s1".to_owned(),
    };
    (reversed, peer)
}

#[tokio::test]
async fn exim_goes_on_with_a_relayed_connection_and_is_told_of_its_tls() {
    // As Exim does it: the messages, QUIT, and the closing of its side at once; the answer is read behind that.
    let exim = Exim::new(
        "rm $(dirname $0)/queue; printf 'MAIL FROM:<>\\r\\nQUIT\\r\\n' >&0; exec 0<&-",
        true,
    );
    let known = exim.known().await;
    assert!(known.takes_relay());
    let (reversed, mut peer) = reversed().await;
    let local = reversed.released.local();
    let tls = reversed.released.tls().unwrap().clone();
    let bits = if tls.cipher.contains("AES_128") {
        128
    } else {
        256
    };
    let ready = known
        .prepare(&reversed.domains, &reversed.next_hops)
        .await
        .unwrap();
    let customer = std::thread::spawn(move || {
        assert_eq!(peer.line(), "MAIL FROM:<>");
        assert_eq!(peer.line(), "QUIT");
        peer.say("221 bye\r\n");
        peer.rest().1
    });
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    let ended = tokio::time::timeout(PATIENCE, ready.run(reversed, stopping))
        .await
        .unwrap();
    assert_eq!((ended.how.as_str(), ended.clean), ("delivered all", true));
    tokio::task::spawn_blocking(|| customer.join().unwrap().unwrap())
        .await
        .unwrap();
    let arguments = std::fs::read_to_string(exim.0.path().join("arguments")).unwrap();
    assert_eq!(
        arguments.trim_end(),
        format!(
            "-MCP -MCt {} {} TLS1.3:{}:{bits} -MC odmr 127.77.0.1 127.77.0.1 2 1kEw3Y-0003Fj-2c",
            local.ip(),
            local.port(),
            tls.cipher
        )
    );
}

#[tokio::test]
async fn exim_without_tls_does_not_get_a_relayed_connection() {
    let exim = Exim::new("echo never", false);
    let known = exim.known().await;
    assert!(!known.takes_relay());
    let (reversed, mut peer) = reversed().await;
    let ready = known
        .prepare(&reversed.domains, &reversed.next_hops)
        .await
        .unwrap();
    let customer = std::thread::spawn(move || {
        assert_eq!(peer.line(), "QUIT");
        peer.say("221 bye\r\n");
        peer.rest().1
    });
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    let ended = tokio::time::timeout(PATIENCE, ready.run(reversed, stopping))
        .await
        .unwrap();
    assert!(
        ended.clean && ended.how.contains("cannot be given"),
        "{ended:?}"
    );
    tokio::task::spawn_blocking(|| customer.join().unwrap().unwrap())
        .await
        .unwrap();
}
