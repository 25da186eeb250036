//! Metrics: on a port as Prometheus asks for them, in a file as the node exporter reads it, and what the dashboard needs.

use crate::driver::{
    ALICE, ALICE_HOP, BOB, Fetch, Message, Peer, Serve, Setup, opened, scripted, until,
};
use nix::sys::signal::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Everything that is answered to these octets.
fn asked(address: SocketAddr, octets: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream.write_all(octets.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn scraped(address: SocketAddr) -> String {
    let answer = asked(
        address,
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n",
    );
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
    assert!(
        head.contains("\r\nContent-Type: text/plain; version=0.0.4;"),
        "{head}"
    );
    assert!(
        head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())),
        "{head}"
    );
    body.to_owned()
}

/// The address of the line in the log.
fn metrics_address(serve: &mut Serve) -> SocketAddr {
    let line = serve.process.logged("metrics at");
    let (_, address) = line.split_once("address=").unwrap();
    address.parse().unwrap()
}

/// Samples by name and labels, of a text that keeps to the format.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let (mut helped, mut types) = (BTreeSet::new(), BTreeMap::new());
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(helped.insert(name), "{name} twice");
            assert!(!help.is_empty());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(helped.contains(name), "{name}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            types.insert(name, kind);
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let bare = name.split('{').next().unwrap();
            let family = types.get_key_value(bare).or_else(|| {
                let family = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|end| bare.strip_suffix(end))?;
                types
                    .get_key_value(family)
                    .filter(|(_, kind)| **kind == "histogram")
            });
            assert!(family.is_some(), "no type for {line}");
            let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
            assert!(samples.insert(name.to_owned(), value).is_none(), "{line}");
        }
    }
    samples
}

const PORT: &str = "metrics = \"127.0.0.1:0\"";

/// A provider that has seen a bit of everything.
fn busy(keys: &str) -> Serve {
    let serve = Serve::start(Setup {
        keys: keys.to_owned(),
        limits: "connections_per_address = 1",
        queue: vec![Message {
            recipient: "someone@example.org",
            next_hop: ALICE_HOP,
            text: "Subject: hello",
        }],
        ..Setup::default()
    });
    // Each from another address, so that the limit does not meet them.
    let at = |host: &str| {
        let mut peer = Peer::connect_from(host.parse().unwrap(), serve.address());
        assert_eq!(peer.reply().0, 220);
        assert_eq!(peer.code("EHLO customer.example.org"), 250);
        peer
    };
    let cram = turnabout::sasl::Mechanism::CramMd5;
    let mut alice = at("127.0.0.2");
    assert_eq!(alice.login(cram, ALICE), 235);
    assert_eq!(alice.code("ATRN"), 250);
    assert_eq!(alice.take_mail().len(), 1);
    alice.assert_ended();
    let mut bob = at("127.0.0.3");
    assert_eq!(bob.login(cram, BOB), 235);
    assert_eq!(bob.code("ATRN example.org"), 450);
    assert_eq!(bob.code("ATRN"), 453);
    let mut refused = Peer::connect_from("127.0.0.3".parse().unwrap(), serve.address());
    assert_eq!(refused.reply().0, 421);
    assert_eq!(bob.code("QUIT"), 221);
    let mut mallory = at("127.0.0.4");
    assert_eq!(mallory.login(cram, ("mallory\"}", "guess")), 535);
    assert_eq!(mallory.code("QUIT"), 221);
    mallory.assert_ended();
    serve
}

#[test]
fn metrics_tell_sessions_logins_answers_durations_and_who_carries() {
    let mut serve = busy(PORT);
    let address = metrics_address(&mut serve);
    let seen = until("three sessions", || {
        let seen = samples(&scraped(address));
        let over: f64 = seen
            .iter()
            .filter(|(name, _)| name.starts_with("turnabout_sessions_total"))
            .map(|(_, count)| count)
            .sum();
        (over > 2.5).then_some(seen)
    });
    for (name, count) in [
        (
            "turnabout_sessions_total{role=\"serve\",result=\"turned\",handoff=\"postfix-cache\"}",
            1.0,
        ),
        (
            "turnabout_sessions_total{role=\"serve\",result=\"no-mail\",handoff=\"none\"}",
            1.0,
        ),
        (
            "turnabout_sessions_total{role=\"serve\",result=\"login-failed\",handoff=\"none\"}",
            1.0,
        ),
        (
            "turnabout_logins_total{role=\"serve\",result=\"accepted\"}",
            2.0,
        ),
        (
            "turnabout_logins_total{role=\"serve\",result=\"failed\"}",
            1.0,
        ),
        (
            "turnabout_atrn_replies_total{role=\"serve\",code=\"250\"}",
            1.0,
        ),
        (
            "turnabout_atrn_replies_total{role=\"serve\",code=\"450\"}",
            1.0,
        ),
        (
            "turnabout_atrn_replies_total{role=\"serve\",code=\"453\"}",
            1.0,
        ),
        (
            "turnabout_handed_over_total{role=\"serve\",handoff=\"postfix-cache\",carried=\"plain\"}",
            1.0,
        ),
        (
            "turnabout_session_seconds_count{role=\"serve\",result=\"turned\"}",
            1.0,
        ),
        (
            "turnabout_session_seconds_bucket{le=\"+Inf\",role=\"serve\",result=\"no-mail\"}",
            1.0,
        ),
        (
            "turnabout_connections_refused_total{role=\"serve\",reason=\"connections\"}",
            1.0,
        ),
        ("turnabout_mail_left_total{role=\"serve\"}", 0.0),
        (
            "turnabout_sessions_open{role=\"serve\",state=\"login\"}",
            0.0,
        ),
    ] {
        assert_eq!(seen.get(name), Some(&count), "{name} in {seen:#?}");
    }
    let version = env!("CARGO_PKG_VERSION");
    let build = format!("turnabout_build_info{{role=\"serve\",version=\"{version}\"}}");
    assert_eq!(seen.get(&build), Some(&1.0));
    assert!(
        !seen.keys().any(|name| name.contains("mallory")),
        "no name of a user"
    );
}

