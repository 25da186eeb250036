//! The configuration: what is taken, what is refused, and with which sentence.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use turnabout::config::keys::{self, Fallback, Kind, Table};
use turnabout::config::suggest::suggest;
use turnabout::config::{
    self, Config, CustomerHandoff, Provider, ProviderHandoff, ProviderTls, ServeTls,
};
use turnabout::sasl::Mechanism;
use turnabout::tls::{HandoffTls, KeyPair};

pub fn parse(text: &str) -> Result<Config, String> {
    config::parse(Path::new("t.toml"), text).map_err(|error| error.to_string())
}

/// The sentence a file is refused with.
pub fn refusal(text: &str) -> String {
    match parse(text) {
        Ok(config) => panic!("taken: {text}\n{config:?}"),
        Err(sentence) => {
            assert!(sentence.starts_with("cannot "), "{sentence}");
            assert!(sentence.ends_with(')'), "what to do? {sentence}");
            sentence
        }
    }
}

/// The smallest file in which `table` can have more keys; `NAME` is `isp`.
fn smallest(table: Table) -> String {
    match table {
        Table::Serve => SERVE.to_owned(),
        Table::Limits | Table::Postfix | Table::Exim => format!("{SERVE}[{}]\n", table.title()),
        Table::Fetch => "[fetch]\n".to_owned(),
        Table::Provider => PROVIDER.to_owned(),
    }
}

pub const SERVE: &str = "[serve]\nhostname = \"p.example.com\"\n\
    certificate = [\"/c\"]\nkey = [\"/k\"]\n";

pub const PROVIDER: &str =
    "[providers.isp]\nhost = \"odmr.example.net\"\nuser = \"alice\"\npassword_file = \"/p\"\n";

pub fn provider(more: &str) -> Provider {
    let mut config = parse(&format!("{PROVIDER}{more}")).unwrap();
    config.providers.remove(0)
}

pub fn provider_refusal(more: &str) -> String {
    refusal(&format!("{PROVIDER}{more}"))
}

pub fn serve(more: &str) -> config::Serve {
    parse(&format!("{SERVE}{more}")).unwrap().serve.unwrap()
}

/// A service without TLS.
pub fn in_the_clear(more: &str) -> Result<Config, String> {
    parse(&format!(
        "[serve]\nhostname = \"p.example.com\"\ntls = \"none\"\n{more}"
    ))
}

pub fn serve_refusal(more: &str) -> String {
    refusal(&format!("{SERVE}{more}"))
}

/// Rules: R1, R31, B14, B15
#[test]
fn the_defaults_are_those_of_the_table() {
    let serve = serve("");
    let listen: Vec<String> = serve.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["[::]:366", "0.0.0.0:366"]);
    assert_eq!(serve.hostname, "p.example.com");
    assert_eq!(serve.accounts, Path::new("/etc/turnabout/accounts.toml"));
    assert_eq!(serve.handoff, ProviderHandoff::PostfixCache);
    assert_eq!(serve.user, None);
    assert_eq!(serve.tls, ServeTls::Required);
    let certificate = PathBuf::from("/c");
    let key = PathBuf::from("/k");
    assert_eq!(serve.certificates, [KeyPair { certificate, key }]);
    assert!(serve.listen_tls.is_empty());
    assert_eq!(serve.client_ca, None);
    assert_eq!(serve.handoff_tls, HandoffTls::Auto);
    let all_but = |left_out| {
        let all = Mechanism::ALL.into_iter();
        all.filter(|one| *one != left_out).collect::<Vec<_>>()
    };
    assert_eq!(serve.mechanisms, all_but(Mechanism::Login));
    assert_eq!(serve.mechanisms_in_clear().count(), 0);
    assert!(serve.mechanisms_in_tls().eq(all_but(Mechanism::Login)));
    assert!(serve.sources.is_empty());
    assert_eq!(serve.retry_interval, Duration::ZERO);
    assert_eq!(serve.limits.auth_failures, 3);
    let five_minutes = Duration::from_secs(300);
    assert_eq!(serve.limits.command_time, five_minutes);
    assert_eq!(serve.limits.login_time, five_minutes);
    assert_eq!(serve.limits.greeting_time, five_minutes);
    assert_eq!(serve.limits.handshake_time, Duration::from_secs(30));
    assert_eq!(serve.limits.relay_idle_time, Duration::from_secs(1200));
    assert_eq!(serve.limits.stop_time, five_minutes);
    assert_eq!(serve.postfix.service, "odmr");
    assert_eq!(serve.exim.command, Path::new("/usr/sbin/exim4"));

    let provider = provider("");
    assert_eq!(provider.name, "isp");
    assert_eq!(provider.port, 366);
    assert_eq!(provider.domains, None);
    assert_eq!(provider.tls, ProviderTls::Starttls);
    assert_eq!(provider.ca_file, None);
    assert!(provider.fingerprints.is_empty());
    assert_eq!(provider.certificate, None);
    assert_eq!(provider.handoff_tls, HandoffTls::Auto);
    assert_eq!(provider.mechanisms, all_but(Mechanism::External));
    assert_eq!(provider.state_directory, Path::new("/var/lib/turnabout"));
    assert_eq!(provider.timers.command, five_minutes);
    assert_eq!(provider.timers.atrn, Duration::from_secs(600));
    assert_eq!(
        provider.handoff,
        CustomerHandoff::PostfixPass {
            socket: PathBuf::from("/var/spool/postfix/private/odmr")
        }
    );
}

