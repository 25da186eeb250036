//! The command line, as a script or a timer sees it: exit codes, standard output, standard error.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use turnabout::cli::Exit;

fn turnabout(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_turnabout"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn code(output: &Output) -> u8 {
    u8::try_from(output.status.code().unwrap()).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn help_and_version_are_answers_on_standard_output() {
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["serve", "--help"],
        &["fetch", "-h"],
    ] {
        let output = turnabout(arguments);
        assert_eq!(code(&output), 0, "{arguments:?}");
        assert!(
            !output.stdout.is_empty() && output.stderr.is_empty(),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_wrong_command_line_is_64_on_standard_error() {
    for arguments in [
        &[][..],
        &["fly"],
        &["serve", "--fast"],
        &["fetch"],
        &["fetch", "isp", "--all"],
        &["fetch", "--all", "--host", "h.example"],
        &["fetch", "--host", "h.example"],
        &["fetch", "--host", "h.example", "--user", "u"],
        &["fetch", "isp", "--user", "u"],
        &["fetch", "isp", "--user", "u", "--password-file", "-"],
        &["fetch", "isp", "--tls", "none"],
        &["fetch", "--all", "--fingerprint", "sha256:00"],
        &[
            "fetch",
            "--host",
            "h.example",
            "--user",
            "u",
            "--password-file",
            "-",
            "--port",
            "70000",
        ],
        &["--log-format", "xml", "serve"],
        &["--log-level", "loud", "serve"],
    ] {
        let output = turnabout(arguments);
        assert_eq!(code(&output), Exit::Usage.code(), "{arguments:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_wrong_configuration_is_78_with_one_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("turnabout.toml");
    fs::write(&path, "[serve]\nlistn = []\n").unwrap();
    let path = path.to_str().unwrap();
    for arguments in [
        &["--config", path, "serve", "--check"][..],
        &["serve", "--config", path],
        &["fetch", "--config", path, "isp"],
        &["fetch", "--config", path, "--all"],
        &["fetch", "--config", "/nonexistent/file", "isp"],
        &[
            "fetch",
            "--host",
            "h.example",
            "--user",
            "u",
            "--password-file",
            "-",
            "--domains",
            "x",
        ],
    ] {
        let output = turnabout(arguments);
        assert_eq!(code(&output), Exit::Config.code(), "{arguments:?}");
        assert!(output.stdout.is_empty());
        let said = said(&output);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("ERROR cannot "), "{said}");
    }
}

#[test]
fn errors_are_json_when_logs_are() {
    let output = turnabout(&["--log-format", "json", "--config", "/nonexistent", "serve"]);
    assert_eq!(code(&output), Exit::Config.code());
    let line: serde_json::Value = serde_json::from_str(&said(&output)).unwrap();
    assert_eq!(line["level"], "ERROR");
    assert!(
        line["message"]
            .as_str()
            .unwrap()
            .starts_with("cannot read /nonexistent: ")
    );
}

#[test]
fn the_graver_exit_code_of_several_fetches_wins() {
    for (index, mild) in Exit::ALL.iter().enumerate() {
        for grave in &Exit::ALL[index..] {
            assert_eq!(mild.graver(*grave), *grave);
            assert_eq!(grave.graver(*mild), *grave);
        }
    }
}

#[test]
fn a_check_reads_both_files() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("turnabout.toml");
    let accounts = directory.path().join("accounts.toml");
    let text =
        format!("[serve]\ntls = \"none\"\nhostname = \"p.example.com\"\naccounts = {accounts:?}\n");
    fs::write(&config, text).unwrap();
    let check = || turnabout(&["--config", config.to_str().unwrap(), "serve", "--check"]);
    assert_eq!(code(&check()), Exit::Config.code(), "no accounts");

    let added = passwd(
        "s3cret\n",
        &[
            "--accounts",
            accounts.to_str().unwrap(),
            "--domains",
            "example.org",
            "--next-hop",
            "[127.77.0.1]:2525",
            "alice",
        ],
    );
    assert_eq!(code(&added), 0, "{}", said(&added));
    let fine = check();
    assert_eq!(code(&fine), 0, "{}", said(&fine));
    assert!(said(&fine).contains("configuration is fine"));

    fs::write(&accounts, "[[account]]\nuser = 1\n").unwrap();
    assert_eq!(code(&check()), Exit::Config.code(), "broken accounts");
}

#[test]
fn a_certificate_known_by_its_name_needs_an_authority() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("turnabout.toml");
    let accounts = directory.path().join("accounts.toml");
    let text =
        format!("[serve]\ntls = \"none\"\nhostname = \"p.example.com\"\naccounts = {accounts:?}\n");
    fs::write(&config, text).unwrap();
    let alice = "[[account]]\nuser = \"alice\"\ncertificates = [\"dns:home.example.org\"]\n\
                 domains = [\"example.org\"]\nnext_hop = \"[127.77.0.1]:2525\"\n";
    fs::write(&accounts, alice).unwrap();
    fs::set_permissions(&accounts, Permissions::from_mode(0o600)).unwrap();
    let checked = turnabout(&["--config", config.to_str().unwrap(), "serve", "--check"]);
    assert_eq!(code(&checked), Exit::Config.code());
    let said = said(&checked);
    assert!(said.contains("set client_ca in [serve]"), "{said}");
}

fn passwd(password: &str, arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_turnabout"))
        .arg("passwd")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(password.as_bytes()).unwrap();
    drop(input);
    child.wait_with_output().unwrap()
}
