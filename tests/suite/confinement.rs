//! The confinement that is shipped: units as systemd judges them, and a profile that AppArmor reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const UNITS: [&str; 2] = ["turnabout-serve.service", "turnabout@.service"];
const FETCH: [&str; 2] = ["turnabout-fetch.service", "turnabout-fetch@.service"];

fn contrib(inside: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("contrib")
        .join(inside)
}

fn unit(name: &str) -> String {
    fs::read_to_string(contrib("systemd").join(name)).unwrap()
}

/// The lines between the two that mark them.
fn confinement(name: &str) -> Vec<String> {
    let text = unit(name);
    let lines = text
        .lines()
        .skip_while(|line| !line.starts_with("# Confinement"));
    let inside: Vec<String> = lines
        .take_while(|line| *line != "# Confinement: end")
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    assert!(inside.len() > 20, "{inside:?}");
    inside
}

/// What `systemd-analyze security` says of a unit alone.
fn exposure(name: &str, text: &str) -> f64 {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(name);
    fs::write(&file, text).unwrap();
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(&file)
        .output()
        .expect("systemd-analyze (contrib/test installs it)");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said
        .lines()
        .find(|line| line.contains("Overall exposure level"));
    let line = line.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)));
    let mut words = line.split(' ').skip_while(|word| !word.ends_with(':'));
    words.nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_exposure_of_the_units_is_below_two() {
    for name in UNITS.into_iter().chain(FETCH) {
        let text = unit(name);
        let exposed = exposure(name, &text);
        assert!(exposed < 2.0, "{name}: {exposed}");
        // It is these lines that count.
        let open: Vec<&str> = text
            .lines()
            .filter(|line| !confinement(name).contains(&(*line).to_owned()))
            .collect();
        assert!(exposure(name, &open.join("\n")) > 9.0);
    }
}

#[test]
fn a_process_for_one_connection_is_confined_as_the_service_is() {
    assert_eq!(confinement(UNITS[0]), confinement(UNITS[1]));
    assert_eq!(confinement(FETCH[0]), confinement(FETCH[1]));
}

/// A program that turnabout starts has its rights from the unit; a set-user-ID bit is nothing there.
#[test]
fn the_units_give_set_user_id_and_roots_rights_to_exim_alone() {
    // A process that systemd starts as another user than root has either filters of system calls or set-user-ID programs,
    // before systemd 255: the second drop-in leaves less.
    for (name, exim, bound) in [
        (UNITS[0], "turnabout-serve.service.d/exim.conf", 5.0),
        (FETCH[0], "turnabout-fetch.service.d/exim.conf", 7.0),
    ] {
        let text = unit(name);
        assert!(text.contains("\nNoNewPrivileges=yes\n"), "{name}");
        assert!(!text.contains("DAC_OVERRIDE"), "{name}");
        let drop_in = unit(exim);
        assert!(drop_in.contains("\nNoNewPrivileges=no\n"), "{exim}");
        assert!(drop_in.contains("\nUser=Debian-exim\n"), "{exim}");
        let more = format!("{text}\n{drop_in}");
        assert!(
            exposure(name, &more) < bound,
            "{exim}: {}",
            exposure(name, &more)
        );
    }
}

#[test]
fn apparmor_reads_the_profile_and_the_units_name_it() {
    let output = Command::new("apparmor_parser")
        .args(["--skip-kernel-load", "--skip-cache", "--names"])
        .arg(contrib("apparmor/turnabout-serve"))
        .output()
        .expect("apparmor_parser (contrib/test installs it)");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(said.trim(), "turnabout-serve");
    for name in UNITS {
        assert!(unit(name).contains("\nAppArmorProfile=-turnabout-serve\n"));
    }
}
