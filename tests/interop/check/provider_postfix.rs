//! A provider with Postfix.

use super::{ACCOUNTS, Site, group, shipped};

/// As the shipped files have it.
pub(super) fn right() -> Site {
    let site = Site::new();
    site.postfix(
        &shipped("postfix/provider-main.cf"),
        &shipped("postfix/provider-master.cf"),
    );
    site.write("postfix/turnabout", &shipped("postfix/provider-turnabout"));
    site.certificate("own.pem", "odmr.host.test");
    let own = site.text("own.pem");
    let accounts = site.text("accounts.toml");
    site.write(
        "turnabout.toml",
        &format!(
            "[serve]\nhostname = \"odmr.host.test\"\ncertificate = [\"{own}\"]\nkey = [\"{own}\"]\naccounts = \"{accounts}\"\n"
        ),
    );
    site.write("accounts.toml", ACCOUNTS);
    site.give("turnabout.toml", group("postfix"));
    site.give("accounts.toml", group("postfix"));
    site
}

const MASTER: &str = "postfix/master.cf";
const MAIN: &str = "postfix/main.cf";

#[test]
fn a_provider_with_postfix_as_shipped_is_right() {
    right().is_right();
}

#[test]
fn a_provider_without_the_service_is_told_its_lines() {
    let site = right();
    let master = site.read(MASTER);
    let before = master.split("odmr      unix").next().unwrap();
    let service = master.strip_prefix(before).unwrap().trim_end().to_owned();
    site.write(MASTER, before);
    site.has_error(
        "there is no service odmr of type unix, so mail for the customers has no way out",
        &service,
    );
}

#[test]
fn a_service_that_is_not_smtp_is_an_error() {
    let site = right();
    site.edit(
        MASTER,
        "-       -       smtp\n  -o syslog_name=postfix/odmr",
        "-       -       lmtp\n  -o syslog_name=postfix/odmr",
    );
    site.fails_with("the service odmr runs lmtp, and only smtp takes a connection from the cache");
}

#[test]
fn a_service_that_does_not_use_the_connection_cache_is_an_error() {
    let site = right();
    site.edit(
        MASTER,
        "  -o smtp_connection_cache_destinations=static:all\n",
        "",
    );
    site.has_error(
        "smtp_connection_cache_destinations is empty, so the service does not look for the customer's connection where it is lent",
        "  -o smtp_connection_cache_destinations=static:all",
    );
}

#[test]
fn tls_for_all_mail_that_reaches_the_service_is_an_error() {
    let site = right();
    site.edit(MASTER, "  -o smtp_tls_security_level=none\n", "");
    site.append(MAIN, "smtp_tls_security_level = encrypt\n");
    site.has_error(
        "smtp_tls_security_level is \"encrypt\", but turnabout speaks TLS on the turned connection already, and Postfix does not find it so",
        "  -o smtp_tls_security_level=none",
    );
}

#[test]
fn a_login_for_all_mail_that_reaches_the_service_is_an_error() {
    let site = right();
    site.edit(MASTER, "  -o smtp_sasl_auth_enable=no\n", "");
    site.append(MAIN, "smtp_sasl_auth_enable = yes\n");
    site.has_error(
        "smtp_sasl_auth_enable is \"yes\", so Postfix would log in at the customer's, and does not find its connection",
        "  -o smtp_sasl_auth_enable=no",
    );
}

#[test]
fn a_fallback_relay_that_reaches_the_service_is_an_error() {
    let site = right();
    site.edit(MASTER, "  -o smtp_fallback_relay=\n", "");
    site.append(MAIN, "smtp_fallback_relay = relay.test\n");
    site.has_error(
        "smtp_fallback_relay is \"relay.test\", so mail goes there instead of waiting for the customer",
        "  -o smtp_fallback_relay=",
    );
}

#[test]
fn a_transport_that_is_not_deferred_is_an_error() {
    let site = right();
    site.edit(
        MAIN,
        "defer_transports = odmr\n",
        "defer_transports = uucp\n",
    );
    site.has_error(
        "defer_transports does not name odmr, so Postfix tries the customers' mail all the time instead of waiting for them",
        "defer_transports = uucp, odmr",
    );
}

#[test]
fn more_than_one_delivery_at_a_time_is_an_error() {
    let site = right();
    site.edit(MAIN, "odmr_destination_concurrency_limit = 1\n", "");
    site.has_error(
        "odmr_destination_concurrency_limit is 20, but a customer has one connection: the second delivery at a time finds nobody and stops the others",
        "odmr_destination_concurrency_limit = 1",
    );
}

