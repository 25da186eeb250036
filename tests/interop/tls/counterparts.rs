//! Programs of other TLS libraries, as customers and as providers.

use std::time::Duration;

use super::openssl::{Client, stunnel};
use crate::lab::{Authority, CERTIFICATE, Host, KEY, Lab, Mail, Mode, Mta, Running, body_of_lines};

const SOON: Duration = Duration::from_secs(30);

fn three_messages(name: &str) -> Vec<Mail> {
    let bodies = [20, 2000, 0].map(body_of_lines);
    bodies
        .iter()
        .enumerate()
        .map(|(number, body)| Mail::new(&["alice@example.org"], &format!("{name}-{number}"), body))
        .collect()
}

#[test]
fn proof_of_the_scripts() {
    let mut lab = Lab::new();
    let authority = Authority::new();
    let provider = lab.provider(Mta::Postfix);
    let customer = lab.customer(Mta::Nothing);
    provider.install(&authority.issue(&["provider.test"]));
    customer.know(&authority);
    provider.set(
        "serve",
        &[
            ("listen", "[\"127.0.0.1:3660\"]"),
            ("plaintext_without_tls", "true"),
            ("mechanisms", "[\"PLAIN\"]"),
        ],
    );
    let _serve = provider.serve();
    let _stunnel = stunnel(
        &provider,
        366,
        &format!(
            "connect = 127.0.0.1:3660\nprotocol = smtp\ncert = {CERTIFICATE}\nkey = {KEY}\n[smtps]\naccept = 3661\nconnect = 127.0.0.1:3660\ncert = {CERTIFICATE}\nkey = {KEY}\n"
        ),
    );
    let way = [
        (Client::OpenSsl, Mode::Starttls, vec!["-tls1_3"]),
        (Client::OpenSsl, Mode::Implicit, vec!["-tls1_2"]),
        (Client::GnuTls, Mode::Starttls, vec![]),
        (
            Client::GnuTls,
            Mode::Implicit,
            vec!["--priority=NORMAL:-VERS-TLS1.3"],
        ),
    ];
    for (number, (client, mode, more)) in way.iter().enumerate() {
        eprintln!("{client:?} {mode:?} {more:?}");
        let sent = three_messages(&format!("proof-{number}"));
        provider.submit(&sent);
        let mut script = client.connect(&customer, *mode, more);
        script.log_in();
        let received = script.fetch(|script, at| {
            if (at == "mail 2" || at == "turn") && number % 2 == 0 {
                eprintln!("update");
                client.update_keys(script);
            }
        });
        assert!(received.quit);
        Mail::assert_delivered(&sent, &received.messages);
        std::thread::sleep(Duration::from_millis(300));
        script.program().close();
        let status = script.program().wait();
        eprintln!("{status:?}: {}", script.program().complaints());
        provider.wait_empty_queue(SOON);
    }
}
