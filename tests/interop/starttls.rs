//! A customer's mail server with TLS of its own, set up with the files of contrib/: on the turned connection, which has
//! been under TLS since before the login, it does not offer STARTTLS once more.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::lab::{Host, Lab, Mta};

const SOON: Duration = Duration::from_secs(30);

/// A client or a provider that a test plays.
struct Peer(BufReader<TcpStream>);

impl Peer {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(SOON)).unwrap();
        Self(BufReader::new(stream))
    }

    fn say(&mut self, line: &str) {
        write!(self.0.get_mut(), "{line}\r\n").unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// All lines of a reply.
    fn reply(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            let last = line.as_bytes().get(3) != Some(&b'-');
            lines.push(line);
            if last {
                return lines;
            }
        }
    }

    /// What a mail server offers that is about to greet; then goodbye.
    fn offer(mut self) -> Vec<String> {
        let greeting = self.reply();
        assert!(greeting[0].starts_with("220"), "{greeting:?}");
        self.say("EHLO provider.test");
        let offer = self.reply();
        assert!(
            offer.iter().all(|line| line.starts_with("250")),
            "{offer:?}"
        );
        self.say("QUIT");
        assert!(self.line().starts_with("221"));
        offer.iter().map(|line| line[4..].to_owned()).collect()
    }

    /// The provider's part up to and including the 250 to ATRN; any password will do.
    fn turn(&mut self) {
        for (said, expected) in [
            ("220 provider.test ready", "EHLO "),
            (
                "250-provider.test\r\n250-AUTH CRAM-MD5\r\n250 ATRN",
                "AUTH CRAM-MD5",
            ),
            ("334 PDEuMUBwcm92aWRlci50ZXN0Pg==", ""),
            ("235 welcome", "ATRN"),
        ] {
            self.say(said);
            let line = self.line();
            assert!(line.starts_with(expected), "{line}");
        }
        self.say("250 now reversing");
    }
}

fn starttls_is_offered_to_strangers_only(customer: &Host, provider: &Host) {
    let starttls = "STARTTLS".to_owned();
    let stranger = Peer::new(provider.connect("10.99.0.2:25"));
    let offer = stranger.offer();
    assert!(offer.contains(&starttls), "no TLS at all: {offer:?}");

    let listener = provider.listen("10.99.0.1:366");
    let mut fetch = customer.start_fetch();
    let (stream, _) = listener.accept().unwrap();
    let mut peer = Peer::new(stream);
    peer.turn();
    let offer = peer.offer();
    assert!(!offer.contains(&starttls), "{offer:?}");
    let status = fetch.wait(SOON);
    assert_eq!(status.code(), Some(0), "{}", fetch.log());
}

/// Rules: B46
#[test]
fn postfix_with_tls_of_its_own_offers_no_starttls_on_the_turned_connection() {
    let mut lab = Lab::new();
    let provider = lab.provider(Mta::Nothing);
    let customer = lab.customer(Mta::Postfix);
    let own = rcgen::generate_simple_self_signed(["customer.test".to_owned()]).unwrap();
    let pem = own.signing_key.serialize_pem() + &own.cert.pem();
    fs::write(customer.path("/etc/postfix/own.pem"), pem).unwrap();
    customer.postconf(&[
        "smtpd_tls_security_level=may",
        "smtpd_tls_chain_files=/etc/postfix/own.pem",
    ]);
    starttls_is_offered_to_strangers_only(&customer, &provider);
}

/// Rules: B46
#[test]
fn exim_with_tls_of_its_own_offers_no_starttls_on_the_turned_connection() {
    let mut lab = Lab::new();
    let provider = lab.provider(Mta::Nothing);
    let customer = lab.customer(Mta::Exim);
    starttls_is_offered_to_strangers_only(&customer, &provider);
}
