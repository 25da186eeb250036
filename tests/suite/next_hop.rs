//! The next hop: what is one, and when two are the same.

use turnabout::smtp::next_hop::{NextHop, NextHopError};

fn hop(text: &str) -> NextHop {
    text.parse().expect(text)
}

#[test]
fn a_next_hop_is_an_address_in_brackets_with_or_without_port() {
    for (text, ip, port) in [
        ("[127.77.0.1]:2525", "127.77.0.1", 2525),
        ("[127.77.0.1]", "127.77.0.1", 25),
        ("[::1]:2525", "::1", 2525),
        ("[2001:db8::1]", "2001:db8::1", 25),
    ] {
        assert_eq!(hop(text).ip().to_string(), ip);
        assert_eq!(hop(text).port(), port);
        assert_eq!(
            hop(text).to_string(),
            text,
            "as it stands in the transport table"
        );
    }
}

#[test]
fn next_hops_are_the_same_when_address_and_port_are() {
    assert_eq!(hop("[127.77.0.1]"), hop("[127.77.0.1]:25"));
    assert_eq!(hop("[::1]:2525"), hop("[0:0::1]:2525"));
    assert_eq!(hop("[::ffff:127.77.0.1]:2525"), hop("[127.77.0.1]:2525"));
    assert_ne!(hop("[127.77.0.1]:2525"), hop("[127.77.0.1]:2526"));
    assert!(hop("[127.77.0.1]:2525") < hop("[127.77.0.2]:2525"));
}

#[test]
fn names_and_slips_are_no_next_hops() {
    use NextHopError::{BadPort, NoBrackets, NotAnAddress};
    for (text, error) in [
        ("", NoBrackets),
        ("127.77.0.1:2525", NoBrackets),
        ("example.org", NoBrackets),
        ("[127.77.0.1", NoBrackets),
        ("[]", NotAnAddress),
        ("[example.org]", NotAnAddress),
        ("[127.77.0.1:2525]", NotAnAddress),
        ("[fe80::1%eth0]", NotAnAddress),
        ("[127.77.0.1]2525", BadPort),
        ("[127.77.0.1]:", BadPort),
        ("[127.77.0.1]:0", BadPort),
        ("[127.77.0.1]:+25", BadPort),
        ("[127.77.0.1]:65536", BadPort),
        ("[127.77.0.1]:smtp", BadPort),
    ] {
        assert_eq!(text.parse::<NextHop>(), Err(error), "{text}");
    }
}
