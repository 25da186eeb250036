//! The mail server's greeting, looked at where it lies: 220, whole, and nothing behind it.

use crate::report::safe;
use crate::wire::Far;
use std::time::Duration;
use tokio::time::timeout;

/// More than a greeting has.
pub(super) const LIMIT: usize = 8 * 1024;

/// How long nothing must follow it. What would follow is the answer to a header that was taken for a command, and that
/// lay in the mail server's hands before it greeted.
const PAUSE: Duration = Duration::from_millis(300);

/// How many octets it has.
#[derive(Debug)]
pub(super) struct Greeting(usize);

impl Greeting {
    /// Waits for a 220 and looks whether it stays alone.
    ///
    /// # Errors
    /// What came instead, in words.
    pub(super) async fn read(far: &Far) -> Result<Self, String> {
        let mut seen = Vec::new();
        let length = loop {
            if seen.len() >= LIMIT {
                return Err("it greets without an end".to_owned());
            }
            seen = far.look(seen.len(), LIMIT).await.map_err(|error| {
                let said = String::from_utf8_lossy(&seen);
                match said.trim_end() {
                    "" => format!("it closes the connection: {error}"),
                    said => format!("it says {:?} and closes", safe(said).to_string()),
                }
            })?;
            if let Some(length) = whole(&seen)? {
                break length;
            }
        };
        let greeting = Self(length);
        if greeting.is_alone(far).await {
            Ok(greeting)
        } else {
            Err("it says more than its greeting, so it takes the header for a command".to_owned())
        }
    }

    /// How many octets it has.
    pub(super) fn length(&self) -> usize {
        self.0
    }

    /// Nothing has come behind it, and for a while nothing does.
    pub(super) async fn is_alone(&self, far: &Far) -> bool {
        timeout(PAUSE, far.look(self.0, LIMIT)).await.is_err()
    }
}

/// The length of a greeting once it is there as a whole.
fn whole(octets: &[u8]) -> Result<Option<usize>, String> {
    let mut length = 0_usize;
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        if !line.ends_with(b"\n") {
            return Ok(None);
        }
        length = length.saturating_add(line.len());
        let Some(rest) = line.strip_prefix(b"220") else {
            let text = String::from_utf8_lossy(line);
            return Err(format!(
                "it greets with {:?}",
                safe(text.trim_end()).to_string()
            ));
        };
        if rest.first() != Some(&b'-') {
            return Ok(Some(length));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn a_greeting_is_whole_with_its_last_line_and_of_220_only() {
        assert_eq!(whole(b""), Ok(None));
        assert_eq!(whole(b"220 mx ESMTP\r"), Ok(None));
        assert_eq!(whole(b"220-mx\r\n"), Ok(None));
        assert_eq!(whole(b"220 mx ESMTP\r\n"), Ok(Some(14)));
        assert_eq!(whole(b"220\r\n502 what?\r\n"), Ok(Some(5)));
        assert_eq!(whole(b"220-mx\r\n220 ESMTP\r\n502 what?\r\n"), Ok(Some(19)));
        assert!(whole(b"554 no\r\n").is_err());
        assert!(whole(b"220-mx\r\n421 no\r\n").is_err());
    }
}
