//! The customer's hand-off by catch against receivers that a test plays: the provider keeps its mail whatever they do.

use crate::driver::{Catcher, Fetch, Hand, opened, opened_in_tls, scripted, start_tls, until};
use crate::fetch_talk::outcome;
use crate::fetch_tls::World;
use crate::tls_world::{BOTH, raw_server};
use serde_json::json;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

/// A receiver by a script.
struct Fake {
    _directory: tempfile::TempDir,
    socket: PathBuf,
    script: JoinHandle<()>,
}

fn fake(script: impl FnOnce(Hand) + Send + 'static) -> Fake {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("catch.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let script = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        script(Hand::new(stream));
    });
    Fake {
        _directory: directory,
        socket,
        script,
    }
}

/// Whether ATRN came, and what the provider heard behind its 250.
type Provider = JoinHandle<Option<String>>;

fn provider() -> (SocketAddr, Provider) {
    scripted(|mut peer| {
        opened(&mut peer);
        if peer.line().unwrap() == "QUIT" {
            peer.send("221 bye\r\n");
            return None;
        }
        peer.send("250 turning\r\n");
        Some(peer.rest())
    })
}

/// The offer, as it must be.
fn offered(hand: &mut Hand) {
    assert_eq!(hand.hears(), Hand::offer());
}

/// Rules: R26
#[test]
fn a_receiver_that_is_not_ready_is_known_before_atrn() {
    type Script = Box<dyn FnOnce(Hand) + Send>;
    let scripts: Vec<(Script, &str)> = vec![
        (
            Box::new(|mut hand| {
                offered(&mut hand);
                hand.say(&json!({"message": "refused", "reason": "the\nhouse is full"}));
            }),
            "it refuses: the\\nhouse is full",
        ),
        (
            Box::new(|mut hand| offered(&mut hand)),
            "closed without an answer",
        ),
        (Box::new(drop), "cannot hand over at"),
        (
            Box::new(|mut hand| {
                offered(&mut hand);
                hand.say(&json!({"message": "ready", "version": 2}));
            }),
            "in a version that was not offered",
        ),
        (
            Box::new(|mut hand| {
                offered(&mut hand);
                hand.say(&json!({"message": "taken"}));
            }),
            "as taken what it has not got",
        ),
        (
            Box::new(|mut hand| {
                offered(&mut hand);
                hand.send(b"220 ready\n");
            }),
            "cannot hand over at",
        ),
        (
            Box::new(|mut hand| {
                offered(&mut hand);
                let ready = json!({"message": "ready", "version": 1});
                hand.send(format!("{ready}\n{ready}\n").as_bytes());
            }),
            "more than it was asked",
        ),
        (
            Box::new(|mut hand| {
                offered(&mut hand);
                hand.send(&[b' '; 8192]);
                let mut rest = [0; 16];
                let _gone = hand.stream.read(&mut rest);
            }),
            "does not end",
        ),
    ];
    for (script, why) in scripts {
        let receiver = fake(script);
        let (address, provider) = provider();
        let (code, said) = outcome(&Fetch::catch(&receiver.socket).run(address));
        assert_eq!(code, 75, "{why}");
        assert!(said.contains(why), "{why}: {said}");
        assert_eq!(provider.join().unwrap(), None, "{why}");
        receiver.script.join().unwrap();
    }
}

/// Rules: R26
#[test]
fn a_receiver_that_is_silent_is_given_up_before_atrn() {
    let receiver = fake(|mut hand| {
        offered(&mut hand);
        let mut rest = [0; 16];
        assert_eq!(hand.stream.read(&mut rest).unwrap(), 0);
    });
    let (address, provider) = provider();
    let (code, said) = outcome(&Fetch::catch(&receiver.socket).run(address));
    assert_eq!(code, 75);
    assert!(said.contains("timed out"), "{said}");
    assert_eq!(provider.join().unwrap(), None);
    receiver.script.join().unwrap();
}

