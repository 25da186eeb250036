//! A room uses only what stands below it; the table is in the documentation of `src/lib.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_room_uses_only_what_stands_below_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = fs::read_to_string(source.join("lib.rs")).unwrap();
    let rows = rows(&lib);
    for module in lib.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let name = module.trim_end_matches(';');
        assert!(
            rows.contains_key(name),
            "{name} is not in the table of layers"
        );
    }
    let mut broken = Vec::new();
    for file in files(&source) {
        let Some(room) = room(&source, &file) else {
            continue;
        };
        let text = fs::read_to_string(&file).unwrap();
        for (line, used) in uses(&text) {
            // Also catches what is no room at all, such as `use crate::{a, b}`, which hides from this test.
            let below = rows.contains_key(&used) && rows.get(&used) < rows.get(&room);
            if used != room && !below {
                broken.push(format!("{}:{line}: {room} uses {used}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn unsafe_code_stands_in_one_file_and_is_allowed_in_one_place() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files_with, mut allowed) = (Vec::new(), 0);
    for file in files(&source) {
        let text = fs::read_to_string(&file).unwrap();
        let code = || {
            text.lines()
                .map(|line| line.split("//").next().unwrap_or_default())
        };
        allowed += code().filter(|line| line.trim() == "unsafe_code,").count();
        if code().any(|line| line.contains("unsafe {") || line.contains("unsafe fn")) {
            files_with.push(file.strip_prefix(&source).unwrap().to_owned());
        }
    }
    assert_eq!(files_with, [Path::new("wire/close_notify.rs")]);
    assert_eq!(allowed, 1);
    let lib = fs::read_to_string(source.join("lib.rs")).unwrap();
    assert!(lib.contains("#![deny(unsafe_code)]"));
}

/// `5  cli` ... `0  smtp   sasl` in the documentation of the crate.
fn rows(lib: &str) -> BTreeMap<String, u32> {
    let row = |line: &str| -> Option<Vec<(String, u32)>> {
        let mut words = line.strip_prefix("//! ")?.split_whitespace();
        let row: u32 = words.next()?.parse().ok()?;
        Some(words.map(|word| (word.to_owned(), row)).collect())
    };
    let rows: BTreeMap<String, u32> = lib.lines().filter_map(row).flatten().collect();
    assert!(rows.len() >= 10, "{rows:?}");
    rows
}

/// The top module a file belongs to; `main.rs` and `lib.rs` belong to none.
fn room(source: &Path, file: &Path) -> Option<String> {
    let inside = file.strip_prefix(source).unwrap();
    let first = inside.iter().next()?.to_str()?;
    let name = first.trim_end_matches(".rs");
    (!matches!(name, "main" | "lib")).then(|| name.to_owned())
}

/// Line number and top module of every `crate::`, outside comments.
fn uses(text: &str) -> impl Iterator<Item = (usize, String)> + '_ {
    text.lines().enumerate().flat_map(|(index, line)| {
        let code = line.split("//").next().unwrap_or_default();
        code.split("crate::").skip(1).map(move |rest| {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            (index + 1, rest[..end.unwrap_or(rest.len())].to_owned())
        })
    })
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            all.push(path);
        }
    }
    all
}
