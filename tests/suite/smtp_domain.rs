//! Domains and the list that ATRN takes (grammar A4).

use proptest::prelude::*;
use turnabout::smtp::{Domain, DomainError, DomainList};

/// Rules: R18, B78
#[test]
fn domains_of_the_grammar_are_taken_in_lower_case() {
    for (text, domain) in [
        ("example.org", "example.org"),
        ("EXAMPLE.Org", "example.org"),
        ("a--b.example", "a--b.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("1.a", "1.a"),
    ] {
        assert_eq!(text.parse::<Domain>().unwrap().as_str(), domain);
    }
}

/// Rules: X8, C15, B78
#[test]
fn what_the_grammar_does_not_know_is_refused_with_its_reason() {
    let long_label = format!("{}.example", "a".repeat(64));
    let long_domain = vec!["abcdefg"; 33].join(".");
    for (text, error) in [
        ("", DomainError::Empty),
        ("localhost", DomainError::OneLabel),
        ("example.org.", DomainError::Label),
        (".example.org", DomainError::Label),
        ("a..b", DomainError::Label),
        ("a_b.example", DomainError::Label),
        ("-a.example", DomainError::Label),
        ("a-.example", DomainError::Label),
        ("-rf.example", DomainError::Label),
        ("[192.0.2.1]", DomainError::Label),
        ("@example.org", DomainError::Label),
        ("*.example.org", DomainError::Label),
        ("a b.example", DomainError::Label),
        ("b\u{fc}cher.example", DomainError::NotAscii),
        (&long_label, DomainError::Label),
        (&long_domain, DomainError::TooLong),
    ] {
        assert_eq!(text.parse::<Domain>(), Err(error), "{text:?}");
    }
}

#[test]
fn labels_of_63_and_domains_of_255_octets_are_in_order() {
    let label = "a".repeat(63);
    let domain = [label.as_str(); 4].join(".");
    assert_eq!(domain.len(), 255);
    assert!(domain.parse::<Domain>().is_ok());
}

/// Rules: R17, R18
#[test]
fn a_list_names_each_domain_once_in_its_order() {
    let list = DomainList::parse_atrn("Example.org,b.example,example.ORG").unwrap();
    assert_eq!(list.to_string(), "example.org,b.example");
    assert!(list.contains(&"b.example".parse().unwrap()));
    assert!(!list.contains(&"sub.b.example".parse().unwrap()));
}

/// Rules: B3
#[test]
fn blanks_around_commas_are_tolerated_and_alone_separate_nothing() {
    let list = DomainList::parse_atrn(" a.example ,\tb.example\t").unwrap();
    assert_eq!(list.to_string(), "a.example,b.example");
    for wrong in [
        "a.example b.example",
        "a.example,",
        ",a.example",
        "a.example,,b.example",
        "",
    ] {
        assert!(DomainList::parse_atrn(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn there_is_no_empty_list() {
    assert_eq!(DomainList::try_new(Vec::new()), None);
}

pub fn a_domain() -> impl Strategy<Value = String> {
    proptest::string::string_regex(
        "[a-zA-Z0-9]([a-zA-Z0-9-]{0,8}[a-zA-Z0-9])?(\\.[a-z0-9]{1,6}){1,3}",
    )
    .unwrap()
}

proptest! {
    #[test]
    fn a_domain_comes_back_as_it_was_written(text in a_domain()) {
        let domain: Domain = text.parse().unwrap();
        prop_assert_eq!(domain.as_str(), text.to_ascii_lowercase());
        prop_assert_eq!(domain.to_string().parse::<Domain>().unwrap(), domain);
    }

    /// Rules: R17
    #[test]
    fn a_list_comes_back_as_it_was_written(texts in prop::collection::vec(a_domain(), 1..10)) {
        let list = DomainList::try_new(texts.iter().map(|text| text.parse().unwrap()).collect()).unwrap();
        prop_assert_eq!(DomainList::parse_atrn(&list.to_string()).unwrap(), list);
    }

    /// Rules: C15
    #[test]
    fn no_text_makes_a_domain_that_could_be_an_option_or_a_path(text in "\\PC{0,40}") {
        if let Ok(domain) = text.parse::<Domain>() {
            prop_assert!(!domain.as_str().starts_with('-'));
            prop_assert!(domain.as_str().bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-.".contains(&octet)));
        }
        drop(DomainList::parse_atrn(&text).map(|list| list.to_string()));
    }
}