/// An open session is in the gauge of its state, and leaves it.
#[test]
fn metrics_show_the_sessions_that_are_open() {
    let mut serve = Serve::start(Setup {
        keys: PORT.to_owned(),
        ..Setup::default()
    });
    let address = metrics_address(&mut serve);
    let open =
        || samples(&scraped(address))["turnabout_sessions_open{role=\"serve\",state=\"login\"}"];
    let peer = Peer::greeted(serve.address());
    assert_eq!(open().to_string(), "1");
    drop(peer);
    until("the end", || (open() < 0.5).then_some(()));
}

/// Rules: C12
#[test]
fn metrics_count_those_that_were_ended_so_that_another_could_be_served() {
    let mut serve = Serve::start(Setup {
        keys: PORT.to_owned(),
        limits: "connections = 2\nunauthenticated_percent = 100",
        ..Setup::default()
    });
    let address = metrics_address(&mut serve);
    let ended = || samples(&scraped(address))["turnabout_connections_refused_total{role=\"serve\",reason=\"newcomer\"}"];
    let strangers: Vec<Peer> = (0..2).map(|_| Peer::greeted(serve.address())).collect();
    assert_eq!(ended().to_string(), "0");
    let newcomers: Vec<Peer> = (0..2).map(|_| Peer::greeted(serve.address())).collect();
    assert_eq!(ended().to_string(), "2");
    drop((strangers, newcomers));
}

#[test]
fn metrics_are_had_beside_others_who_ask_and_say_nothing() {
    let mut serve = Serve::start(Setup {
        keys: PORT.to_owned(),
        ..Setup::default()
    });
    let address = metrics_address(&mut serve);
    let began = Instant::now();
    let silent = [(); 4].map(|()| TcpStream::connect(address).unwrap());
    samples(&scraped(address));
    // They have five seconds.
    assert!(began.elapsed() < Duration::from_secs(4));
    drop(silent);
}

#[test]
fn metrics_are_one_page_and_no_web_server() {
    let mut serve = Serve::start(Setup {
        keys: PORT.to_owned(),
        ..Setup::default()
    });
    let address = metrics_address(&mut serve);
    for (request, code) in [
        ("GET / HTTP/1.0\r\n\r\n", "404"),
        ("GET /metrics/../../etc/passwd HTTP/1.0\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.0\r\n\r\n", "405"),
        ("EHLO customer.example.org\r\n\r\n", "405"),
    ] {
        let answer = asked(address, request);
        assert!(answer.starts_with(&format!("HTTP/1.0 {code} ")), "{answer}");
    }
    // A head without an end, and one that never comes: the next is answered all the same.
    let mut endless = TcpStream::connect(address).unwrap();
    endless.write_all(&[b'x'; 20_000]).ok();
    let silent = TcpStream::connect(address).unwrap();
    samples(&scraped(address));
    drop((endless, silent));
}

#[test]
fn metrics_in_a_file_are_whole_and_say_how_it_was_at_the_end() {
    let mut serve = busy("metrics_file = \"DIR/turnabout.prom\"");
    let file = serve.path("turnabout.prom");
    let early = until("the file", || fs::read_to_string(&file).ok());
    samples(&early);
    serve.process.signal(Signal::SIGTERM);
    let (status, log) = serve.process.ended();
    assert!(status.success(), "{log}");
    let seen = samples(&fs::read_to_string(&file).unwrap());
    let turned =
        "turnabout_sessions_total{role=\"serve\",result=\"turned\",handoff=\"postfix-cache\"}";
    assert_eq!(seen.get(turned), Some(&1.0));
    let names = fs::read_dir(file.parent().unwrap()).unwrap();
    let left = names
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.starts_with(".turnabout.prom"));
    assert_eq!(left.count(), 0);
}

#[test]
fn metrics_that_cannot_be_written_are_one_warning_and_no_failure() {
    let mut serve = Serve::start(Setup {
        keys: "metrics_file = \"DIR/nowhere/turnabout.prom\"".to_owned(),
        ..Setup::default()
    });
    let warning = serve.process.logged("cannot write");
    assert!(
        warning.contains("WARN") && warning.contains("correct metrics_file"),
        "{warning}"
    );
    assert_eq!(Peer::greeted(serve.address()).code("QUIT"), 221);
}

