//! The provider's first words after the turn, beyond the transcripts.

use proptest::prelude::*;
use turnabout::odmr::greeting::{Greeting, GreetingEnd, GreetingStep};
use turnabout::smtp::{Offer, Reply};

/// Rules: R24, R25
#[test]
fn nothing_of_the_session_before_is_remembered() {
    let mut greeting = Greeting::new("provider.example.com");
    let said = greeting.reply(Reply::plain(220, "customer.example.org ESMTP"));
    assert_eq!(
        said,
        GreetingStep::Send(b"EHLO provider.example.com\r\n".to_vec())
    );
    let offer = Reply {
        lines: vec!["customer.example.org".to_owned(), "8BITMIME".to_owned()],
        ..Reply::plain(250, "")
    };
    let expected = Offer {
        domain: "customer.example.org".to_owned(),
        eight_bit_mime: true,
        ..Offer::default()
    };
    let customer = "customer.example.org".to_owned();
    assert_eq!(
        greeting.reply(offer),
        GreetingStep::Ready {
            customer,
            offer: expected
        }
    );
}

/// Rules: R19, B17
#[test]
fn quit_is_said_and_its_reply_waited_for() {
    let mut greeting = Greeting::new("provider.example.com");
    greeting.reply(Reply::plain(220, "c"));
    greeting.reply(Reply::plain(250, "c.example.org"));
    assert_eq!(greeting.finish(), b"QUIT\r\n");
    assert_eq!(
        greeting.reply(Reply::plain(221, "bye")),
        GreetingStep::End(GreetingEnd::Quit)
    );
}

proptest! {
    /// Rules: R25, B13, B17
    #[test]
    fn any_customer_gets_ehlo_helo_and_quit_at_most(codes in prop::collection::vec(200u16..600, 1..8)) {
        let mut greeting = Greeting::new("provider.example.com");
        let mut sent = Vec::new();
        for code in codes {
            match greeting.reply(Reply::plain(code, "c.example.org")) {
                GreetingStep::Send(octets) => sent.push(String::from_utf8(octets).unwrap()),
                GreetingStep::Ready { .. } => {
                    prop_assert!(sent.first().is_some_and(|line| line.starts_with("EHLO")));
                    break;
                }
                GreetingStep::End(_) => {
                    prop_assert!(code == 421 || sent.last().is_some_and(|line| line == "QUIT\r\n"));
                    break;
                }
            }
        }
        prop_assert!(sent.len() <= 3);
    }
}
