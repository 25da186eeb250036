//! Blocks of addresses: who is in, who is out, what is refused.

use std::net::IpAddr;

use turnabout::smtp::network::{Network, NetworkError};

fn network(text: &str) -> Network {
    text.parse().expect(text)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

#[test]
fn a_network_contains_its_addresses_and_no_others() {
    for (block, inside, outside) in [
        ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
        ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("0.0.0.0/0", "255.255.255.255", "::1"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
        ("::/0", "2001:db8::1", "192.0.2.1"),
    ] {
        assert!(network(block).contains(ip(inside)), "{inside} in {block}");
        assert!(
            !network(block).contains(ip(outside)),
            "{outside} in {block}"
        );
    }
}

#[test]
fn a_mapped_ipv4_peer_is_an_ipv4_peer() {
    assert!(network("192.0.2.0/24").contains(ip("::ffff:192.0.2.9")));
    assert!(network("::ffff:192.0.2.0/120").contains(ip("192.0.2.9")));
    assert!(network("::ffff:192.0.2.9").contains(ip("192.0.2.9")));
    assert!(!network("::/0").contains(ip("::ffff:192.0.2.9")));
}

#[test]
fn slips_are_refused_with_a_reason() {
    for text in [
        "",
        "example.org",
        "192.0.2/24",
        "192.0.2.0 /24",
        "[2001:db8::]/32",
    ] {
        assert_eq!(
            text.parse::<Network>(),
            Err(NetworkError::Address),
            "{text}"
        );
    }
    for text in [
        "192.0.2.0/33",
        "::/129",
        "::/",
        "::/-1",
        "::/+8",
        "::/08",
        "::/8 ",
    ] {
        assert_eq!(text.parse::<Network>(), Err(NetworkError::Prefix), "{text}");
    }
    let error = "192.0.2.7/24".parse::<Network>().unwrap_err();
    assert_eq!(error, NetworkError::HostBits(network("192.0.2.0/24")));
    assert!(error.to_string().contains("write 192.0.2.0/24"), "{error}");
}

#[test]
fn a_network_reads_what_it_writes() {
    for text in ["192.0.2.0/24", "2001:db8::/32", "192.0.2.7/32"] {
        assert_eq!(network(text).to_string(), text);
    }
}
