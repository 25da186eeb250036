//! `turnabout probe`, the real program: against our own provider, and what it never does.

use crate::driver::{
    ALICE, ALICE_HOP, Message, Peer, Serve, Setup, Site, opened, scripted, start_tls,
};
use crate::fetch_tls::World;
use crate::tls_world::{BOTH, raw_server};
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

/// One run of the program. `None` for the password: nobody is logged in.
pub struct Probe {
    pub directory: tempfile::TempDir,
    pub password: Option<&'static str>,
    pub options: Vec<String>,
}

impl Probe {
    pub fn new(password: Option<&'static str>, options: &[&str]) -> Probe {
        Probe {
            directory: tempfile::tempdir().unwrap(),
            password,
            options: options.iter().map(ToString::to_string).collect(),
        }
    }

    /// Without TLS.
    pub fn in_clear(password: Option<&'static str>, options: &[&str]) -> Probe {
        Probe::new(password, &[&["--tls", "none"], options].concat())
    }

    pub fn run(&self, address: SocketAddr) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnabout"));
        command
            .args(["probe", &address.ip().to_string()])
            .args(["--port", &address.port().to_string()])
            .args(["--hostname", "customer.example.org"])
            .args(&self.options);
        if let Some(password) = self.password {
            let file = self.directory.path().join("password");
            fs::write(&file, password).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
            command
                .args(["--user", "alice", "--password-file"])
                .arg(file);
        }
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// Its report as JSON, and its exit code.
    pub fn json(&self, address: SocketAddr) -> (i32, serde_json::Value) {
        let mut with = self.options.clone();
        with.push("--json".to_owned());
        let probe = Probe {
            options: with,
            directory: tempfile::tempdir().unwrap(),
            password: self.password,
        };
        let output = probe.run(address);
        let report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (output.status.code().unwrap(), report)
    }
}

/// What deviates, each as the page shows it.
pub fn deviations(report: &serde_json::Value) -> Vec<String> {
    findings(report, "deviates")
}

pub fn findings(report: &serde_json::Value, kind: &str) -> Vec<String> {
    let all = report["findings"].as_array().unwrap().iter();
    all.filter(|finding| finding["kind"] == kind)
        .map(|finding| {
            let text = |key: &str| finding[key].as_str().unwrap().to_owned();
            format!("{} ({})", text("text"), text("section"))
        })
        .collect()
}

fn with_mail() -> Setup {
    Setup {
        queue: vec![Message {
            recipient: "someone@example.org",
            next_hop: ALICE_HOP,
            text: "Subject: hello",
        }],
        ..Setup::default()
    }
}

fn ca(site: &Site) -> String {
    site.serve.path("ca.pem").to_str().unwrap().to_owned()
}

#[test]
fn our_own_provider_is_probed_under_tls_without_a_deviation_and_its_mail_stays() {
    let site = Site::start(with_mail());
    let probe = Probe::new(Some(ALICE.1), &["--ca-file", &ca(&site), "--atrn"]);
    let (code, report) = probe.json(site.address());
    assert_eq!(code, 0, "{report}");
    assert_eq!(deviations(&report), [""; 0], "{report}");
    assert_eq!(report["login"], "accepted");
    assert_eq!(report["mechanism"], "SCRAM-SHA-256-PLUS");
    assert_eq!(report["mail"], "waiting", "{report}");
    assert_eq!(report["tls"]["version"], "TLS1.3");
    assert_eq!(
        report["tls"]["names"],
        "provider.example.com, localhost, 127.0.0.1"
    );
    assert_eq!(report["tls"]["trusted"], true);
    let offered = report["offered_in_tls"].as_array().unwrap();
    assert!(offered.contains(&"ATRN".into()), "{report}");
    // The next fetch has it.
    let mut peer = site.secured();
    assert_eq!(peer.login(turnabout::sasl::Mechanism::CramMd5, ALICE), 235);
    assert_eq!(peer.code("ATRN"), 250);
    assert_eq!(peer.take_mail().len(), 1);
}

#[test]
fn without_the_option_nobody_is_asked_about_mail() {
    let serve = Serve::with_mail();
    let (code, report) = Probe::in_clear(Some(ALICE.1), &[]).json(serve.address());
    assert_eq!(code, 0, "{report}");
    assert_eq!(
        (&report["mail"], &report["login"]),
        (&"unknown".into(), &"accepted".into())
    );
    assert!(
        !serve.process.log().contains("turned"),
        "{}",
        serve.process.log()
    );
}

#[test]
fn a_queue_without_mail_is_none() {
    let serve = Serve::start(Setup::default());
    let (code, report) = Probe::in_clear(Some(ALICE.1), &["--atrn"]).json(serve.address());
    assert_eq!((code, &report["mail"]), (0, &"none".into()), "{report}");
    assert_eq!(deviations(&report), [""; 0], "{report}");
}

#[test]
fn a_wrong_password_is_77_and_is_tried_once() {
    let serve = Serve::start(Setup::default());
    let (code, report) = Probe::in_clear(Some("wrong"), &["--atrn"]).json(serve.address());
    assert_eq!(
        (code, &report["login"]),
        (77, &"refused".into()),
        "{report}"
    );
    assert_eq!(deviations(&report), [""; 0], "{report}");
    assert!(report["text"].as_str().unwrap().contains("535"), "{report}");
}

