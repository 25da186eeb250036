//! The change itself, on the text: one account's lines, and nothing else.

use super::{Args, Done, PasswdError};
use crate::accounts::{Credential, Scheme};
use crate::sasl::{Secret, prepare};
use crate::smtp::{Domain, DomainList};
use std::path::Path;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, Value};
use zeroize::Zeroizing;

/// Makes the change; `user` is prepared. Without a password only whether it can be made is looked at.
pub(super) fn edit(
    text: &str,
    args: &Args,
    path: &Path,
    user: &str,
    password: Option<&Secret>,
) -> Result<(Zeroizing<String>, Done), PasswdError> {
    let inline = || PasswdError::Inline {
        path: path.to_owned(),
    };
    // The text has been read as accounts before: it is TOML.
    let mut document: DocumentMut = text.parse().map_err(|_| inline())?;
    // In a file of comments only these would otherwise come after the first account.
    let heading = document
        .is_empty()
        .then(|| document.trailing().as_str().unwrap_or_default().to_owned());
    let accounts = document
        .entry("account")
        .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()))
        .as_array_of_tables_mut()
        .ok_or_else(inline)?;
    let index = accounts.iter().position(|table| is_of(table, user));
    let done = match (index, args.delete) {
        (None, true) => return Err(PasswdError::NoSuchAccount(user.to_owned())),
        (Some(index), true) => {
            accounts.remove(index);
            Done::Removed(user.to_owned())
        }
        (Some(index), false) => {
            if let Some(table) = accounts.get_mut(index) {
                change(table, args, password)?;
            }
            Done::Changed(user.to_owned())
        }
        (None, false) => {
            complete(args, user)?;
            let mut table = Table::new();
            set(&mut table, "user", user);
            change(&mut table, args, password)?;
            if let Some(heading) = heading.filter(|heading| !heading.is_empty()) {
                table.decor_mut().set_prefix(format!("{heading}\n"));
                accounts.push(table);
                document.set_trailing("");
            } else {
                accounts.push(table);
            }
            Done::Added(user.to_owned())
        }
    };
    Ok((Zeroizing::new(document.to_string()), done))
}

/// Whether the table is this user's; names are compared prepared, as the service compares them.
fn is_of(table: &Table, user: &str) -> bool {
    let name = table.get("user").and_then(Item::as_str).unwrap_or_default();
    prepare("user name", name).is_ok_and(|name| name.expose() == user)
}

fn complete(args: &Args, user: &str) -> Result<(), PasswdError> {
    let missing = match (args.domains.is_empty(), args.next_hop.is_none()) {
        (true, true) => "--domains and --next-hop",
        (true, false) => "--domains",
        (false, true) => "--next-hop",
        (false, false) => return Ok(()),
    };
    let user = user.to_owned();
    Err(PasswdError::Incomplete { user, missing })
}

fn change(table: &mut Table, args: &Args, password: Option<&Secret>) -> Result<(), PasswdError> {
    if let Some(password) = password {
        // An account keeps its scheme: CRAM-MD5 would be gone if {PLAIN} became another by the way.
        let scheme = args
            .scheme
            .or_else(|| scheme_of(table))
            .unwrap_or(Scheme::ScramSha256);
        set(
            table,
            "credential",
            Credential::make(scheme, password)?.expose(),
        );
    }
    if let Some(domains) = DomainList::try_new(args.domains.clone()) {
        let list: Array = domains.iter().map(Domain::as_str).collect();
        set(table, "domains", list);
    }
    if let Some(next_hop) = &args.next_hop {
        set(table, "next_hop", next_hop.as_str());
    }
    Ok(())
}

fn scheme_of(table: &Table) -> Option<Scheme> {
    let text = table.get("credential")?.as_str()?;
    Credential::parse(text)
        .ok()
        .map(|credential| credential.scheme())
}

/// Sets a value and keeps a comment that stands behind it.
fn set(table: &mut Table, key: &str, new: impl Into<Value>) {
    let mut new = new.into();
    if let Some(old) = table.get(key).and_then(Item::as_value) {
        *new.decor_mut() = old.decor().clone();
    }
    match table.get_mut(key) {
        Some(item) => *item = Item::Value(new),
        None => {
            table.insert(key, Item::Value(new));
        }
    }
}