/// A loader that did not read a key would take anything for it.
#[test]
fn every_key_of_the_table_is_read_and_its_type_is_checked() {
    for key in keys::ALL {
        let wrong = match key.kind {
            Kind::Number | Kind::Switch | Kind::List => "\"1 or 2\"",
            Kind::Text | Kind::Path | Kind::Duration => "1",
        };
        let mut text = smallest(key.table);
        // A key that stands there already is replaced.
        let own = format!("{} = ", key.name);
        text = text.lines().filter(|line| !line.starts_with(&own)).fold(
            String::new(),
            |mut text, line| {
                text.push_str(line);
                text.push('\n');
                text
            },
        );
        let of_a_command = *key == keys::COMMAND_USER || *key == keys::COMMAND_PEER;
        if *key == keys::COMMAND || of_a_command {
            text.push_str("handoff = \"exec\"\n");
        }
        if of_a_command {
            text.push_str("command = [\"/bin/true\"]\n");
        }
        if [keys::RELAY_TO, keys::PROXY, keys::I_KNOW].contains(key) {
            text.push_str("handoff = \"relay\"\n");
            if *key != keys::RELAY_TO {
                text.push_str("relay_to = \"127.0.0.1:25\"\n");
            }
        }
        if *key == keys::RECEIVER_UID {
            text.push_str("handoff = \"catch\"\nsocket = \"/run/odmr/catch.sock\"\n");
        }
        text.push_str(&format!("{} = {wrong}\n", key.name));
        let sentence = refusal(&text);
        let title = key.table.title().replace("NAME", "isp");
        let wanted = format!("cannot use {title}.{} in t.toml:", key.name);
        assert!(sentence.starts_with(&wanted), "{sentence}\n{text}");
        assert!(sentence.contains(": it is a "), "{sentence}");
    }
}

#[test]
fn every_default_of_the_table_is_a_value_that_can_be_written() {
    for key in keys::ALL {
        let Fallback::Value(value) = key.fallback else {
            continue;
        };
        let mut text = format!("{}{} = {value}\n", smallest(key.table), key.name);
        if [keys::PROXY, keys::I_KNOW].contains(key) {
            text.push_str("handoff = \"relay\"\nrelay_to = \"127.0.0.1:25\"\n");
        }
        if let Err(sentence) = parse(&text) {
            panic!("{sentence}\n{text}");
        }
    }
}

