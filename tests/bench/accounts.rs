//! The customers of the measurements: as many as there are sessions at once, since a customer
//! can have only one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use md5::Md5;
use std::fmt::Write;

/// How many accounts the provider has.
pub const ACCOUNTS: usize = 1000;

pub fn user(number: usize) -> String {
    format!("customer{number}")
}

pub fn password(user: &str) -> String {
    format!("secret of {user}")
}

pub fn domain(number: usize) -> String {
    format!("d{number}.example.org")
}

/// turnabout's accounts file: readable passwords, since CRAM-MD5 needs them.
pub fn file() -> String {
    let mut text = String::new();
    for number in 0..ACCOUNTS {
        let user = user(number);
        write!(
            text,
            "[[account]]\nuser = \"{user}\"\ncredential = \"{{PLAIN}}{}\"\ndomains = [\"{}\"]\nnext_hop = \"[127.77.{}.{}]:24\"\n\n",
            password(&user),
            domain(number),
            number / 250,
            number % 250 + 1
        )
        .unwrap();
    }
    text
}

/// The whole AUTH PLAIN line.
pub fn plain(user: &str) -> String {
    format!(
        "AUTH PLAIN {}\r\n",
        STANDARD.encode(format!("\0{user}\0{}", password(user)))
    )
}

/// The digest of CRAM-MD5 (RFC 2195) in hexadecimal.
pub fn digest(user: &str, challenge: &[u8]) -> String {
    let mut mac = Hmac::<Md5>::new_from_slice(password(user).as_bytes()).unwrap();
    mac.update(challenge);
    mac.finalize()
        .into_bytes()
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
}

/// The answer to a CRAM-MD5 challenge as it came in the 334.
pub fn cram(user: &str, challenge: &str) -> String {
    let challenge = STANDARD
        .decode(challenge.trim())
        .expect("a challenge in base64");
    format!(
        "{}\r\n",
        STANDARD.encode(format!("{user} {}", digest(user, &challenge)))
    )
}
