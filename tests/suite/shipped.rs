//! What is shipped in contrib for init systems: each file is read by the program it is for, and each command line of
//! ours in it by our own.

use crate::documents::named;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::Parser;
use turnabout::cli::Cli;
use turnabout::config::{self, keys};

const INSTALLED: &str = "/usr/sbin/turnabout";

fn contrib(inside: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("contrib")
        .join(inside)
}

fn read(inside: &str) -> String {
    let path = contrib(inside);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The units by name.
fn units() -> BTreeMap<String, String> {
    let entries = fs::read_dir(contrib("systemd")).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// The values of a setting in a unit.
fn settings<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    unit.lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .collect()
}

fn succeeds(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error} (contrib/test installs it)"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The units as they are, except for the place of the program, which need not be installed here.
fn copy_units(to: &Path) -> Vec<PathBuf> {
    let mut copies = Vec::new();
    for (name, text) in units() {
        let copy = to.join(&name);
        let text = text.replace(INSTALLED, env!("CARGO_BIN_EXE_turnabout"));
        fs::write(&copy, text).unwrap();
        // A template is looked at through one of its instances.
        let instance = name.replace("@.", "@home.");
        copies.push(to.join(instance));
    }
    copies
}

#[test]
fn systemd_finds_nothing_to_complain_of_in_the_units() {
    let directory = tempfile::tempdir().unwrap();
    let copies = copy_units(directory.path());
    assert!(copies.len() >= 8, "{copies:?}");
    let verify = |what: &str| {
        let output = succeeds(
            Command::new("systemd-analyze")
                .args(["verify", "--man=no", "--recursive-errors=no"])
                .args(&copies),
        );
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.is_empty(), "{what}: {said}");
    };
    verify("as they are");
    for kind in ["exim", "relay"] {
        for service in ["turnabout-serve", "turnabout-fetch"] {
            let shipped = contrib(&format!("systemd/{service}.service.d/{kind}.conf"));
            let place = directory.path().join(format!("{service}.service.d"));
            fs::create_dir_all(&place).unwrap();
            if shipped.exists() {
                fs::copy(&shipped, place.join("drop-in.conf")).unwrap();
            }
        }
        verify(kind);
    }
}

/// A complaint is seen: otherwise the test above shows nothing.
#[test]
fn systemd_does_complain_of_a_unit_that_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("wrong.service");
    fs::write(
        &unit,
        "[Service]\nExecStart=/nonexistent\nKilMode=process\n",
    )
    .unwrap();
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&unit)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("KilMode"), "{said}");
}

#[test]
fn the_services_leave_what_delivers_alone_and_have_time_to_stop() {
    let stop_time = match keys::LIMIT_STOP.fallback {
        keys::Fallback::Value(value) => value.trim_matches('"'),
        ref other => panic!("{other:?}"),
    };
    let stop_time = humantime::parse_duration(stop_time).unwrap();
    for (name, unit) in units() {
        if !name.ends_with(".service") {
            continue;
        }
        assert_eq!(settings(&unit, "KillMode"), ["process"], "{name}");
        let patience = humantime::parse_duration(settings(&unit, "TimeoutStopSec")[0]).unwrap();
        assert!(patience > stop_time, "{name}");
    }
}

#[test]
fn the_sockets_are_the_ports_that_are_the_default() {
    let listen = match keys::SERVE_LISTEN.fallback {
        keys::Fallback::Value(value) => value,
        ref other => panic!("{other:?}"),
    };
    for name in ["turnabout-serve.socket", "turnabout.socket"] {
        let unit = &units()[name];
        for address in settings(unit, "ListenStream") {
            assert!(listen.contains(&format!("\"{address}\"")), "{name}");
        }
        assert_eq!(settings(unit, "ListenStream").len(), 2, "{name}");
    }
}

/// Every command line of ours in the files for init systems, and where it stands.
fn command_lines() -> Vec<(String, Vec<String>)> {
    let mut lines = Vec::new();
    let mut add = |place: &str, words: &[&str]| {
        let mut words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        assert_eq!(words[0].rsplit('/').next(), Some("turnabout"), "{place}");
        words[0] = "turnabout".to_owned();
        lines.push((place.to_owned(), words));
    };
    for (name, unit) in units() {
        for command in settings(&unit, "ExecStart") {
            // Root's rights are given up by the program itself.
            let command = command.trim_start_matches('!');
            assert!(command.starts_with(INSTALLED), "{name}: {command}");
            add(&name, &command.split(' ').collect::<Vec<_>>());
        }
    }
    for line in read("inetd/inetd.conf").lines() {
        let line = line.strip_prefix("#366").unwrap_or(line);
        if line.starts_with("# ") {
            continue;
        }
        let (_, command) = line.split_once(INSTALLED).expect("our program");
        add(
            "inetd.conf",
            &command.split_whitespace().collect::<Vec<_>>(),
        );
    }
    let xinetd = read("inetd/xinetd");
    let value = |key: &str| {
        let line = xinetd.lines().find(|line| line.trim().starts_with(key));
        line.unwrap().split_once(" = ").unwrap().1
    };
    let arguments = value("server_args").split(' ');
    let words: Vec<&str> = [value("server ")].into_iter().chain(arguments).collect();
    add("xinetd", &words);
    let tcpserver = read("inetd/tcpserver");
    let (_, arguments) = tcpserver.split_once(INSTALLED).unwrap();
    let words: Vec<&str> = [INSTALLED]
        .into_iter()
        .chain(arguments.split_whitespace())
        .collect();
    add("tcpserver", &words);
    let cron = read("cron/turnabout-fetch");
    let (_, command) = cron.split_once("$(").unwrap();
    let (command, _) = command.split_once(" 2>&1)").unwrap();
    add("cron", &command.split(' ').collect::<Vec<_>>());
    lines
}