/// Rules: R26
#[test]
fn a_receiver_that_does_not_take_the_connection_makes_a_421_of_it() {
    type Script = Box<dyn FnOnce(Hand) + Send>;
    let ready = |hand: &mut Hand| {
        offered(hand);
        hand.say(&json!({"message": "ready", "version": 1}));
    };
    let scripts: Vec<(Script, &str)> = vec![
        (
            Box::new(move |mut hand| {
                ready(&mut hand);
                drop(hand.receives());
                hand.say(&json!({"message": "refused", "reason": "no room"}));
            }),
            "it refuses: no room",
        ),
        (
            Box::new(move |mut hand| {
                ready(&mut hand);
                drop(hand.receives());
            }),
            "closed without an answer",
        ),
        (
            // It keeps its copy, and the provider sees the end all the same.
            Box::new(move |mut hand| {
                ready(&mut hand);
                let kept = hand.receives();
                hand.say(&json!({"message": "ready", "version": 1}));
                hand.ended();
                std::thread::sleep(std::time::Duration::from_millis(300));
                drop(kept);
            }),
            "as ready out of turn",
        ),
        (
            // It is gone when the connection comes.
            Box::new(move |mut hand| ready(&mut hand)),
            "cannot hand the connection over",
        ),
    ];
    for (script, why) in scripts {
        let receiver = fake(script);
        let (address, provider) = provider();
        let (code, said) = outcome(&Fetch::catch(&receiver.socket).run(address));
        assert_eq!(code, 75, "{why}");
        assert!(said.contains(why), "{why}: {said}");
        let heard = provider.join().unwrap().unwrap();
        assert!(
            heard.starts_with("421 customer.example.org ") && heard.lines().count() == 1,
            "{why}: {heard:?}"
        );
        receiver.script.join().unwrap();
    }
}

#[test]
fn the_record_says_what_the_manual_page_says() {
    let (say, heard) = std::sync::mpsc::channel();
    let receiver = fake(move |mut hand| {
        offered(&mut hand);
        hand.say(&json!({"message": "ready", "version": 1}));
        let (connection, record) = hand.receives();
        hand.say(&json!({"message": "taken"}));
        hand.ended();
        let connection = std::net::TcpStream::from(connection);
        let (peer, local) = (
            connection.peer_addr().unwrap(),
            connection.local_addr().unwrap(),
        );
        say.send((record, peer, local)).unwrap();
    });
    let (address, provider) = provider();
    let fetch = Fetch::catch(&receiver.socket);
    let (code, said) = outcome(&fetch.run(address));
    assert_eq!(code, 0, "{said}");
    let (mut record, peer, local) = heard.recv().unwrap();
    assert_eq!(peer, address);
    assert!(record["session"].take().is_string());
    assert_eq!(
        record,
        json!({
            "message": "connection", "version": 1, "direction": "inbound", "session": null,
            "provider": "127.0.0.1", "user": "alice", "domains": null,
            "peer": peer.to_string(), "local": local.to_string(), "carried": "plain", "tls": null,
        })
    );
    // Ours was the only other copy.
    assert_eq!(provider.join().unwrap().unwrap(), "");
}

#[test]
fn nobody_at_the_socket_is_known_before_atrn() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("catch.sock");
    let refused = || {
        let (address, provider) = provider();
        let (code, said) = outcome(&Fetch::catch(&socket).run(address));
        assert_eq!(code, 75);
        assert_eq!(provider.join().unwrap(), None);
        said
    };
    assert!(refused().contains("is turnabout catch running there"));
    drop(UnixListener::bind(&socket).unwrap());
    assert!(refused().contains("is turnabout catch running there"));
}

/// Somebody else's socket would be given the mail.
#[test]
fn a_directory_that_every_user_may_write_in_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("catch.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let open = PermissionsExt::from_mode(0o1777);
    std::fs::set_permissions(directory.path(), open).unwrap();
    let (address, provider) = provider();
    let (code, said) = outcome(&Fetch::catch(&socket).run(address));
    assert_eq!(code, 75);
    assert!(
        said.contains("every user may write in its directory"),
        "{said}"
    );
    assert_eq!(provider.join().unwrap(), None);
}

