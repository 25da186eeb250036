//! A customer in a test's own hands, from EHLO to the last 221.

use std::io;

use ::base64::{Engine, engine::general_purpose::STANDARD};

use super::Script;

const OFFER: &[u8] =
    b"250-customer.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 99999999\r\n";

/// What came over one turned connection.
#[derive(Debug, Default)]
pub struct Received {
    /// The messages as files: lines end in LF, dots are single again.
    pub messages: Vec<Vec<u8>>,
    /// The provider has said QUIT.
    pub quit: bool,
}

impl Script {
    /// EHLO and AUTH PLAIN, as alice.
    pub fn log_in(&mut self) {
        self.command("EHLO customer.test", "250");
        let password = STANDARD.encode("\0alice\0wonderland");
        self.command(&format!("AUTH PLAIN {password}"), "235");
    }

    /// ATRN with its 250, the greeting, then whatever the provider sends, until it says QUIT or the connection is gone.
    /// Before each answer `at` is told what was heard: `turn`, `ehlo`, `mail 1`, `data 1`, `dot 1`, `quit`.
    pub fn fetch(&mut self, mut at: impl FnMut(&mut Self, &str)) -> Received {
        let mut received = Received::default();
        self.command("ATRN", "250");
        at(self, "turn");
        let _gone = self.answer_all(&mut received, &mut at);
        received
    }

    fn answer_all(
        &mut self,
        received: &mut Received,
        at: &mut impl FnMut(&mut Self, &str),
    ) -> io::Result<()> {
        self.try_send(b"220 customer.test ready\r\n")?;
        let mut number = 0;
        while let Some(line) = self.octets() {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let verb = line.split([' ', ':']).next().unwrap_or_default();
            let verb = verb.to_lowercase();
            number += usize::from(verb == "mail");
            match verb.as_str() {
                "mail" | "data" => at(self, &format!("{verb} {number}")),
                _ => at(self, &verb),
            }
            match verb.as_str() {
                "ehlo" => self.try_send(OFFER)?,
                "mail" | "rcpt" | "rset" | "noop" => self.try_send(b"250 ok\r\n")?,
                "data" => {
                    self.try_send(b"354 go ahead\r\n")?;
                    let Some(message) = self.message() else {
                        break;
                    };
                    received.messages.push(message);
                    at(self, &format!("dot {number}"));
                    self.try_send(b"250 taken\r\n")?;
                }
                "quit" => {
                    received.quit = true;
                    // Exim has closed behind its QUIT, and some programs go as soon as they see that.
                    return self.try_send(b"221 bye\r\n");
                }
                _ => panic!("the provider says {line:?}"),
            }
        }
        Ok(())
    }

    /// The lines up to the final dot; nothing if it does not come.
    fn message(&mut self) -> Option<Vec<u8>> {
        let mut message = Vec::new();
        loop {
            let line = self.octets()?;
            let line = line.strip_suffix(b"\r\n")?;
            if line == b"." {
                return Some(message);
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            message.push(b'\n');
        }
    }
}
