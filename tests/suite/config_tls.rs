//! The configuration of TLS: which wishes are taken, which contradict each other, and with which sentence.

use crate::config::{
    PROVIDER, in_the_clear, parse, provider, provider_refusal, refusal, serve, serve_refusal,
};
use crate::config_options::options;
use std::path::{Path, PathBuf};
use std::time::Duration;
use turnabout::config::{CommandPeer, CustomerHandoff, ProviderOptions, ProviderTls, ServeTls};
use turnabout::sasl::Mechanism;
use turnabout::tls::{Fingerprint, HandoffTls, KeyPair};

const BARE: &str = "[serve]\nhostname = \"p.example.com\"\n";

fn pair(certificate: &str, key: &str) -> KeyPair {
    let (certificate, key) = (PathBuf::from(certificate), PathBuf::from(key));
    KeyPair { certificate, key }
}

/// Rules: B44, B49, B50
#[test]
fn a_provider_without_a_certificate_is_told_what_to_add() {
    let wanted = "cannot use t.toml:1:2: [serve] has no certificate (add certificate = [...] and \
                  key = [...], or tls = \"none\" if the line is protected otherwise)";
    assert_eq!(refusal(BARE), wanted);
    for more in [
        "tls = \"required\"\n",
        "tls = \"offered\"\n",
        "tls = \"none\"\nlisten_tls = [\"127.0.0.1:1366\"]\n",
        "certificate = []\nkey = []\n",
    ] {
        let sentence = refusal(&format!("{BARE}{more}"));
        assert!(sentence.contains("[serve] has no certificate"), "{more}");
    }
    let plain = in_the_clear("").unwrap().serve.unwrap();
    assert_eq!(plain.tls, ServeTls::None);
    assert!(!plain.has_tls());
    assert!(plain.certificates.is_empty());
}

#[test]
fn certificates_and_keys_come_in_pairs() {
    let two = "certificate = [\"/a.pem\", \"/b.pem\"]\nkey = [\"/a.key\", \"/b.pem\"]\n";
    let serve = parse(&format!("{BARE}{two}")).unwrap().serve.unwrap();
    assert_eq!(
        serve.certificates,
        [pair("/a.pem", "/a.key"), pair("/b.pem", "/b.pem")]
    );
    for (more, said) in [
        (
            "certificate = [\"/c\"]\n",
            "serve.certificate in t.toml:3:15: it lists more files than key",
        ),
        (
            "key = [\"/k\"]\n",
            "serve.key in t.toml:3:7: it lists more files than certificate",
        ),
        (
            "certificate = [\"/a\", \"/b\"]\nkey = [\"/k\"]\n",
            "it lists more files than key (give one key for each certificate",
        ),
        (
            "certificate = [\"c.pem\"]\nkey = [\"/k\"]\n",
            "is a relative path",
        ),
    ] {
        let sentence = refusal(&format!("{BARE}{more}"));
        assert!(sentence.contains(said), "{sentence}");
    }
}

/// Rules: B51, B52
#[test]
fn implicit_tls_has_addresses_of_its_own() {
    let both = serve("listen_tls = [\"127.0.0.1:1366\", \"[::1]:0\"]\n");
    assert_eq!((both.listen.len(), both.listen_tls.len()), (2, 2));
    let alone = serve("listen = []\nlisten_tls = [\"127.0.0.1:1366\"]\n");
    assert!(alone.listen.is_empty());
    assert!(alone.has_tls());
    let mixed =
        in_the_clear("certificate = [\"/c\"]\nkey = [\"/k\"]\nlisten_tls = [\"127.0.0.1:1366\"]\n");
    assert!(mixed.unwrap().serve.unwrap().has_tls());

    let twice = serve_refusal("listen = [\"127.0.0.1:366\"]\nlisten_tls = [\"127.0.0.1:366\"]\n");
    assert!(
        twice
            .contains("serve.listen_tls in t.toml:6:14: 127.0.0.1:366 is listed in listen as well"),
        "{twice}"
    );
    let twice = serve_refusal("listen_tls = [\"[::1]:366\", \"[0::1]:366\"]\n");
    assert!(twice.contains("[::1]:366 is listed twice"), "{twice}");
    assert!(serve_refusal("listen = []\n").contains("the list is empty"));
    assert!(serve_refusal("listen_tls = [\"1366\"]\n").contains("is not an address with a port"));
}

