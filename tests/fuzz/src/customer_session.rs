//! A whole session of the customer, and the provider's greeting phase, with any peer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use turnabout::odmr::customer::{Customer, Settings, Step, Tls};
use turnabout::odmr::greeting::{Greeting, GreetingStep};
use turnabout::sasl::{Mechanism, Secret};
use turnabout::smtp::{LineReader, Reply, ReplyReader};

fn replies(mut bytes: &[u8]) -> Vec<Reply> {
    let mut lines = LineReader::new(ReplyReader::LINE_LIMIT);
    let mut replies = ReplyReader::new();
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (taken, line) = lines.feed(bytes);
        bytes = &bytes[taken..];
        let Some(line) = line else { continue };
        match replies.feed_line(line) {
            Ok(reply) => found.extend(reply),
            Err(_) => break,
        }
    }
    found
}

fn customer(mechanism: Mechanism, tls: Tls, replies: Vec<Reply>) {
    let mut customer = Customer::new(Settings {
        ehlo_name: "customer.example.org".to_owned(),
        user: "alice".to_owned(),
        password: Some(Secret::from("secret")),
        domains: None,
        mechanisms: vec![mechanism],
        allow_plaintext: true,
        tls,
        binding: (tls == Tls::Implicit).then(|| [7; 32].into()),
        external: true,
    });
    let (mut last, mut secure) = (Vec::new(), tls != Tls::Starttls);
    for reply in replies {
        let code = reply.code;
        let mut step = customer.reply(reply);
        if matches!(step, Step::StartTls) {
            assert!(!secure && last == b"STARTTLS\r\n" && code == 220);
            secure = true;
            step = customer.tls_started(Some([7; 32].into()));
        }
        if matches!(step, Step::Prepare) {
            step = customer.prepared(true);
        }
        match step {
            Step::Send(octets) => {
                assert!(octets.ends_with(b"\r\n"));
                let harmless = ["EHLO ", "STARTTLS\r\n", "QUIT\r\n"];
                assert!(
                    secure
                        || harmless
                            .iter()
                            .any(|verb| octets.starts_with(verb.as_bytes()))
                );
                last = octets.to_vec();
            }
            Step::Turned(_) => {
                assert!(secure && last == b"ATRN\r\n" && code / 100 == 2);
                return;
            }
            Step::End(_) => {
                assert!(code == 421 || last == b"QUIT\r\n");
                return;
            }
            Step::Prepare | Step::StartTls => panic!("asked twice"),
        }
    }
}

fn greeting(replies: Vec<Reply>) {
    let mut greeting = Greeting::new("provider.example.com");
    for reply in replies {
        match greeting.reply(reply) {
            GreetingStep::Send(octets) => assert!(octets.ends_with(b"\r\n")),
            GreetingStep::Ready { customer, .. } => {
                assert!(turnabout::smtp::command::is_host(&customer));
                return;
            }
            GreetingStep::End(_) => return,
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let [choice, bytes @ ..] = data else {
        return;
    };
    let replies = replies(bytes);
    let tls = match choice >> 6 {
        0 => Tls::Starttls,
        1 => Tls::Implicit,
        _ => Tls::None,
    };
    let mechanism = Mechanism::ALL.get(usize::from(*choice & 0x0f));
    match mechanism {
        Some(mechanism) => customer(*mechanism, tls, replies),
        None => greeting(replies),
    }
});
