//! README: its commands parse, its links lead somewhere, its table of exit codes is the program's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use turnabout::cli::{Cli, Exit};
use turnabout::config;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// The words of a command line as a shell would see them, as far as our documents use one.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    // The rest is for the reader.
    let end = words.iter().position(|word| word == "#");
    words.truncate(end.unwrap_or(words.len()));
    words
}

/// The same configuration on a machine whose own name does not matter.
pub fn named(configuration: &str) -> String {
    let mut lines = configuration.lines().skip_while(|line| *line != "[serve]");
    let Some(_) = lines.next() else {
        return configuration.to_owned();
    };
    let mut own = lines.take_while(|line| !line.starts_with('['));
    if own.any(|line| line.starts_with("hostname = ")) {
        return configuration.to_owned();
    }
    let name = "[serve]\nhostname = \"provider.example.com\"";
    configuration.replacen("[serve]", name, 1)
}

/// Every command line of ours in a text: from `turnabout` at the start of an example's line, a
/// continued line taken whole.
fn commands(text: &str) -> Vec<String> {
    let text = text
        .replace("\\-", "-")
        .replace("\\(aq", "'")
        .replace(" \\e\n", " ");
    text.lines()
        .map(|line| line.trim_start_matches(['#', ' ']))
        .map(|line| line.rsplit(" | ").next().unwrap())
        .filter(|line| {
            let mut words = line.split(' ');
            words.next() == Some("turnabout")
                && words.next().is_some_and(|word| {
                    ["serve", "fetch", "probe", "passwd", "check"].contains(&word)
                })
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_in_an_example_parses() {
    let mut count = 0;
    let mut check = |place: &str, text: &str| {
        for command in commands(text) {
            count += 1;
            if let Err(error) = Cli::try_parse_from(words(&command)) {
                panic!("{place}: {command}\n{error}");
            }
        }
    };
    let examples: String = readme()
        .lines()
        .filter(|line| line.starts_with("    "))
        .map(|line| format!("{line}\n"))
        .collect();
    check("README.md", &examples);
    for entry in fs::read_dir(root().join("man")).unwrap() {
        let path = entry.unwrap().path();
        let page = fs::read_to_string(&path).unwrap();
        for example in page.split(".Bd -literal").skip(1) {
            let (example, _) = example.split_once(".Ed").unwrap();
            check(&path.display().to_string(), example);
        }
    }
    assert!(count >= 12, "only {count} commands found");
}

#[test]
fn every_link_of_the_readme_leads_to_a_file() {
    for link in readme().split("](").skip(1) {
        let (target, _) = link.split_once(')').unwrap();
        assert!(root().join(target).exists(), "{target}");
    }
}

#[test]
fn the_exit_codes_of_the_readme_are_those_of_the_program() {
    let documented: BTreeSet<u8> = readme()
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok())
        .collect();
    let known: BTreeSet<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
    assert_eq!(documented, known);
}

#[test]
fn the_configurations_of_the_readme_load() {
    let text = readme();
    for table in ["[serve]", "[providers.home]"] {
        let head = format!("    {table}\n");
        let examples = text.split(&head).skip(1);
        let mut count = 0;
        for example in examples {
            count += 1;
            let lines = example
                .lines()
                .take_while(|line| !["", "    END"].contains(line));
            let example: String = lines.map(|line| format!("{line}\n")).collect();
            let table = format!("{table}\n{example}").replace("\n    ", "\n");
            config::parse(Path::new("README.md"), &named(&table))
                .unwrap_or_else(|error| panic!("{table}\n{error}"));
        }
        assert!(count > 0, "{table}");
    }
}

/// The pages show by hand what the shipped file does.
#[test]
fn the_module_that_is_loaded_at_the_start_of_the_machine_is_the_one_of_the_pages() {
    let shipped = "contrib/modules-load.d/turnabout.conf";
    let text = fs::read_to_string(root().join(shipped)).unwrap();
    let modules: Vec<&str> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    assert_eq!(modules, ["tls"]);
    for page in ["man/turnabout-serve.8", "man/turnabout-fetch.8"] {
        let page = fs::read_to_string(root().join(page))
            .unwrap()
            .replace("\\-", "-");
        assert!(page.contains(shipped));
        assert!(page.contains("# echo tls > /etc/modules-load.d/turnabout.conf\n# modprobe tls\n"));
    }
}

/// What the pages quote of the shipped files is what stands in them.
#[test]
fn the_services_of_master_cf_in_the_pages_are_those_that_are_shipped() {
    for (page, shipped) in [
        ("turnabout-serve.8", "provider-master.cf"),
        ("turnabout-fetch.8", "customer-master.cf"),
    ] {
        let page = fs::read_to_string(root().join("man").join(page))
            .unwrap()
            .replace("\\-", "-");
        let file = fs::read_to_string(root().join("contrib/postfix").join(shipped)).unwrap();
        let options: Vec<&str> = file
            .lines()
            .filter(|line| line.starts_with("  -o "))
            .collect();
        assert!(options.len() > 5);
        assert!(page.contains(&options.join("\n")), "{shipped}");
    }
    let exim = fs::read_to_string(root().join("contrib/exim/customer.conf")).unwrap();
    let setting = exim
        .lines()
        .find(|line| line.starts_with("tls_advertise_hosts ="))
        .unwrap();
    let page = fs::read_to_string(root().join("man/turnabout-fetch.8")).unwrap();
    assert!(page.contains(setting));
}
