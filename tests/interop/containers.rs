//! A customer in two containers: turnabout in one, Exim in the other, and a directory between them.
//!
//! The two have neither processes nor network nor files in common, except that directory: Exim's host is told nothing
//! of the provider's, and turnabout's has no mail server. What `turnabout catch` is sent is all that goes between them.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::{
    Authority, Host, Lab, Mail, Mode, Mta, Running, Script, body_of_lines, server_config,
    turnabout, wait_for,
};
use crate::loss::{How, Part, Plan, Scissors};

const SOON: Duration = Duration::from_secs(60);

const MESSAGES: usize = 100;

/// A provider, and a customer in two parts.
struct Site {
    provider: Host,
    /// Exim, and catch.
    mail: Host,
    /// turnabout fetch.
    sidecar: Host,
    catch: Running,
    authority: Authority,
    _lab: Lab,
}

impl Site {
    fn new(provider: Mta) -> Self {
        let mut lab = Lab::new();
        let authority = Authority::new();
        let provider = lab.provider(provider);
        let mail = lab.customer(Mta::Exim);
        let sidecar = lab.stranger();
        let socket = lab.shared().join("catch.sock");
        let socket = socket.to_str().unwrap();
        for file in ["turnabout.toml", "password"] {
            let inside = format!("/etc/turnabout/{file}");
            fs::copy(mail.path(&inside), sidecar.path(&inside)).unwrap();
            fs::remove_file(mail.path(&inside)).unwrap();
        }
        sidecar.unset("command");
        let quoted = format!("\"{socket}\"");
        sidecar.set(
            "providers.isp",
            &[("handoff", "\"catch\""), ("socket", &quoted)],
        );
        let command = ["catch", socket, "--", "/usr/sbin/exim4", "-bs"];
        let catch = mail.spawn("catch", turnabout(), &command);
        wait_for("catch", SOON, || {
            catch.log().contains(" ready ").then_some(())
        });
        assert!(!sidecar.try_run("ls", &["/usr/sbin/exim4"]).status.success());
        Self {
            provider,
            mail,
            sidecar,
            catch,
            authority,
            _lab: lab,
        }
    }

    fn with_tls(&self) {
        self.provider.serve_with_tls(&self.authority);
        self.sidecar.fetch_with_tls(&self.authority, Mode::Starttls);
        let relay = [("handoff_tls", "\"relay\"")];
        self.sidecar.set("providers.isp", &relay);
    }

    fn submit(&self) -> Vec<Mail> {
        let sent: Vec<Mail> = (0..MESSAGES)
            .map(|number| {
                let name = format!("message-{number}");
                Mail::new(&["alice@example.org"], &name, &body_of_lines(number))
            })
            .collect();
        self.provider.submit(&sent);
        sent
    }

    /// What Exim has written down of its peers.
    fn assert_true_peer(&self) {
        let log = self.mail.mail_log();
        assert!(
            log.contains("[10.99.0.1]") || log.contains("[fd00:99::1]"),
            "{log}"
        );
        assert!(
            !log.contains("127.0.0.1") && !log.contains("[::1]"),
            "{log}"
        );
        assert!(!log.contains("U=root P=local"), "{log}");
    }

    fn assert_taken(&self, carried: &str) {
        let log = self.catch.log();
        let line = log.lines().find(|line| line.contains("connection taken"));
        let line = line.unwrap_or_else(|| panic!("{log}"));
        assert!(line.contains(&format!("carried={carried} ")), "{line}");
        assert!(line.contains("user=alice "), "{line}");
    }
}

fn mail_arrives(provider: Mta, tls: bool) {
    let site = Site::new(provider);
    if tls {
        site.with_tls();
    }
    let sent = site.submit();
    let _serve = site.provider.serve();
    let (code, log) = site.sidecar.fetch();
    assert_eq!(code, 0, "{log}");
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    Mail::assert_delivered(&sent, &site.mail.wait_inbox("alice", sent.len(), SOON));
    site.provider.wait_empty_queue(SOON);
    site.assert_taken(if tls { "relay" } else { "plain" });
    site.assert_true_peer();
    wait_for("the end of the session", SOON, || {
        site.catch.log().contains("session ended").then_some(())
    });
    assert!(!site.catch.log().contains("WARN"), "{}", site.catch.log());
    // No mail is left, and nothing is handed over for that.
    let (code, log) = site.sidecar.fetch();
    assert_eq!(code, 0, "{log}");
    assert_eq!(site.catch.log().matches("connection taken").count(), 1);
}

#[test]
fn mail_from_postfix_arrives_at_an_exim_in_another_container() {
    mail_arrives(Mta::Postfix, false);
}

/// Rules: C9
#[test]
fn mail_from_postfix_arrives_over_tls_at_an_exim_in_another_container() {
    mail_arrives(Mta::Postfix, true);
}

#[test]
fn mail_from_exim_arrives_at_an_exim_in_another_container() {
    mail_arrives(Mta::Exim, false);
}

