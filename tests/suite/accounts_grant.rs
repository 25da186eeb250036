//! From granted domains to next hops: no other mail travels along.

use crate::accounts_file::{TWO, accounts};
use turnabout::accounts::GrantError;
use turnabout::smtp::DomainList;

fn domains(text: &str) -> DomainList {
    DomainList::parse_atrn(text).unwrap()
}

fn grant(user: &str, list: &str) -> Result<Vec<String>, GrantError> {
    let granted = accounts(TWO).grant(user, &domains(list))?;
    Ok(granted.iter().map(ToString::to_string).collect())
}

#[test]
fn each_domain_goes_by_its_next_hop_and_each_next_hop_is_named_once() {
    let all = grant("alice", "example.org,example.com").unwrap();
    assert_eq!(all, ["[127.77.0.1]:2525", "[127.77.0.2]:2525"]);
    assert_eq!(
        grant("alice", "example.com").unwrap(),
        ["[127.77.0.2]:2525"]
    );
    assert_eq!(
        grant("alice", "example.org").unwrap(),
        ["[127.77.0.1]:2525"]
    );
    assert_eq!(
        grant("bob", "www.example.net,example.net").unwrap(),
        ["[127.77.0.3]:2525"]
    );
}

/// Rules: R18, C10
#[test]
fn a_next_hop_that_serves_more_than_was_asked_for_is_refused() {
    let error = grant("bob", "example.net").unwrap_err();
    let GrantError::SharedNextHop { next_hop, domain } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(next_hop.as_str(), "[127.77.0.3]:2525");
    assert_eq!(domain.as_str(), "www.example.net");
    assert!(
        error
            .to_string()
            .contains("give each domain its own next hop"),
        "{error}"
    );
}

/// Rules: C10
#[test]
fn next_hops_that_differ_in_their_port_only_are_one_to_exim() {
    assert_eq!(accounts(TWO).differ_in_address(), Ok(()));
    let shared = TWO.replace("[127.77.0.3]:2525", "[127.77.0.1]:2526");
    let error = accounts(&shared).differ_in_address().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("[127.77.0.1]:2525"), "{text}");
    assert!(text.contains("[127.77.0.1]:2526"), "{text}");
}

/// Rules: R18
#[test]
fn what_a_reload_took_away_is_not_granted() {
    assert_eq!(grant("carol", "example.net"), Err(GrantError::UnknownUser));
    let foreign = "example.net".parse().unwrap();
    assert_eq!(
        grant("alice", "example.org,example.net"),
        Err(GrantError::Foreign(foreign))
    );
}
