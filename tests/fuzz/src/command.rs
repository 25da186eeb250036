//! What is understood is written and understood again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use turnabout::smtp::{Command, DomainList, Line, base64};

fuzz_target!(|data: &[u8]| {
    if let Ok(line) = Line::new(data)
        && let Ok(command) = Command::parse(&line)
    {
        let written = command.to_bytes();
        let again = Line::new(written.strip_suffix(b"\r\n").expect("CRLF")).expect("a line");
        assert_eq!(Command::parse(&again), Ok(command));
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(domains) = DomainList::parse_atrn(text)
    {
        assert_eq!(DomainList::parse_atrn(&domains.to_string()), Ok(domains));
    }
    if let Ok(octets) = base64::decode(data) {
        assert_eq!(base64::encode(&octets).as_bytes(), data);
    }
});
