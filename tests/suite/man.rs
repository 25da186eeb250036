//! The manual pages: what they say is what the program does, in both directions.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory;
use turnabout::accounts::{Accounts, Scheme, StandInKey};
use turnabout::cli::{Cli, Exit};
use turnabout::config;
use turnabout::config::keys::{self, Fallback, Key, Table};
use turnabout::sasl::Mechanism;

fn page(name: &str) -> String {
    let path = man().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn man() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("man")
}

#[test]
fn every_page_is_clean_for_mandoc() {
    let pages: Vec<PathBuf> = fs::read_dir(man())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(pages.len() >= 6, "{pages:?}");
    let output = Command::new("mandoc")
        .args(["-T", "lint", "-W", "warning"])
        .args(&pages)
        .output()
        .expect("mandoc is needed for this test (on Debian: apt-get install mandoc)");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

const BEGIN: &str = ".\\\" keys: begin\n";
const END: &str = ".\\\" keys: end\n";

/// The part of the page between its two comments is the table of keys. To renew it after a change of
/// the table: `TURNABOUT_BLESS=1 cargo test --test suite man::`.
#[test]
fn the_page_of_the_configuration_is_the_table_of_keys() {
    let text = page("turnabout.toml.5");
    let (head, rest) = text.split_once(BEGIN).expect("the begin of the keys");
    let (block, tail) = rest.split_once(END).expect("the end of the keys");
    let wanted = render_tables();
    if std::env::var_os("TURNABOUT_BLESS").is_some() {
        let path = man().join("turnabout.toml.5");
        fs::write(path, format!("{head}{BEGIN}{wanted}{END}{tail}")).unwrap();
        return;
    }
    assert_eq!(block, wanted, "page and table differ");
}

fn render_tables() -> String {
    let mut text = String::new();
    for table in Table::ALL {
        writeln!(text, ".Ss [{}]", table.title()).unwrap();
        text.push_str(&sentences(table.about()));
        text.push_str(".Bl -tag -width Ds\n");
        for key in table.keys() {
            text.push_str(&render_key(key));
        }
        text.push_str(".El\n");
    }
    text
}

fn render_key(key: &Key) -> String {
    let fallback = match key.fallback {
        Fallback::Required => "must be given".to_owned(),
        Fallback::Unset(what) => format!("default: {what}"),
        Fallback::Value(value) => format!("default: {value}"),
    };
    let head = format!("({}; {fallback})", key.kind.words());
    format!(
        ".It Ic {}\n{}{}",
        key.name,
        wrapped(&escaped(&head)),
        sentences(key.about)
    )
}

/// Plain text as mdoc: a new line for each new sentence.
fn sentences(text: &str) -> String {
    let mut rest = escaped(text);
    let mut out = String::new();
    while let Some(at) = rest.find(". ") {
        let tail = rest.split_off(at + 2);
        out.push_str(&wrapped(rest.trim_end()));
        rest = tail;
    }
    out + &wrapped(&rest)
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

fn wrapped(text: &str) -> String {
    let mut out = String::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.len() + word.len() > 76 {
            out.push_str(line.trim_end());
            out.push('\n');
            line.clear();
        }
        line.push_str(word);
        line.push(' ');
    }
    out.push_str(line.trim_end());
    out.push('\n');
    out
}

#[test]
fn every_option_is_in_the_page_of_its_command_and_every_option_of_a_page_exists() {
    let mut cli = Cli::command();
    cli.build();
    let global: BTreeSet<String> = options(&cli);
    assert_eq!(documented("turnabout.8"), global, "turnabout.8");
    for command in cli.get_subcommands() {
        if command.get_name() == "help" || command.is_hide_set() {
            continue;
        }
        let name = format!("turnabout-{}.8", command.get_name());
        let own: BTreeSet<String> = options(command).difference(&global).cloned().collect();
        assert_eq!(documented(&name), own, "{name}");
    }
}

/// The long options of a command.
fn options(command: &clap::Command) -> BTreeSet<String> {
    command
        .get_arguments()
        .filter_map(|argument| argument.get_long())
        .map(str::to_owned)
        .collect()
}

/// The long options a page explains: `.It Fl Fl name` and `.It Fl x , Fl Fl name`.
fn documented(name: &str) -> BTreeSet<String> {
    page(name)
        .lines()
        .filter(|line| line.starts_with(".It Fl"))
        .filter_map(|line| line.split_once("Fl Fl "))
        .filter_map(|(_, rest)| rest.split_whitespace().next())
        .filter(|word| *word != "Ar")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_is_in_the_overview_and_has_a_page() {
    let overview = page("turnabout.8");
    for command in Cli::command().get_subcommands() {
        if command.is_hide_set() {
            continue;
        }
        let name = command.get_name();
        assert!(overview.contains(&format!(".It Cm {name}\n")), "{name}");
        assert!(
            overview.contains(&format!(".Xr turnabout-{name} 8")),
            "{name}"
        );
    }
}

#[test]
fn every_exit_code_is_documented_and_no_other() {
    let overview = page("turnabout.8");
    let (_, section) = overview.split_once(".Sh EXIT STATUS").unwrap();
    let (section, _) = section.split_once(".Sh").unwrap();
    let documented: BTreeSet<u8> = section
        .lines()
        .filter_map(|line| line.strip_prefix(".It "))
        .map(|code| code.parse().unwrap())
        .collect();
    let known: BTreeSet<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
    assert_eq!(documented, known);
}

#[test]
fn the_examples_in_the_page_of_the_configuration_load() {
    let text = page("turnabout.toml.5");
    let examples: Vec<String> = text
        .split(".Bd -literal")
        .skip(1)
        .map(|part| {
            let (_, body) = part.split_once('\n').unwrap();
            let (body, _) = body.split_once(".Ed").unwrap();
            body.replace("\\-", "-")
        })
        .collect();
    assert_eq!(examples.len(), 2);
    for example in examples {
        if let Err(error) = config::parse(Path::new("example.toml"), &example) {
            panic!("{error}\n{example}");
        }
    }
}

#[test]
fn no_key_stands_twice_and_every_paragraph_is_one() {
    let names: BTreeSet<String> = keys::ALL
        .iter()
        .map(|key| format!("{}.{}", key.table.title(), key.name))
        .collect();
    assert_eq!(names.len(), keys::ALL.len());
    for key in keys::ALL {
        assert!(key.about.ends_with('.'), "{}", key.name);
        assert!(!key.about.contains("  "), "{}", key.name);
    }
}

#[test]
fn the_keys_and_schemes_of_the_accounts_file_are_in_its_page_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accounts.toml");
    fs::write(&path, "[[account]]\nzzzzzzzzzzzz = 1\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let refusal = Accounts::load(&path, &StandInKey::new([0; 32])).unwrap_err();
    let refusal = refusal.to_string();
    let (_, known) = refusal.split_once("(known here: ").unwrap();
    let known: BTreeSet<&str> = known.trim_end_matches(')').split(", ").collect();

    let text = page("turnabout-accounts.5");
    let items = |prefix| {
        text.lines()
            .filter_map(move |line| line.strip_prefix(prefix))
    };
    let documented: BTreeSet<&str> = items(".It Ic ").collect();
    assert_eq!(documented, known);

    for item in items(".It {") {
        let (scheme, mechanisms) = item.split_once("} Ta ").unwrap();
        let scheme: Scheme = scheme.replace("\\-", "-").parse().unwrap();
        let documented: BTreeSet<String> = mechanisms
            .replace("\\-", "-")
            .split(", ")
            .map(str::to_owned)
            .collect();
        let suits: BTreeSet<String> = Mechanism::WITHOUT_TLS
            .into_iter()
            .filter(|mechanism| scheme.serves(*mechanism))
            .map(|mechanism| mechanism.to_string())
            .collect();
        assert_eq!(documented, suits, "{scheme}");
    }
    assert_eq!(items(".It {").count(), Scheme::ALL.len());
}
