//! `turnabout status` asks a real `turnabout serve` over its control socket.

use crate::driver::{ALICE, ALICE_HOP, BOB, Message, Peer, Serve, Setup, until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

pub fn status(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_turnabout"))
        .arg("status")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn at(socket: &Path, arguments: &[&str]) -> Output {
    let socket = ["--socket", socket.to_str().unwrap()];
    status(&[&socket, arguments].concat())
}

/// The one object that is printed.
pub fn json(socket: &Path) -> Value {
    let output = at(socket, &["--json"]);
    let said = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    assert_eq!(said.lines().count(), 1, "{said}");
    serde_json::from_str(&said).unwrap()
}

/// Where it answers, as soon as it has said that it is ready.
fn socket(serve: &Serve) -> PathBuf {
    serve.path("control.sock")
}

/// The states of all sessions, sorted.
fn states(status: &Value) -> Vec<String> {
    let sessions = status["sessions"].as_array().unwrap();
    let mut states: Vec<String> = sessions
        .iter()
        .map(|one| one["state"].as_str().unwrap().to_owned())
        .collect();
    states.sort();
    states
}

#[test]
fn a_session_is_shown_from_its_greeting_to_the_mail_server_and_is_gone_afterwards() {
    let serve = Serve::with_mail();
    let socket = socket(&serve);
    let status = json(&socket);
    assert_eq!(status["role"], "serve");
    assert_eq!(status["pid"], serve.process.id());
    assert_eq!(status["sessions"].as_array().unwrap().len(), 0);

    let mut peer = Peer::greeted(serve.address());
    let own = peer.stream.local_addr().unwrap().to_string();
    let status = json(&socket);
    assert_eq!(states(&status), ["login"]);
    assert_eq!(status["sessions"][0]["peer"], own);
    assert_eq!(status["sessions"][0]["user"], Value::Null);

    assert_eq!(peer.login(turnabout::sasl::Mechanism::CramMd5, ALICE), 235);
    let status = json(&socket);
    assert_eq!(states(&status), ["logged-in"]);
    assert_eq!(status["sessions"][0]["user"], "alice");
    assert_eq!(status["sessions"][0]["mechanism"], "CRAM-MD5");

    serve.postfix.keep();
    assert_eq!(peer.code("ATRN"), 250);
    assert_eq!(states(&json(&socket)), ["turned"]);
    peer.send("220 customer.example.org ESMTP\r\n");
    assert!(peer.line().unwrap().starts_with("EHLO "));
    peer.send("250 customer.example.org\r\n");
    let status = until("the hand-over", || {
        let status = json(&socket);
        (states(&status) == ["handed-over"]).then_some(status)
    });
    let session = &status["sessions"][0];
    assert_eq!(session["domains"], "example.org,example.com");
    assert_eq!(session["handoff"], "postfix-cache");
    assert_eq!(session["carried"], "plain");
    let before = session["received"].as_u64().unwrap();
    assert!(
        before > 0 && session["sent"].as_u64().unwrap() > 0,
        "{session}"
    );
    assert!(session["round_trip"].as_f64().unwrap() > 0.0);

    // The octets are the kernel's count: serve itself reads nothing any more.
    peer.send("250 and eighteen\r\n");
    let status = until("more octets", || {
        let status = json(&socket);
        let received = status["sessions"][0]["received"].as_u64()?;
        (received == before + 18).then_some(status)
    });
    assert_eq!(status["totals"]["sessions"], 0);
    assert_eq!(status["totals"]["carried"]["plain"], 1);

    drop(serve.postfix.connection());
    drop(peer);
    until("the end", || {
        states(&json(&socket)).is_empty().then_some(())
    });
    let status = until("the last result", || {
        let status = json(&socket);
        (status["totals"]["sessions"] == 1).then_some(status)
    });
    assert_eq!(status["totals"]["results"]["broken"], 1, "{status}");
    let last = &status["last"];
    assert_eq!(last.as_array().unwrap().len(), 1);
    assert_eq!(last[0]["name"], "alice");
    assert_eq!(last[0]["result"], "broken");
    assert_eq!(last[0]["peer"], own);
    assert!(
        last[0]["end"].as_str().unwrap().contains("closed before"),
        "{last}"
    );
}

#[test]
fn what_a_customer_came_to_is_counted_and_names_that_were_only_tried_are_not_kept() {
    let serve = Serve::start(Setup {
        queue: vec![Message {
            recipient: "someone@example.org",
            next_hop: ALICE_HOP,
            text: "Subject: hello",
        }],
        ..Setup::default()
    });
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    assert_eq!(peer.code("ATRN"), 250);
    assert_eq!(peer.take_mail().len(), 1);
    peer.assert_ended();
    let mut peer = Peer::logged_in(serve.address(), BOB);
    assert_eq!(peer.code("ATRN example.org"), 450);
    assert_eq!(peer.code("ATRN"), 453);
    assert_eq!(peer.code("QUIT"), 221);
    let mut peer = Peer::greeted(serve.address());
    let cram = turnabout::sasl::Mechanism::CramMd5;
    assert_eq!(peer.login(cram, ("mallory", "guess")), 535);
    assert_eq!(peer.code("QUIT"), 221);
    let mut peer = Peer::greeted(serve.address());
    assert_eq!(peer.code("QUIT"), 221);
    drop(Peer::greeted(serve.address()));

    let status = until("five sessions", || {
        let status = json(&socket(&serve));
        (status["totals"]["sessions"] == 5).then_some(status)
    });
    let totals = &status["totals"];
    let results = serde_json::json!({
        "turned": 1, "no-mail": 1, "login-failed": 1, "quit": 1, "lost": 1
    });
    assert_eq!(totals["results"], results);
    assert_eq!(
        totals["logins"],
        serde_json::json!({"accepted": 2, "failed": 1})
    );
    assert_eq!(
        totals["atrn"],
        serde_json::json!({"250": 1, "450": 1, "453": 1})
    );
    let last: Vec<(&str, &str)> = status["last"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["name"].as_str().unwrap(),
                one["result"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(last, [("alice", "turned"), ("bob", "no-mail")]);

    let shown = at(&socket(&serve), &[]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    for wanted in [
        "no session is open",
        "delivered all",
        "5 sessions over",
        "logins: 2 accepted, 1 failed",
        "answers to ATRN: 1 250, 1 450, 1 453",
    ] {
        assert!(shown.contains(wanted), "{wanted} in\n{shown}");
    }
    assert!(!shown.contains("mallory"), "{shown}");
}

#[test]
fn an_account_that_a_reload_takes_away_leaves_the_last_results() {
    let mut serve = Serve::start(Setup::default());
    for who in [ALICE, BOB] {
        let mut peer = Peer::logged_in(serve.address(), who);
        assert_eq!(peer.code("QUIT"), 221);
    }
    let names = |count: usize| {
        until("last results", || {
            let status = json(&socket(&serve));
            let last = status["last"].as_array().unwrap().clone();
            (last.len() == count).then(|| last[0]["name"].clone())
        })
    };
    assert_eq!(names(2), "alice");
    let accounts = crate::driver::accounts(ALICE.1);
    let (_, bob) = accounts.split_at(accounts.rfind("[[account]]").unwrap());
    serve.write_accounts(bob);
    serve.process.signal(Signal::SIGHUP);
    serve.process.logged("reloaded");
    let names = until("one result", || {
        let status = json(&socket(&serve));
        let last = status["last"].as_array().unwrap().clone();
        (last.len() == 1).then(|| last[0]["name"].clone())
    });
    assert_eq!(names, "bob");
}

#[test]
fn nobody_answers_is_69_and_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let output = at(&directory.path().join("no.sock"), &[]);
    assert_eq!(output.status.code(), Some(69));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("is the service running? Start it, or name its socket with --socket"),
        "{said}"
    );
}

#[test]
fn the_sockets_of_the_configuration_are_asked_and_those_that_answer_are_shown() {
    let serve = Serve::start(Setup::default());
    socket(&serve);
    let config = serve.path("turnabout.toml");
    let output = status(&["--json", "--config", config.to_str().unwrap()]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("\"role\":\"serve\""), "{said}");
}

#[test]
fn the_socket_is_for_owner_and_group_and_goes_with_the_service() {
    let mut serve = Serve::start(Setup::default());
    let socket = socket(&serve);
    let file = std::fs::metadata(&socket).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o660);
    serve.process.signal(Signal::SIGTERM);
    let (status, log) = serve.process.ended();
    assert!(status.success(), "{log}");
    assert!(!socket.exists());
}

/// Connections to the control socket on which nothing is said.
fn silent(socket: &Path, count: usize) -> Vec<UnixStream> {
    let connect = |_| {
        let stream = UnixStream::connect(socket).unwrap();
        let patience = Some(Duration::from_secs(60));
        stream.set_read_timeout(patience).unwrap();
        stream
    };
    (0..count).map(connect).collect()
}

#[test]
fn whoever_asks_and_says_nothing_keeps_nobody_else_waiting() {
    let serve = Serve::start(Setup::default());
    let socket = socket(&serve);
    let began = Instant::now();
    let mut slow = silent(&socket, 8);
    for half in &mut slow[..4] {
        half.write_all(b"{\"request\":").unwrap();
    }
    assert_eq!(json(&socket)["role"], "serve");
    // They have five seconds.
    assert!(began.elapsed() < Duration::from_secs(4));
    for mut one in slow {
        let mut answer = Vec::new();
        one.read_to_end(&mut answer).ok();
        assert_eq!(answer, b"");
    }
}

#[test]
fn no_more_than_a_few_are_heard_at_a_time_and_the_next_is_when_their_time_is_over() {
    let serve = Serve::start(Setup::default());
    let socket = socket(&serve);
    let began = Instant::now();
    let silent = silent(&socket, 33);
    let mut asking = silent.last().unwrap();
    asking.write_all(b"{\"request\":\"status\"}\n").unwrap();
    let mut answer = String::new();
    asking.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"role\":\"serve\""), "{answer}");
    assert!(began.elapsed() > Duration::from_secs(4));
    assert_eq!(json(&socket)["role"], "serve");
}

#[test]
fn a_service_without_a_control_socket_warns_and_serves() {
    let mut serve = Serve::start(Setup {
        keys: "control = \"DIR/nowhere/control.sock\"".to_owned(),
        ..Setup::default()
    });
    let warning = serve.process.logged("cannot open the control socket");
    assert!(
        warning.contains("WARN") && warning.contains("make its directory"),
        "{warning}"
    );
    assert_eq!(Peer::greeted(serve.address()).code("QUIT"), 221);
}

#[test]
fn a_dead_services_socket_is_replaced_and_a_living_ones_is_not() {
    let mut first = Serve::start(Setup::default());
    let socket = socket(&first);
    let same = format!("control = \"{}\"", socket.display());
    let mut second = Serve::start(Setup {
        keys: same.clone(),
        ..Setup::default()
    });
    let warning = second.process.logged("another turnabout answers there");
    assert!(warning.contains("WARN"), "{warning}");
    assert_eq!(json(&socket)["pid"], first.process.id());
    first.process.signal(Signal::SIGKILL);
    first.process.ended();
    assert!(socket.exists());
    let third = Serve::start(Setup {
        keys: same,
        ..Setup::default()
    });
    assert_eq!(json(&socket)["pid"], third.process.id());
}
