//! Replies, both ways, and the offer in the one to EHLO.

use crate::smtp_domain::a_domain;
use proptest::prelude::*;
use turnabout::smtp::{
    Enhanced, Line, LineError, LineReader, Offer, Reply, ReplyError, ReplyReader,
};

fn read(wire: &[u8]) -> Result<Option<Reply>, ReplyError> {
    let mut lines = LineReader::new(ReplyReader::LINE_LIMIT);
    let mut replies = ReplyReader::new();
    let mut rest = wire;
    while !rest.is_empty() {
        let (taken, line) = lines.feed(rest);
        rest = &rest[taken..];
        if let Some(line) = line
            && let Some(reply) = replies.feed_line(line)?
        {
            assert!(rest.is_empty() && replies.is_empty());
            return Ok(Some(reply));
        }
    }
    Ok(None)
}

fn reply(wire: &str) -> Reply {
    read(wire.as_bytes()).unwrap().unwrap()
}

/// Rules: B6
#[test]
fn a_reply_has_one_line_or_many_with_text_or_without() {
    assert_eq!(reply("250 ok\r\n"), Reply::plain(250, "ok"));
    assert_eq!(reply("250\r\n"), Reply::plain(250, ""));
    assert_eq!(reply("250 \r\n"), Reply::plain(250, ""));
    assert_eq!(reply("220-a\r\n220-\r\n220\r\n").lines, ["a", "", ""]);
    assert_eq!(read(b"250-a\r\n"), Ok(None));
}

/// Rules: B6
#[test]
fn what_is_no_reply_is_fatal() {
    for wire in [
        "hello\r\n",
        "\r\n",
        "25\r\n",
        "25x ok\r\n",
        "250ok\r\n",
        "150 ok\r\n",
        "650 ok\r\n",
        "250_ok\r\n",
    ] {
        assert_eq!(read(wire.as_bytes()), Err(ReplyError::NoCode), "{wire:?}");
    }
    assert_eq!(read(b"250-a\r\n251 b\r\n"), Err(ReplyError::CodeChanged));
    assert_eq!(
        read(b"250 a\nb\r\n"),
        Err(ReplyError::Line(LineError::BareLf))
    );
}

/// Rules: B5
#[test]
fn a_reply_of_many_lines_is_taken_and_an_endless_one_is_not() {
    let many = format!("{}250 end\r\n", "250-line\r\n".repeat(6000));
    assert_eq!(reply(&many).lines.len(), 6001);
    let endless = "250-line\r\n".repeat(7000);
    assert_eq!(read(endless.as_bytes()), Err(ReplyError::TooLong));
    let long_line = format!("250 {}\r\n", "x".repeat(506));
    assert_eq!(reply(&long_line).text().len(), 506);
}

/// Rules: B62, B63
#[test]
fn an_enhanced_code_is_one_only_on_every_line_and_with_the_right_class() {
    let code = |class, subject, detail| {
        Some(Enhanced {
            class,
            subject,
            detail,
        })
    };
    assert_eq!(reply("535 5.7.8 no\r\n").enhanced, code(5, 7, 8));
    assert_eq!(reply("535 5.7.8\r\n").enhanced, code(5, 7, 8));
    assert_eq!(reply("250-2.0.0 a\r\n250 2.0.0 b\r\n").lines, ["a", "b"]);
    for none in [
        "535 4.7.8 no\r\n",
        "535 5.7.08 no\r\n",
        "535 5.7 no\r\n",
        "535 5.7.8.1 no\r\n",
        "535 5.7.1000 no\r\n",
        "250-2.0.0 a\r\n250 2.0.1 b\r\n",
        "250-2.0.0 a\r\n250 b\r\n",
        "334 3.0.0 x\r\n",
        "535  5.7.8\r\n",
        "535 5..8\r\n",
    ] {
        assert_eq!(reply(none).enhanced, None, "{none:?}");
    }
}

/// Rules: B5, B62
#[test]
fn a_reply_is_written_with_its_codes_on_every_line_and_512_octets_at_most() {
    let mut written = Reply::enhanced(550, 7, 1, "first");
    written.lines.push("x\r\nDATA".to_owned());
    assert_eq!(
        written.to_bytes(),
        b"550-5.7.1 first\r\n550 5.7.1 x??DATA\r\n"
    );
    let long = Reply::enhanced(250, 0, 0, &"\u{e9}".repeat(600)).to_bytes();
    assert!(long.len() <= 512 && long.len() > 508);
    assert!(std::str::from_utf8(&long).is_ok());
}

/// Rules: B25, B31
#[test]
fn an_empty_challenge_is_the_code_and_a_blank_and_a_long_one_is_not_cut() {
    assert_eq!(Reply::plain(334, "").to_bytes(), b"334 \r\n");
    let long = "A".repeat(12_000);
    assert_eq!(Reply::plain(334, &long).to_bytes().len(), 12_006);
}

/// Rules: R8, R9, B2
#[test]
fn an_offer_is_read_in_any_order_and_any_case() {
    let offer = Offer::parse(&reply(
        "250-mx.example.org at your service\r\n250-size 1000\r\n250-Auth cram-md5  Plain\r\n250-AUTH=LOGIN PLAIN\r\n\
         250-X-SOMETHING else\r\n250-PIPELINING\r\n250-8bitmime\r\n250-DSN\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n\
         250-STARTTLS\r\n250-EnhancedStatusCodes\r\n250 atrn\r\n",
    ));
    let expected = Offer {
        domain: "mx.example.org".to_owned(),
        auth: vec![
            "CRAM-MD5".to_owned(),
            "PLAIN".to_owned(),
            "LOGIN".to_owned(),
        ],
        atrn: true,
        starttls: true,
        enhanced_status_codes: true,
        pipelining: true,
        has_size: true,
        size: Some(1000),
        eight_bit_mime: true,
        dsn: true,
        smtputf8: true,
        chunking: true,
    };
    assert_eq!(offer, expected);
}

