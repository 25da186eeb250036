//! Rules and tests, held against each other: turnabout-conformance(7) has every rule, and every rule
//! has a test that names it or a reason why not.
//!
//! A test names its rules in a line of documentation, `Rules: ` followed by their numbers; a
//! transcript does the same in its head.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = "man/turnabout-conformance.7";
const WITHOUT: &str = "RULES WITHOUT A TEST";

#[test]
fn every_rule_has_a_row_and_its_number_stands_once() {
    let page = Page::read();
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    for (letter, count) in [('R', 32), ('B', 81), ('C', 16), ('X', 8)] {
        wanted.extend((1..=count).map(|number| format!("{letter}{number}")));
    }
    assert_eq!(page.rules, wanted);
}

#[test]
fn every_rule_that_a_test_names_is_in_the_page() {
    let page = Page::read();
    for (rule, places) in named() {
        assert!(
            page.rules.contains(&rule),
            "{rule} is not in {PAGE}, but in {places:?}"
        );
    }
}

#[test]
fn every_rule_is_named_by_a_test_or_has_its_reason() {
    let page = Page::read();
    let named = named();
    // The places where the texts disagree are settled by rules of the other sections.
    let missing: Vec<&String> = page
        .rules
        .iter()
        .filter(|rule| !rule.starts_with('X'))
        .filter(|rule| !named.contains_key(*rule) && !page.reasons.contains_key(*rule))
        .collect();
    assert!(
        missing.is_empty(),
        "rules without test and without reason: {missing:?}"
    );
    let both: Vec<&String> = page
        .reasons
        .keys()
        .filter(|rule| named.contains_key(*rule))
        .collect();
    assert!(
        both.is_empty(),
        "rules with a test that the page says have none: {both:?}"
    );
    for (rule, reason) in &page.reasons {
        assert!(page.rules.contains(rule), "{rule} has a reason, but no row");
        assert!(!reason.trim().is_empty(), "{rule} has no reason");
    }
}

/// Rules: B22, B33
#[test]
fn the_codes_521_and_538_are_nowhere_sent() {
    for file in files(&root().join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        for line in text.lines() {
            let code = line.split("//").next().unwrap_or_default();
            for reply in ["Reply::enhanced(5", "Reply::plain(5"] {
                for rest in code.split(reply).skip(1) {
                    let sent = rest.get(..2).unwrap_or_default();
                    assert!(!["21", "38"].contains(&sent), "{}: {line}", file.display());
                }
            }
        }
    }
}

struct Page {
    rules: BTreeSet<String>,
    /// Rules without a test, and why.
    reasons: BTreeMap<String, String>,
}

impl Page {
    fn read() -> Page {
        let text = fs::read_to_string(root().join(PAGE)).unwrap();
        let mut page = Page {
            rules: BTreeSet::new(),
            reasons: BTreeMap::new(),
        };
        let mut section = "";
        let mut item = String::new();
        for line in text.lines() {
            if let Some(title) = line.strip_prefix(".Sh ") {
                section = title;
                item.clear();
            } else if let Some(rule) = line.strip_prefix(".It ").filter(|rule| is_rule(rule)) {
                item = rule.to_owned();
                let new = if section == WITHOUT {
                    page.reasons.insert(item.clone(), String::new()).is_none()
                } else {
                    page.rules.insert(item.clone())
                };
                assert!(new, "{rule} stands twice in {section}");
            } else if let Some(reason) = page.reasons.get_mut(&item)
                && section == WITHOUT
                && !line.starts_with('.')
            {
                reason.push_str(line);
            }
        }
        page
    }
}

/// Every rule that tests name, with the files that do.
fn named() -> BTreeMap<String, BTreeSet<PathBuf>> {
    let mut all: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for file in files(&root().join("tests"))
        .into_iter()
        .chain(files(&root().join("src")))
    {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        for line in text.lines() {
            let line = line.trim_start_matches(['/', '!', '#', ' ']);
            let Some(list) = line.strip_prefix("Rules: ") else {
                continue;
            };
            for rule in list.split(|c: char| !c.is_ascii_alphanumeric()) {
                if is_rule(rule) {
                    all.entry(rule.to_owned()).or_default().insert(file.clone());
                }
            }
        }
    }
    all
}

fn is_rule(word: &str) -> bool {
    word.strip_prefix(['R', 'B', 'C', 'X'])
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all
}