#[test]
fn a_short_time_in_the_cache_is_a_warning_and_none_an_error() {
    let site = right();
    site.edit(MAIN, "connection_cache_ttl_limit = 60s\n", "");
    let fix = "connection_cache_ttl_limit = 60s";
    site.has_warning(
        "connection_cache_ttl_limit is \"2s\", which is too short to lend a connection comfortably",
        fix,
    );
    site.append(MAIN, "connection_cache_ttl_limit = 0s\n");
    site.has_error(
        "connection_cache_ttl_limit is \"0s\", so no connection can be lent to Postfix",
        fix,
    );
}

#[test]
fn a_domain_without_a_route_is_an_error_with_its_line() {
    let site = right();
    site.write("postfix/relayed", "example.org x\nexample.com x\n");
    site.edit(
        MAIN,
        "relay_domains = texthash:/etc/postfix/turnabout",
        "relay_domains = texthash:/etc/postfix/relayed",
    );
    site.edit(
        "postfix/turnabout",
        "example.com     odmr:[127.77.0.2]:24\n",
        "",
    );
    site.has_error(
        "no table has example.com, so its mail does not wait for \"bob\" but goes where its MX record points",
        "example.com     odmr:[127.77.0.2]:24",
    );
}

#[test]
fn a_route_to_another_next_hop_than_the_accounts_is_an_error() {
    let site = right();
    site.edit("postfix/turnabout", "[127.77.0.2]:24", "[127.77.0.2]:2526");
    site.has_error(
        "it leads example.com to odmr:[127.77.0.2]:2526, but the account of \"bob\" has the next hop [127.77.0.2]:24, so Postfix does not find the customer's connection",
        "example.com     odmr:[127.77.0.2]:24",
    );
}

/// Rules: C10
#[test]
fn somebody_elses_mail_on_a_customers_next_hop_is_an_error() {
    let site = right();
    site.append("postfix/turnabout", "stranger.test odmr:[127.77.0.1]:24\n");
    site.has_error(
        "it leads stranger.test to odmr:[127.77.0.1]:24, which is the next hop of \"alice\" whose account does not have stranger.test: that mail would go to the wrong customer",
        "#stranger.test odmr:[127.77.0.1]:24",
    );
}

#[test]
fn a_domain_that_is_not_relayed_is_an_error() {
    let site = right();
    site.edit(
        MAIN,
        "relay_domains = texthash:/etc/postfix/turnabout",
        "relay_domains = example.org\nfast_flush_domains = $transport_maps",
    );
    site.has_error(
        "relay_domains does not have example.com, so Postfix refuses mail for it",
        "relay_domains = example.org, example.com",
    );
}

#[test]
fn a_domain_that_cannot_be_flushed_is_an_error() {
    let site = right();
    site.append(MAIN, "fast_flush_domains = example.org\n");
    site.has_error(
        "fast_flush_domains does not have example.com, so its mail cannot be asked for (postqueue -s)",
        "fast_flush_domains = example.org, example.com",
    );
}

#[test]
fn a_customers_domain_that_is_this_machines_own_is_an_error() {
    let site = right();
    site.append(
        MAIN,
        "mydestination = $myhostname, example.org, localhost\n",
    );
    site.has_error(
        "mydestination has example.org as well, so Postfix takes its mail for this machine's own instead of keeping it for the customer",
        "mydestination = $myhostname, localhost",
    );
}

#[test]
fn a_table_that_cannot_be_read_is_an_error() {
    let site = right();
    site.edit(
        MAIN,
        "transport_maps = texthash:/etc/postfix/turnabout",
        "transport_maps = texthash:/etc/postfix/elsewhere",
    );
    site.fails_with("the table texthash:/etc/postfix/elsewhere cannot be asked: ");
}

#[test]
fn a_configuration_directory_that_postqueue_refuses_is_an_error() {
    let site = right();
    let second = site.text("postfix");
    site.append(
        "turnabout.toml",
        &format!("[serve.postfix]\nconfig_directory = \"{second}\"\n"),
    );
    site.has_error(
        &format!("neither alternate_config_directories nor multi_instance_directories names {second}, so postqueue refuses to work for the service's user"),
        &format!("alternate_config_directories = {second}"),
    );
}

#[test]
fn the_service_must_run_as_postfixs_own_user() {
    let site = right();
    site.edit(
        "turnabout.toml",
        "[serve]\n",
        "[serve]\nuser = \"Debian-exim\"\n",
    );
    let found = site.check();
    found.has(
        "error",
        "the service would run as \"Debian-exim\", but Postfix's sockets in private/ are open to \"postfix\" alone",
        "user = \"postfix\"",
    );
    assert_eq!(found.code, 78);
}
