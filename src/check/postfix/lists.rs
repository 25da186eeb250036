//! Postfix's lists of domains: names, files and tables, read as Postfix itself does.

use std::collections::{HashMap, HashSet};

use super::Postfix;

/// What became of a question.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// The domains that the list has.
    pub(super) inside: HashSet<String>,
    /// Tables and files of the list that could not be asked, and why.
    pub(super) unknown: Vec<String>,
}

impl Members {
    /// Is it certain that the list does not have this domain?
    pub(super) fn lacks(&self, domain: &str) -> bool {
        !self.inside.contains(domain) && self.unknown.is_empty()
    }
}

/// Which of the domains a list has. `parents`: an entry stands for its subdomains, too.
pub(super) async fn members(
    postfix: &Postfix,
    list: &str,
    domains: &[String],
    parents: bool,
) -> Members {
    let mut members = Members::default();
    let mut decided: HashMap<&str, bool> = HashMap::new();
    for item in words(list) {
        let (wanted, item) = match item.strip_prefix('!') {
            Some(rest) => (false, rest),
            None => (true, item.as_str()),
        };
        let open: Vec<&String> = domains
            .iter()
            .filter(|domain| !decided.contains_key(domain.as_str()))
            .collect();
        if item.starts_with('/') {
            match std::fs::read_to_string(item) {
                Ok(text) => {
                    let entries: Vec<String> = words(&uncommented(&text));
                    for domain in open {
                        if entries.iter().any(|entry| matches(entry, domain, parents)) {
                            decided.insert(domain, wanted);
                        }
                    }
                }
                Err(error) => members.unknown.push(format!("{item}: {error}")),
            }
        } else if is_table(item) {
            let keys: Vec<String> = open
                .iter()
                .flat_map(|domain| keys(domain, parents))
                .collect();
            match postfix.lookup(item, &keys).await {
                Ok(found) => {
                    for domain in open {
                        if keys_of(domain, parents, &found) {
                            decided.insert(domain, wanted);
                        }
                    }
                }
                Err(error) => members.unknown.push(format!("{item}: {error}")),
            }
        } else {
            for domain in open {
                if matches(item, domain, parents) {
                    decided.insert(domain, wanted);
                }
            }
        }
    }
    let inside = decided.into_iter().filter(|(_, inside)| *inside);
    members.inside = inside.map(|(domain, _)| domain.to_owned()).collect();
    members
}

/// The items of a list; blanks and commas inside braces belong to an item.
pub(in crate::check) fn words(list: &str) -> Vec<String> {
    let mut depth = 0_usize;
    list.split(|c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && (c == ',' || c.is_ascii_whitespace())
    })
    .filter(|word| !word.is_empty())
    .map(str::to_owned)
    .collect()
}

/// `type:table`, and no address or domain.
pub(super) fn is_table(item: &str) -> bool {
    item.split_once(':').is_some_and(|(kind, _)| {
        !kind.is_empty() && kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

fn uncommented(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    lines.collect::<Vec<_>>().join("\n")
}

/// The domain, and the names above it where they count.
fn keys(domain: &str, parents: bool) -> Vec<String> {
    let mut all = vec![domain.to_owned()];
    let mut rest = domain;
    while let Some((_, above)) = rest.split_once('.') {
        all.push(if parents {
            above.to_owned()
        } else {
            format!(".{above}")
        });
        rest = above;
    }
    all
}

fn keys_of(domain: &str, parents: bool, found: &HashMap<String, String>) -> bool {
    keys(domain, parents)
        .iter()
        .any(|key| found.contains_key(key))
}

fn matches(entry: &str, domain: &str, parents: bool) -> bool {
    let entry = entry.to_ascii_lowercase();
    keys(domain, parents).contains(&entry) || entry.starts_with('.') && domain.ends_with(&entry)
}

/// A list with more items, each once.
pub(in crate::check) fn joined(list: &str, more: &str) -> String {
    let mut all: Vec<String> = Vec::new();
    for item in words(list).into_iter().chain(words(more)) {
        if !all.contains(&item) {
            all.push(item);
        }
    }
    all.join(", ")
}