#[test]
fn what_must_be_given_is_asked_for() {
    assert!(
        refusal("[providers.isp]\n").contains("providers.isp.host in t.toml:1:12: it is missing")
    );
    let no_password = "[providers.isp]\nhost = \"h.example\"\nuser = \"u\"\n";
    assert!(refusal(no_password).contains("password_command"));
    assert!(provider_refusal("password_command = [\"/bin/p\"]\n").contains("one of the two"));
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_a_suggestion() {
    assert_eq!(
        refusal("[serve]\nhostname = \"p.example.com\"\n  listn = []\n"),
        "cannot use t.toml:3:3: unknown key \"listn\" in [serve] (did you mean \"listen\"?)"
    );
    assert_eq!(
        refusal("# äöü\n[providers.isp]\n\"pörd\" = 1\n"),
        "cannot use t.toml:3:1: unknown key \"pörd\" in [providers.isp] (did you mean \"port\"?)"
    );
    assert!(refusal("[serves]\n").contains("unknown key \"serves\" at the top of the file"));
    assert!(refusal("[serve.limit]\n").contains("did you mean \"limits\"?"));
    assert!(serve_refusal("limits.zzzzzzzz = 1\n").contains("(known here: connections, "));
}

#[test]
fn bad_toml_is_refused_with_its_place() {
    let sentence = refusal("[serve]\nlisten = [\n");
    assert!(sentence.starts_with("cannot read t.toml:"), "{sentence}");
    assert!(refusal("serve = 1\n").contains("serve is a number"));
    assert!(refusal("[providers]\nisp = 1\n").contains("providers.isp is a number"));
    assert!(serve_refusal("limits = []\n").contains("serve.limits is a list"));
    assert!(refusal("[serve]\nhostname=\"a.b\"\nhostname=\"a.b\"\n").contains("duplicate"));
}

#[test]
fn an_empty_file_configures_nothing() {
    let config = parse("").unwrap();
    assert!(config.serve.is_none());
    assert!(config.providers.is_empty());
    let path = Path::new("t.toml");
    let none = config.clone().service(path).unwrap_err().to_string();
    assert!(none.contains("t.toml has no [serve]"), "{none}");
    let none = config.all_providers(path).unwrap_err().to_string();
    assert!(none.contains("t.toml has none"), "{none}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = config::load(Path::new("/nonexistent/t.toml")).unwrap_err();
    let sentence = error.to_string();
    assert!(
        sentence.starts_with("cannot read /nonexistent/t.toml: "),
        "{sentence}"
    );
}

/// Rules: R16
#[test]
fn less_than_ten_minutes_for_atrn_is_refused_with_the_reason() {
    let sentence = provider_refusal("atrn_time = \"9m 59s\"\n");
    assert!(sentence.contains("less than 10m"), "{sentence}");
    assert!(sentence.contains("RFC 2645 section 5.2.1"), "{sentence}");
    let atrn = provider("atrn_time = \"10m\"\n").timers.atrn;
    assert_eq!(atrn, Duration::from_secs(600));
}

/// Rules: R16
#[test]
fn a_provider_that_would_search_its_queue_for_longer_than_customers_wait_is_refused() {
    assert!(serve_refusal("limits.queue_time = \"301s\"\n").contains("five minutes"));
}

#[test]
fn providers_are_found_by_name_in_the_order_asked_for() {
    let text = format!("{PROVIDER}{}", PROVIDER.replace("isp", "club"));
    let config = parse(&text).unwrap();
    let named = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let found = config.clone().named_providers(Path::new("t.toml"), &names);
        found.map_err(|error| error.to_string())
    };
    let found = named(&["club", "isp"]).unwrap();
    assert_eq!(found[0].name, "club");
    assert_eq!(found[1].name, "isp");
    let sentence = named(&["clup"]).unwrap_err();
    assert!(sentence.contains("did you mean \"club\"?"), "{sentence}");
}

#[test]
fn suggestions_are_near_and_never_far_fetched() {
    let known = ["listen", "hostname", "sources"];
    for (word, meant) in [
        ("listn", Some("listen")),
        ("lsiten", Some("listen")),
        ("LISTEN", Some("listen")),
        ("host_name", Some("hostname")),
        ("source", Some("sources")),
        ("banana", None),
        ("", None),
    ] {
        assert_eq!(suggest(word, known), meant, "{word}");
    }
}

proptest! {
    /// Whatever stands in the file: a configuration or a sentence, never a panic.
    #[test]
    fn any_text_is_a_configuration_or_a_sentence(text in "\\PC{0,200}") {
        drop(parse(&text));
    }

    #[test]
    fn any_value_of_any_key_is_taken_or_refused_with_a_sentence(
        index in 0..keys::ALL.len(),
        value in prop_oneof![
            "\"[ -~]{0,20}\"",
            "[0-9]{1,25}",
            Just("true".to_owned()),
            "\\[\"[a-z.:/0-9-]{0,30}\"\\]",
            Just("{}".to_owned()),
            Just("1979-05-27".to_owned()),
            Just("1.5".to_owned()),
        ],
    ) {
        let key = &keys::ALL[index];
        let text = format!("{}{} = {value}\n", smallest(key.table), key.name);
        if let Err(sentence) = parse(&text) {
            prop_assert!(sentence.starts_with("cannot "), "{}", sentence);
        }
    }
}
