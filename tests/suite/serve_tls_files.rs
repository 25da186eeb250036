//! Certificates and keys of the provider: root's alone, renewed while it runs, and what is wrong with them.

use crate::driver::{ALICE, Peer, Setup, Site, until, write_pair};
use crate::tls_world::{HOST, params};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use rustls::pki_types::CertificateDer;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};
use turnabout::sasl::Mechanism;

/// The certificate that a new session is shown.
fn shown(site: &Site) -> CertificateDer<'static> {
    let mut peer = Peer::greeted(site.address());
    assert_eq!(peer.code("STARTTLS"), 220);
    peer.begin_tls(site.client(), HOST).unwrap();
    peer.tls.as_ref().unwrap().peer_certificates().unwrap()[0].clone()
}

/// The program's child that stays root; none if the tests do not run as root.
fn root_child(site: &Site) -> Option<Pid> {
    let parent = format!("PPid:\t{}\n", site.serve.process.id());
    let processes = fs::read_dir("/proc").unwrap();
    let found = processes
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<i32>().ok())
        .find(|id| {
            fs::read_to_string(format!("/proc/{id}/status"))
                .is_ok_and(|text| text.contains(&parent))
        });
    assert_eq!(found.is_some(), geteuid().is_root());
    found.map(Pid::from_raw)
}

#[test]
fn a_renewed_certificate_is_for_new_sessions_after_sighup_and_the_old_go_on() {
    let mut site = Site::start(Setup::default());
    let mut old = site.secured();
    let before = shown(&site);
    let renewed = site.authority.issue(&params(&[HOST]));
    write_pair(&site.serve.path(""), &renewed);
    site.serve.process.signal(Signal::SIGHUP);
    site.serve.process.logged("reloaded");
    assert_eq!(shown(&site), renewed.der);
    assert_ne!(shown(&site), before);
    assert_eq!(old.login(Mechanism::Plain, ALICE), 235);
    assert_eq!(old.code("ATRN"), 453);
}

#[test]
fn a_renewed_certificate_is_found_without_a_word_and_a_broken_one_is_not_used() {
    let mut site = Site::start(Setup::default());
    let before = shown(&site);
    // A key that does not fit: the certificate in use stays, and the log says it once.
    let other = site.authority.issue(&params(&[HOST]));
    fs::write(site.serve.path("cert.pem"), &other.pem).unwrap();
    let line = site
        .serve
        .process
        .logged("the certificates that were read before stay in use");
    assert!(line.contains("ERROR") && line.contains("key.pem"), "{line}");
    assert_eq!(shown(&site), before);
    // Whole again: it is taken into use.
    fs::write(site.serve.path("key.pem"), &other.key).unwrap();
    site.serve.process.logged("certificates were renewed");
    assert_eq!(shown(&site), other.der);
    let log = site.serve.process.log();
    assert_eq!(log.matches("stay in use").count(), 1, "{log}");
}

#[test]
fn a_broken_certificate_at_sighup_changes_nothing_at_all() {
    let mut site = Site::start(Setup::default());
    let before = shown(&site);
    fs::write(site.serve.path("key.pem"), "no key\n").unwrap();
    site.serve.write_accounts("");
    site.serve.process.signal(Signal::SIGHUP);
    let line = site.serve.process.logged("cannot reload");
    assert!(line.contains("everything stays as it was"), "{line}");
    assert_eq!(shown(&site), before);
    let mut peer = site.secured();
    assert_eq!(peer.login(Mechanism::Plain, ALICE), 235);
}

#[test]
fn a_reload_that_fails_is_not_followed_by_news_of_a_renewal() {
    let mut site = Site::start(Setup::default());
    site.serve.write_config(|setup| {
        setup
            .keys
            .push_str("\nclient_ca = \"/nonexistent/ca.pem\"\n");
    });
    site.serve.process.signal(Signal::SIGHUP);
    let line = site.serve.process.logged("cannot reload");
    assert!(line.contains("/nonexistent/ca.pem"), "{line}");
    // Longer than from one look at the files to the next.
    std::thread::sleep(Duration::from_secs(17));
    let log = site.serve.process.log();
    assert!(!log.contains("certificates were renewed"), "{log}");
}

