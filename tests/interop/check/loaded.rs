//! The fragments that are printed, loaded into real mail servers: the check then finds nothing, and mail is delivered.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::Found;
use crate::lab::{Host, Lab, Mail, Mta, body_of_lines, turnabout};

const SOON: Duration = Duration::from_secs(30);

/// Where the fragments are written to.
const FRAGMENTS: &str = "/etc/turnabout/fragments";

fn check(host: &Host) -> Found {
    let output = host.try_run(turnabout(), &["check", "--json"]);
    let all: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    Found {
        code: output.status.code().unwrap(),
        all,
    }
}

/// Nothing is wrong but what the lab does on purpose: it goes without TLS.
fn is_right(host: &Host) {
    let found = check(host);
    let wrong: Vec<&Value> = found
        .findings()
        .filter(|finding| finding["severity"] != "note")
        .filter(|finding| {
            !finding["sentence"]
                .as_str()
                .unwrap()
                .starts_with("there is no TLS")
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(found.code, 0);
}

fn is_broken(host: &Host) {
    let found = check(host);
    assert_eq!(found.code, 78, "{:#}", found.all);
}

/// Has turnabout write its fragments; twice is as good as once.
fn write(host: &Host, which: &str) {
    for _ in 0..2 {
        host.run(turnabout(), &["check", which, "--write", FRAGMENTS]);
    }
}

fn fragment(host: &Host, name: &str) -> String {
    let text = host.read(&format!("{FRAGMENTS}/{name}"));
    assert!(!text.is_empty(), "{name}");
    text
}

fn mail_goes_through(provider: &Host, customer: &Host) {
    let sent = ["first", "second", "third"]
        .map(|name| Mail::new(&["alice@example.org"], name, &body_of_lines(20)));
    provider.submit(&sent);
    let _serve = provider.serve();
    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("turned"), "{log}");
    Mail::assert_delivered(&sent, &customer.wait_inbox("alice", sent.len(), SOON));
    provider.wait_empty_queue(SOON);
}

#[test]
fn the_fragments_for_postfix_make_a_provider_and_a_customer_that_deliver_mail() {
    let mut lab = Lab::new();
    let provider = lab.provider(Mta::Postfix);
    let customer = lab.customer(Mta::Postfix);

    // As if nobody had set them up yet; main.cf has some things of its own already.
    provider.run("postconf", &["-MX", "odmr/unix"]);
    let ours = [
        "transport_maps",
        "odmr_destination_concurrency_limit",
        "connection_cache_ttl_limit",
    ];
    provider.run("postconf", &[&["-X"], ours.as_slice()].concat());
    provider.run(
        "postconf",
        &[
            "-e",
            "relay_domains = backup.test",
            "defer_transports = uucp",
        ],
    );
    fs::remove_file(provider.path("/etc/postfix/turnabout")).unwrap();
    is_broken(&provider);
    write(&provider, "--postfix");
    for (name, file) in [
        ("postfix-provider-main.cf", "/etc/postfix/main.cf"),
        ("postfix-provider-master.cf", "/etc/postfix/master.cf"),
        ("postfix-turnabout", "/etc/postfix/turnabout"),
    ] {
        let all = provider.read(file) + &fragment(&provider, name);
        fs::write(provider.path(file), all).unwrap();
    }
    // Touches the files and reloads.
    provider.postconf(&["biff = no"]);
    let main = provider.run("postconf", &["-n", "relay_domains", "defer_transports"]);
    assert_eq!(
        main,
        "relay_domains = backup.test, texthash:/etc/postfix/turnabout\ndefer_transports = uucp, odmr\n"
    );
    is_right(&provider);

    customer.run("postconf", &["-MX", "odmr/pass"]);
    customer.run(
        "postconf",
        &["-e", "mydestination = $myhostname, localhost"],
    );
    customer.edit(
        "/etc/turnabout/turnabout.toml",
        "user = \"alice\"",
        "user = \"alice\"\ndomains = [\"example.org\", \"example.com\"]",
    );
    is_broken(&customer);
    write(&customer, "--postfix");
    for (name, file) in [
        ("postfix-customer-main.cf", "/etc/postfix/main.cf"),
        ("postfix-customer-master.cf", "/etc/postfix/master.cf"),
    ] {
        let all = customer.read(file) + &fragment(&customer, name);
        fs::write(customer.path(file), all).unwrap();
    }
    customer.postconf(&["biff = no"]);
    is_right(&customer);
    mail_goes_through(&provider, &customer);
}

/// One piece of a fragment for Exim.
fn piece(fragment: &str, section: &str) -> String {
    let mut inside = section == "main";
    let mut piece = String::new();
    for line in fragment.lines() {
        if let Some(rest) = line.strip_prefix("# --- begin ") {
            inside = rest.starts_with(section);
        } else if inside {
            piece.push_str(line);
            piece.push('\n');
        }
    }
    piece
}

/// Exim's configuration with the pieces at the head of their sections; what the main section's piece sets is left out
/// of the rest.
fn composed(base: &str, fragment: &str) -> String {
    let main = piece(fragment, "main");
    let key = |line: &str| line.split_once('=').map(|(key, _)| key.trim().to_owned());
    let set: Vec<String> = main
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(key)
        .collect();
    let mut text = main;
    for line in base.lines() {
        if !key(line).is_some_and(|key| set.contains(&key)) {
            text.push_str(line);
            text.push('\n');
        }
        if let Some(section) = line.strip_prefix("begin ") {
            text.push_str(&piece(fragment, section));
        }
    }
    text
}

fn reload(host: &Host) {
    let pid = host.read("/var/spool/exim4/exim.pid");
    host.run("kill", &["-HUP", pid.trim()]);
}

#[test]
fn the_fragments_for_exim_make_a_provider_and_a_customer_that_deliver_mail() {
    let mut lab = Lab::new();
    let provider = lab.provider(Mta::Exim);
    let customer = lab.customer(Mta::Exim);
    const CONFIGURATION: &str = "/etc/exim4/exim4.conf";

    let base = provider.read("/etc/exim4/base.conf");
    let base = base.replace(
        "domainlist relay_to_domains =",
        "domainlist relay_to_domains = +odmr_domains",
    );
    fs::write(
        provider.path(CONFIGURATION),
        provider.read("/etc/exim4/base.conf"),
    )
    .unwrap();
    fs::remove_file(provider.path("/etc/exim4/turnabout")).unwrap();
    is_broken(&provider);
    write(&provider, "--exim");
    let text = composed(&base, &fragment(&provider, "exim-provider.conf"));
    fs::write(provider.path(CONFIGURATION), text).unwrap();
    let table = fragment(&provider, "exim-turnabout");
    fs::write(provider.path("/etc/exim4/turnabout"), table).unwrap();
    reload(&provider);
    is_right(&provider);

    let base = customer.read("/etc/exim4/base.conf");
    fs::write(customer.path(CONFIGURATION), &base).unwrap();
    customer.edit(
        "/etc/turnabout/turnabout.toml",
        "user = \"alice\"",
        "user = \"alice\"\ndomains = [\"example.org\", \"example.com\"]",
    );
    is_broken(&customer);
    write(&customer, "--exim");
    let text = composed(&base, &fragment(&customer, "exim-customer.conf"));
    fs::write(customer.path(CONFIGURATION), text).unwrap();
    is_right(&customer);
    mail_goes_through(&provider, &customer);
}

#[test]
fn a_file_that_is_there_and_says_something_else_is_not_overwritten() {
    let site = super::customer_postfix::right();
    let fragments = site.text("fragments");
    let write = || site.run(&["check", "--postfix", "--write", &fragments]);
    assert!(write().status.success());
    let master = "fragments/postfix-customer-master.cf";
    site.append(master, "# mine\n");
    fs::remove_file(site.path("fragments/postfix-customer-main.cf")).unwrap();
    let refused = write();
    assert_eq!(refused.status.code(), Some(78));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("it is there and says something else"),
        "{said}"
    );
    assert!(site.read(master).ends_with("# mine\n"));
    // None of them was written.
    assert!(!site.path("fragments/postfix-customer-main.cf").exists());
}

