//! What a peer does to TLS itself at the turn and behind it, with a real mail server on our side.

use std::time::Duration;

use super::openssl::Client;
use super::{Hosts, closing_line, three_messages};
use crate::lab::{Mail, Mode, Mta};

/// TLS 1.2 knows renegotiation, and it has been the way into other people's sessions: it is never granted. OpenSSL goes
/// away on that, so the mail of this session stays, except for what was taken before.
fn renegotiates(provider_mta: Mta) {
    let hosts = Hosts::new(provider_mta, Mta::Nothing);
    let serve = hosts.provider.serve();
    let sent = three_messages("renegotiation");
    hosts.provider.submit(&sent);
    let mut received = Vec::new();
    for (number, moment) in ["turn", "mail 1", "dot 1"].into_iter().enumerate() {
        let mut script = Client::OpenSsl.connect(&hosts.customer, Mode::Starttls, &["-tls1_2"]);
        script.log_in();
        let part = script.fetch(|script, at| {
            if at == moment {
                Client::OpenSsl.renegotiate(script);
            }
        });
        received.extend(part.messages);
        let line = closing_line(&serve, number);
        let end = Client::OpenSsl.end(&mut script, &hosts.customer);
        assert!(end.contains("no renegotiation"), "{moment}: {end}");
        println!("{moment}: {end}\n    {line}");
    }
    // Exim lets some time pass before it tries a message again that has failed. The closing line says what is left: the
    // queue itself shows a message for a moment longer than the session that delivered it.
    for number in 3..8 {
        std::thread::sleep(Duration::from_millis(1100));
        let mut script = Client::OpenSsl.connect(&hosts.customer, Mode::Starttls, &["-tls1_2"]);
        script.log_in();
        received.extend(script.fetch(|_, _| ()).messages);
        if closing_line(&serve, number).contains("delivered all") {
            break;
        }
    }
    // What was answered while the connection broke may have come twice.
    received.sort();
    received.dedup();
    Mail::assert_delivered(&sent, &received);
}

/// Rules: R29, C7
#[test]
fn a_customer_that_renegotiates_loses_no_mail_of_postfix() {
    renegotiates(Mta::Postfix);
}

/// Rules: R29, C7
#[test]
fn a_customer_that_renegotiates_loses_no_mail_of_exim() {
    renegotiates(Mta::Exim);
}
