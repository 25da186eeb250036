//! The accounts file: opened only when nobody else can read it, read strictly.

use super::certificate::Named;
use super::{AccountsError, Credential};
use crate::config::suggest::suggest;
use crate::sasl::prepare;
use crate::smtp::network::Network;
use crate::smtp::next_hop::NextHop;
use crate::smtp::{Domain, DomainList};
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::str::FromStr;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

/// Largest accounts file in octets: tens of thousands of accounts.
const LARGEST: u64 = 32 << 20;

/// One account as it stands in the file, with the offsets that later complaints need.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) at: usize,
    pub(super) user: String,
    pub(super) credential: Option<Credential>,
    /// With their offsets; not empty where there is no credential.
    pub(super) certificates: Vec<(usize, Named)>,
    pub(super) domains: DomainList,
    pub(super) next_hop: NextHop,
    /// Next hops of single domains; each domain is one of `domains`.
    pub(super) next_hops: Vec<(usize, Domain, NextHop)>,
    pub(super) sources: Vec<Network>,
}

/// The file's text with its name, to turn an offset into a place.
#[derive(Clone, Copy)]
pub(super) struct Source<'t> {
    pub(super) path: &'t Path,
    pub(super) text: &'t str,
}

impl Source<'_> {
    pub(super) fn error(
        self,
        at: usize,
        cause: impl Into<String>,
        advice: impl Into<String>,
    ) -> AccountsError {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count().saturating_add(1);
        let last = before.rsplit('\n').next().unwrap_or_default();
        let column = last.chars().count().saturating_add(1);
        AccountsError::new(self.path, Some((line, column)), cause, advice)
    }
}