#[test]
fn wishes_about_tls_that_nothing_would_come_of_are_refused() {
    for more in [
        "certificate = [\"/c\"]\nkey = [\"/k\"]\n",
        "client_ca = \"/ca\"\n",
        "handoff_tls = \"relay\"\n",
    ] {
        let sentence = in_the_clear(more).unwrap_err();
        assert!(sentence.contains("no address has TLS"), "{sentence}");
    }
    let pin = format!("fingerprint = [\"{}\"]\n", Fingerprint::of(b""));
    for more in [
        "ca_file = \"/ca\"\n",
        &pin,
        "certificate = \"/c\"\nkey = \"/k\"\n",
        "handoff_tls = \"kernel\"\n",
    ] {
        let sentence = provider_refusal(&format!("tls = \"none\"\n{more}"));
        assert!(sentence.contains("tls is \"none\""), "{sentence}");
        provider(more);
    }
    let both = provider_refusal(&format!("ca_file = \"/ca\"\n{pin}"));
    assert!(both.contains("fingerprint is given as well"), "{both}");
}

/// Rules: B35, B44, B50, B52
#[test]
fn what_is_offered_without_tls_is_what_the_policy_leaves() {
    let clear = |more: &str| serve(more).mechanisms_in_clear().collect::<Vec<_>>();
    assert_eq!(clear(""), []);
    let strong = [
        Mechanism::ScramSha256,
        Mechanism::ScramSha1,
        Mechanism::CramMd5,
    ];
    assert_eq!(clear("tls = \"offered\"\n"), strong);
    let open = clear("tls = \"offered\"\nplaintext_without_tls = true\n");
    assert_eq!(open.last(), Some(&Mechanism::Plain));
    assert!(!open.contains(&Mechanism::External));
    // What nobody could use is found out, what somebody could use is not.
    assert_eq!(
        clear("tls = \"offered\"\nmechanisms = [\"EXTERNAL\", \"PLAIN\"]\n"),
        []
    );
    let sentence = in_the_clear("mechanisms = [\"EXTERNAL\"]\n").unwrap_err();
    assert!(sentence.contains("allowed without TLS"), "{sentence}");
    let sentence = serve_refusal("plaintext_without_tls = true\n");
    assert!(sentence.contains("tls is \"required\""), "{sentence}");
    let sentence = provider_refusal("plaintext_without_tls = true\n");
    assert!(sentence.contains("tls is \"starttls\""), "{sentence}");
}

/// Rules: B71
#[test]
fn a_name_of_scram_stands_for_its_bound_form_as_well() {
    let in_tls: Vec<_> = serve("mechanisms = [\"SCRAM-SHA-1\"]\n")
        .mechanisms_in_tls()
        .collect();
    assert_eq!(in_tls, [Mechanism::ScramSha1Plus, Mechanism::ScramSha1]);
    let provider = provider("mechanisms = [\"SCRAM-SHA-256\"]\n").mechanisms;
    assert_eq!(
        provider,
        [Mechanism::ScramSha256Plus, Mechanism::ScramSha256]
    );
    let sentence = serve_refusal("mechanisms = [\"EXTERNALS\"]\n");
    assert!(
        sentence.contains("did you mean \"EXTERNAL\"?"),
        "{sentence}"
    );
}

