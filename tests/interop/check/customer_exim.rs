//! A customer with Exim, and with other programs that are started on the connection.

use super::{Site, shipped};

/// What any Exim has, around the shipped lines.
fn configuration() -> String {
    let shipped = shipped("exim/customer.conf");
    format!(
        "primary_hostname = host.test
{shipped}
domainlist relay_to_domains =
hostlist relay_from_hosts = <; 127.0.0.1 ; ::1
acl_smtp_rcpt = acl_check_rcpt
rfc1413_query_timeout = 0s
keep_environment =

begin acl
acl_check_rcpt:
  accept domains = +local_domains
  accept domains = +relay_to_domains
  accept hosts = +relay_from_hosts
  deny message = relay not permitted

begin routers
mailboxes:
  driver = accept
  domains = +local_domains
  transport = maildir

begin transports
maildir:
  driver = appendfile
  directory = /var/mail/all
  maildir_format
"
    )
}

/// As the shipped files have it.
pub(super) fn right() -> Site {
    let site = Site::new();
    let exim = site.exim(&configuration());
    site.write("password", "wonderland\n");
    site.mode("password", 0o600);
    let password = site.text("password");
    let fingerprint = format!("sha256:{}", "0a".repeat(32));
    site.write(
        "turnabout.toml",
        &format!(
            "[providers.isp]\nhost = \"odmr.isp.test\"\nuser = \"alice\"\npassword_file = \"{password}\"\n\
             fingerprint = [\"{fingerprint}\"]\ndomains = [\"example.org\", \"example.com\"]\n\
             handoff = \"exec\"\ncommand = [\"{exim}\", \"-bs\"]\n"
        ),
    );
    site
}

const EXIM: &str = "exim.conf";

#[test]
fn a_customer_with_exim_as_shipped_is_right() {
    right().is_right();
}

#[test]
fn an_exim_that_puts_the_eleventh_message_aside_is_a_warning() {
    let site = right();
    site.edit(EXIM, "smtp_accept_queue_per_connection = 0\n", "");
    site.has_warning(
        "smtp_accept_queue_per_connection is 10: what comes after that in one connection waits for the next queue run, and from a provider everything comes in one",
        "smtp_accept_queue_per_connection = 0",
    );
}

/// Rules: B46
#[test]
fn an_exim_that_offers_starttls_on_the_turned_connection_is_an_error() {
    let site = right();
    site.certificate("exim.pem", "host.test");
    site.mode("exim.pem", 0o644);
    let pem = site.text("exim.pem");
    site.edit(
        EXIM,
        "tls_advertise_hosts = ${if <{$received_port}{1024}{*}}",
        &format!("tls_advertise_hosts = *\ntls_certificate = {pem}"),
    );
    site.has_error(
        "it offers STARTTLS on the turned connection, which has TLS already: a provider that takes it up cannot go on",
        "tls_advertise_hosts = ${if <{$received_port}{1024}{*}}",
    );
}

/// Rules: C9
#[test]
fn an_exim_that_relays_for_the_provider_is_an_error() {
    let site = right();
    site.edit(EXIM, "  deny message = relay not permitted", "  accept");
    site.has_error(
        "it relays for the provider, which it sees as 192.0.2.1: \"250 Accepted\" to a recipient that is not here",
        "hostlist relay_from_hosts =",
    );
}

/// Rules: C9
#[test]
fn a_tunnel_makes_the_provider_a_trusted_host_of_this_machine() {
    let site = right();
    site.edit("turnabout.toml", "odmr.isp.test", "127.0.0.1");
    site.edit("turnabout.toml", "handoff = ", "i_know = true\nhandoff = ");
    site.has_error(
        "it relays for the provider, which it sees as 127.0.0.1: \"250 Accepted\" to a recipient that is not here",
        "hostlist relay_from_hosts =",
    );
}

#[test]
fn a_domain_that_exim_refuses_is_an_error() {
    let site = right();
    site.edit(EXIM, " : example.com", "");
    site.has_error(
        "it refuses mail for example.com, which the provider would return to the senders: \"550 relay not permitted\"",
        "domainlist local_domains = @ : localhost : example.org : example.com",
    );
}

#[test]
fn an_exim_that_is_not_told_to_speak_smtp_is_an_error() {
    let site = right();
    site.edit(
        "turnabout.toml",
        ", \"-bs\"]",
        ", \"-bd\"]\ncommand_peer = \"exim\"",
    );
    let exim = site.text("exim4");
    site.has_error(
        &format!("{exim} without -bs does not speak SMTP on the connection"),
        &format!("command = [\"{exim}\", \"-bs\"]"),
    );
}

#[test]
fn a_program_that_is_not_there_is_an_error() {
    let site = right();
    let exim = site.text("exim4");
    site.edit("turnabout.toml", &exim, "/usr/sbin/no-such-server");
    site.fails_with("cannot run /usr/sbin/no-such-server: ");
}

#[test]
fn an_exim_that_does_not_trust_the_user_is_an_error() {
    let site = right();
    site.append("turnabout.toml", "command_user = \"nobody\"\n");
    site.fails_with("Exim believes -oMa from root and its trusted users only");
}

#[test]
fn a_sendmail_that_is_not_root_is_an_error() {
    let site = right();
    let exim = site.text("exim4");
    site.write("sendmail", "#!/bin/sh\n");
    site.mode("sendmail", 0o755);
    let sendmail = site.text("sendmail");
    site.edit("turnabout.toml", &exim, &sendmail);
    site.append(
        "turnabout.toml",
        "command_user = \"nobody\"\nhandoff_tls = \"kernel\"\n",
    );
    let found = site.check();
    assert_eq!(found.code, 78);
    found.has(
        "error",
        "sendmail -bs that is not root cannot deliver what it has received",
        "command_user = \"root\"",
    );
}
