//! Lines do not depend on how the bytes arrive, and stay within their limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use turnabout::smtp::{Line, LineError, LineReader};

fn read(bytes: &[u8], piece: usize, limit: usize) -> Vec<Result<Line, LineError>> {
    let mut reader = LineReader::new(limit);
    let mut lines = Vec::new();
    for mut rest in bytes.chunks(piece) {
        while !rest.is_empty() {
            let (taken, line) = reader.feed(rest);
            assert!(taken > 0 && taken <= rest.len());
            rest = &rest[taken..];
            lines.extend(line);
        }
    }
    lines
}

fuzz_target!(|data: &[u8]| {
    let [limit, piece, bytes @ ..] = data else {
        return;
    };
    let limit = usize::from(*limit);
    let whole = read(bytes, bytes.len().max(1), limit);
    assert_eq!(whole, read(bytes, 1, limit));
    assert_eq!(whole, read(bytes, usize::from(*piece).max(1), limit));
    for line in whole.iter().flatten() {
        assert!(line.as_bytes().len() + 2 <= limit.max(2));
        assert!(
            !line
                .as_bytes()
                .iter()
                .any(|octet| b"\r\n\0".contains(octet))
        );
    }
});
