//! The set-ups of the README: every line of each is run, in order, on two booted Debians with mail servers that work, and
//! then a mail arrives.

use std::fs;
use std::time::Duration;

use crate::lab::{Authority, Debian, Lab};
use crate::package;

const SOON: Duration = Duration::from_secs(60);

/// The blocks of commands in a section of the README, in order.
pub fn blocks(section: &str) -> Vec<String> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, text) = readme.split_once(&format!("\n### {section}\n")).unwrap();
    let text = text.split("\n#").next().unwrap();
    let mut blocks = vec![String::new()];
    for line in text.lines() {
        match line.strip_prefix("    ") {
            Some(command) => {
                let block = blocks.last_mut().unwrap();
                block.push_str(command);
                block.push('\n');
            }
            None if blocks.last().unwrap().is_empty() => {}
            None => blocks.push(String::new()),
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

/// What stands around the set-ups: a name and a certificate that the customer's machine trusts, and our package.
fn prepare(provider: &Debian, customer: &Debian) {
    let authority = Authority::new();
    let pair = authority.issue(&["odmr.example.net"]);
    let live = "/etc/letsencrypt/live/odmr.example.net";
    provider.run("install -d -m 700 /etc/letsencrypt/live");
    provider.write(
        &format!("{live}/fullchain.pem"),
        "644",
        pair.certificate.as_bytes(),
    );
    provider.write(&format!("{live}/privkey.pem"), "600", pair.key.as_bytes());
    customer.write(
        "/usr/local/share/ca-certificates/test.crt",
        "644",
        authority.certificate.as_bytes(),
    );
    customer.run("update-ca-certificates; echo '10.99.0.1 odmr.example.net' >>/etc/hosts");
    let directory = tempfile::tempdir().unwrap();
    let built = package::build(directory.path(), "0.1.0-1");
    package::install(provider, &built);
    package::install(customer, &built);
}

/// Runs a set-up; where the README has somebody type the password, it is what the lines are given to read.
fn set_up(section: &str, provider: &Debian, customer: &Debian) {
    let blocks = blocks(section);
    let [at_provider, at_customer] = blocks.as_slice() else {
        panic!("{} blocks in {section}", blocks.len());
    };
    provider.run_with_input(at_provider, b"wonderland\n");
    package::queue_mail(provider, "waiting");
    customer.run_with_input(at_customer, b"wonderland\n");
    let inbox = customer.wait_inbox("alice", 1, SOON);
    assert!(inbox[0].contains("body of waiting"), "{inbox:?}");
}

#[test]
fn the_set_up_with_systemd_and_postfix_does_as_it_is_written() {
    let mut lab = Lab::new();
    let provider = package::with_postfix(&mut lab, 1);
    let customer = package::with_postfix(&mut lab, 2);
    prepare(&provider, &customer);
    set_up("systemd and Postfix", &provider, &customer);

    // It stays so: the timer waits, and the service fetches again.
    let timer = "systemctl is-active turnabout-fetch@home.timer turnabout-serve.service";
    customer.run("systemctl is-active turnabout-fetch@home.timer");
    provider.run(&timer.replace("turnabout-fetch@home.timer ", ""));
    package::queue_mail(&provider, "later");
    customer.run("systemctl start turnabout-fetch@home");
    customer.wait_inbox("alice", 2, SOON);
}

#[test]
fn the_set_up_with_inetd_and_exim_does_as_it_is_written() {
    let mut lab = Lab::new();
    let provider = package::with_exim(&mut lab, 1);
    let customer = package::with_exim(&mut lab, 2);
    prepare(&provider, &customer);
    set_up("inetd and Exim", &provider, &customer);

    // Once Debian's Exim has been told to speak TLS, it still does not on the turned connection.
    customer.run("echo 'MAIN_TLS_ENABLE = yes' >/etc/exim4/conf.d/main/000_localmacros; /usr/share/doc/exim4-base/examples/exim-gencert </dev/null || true; systemctl restart exim4");
    let said = customer.run("ehlo() { printf 'EHLO x\\r\\nQUIT\\r\\n' | exim4 -bh 192.0.2.1.366 -oMi 192.0.2.2.$1 2>/dev/null; }; ehlo 25; echo; echo then; ehlo 40000; turnabout check");
    let (ordinary, turned) = said.split_once("then").unwrap();
    assert!(ordinary.contains("STARTTLS"), "{said}");
    assert!(!turned.contains("STARTTLS"), "{said}");

    // The line for cron, as cron runs it.
    package::queue_mail(&provider, "later");
    let line = customer.run("grep '^[*]' /etc/cron.d/turnabout-fetch");
    let (user, command) = line.split_once("  ").unwrap().1.split_once("  ").unwrap();
    customer.write("/var/tmp/line", "644", command.as_bytes());
    let said = customer.run(&format!("runuser -u {user} -- sh /var/tmp/line"));
    assert_eq!(said, "", "cron would mail this");
    customer.wait_inbox("alice", 2, SOON);
}
