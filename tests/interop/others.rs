//! The other programs that speak ODMR: fetchmail as our customer, INetSim as our provider.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::lab::{Host, Lab, Mail, Mta, Running, body_of_lines, lines_of};

const SOON: Duration = Duration::from_secs(60);

const PORT_366: &str = "provider.test port 366";

/// fetchmail knows CRAM-MD5 only, always names domains, and copies everything to the mail server on port 25.
pub fn fetchmail(customer: &Host, poll: &str) -> (i32, String) {
    let file = customer.path("/etc/fetchmailrc");
    fs::write(
        &file,
        format!(
            "poll {poll} proto odmr timeout 60\n\
             user \"alice\" password \"wonderland\"\n\
             fetchdomains example.org example.com\n\
             smtphost \"127.0.0.1/25\"\n"
        ),
    )
    .unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir_all(customer.path("/var/lib/fetchmail-home")).unwrap();
    let output = customer
        .command(
            "fetchmail",
            &["-v", "--nodetach", "--nosyslog", "-f", "/etc/fetchmailrc"],
        )
        .env("FETCHMAILHOME", "/var/lib/fetchmail-home")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

fn fetchmail_fetches(provider_mta: Mta) {
    let mut lab = Lab::new();
    let provider = lab.provider(provider_mta);
    let customer = lab.customer(Mta::Postfix);
    let _serve = provider.serve();
    let (code, log) = fetchmail(&customer, PORT_366);
    assert_eq!(code, 0, "no mail is success: {log}");

    let sent = [
        Mail::new(&["alice@example.org"], "plain", &body_of_lines(40)),
        Mail::new(
            &["alice@example.org"],
            "dots",
            &lines_of(&[".", "..", "", "x", "."]),
        ),
        Mail::new(
            &["alice@example.org"],
            "utf-8",
            &lines_of(&["Žluťoučký kůň", "日本語"]),
        ),
    ];
    provider.submit(&sent);
    let (code, log) = fetchmail(&customer, PORT_366);
    assert_eq!(code, 0, "{log}");
    Mail::assert_delivered(&sent, &customer.wait_inbox("alice", sent.len(), SOON));
    provider.wait_empty_queue(SOON);
}

#[test]
fn fetchmail_fetches_from_our_provider_with_postfix() {
    fetchmail_fetches(Mta::Postfix);
}

#[test]
fn fetchmail_fetches_from_our_provider_with_exim() {
    fetchmail_fetches(Mta::Exim);
}

/// INetSim takes any password and always has the same message, for bar@foo.org. After the final dot it sends an empty
/// line too many and goes away on the reply to that.
pub fn start_inetsim(provider: &Host, more: &str) -> Running {
    for dir in ["/var/log/inetsim", "/var/log/inetsim/report"] {
        fs::create_dir_all(provider.path(dir)).unwrap();
    }
    fs::write(
        provider.path("/etc/inetsim.conf"),
        format!(
            "start_service smtp\n\
             service_bind_address 0.0.0.0\n\
             service_run_as_user nobody\n\
             smtp_bind_port 366\n\
             smtp_fqdn_hostname provider.test\n\
             smtp_extended_smtp yes\n\
             smtp_service_extension AUTH PLAIN LOGIN CRAM-MD5\n\
             smtp_service_extension ENHANCEDSTATUSCODES\n\
             smtp_service_extension ATRN\n\
             {more}"
        ),
    )
    .unwrap();
    provider.run(
        "sh",
        &[
            "-c",
            "mkdir -p /var/lib/inetsim && cp -r /usr/share/inetsim/data/. /var/lib/inetsim/",
        ],
    );
    let inetsim = provider.spawn(
        "inetsim",
        "inetsim",
        &[
            "--config=/etc/inetsim.conf",
            "--log-dir=/var/log/inetsim",
            "--report-dir=/var/log/inetsim/report",
            "--data-dir=/var/lib/inetsim",
            "--pidfile=/var/log/inetsim/pid",
        ],
    );
    provider.wait_listening(366, SOON);
    inetsim
}

fn our_customer_fetches_from_inetsim(customer_mta: Mta) {
    let mut lab = Lab::new();
    let provider = lab.provider(Mta::Nothing);
    let customer = lab.customer(customer_mta);
    let _inetsim = start_inetsim(&provider, "");
    receive_for_bar(&customer);
    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{log}");
    assert_inetsims_message(&customer);
}

/// Lets the customer's mail server receive what INetSim sends.
pub fn receive_for_bar(customer: &Host) {
    match customer.mta {
        Mta::Postfix | Mta::NewerPostfix => customer.edit(
            "/etc/postfix/main.cf",
            "example.org",
            "example.org, foo.org",
        ),
        _ => customer.edit(
            "/etc/exim4/exim4.conf",
            "example.org",
            "example.org : foo.org",
        ),
    }
    customer.edit(
        "/etc/aliases",
        "postmaster: alice",
        "postmaster: alice\nbar: alice",
    );
    if customer.mta == Mta::Postfix {
        customer.run("newaliases", &[]);
        customer.postconf(&["biff=no"]);
    }
}

/// INetSim's one message has arrived, once.
pub fn assert_inetsims_message(customer: &Host) {
    let inbox = customer.wait_inbox("alice", 1, SOON);
    let message = String::from_utf8_lossy(&inbox[0]).into_owned();
    assert!(
        message.contains("Subject: INetSim test mail\n"),
        "{message}"
    );
    assert!(
        message.contains("This is an INetSim test mail...\n"),
        "{message}"
    );
    assert!(message.contains("foo@bar.org"), "{message}");
}

#[test]
fn our_customer_fetches_from_inetsim_into_postfix() {
    our_customer_fetches_from_inetsim(Mta::Postfix);
}

#[test]
fn our_customer_fetches_from_inetsim_into_exim() {
    our_customer_fetches_from_inetsim(Mta::Exim);
}