/// Rules: B75
#[test]
fn a_customer_with_a_certificate_may_do_without_a_password() {
    let nameless = PROVIDER.replace("password_file = \"/p\"\n", "");
    let certificate = "certificate = \"/c\"\nkey = \"/k\"\n";
    let alone = parse(&format!("{nameless}{certificate}"))
        .unwrap()
        .providers;
    assert_eq!(alone[0].secret, None);
    assert_eq!(alone[0].certificate, Some(pair("/c", "/k")));
    assert_eq!(alone[0].mechanisms, [Mechanism::External]);

    let both = provider(certificate);
    assert!(both.secret.is_some());
    assert_eq!(both.mechanisms, Mechanism::ALL);
    // The certificate may be asked for by the provider's TLS and yet not be the login.
    let shown = provider(&format!("{certificate}mechanisms = [\"PLAIN\"]\n"));
    assert_eq!(shown.mechanisms, [Mechanism::Plain]);

    let sentence = refusal(&format!(
        "{nameless}{certificate}mechanisms = [\"PLAIN\"]\n"
    ));
    assert!(
        sentence.contains("all it lists need a password"),
        "{sentence}"
    );
    let sentence = provider_refusal("mechanisms = [\"EXTERNAL\"]\n");
    assert!(
        sentence.contains("EXTERNAL needs a certificate"),
        "{sentence}"
    );
    let sentence = provider_refusal("certificate = \"/c\"\n");
    assert!(
        sentence.contains("providers.isp.certificate in t.toml:5:15: there is no key for it"),
        "{sentence}"
    );
    let sentence = provider_refusal("key = \"/k\"\n");
    assert!(
        sentence.contains("there is no certificate for it"),
        "{sentence}"
    );
}

#[test]
fn a_fingerprint_is_taken_as_it_was_printed() {
    let (one, two) = (Fingerprint::of(b"one"), Fingerprint::of(b"two"));
    let bare = two
        .to_string()
        .to_lowercase()
        .replace(':', "")
        .replacen("sha256", "sha256:", 1);
    let provider = provider(&format!("fingerprint = [\"{one}\", \"{bare}\"]\n"));
    assert_eq!(provider.fingerprints, [one, two]);
    let sentence = provider_refusal("fingerprint = [\"AB:CD\"]\n");
    assert!(
        sentence
            .contains("\"AB:CD\" is not a fingerprint (write sha256: and 64 hexadecimal digits"),
        "{sentence}"
    );
    assert!(provider_refusal("fingerprint = []\n").contains("the list is empty"));
}

#[test]
fn unknown_words_about_tls_are_refused_with_a_suggestion() {
    assert!(serve_refusal("tls = \"require\"\n").contains("did you mean \"required\"?"));
    assert!(serve_refusal("tls = \"yes\"\n").contains("write required or offered or none"));
    assert!(provider_refusal("tls = \"startls\"\n").contains("did you mean \"starttls\"?"));
    assert!(provider_refusal("tls = true\n").contains("it is true or false"));
    for refused in [serve_refusal, provider_refusal] {
        let sentence = refused("handoff_tls = \"relais\"\n");
        assert!(sentence.contains("did you mean \"relay\"?"), "{sentence}");
    }
    let exec = "handoff = \"exec\"\ncommand = [\"/bin/true\"]\n";
    let sentence = provider_refusal(&format!("{exec}command_peer = \"env\"\n"));
    assert!(sentence.contains("write exim or environment"), "{sentence}");
    let sentence = provider_refusal("command_peer = \"exim\"\n");
    assert!(sentence.contains("other kind of hand-off"), "{sentence}");
}

/// The port of implicit TLS is whatever the two agree on, and never the one where STARTTLS is waited for.
#[test]
fn implicit_tls_needs_the_port_to_be_named() {
    let sentence = provider_refusal("tls = \"implicit\"\n");
    assert!(
        sentence
            .contains("providers.isp.port in t.toml:1:12: it is missing (no port is registered"),
        "{sentence}"
    );
    let provider = provider("tls = \"implicit\"\nport = 1366\n");
    assert_eq!(provider.tls, ProviderTls::Implicit);
}

