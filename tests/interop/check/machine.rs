//! What is the same for every mail server: files, users, ports, certificates, the kernel.

use std::time::{Duration, SystemTime};

use super::Site;
use super::provider_postfix::right;

const TOML: &str = "turnabout.toml";

#[test]
fn a_mistake_in_the_configuration_is_an_error_with_its_place() {
    let site = right();
    site.append(TOML, "listn = []\n");
    site.fails_with("unknown key \\\"listn\\\" in [serve] (did you mean \\\"listen\\\"?)");
}

#[test]
fn a_configuration_without_a_role_is_an_error() {
    let site = right();
    site.write(TOML, "[fetch]\n");
    site.has_error(
        "it has neither [serve] nor [providers.NAME], so there is nothing that turnabout would do",
        "[serve]",
    );
}

#[test]
fn a_configuration_that_everybody_can_change_is_an_error() {
    let site = right();
    site.mode(TOML, 0o666);
    let path = site.text(TOML);
    site.has_error(
        &format!("any user of this machine can change {path}, and turnabout does as root what this file says"),
        &format!("chmod o-w {path}"),
    );
}

#[test]
fn a_configuration_that_the_service_itself_can_change_is_a_warning() {
    let site = right();
    site.mode(TOML, 0o660);
    let path = site.text(TOML);
    site.has_warning(
        &format!(
            "the group postfix can change {path}, and turnabout does as root what this file says"
        ),
        &format!("chmod g-w {path}"),
    );
}

#[test]
fn a_configuration_that_the_service_cannot_read_again_is_a_warning() {
    let site = right();
    site.give(TOML, 0);
    let path = site.text(TOML);
    site.has_warning(
        &format!("user postfix cannot read it because of {path}, so SIGHUP will not reload"),
        &format!("chgrp postfix {path} && chmod g+r {path}"),
    );
}

#[test]
fn a_runtime_directory_that_the_service_cannot_write_is_a_warning() {
    let site = right();
    std::fs::create_dir(site.path("run")).unwrap();
    site.mode("run", 0o755);
    let run = site.text("run");
    site.edit(
        TOML,
        "[serve]\n",
        &format!("[serve]\nruntime_directory = \"{run}\"\n"),
    );
    site.has_warning(
        &format!("user postfix cannot write there because of {run}, so several processes would not see that they serve one customer"),
        &format!("install -d -o postfix -m 750 {run}"),
    );
    let postfix = nix::unistd::User::from_name("postfix").unwrap().unwrap();
    let (uid, gid) = (postfix.uid.as_raw(), postfix.gid.as_raw());
    std::os::unix::fs::chown(site.path("run"), Some(uid), Some(gid)).unwrap();
    site.is_right();
    for (mode, who, fix) in [
        (0o770, "the group postfix", "g-w"),
        (0o757, "any user", "o-w"),
    ] {
        site.mode("run", mode);
        site.has_warning(
            &format!("{who} can change {run}, and take locks away by which a customer is served once at a time"),
            &format!("chmod {fix} {run}"),
        );
    }
}

#[test]
fn accounts_that_the_service_cannot_read_are_an_error() {
    let site = right();
    site.give("accounts.toml", 0);
    let path = site.text("accounts.toml");
    site.has_error(
        &format!("user postfix, which the service becomes, cannot read it because of {path}, so turnabout serve cannot start"),
        &format!("chgrp postfix {path} && chmod g+r {path}"),
    );
}

#[test]
fn accounts_that_others_can_read_are_an_error() {
    let site = right();
    site.mode("accounts.toml", 0o644);
    let path = site.text("accounts.toml");
    site.has_error(
        &format!("cannot read {path}: others may read or write it, and it holds passwords (chmod o= on it; change the passwords if somebody may have read them)"),
        &format!("chmod g-w,o= {path}"),
    );
}

#[test]
fn a_private_key_that_others_can_read_is_an_error() {
    let site = right();
    site.mode("own.pem", 0o644);
    site.has_error(
        "any user of this machine can read this private key (make a new one if somebody may have)",
        &format!("chmod o= {}", site.text("own.pem")),
    );
}

#[test]
fn a_user_that_does_not_exist_is_an_error() {
    let site = right();
    site.edit(TOML, "[serve]\n", "[serve]\nuser = \"nosuchuser\"\n");
    site.has_error(
        "there is no user \"nosuchuser\" on this machine, so turnabout serve cannot start",
        "user = \"postfix\"",
    );
}

/// Has somebody listen there for as long as the check runs.
fn listen(site: &Site, address: &str, port: u16) {
    let program = format!(
        "$s = IO::Socket::INET->new(Listen => 1, LocalAddr => \"{address}\", LocalPort => {port}) or die; \
         print \"up\\n\"; close STDOUT; sleep 60"
    );
    // The shell becomes turnabout, and with that the listener ends.
    site.write(
        "before",
        &format!(
            "setpriv --pdeathsig KILL perl -MIO::Socket::INET -e '{program}' >\"$1/up\" 2>/dev/null </dev/null &\n\
             echo $! >\"$1/pid\"\nwhile [ ! -s \"$1/up\" ]; do sleep 0.05; done\n"
        ),
    );
}

