//! Gives every line of a session a name, and knows which message is in doubt.
//!
//! Before the turn lines are counted: `provider 1` is the greeting. `auth ok`, `atrn` and `turn` (its 250) have names of
//! their own. Behind it the names say what a line is: `greeting`, `ehlo`, `reply ehlo`, and for the third message of
//! this connection `mail 3`, `reply mail 3`, `body 3 20`, `dot 3`, `final 3`.

use std::collections::VecDeque;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Customer,
    Provider,
}

#[derive(Debug, Default)]
pub struct Conversation {
    provider_lines: usize,
    customer_lines: usize,
    /// The customer has said STARTTLS.
    tls_asked: bool,
    tls_granted: bool,
    asked: bool,
    turned: bool,
    greeted: bool,
    /// What the customer has still to answer.
    pending: VecDeque<String>,
    reply_lines: usize,
    /// Counts the messages of this connection.
    message: usize,
    id: String,
    /// Octets of the message that are still to come, as BDAT has announced.
    chunk: usize,
    /// Lines of the body so far, while one is being sent.
    body: Option<usize>,
    doubt: Option<Doubt>,
}

/// A message whose end the customer has got; the provider has not yet shown that it knows the answer.
#[derive(Debug)]
struct Doubt {
    id: String,
    answered: bool,
}

impl Conversation {
    /// The name of a line that `side` has sent.
    pub fn name(&mut self, side: Side, line: &[u8]) -> String {
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        match (side, self.turned) {
            (Side::Provider, true) if self.chunk > 0 => {
                self.chunk = self.chunk.saturating_sub(line.len());
                format!("chunk {}", self.message)
            }
            (Side::Provider, true) => self.command(&text),
            (Side::Customer, true) => self.reply(&text),
            (Side::Provider, false) => {
                self.provider_lines += 1;
                self.turned = self.asked && text.starts_with("250");
                let code = text.get(..3);
                self.tls_granted |= std::mem::take(&mut self.tls_asked) && code == Some("220");
                match code {
                    _ if self.turned => "turn".to_owned(),
                    Some("235") => "auth ok".to_owned(),
                    _ => format!("provider {}", self.provider_lines),
                }
            }
            (Side::Customer, false) => {
                self.customer_lines += 1;
                self.asked = text.starts_with("ATRN");
                self.tls_asked = text == "STARTTLS";
                if self.asked {
                    "atrn".to_owned()
                } else {
                    format!("customer {}", self.customer_lines)
                }
            }
        }
    }

    fn command(&mut self, text: &str) -> String {
        if self.doubt.as_ref().is_some_and(|doubt| doubt.answered) {
            // It goes on, so it has read the final reply.
            self.doubt = None;
        }
        let number = self.message;
        if let Some(lines) = &mut self.body {
            if text == "." {
                self.body = None;
                self.pending.push_back(format!("final {number}"));
                return format!("dot {number}");
            }
            *lines += 1;
            return format!("body {number} {lines}");
        }
        let verb = text.split(' ').next().unwrap_or_default().to_lowercase();
        let name = match verb.as_str() {
            "ehlo" | "quit" => verb,
            "bdat" => {
                let octets = text.split(' ').nth(1).and_then(|word| word.parse().ok());
                self.chunk = octets.unwrap_or(0);
                format!("bdat {number}")
            }
            "rset" => format!("rset {}", number + 1),
            "mail" => {
                self.message += 1;
                text.split(['<', '@'])
                    .nth(1)
                    .unwrap_or_default()
                    .clone_into(&mut self.id);
                format!("mail {}", self.message)
            }
            _ => format!("{verb} {number}"),
        };
        self.pending.push_back(if verb_is_data(&name) {
            name.clone()
        } else {
            format!("reply {name}")
        });
        name
    }

    fn reply(&mut self, text: &str) -> String {
        if !self.greeted {
            self.greeted = true;
            return "greeting".to_owned();
        }
        let name = self
            .pending
            .front()
            .cloned()
            .unwrap_or_else(|| "unasked".to_owned());
        if text.as_bytes().get(3) == Some(&b'-') {
            self.reply_lines += 1;
            return format!("{name} {}", self.reply_lines);
        }
        self.reply_lines = 0;
        self.pending.pop_front();
        if !verb_is_data(&name) {
            return name;
        }
        if text.starts_with("354") {
            self.body = Some(0);
        }
        format!("reply {name}")
    }

    /// The line that was just named is the 220 to STARTTLS: what follows is a handshake. True only once.
    pub fn starts_tls(&mut self) -> bool {
        std::mem::take(&mut self.tls_granted)
    }

    /// A line has been passed on to the other side.
    pub fn passed(&mut self, name: &str) {
        if name.starts_with("dot") {
            self.doubt = Some(Doubt {
                id: self.id.clone(),
                answered: false,
            });
        } else if name.starts_with("final")
            && let Some(doubt) = &mut self.doubt
        {
            doubt.answered = true;
        }
    }

    /// The message whose final reply may be on the way.
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_ref().map(|doubt| doubt.id.as_str())
    }
}

fn verb_is_data(name: &str) -> bool {
    name.starts_with("data ")
}