/// Reads the text, if its mode keeps it from others.
///
/// Others must not read or write it, the group must not write it: 0600, or 0640 where the service runs as
/// another user than the one who owns the file.
pub(crate) fn read(path: &Path, shown: &Path) -> Result<Zeroizing<String>, AccountsError> {
    let failed = |error: std::io::Error| {
        let advice = match error.kind() {
            std::io::ErrorKind::NotFound => "make it with: turnabout passwd",
            std::io::ErrorKind::PermissionDenied => {
                "let the user that turnabout runs as own it, or its group read it"
            }
            _ => "it must be a text file in TOML",
        };
        AccountsError::new(shown, None, error.to_string(), advice)
    };
    // Not blocking, so that a FIFO of this name is found out instead of waited for.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
        .open(path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let refused = |cause: &str, advice| AccountsError::new(shown, None, cause, advice);
    if !metadata.is_file() {
        return Err(refused("it is not a file", "name a file"));
    }
    if metadata.mode() & 0o007 != 0 {
        return Err(refused(
            "others may read or write it, and it holds passwords",
            "chmod o= on it; change the passwords if somebody may have read them",
        ));
    }
    if metadata.mode() & 0o020 != 0 {
        return Err(refused("its group may write it", "chmod g-w on it"));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(LARGEST)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 >= LARGEST {
        return Err(refused(
            "it is larger than 32 MiB",
            "name the accounts file",
        ));
    }
    Ok(text)
}

const KEYS: [&str; 7] = [
    "user",
    "credential",
    "certificates",
    "domains",
    "next_hop",
    "next_hops",
    "sources",
];

/// Reads the entries.
pub(super) fn entries(source: Source<'_>) -> Result<Vec<Entry>, AccountsError> {
    let root = DeTable::parse(source.text).map_err(|error| {
        // Only the message: the error's full text repeats the line, and a password with it.
        let at = error.span().map_or(0, |span| span.start);
        source.error(at, error.message(), "the file is written in TOML")
    })?;
    known(source, root.get_ref(), &["account"])?;
    let Some(accounts) = root.get_ref().get("account") else {
        return Ok(Vec::new());
    };
    let advice = "begin each account with a line [[account]]";
    let list = accounts
        .get_ref()
        .as_array()
        .ok_or_else(|| source.error(accounts.span().start, "account is not a list", advice))?;
    list.iter()
        .map(|account| {
            let at = account.span().start;
            let table = account
                .get_ref()
                .as_table()
                .ok_or_else(|| source.error(at, "an account is not a table", advice))?;
            entry(source, at, table)
        })
        .collect()
}

fn entry(source: Source<'_>, at: usize, table: &DeTable<'_>) -> Result<Entry, AccountsError> {
    known(source, table, &KEYS)?;
    let user = text(source, needed(source, at, table, "user")?)?;
    let user = prepare("user name", user.1)
        .map_err(|error| source.error(user.0, error.to_string(), "write 1 to 255 octets"))?;
    let certificates = table.get("certificates").map_or(Ok(Vec::new()), |value| {
        placed_list(
            source,
            value,
            "sha256: and 64 hexadecimal digits, or dns: and a name",
        )
    })?;
    let credential = match table.get("credential") {
        Some(value) => Some(credential(source, value)?),
        None if certificates.is_empty() => {
            let advice = "make it with: turnabout passwd; or name the customer's certificates";
            return Err(source.error(at, "this account has no credential", advice));
        }
        None => None,
    };
    let names = needed(source, at, table, "domains")?;
    let domains = parsed_list(source, names, "a domain like example.org")?;
    let domains = DomainList::try_new(domains).ok_or_else(|| {
        let advice = "name at least one, or remove the account";
        source.error(names.span().start, "the account has no domains", advice)
    })?;
    let hop = "an address in brackets like [127.77.0.1]:24";
    let next_hop = parsed(source, needed(source, at, table, "next_hop")?, hop)?;
    let mut next_hops = Vec::new();
    if let Some(value) = table.get("next_hops") {
        let advice =
            "write it as [account.next_hops] with lines like \"example.org\" = \"[127.77.0.2]:24\"";
        let table = value
            .get_ref()
            .as_table()
            .ok_or_else(|| source.error(value.span().start, "next_hops is not a table", advice))?;
        for (name, value) in table {
            let at = name.span().start;
            let domain: Domain = name
                .get_ref()
                .parse()
                .map_err(|error| source.error(at, format!("{error}"), advice))?;
            if !domains.contains(&domain) {
                let cause = format!("{domain} is not one of the account's domains");
                return Err(source.error(at, cause, "add it to domains"));
            }
            next_hops.push((value.span().start, domain, parsed(source, value, hop)?));
        }
    }
    let sources = table.get("sources").map_or(Ok(Vec::new()), |value| {
        parsed_list(source, value, "a network like 192.0.2.0/24")
    })?;
    Ok(Entry {
        at,
        user: user.expose().to_owned(),
        credential,
        certificates,
        domains,
        next_hop,
        next_hops,
        sources,
    })
}

fn credential(source: Source<'_>, value: &Value<'_>) -> Result<Credential, AccountsError> {
    let (at, text) = text(source, value)?;
    Credential::parse(text)
        .map_err(|error| source.error(at, error.to_string(), "make it with: turnabout passwd"))
}

type Value<'i> = Spanned<DeValue<'i>>;

/// Refuses a key that is not known: an ignored key is a rule somebody believes in.
fn known(source: Source<'_>, table: &DeTable<'_>, keys: &[&str]) -> Result<(), AccountsError> {
    let mut strange: Vec<_> = table
        .keys()
        .filter(|key| !keys.contains(&key.get_ref().as_ref()))
        .collect();
    strange.sort_by_key(|key| key.span().start);
    let Some(key) = strange.first() else {
        return Ok(());
    };
    let name = key.get_ref().as_ref();
    let advice = suggest(name, keys.iter().copied()).map_or_else(
        || format!("known here: {}", keys.join(", ")),
        |nearest| format!("did you mean {nearest:?}?"),
    );
    Err(source.error(key.span().start, format!("unknown key {name:?}"), advice))
}

fn needed<'t, 'i>(
    source: Source<'_>,
    at: usize,
    table: &'t DeTable<'i>,
    key: &str,
) -> Result<&'t Value<'i>, AccountsError> {
    table.get(key).ok_or_else(|| {
        let advice = "every account has user, domains and next_hop";
        source.error(at, format!("this account has no {key}"), advice)
    })
}

/// What the operator wrote.
fn noun(value: &Value<'_>) -> &'static str {
    match value.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn text<'t>(source: Source<'_>, value: &'t Value<'_>) -> Result<(usize, &'t str), AccountsError> {
    let at = value.span().start;
    let text = value.get_ref().as_str().ok_or_else(|| {
        let cause = format!("{} where a text belongs", noun(value));
        source.error(at, cause, "write it between quotes")
    })?;
    Ok((at, text))
}

fn parsed<T: FromStr<Err: Display>>(
    source: Source<'_>,
    value: &Value<'_>,
    example: &str,
) -> Result<T, AccountsError> {
    let (at, text) = text(source, value)?;
    text.parse()
        .map_err(|error: T::Err| source.error(at, error.to_string(), format!("write {example}")))
}

fn parsed_list<T: FromStr<Err: Display>>(
    source: Source<'_>,
    value: &Value<'_>,
    example: &str,
) -> Result<Vec<T>, AccountsError> {
    let list = placed_list(source, value, example)?;
    Ok(list.into_iter().map(|(_, item)| item).collect())
}

/// A list, each item with its offset.
fn placed_list<T: FromStr<Err: Display>>(
    source: Source<'_>,
    value: &Value<'_>,
    example: &str,
) -> Result<Vec<(usize, T)>, AccountsError> {
    let list = value.get_ref().as_array().ok_or_else(|| {
        let cause = format!("{} where a list belongs", noun(value));
        source.error(
            value.span().start,
            cause,
            "write it between square brackets",
        )
    })?;
    list.iter()
        .map(|value| Ok((value.span().start, parsed(source, value, example)?)))
        .collect()
}