#[test]
fn a_port_that_somebody_else_has_is_an_error() {
    let site = right();
    listen(&site, "127.0.0.1", 366);
    let found = site.check();
    let pid = site.read("pid");
    assert_eq!(found.code, 78);
    found.has(
        "error",
        &format!(
            "perl (process {}) listens on 127.0.0.1:366 already, so turnabout serve cannot",
            pid.trim()
        ),
        "listen = [\"0.0.0.0:PORT\"]",
    );
}

/// Rules: C10
#[test]
fn somebody_who_listens_on_a_next_hop_is_an_error() {
    let site = right();
    listen(&site, "0.0.0.0", 24);
    let found = site.check();
    assert_eq!(found.code, 78);
    found.has(
        "error",
        "perl listens on 0.0.0.0:24, so the mail goes there instead of waiting for the customer",
        "next_hop = \"[127.77.0.1]:PORT\"",
    );
}

#[test]
fn a_next_hop_that_is_not_this_machines_is_a_warning() {
    let site = right();
    site.edit("accounts.toml", "127.77.0.1", "192.0.2.77");
    site.edit("postfix/turnabout", "127.77.0.1", "192.0.2.77");
    site.has_warning(
        "192.0.2.77 is not an address of this machine alone: should anybody answer there, the customer's mail goes to him",
        "next_hop = \"[127.77.0.1]:24\"",
    );
}

#[test]
fn a_next_hop_where_any_user_can_listen_is_a_warning() {
    let site = right();
    site.edit("accounts.toml", "[127.77.0.1]:24", "[127.77.0.1]:2525");
    site.edit("postfix/turnabout", "[127.77.0.1]:24", "[127.77.0.1]:2525");
    site.has_warning(
        "any user of this machine can listen on 127.77.0.1:2525, and is given the customer's mail then: let it be a port that only root can use",
        "next_hop = \"[127.77.0.1]:24\"",
    );
}

/// A certificate that ends at this time.
fn ends(site: &Site, end: SystemTime) {
    let mut parameters = rcgen::CertificateParams::new(["odmr.host.test".to_owned()]).unwrap();
    parameters.not_before = (SystemTime::now() - Duration::from_secs(90 * 24 * 3600)).into();
    parameters.not_after = end.into();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    site.write("own.pem", &(key.serialize_pem() + &certificate.pem()));
    site.mode("own.pem", 0o600);
}

#[test]
fn a_certificate_that_has_ended_is_an_error_and_one_that_ends_soon_a_warning() {
    let site = right();
    let day = Duration::from_secs(24 * 3600);
    let at = |end: SystemTime| humantime::format_rfc3339_seconds(end).to_string();
    let past = SystemTime::now() - day;
    ends(&site, past);
    site.has_error(
        &format!("this certificate expired on {}, and nobody will trust it (renew it, or set the clock right)", at(past)),
        "",
    );
    let soon = SystemTime::now() + 3 * day;
    ends(&site, soon);
    site.has_warning(
        &format!(
            "this certificate ends on {} (has its renewal failed?)",
            at(soon)
        ),
        "",
    );
}

#[test]
fn a_certificate_for_another_name_is_a_warning() {
    let site = right();
    site.certificate("own.pem", "www.host.test");
    site.has_warning(
        "no certificate is valid for odmr.host.test, by which this provider calls itself: a customer that dials that name refuses it (get one for that name, or set serve.hostname to a name in it)",
        "",
    );
}

#[test]
fn a_key_that_does_not_fit_is_an_error() {
    let site = right();
    site.certificate("other.pem", "odmr.host.test");
    let (own, other) = (site.text("own.pem"), site.text("other.pem"));
    site.edit(
        TOML,
        &format!("key = [\"{own}\"]"),
        &format!("key = [\"{other}\"]"),
    );
    site.has_error(
        &format!("cannot use {own}: {other} is not its private key (was one renewed without the other, or is the chain in the wrong order? the server's own certificate comes first)"),
        "",
    );
}

#[test]
fn the_kernels_tls_is_demanded_where_it_is_not_there() {
    if std::path::Path::new("/proc/net/tls_stat").exists() {
        // This machine has it; kernel::... covers that.
        return;
    }
    let site = right();
    site.edit(TOML, "[serve]\n", "[serve]\nhandoff_tls = \"kernel\"\n");
    site.has_error(
        "the kernel's module tls is not loaded, and handoff_tls = \"kernel\" refuses every session then",
        "modprobe tls && echo tls > /etc/modules-load.d/turnabout.conf",
    );
}

/// What only root may read is said to be unseen, and is no error.
#[test]
fn an_ordinary_user_is_told_what_is_not_seen() {
    let site = right();
    let output = std::process::Command::new("setpriv")
        .args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"])
        .arg(crate::lab::turnabout())
        .args(["check", "--json", "--config"])
        .arg(site.path(TOML))
        .output()
        .unwrap();
    // The configuration itself is the postfix group's.
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(text.contains("Permission denied"), "{text}");

    site.mode(TOML, 0o644);
    let output = std::process::Command::new("setpriv")
        .args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"])
        .arg(crate::lab::turnabout())
        .args(["check", "--json", "--config"])
        .arg(site.path(TOML))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    let notes: Vec<&str> = found["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["severity"] == "note")
        .map(|finding| finding["sentence"].as_str().unwrap())
        .collect();
    for expected in [
        "as user nobody it does not see what only root may read; that is said where it matters",
        "it could not be looked at as user nobody: Permission denied",
        "the certificate and its key could not be looked at as user nobody",
    ] {
        assert!(notes.contains(&expected), "{expected}: {notes:#?}");
    }
}
