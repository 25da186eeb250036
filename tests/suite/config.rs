//! The configuration: what is taken, what is refused, and with which sentence.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use turnabout::config::keys::{self, Fallback, Kind, Table};
use turnabout::config::suggest::suggest;
use turnabout::config::{
    self, Config, CustomerHandoff, Provider, ProviderHandoff, ProviderOptions, ProviderTls,
    SecretSource, ServeTls,
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

#[test]
fn a_command_is_a_program_by_its_whole_path() {
    let exec = provider("handoff = \"exec\"\ncommand = [\"/usr/sbin/exim4\", \"-bs\"]\n").handoff;
    assert_eq!(
        exec,
        CustomerHandoff::Exec {
            command: vec!["/usr/sbin/exim4".to_owned(), "-bs".to_owned()],
            user: None,
            peer: None
        }
    );
    let relative = provider_refusal("handoff = \"exec\"\ncommand = [\"exim4\", \"-bs\"]\n");
    assert!(relative.contains("not an absolute path"), "{relative}");
    assert!(provider_refusal("handoff = \"exec\"\ncommand = []\n").contains("absolute path"));
    assert!(provider_refusal("handoff = \"exec\"\n").contains("it is missing"));
    let both = provider_refusal("handoff = \"exec\"\ncommand = [\"/a\"]\nsocket = \"/b\"\n");
    assert!(both.contains("another kind of hand-off"), "{both}");
    let other = provider_refusal("command = [\"/a\"]\n");
    assert!(other.contains("another kind of hand-off"), "{other}");
    assert!(
        provider_refusal("handoff = \"postfix_pass\"\n").contains("did you mean \"postfix-pass\"?")
    );
    let nowhere = provider_refusal("handoff = \"catch\"\n");
    assert!(
        nowhere.contains("needs the socket where turnabout catch listens"),
        "{nowhere}"
    );
    let both = provider_refusal("handoff = \"catch\"\nsocket = \"/a\"\ncommand = [\"/b\"]\n");
    assert!(both.contains("another kind of hand-off"), "{both}");
}

/// Rules: C9
#[test]
fn postfix_sendmail_bs_is_refused_and_the_sendmails_of_others_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let program = |name: &str, inside: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, inside).unwrap();
        path
    };
    let postfix = program("postfix/sendmail", "\x7fELF ... postdrop ...");
    let renamed = program("postfix/sendmail.postfix", "\x7fELF ... postdrop ...");
    let sendmail = program("sendmail/sendmail", "\x7fELF ... sendmail.cf ...");
    let exim = program("exim/exim4", "\x7fELF ...");
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&postfix, &link).unwrap();
    let exim_as_sendmail = directory.path().join("exim/sendmail");
    std::os::unix::fs::symlink(&exim, &exim_as_sendmail).unwrap();

    let given = |program: &Path, arguments: &[&str]| {
        let command: Vec<String> = std::iter::once(program.to_str().unwrap())
            .chain(arguments.iter().copied())
            .map(|word| format!("{word:?}"))
            .collect();
        let more = format!("handoff = \"exec\"\ncommand = [{}]\n", command.join(", "));
        parse(&format!("{PROVIDER}{more}"))
    };
    for arguments in [
        &["-bs"][..],
        &["-v", "-bs"],
        &["-b", "s"],
        &["-ibs"],
        &["-f", "x", "-bs"],
    ] {
        for program in [&postfix, &renamed, &link] {
            let sentence = given(program, arguments).unwrap_err();
            assert!(sentence.contains("relays anything"), "{sentence}");
        }
        for program in [&sendmail, &exim, &exim_as_sendmail] {
            given(program, arguments).unwrap();
        }
    }
    given(&postfix, &["-bd"]).unwrap();
}

fn password_file(mode: u32, content: &[u8]) -> (tempfile::TempDir, SecretSource) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("password");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    (directory, SecretSource::File(path))
}

#[test]
fn a_password_is_the_first_line_of_its_file() {
    for content in ["s3cret", "s3cret\n", "s3cret\r\n", "s3cret\nanother line\n"] {
        let (_directory, source) = password_file(0o640, content.as_bytes());
        assert_eq!(source.read().unwrap().expose(), "s3cret");
    }
    for (content, cause) in [
        (&b""[..], "is empty"),
        (b"\nsecond\n", "is empty"),
        (b"a\0b\n", "NUL"),
        (b"\xff\n", "UTF-8"),
        (&[b'x'; 5000], "4096"),
    ] {
        let (_directory, source) = password_file(0o600, content);
        let sentence = source.read().unwrap_err().to_string();
        assert!(sentence.contains(cause), "{sentence}");
    }
}

/// Rules: C16
#[test]
fn a_password_file_that_others_can_read_is_refused() {
    for mode in [0o604, 0o644, 0o602, 0o601] {
        let (_directory, source) = password_file(mode, b"s3cret\n");
        let sentence = source.read().unwrap_err().to_string();
        assert!(sentence.contains("chmod o-rwx /"), "{sentence}");
        assert!(!sentence.contains("s3cret"));
    }
    let missing = SecretSource::File(PathBuf::from("/nonexistent"));
    let sentence = missing.read().unwrap_err().to_string();
    assert!(
        sentence.starts_with("cannot read the password file /nonexistent: "),
        "{sentence}"
    );
}

#[test]
fn a_password_command_runs_without_a_shell() {
    let command = |words: &[&str]| {
        SecretSource::Command(words.iter().map(|word| (*word).to_owned()).collect()).read()
    };
    assert_eq!(
        command(&["/bin/echo", "$HOME; id"]).unwrap().expose(),
        "$HOME; id"
    );
    for (words, cause) in [
        (&["/bin/false"][..], "exit status: 1"),
        (&["/nonexistent"], "No such file"),
        (&["/bin/true"], "is empty"),
        (&[], "empty"),
    ] {
        let sentence = command(words).unwrap_err().to_string();
        assert!(sentence.contains(cause), "{sentence}");
    }
    let endless = command(&["/usr/bin/yes"]).unwrap_err().to_string();
    assert!(endless.contains("4096"), "{endless}");
}

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
