//! The command of `handoff = "exec"`: which program, and which never.

use crate::config::{PROVIDER, parse, provider, provider_refusal};
use std::fs;
use std::path::Path;
use turnabout::config::CustomerHandoff;

#[test]
fn a_command_is_a_program_by_its_whole_path() {
    let exec = provider("handoff = \"exec\"\ncommand = [\"/usr/sbin/exim4\", \"-bs\"]\n").handoff;
    assert_eq!(
        exec,
        CustomerHandoff::Exec {
            command: vec!["/usr/sbin/exim4".to_owned(), "-bs".to_owned()],
            user: None,
            peer: None,
            tunnel: false,
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