/// Rules: C12
#[test]
fn the_relay_waits_longer_than_any_mail_server() {
    let sentence = serve_refusal("limits.relay_idle_time = \"14m 59s\"\n");
    assert!(sentence.contains("less than 15m"), "{sentence}");
    assert!(sentence.contains("RFC 5321"), "{sentence}");
    let limits = serve(
        "limits.relay_idle_time = \"15m\"\nlimits.handshake_time = \"5s\"\nlimits.stop_time = \"0s\"\n",
    )
    .limits;
    assert_eq!(limits.relay_idle_time, Duration::from_secs(900));
    assert_eq!(limits.handshake_time, Duration::from_secs(5));
    assert_eq!(limits.stop_time, Duration::ZERO);
    assert!(serve_refusal("limits.handshake_time = \"0s\"\n").contains("less than 1ms"));
}

#[test]
fn what_the_hand_off_needs_to_know_about_tls_is_read() {
    let exec = "handoff = \"exec\"\ncommand = [\"/bin/true\"]\ncommand_peer = \"environment\"\nhandoff_tls = \"relay\"\n";
    let customer = provider(exec);
    assert_eq!(customer.handoff_tls, HandoffTls::Relay);
    let CustomerHandoff::Exec { peer, .. } = customer.handoff else {
        panic!("no exec");
    };
    assert_eq!(peer, Some(CommandPeer::Environment));
    let serve = serve("handoff_tls = \"kernel\"\nclient_ca = \"/ca\"\n");
    assert_eq!(serve.handoff_tls, HandoffTls::Kernel);
    assert_eq!(serve.client_ca.as_deref(), Some(Path::new("/ca")));
    let fetch = format!("[fetch]\nstate_directory = \"/s\"\n{PROVIDER}");
    assert_eq!(
        parse(&fetch).unwrap().providers[0].state_directory,
        Path::new("/s")
    );
}

#[test]
fn options_about_tls_mean_what_the_keys_mean() {
    let given = |text: &str| Some(text.to_owned());
    let pin = Fingerprint::of(b"x");
    let full = ProviderOptions {
        port: Some(1366),
        tls: given("implicit"),
        fingerprint: vec![pin.to_string()],
        certificate: given("c.pem"),
        key: given("k.pem"),
        handoff_tls: given("relay"),
        handoff: given("exec"),
        command: vec!["/bin/true".to_owned()],
        command_peer: given("exim"),
        password_file: None,
        ..options()
    };
    let provider = full.provider().unwrap();
    assert_eq!(provider.tls, ProviderTls::Implicit);
    assert_eq!(provider.fingerprints, [pin]);
    assert_eq!(provider.certificate, Some(pair("c.pem", "k.pem")));
    assert_eq!(provider.handoff_tls, HandoffTls::Relay);
    assert_eq!(provider.mechanisms, [Mechanism::External]);
    assert_eq!(provider.state_directory, Path::new("/var/lib/turnabout"));

    let own_authority = ProviderOptions {
        ca_file: given("ca.pem"),
        ..options()
    };
    let provider = own_authority.provider().unwrap();
    assert_eq!(provider.ca_file.as_deref(), Some(Path::new("ca.pem")));

    for (wrong, said) in [
        (
            ProviderOptions {
                tls: given("none"),
                ca_file: given("ca.pem"),
                ..options()
            },
            "cannot use --ca-file: there is no TLS",
        ),
        (
            ProviderOptions {
                plaintext_without_tls: true,
                ..options()
            },
            "cannot use --plaintext-without-tls: there is TLS",
        ),
        (
            ProviderOptions {
                tls: given("implicit"),
                ..options()
            },
            "cannot use --port: it is missing",
        ),
    ] {
        let sentence = wrong.provider().unwrap_err().to_string();
        assert!(sentence.starts_with(said), "{sentence}");
    }
}
