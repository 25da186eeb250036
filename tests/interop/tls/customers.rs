//! Programs of other TLS libraries as customers of our provider.

use super::openssl::{Client, stunnel};
use super::{Hosts, SOON, assert_carried, carried, closing_line, handoff_tls, three_messages};
use crate::lab::{CA, IMPLICIT_PORT, Mail, Mode, Mta};
use crate::others::fetchmail;

/// One session each: how it gets its TLS, what the program is told, what the log must say of it, and the moments at
/// which it sends a `KeyUpdate`.
type Session = (
    Mode,
    &'static [&'static str],
    &'static str,
    &'static [&'static str],
);

const OF_OPENSSL: [Session; 5] = [
    (
        Mode::Starttls,
        &["-tls1_3"],
        "TLS1.3 TLS_AES_256_GCM_SHA384",
        &["turn", "mail 2", "data 3", "dot 3"],
    ),
    (
        Mode::Implicit,
        &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"],
        "TLS1.3 TLS_AES_128_GCM_SHA256",
        &[],
    ),
    (
        Mode::Implicit,
        &["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
        "TLS1.3 TLS_CHACHA20_POLY1305_SHA256",
        &["ehlo"],
    ),
    (Mode::Starttls, &["-tls1_2"], "TLS1.2 ", &[]),
    (Mode::Implicit, &["-tls1_2"], "TLS1.2 ", &[]),
];

const OF_GNUTLS: [Session; 4] = [
    (
        Mode::Starttls,
        &[],
        "TLS1.3 TLS_AES_256_GCM_SHA384",
        &["turn", "mail 2", "data 3", "dot 3"],
    ),
    (
        Mode::Implicit,
        &["--priority=NORMAL:-CIPHER-ALL:+CHACHA20-POLY1305"],
        "TLS1.3 TLS_CHACHA20_POLY1305_SHA256",
        &["ehlo"],
    ),
    (
        Mode::Starttls,
        &["--priority=NORMAL:-VERS-TLS1.3"],
        "TLS1.2 ",
        &[],
    ),
    (
        Mode::Implicit,
        &["--priority=NORMAL:-VERS-TLS1.3"],
        "TLS1.2 ",
        &[],
    ),
];

fn fetches(client: Client, sessions: &[Session], provider_mta: Mta) {
    let hosts = Hosts::new(provider_mta, Mta::Nothing);
    let serve = hosts.provider.serve();
    for (number, (mode, more, tls, updates)) in sessions.iter().enumerate() {
        let about = format!("{client:?} {mode:?} {more:?}");
        let carried = carried(tls);
        if carried != handoff_tls() {
            refuses(client, &hosts, *mode, more);
            continue;
        }
        let sent = three_messages(&format!("session-{number}"));
        hosts.provider.submit(&sent);
        let mut script = client.connect(&hosts.customer, *mode, more);
        script.log_in();
        let received = script.fetch(|script, at| {
            // The mail server could not read on behind one of these.
            if updates.contains(&at) && carried == "relay" {
                client.update_keys(script);
            }
        });
        // Exim closes behind its QUIT at once, in which the kernel loses it.
        let whole = (provider_mta, carried) != (Mta::Exim, "kernel");
        assert_eq!(received.quit, whole, "{about}: QUIT");
        Mail::assert_delivered(&sent, &received.messages);
        hosts.provider.wait_empty_queue(SOON);
        let line = closing_line(&serve, number);
        assert!(line.contains(&format!("tls=\"{tls}")), "{about}: {line}");
        assert!(
            line.contains(&format!("carried={carried} ")),
            "{about}: {line}"
        );
        // Behind the 221 comes close_notify and nothing else.
        assert_eq!(script.octets(), None, "{about}");
        let said = client.end(&mut script, &hosts.customer);
        if !whole {
            assert!(said.contains(client.misses_the_end()), "{about}: {said}");
            continue;
        }
        assert!(said.starts_with("exit status: 0\n"), "{about}: {said}");
        assert!(!said.contains(client.misses_the_end()), "{about}: {said}");
        if carried == "relay" {
            let updated = said.matches(client.has_updated()).count();
            assert_eq!(updated, updates.len(), "{about}: {said}");
        }
    }
    // Exim closes its side right behind QUIT, and gnutls-cli may then go before its 221 is sent. Nor does Exim say in its
    // log where the connection leads that it was given.
    if provider_mta == Mta::Postfix {
        let log = serve.log();
        let mut lines = log.lines().filter(|line| !line.contains("451: "));
        assert!(
            lines.all(|line| !line.contains("WARN") && !line.contains("ERROR")),
            "{log}"
        );
        let log = hosts.provider.mail_log();
        let seen = ["customer.test[10.99.0.2]", "customer.test[fd00:99::2]"];
        assert!(seen.iter().any(|peer| log.contains(peer)), "{log}");
    }
}

/// What the kernel must carry, and cannot, is not turned: the keys of TLS 1.2 are never given to it.
fn refuses(client: Client, hosts: &Hosts, mode: Mode, more: &[&str]) {
    let waiting = three_messages("refused");
    hosts.provider.submit(&waiting);
    let mut script = client.connect(&hosts.customer, mode, more);
    script.log_in();
    script.command("ATRN", "451");
    // s_client takes a line that begins with Q for a word to itself.
    script.command("quit", "221");
    client.end(&mut script, &hosts.customer);
}

/// Rules: B50, B52, B53, B56, C7
#[test]
fn openssl_fetches_from_our_provider_with_postfix() {
    fetches(Client::OpenSsl, &OF_OPENSSL, Mta::Postfix);
}

/// Rules: B50, B52, B53, B56, C7
#[test]
fn openssl_fetches_from_our_provider_with_exim() {
    fetches(Client::OpenSsl, &OF_OPENSSL, Mta::Exim);
}

/// Rules: B50, B52, B53, B56, C7
#[test]
fn gnutls_fetches_from_our_provider_with_postfix() {
    fetches(Client::GnuTls, &OF_GNUTLS, Mta::Postfix);
}

/// Rules: B50, B52, B53, B56, C7
#[test]
fn gnutls_fetches_from_our_provider_with_exim() {
    fetches(Client::GnuTls, &OF_GNUTLS, Mta::Exim);
}

/// Rules: B52
#[test]
fn fetchmail_fetches_over_tls_with_openssl_as_its_plugin_and_behind_stunnel() {
    let hosts = Hosts::new(Mta::Postfix, Mta::Postfix);
    let serve = hosts.provider.serve();
    let plugin = format!(
        "openssl s_client -quiet -connect %h:%p -CAfile {CA} -verify_return_error -verify_hostname provider.test"
    );
    let with_plugin = format!("provider.test plugin \"{plugin}\" port {IMPLICIT_PORT}");
    let service = format!(
        "client = yes\nprotocol = smtp\nconnect = provider.test:366\n\
         CAfile = {CA}\nverifyChain = yes\ncheckHost = provider.test\n"
    );
    let _stunnel = stunnel(&hosts.customer, 2525, &service);
    let mut sent = Vec::new();
    let polls = [
        ("plugin", with_plugin.as_str()),
        ("stunnel", "127.0.0.1 port 2525"),
    ];
    for (number, (name, poll)) in polls.into_iter().enumerate() {
        let three = three_messages(name);
        hosts.provider.submit(&three);
        sent.extend(three);
        let (code, log) = fetchmail(&hosts.customer, poll);
        assert_eq!(code, 0, "{name}: {log}");
        let inbox = hosts.customer.wait_inbox("alice", sent.len(), SOON);
        Mail::assert_delivered(&sent, &inbox);
        hosts.provider.wait_empty_queue(SOON);
        assert_carried(&closing_line(&serve, number));
    }
}

/// It comes without a certificate of its own, verifies ours, logs in and goes.
///
/// Rules: B36, B50
#[test]
fn swaks_logs_in_over_starttls() {
    let hosts = Hosts::new(Mta::Postfix, Mta::Nothing);
    let _serve = hosts.provider.serve();
    let mut arguments = vec!["--server", "provider.test", "--port", "366", "--tls"];
    arguments.extend(["--tls-verify", "--tls-ca-path", CA]);
    arguments.extend(["--auth-user", "alice", "--auth-password", "wonderland"]);
    arguments.extend(["--quit-after", "AUTH"]);
    for mechanism in ["PLAIN", "CRAM-MD5"] {
        let log = hosts
            .customer
            .run("swaks", &[&arguments[..], &["--auth", mechanism]].concat());
        assert!(log.contains("235 "), "{log}");
    }
}
