//! A certificate by its SHA-256: as `openssl x509 -fingerprint -sha256` prints it, ready to paste.

use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The SHA-256 of a certificate in DER. Written `sha256:AA:BB:...`; read with or without colons, in either case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

/// A text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a fingerprint (write sha256: and 64 hexadecimal digits, with or without colons)")]
pub struct NotAFingerprint;

impl Fingerprint {
    /// Of a certificate in DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let digits = text
            .get(..7)
            .filter(|prefix| prefix.eq_ignore_ascii_case("sha256:"))
            .and_then(|_| text.get(7..))
            .ok_or(NotAFingerprint)?;
        let digits: Vec<char> = if digits.contains(':') {
            let pairs: Vec<&str> = digits.split(':').collect();
            if pairs.len() != 32 || pairs.iter().any(|pair| pair.len() != 2) {
                return Err(NotAFingerprint);
            }
            pairs.concat().chars().collect()
        } else {
            digits.chars().collect()
        };
        if digits.len() != 64 {
            return Err(NotAFingerprint);
        }
        let mut octets = [0_u8; 32];
        for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
            for digit in pair {
                let value = digit.to_digit(16).ok_or(NotAFingerprint)?;
                *octet = (*octet << 4) | u8::try_from(value).map_err(|_| NotAFingerprint)?;
            }
        }
        Ok(Self(octets))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256")?;
        self.0
            .iter()
            .try_for_each(|octet| write!(f, ":{octet:02X}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Fingerprint;

    #[test]
    fn a_fingerprint_is_read_as_it_is_printed_and_without_colons_in_either_case() {
        let one = Fingerprint::of(b"");
        let text = one.to_string();
        assert!(text.starts_with("sha256:E3:B0:C4:42:"));
        assert_eq!(text.parse(), Ok(one));
        assert_eq!(text.to_lowercase().parse(), Ok(one));
        let bare = format!("sha256:{}", text.replacen("sha256", "", 1).replace(':', ""));
        assert_eq!(bare.parse(), Ok(one));
    }

    #[test]
    fn what_is_no_fingerprint_is_refused() {
        let long = format!("sha256:{}", "A".repeat(65));
        let odd = format!("sha256:{}", ["ABC"; 32].join(":"));
        let strange = format!("sha256:{}", "é".repeat(32));
        for text in ["", "sha256:", "sha256:AB", "E3B0", &long, &odd, &strange] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }
}
