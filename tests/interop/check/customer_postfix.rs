//! A customer with Postfix.

use super::{Site, shipped};

/// As the shipped files have it.
pub(super) fn right() -> Site {
    let site = Site::new();
    site.postfix(
        &shipped("postfix/customer-main.cf"),
        &shipped("postfix/customer-master.cf"),
    );
    site.write("password", "wonderland\n");
    site.mode("password", 0o600);
    let password = site.text("password");
    let fingerprint = format!("sha256:{}", "0a".repeat(32));
    site.write(
        "turnabout.toml",
        &format!(
            "[providers.isp]\nhost = \"odmr.isp.test\"\nuser = \"alice\"\npassword_file = \"{password}\"\n\
             fingerprint = [\"{fingerprint}\"]\ndomains = [\"example.org\", \"example.com\"]\n"
        ),
    );
    site
}

const MASTER: &str = "postfix/master.cf";
const MAIN: &str = "postfix/main.cf";

#[test]
fn a_customer_with_postfix_as_shipped_is_right() {
    right().is_right();
}

#[test]
fn a_customer_without_the_pass_service_is_told_its_lines() {
    let site = right();
    let master = site.read(MASTER);
    let before = master.split("odmr      pass").next().unwrap();
    let service = master.strip_prefix(before).unwrap().trim_end().to_owned();
    site.write(MASTER, before);
    site.has_error(
        "there is no service odmr, so Postfix cannot be given a connection",
        &service,
    );
    site.append(MASTER, &service.replace("odmr      pass", "odmr      unix"));
    site.append(MASTER, "\n");
    site.has_error(
        "the service odmr is of type unix and not pass, so Postfix cannot be given a connection",
        &service,
    );
}

/// Rules: C9
#[test]
fn a_pass_service_without_relay_control_is_an_error() {
    let site = right();
    site.edit(
        MASTER,
        "  -o smtpd_relay_restrictions=reject_unauth_destination\n",
        "  -o smtpd_relay_restrictions=permit\n",
    );
    site.edit(
        MASTER,
        "  -o smtpd_recipient_restrictions=reject_unauth_destination\n",
        "",
    );
    site.has_error(
        "nothing in smtpd_relay_restrictions and smtpd_recipient_restrictions refuses foreign domains, so the provider could relay through this machine",
        "  -o smtpd_relay_restrictions=reject_unauth_destination",
    );
}

/// Rules: C9
#[test]
fn trusted_networks_on_the_pass_service_are_a_warning_and_with_the_provider_in_them_an_error() {
    let site = right();
    for line in [
        "  -o mynetworks=\n",
        "  -o smtpd_relay_restrictions=reject_unauth_destination\n",
        "  -o smtpd_recipient_restrictions=reject_unauth_destination\n",
    ] {
        site.edit(MASTER, line, "");
    }
    site.append(MAIN, "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\nmynetworks = 127.0.0.0/8, 10.0.0.0/8\n");
    site.has_warning(
        "permit_mynetworks comes first, so the provider can relay through this machine if its address is ever in mynetworks (127.0.0.0/8, 10.0.0.0/8)",
        "  -o mynetworks=",
    );
    site.edit(MAIN, "127.0.0.0/8, 10.0.0.0/8", "0.0.0.0/0");
    site.has_error(
        "permit_mynetworks comes first and mynetworks has odmr.isp.test, so the provider can relay through this machine",
        "  -o mynetworks=",
    );
}

/// Rules: B46
#[test]
fn starttls_on_the_pass_service_is_an_error() {
    let site = right();
    site.edit(MASTER, "  -o smtpd_tls_security_level=none\n", "");
    site.append(MAIN, "smtpd_tls_security_level = may\n");
    site.has_error(
        "smtpd_tls_security_level offers STARTTLS on the turned connection, which has TLS already: a provider that takes it up cannot go on",
        "  -o smtpd_tls_security_level=none",
    );
}

#[test]
fn a_pass_service_that_waits_for_a_proxy_header_is_an_error() {
    let site = right();
    site.append(MASTER, "  -o smtpd_upstream_proxy_protocol=haproxy\n");
    site.has_error(
        "smtpd_upstream_proxy_protocol is set, so smtpd waits for a header that turnabout does not send here",
        "  -o smtpd_upstream_proxy_protocol=",
    );
}

#[test]
fn a_pass_service_that_everybody_can_reach_is_an_error() {
    let site = right();
    site.edit(MASTER, "odmr      pass  -  ", "odmr      pass  n  ");
    site.fails_with("it is not private, so its socket lies in public/");
}

#[test]
fn lists_that_judge_unknown_clients_are_a_warning() {
    let site = right();
    site.edit(MASTER, "  -o smtpd_client_restrictions=\n", "");
    site.append(
        MAIN,
        "smtpd_client_restrictions = reject_rbl_client dnsbl.test\n",
    );
    site.has_warning(
        "smtpd_client_restrictions judges unknown clients, but the only one is your provider: what it refuses goes back to the sender",
        "  -o smtpd_client_restrictions=",
    );
}

#[test]
fn a_domain_that_postfix_does_not_receive_is_an_error() {
    let site = right();
    site.edit(MAIN, ", example.org, example.com", ", example.org");
    site.has_error(
        "Postfix does not receive mail for example.com: it would refuse it, and the provider would return it to the senders",
        "mydestination = $myhostname, localhost.$mydomain, localhost, example.org, example.com",
    );
    // Any other way to receive it will do.
    site.append(MAIN, "virtual_mailbox_domains = static:all\n");
    site.is_right();
}

#[test]
fn a_socket_outside_this_postfix_is_a_warning() {
    let site = right();
    site.append("turnabout.toml", "socket = \"/srv/mail/private/odmr\"\n");
    site.has_warning(
        "this socket is not in /var/spool/postfix/private, where the Postfix of /etc/postfix has its own, so that Postfix was not compared with it (name another one with --config-directory)",
        "socket = \"/var/spool/postfix/private/odmr\"",
    );
}

#[test]
fn the_instance_of_a_socket_is_found_by_its_queue_directory() {
    let site = right();
    let second = site.text("second");
    std::fs::create_dir(site.path("second")).unwrap();
    let own = format!("{}queue_directory = /srv/mail\n", site.read(MAIN));
    site.write("second/main.cf", &own);
    site.write(
        "second/master.cf",
        &site.read(MASTER).replace(
            "smtpd_tls_security_level=none",
            "smtpd_tls_security_level=may",
        ),
    );
    site.append(MAIN, &format!("multi_instance_directories = {second}\n"));
    site.append("turnabout.toml", "socket = \"/srv/mail/private/odmr\"\n");
    let found = site.check();
    assert_eq!(found.code, 78);
    let place = format!("{second}/master.cf, service odmr");
    assert!(
        found
            .findings()
            .any(|finding| finding["place"] == place.as_str()),
        "{:#}",
        found.all
    );
}

#[test]
fn a_password_that_others_can_read_is_an_error() {
    let site = right();
    site.mode("password", 0o644);
    let password = site.text("password");
    site.has_error(
        &format!("cannot read the password file {password}: other users can read or change it (chmod o-rwx {password})"),
        &format!("chmod o-rwx {password}"),
    );
}