/// A port that is not to be had is a start that fails: whoever asked for metrics would miss them.
#[test]
fn metrics_on_an_address_that_is_taken_are_no_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut serve = Serve::spawn(Setup {
        keys: format!("metrics = \"{}\"", taken.local_addr().unwrap()),
        ..Setup::default()
    });
    let (status, log) = serve.process.ended();
    assert_eq!(status.code(), Some(69));
    assert!(
        log.contains("for metrics") && log.contains("correct serve.metrics"),
        "{log}"
    );
}

#[test]
fn metrics_of_a_fetch_say_when_it_last_went_well_and_keep_what_the_file_says_of_others() {
    let fetch = Fetch::default();
    let file = fetch.path("fetch.prom");
    fs::write(
        &file,
        "turnabout_fetch_last_ok{provider=\"other\"} 1\n\
         turnabout_fetch_last_success_timestamp_seconds{provider=\"isp\"} 1000000000\n",
    )
    .unwrap();
    let run = |address: SocketAddr| {
        let password = fetch.path("password");
        fs::write(&password, "x\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&password, mode).unwrap();
        let config = fetch.path("turnabout.toml");
        let text = format!(
            "[fetch]\nmetrics_file = \"{}\"\n[providers.isp]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\n\
             user = \"alice\"\npassword_file = \"{}\"\nhandoff = \"exec\"\ni_know = true\ncommand = [\"/bin/true\"]\n",
            file.display(),
            address.port(),
            password.display()
        );
        fs::write(&config, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_turnabout"))
            .args(["--config", config.to_str().unwrap(), "fetch", "isp"])
            .output()
            .unwrap();
        (
            output.status.code(),
            samples(&fs::read_to_string(&file).unwrap()),
        )
    };
    let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let (code, seen) = run(nobody);
    assert_eq!(code, Some(69));
    let of = |seen: &BTreeMap<String, f64>, name: &str, provider: &str| {
        seen[&format!("turnabout_fetch_{name}{{provider=\"{provider}\"}}")]
    };
    assert!(of(&seen, "last_ok", "isp") < 0.5);
    assert!(of(&seen, "last_ok", "other") > 0.5);
    let before = of(&seen, "last_success_timestamp_seconds", "isp");
    assert_eq!(before.to_string(), "1000000000");
    assert!(
        !seen.keys().any(|name| name.contains("_total")),
        "no counters: {seen:?}"
    );

    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        peer.line();
        peer.send("453 You have no mail\r\n");
        peer.line();
        peer.send("221 bye\r\n");
    });
    let (code, seen) = run(address);
    provider.join().unwrap();
    assert_eq!(code, Some(0));
    assert!(of(&seen, "last_ok", "isp") > 0.5);
    let last = of(&seen, "last_success_timestamp_seconds", "isp");
    assert!(last > before && (last - of(&seen, "last_timestamp_seconds", "isp")).abs() < 0.5);
}

/// The names that a query of the dashboard asks for.
fn names(query: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    query
        .split(|c| !word(c))
        .filter(|one| one.starts_with("turnabout_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn metrics_that_the_dashboard_asks_for_are_all_there() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/grafana/turnabout.json");
    let dashboard: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut wanted = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(!panel["title"].as_str().unwrap().is_empty());
        assert!(panel["gridPos"]["w"].as_u64().unwrap() <= 24);
        for target in panel["targets"].as_array().unwrap() {
            let names = names(target["expr"].as_str().unwrap());
            assert!(!names.is_empty(), "{target}");
            wanted.extend(names);
        }
    }
    assert!(panels.len() >= 8 && wanted.len() >= 8, "{wanted:?}");

    let mut serve = busy(PORT);
    let mut known: BTreeSet<String> = samples(&scraped(metrics_address(&mut serve)))
        .into_keys()
        .map(|name| name.split('{').next().unwrap().to_owned())
        .collect();
    known.extend(of_a_fetch());
    let missing: Vec<&String> = wanted.difference(&known).collect();
    assert!(missing.is_empty(), "{missing:?} is not in {known:?}");
}

/// The names in the ledger of a customer after one fetch.
fn of_a_fetch() -> BTreeSet<String> {
    use turnabout::report::{Ledger, Role, Session};
    let ledger = Ledger::new(Role::Fetch);
    let session = Session::fetch(&ledger, "isp");
    session.outcome(turnabout::report::Outcome::NoMail);
    session.close("no mail");
    samples(&ledger.metrics().unwrap())
        .into_keys()
        .map(|name| name.split('{').next().unwrap().to_owned())
        .collect()
}

/// Prometheus's own judgement.
#[test]
fn metrics_pass_promtool() {
    let lab = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/lab");
    let output = Command::new(lab).arg("promtool").output().unwrap();
    let promtool = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut serve = busy(PORT);
    let text = scraped(metrics_address(&mut serve));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("metrics");
    fs::write(&file, text).unwrap();
    let output = Command::new(promtool.trim())
        .args(["check", "metrics"])
        .stdin(fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
