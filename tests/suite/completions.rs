//! Completions: a shell that has loaded them completes what is there, and nothing that nobody types.

use std::path::Path;
use std::process::{Command, Stdio};

use clap::CommandFactory;
use turnabout::cli::Cli;

const TURNABOUT: &str = env!("CARGO_BIN_EXE_turnabout");

fn completions(shell: &str) -> String {
    let output = Command::new(TURNABOUT)
        .args(["completions", shell])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What bash offers for a line whose cursor stands at its end.
fn offered_by_bash(line: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("turnabout");
    std::fs::write(&file, completions("bash")).unwrap();
    // As readline calls the function: with the program, the word at the cursor, and the one before it.
    let script = r#"
        . "$1"; shift
        function=$(complete -p turnabout | sed 's/.* -F \([^ ]*\) .*/\1/')
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        $function turnabout "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let output = Command::new("bash")
        .args(["--norc", "-uec", script, "bash"])
        .arg(&file)
        .args(line.split(' '))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.is_empty(),
        "{complaints}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_every_command_and_no_hidden_one() {
    let offered = offered_by_bash("turnabout ");
    for command in Cli::command().get_subcommands() {
        let name = command.get_name().to_owned();
        assert_eq!(offered.contains(&name), !command.is_hide_set(), "{name}");
    }
}

#[test]
fn bash_completes_commands_options_and_values() {
    assert_eq!(offered_by_bash("turnabout fe"), ["fetch"]);
    assert_eq!(
        offered_by_bash("turnabout fetch --password"),
        ["--password-file"]
    );
    assert_eq!(offered_by_bash("turnabout serve --che"), ["--check"]);
    let formats = offered_by_bash("turnabout serve --log-format j");
    assert_eq!(formats, ["json"]);
}

/// Asks the shell itself, which contrib/test installs, to read the file without running it.
fn reads(shell: &str) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("turnabout");
    std::fs::write(&file, completions(shell)).unwrap();
    let output = Command::new(shell)
        .arg("-n")
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{shell}: {error} (contrib/lab install {shell})"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn zsh_reads_its_completions() {
    reads("zsh");
    assert!(completions("zsh").starts_with("#compdef turnabout\n"));
}

/// fish says what it would offer.
#[test]
fn fish_reads_its_completions_and_offers_the_commands() {
    reads("fish");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("turnabout.fish");
    std::fs::write(&file, completions("fish")).unwrap();
    let bin = Path::new(TURNABOUT).parent().unwrap();
    let output = Command::new("fish")
        .args(["--no-config", "-c"])
        .arg("source $argv[1]; complete --do-complete 'turnabout fet'")
        .arg(&file)
        .env("HOME", directory.path())
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("fetch\t"), "{output:?}");
}
