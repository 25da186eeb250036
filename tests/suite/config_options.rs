//! A provider described by options in place of a file.

use std::path::PathBuf;
use std::time::Duration;
use turnabout::config::{ProviderOptions, SecretSource};
use turnabout::sasl::Mechanism;

pub fn options() -> ProviderOptions {
    ProviderOptions {
        host: Some("odmr.example.net".to_owned()),
        user: Some("alice".to_owned()),
        password_file: Some("-".to_owned()),
        ..ProviderOptions::default()
    }
}

#[test]
fn options_make_the_provider_that_a_file_makes() {
    let provider = options().provider().unwrap();
    assert_eq!(provider.name, "odmr.example.net");
    assert_eq!(provider.port, 366);
    assert_eq!(provider.secret, Some(SecretSource::StandardInput));
    assert_eq!(provider.timers.atrn, Duration::from_secs(600));

    let full = ProviderOptions {
        port: Some(386),
        password_file: Some("relative".to_owned()),
        domains: vec!["example.org".to_owned(), "example.com".to_owned()],
        mechanisms: vec!["PLAIN".to_owned()],
        tls: Some("none".to_owned()),
        plaintext_without_tls: true,
        handoff: Some("exec".to_owned()),
        command: vec!["/usr/sbin/exim4".to_owned(), "-bs".to_owned()],
        command_user: Some("nobody".to_owned()),
        hostname: Some("[192.0.2.1]".to_owned()),
        ..options()
    };
    let provider = full.provider().unwrap();
    assert_eq!(provider.port, 386);
    assert_eq!(
        provider.secret,
        Some(SecretSource::File(PathBuf::from("relative")))
    );
    assert_eq!(
        provider.domains.unwrap().to_string(),
        "example.org,example.com"
    );
    assert_eq!(provider.mechanisms, [Mechanism::Plain]);
    assert_eq!(provider.hostname.as_deref(), Some("[192.0.2.1]"));
    assert_eq!(provider.handoff.name(), "exec");
}

#[test]
fn a_wrong_option_is_named_as_an_option() {
    let sentence = |options: ProviderOptions| options.provider().unwrap_err().to_string();
    let wrong = ProviderOptions {
        domains: vec!["localhost".to_owned()],
        ..options()
    };
    assert!(sentence(wrong).starts_with("cannot use --domains: \"localhost\""));
    let wrong = ProviderOptions {
        handoff: Some("exec".to_owned()),
        ..options()
    };
    assert!(sentence(wrong).starts_with("cannot use the command after --: it is missing"));
    let wrong = ProviderOptions {
        password_file: None,
        ..options()
    };
    assert!(sentence(wrong).starts_with("cannot use --password-file: it is missing"));
    let wrong = ProviderOptions {
        hostname: Some("localhost".to_owned()),
        ..options()
    };
    assert!(sentence(wrong).starts_with("cannot use --hostname: "));
}