#[test]
fn a_size_without_a_number_states_no_limit() {
    for line in [
        "SIZE",
        "SIZE 0",
        "SIZE lots",
        "SIZE 99999999999999999999999",
    ] {
        let offer = Offer::parse(&reply(&format!("250-a\r\n250 {line}\r\n")));
        assert_eq!((offer.has_size, offer.size), (true, Some(0)), "{line:?}");
    }
    assert_eq!(
        Offer::parse(&reply("250 a\r\n")),
        Offer {
            domain: "a".to_owned(),
            ..Offer::default()
        }
    );
}

/// A keyword in the first line is the greeting's text, not an offer.
#[test]
fn the_first_line_offers_nothing() {
    assert!(!Offer::parse(&reply("250 atrn ATRN\r\n")).atrn);
}

fn an_offer() -> impl Strategy<Value = Offer> {
    let mechanisms =
        prop::sample::subsequence(vec!["SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"], 0..4);
    let flags = prop::array::uniform8(any::<bool>());
    let size = prop::option::of(any::<u64>());
    (a_domain(), mechanisms, flags, size).prop_map(|(domain, mechanisms, flags, size)| Offer {
        domain,
        auth: mechanisms.into_iter().map(str::to_owned).collect(),
        atrn: flags[0],
        starttls: flags[1],
        enhanced_status_codes: flags[2],
        pipelining: flags[3],
        has_size: size.is_some(),
        size,
        eight_bit_mime: flags[4],
        dsn: flags[5],
        smtputf8: flags[6],
        chunking: flags[7],
    })
}

fn a_reply() -> impl Strategy<Value = Vec<u8>> {
    let code = prop_oneof![
        Just("250"),
        Just("535"),
        Just("421"),
        Just("334"),
        Just("999"),
        Just("25")
    ];
    let text = prop_oneof!["(2\\.0\\.0 |5\\.7\\.8 )?[ -~]{0,30}", "\\PC{0,20}"];
    let line = (code, prop_oneof![Just("-"), Just(" "), Just("")], text);
    prop::collection::vec(line, 1..6).prop_map(|lines| {
        let lines = lines
            .iter()
            .map(|(code, separator, text)| format!("{code}{separator}{text}\r\n"));
        lines.collect::<String>().into_bytes()
    })
}

proptest! {
    #[test]
    fn any_lines_are_a_reply_or_an_error(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10)) {
        let mut replies = ReplyReader::new();
        for line in lines {
            drop(replies.feed_line(Line::new(&line)));
        }
    }

    #[test]
    fn what_is_understood_is_written_and_understood_again(lines in a_reply()) {
        let mut reader = ReplyReader::new();
        for line in lines.split(|octet| *octet == b'\n') {
            let line = Line::new(line.strip_suffix(b"\r").unwrap_or(line));
            if let Ok(Some(first)) = reader.feed_line(line) {
                prop_assert_eq!(read(&first.to_bytes()), Ok(Some(first)));
            }
        }
    }

    #[test]
    fn an_offer_comes_back_as_it_was_written(offer in an_offer()) {
        let wire = offer.to_reply().to_bytes();
        prop_assert_eq!(Offer::parse(&read(&wire).unwrap().unwrap()), offer);
    }

    #[test]
    fn smtp_proto_reads_the_same_from_an_offer(offer in an_offer()) {
        let wire = offer.to_reply().to_bytes();
        let theirs = smtp_proto::EhloResponse::parse(&mut wire.iter()).unwrap();
        prop_assert_eq!(theirs.hostname(), &offer.domain);
        for (ours, theirs_bit) in [
            (offer.atrn, smtp_proto::EXT_ATRN),
            (!offer.auth.is_empty(), smtp_proto::EXT_AUTH),
            (offer.starttls, smtp_proto::EXT_START_TLS),
            (offer.enhanced_status_codes, smtp_proto::EXT_ENHANCED_STATUS_CODES),
            (offer.pipelining, smtp_proto::EXT_PIPELINING),
            (offer.has_size, smtp_proto::EXT_SIZE),
            (offer.eight_bit_mime, smtp_proto::EXT_8BIT_MIME),
            (offer.dsn, smtp_proto::EXT_DSN),
            (offer.smtputf8, smtp_proto::EXT_SMTP_UTF8),
            (offer.chunking, smtp_proto::EXT_CHUNKING),
        ] {
            prop_assert_eq!(ours, theirs.has_capability(theirs_bit));
        }
        let mut mechanisms = 0;
        for name in &offer.auth {
            mechanisms |= match name.as_str() {
                "SCRAM-SHA-256" => smtp_proto::AUTH_SCRAM_SHA_256,
                "CRAM-MD5" => smtp_proto::AUTH_CRAM_MD5,
                "PLAIN" => smtp_proto::AUTH_PLAIN,
                _ => smtp_proto::AUTH_LOGIN,
            };
        }
        prop_assert_eq!(theirs.auth(), mechanisms);
    }
}
