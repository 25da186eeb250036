//! Commands: what is taken, what is refused with which code, and an independent parser's opinion.

use crate::smtp_domain::a_domain;
use proptest::prelude::*;
use turnabout::smtp::command::is_host;
use turnabout::smtp::{Command, CommandError, DomainList, Line, LineReader, Verb, base64};

fn parse(text: &str) -> Result<Command, CommandError> {
    Command::parse(&Line::new(text.as_bytes()).unwrap())
}

fn written(command: &Command) -> String {
    String::from_utf8(command.to_bytes().to_vec()).unwrap()
}

/// Rules: B2, B3
#[test]
fn verbs_have_no_case_and_blanks_at_the_end_are_nothing() {
    for text in ["QUIT", "quit", "qUiT", "QUIT ", "QUIT \t "] {
        assert_eq!(parse(text), Ok(Command::Quit), "{text:?}");
    }
}

/// Rules: B2, B3, B4
#[test]
fn what_is_no_command_knows_its_code_and_its_verb() {
    for (text, code, verb) in [
        ("", 500, None),
        (" QUIT", 500, None),
        ("QUITE", 500, None),
        ("QUIT now", 501, Some(Verb::Quit)),
        ("RSET\tnow", 501, Some(Verb::Rset)),
        ("STARTTLS x", 501, Some(Verb::Starttls)),
        ("EHLO", 501, Some(Verb::Ehlo)),
        ("ATRN localhost", 501, Some(Verb::Atrn)),
        ("ATRN\texample.org", 501, Some(Verb::Atrn)),
        ("AUTH", 501, Some(Verb::Auth)),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!((error.code(), error.verb()), (code, verb), "{text:?}");
    }
    assert_eq!(parse("EHLO \u{e9}").unwrap_err().code(), 500);
}

/// Rules: R17, R18
#[test]
fn atrn_is_bare_or_names_domains() {
    assert_eq!(parse("ATRN"), Ok(Command::Atrn(None)));
    assert_eq!(parse("ATRN  "), Ok(Command::Atrn(None)));
    let named = DomainList::parse_atrn("a.example,b.example").unwrap();
    assert_eq!(
        parse("atrn a.example,B.example"),
        Ok(Command::Atrn(Some(named)))
    );
}

/// Rules: C15, B8, B11
#[test]
fn a_host_is_a_name_or_a_literal_and_never_an_option() {
    for good in [
        "a",
        "example.org",
        "my_pc",
        "[192.0.2.1]",
        "[IPv6:2001:db8::1]",
        "a-b.c",
    ] {
        assert!(is_host(good), "{good:?}");
    }
    for bad in [
        "",
        "-rf",
        ".a",
        "[]",
        "[a",
        "a]",
        "a b",
        "a;b",
        "a\u{1b}[m",
        "a/b",
        "$(id)",
        "caf\u{e9}",
    ] {
        assert!(!is_host(bad), "{bad:?}");
    }
    assert!(!is_host(&"a".repeat(256)));
}

/// Rules: B42, B27
#[test]
fn auth_has_its_mechanism_in_upper_case_and_its_response_untouched() {
    let Ok(Command::Auth { mechanism, initial }) = parse("auth plain =") else {
        panic!("not AUTH");
    };
    assert_eq!(
        (mechanism.as_str(), initial.unwrap().as_str()),
        ("PLAIN", "=")
    );
    for bad in ["AUTH PL/AIN", "AUTH A-MECHANISM-OF-21-CHA", "AUTH  PLAIN"] {
        assert_eq!(
            parse(bad),
            Err(CommandError::Argument(Verb::Auth)),
            "{bad:?}"
        );
    }
}

/// Rules: C16
#[test]
fn a_command_shows_no_password_in_logs() {
    let shown = format!("{:?}", parse("AUTH PLAIN AGFsaWNlAHNlY3JldA==").unwrap());
    assert!(
        !shown.contains("AGFs") && shown.contains("PLAIN"),
        "{shown}"
    );
}

/// Rules: B29
#[test]
fn base64_is_taken_to_the_letter() {
    assert_eq!(base64::decode(b"AGE=").unwrap().as_slice(), b"\0a");
    assert_eq!(base64::decode(b"").unwrap().as_slice(), b"");
    for bad in [
        "AGE", "AG E=", "AGE=\r\n", "=AGE", "AG=E", "AGE==", "AGF=", "AG-_", "*",
    ] {
        assert!(base64::decode(bad.as_bytes()).is_err(), "{bad:?}");
    }
}