#[test]
fn every_command_line_in_the_files_for_init_systems_parses() {
    let lines = command_lines();
    assert!(lines.len() >= 11, "{lines:?}");
    for (place, words) in lines {
        if let Err(error) = Cli::try_parse_from(&words) {
            panic!("{place}: {words:?}\n{error}");
        }
    }
}

/// Without the column for the user it is a line as crontab(1) checks it.
#[test]
fn cron_takes_the_line_for_fetching() {
    let directory = tempfile::tempdir().unwrap();
    let table = directory.path().join("table");
    let text = read("cron/turnabout-fetch");
    assert_eq!(text.matches("  postfix  ").count(), 1);
    fs::write(&table, text.replace("  postfix  ", "  ")).unwrap();
    succeeds(Command::new("crontab").arg("-n").arg(&table));
    fs::write(&table, text).unwrap();
    fs::write(&table, "*/10 * * *  turnabout\n").unwrap();
    let refused = Command::new("crontab").arg("-n").arg(&table).output();
    assert!(
        !refused.unwrap().status.success(),
        "crontab -n looks at nothing"
    );
}

#[test]
fn the_example_loads_and_so_does_each_setting_that_is_switched_off_in_it() {
    let text = read("turnabout.toml.example");
    let load = |what: &str, text: &str| {
        if let Err(error) = config::parse(Path::new("turnabout.toml.example"), &named(text)) {
            panic!("{what}: {error}");
        }
    };
    load("as it is", &text);
    let lines: Vec<&str> = text.lines().collect();
    let is_off = |line: &str| {
        let name = line.strip_prefix('#').unwrap_or_default();
        name.starts_with(|c: char| c.is_ascii_lowercase()) && name.contains(" = ")
    };
    let mut tried = 0;
    let mut at = 0;
    while at < lines.len() {
        let end = at + lines[at..].iter().take_while(|line| is_off(line)).count();
        if end == at {
            at += 1;
            continue;
        }
        let mut changed: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        for line in &mut changed[at..end] {
            line.remove(0);
        }
        // "# Or ..." stands between two settings of which one is given.
        if lines[at - 1].starts_with("# Or ") {
            changed[at - 2].clear();
        }
        load(&changed[at..end].join("\n"), &changed.join("\n"));
        tried += end - at;
        at = end;
    }
    assert!(tried >= 20, "only {tried} settings");
}

/// The user and the directories, as the two programs make them in an empty tree.
#[test]
fn the_user_its_group_and_the_directories_are_made() {
    let root = tempfile::tempdir().unwrap();
    let etc = root.path().join("etc");
    fs::create_dir(&etc).unwrap();
    fs::write(etc.join("passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    fs::write(etc.join("group"), "root:x:0:\n").unwrap();
    succeeds(
        Command::new("systemd-sysusers")
            .arg("--root")
            .arg(root.path())
            .arg(contrib("sysusers.d/turnabout.conf")),
    );
    let passwd = fs::read_to_string(etc.join("passwd")).unwrap();
    let user = passwd
        .lines()
        .find(|line| line.starts_with("turnabout:"))
        .unwrap();
    assert!(user.ends_with(":/usr/sbin/nologin"), "{user}");
    let group = fs::read_to_string(etc.join("group")).unwrap();
    let group = group
        .lines()
        .find_map(|line| line.strip_prefix("turnabout:x:"))
        .unwrap();
    let number: u32 = group.trim_end_matches(':').parse().unwrap();
    succeeds(
        Command::new("systemd-tmpfiles")
            .args(["--create", "--root"])
            .arg(root.path())
            .arg(contrib("tmpfiles.d/turnabout.conf")),
    );
    for (made, mode) in [("run/turnabout", 0o2755), ("var/lib/turnabout", 0o2775)] {
        let made = fs::metadata(root.path().join(made)).unwrap();
        assert_eq!(made.permissions().mode() & 0o7777, mode);
        assert_eq!((made.uid(), made.gid()), (0, number));
    }
}

/// Debian keeps Exim's configuration in pieces; ours are those of the fragment for any Exim.
#[test]
fn the_pieces_for_debians_exim_are_those_of_the_fragments() {
    let fragment = read("exim/provider.conf");
    let pieces = [
        ("main section", "main/00_turnabout"),
        ("begin routers", "router/050_turnabout"),
        ("begin transports", "transport/50_turnabout"),
        ("begin retry", "retry/20_turnabout"),
    ];
    for (head, file) in pieces {
        let (_, piece) = fragment.split_once(&format!("# --- {head}")).unwrap();
        let (_, piece) = piece.split_once('\n').unwrap();
        let piece = piece.split("\n# --- ").next().unwrap();
        let shipped = read(&format!("exim/debian-provider/{file}"));
        assert_eq!(shipped.trim_end(), piece.trim_end(), "{file}");
    }
    let customer = read("exim/customer.conf");
    let shipped = read("exim/debian-customer/main/00_turnabout");
    // Which of two names Debian's configuration wants is asked there (.ifdef).
    for line in shipped.lines().filter(|line| !line.starts_with(['#', '.'])) {
        let line = line.trim_start_matches("MAIN_TLS_ADVERTISE_HOSTS");
        assert!(customer.contains(line), "{line}");
    }
}
