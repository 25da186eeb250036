//! What follows a round with a lent connection, what a connection is called in Postfix's cache, which Postfix is known,
//! and in which order Exim gets its messages.

use std::collections::HashSet;

use turnabout::handoff::exim_continue::{Form as EximForm, Order, Proxied, arguments};
use turnabout::handoff::postfix_cache::{Customer, Form, Labels, Next, Rounds};
use turnabout::queue::{Snapshot, Waiting};
use turnabout::smtp::ehlo::Offer;
use turnabout::smtp::next_hop::NextHop;
use turnabout::tls::{Facts, Version};

fn next_hop() -> NextHop {
    "[127.77.0.1]:2525".parse().unwrap()
}

fn queue(messages: &[(&str, &str)]) -> Snapshot {
    let waiting = messages.iter().map(|(id, reason)| {
        (
            (*id).to_owned(),
            Waiting {
                arrival: id.len() as u64,
                reason: (*reason).to_owned(),
            },
        )
    });
    Snapshot {
        waiting: waiting.collect(),
        running: 0,
        truncated: false,
    }
}

const SAID: &str = "host customer.example.org[203.0.113.9] said: 450 4.2.0 Come again (in reply to RCPT TO command)";
const REFUSED: &str = "connect to 127.77.0.1[127.77.0.1]:2525: Connection refused";
const SUSPENDED: &str =
    "delivery temporarily suspended: connect to 127.77.0.1[127.77.0.1]:2525: Connection refused";

#[test]
fn what_the_customer_put_off_is_not_tried_again() {
    let mut rounds = Rounds::default();
    assert_eq!(
        rounds.next(&queue(&[("A", SAID), ("B", SAID)]), &[next_hop()]),
        Next::Quit { left: 2 }
    );
}

#[test]
fn an_empty_queue_ends_the_session() {
    assert_eq!(
        Rounds::default().next(&queue(&[]), &[next_hop()]),
        Next::Quit { left: 0 }
    );
}

#[test]
fn new_mail_is_flushed_by_itself_beside_what_was_put_off() {
    let mut rounds = Rounds::default();
    let next = rounds.next(
        &queue(&[("A", SAID), ("B", "deferred transport"), ("C", "")]),
        &[next_hop()],
    );
    assert_eq!(next, Next::Flush(vec!["B".to_owned(), "C".to_owned()]));
}

#[test]
fn mail_that_missed_the_connection_is_flushed_again_but_not_for_ever() {
    let mut rounds = Rounds::default();
    let left = queue(&[("A", REFUSED), ("B", SUSPENDED)]);
    let mut again = 0;
    while rounds.next(&left, &[next_hop()]) == Next::FlushAll {
        again += 1;
        assert!(again < 10);
    }
    assert_eq!(again, 3);
}

#[test]
fn a_customer_cannot_ask_for_more_rounds_by_what_he_says() {
    let said = "host c.example[203.0.113.9] said: 450 connect to 127.77.0.1[127.77.0.1]:2525: deferred transport";
    assert_eq!(
        Rounds::default().next(&queue(&[("A", said)]), &[next_hop()]),
        Next::Quit { left: 1 }
    );
}

fn labels(form: Form, offer: &Offer) -> Labels {
    let customer = Customer {
        name: "customer.example.org",
        address: "203.0.113.9:1366".parse().unwrap(),
        offer,
    };
    Labels::new(form, "odmr", &[next_hop()], customer, 1_800_000_000)
}

#[test]
fn each_postfix_gets_the_words_it_uses_itself() {
    let offer = Offer {
        pipelining: true,
        has_size: true,
        ..Offer::default()
    };
    let old = labels(Form::Plain, &offer);
    // 3.7.11 asks with the first, 3.10.13 with the third, or with the fourth for SMTPUTF8.
    let forms = ["", "0\n", "0\n0\n", "0\n1\n"];
    assert_eq!(
        old.destinations,
        forms.map(|form| format!("odmr\n[127.77.0.1]:2525\n{form}"))
    );
    assert_eq!(
        old.destination_properties,
        ["destination=[127.77.0.1]:2525\nhost_name=customer.example.org[203.0.113.9]\nhost_addr=127.77.0.1\ndestination_features=4096\n\n";
            4]
    );
    assert_eq!(old.endpoint, "odmr\n127.77.0.1\n2525\n0\n");
    assert_eq!(
        old.endpoint_properties,
        "tls_level=0\nreuse_count=0\nendpoint_features=13\nexpire_time=1800000000\n\n"
    );
    let middle = labels(Form::Port, &offer);
    assert!(
        middle.destination_properties[0].contains("host_addr=127.77.0.1\nhost_port=56585\n"),
        "{middle:?}"
    );
    assert_eq!(middle.destinations, old.destinations);
    // Whether or not the customer offers SMTPUTF8: Postfix judges the message, and the others go on.
    for smtputf8 in [false, true] {
        let offer = Offer {
            smtputf8,
            ..offer.clone()
        };
        assert_eq!(
            labels(Form::Needs, &offer).destinations,
            [
                "odmr\n[127.77.0.1]:2525\n0\n0\n0\n",
                "odmr\n[127.77.0.1]:2525\n0\n0\n1\n"
            ]
        );
    }
}