/// The two known differences to smtp-proto, and the reason why it cannot be asked about refusals: it is a tolerant
/// parser, it takes `QUIT now` and domains of any letters.
#[test]
fn smtp_proto_refuses_a_bare_atrn_and_takes_a_bare_line_feed() {
    use smtp_proto::Request;
    assert!(Request::parse(&mut b"ATRN\r\n".iter()).is_err());
    assert!(parse("ATRN").is_ok());
    assert!(Request::parse(&mut b"NOOP\n".iter()).is_ok());
    assert_eq!(LineReader::new(512).feed(b"NOOP\n").1, None);
}

/// Commands as people and programs write them: any case, a blank too many at the end.
fn a_command() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        a_domain(),
        Just("[192.0.2.1]".to_owned()),
        Just("pc".to_owned())
    ];
    let list = prop::collection::vec(a_domain(), 1..6);
    let plain = prop_oneof![
        Just("NOOP"),
        Just("RSET"),
        Just("QUIT"),
        Just("STARTTLS"),
        Just("DATA"),
        Just("HELP"),
        Just("ETRN example.org"),
        Just("VRFY alice"),
        Just("EXPN all"),
        Just("MAIL FROM:<a@example.org>"),
        Just("RCPT TO:<a@example.org>"),
        Just("BDAT 5 LAST"),
    ];
    let mechanism = prop_oneof![
        Just("PLAIN"),
        Just("LOGIN"),
        Just("CRAM-MD5"),
        Just("SCRAM-SHA-1"),
        Just("SCRAM-SHA-256"),
    ];
    let initial = prop_oneof![
        Just(String::new()),
        " [A-Za-z0-9+/]{4,40}",
        Just(" =".to_owned())
    ];
    let command = prop_oneof![
        host.clone().prop_map(|host| format!("EHLO {host}")),
        host.prop_map(|host| format!("HELO {host}")),
        list.prop_map(|list| format!("ATRN {}", list.join(","))),
        (mechanism, initial).prop_map(|(mechanism, initial)| format!("AUTH {mechanism}{initial}")),
        plain.prop_map(str::to_owned),
    ];
    (command, any::<bool>(), 0usize..3).prop_map(|(command, lower, blanks)| {
        let (verb, rest) = command.split_at(4);
        let verb = if lower {
            verb.to_ascii_lowercase()
        } else {
            verb.to_owned()
        };
        format!("{verb}{rest}{}", " ".repeat(blanks))
    })
}

proptest! {
    #[test]
    fn any_line_is_a_command_or_an_error(octets in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(line) = Line::new(&octets) {
            drop(Command::parse(&line));
        }
    }

    #[test]
    fn what_is_understood_is_written_and_understood_again(text in prop_oneof![
        a_command(),
        "(ATRN|AUTH|EHLO|NOOP|QUIT)[ ,.a-z=\t]{0,30}",
    ]) {
        if let Ok(command) = parse(&text) {
            let line = written(&command);
            prop_assert_eq!(parse(line.strip_suffix("\r\n").unwrap()), Ok(command));
        }
    }

    /// Rules: B2
    #[test]
    fn smtp_proto_reads_the_same_from_a_command(text in a_command()) {
        use smtp_proto::Request;
        let ours = parse(&text).unwrap();
        let wire = format!("{text}\r\n");
        let theirs = Request::parse(&mut wire.as_bytes().iter()).unwrap();
        prop_assert_eq!(ours.verb().name(), theirs.name());
        match (&ours, &theirs) {
            (Command::Ehlo(ours), Request::Ehlo { host }) | (Command::Helo(ours), Request::Helo { host }) => {
                prop_assert_eq!(ours, host);
            }
            (Command::Atrn(Some(ours)), Request::Atrn { domains }) => {
                let theirs = domains.iter().map(|domain| domain.parse().unwrap()).collect();
                prop_assert_eq!(Some(ours.clone()), DomainList::try_new(theirs));
            }
            (Command::Auth { mechanism, initial }, Request::Auth { mechanism: number, initial_response }) => {
                let number_of_ours = match mechanism.as_str() {
                    "PLAIN" => smtp_proto::AUTH_PLAIN,
                    "LOGIN" => smtp_proto::AUTH_LOGIN,
                    "CRAM-MD5" => smtp_proto::AUTH_CRAM_MD5,
                    "SCRAM-SHA-1" => smtp_proto::AUTH_SCRAM_SHA_1,
                    _ => smtp_proto::AUTH_SCRAM_SHA_256,
                };
                prop_assert_eq!(number_of_ours, *number);
                let initial = initial.as_ref().map_or("", |initial| initial.as_str());
                prop_assert_eq!(initial, initial_response.as_ref());
            }
            _ => {}
        }
    }
}