#[test]
fn root_that_reads_keys_is_one_child_that_ends_with_its_parent() {
    let mut site = Site::start(Setup::default());
    let Some(child) = root_child(&site) else {
        return;
    };
    let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap();
    assert!(status.contains("Uid:\t0\t0\t0\t0\n"), "{status}");
    assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
    // It has the socket to its parent and nothing else that is open.
    let open: Vec<String> = fs::read_dir(format!("/proc/{child}/fd"))
        .unwrap()
        .map(|entry| {
            fs::read_link(entry.unwrap().path())
                .unwrap()
                .display()
                .to_string()
        })
        .filter(|target| target != "/dev/null")
        .collect();
    assert!(
        open.iter().all(|target| target.starts_with("socket:")),
        "{open:?}"
    );
    assert!(
        open.iter().collect::<std::collections::BTreeSet<_>>().len() == 1,
        "{open:?}"
    );
    site.serve.process.signal(Signal::SIGKILL);
    site.serve.process.ended();
    until("the child's end", || {
        let text = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        (text.is_empty() || text.contains("State:\tZ")).then_some(())
    });
}

#[test]
fn when_that_child_is_gone_sessions_go_on_and_the_log_says_what_to_do() {
    let mut site = Site::start(Setup::default());
    let Some(child) = root_child(&site) else {
        return;
    };
    let before = shown(&site);
    kill(child, Signal::SIGKILL).unwrap();
    site.serve.process.signal(Signal::SIGHUP);
    let line = site.serve.process.logged("cannot reload");
    assert!(
        line.contains("the process that reads keys as root is gone: restart the service"),
        "{line}"
    );
    assert_eq!(shown(&site), before);
}

#[test]
fn certificates_that_cannot_be_used_are_refused_at_the_start() {
    type Spoil = fn(&std::path::Path);
    let cases: [(Spoil, &str); 4] = [
        (
            |path| fs::remove_file(path.join("key.pem")).unwrap(),
            "No such file",
        ),
        (
            |path| fs::write(path.join("cert.pem"), "root:x:0:0\n").unwrap(),
            "cert.pem",
        ),
        (
            |path| fs::write(path.join("key.pem"), "nothing\n").unwrap(),
            "key.pem",
        ),
        (
            |path| {
                let other = crate::tls_world::self_signed(&params(&[HOST]));
                fs::write(path.join("key.pem"), &other.key).unwrap();
            },
            "key.pem",
        ),
    ];
    for (spoil, said) in cases {
        let mut site = Site::spawn_with(Setup::default(), spoil);
        let (status, log) = site.serve.process.ended();
        assert_eq!(status.code(), Some(78), "{log}");
        assert!(log.lines().last().unwrap().contains(said), "{said}: {log}");
        assert!(!log.contains("root:x"), "{log}");
    }
}

#[test]
fn a_certificate_that_ends_soon_is_a_warning() {
    let soon = SystemTime::now() + Duration::from_secs(5 * 24 * 3600);
    let mut site = Site::spawn_with(Setup::default(), |_| {});
    site.serve.wait_until_ready();
    let mut short = params(&[HOST]);
    short.not_after = soon.into();
    let short = site.authority.issue(&short);
    write_pair(&site.serve.path(""), &short);
    site.serve.process.signal(Signal::SIGHUP);
    let line = site.serve.process.logged("a certificate ends soon");
    assert!(line.contains("WARN") && line.contains("days=4"), "{line}");
    assert_eq!(shown(&site), short.der);
}

#[test]
fn the_command_of_the_child_is_not_for_people() {
    let output = Command::new(env!("CARGO_BIN_EXE_turnabout"))
        .args(["read-keys", "--", "/etc/passwd"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("standard input is no socket"), "{said}");
}
