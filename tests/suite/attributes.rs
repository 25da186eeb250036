//! Postfix's attribute lists, written and read back.

use proptest::prelude::*;
use turnabout::handoff::attributes::{AttributeError, LIST_LIMIT, Reader, VALUE_LIMIT, encode};

type Pairs = Vec<(String, String)>;

fn read(bytes: &[u8]) -> Result<(usize, Option<Pairs>), AttributeError> {
    let (taken, list) = Reader::new().feed(bytes)?;
    let pairs = list.map(|list| {
        list.iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    });
    Ok((taken, pairs))
}

#[test]
fn a_list_is_names_and_values_each_ended_by_a_nul_and_one_nul_more() {
    let list = encode(&[
        ("request", "find_dest"),
        ("label", "odmr\n[127.77.0.1]:2525\n"),
    ]);
    assert_eq!(
        list,
        b"request\0find_dest\0label\0odmr\n[127.77.0.1]:2525\n\0\0"
    );
    assert_eq!(encode(&[("dummy", "")]), b"dummy\0\0\0");
}

#[test]
fn a_name_may_come_twice_and_the_first_is_found() {
    let (_, list) = Reader::new()
        .feed(b"status\x000\0property\0one\0property\0two\0\0")
        .unwrap();
    let list = list.unwrap();
    assert_eq!(list.get("property"), Some("one"));
    assert_eq!(list.iter().count(), 3);
    assert_eq!(list.get("label"), None);
}

#[test]
fn nothing_is_taken_beyond_the_end_of_a_list() {
    let (taken, list) = read(b"a\0b\0\0rest").unwrap();
    assert_eq!((taken, list.unwrap().len()), (5, 1));
}

#[test]
fn a_nul_in_a_value_or_an_empty_name_cannot_end_the_list_early() {
    let list = encode(&[
        ("label", "a\0b"),
        ("", "lost"),
        ("\0", "lost"),
        ("status", "0"),
    ]);
    assert_eq!(list, b"label\0ab\0status\x000\0\0");
}

#[test]
fn a_long_value_and_an_endless_list_are_refused() {
    let long = vec![b'a'; VALUE_LIMIT + 1];
    assert_eq!(read(&long), Err(AttributeError::TooLong));
    let endless = b"a\0b\0".repeat(LIST_LIMIT);
    assert_eq!(read(&endless), Err(AttributeError::TooLong));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_in_bounded_memory(bytes: Vec<u8>) {
        let mut reader = Reader::new();
        let mut rest = bytes.as_slice();
        while let Ok((taken, Some(_))) = reader.feed(rest) {
            prop_assert!(taken > 0);
            rest = &rest[taken..];
            if rest.is_empty() { break }
        }
    }

    #[test]
    fn what_is_written_is_read_back_in_every_cut(
        pairs in prop::collection::vec(("[a-z_]{1,12}", "[^\0]{0,40}"), 0..8),
        cut in 0_usize..200,
    ) {
        let slices: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let list = encode(&slices);
        let (head, tail) = list.split_at(cut.min(list.len()));
        let mut reader = Reader::new();
        let (taken, early) = reader.feed(head).unwrap();
        let read = match early {
            Some(read) => { prop_assert_eq!(taken, list.len()); read }
            None => reader.feed(tail).unwrap().1.unwrap(),
        };
        let read: Vec<(String, String)> = read.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        prop_assert_eq!(read, pairs);
    }
}