/// Two customers behind one address must have nothing in common by which Postfix could mix them up.
///
/// Rules: C10
#[test]
fn two_customers_behind_one_address_share_no_label() {
    let offer = Offer::default();
    let customer = |port| Customer {
        name: "nat.example.org",
        address: format!("203.0.113.9:{port}").parse().unwrap(),
        offer: &offer,
    };
    for form in [Form::Plain, Form::Port, Form::Needs] {
        let one = Labels::new(form, "odmr", &[next_hop()], customer(1), 9);
        let two = Labels::new(
            form,
            "odmr",
            &["[127.77.0.2]:2525".parse().unwrap()],
            customer(2),
            9,
        );
        assert_ne!(one.destinations, two.destinations);
        assert_ne!(one.endpoint, two.endpoint);
        assert!(one.destination_properties[0].contains("host_addr=127.77.0.1\n"));
        assert!(two.destination_properties[0].contains("host_addr=127.77.0.2\n"));
    }
}

/// Rules: C15
#[test]
fn a_hostile_name_stays_in_its_line() {
    let offer = Offer::default();
    let address = "203.0.113.9:1".parse().unwrap();
    for (name, kept) in [
        ("a\nhost_addr=1", "ahost_addr1"),
        ("", "unknown"),
        ("\u{1b}[31mx", "[31mx"),
    ] {
        let labels = Labels::new(
            Form::Plain,
            "odmr",
            &[next_hop()],
            Customer {
                name,
                address,
                offer: &offer,
            },
            9,
        );
        let expected = format!("host_name={kept}[203.0.113.9]\n");
        assert!(
            labels.destination_properties[0].contains(&expected),
            "{labels:?}"
        );
    }
}

#[test]
fn only_known_versions_of_postfix_are_used() {
    for (version, form) in [
        ("3.4.0", Form::Plain),
        ("3.7.11", Form::Plain),
        ("3.8.1", Form::Port),
        ("3.10.5", Form::Port),
        ("3.11.0", Form::Needs),
        ("3.12-20260301", Form::Needs),
        ("3.11-RC1", Form::Needs),
    ] {
        assert_eq!(Form::of(version).unwrap(), form, "{version}");
    }
    for version in ["3.3.9", "2.11.3", "4.0.0", "3.14.0", "", "3", "three.7"] {
        let error = Form::of(version).unwrap_err().to_string();
        assert!(error.starts_with("cannot use Postfix"), "{error}");
    }
    assert!(!Form::Plain.greets("3.5.25"));
    assert!(Form::Plain.greets("3.6.0"));
    assert!(Form::Needs.greets("3.12-20260301"));
}

#[test]
fn exim_is_told_what_was_offered_and_that_it_is_not_the_first_message() {
    let offer = Offer {
        pipelining: true,
        has_size: true,
        dsn: true,
        chunking: true,
        ..Offer::default()
    };
    let line = |form, offer: &Offer| {
        let words = arguments(form, "odmr", &next_hop(), offer, None, "1kEw3Y-0003Fj-2c").unwrap();
        words
            .iter()
            .map(|word| word.to_str().unwrap())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        line(EximForm::Plain, &offer),
        "-MCK -MCD -MCP -MCS -MC odmr 127.77.0.1 127.77.0.1 2 1kEw3Y-0003Fj-2c"
    );
    assert_eq!(
        line(EximForm::Plain, &Offer::default()),
        "-MC odmr 127.77.0.1 127.77.0.1 2 1kEw3Y-0003Fj-2c"
    );
    assert_eq!(
        line(EximForm::Port, &Offer::default()),
        "-MC odmr 127.77.0.1 127.77.0.1 2525 2 1kEw3Y-0003Fj-2c"
    );
    let tls = Facts {
        version: Version::Tls12,
        cipher: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        server_name: None,
        peer: None,
        binding: None,
    };
    let proxied = Some(Proxied {
        local: "[2001:db8::1]:366".parse().unwrap(),
        tls: &tls,
    });
    let words = arguments(
        EximForm::Port,
        "odmr",
        &next_hop(),
        &Offer::default(),
        proxied,
        "1kEw3Y-0003Fj-2c",
    );
    assert_eq!(
        words.unwrap().join(" ".as_ref()),
        "-MCt 2001:db8::1 366 TLS1.2:TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:128 \
         -MC odmr 127.77.0.1 127.77.0.1 2525 2 1kEw3Y-0003Fj-2c"
    );
    for bad in ["", "-bd", "1kEw3Y-0003Fj-2c x", "../../etc"] {
        assert!(arguments(EximForm::Plain, "odmr", &next_hop(), &offer, None, bad).is_none());
    }
}

#[test]
fn messages_that_were_put_off_are_noted_first_so_that_exim_takes_them_last() {
    let mut order = Order::default();
    // `arrival` is the length of the name here: A is the oldest.
    let all = queue(&[("A", ""), ("BB", ""), ("CCC", "")]);
    assert_eq!(order.to_note(&next_hop(), &all), ["CCC", "BB", "A"]);
    assert_eq!(order.pick(&next_hop(), &all).unwrap(), "A");
    order.ended(&next_hop(), &all, HashSet::from(["A".to_owned()]));
    assert_eq!(order.to_note(&next_hop(), &all), ["A", "CCC", "BB"]);
    assert_eq!(order.pick(&next_hop(), &all).unwrap(), "BB");
}

#[test]
fn no_message_is_always_the_first() {
    let mut order = Order::default();
    let all = queue(&[("A", ""), ("BB", ""), ("CCC", "")]);
    let firsts: Vec<String> = (0..6)
        .map(|_| order.pick(&next_hop(), &all).unwrap())
        .collect();
    assert_eq!(firsts, ["A", "BB", "CCC", "A", "BB", "CCC"]);
    assert_eq!(order.pick(&next_hop(), &queue(&[])), None);
}