fn relays_nothing(tls: bool) {
    let site = Site::new(Mta::Nothing);
    let mut fetch;
    let mut script;
    if tls {
        site.sidecar.fetch_with_tls(&site.authority, Mode::Starttls);
        let relay = [("handoff_tls", "\"relay\"")];
        site.sidecar.set("providers.isp", &relay);
        let listener = site.provider.listen("10.99.0.1:366");
        fetch = site.sidecar.start_fetch();
        let pair = site.authority.issue(&["provider.test"]);
        let config = server_config(&pair, rustls::ALL_VERSIONS);
        script = Script::accept_with_tls(&listener, Mode::Starttls, config);
    } else {
        let listener = site.provider.listen("10.99.0.1:366");
        fetch = site.sidecar.start_fetch();
        script = Script::accept(&listener);
        script.greet();
    }
    script.turn();
    script.reply("220");
    script.command("EHLO provider.test", "250");
    script.command("MAIL FROM:<someone@elsewhere.example>", "250");
    let refusal = script.command("RCPT TO:<victim@elsewhere.example>", "5");
    assert!(refusal.to_lowercase().contains("relay"), "{refusal}");
    script.command("RCPT TO:<alice@example.org>", "250");
    script.command("QUIT", "221");
    let status = fetch.wait(SOON);
    assert_eq!(status.code(), Some(0), "{}", fetch.log());
    site.assert_taken(if tls { "relay" } else { "plain" });
    assert!(
        site.mail.mail_log().contains("[10.99.0.1]"),
        "{}",
        site.mail.mail_log()
    );
}

/// Rules: C9
#[test]
fn an_exim_in_another_container_relays_nothing_for_the_provider() {
    relays_nothing(false);
}

/// Its descriptor has no address there.
/// Rules: C9
#[test]
fn an_exim_in_another_container_relays_nothing_for_the_provider_over_tls() {
    relays_nothing(true);
}

/// Rules: R29
#[test]
fn fetch_killed_in_the_transfer_does_not_disturb_an_exim_in_another_container() {
    let site = Site::new(Mta::Postfix);
    let sent = site.submit();
    let _serve = site.provider.serve();
    let scissors = Scissors::new(&site.provider, "10.99.0.1:3660", "10.99.0.1:366", None);
    let port = [("host", "\"10.99.0.1\""), ("port", "3660")];
    site.sidecar.set("providers.isp", &port);
    let connection = scissors.next(Some(held_back("body 20 10")));
    let mut fetch = site.sidecar.start_fetch();
    assert!(connection.reached(SOON), "{}", fetch.log());
    fetch.kill();
    connection.go_on();
    Mail::assert_delivered(&sent, &site.mail.wait_inbox("alice", sent.len(), SOON));
    site.provider.wait_empty_queue(SOON);
    connection.over(SOON);
    assert_eq!(site.catch.log().matches("connection taken").count(), 1);
}

/// What it carried is cut: the rest of the mail stays with the provider, and comes the next time.
/// Rules: R29, C7
#[test]
fn fetch_killed_in_a_transfer_that_it_carries_to_another_container_loses_no_mail() {
    let site = Site::new(Mta::Postfix);
    site.with_tls();
    let sent = site.submit();
    let _serve = site.provider.serve();
    let mut fetch = site.sidecar.start_fetch();
    wait_for("mail", SOON, || {
        (site.mail.inbox_count("alice") > 3).then_some(())
    });
    fetch.kill();
    let mut times = 0;
    wait_for("all mail", SOON, || {
        // The provider has to notice the end of the first session.
        let (code, _) = site.sidecar.fetch();
        times += usize::from(code == 0);
        site.provider.queue().is_empty().then_some(())
    });
    assert!(times > 0);
    let inbox = wait_for("the last message", SOON, || {
        let inbox = site.mail.inbox("alice");
        (inbox.len() >= sent.len()).then_some(inbox)
    });
    // One may be there twice: its 250 was on the way when the relay died.
    assert!(inbox.len() <= sent.len() + 1, "{}", inbox.len());
    for mail in &sent {
        assert!(
            inbox.iter().any(|file| mail.is_delivered_as(file)),
            "{} is lost",
            mail.name()
        );
    }
}

/// The mail stays with the provider, which hears no ATRN; the next time all is well.
/// Rules: R26, R29
#[test]
fn an_exim_whose_catch_is_gone_gets_its_mail_when_it_is_back() {
    let mut site = Site::new(Mta::Postfix);
    let sent = site.submit();
    let _serve = site.provider.serve();
    site.catch.signal(Signal::SIGKILL);
    site.catch.wait(SOON);
    let (code, log) = site.sidecar.fetch();
    assert_eq!(code, 75, "{log}");
    assert!(log.contains("is turnabout catch running there"), "{log}");
    assert!(!site.provider.read("serve.log").contains("turned"));
    let shared = site._lab.shared().join("catch.sock");
    let command = [
        "catch",
        shared.to_str().unwrap(),
        "--",
        "/usr/sbin/exim4",
        "-bs",
    ];
    let again = site.mail.spawn("again", turnabout(), &command);
    wait_for("catch", SOON, || {
        again.log().contains(" ready ").then_some(())
    });
    let (code, log) = site.sidecar.fetch();
    assert_eq!(code, 0, "{log}");
    Mail::assert_delivered(&sent, &site.mail.wait_inbox("alice", sent.len(), SOON));
}

fn held_back(line: &str) -> Plan {
    Plan {
        line: line.to_owned(),
        part: Part::Nothing,
        how: How::Hold,
    }
}
