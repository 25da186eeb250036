//! One run of `turnabout fetch`: several providers, reports for programs, where the password comes from.

use crate::driver::{ALICE, Fetch, Peer, opened, scripted};
use crate::fetch_talk::outcome;
use std::fs::{self, Permissions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use turnabout::sasl::cram_md5;

/// A provider that answers ATRN with this.
fn answers(reply: &'static str) -> (SocketAddr, std::thread::JoinHandle<()>) {
    scripted(move |mut peer: Peer| {
        opened(&mut peer);
        peer.line().unwrap();
        peer.send(format!("{reply}\r\n"));
        if reply.starts_with("250") {
            peer.rest();
            return;
        }
        assert_eq!(peer.line().unwrap(), "QUIT");
        peer.send("221 bye\r\n");
    })
}

fn section(name: &str, address: SocketAddr, more: &str) -> String {
    format!(
        "[providers.{name}]\nhost = \"{}\"\nport = {}\ntls = \"none\"\nuser = \"alice\"\n\
         password_command = [\"/bin/echo\", \"secret\"]\nhandoff = \"exec\"\ni_know = true\ncommand = [\"/bin/true\"]\n{more}\n",
        address.ip(),
        address.port()
    )
}

const HEAD: &str = "[fetch]\nhostname = \"customer.example.org\"\n";

#[test]
fn of_several_providers_each_is_told_in_order_and_the_gravest_exit_counts() {
    let (one, two, three) = (answers("453 none"), answers("450 no"), answers("250 ok"));
    let config = [
        HEAD.to_owned(),
        section("one", one.0, ""),
        section("two", two.0, "domains = [\"example.org\"]"),
        section("three", three.0, ""),
    ]
    .concat();
    let output = Fetch::default().run_file(&config, &["--all"]);
    assert_eq!(output.status.code(), Some(75));
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(
        lines[0].starts_with("one: all domains: no mail ("),
        "{said}"
    );
    assert!(
        lines[1].starts_with("two: example.org: the provider asks to try later: 450 no ("),
        "{said}"
    );
    assert!(
        lines[2].starts_with("three: all domains: turned, handed over by exec"),
        "{said}"
    );
    for (_, provider) in [one, two, three] {
        provider.join().unwrap();
    }
}

#[test]
fn only_the_providers_that_are_named_are_dialled() {
    let (address, provider) = answers("453 none");
    // Nobody listens at the other.
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let config = [
        HEAD,
        &section("one", address, ""),
        &section("two", nobody, ""),
    ]
    .concat();
    let output = Fetch::default().run_file(&config, &["one"]);
    assert_eq!(outcome(&output).0, 0);
    provider.join().unwrap();
    let output = Fetch::default().run_file(&config, &["three"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(output.stdout.is_empty());
}

#[test]
fn json_has_every_field() {
    let (address, provider) = answers("250 ok");
    let refused = answers("450 4.7.0 \"no\" \\ more");
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let config = [
        HEAD,
        &section(
            "one",
            address,
            "domains = [\"example.org\", \"example.com\"]",
        ),
        &section("two", refused.0, ""),
        &section("three", nobody, ""),
    ]
    .concat();
    let output = Fetch::default().run_file(&config, &["--all", "--json"]);
    assert_eq!(output.status.code(), Some(69));
    let reports: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let keys = [
        "carried",
        "domains",
        "end",
        "exit",
        "handoff",
        "mechanism",
        "peer",
        "provider",
        "seconds",
        "text",
        "tls",
        "user",
    ];
    for report in &reports {
        let mut found: Vec<&str> = report
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        found.sort_unstable();
        assert_eq!(found, keys);
        assert!(report["seconds"].is_number());
        assert_eq!(
            (&report["user"], &report["handoff"]),
            (&"alice".into(), &"exec".into())
        );
    }
    assert_eq!(reports[0]["end"], "fetched");
    assert_eq!(reports[0]["exit"], 0);
    assert_eq!(reports[0]["provider"], "one");
    assert_eq!(reports[0]["peer"], address.to_string());
    assert_eq!(reports[0]["mechanism"], "CRAM-MD5");
    assert_eq!(reports[0]["carried"], "plain");
    assert!(reports[0]["tls"].is_null());
    assert_eq!(
        reports[0]["domains"],
        serde_json::json!(["example.org", "example.com"])
    );
    assert_eq!(
        (&reports[1]["end"], &reports[1]["exit"]),
        (&"try-later".into(), &75.into())
    );
    assert!(
        reports[1]["text"]
            .as_str()
            .unwrap()
            .contains("450 4.7.0 \"no\"")
    );
    assert_eq!(
        (&reports[2]["end"], &reports[2]["exit"]),
        (&"unreachable".into(), &69.into())
    );
    assert!(reports[2]["peer"].is_null() && reports[2]["mechanism"].is_null());
    provider.join().unwrap();
    refused.1.join().unwrap();
}

/// The CRAM-MD5 response that the right password gives.
fn expected(password: &str) -> String {
    use base64::Engine;
    let digest = cram_md5::digest(
        &turnabout::sasl::Secret::from(password),
        b"<1.1@p.example.com>",
    );
    base64::engine::general_purpose::STANDARD.encode(format!("alice {digest}"))
}

#[test]
fn the_password_is_the_first_line_that_the_command_prints() {
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        peer.send("421 enough\r\n");
        peer.secrets
    });
    let command = "password_command = [\"/usr/bin/printf\", \"s3cret word\\\\nmore\\\\n\"]";
    let given = section("one", address, "")
        .replace("password_command = [\"/bin/echo\", \"secret\"]", command);
    let output = Fetch::default().run_file(&[HEAD, &given].concat(), &["one"]);
    assert_eq!(outcome(&output).0, 75);
    assert_eq!(provider.join().unwrap(), [expected("s3cret word")]);
}

#[test]
fn a_password_that_cannot_be_had_is_78_and_nobody_is_dialled() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let run = Fetch::default();
    let file = run.path("secret");
    fs::write(&file, "secret\n").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let file = file.to_str().unwrap();
    for (source, said) in [
        (
            "password_command = [\"/bin/false\"]".to_owned(),
            "it ended with exit status: 1",
        ),
        (
            "password_command = [\"/nonexistent\"]".to_owned(),
            "No such file",
        ),
        (
            "password_command = [\"/bin/true\"]".to_owned(),
            "first line is empty",
        ),
        (
            "password_file = \"/nonexistent\"".to_owned(),
            "No such file",
        ),
        (format!("password_file = \"{file}\""), "chmod o-rwx"),
    ] {
        let given = section("one", address, "")
            .replace("password_command = [\"/bin/echo\", \"secret\"]", &source);
        let output = run.run_file(&[HEAD, &given].concat(), &["one"]);
        let (code, sentence) = outcome(&output);
        assert_eq!(code, 78, "{sentence}");
        assert!(sentence.contains(said), "{said} in {sentence}");
    }
    assert!(
        listener.accept().is_err(),
        "somebody called without a password"
    );
}