/// What is printed for the shipped example is what is shipped.
#[test]
fn for_the_shipped_example_the_shipped_files_are_printed() {
    let printed = |site: &super::Site, which: &str| {
        let output = site.run(&["check", which]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let expected = |files: &[(&str, &str)]| -> String {
        let all = files
            .iter()
            .map(|(name, file)| format!("#### {name}\n{}\n", super::shipped(file)));
        all.collect()
    };
    let site = super::provider_postfix::right();
    site.postfix("", "");
    assert_eq!(
        printed(&site, "--postfix"),
        expected(&[
            ("postfix-provider-main.cf", "postfix/provider-main.cf"),
            ("postfix-provider-master.cf", "postfix/provider-master.cf"),
            ("postfix-turnabout", "postfix/provider-turnabout"),
        ])
    );
    let site = super::customer_postfix::right();
    site.postfix("", "");
    assert_eq!(
        printed(&site, "--postfix"),
        expected(&[
            ("postfix-customer-main.cf", "postfix/customer-main.cf"),
            ("postfix-customer-master.cf", "postfix/customer-master.cf"),
        ])
    );
    let site = super::provider_exim::right();
    site.edit("exim.conf", "hold_domains = +odmr_domains\n", "");
    assert_eq!(
        printed(&site, "--exim"),
        expected(&[
            ("exim-provider.conf", "exim/provider.conf"),
            ("exim-turnabout", "exim/provider-turnabout"),
        ])
    );
    let site = super::customer_exim::right();
    assert_eq!(
        printed(&site, "--exim"),
        expected(&[("exim-customer.conf", "exim/customer.conf")])
    );
}
