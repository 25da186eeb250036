//! What turnabout-handoff(7) says of the hand-off between containers is how it is.

use crate::catch::SERVER;
use crate::driver::{Fetch, opened, scripted};
use crate::fetch_talk::outcome;
use std::os::unix::net::UnixStream;
use std::process::Command;
use turnabout::handoff::catch::words::Word;

/// The literal blocks of turnabout-handoff(7).
fn examples() -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/man/turnabout-handoff.7");
    let text = std::fs::read_to_string(page).unwrap();
    text.split(".Bd -literal\n")
        .skip(1)
        .map(|part| {
            let (body, _) = part.split_once(".Ed\n").unwrap();
            body.replace("\\-", "-")
                .replace("\\(aq", "'")
                .replace("\\e", "\\")
        })
        .collect()
}

#[test]
fn the_lines_in_the_manual_page_of_the_hand_off_are_understood() {
    let words: Vec<Word> = examples()
        .iter()
        .filter(|example| example.starts_with('{'))
        .map(|example| Word::read(example.as_bytes()).unwrap())
        .collect();
    assert!(
        matches!(
            words[..],
            [
                Word::Offer(_),
                Word::Ready { .. },
                Word::Connection(_),
                Word::Taken,
                Word::Refused { .. }
            ]
        ),
        "{words:?}"
    );
}

/// So that others can write one: it is run here as it stands there, which takes no provider on loopback, and with the one
/// word changed that keeps it from that.
#[test]
fn the_receiver_in_the_manual_page_of_the_hand_off_takes_a_connection() {
    let examples = examples();
    let program = examples
        .iter()
        .find(|example| example.starts_with("import "))
        .unwrap();
    let (code, said, heard) = received_by(program);
    assert_eq!(code, 75, "{said}");
    assert!(heard.starts_with("421 "), "{heard}");
    assert_eq!(program.matches("is_loopback").count(), 1);
    let (code, said, heard) = received_by(&program.replace("is_loopback", "is_multicast"));
    assert_eq!(code, 0, "{said}");
    assert_eq!(heard, "220 here\n250 QUIT\r\n");
}

/// How a fetch ends whose receiver this is, and what the provider has heard.
fn received_by(program: &str) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("catch.sock");
    let mut receiver = Command::new("python3")
        .args(["-c", program, socket.to_str().unwrap()])
        .args(SERVER)
        .spawn()
        .expect("python3 is needed for this test (on Debian: apt-get install python3-minimal)");
    crate::driver::until("the receiver", || {
        // It binds first and listens then.
        let listens = UnixStream::connect(&socket).ok()?;
        drop(listens);
        Some(())
    });
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        peer.line().unwrap();
        peer.send("250 turning\r\n");
        let greeting = peer.line().unwrap();
        if greeting.starts_with("220") {
            peer.send("QUIT\n");
        }
        format!("{greeting}\n{}", peer.rest())
    });
    let (code, said) = outcome(&Fetch::catch(&socket).run(address));
    receiver.kill().unwrap();
    receiver.wait().unwrap();
    (code, said, provider.join().unwrap())
}