/// Rules: C16
#[test]
fn nothing_of_a_login_is_in_the_customers_log_at_any_level() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    for mechanism in ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"] {
        let (address, provider) = scripted(move |mut peer| {
            peer.send("220 provider.example.com\r\n");
            peer.line().unwrap();
            peer.send(format!(
                "250-p.example.com\r\n250-AUTH {mechanism}\r\n250 ATRN\r\n"
            ));
            let mut heard = Vec::new();
            let first = peer.line().unwrap();
            heard.extend(first.split(' ').nth(2).map(str::to_owned));
            if mechanism == "LOGIN" {
                for prompt in ["VXNlcm5hbWU6", "UGFzc3dvcmQ6"] {
                    peer.send(format!("334 {prompt}\r\n"));
                    heard.push(peer.line().unwrap());
                }
            } else if mechanism == "CRAM-MD5" {
                peer.send("334 PDEuMUBwLmV4YW1wbGUuY29tPg==\r\n");
                heard.push(peer.line().unwrap());
            } else if mechanism.starts_with("SCRAM") {
                let start = STANDARD.decode(heard[0].as_bytes()).unwrap();
                let start = String::from_utf8(start).unwrap();
                let nonce = start.split_once(",r=").unwrap().1;
                let challenge = STANDARD.encode(format!("r={nonce}more,s=QSXCR+Q6sek8bf92,i=4096"));
                heard.push(challenge.clone());
                peer.send(format!("334 {challenge}\r\n"));
                heard.push(peer.line().unwrap());
            }
            peer.send("535 5.7.8 no\r\n");
            peer.line().unwrap();
            peer.send("221 bye\r\n");
            heard
        });
        let mut run = Fetch::default().with(&["--plaintext-without-tls"]);
        run.options = vec!["--log-level", "trace"];
        let output = run.run(address);
        let mut secrets = provider.join().unwrap();
        secrets.push(run.password.to_owned());
        secrets.push(STANDARD.encode(run.password));
        secrets.extend(crate::serve_log::decoded(&secrets));
        let log = String::from_utf8(output.stderr.clone()).unwrap();
        assert!(log.contains("fetch finished"), "{log}");
        let (code, said) = outcome(&output);
        assert_eq!(code, 77, "{said}");
        for secret in secrets.iter().filter(|secret| secret.len() > 8) {
            assert!(
                !log.contains(secret) && !said.contains(secret),
                "{secret} in {log}"
            );
        }
    }
    assert_eq!(Fetch::default().password, ALICE.1);
}