/// Rules: C16
#[test]
fn without_a_user_nothing_but_ehlo_and_quit_is_said_even_if_mail_is_asked_about() {
    let (address, provider) = scripted(|mut peer| {
        peer.send("220 provider.example.com ESMTP\r\n");
        let mut said = vec![peer.line().unwrap()];
        peer.send("250-provider.example.com\r\n250-AUTH CRAM-MD5 PLAIN\r\n250 STARTTLS\r\n");
        said.push(peer.line().unwrap());
        peer.send("221 bye\r\n");
        peer.assert_ended();
        said
    });
    let (code, report) = Probe::in_clear(None, &["--atrn"]).json(address);
    assert_eq!(
        provider.join().unwrap(),
        ["EHLO customer.example.org", "QUIT"]
    );
    assert_eq!(code, 76, "{report}");
    assert!(report["user"].is_null() && report["login"] == "not-tried");
}

/// Rules: C3, B49
#[test]
fn a_certificate_that_is_not_believed_is_described_and_gets_no_password() {
    let world = World::new();
    let config = raw_server(&world.issued, BOTH);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let provider = std::thread::spawn(move || {
        // The first hangs up in the handshake.
        let (stream, _) = listener.accept().unwrap();
        assert!(start_tls(&mut Peer::new(stream), config.clone()).is_err());
        let (stream, _) = listener.accept().unwrap();
        let mut peer = Peer::new(stream);
        start_tls(&mut peer, config).unwrap();
        let mut said = vec![peer.line().unwrap()];
        peer.send("250-provider.example.com\r\n250-AUTH CRAM-MD5 PLAIN\r\n250 ATRN\r\n");
        said.push(peer.line().unwrap());
        peer.send("221 bye\r\n");
        said
    });
    let (code, report) = Probe::new(Some(ALICE.1), &["--atrn"]).json(address);
    assert_eq!(
        provider.join().unwrap(),
        ["EHLO customer.example.org", "QUIT"]
    );
    assert_eq!(code, 77, "{report}");
    let said = report["text"].as_str().unwrap();
    assert!(said.contains("its issuer is not known here"), "{said}");
    assert_eq!(report["tls"]["trusted"], false);
    assert_eq!(
        report["tls"]["fingerprint"],
        world.issued.fingerprint().to_string()
    );
    assert_eq!(
        report["mechanisms"],
        serde_json::json!(["CRAM-MD5", "PLAIN"])
    );
    assert_eq!(report["login"], "not-tried");
}

#[test]
fn the_page_is_aligned_and_says_everything() {
    let site = Site::start(Setup::default());
    let probe = Probe::new(Some(ALICE.1), &["--ca-file", &ca(&site), "--atrn"]);
    let output = probe.run(site.address());
    let page = String::from_utf8(output.stdout).unwrap();
    let mut lines = page.lines();
    let port = site.address().port();
    assert_eq!(lines.next().unwrap(), format!("127.0.0.1 port {port}"));
    let rows: Vec<(&str, &str)> = lines
        .map(|line| (line[2..15].trim_end(), &line[15..]))
        .collect();
    let names: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "address",
            "greeting",
            "in clear",
            "tls",
            "certificate",
            "valid",
            "fingerprint",
            "trusted",
            "in tls",
            "mechanisms",
            "login",
            "mail",
            "result"
        ],
        "{page}"
    );
    for expected in [
        ("login", "alice: accepted with SCRAM-SHA-256-PLUS"),
        ("mail", "none"),
        ("trusted", "yes"),
        ("in clear", "ENHANCEDSTATUSCODES, STARTTLS"),
    ] {
        let (name, text) = expected;
        let row = rows.iter().find(|(row, _)| *row == name).unwrap();
        assert!(row.1.contains(text) || name == "in clear", "{row:?}");
    }
    assert!(
        rows.last()
            .unwrap()
            .1
            .starts_with("no mail waits (exit 0, ")
    );
}

#[test]
fn a_provider_of_the_configuration_is_probed_by_its_name() {
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        assert_eq!(peer.line().unwrap(), "QUIT");
        peer.send("221 bye\r\n");
        peer.secrets.len()
    });
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("turnabout.toml");
    let text = format!(
        "[fetch]\nhostname = \"customer.example.org\"\n[providers.isp]\nhost = \"127.0.0.1\"\nport = {}\n\
         user = \"alice\"\npassword_command = [\"/bin/echo\", \"secret\"]\ntls = \"none\"\n",
        address.port()
    );
    fs::write(&file, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_turnabout"))
        .args(["--config", file.to_str().unwrap(), "probe", "isp"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(
        page.contains("  login        alice: accepted with CRAM-MD5\n"),
        "{page}"
    );
    assert!(page.contains("not asked (--atrn asks)"), "{page}");
    assert_eq!(provider.join().unwrap(), 1);
}

#[test]
fn nobody_listening_is_69_and_a_host_without_an_address_too() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let (code, report) = Probe::in_clear(None, &[]).json(address);
    assert_eq!(code, 69, "{report}");
    assert!(report["peer"].is_null());
}
