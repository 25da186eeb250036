//! The filter for fail2ban against the lines of a real service, judged by fail2ban itself.

use crate::driver::{ALICE, Peer, Serve, Setup};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;
use std::process::Command;
use turnabout::sasl::Mechanism;

/// The addresses that fail2ban would count, one for each line that matches, in the order of the lines.
fn found(lines: &[String]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let filters = directory.path().join("filter.d");
    fs::create_dir(&filters).unwrap();
    let shipped =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/fail2ban/filter.d/turnabout.conf");
    fs::copy(shipped, filters.join("turnabout.conf")).unwrap();
    fs::copy(
        "/etc/fail2ban/filter.d/common.conf",
        filters.join("common.conf"),
    )
    .unwrap();
    let log = directory.path().join("log");
    fs::write(&log, lines.join("\n") + "\n").unwrap();
    let output = Command::new("fail2ban-regex")
        .arg("-c")
        .arg(directory.path())
        .args(["-o", "ip"])
        .arg(&log)
        .arg(filters.join("turnabout.conf"))
        .output()
        .expect("fail2ban is needed for this test (on Debian: apt-get install fail2ban)");
    let said = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complaint}");
    assert!(!complaint.contains("ERROR"), "{complaint}");
    said.lines().map(str::to_owned).collect()
}

/// A line of standard error as syslog's daemon, and as the journal, shows it.
fn as_syslog(line: &str) -> String {
    let (_, text) = line.split_once(' ').unwrap();
    format!("Nov 22 20:01:02 mx turnabout[4711]: {text}")
}

fn as_journal(line: &str) -> String {
    let (_, text) = line.split_once(' ').unwrap();
    format!("2026-11-22T20:01:02.123456 mx turnabout[4711]: {text}")
}

fn plain(peer: &mut Peer, user: &str) -> u16 {
    let login = STANDARD.encode(format!("\0{user}\0x"));
    peer.code(&format!("AUTH PLAIN {login}"))
}

/// User names that are shaped like what follows in a line, or like a line of their own.
const IMITATIONS: [&str; 6] = [
    "mallory session=1-2 peer=192.0.2.99:1 user=alice",
    "mallory\" peer=192.0.2.99:1",
    "WARN login refused: wrong password session=1-2 peer=192.0.2.99:1 user=alice",
    "login refused: unknown user session=1-2 peer=192.0.2.99:1 user=x",
    "421: too many connections (see serve.limits) peer=192.0.2.99:1",
    "<ADDR> 192.0.2.99 [192.0.2.99]:1",
];

/// Rules: C15
#[test]
fn fail2ban_sees_each_failed_login_and_each_refusal_by_a_limit_once_and_nothing_else() {
    let mut serve = Serve::start(Setup {
        listen: "\"127.0.0.1:0\", \"[::1]:0\"",
        keys: "plaintext_without_tls = true\nmechanisms = [\"SCRAM-SHA-256\", \"CRAM-MD5\", \"PLAIN\"]".to_owned(),
        limits: "connections_per_address = 1",
        ..Setup::default()
    });
    let (four, six) = (serve.listening[0], serve.listening[1]);
    let mut wanted = Vec::new();

    // A good session, and one that imitates a bad one where it may say what it likes: nothing of it counts.
    for (number, imitation) in IMITATIONS.iter().enumerate() {
        let mut peer =
            Peer::connect_from([127, 0, 2, u8::try_from(number + 1).unwrap()].into(), four);
        assert_eq!(peer.reply().0, 220);
        peer.ask(&format!("EHLO {imitation}"));
        peer.ask(imitation);
    }
    let mut peer = Peer::connect_from("127.0.0.3".parse().unwrap(), four);
    assert_eq!(peer.reply().0, 220);
    assert_eq!(peer.code("EHLO customer.example.org"), 250);
    assert_eq!(peer.login(Mechanism::CramMd5, ALICE), 235);
    assert_eq!(peer.code("ATRN"), 453);
    assert_eq!(peer.code("QUIT"), 221);
    drop(peer);

    // Failed logins, by every kind of mechanism and both families, the user's name shaped like a line.
    let mut scram = Peer::greeted(six);
    assert_eq!(scram.login(Mechanism::ScramSha256, ("alice", "guess")), 535);
    wanted.push("::1".to_owned());
    let mut more = Peer::connect(six);
    assert_eq!(more.reply().0, 421);
    wanted.push("::1".to_owned());
    drop((scram, more));
    for (number, imitation) in IMITATIONS.iter().enumerate() {
        // Each from another network: guesses from one are slowed down.
        let from = format!("127.0.{}.1", 10 + number);
        let mut peer = Peer::connect_from(from.parse().unwrap(), four);
        assert_eq!(peer.reply().0, 220);
        assert_eq!(peer.code("EHLO customer.example.org"), 250);
        assert_eq!(plain(&mut peer, imitation), 535, "{imitation}");
        wanted.push(from.clone());
        let mut more = Peer::connect_from(from.parse().unwrap(), four);
        assert_eq!(more.reply().0, 421);
        wanted.push(from);
    }
    serve.process.signal(Signal::SIGTERM);
    let (_, log) = serve.process.ended();
    let lines: Vec<String> = log.lines().map(str::to_owned).collect();
    assert!(
        lines
            .iter()
            .filter(|line| line.contains("192.0.2.99"))
            .count()
            >= IMITATIONS.len()
    );
    wanted.sort();
    for shown in [
        lines.clone(),
        lines.iter().map(|line| as_syslog(line)).collect(),
        lines.iter().map(|line| as_journal(line)).collect(),
    ] {
        let mut found = found(&shown);
        found.sort();
        assert_eq!(found, wanted, "in\n{}", shown.join("\n"));
    }
}

#[test]
fn the_jail_of_fail2ban_names_the_filter_and_the_port() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/fail2ban");
    let jail = fs::read_to_string(root.join("jail.d/turnabout.conf")).unwrap();
    assert!(jail.contains("\nfilter   = turnabout\n") && jail.contains("\nport     = 366\n"));
    // As fail2ban itself reads it, among its own files.
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("fail2ban");
    let copied = Command::new("cp")
        .args(["-r", "/etc/fail2ban", config.to_str().unwrap()])
        .status()
        .unwrap();
    assert!(copied.success());
    for file in ["filter.d/turnabout.conf", "jail.d/turnabout.conf"] {
        fs::copy(root.join(file), config.join(file)).unwrap();
    }
    let output = Command::new("fail2ban-client")
        .args(["-c", config.to_str().unwrap(), "--dp"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complaint}");
    assert!(
        said.contains("['add', 'turnabout', 'auto']"),
        "{said}{complaint}"
    );
    assert!(
        said.contains("'turnabout', 'addfailregex'")
            || said.contains("['multi-set', 'turnabout', 'addfailregex'"),
        "{said}"
    );
}