/// Rules: C15
#[test]
fn a_provider_cannot_forge_a_line_or_drive_a_terminal() {
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        peer.line().unwrap();
        peer.send("450 \x1b[31mno\x07 \u{9b}2J (0.0 s)\r\n");
        peer.line().unwrap();
        peer.send("221 bye\r\n");
    });
    let output = Fetch::default().run(address);
    let log = String::from_utf8(output.stderr.clone()).unwrap();
    let (code, said) = outcome(&output);
    assert_eq!(code, 75);
    for character in log
        .chars()
        .chain(said.chars())
        .filter(|character| *character != '\n')
    {
        assert!(!character.is_control(), "{character:?} in {log}{said}");
    }
    provider.join().unwrap();
}

#[test]
fn one_closing_line_tells_the_whole_fetch() {
    let (address, provider) = answers("250 ok");
    let run = Fetch {
        options: vec!["--log-format", "json"],
        ..Fetch::default()
    };
    let output = run.run(address);
    assert_eq!(outcome(&output).0, 0);
    provider.join().unwrap();
    let lines: Vec<serde_json::Value> = String::from_utf8(output.stderr)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let closed: Vec<_> = lines
        .iter()
        .filter(|line| line["message"] == "fetch finished")
        .collect();
    assert_eq!(closed.len(), 1, "{lines:?}");
    for (field, value) in [
        ("provider", "127.0.0.1"),
        ("peer", &address.to_string()),
        ("user", "alice"),
        ("domains", "all domains"),
        ("mechanism", "CRAM-MD5"),
        ("handoff", "exec"),
        ("end", "turned, handed over by exec, session ended"),
    ] {
        assert_eq!(closed[0][field], value, "{}", closed[0]);
    }
    assert!(closed[0]["seconds"].is_number());
}

/// The shell's `--password-file <(command)`: what is inherited is there when it is read, and gone
/// when the mail server starts.
#[test]
fn the_password_may_come_from_an_inherited_descriptor_or_standard_input() {
    let pipe = |password: &str| {
        let (reading, writing) = std::io::pipe().unwrap();
        (&writing).write_all(password.as_bytes()).unwrap();
        reading
    };
    let play = || {
        scripted(|mut peer| {
            opened(&mut peer);
            peer.line().unwrap();
            peer.send("250 turning\r\n");
            (peer.secrets.clone(), peer.rest())
        })
    };
    let inherited = pipe("s3cret word\n");
    let open_on_exec = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty());
    nix::fcntl::fcntl(&inherited, open_on_exec).unwrap();
    let path = format!("/dev/fd/{}", inherited.as_raw_fd());
    for (file, input) in [
        (path.as_str(), Stdio::null()),
        ("-", Stdio::from(pipe("s3cret word\n"))),
    ] {
        let (address, provider) = play();
        let output = Command::new(env!("CARGO_BIN_EXE_turnabout"))
            .args(["fetch", "--host", "127.0.0.1", "--user", "alice"])
            .args(["--tls", "none"])
            .args(["--port", &address.port().to_string()])
            .args(["--hostname", "c.example.org", "--password-file", file])
            .args([
                "--handoff",
                "exec",
                "--i-know",
                "--",
                "/bin/ls",
                "/proc/self/fd",
            ])
            .stdin(input)
            .output()
            .unwrap();
        assert_eq!(outcome(&output).0, 0, "{output:?}");
        let (responses, descriptors) = provider.join().unwrap();
        assert_eq!(responses, [expected("s3cret word")]);
        assert_eq!(descriptors, "0\n1\n2\n3\n");
    }
}
