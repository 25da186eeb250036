//! Values in the configuration: times, names, addresses, networks, paths.

use crate::config::{
    PROVIDER, SERVE, in_the_clear, parse, provider, provider_refusal, refusal, serve, serve_refusal,
};
use std::time::Duration;
use turnabout::sasl::Mechanism;

#[test]
fn durations_need_a_unit_and_an_end() {
    for wrong in ["30", "", "-1s", "1 fortnight", "1e3s"] {
        let sentence = provider_refusal(&format!("command_time = \"{wrong}\"\n"));
        assert!(sentence.contains("is not a duration"), "{sentence}");
    }
    assert!(provider_refusal("command_time = \"0s\"\n").contains("less than 1ms"));
    assert!(provider_refusal("command_time = \"31d\"\n").contains("more than 30 days"));
    let timers = provider("command_time = \"1m 30s\"\n").timers;
    assert_eq!(timers.command, Duration::from_secs(90));
}

/// Rules: X8, B78
#[test]
fn domains_are_complete_names_in_their_ascii_form() {
    let sentence = provider_refusal("domains = [\"example.org\", \"localhost\"]\n");
    assert!(sentence.contains("at least two labels"), "{sentence}");
    assert!(sentence.contains("t.toml:5:27"), "{sentence}");
    assert!(provider_refusal("domains = [\"bücher.example\"]\n").contains("xn-- form"));
    for wrong in [
        "a_b.example",
        "-a.example",
        "*.example.org",
        "a.example.",
        "",
        "a b.example",
    ] {
        let sentence = provider_refusal(&format!("domains = [\"{wrong}\"]\n"));
        assert!(sentence.contains("is not a mail domain"), "{sentence}");
    }
    let domains =
        provider("domains = [\"EXAMPLE.org\", \"example.com\", \"example.ORG\"]\n").domains;
    assert_eq!(domains.unwrap().to_string(), "example.org,example.com");
}

/// Rules: B4
#[test]
fn domains_that_do_not_fit_in_one_command_line_are_refused() {
    let list = |count: usize| {
        let names: Vec<String> = (0..count)
            .map(|n| format!("\"d{n:03}.example.org\""))
            .collect();
        format!("domains = [{}]\n", names.join(", "))
    };
    // 29 names of 16 octets and 28 commas, "ATRN " and CR LF: 499 octets; one more is 516.
    provider(&list(29));
    assert!(provider_refusal(&list(30)).contains("512 octets"));
}

/// Rules: R11, R32, B35
#[test]
fn mechanisms_are_what_the_operator_allows_and_plaintext_needs_a_word_of_its_own() {
    let strongest_first = serve("mechanisms = [\"cram-md5\", \"SCRAM-SHA-256\"]\n").mechanisms;
    assert_eq!(
        strongest_first,
        [
            Mechanism::ScramSha256Plus,
            Mechanism::ScramSha256,
            Mechanism::CramMd5
        ]
    );
    let in_clear = |more: &str| -> Vec<Mechanism> {
        let serve = in_the_clear(more).unwrap().serve.unwrap();
        serve.mechanisms_in_clear().collect()
    };
    let without = in_clear("mechanisms = [\"PLAIN\", \"SCRAM-SHA-1\"]\n");
    assert_eq!(without, [Mechanism::ScramSha1]);
    let with = in_clear("mechanisms = [\"PLAIN\"]\nplaintext_without_tls = true\n");
    assert_eq!(with, [Mechanism::Plain]);
    let sentence = in_the_clear("mechanisms = [\"PLAIN\"]\n").unwrap_err();
    assert!(sentence.contains("without TLS"), "{sentence}");
    assert!(serve_refusal("mechanisms = []\n").contains("the list is empty"));
    let sentence = serve_refusal("mechanisms = [\"SCRAM-SHA256\"]\n");
    assert!(
        sentence.contains("did you mean \"SCRAM-SHA-256\"?"),
        "{sentence}"
    );
    let plain = provider("tls = \"none\"\nplaintext_without_tls = true\n");
    assert_eq!(plain.mechanisms, Mechanism::WITHOUT_TLS);
    let strong = provider("tls = \"none\"\n").mechanisms;
    assert!(strong.iter().all(|mechanism| !mechanism.is_plaintext()));
    assert_eq!(strong.len(), 3);
}

