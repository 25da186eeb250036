//! What the provider logs: nothing secret, nothing a peer could forge, each line whole.

use crate::driver::{ALICE, ALICE_HOP, Message, Peer, Serve, Setup};
use nix::sys::signal::Signal;
use turnabout::sasl::Mechanism;

const ALL: [Mechanism; 5] = [
    Mechanism::ScramSha256,
    Mechanism::ScramSha1,
    Mechanism::CramMd5,
    Mechanism::Plain,
    Mechanism::Login,
];

fn noisy(options: &'static [&'static str]) -> Serve {
    Serve::start(Setup {
        keys: "plaintext_without_tls = true\nmechanisms = [\"SCRAM-SHA-256\", \"SCRAM-SHA-1\", \
               \"CRAM-MD5\", \"PLAIN\", \"LOGIN\"]"
            .to_owned(),
        queue: vec![Message {
            recipient: "someone@example.org",
            next_hop: ALICE_HOP,
            text: "Subject: hello",
        }],
        options,
        ..Setup::default()
    })
}

/// Rules: C16
#[test]
fn nothing_of_a_login_is_in_the_log_at_any_level() {
    let mut serve = noisy(&["--log-level", "trace"]);
    let mut secrets = vec![ALICE.1.to_owned(), "a wrong secret".to_owned()];
    for mechanism in ALL {
        let mut peer = Peer::greeted(serve.address());
        assert_eq!(peer.login(mechanism, ALICE), 235);
        secrets.append(&mut peer.secrets);
    }
    let wrong: Vec<_> = ALL
        .into_iter()
        .map(|mechanism| {
            let address = serve.address();
            std::thread::spawn(move || {
                let mut peer = Peer::greeted(address);
                assert_eq!(peer.login(mechanism, ("alice", "a wrong secret")), 535);
                // A password typed where a command is expected, and a line that is no command.
                peer.ask("AUTH PLAIN !not base64 of a wrong secret");
                peer.ask("a wrong secret");
                peer.secrets
            })
        })
        .collect();
    for thread in wrong {
        secrets.extend(thread.join().unwrap());
    }
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    assert_eq!(peer.code("ATRN"), 250);
    assert_eq!(peer.take_mail().len(), 1);
    peer.assert_ended();
    serve.process.signal(Signal::SIGTERM);
    let (_, log) = serve.process.ended();
    assert!(log.contains("DEBUG"), "{log}");
    secrets.extend(decoded(&secrets));
    // The challenges end with a name that is public; what is short proves nothing.
    for secret in secrets.iter().filter(|secret| secret.len() > 12) {
        assert!(!log.contains(secret.as_str()), "{secret} in\n{log}");
    }
    assert!(!log.contains("Subject: hello"), "{log}");
}

/// What the base64 on the wire stands for, where it is text.
pub fn decoded(secrets: &[String]) -> Vec<String> {
    use base64::Engine;
    let decode = |text: &String| base64::engine::general_purpose::STANDARD.decode(text).ok();
    let texts = secrets.iter().filter_map(decode).map(String::from_utf8);
    texts.filter_map(Result::ok).collect()
}

/// Rules: C15
#[test]
fn a_peer_cannot_forge_a_line_or_drive_a_terminal() {
    let mut serve = noisy(&["--log-level", "trace"]);
    let mut peer = Peer::connect(serve.address());
    assert_eq!(peer.reply().0, 220);
    peer.ask("EHLO \x1b[31mred\x07");
    peer.ask("EHLO customer\tINFO forged=1");
    peer.ask("EHLO customer.example.org");
    // SASLprep lets no control character into a name, but blanks, quotes and signs.
    let evil = "mallory\n2026-01-01T00:00:00Z INFO session closed user=alice\x1b[2J";
    assert_eq!(peer.code(&format!("AUTH PLAIN {}", plain(evil, "x"))), 535);
    let evil = "mallory\" user=alice end=\"delivered all";
    assert_eq!(peer.code(&format!("AUTH PLAIN {}", plain(evil, "x"))), 535);
    assert_eq!(peer.code("QUIT"), 221);
    drop(peer);
    serve.postfix.keep();
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    assert_eq!(peer.code("ATRN"), 250);
    peer.send("220 \x1b[31m forged\r\n");
    assert!(peer.line().unwrap().starts_with("EHLO "));
    peer.send("250 evil\x1b[31m\x08name user=root\r\n");
    serve.process.logged("greeted");
    serve.process.signal(Signal::SIGTERM);
    let (_, log) = serve.process.ended();
    let refused = log.lines().find(|line| line.contains("mallory")).unwrap();
    assert!(
        refused.contains(r#"user="mallory\u{22} user=alice end=\u{22}delivered all""#),
        "{refused}"
    );
    for character in log.chars().filter(|character| *character != '\n') {
        assert!(!character.is_control(), "{character:?} in {log}");
    }
    assert!(
        !log.lines().any(|line| line.starts_with("2026-01-01")),
        "{log}"
    );
}

fn plain(user: &str, password: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(format!("\0{user}\0{password}"))
}

#[test]
fn every_line_is_an_object_when_logs_are_json() {
    let mut serve = noisy(&["--log-level", "trace", "--log-format", "json"]);
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    assert_eq!(peer.code("ATRN"), 250);
    assert_eq!(peer.take_mail().len(), 1);
    peer.assert_ended();
    serve.process.logged("session closed");
    serve.process.signal(Signal::SIGTERM);
    let (_, log) = serve.process.ended();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(
        lines
            .iter()
            .all(|line| line["time"].is_string() && line["level"].is_string())
    );
    let closed: Vec<_> = lines
        .iter()
        .filter(|line| line["message"] == "session closed")
        .collect();
    assert_eq!(closed.len(), 1);
    for (field, value) in [
        ("user", "alice"),
        ("domains", "example.org,example.com"),
        ("mechanism", "CRAM-MD5"),
        ("handoff", "postfix-cache"),
        ("end", "delivered all"),
    ] {
        assert_eq!(closed[0][field], value, "{}", closed[0]);
    }
    assert!(closed[0]["seconds"].is_number() && closed[0]["peer"].is_string());
    // One session, one id.
    let id = &closed[0]["session"];
    let turned = lines
        .iter()
        .find(|line| line["message"] == "turned")
        .unwrap();
    assert_eq!(&turned["session"], id);
}
