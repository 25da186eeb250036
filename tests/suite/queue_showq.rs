//! What showq(8) says about the queue, as recorded from Postfix, and what only looks like it.

use turnabout::queue::showq::Listing;

const GREETING: &str = "protocol\0mail_queue_list_protocol\0\0";

fn message(queue: &str, recipients: &[&str]) -> String {
    let recipients: String = recipients
        .iter()
        .map(|to| format!("recipient\0{to}\0reason\0connect to 127.77.0.1[127.77.0.1]:2525: Connection refused\0"))
        .collect();
    format!(
        "queue_name\0{queue}\0queue_id\0{}\0time\0{}\0size\0{}\0forced_expire\0{}\0sender\0\0{recipients}\0",
        "4abc12", "1795359999", "512", "0"
    )
}

/// The recipients it tells, in whatever pieces it comes; or why it is not understood.
fn read(said: &str) -> Result<Vec<String>, &'static str> {
    let mut listing = Listing::default();
    let mut recipients = Vec::new();
    for octet in said.bytes() {
        recipients.extend(listing.push(octet)?);
    }
    listing.ended().map(|()| recipients)
}

#[test]
fn an_empty_queue_is_a_greeting_and_an_empty_list() {
    assert_eq!(read(&format!("{GREETING}\0")), Ok(vec![]));
}

#[test]
fn before_postfix_3_6_there_is_no_greeting() {
    assert_eq!(read("\0"), Ok(vec![]));
    let said = format!("{}\0", message("deferred", &["a@example.org"]));
    assert_eq!(read(&said), Ok(vec!["a@example.org".to_owned()]));
}

#[test]
fn recipients_of_held_mail_are_not_told() {
    let (held, active) = (
        message("hold", &["h@example.org"]),
        message("active", &["a@example.org", "b@example.net"]),
    );
    let said = format!("{GREETING}{held}{active}\0");
    assert_eq!(
        read(&said),
        Ok(vec!["a@example.org".to_owned(), "b@example.net".to_owned()])
    );
}

#[test]
fn a_listing_that_is_cut_anywhere_is_no_listing() {
    let said = format!(
        "{GREETING}{}{}\0",
        message("deferred", &["a@example.org"]),
        message("active", &[])
    );
    assert!(read(&said).is_ok());
    for end in 0..said.len() {
        assert!(read(&said[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn what_is_not_known_of_showq_is_refused() {
    let ok = message("active", &["a@example.org"]);
    for said in [
        "protocol\0another_protocol\0\0\0".to_owned(),
        format!("{ok}protocol\0mail_queue_list_protocol\0\0\0"),
        "queue_id\0A\0recipient\0a@example.org\0\0\0".to_owned(),
        "queue_id\0A\0\0\0".to_owned(),
        format!("{ok}\0more"),
        format!("{}\0", "x".repeat(70_000)),
    ] {
        assert!(read(&said).is_err(), "{said:?}");
    }
}
