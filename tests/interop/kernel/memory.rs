//! What the kernel's TLS cannot read ends one session; the customer's next ones go through the relay.

use crate::lab::{Mail, Mode, Mta};
use crate::tls::openssl::Client;
use crate::tls::{Hosts, SOON, closing_line, three_messages};

/// Rules: C7
#[test]
#[ignore = "needs TLS in the kernel: kernel/mod.rs runs it in a guest"]
fn a_customer_whose_tls_changes_its_keys_is_served_by_the_relay_the_next_time() {
    let hosts = Hosts::new(Mta::Postfix, Mta::Nothing);
    hosts.provider.set("serve", &[("handoff_tls", "\"auto\"")]);
    let sent = three_messages("memory");
    hosts.provider.submit(&sent);
    let mut received = Vec::new();
    // In our own hands, and in the mail server's.
    for moment in ["turn", "mail 1"] {
        // It is remembered for other processes as well; the second round begins anew.
        let forget = "rm -f /run/turnabout/serve/relay-only-*";
        hosts.provider.run("sh", &["-c", forget]);
        let serve = hosts.provider.serve();
        let mut session = |number, update: bool| {
            let mut script = Client::OpenSsl.connect(&hosts.customer, Mode::Starttls, &["-tls1_3"]);
            script.log_in();
            let part = script.fetch(|script, at| {
                if update && at == moment {
                    Client::OpenSsl.update_keys(script);
                }
            });
            received.extend(part.messages);
            let line = closing_line(&serve, number);
            let _said = Client::OpenSsl.end(&mut script, &hosts.customer);
            (part.quit, line)
        };
        let (quit, line) = session(0, true);
        assert!(!quit, "{moment}: {line}");
        let log = serve.log();
        assert!(log.contains(" carried=kernel"), "{moment}: {log}");
        let (quit, line) = session(1, false);
        assert!(quit && line.contains("carried=relay "), "{moment}: {line}");
        let log = serve.log();
        assert!(
            log.contains("its next sessions go through the relay"),
            "{moment}: {log}"
        );
        assert!(
            log.contains("could not serve this customer before"),
            "{moment}: {log}"
        );
        if moment == "turn" {
            hosts.provider.wait_empty_queue(SOON);
            Mail::assert_delivered(&sent, &received);
            received.clear();
            hosts.provider.submit(&sent);
        }
    }
    hosts.provider.wait_empty_queue(SOON);
    // What was answered while the connection broke may have come twice.
    received.sort();
    received.dedup();
    Mail::assert_delivered(&sent, &received);
}