/// Rules: B40
#[test]
fn fewer_than_three_failed_logins_cannot_be_configured() {
    assert!(serve_refusal("limits.auth_failures = 2\n").contains("from 3 to 100"));
    assert!(serve_refusal("limits.connections = -1\n").contains("-1 is out of range"));
    assert!(serve_refusal("limits.connections = 99999999999999999999\n").contains("too large"));
}

#[test]
fn addresses_to_listen_on_are_complete_and_listed_once() {
    for wrong in ["localhost:366", "0.0.0.0", "::1:366", ":366"] {
        let sentence = serve_refusal(&format!("listen = [\"{wrong}\"]\n"));
        assert!(
            sentence.contains("is not an address with a port"),
            "{sentence}"
        );
    }
    assert!(serve_refusal("listen = []\n").contains("the list is empty"));
    let twice = "listen = [\"[::1]:366\", \"[0::1]:366\"]\n";
    assert!(serve_refusal(twice).contains("listed twice"));
    assert_eq!(
        serve("listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n")
            .listen
            .len(),
        2
    );
}

/// Rules: R31
#[test]
fn sources_are_networks() {
    let serve = serve("sources = [\"192.0.2.0/24\", \"2001:db8::1\"]\n");
    assert!(serve.sources[0].contains("192.0.2.9".parse().unwrap()));
    assert!(!serve.sources[0].contains("192.0.3.9".parse().unwrap()));
    assert!(serve_refusal("sources = [\"192.0.2.1/24\"]\n").contains("write 192.0.2.0/24"));
}

/// Rules: B8
#[test]
fn host_names_are_qualified() {
    for wrong in ["short", "192.0.2.1", "a b.example", "-a.example"] {
        let text = SERVE.replace("p.example.com", wrong);
        assert!(refusal(&text).contains("not a fully qualified host name"));
    }
    let fetch = |name: &str| parse(&format!("[fetch]\nhostname = \"{name}\"\n{PROVIDER}"));
    for right in ["mail.example.org", "[192.0.2.1]", "[IPv6:2001:db8::1]"] {
        let config = fetch(right).unwrap();
        assert_eq!(config.providers[0].hostname.as_deref(), Some(right));
    }
    for wrong in [
        "localhost",
        "[2001:db8::1]",
        "[mail.example.org]",
        "192.0.2.1",
    ] {
        assert!(
            fetch(wrong).unwrap_err().contains("address literal"),
            "{wrong}"
        );
    }
}

#[test]
fn hosts_to_dial_are_names_or_addresses_without_a_port() {
    for (given, host) in [
        ("odmr.example.net", "odmr.example.net"),
        ("localhost", "localhost"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:db8::1]", "2001:db8::1"),
    ] {
        let text = PROVIDER.replace("odmr.example.net", given);
        assert_eq!(parse(&text).unwrap().providers[0].host, host);
    }
    for wrong in [
        "",
        "-host",
        "a b",
        "a/b",
        "odmr.example.net:366",
        "http://a.example",
    ] {
        let sentence = refusal(&PROVIDER.replace("odmr.example.net", wrong));
        assert!(sentence.contains("is not a host"), "{sentence}");
    }
}

#[test]
fn names_that_could_be_taken_for_options_are_refused() {
    let postfix = |name: &str| serve_refusal(&format!("postfix.service = \"{name}\"\n"));
    assert!(postfix("-odmr").contains("is not a name"));
    assert!(postfix("a b").contains("is not a name"));
    assert!(postfix("").contains("is not a name"));
    assert!(serve_refusal("user = \"root\"\n").contains("does not stay root"));
    assert!(refusal("[providers.-x]\n").contains("is not a name"));
    assert!(refusal("[providers.\"a\\u001b\"]\n").contains("\\u{1b}"));
}

#[test]
fn paths_in_the_file_are_absolute() {
    assert!(serve_refusal("accounts = \"accounts.toml\"\n").contains("relative path"));
    assert!(provider_refusal("socket = \"odmr\"\n").contains("relative path"));
}
