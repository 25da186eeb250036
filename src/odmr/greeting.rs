//! The provider's first words as SMTP client, after the connection turned (RFC 2645 5.3, RFC 5321 3.1).
//!
//! The provider is silent until the customer's 220, says EHLO, reads the offer, and then either gives the
//! connection to its MTA or, when there is nothing to send after all, says QUIT itself (rule R19).

use crate::smtp::command::is_host;
use crate::smtp::{Command, Offer, Reply};

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GreetingStep {
    /// Send these octets, a whole line, then wait for a reply.
    Send(Vec<u8>),
    /// The customer is ready for mail: lend the connection, or send what [`Greeting::finish`] gives.
    Ready {
        /// The customer's name from its EHLO reply, `unknown` if that is no name.
        customer: String,
        /// What it offers. Empty if it knows only HELO.
        offer: Offer,
    },
    /// Close the connection.
    End(GreetingEnd),
}

/// How the greeting phase ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GreetingEnd {
    /// QUIT was said and answered.
    #[error("quit")]
    Quit,
    /// The customer's MTA is not ready, or refused: the mail stays in the queue, whatever the code (rule R26).
    #[error("the customer's mail server is not ready: {reply}")]
    NotReady {
        /// The reply that said so.
        reply: Reply,
    },
    /// The reply makes no sense here.
    #[error("protocol error: unexpected reply {reply}")]
    Protocol {
        /// The reply.
        reply: Reply,
    },
}

#[derive(Debug)]
enum State {
    Greeting,
    Ehlo,
    Helo,
    Ready,
    Quit(GreetingEnd),
    Over,
}

/// The provider's words from the turn to the first message.
#[derive(Debug)]
pub struct Greeting {
    name: String,
    state: State,
}

impl Greeting {
    /// Right after the 250 to ATRN. Nothing is sent before the customer's greeting (rule R25).
    #[must_use]
    pub fn new(ehlo_name: &str) -> Self {
        Self {
            name: ehlo_name.to_owned(),
            state: State::Greeting,
        }
    }

    /// Takes a reply. 421 ends it at once: the customer has gone (rule B13).
    pub fn reply(&mut self, reply: Reply) -> GreetingStep {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Quit(end) => GreetingStep::End(end),
            _ if reply.code == 421 => GreetingStep::End(GreetingEnd::NotReady { reply }),
            State::Greeting if reply.is_positive() => {
                self.send(State::Ehlo, &Command::Ehlo(self.name.clone()))
            }
            State::Ehlo if reply.is_positive() => self.ready(Offer::parse(&reply)),
            // An MTA without extensions still takes mail (RFC 5321 3.2).
            State::Ehlo if reply.is_permanent() => {
                self.send(State::Helo, &Command::Helo(self.name.clone()))
            }
            State::Helo if reply.is_positive() => self.ready(Offer {
                domain: Offer::parse(&reply).domain,
                ..Offer::default()
            }),
            State::Greeting | State::Ehlo | State::Helo
                if reply.is_transient() || reply.is_permanent() =>
            {
                self.quit(GreetingEnd::NotReady { reply })
            }
            State::Greeting | State::Ehlo | State::Helo => {
                self.quit(GreetingEnd::Protocol { reply })
            }
            State::Ready | State::Over => GreetingStep::End(GreetingEnd::Protocol { reply }),
        }
    }

    /// Nothing to send, or nothing more: the octets of QUIT. Its reply ends the session (rules R19, B17).
    pub fn finish(&mut self) -> Vec<u8> {
        self.state = State::Quit(GreetingEnd::Quit);
        Command::Quit.to_bytes().to_vec()
    }

    fn ready(&mut self, offer: Offer) -> GreetingStep {
        self.state = State::Ready;
        // The name travels on into the MTA's attributes and logs (rule C15).
        let customer = if is_host(&offer.domain) {
            offer.domain.clone()
        } else {
            "unknown".to_owned()
        };
        GreetingStep::Ready { customer, offer }
    }

    fn quit(&mut self, end: GreetingEnd) -> GreetingStep {
        self.send(State::Quit(end), &Command::Quit)
    }

    fn send(&mut self, state: State, command: &Command) -> GreetingStep {
        self.state = state;
        GreetingStep::Send(command.to_bytes().to_vec())
    }
}
