//! What the operator takes away at a reload does not travel any more.

use crate::driver::{ALICE, ALICE_HOP, BOB, Message, Peer, Serve, accounts, until};
use nix::sys::signal::Signal;

const MAIL: Message = Message {
    recipient: "someone@example.org",
    next_hop: ALICE_HOP,
    text: "Subject: hello",
};

/// Only bob, who has everything that was alice's.
fn bob_has_all() -> String {
    format!(
        "[[account]]\nuser = \"bob\"\ncredential = \"{{PLAIN}}{}\"\n\
         domains = [\"example.org\"]\nnext_hop = \"{ALICE_HOP}\"\n",
        BOB.1
    )
}

/// Rules: R18, C10
#[test]
fn a_domain_that_was_taken_away_after_the_login_is_not_granted() {
    let mut serve = Serve::with_mail();
    let mut alice = Peer::logged_in(serve.address(), ALICE);
    serve.write_accounts(&bob_has_all());
    serve.process.signal(Signal::SIGHUP);
    serve.process.logged("reloaded");
    assert_eq!(alice.code("ATRN"), 450);
    assert_eq!(alice.code("ATRN example.org"), 450);
    assert!(!serve.postfix.asked().contains("-j"));
    // Given back, it is granted again.
    serve.write_accounts(&accounts(ALICE.1));
    serve.process.signal(Signal::SIGHUP);
    until("the second reload", || {
        (alice.code("ATRN") == 250).then_some(())
    });
}

/// Rules: R18, R20, C10
#[test]
fn a_next_hop_with_a_connection_on_it_goes_to_no_other_customer() {
    let mut serve = Serve::with_mail();
    serve.postfix.keep();
    let mut alice = Peer::logged_in(serve.address(), ALICE);
    assert_eq!(alice.code("ATRN"), 250);
    alice.send("220 customer.example.org\r\n");
    assert!(alice.line().unwrap().starts_with("EHLO "));
    alice.send("250 customer.example.org\r\n");
    until("the flush", || {
        serve.postfix.asked().contains("-s ").then_some(())
    });
    serve.write_accounts(&bob_has_all());
    serve.process.signal(Signal::SIGHUP);
    serve.process.logged("reloaded");
    serve.postfix.queue(MAIL);
    let mut bob = Peer::logged_in(serve.address(), BOB);
    assert_eq!(bob.code("ATRN"), 450);
}