/// A mail server relays anything for its own machine.
/// Rules: C9
#[test]
fn a_provider_on_loopback_is_not_handed_over_unless_the_operator_says_so_and_no_relay_carries_it() {
    let catcher = Catcher::start(&[], &["/bin/true"]);
    let (address, at_provider) = provider();
    let mut unaware = Fetch::catch(&catcher.socket);
    unaware.handoff.retain(|word| word != "--i-know");
    let (code, said) = outcome(&unaware.run(address));
    assert_eq!(code, 75);
    assert!(said.contains("the address 127.0.0.1"), "{said}");
    assert_eq!(at_provider.join().unwrap(), None);

    let world = World::new();
    let config = raw_server(&world.issued, BOTH);
    let (address, at_provider) = scripted(move |mut peer| {
        start_tls(&mut peer, config).unwrap();
        opened_in_tls(&mut peer);
        assert_eq!(peer.line().unwrap(), "QUIT");
        peer.send("221 bye\r\n");
    });
    let relayed = world.trusted(Fetch::catch(&catcher.socket));
    let (code, said) = outcome(&relayed.run(address));
    assert_eq!(code, 75);
    assert!(said.contains("a relay may carry the connection"), "{said}");
    at_provider.join().unwrap();
}

/// Whoever listens at the socket is given the mail.
#[test]
fn a_receiver_that_is_another_user_is_given_nothing_unless_it_is_named() {
    let own = nix::unistd::geteuid().as_raw();
    let catcher = Catcher::start(&[], &["/bin/true"]);
    let ended = |fetch: Fetch| {
        let (address, provider) = provider();
        let (code, said) = outcome(&fetch.run(address));
        (code, said, provider.join().unwrap().is_some())
    };
    let named =
        |uid: u32| Fetch::catch(&catcher.socket).with(&["--receiver-uid", &uid.to_string()]);
    let (code, said, turned) = ended(named(own));
    assert_eq!((code, turned), (0, true), "{said}");
    let (code, said, turned) = ended(named(own + 4711));
    assert_eq!((code, turned), (75, false), "{said}");
    assert!(
        said.contains(&format!("user {own} listens there")),
        "{said}"
    );

    if !nix::unistd::geteuid().is_root() {
        // Only root can become somebody else.
        return;
    }
    let listening_as = |uid: u32, directory_of: u32, fetch: &[&str]| {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("catch.sock");
        std::os::unix::fs::chown(directory.path(), Some(directory_of), None).unwrap();
        let script = "use Socket; use POSIX; socket(S, PF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un($ARGV[0])) or die; \
            POSIX::setuid($ARGV[1]); listen(S, 1) or die; accept(C, S); sysread C, $x, 8192; print $x; \
            syswrite C, qq({\"message\":\"refused\",\"reason\":\"heard\"}\n)";
        let listener = Command::new("perl")
            .args(["-e", script])
            .arg(&socket)
            .arg(uid.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        until("the listener", || {
            let table = std::fs::read_to_string("/proc/net/unix").unwrap();
            let line = table
                .lines()
                .find(|line| line.ends_with(socket.to_str().unwrap()))?;
            // __SO_ACCEPTCON.
            line.contains(" 00010000 ").then_some(())
        });
        let (_, said, turned) = ended(Fetch::catch(&socket).with(fetch));
        assert!(!turned);
        let heard = listener.wait_with_output().unwrap().stdout;
        (said, String::from_utf8(heard).unwrap())
    };
    let (said, heard) = listening_as(61017, 0, &[]);
    assert!(said.contains("say receiver_uid = 61017"), "{said}");
    assert_eq!(heard, "");
    // Everybody of other user namespaces.
    let (said, heard) = listening_as(65534, 65534, &["--receiver-uid", "65534"]);
    assert!(
        said.contains("every user of another user namespace"),
        "{said}"
    );
    assert_eq!(heard, "");
    for (directory_of, fetch) in [(0, &["--receiver-uid", "61017"][..]), (61017, &[])] {
        let (said, heard) = listening_as(61017, directory_of, fetch);
        assert!(said.contains("it refuses: heard"), "{said}");
        assert!(heard.contains("\"offer\""), "{heard}");
    }
}
