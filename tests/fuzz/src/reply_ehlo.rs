//! Replies and the offer: what is understood is written and understood again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use turnabout::smtp::{LineReader, Offer, Reply, ReplyError, ReplyReader};

fn read(mut bytes: &[u8]) -> Vec<Result<Reply, ReplyError>> {
    let mut lines = LineReader::new(ReplyReader::LINE_LIMIT);
    let mut replies = ReplyReader::new();
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (taken, line) = lines.feed(bytes);
        bytes = &bytes[taken..];
        if let Some(line) = line {
            found.extend(replies.feed_line(line).transpose());
        }
    }
    found
}

fuzz_target!(|data: &[u8]| {
    for reply in read(data).into_iter().flatten() {
        let long = reply.lines.iter().any(|line| line.len() > 400);
        if !long {
            assert_eq!(read(&reply.to_bytes()), [Ok(reply.clone())]);
        }
        let offer = Offer::parse(&reply);
        let again = Offer::parse(&offer.to_reply());
        assert_eq!(again, offer);
    }
});
