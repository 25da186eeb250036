//! Lines: CRLF and nothing else, bounded, and not one byte too many.

use proptest::prelude::*;
use turnabout::smtp::{Line, LineError, LineReader};

type Read = Result<Vec<u8>, LineError>;

/// Feeds pieces of the given size; gives the lines and what was left of the last one.
fn read_in(bytes: &[u8], piece: usize, limit: usize) -> (Vec<Read>, bool) {
    let mut reader = LineReader::new(limit);
    let mut lines = Vec::new();
    for mut rest in bytes.chunks(piece.max(1)) {
        while !rest.is_empty() {
            let (taken, line) = reader.feed(rest);
            assert!(taken > 0, "no progress");
            rest = &rest[taken..];
            lines.extend(line.map(|line| line.map(|line| line.as_bytes().to_vec())));
        }
    }
    (lines, reader.is_empty())
}

fn read(bytes: &[u8]) -> Vec<Read> {
    read_in(bytes, bytes.len(), 512).0
}

/// Rules: B1
#[test]
fn only_crlf_ends_a_line() {
    assert_eq!(read(b"NOOP\r\n"), [Ok(b"NOOP".to_vec())]);
    assert_eq!(read(b"\r\n"), [Ok(Vec::new())]);
    assert_eq!(read(b"NOOP\n"), []);
    assert_eq!(read(b"NOOP\r"), []);
}

/// Rules: C8
#[test]
fn a_stray_cr_lf_or_nul_loses_the_whole_line_and_is_told_once() {
    assert_eq!(
        read(b"A\nB\nC\r\nNOOP\r\n"),
        [Err(LineError::BareLf), Ok(b"NOOP".to_vec())]
    );
    assert_eq!(
        read(b"A\rB\r\nNOOP\r\n"),
        [Err(LineError::BareCr), Ok(b"NOOP".to_vec())]
    );
    assert_eq!(
        read(b"A\0B\r\nNOOP\r\n"),
        [Err(LineError::Nul), Ok(b"NOOP".to_vec())]
    );
    assert_eq!(
        read(b"A\r\r\nNOOP\r\n"),
        [Err(LineError::BareCr), Ok(b"NOOP".to_vec())]
    );
    assert_eq!(read(b"\n\r\n"), [Err(LineError::BareLf)]);
}

/// Rules: C8
#[test]
fn the_end_of_data_of_a_smuggler_is_no_end_of_line() {
    for end in ["\n.\n", "\n.\r\n", "\r.\r\n", "\r\n\0.\r\n"] {
        let stream = format!("A{end}ATRN\r\n");
        let lines = read(stream.as_bytes());
        assert!(lines.iter().any(Result::is_err), "{end:?} passed unnoticed");
        assert_ne!(lines.first(), Some(&Ok(b"A.".to_vec())));
    }
}

/// Rules: B4, B31, C13
#[test]
fn the_limit_counts_the_line_end() {
    for limit in [512, 12_290] {
        let fits = [vec![b'x'; limit - 2], b"\r\n".to_vec()].concat();
        let long = [vec![b'x'; limit - 1], b"\r\n".to_vec()].concat();
        assert_eq!(read_in(&fits, limit, limit).0, [Ok(vec![b'x'; limit - 2])]);
        assert_eq!(read_in(&long, limit, limit).0, [Err(LineError::TooLong)]);
    }
}

#[test]
fn a_new_limit_holds_for_the_next_line_too() {
    let mut reader = LineReader::new(10);
    reader.set_limit(20);
    let (_, line) = reader.feed(b"0123456789abcdef\r\n");
    assert!(line.unwrap().is_ok());
    reader.set_limit(10);
    let (_, line) = reader.feed(b"0123456789abcdef\r\n");
    assert_eq!(line.unwrap(), Err(LineError::TooLong));
}

/// Rules: C6
#[test]
fn what_follows_a_line_is_left_to_the_caller() {
    let mut reader = LineReader::new(512);
    let (taken, line) = reader.feed(b"ATRN\r\n220 somebody else's words");
    assert_eq!(taken, 6);
    assert_eq!(line.unwrap().unwrap().as_bytes(), b"ATRN");
    assert!(reader.is_empty());
}

#[test]
fn a_line_that_has_begun_is_not_empty() {
    for begun in [&b"A"[..], b"\r", b"\n"] {
        let mut reader = LineReader::new(512);
        assert!(reader.is_empty());
        reader.feed(begun);
        assert!(!reader.is_empty(), "{begun:?}");
    }
}

#[test]
fn a_line_shows_no_content_in_logs() {
    let line = Line::new(b"AUTH PLAIN c2VjcmV0").unwrap();
    assert_eq!(format!("{line:?}"), "Line(19 octets)");
    let mut reader = LineReader::new(512);
    reader.feed(b"hunter2");
    assert!(!format!("{reader:?}").contains("hunter2"));
}

/// Rules: B2
#[test]
fn only_ascii_is_text() {
    assert_eq!(Line::new(b"NOOP").unwrap().as_str(), Some("NOOP"));
    assert_eq!(
        Line::new("EHLO caf\u{e9}".as_bytes()).unwrap().as_str(),
        None
    );
    assert_eq!(Line::new(b"a\nb").unwrap_err(), LineError::BareLf);
}

/// Bytes in which line ends and their parts are frequent.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![
        4 => Just(b'a'),
        2 => Just(b'\r'),
        2 => Just(b'\n'),
        1 => Just(0),
        1 => any::<u8>(),
    ];
    let piece = prop_oneof![
        3 => prop::collection::vec(octet, 0..40),
        2 => Just(b"\r\n".to_vec()),
        1 => (0usize..90).prop_map(|count| vec![b'x'; count]),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// What the reader has to find, said in another way: split at CRLF, look at each part.
fn expected(bytes: &[u8], limit: usize) -> Vec<Read> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let line = &rest[..end];
        rest = &rest[end + 2..];
        let fault = line
            .iter()
            .enumerate()
            .find_map(|(index, octet)| match octet {
                b'\r' => Some(LineError::BareCr),
                b'\n' => Some(LineError::BareLf),
                0 => Some(LineError::Nul),
                _ if index + 3 > limit => Some(LineError::TooLong),
                _ => None,
            });
        lines.push(fault.map_or_else(|| Ok(line.to_vec()), Err));
    }
    lines
}

proptest! {
    /// Rules: B1, C8, C13
    #[test]
    fn lines_do_not_depend_on_how_the_bytes_arrive(bytes in stream(), piece in 1usize..50) {
        let whole = read_in(&bytes, bytes.len(), 64);
        prop_assert_eq!(&read_in(&bytes, piece, 64), &whole);
        prop_assert_eq!(&read_in(&bytes, 1, 64), &whole);
        prop_assert_eq!(whole.0, expected(&bytes, 64));
    }

    /// Rules: C13
    #[test]
    fn no_line_is_longer_than_the_limit(bytes in stream(), limit in 0usize..80) {
        for line in read_in(&bytes, 7, limit).0.into_iter().flatten() {
            prop_assert!(line.len() + 2 <= limit.max(2));
        }
    }

    #[test]
    fn a_line_of_good_octets_comes_back_as_it_was(octets in prop::collection::vec(1u8..=255, 0..300)) {
        let octets: Vec<u8> = octets.into_iter().filter(|octet| !b"\r\n".contains(octet)).collect();
        let bytes = [octets.as_slice(), b"\r\n"].concat();
        prop_assert_eq!(read(&bytes), vec![Ok(octets)]);
    }
}
