//! The offer: what a reply to EHLO says about its sender (RFC 5321 4.1.1.1). Its order means nothing.

use super::reply::Reply;

/// The keywords that matter to a front end or to the MTA that goes on after it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// The first word of the first line: who speaks.
    pub domain: String,
    /// Mechanisms of AUTH in upper case, in the order of the offer.
    pub auth: Vec<String>,
    /// ATRN (RFC 2645 5.1.1).
    pub atrn: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE was offered (RFC 1870).
    pub has_size: bool,
    /// Octets a message may have; 0 says that no limit is stated, `None` that SIZE was not offered.
    pub size: Option<u64>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
}

impl Offer {
    /// Reads a positive reply to EHLO. Unknown keywords are passed over, case does not matter (rule B2).
    #[must_use]
    pub fn parse(reply: &Reply) -> Self {
        let mut lines = reply.lines.iter();
        let mut offer = Self {
            domain: lines.next().and_then(|line| word(line)).unwrap_or_default(),
            ..Self::default()
        };
        for line in lines {
            offer.keyword(line);
        }
        offer
    }

    fn keyword(&mut self, line: &str) {
        // Old servers write `AUTH=LOGIN` beside or instead of `AUTH LOGIN`.
        let mut words = line.split([' ', '\t', '=']).filter(|word| !word.is_empty());
        match words
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase()
            .as_str()
        {
            "AUTH" => {
                for mechanism in words.map(str::to_ascii_uppercase) {
                    if !self.auth.contains(&mechanism) {
                        self.auth.push(mechanism);
                    }
                }
            }
            "ATRN" => self.atrn = true,
            "STARTTLS" => self.starttls = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            "PIPELINING" => self.pipelining = true,
            "SIZE" => {
                self.has_size = true;
                self.size = Some(words.next().and_then(|size| size.parse().ok()).unwrap_or(0));
            }
            "8BITMIME" => self.eight_bit_mime = true,
            "DSN" => self.dsn = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "CHUNKING" => self.chunking = true,
            _ => {}
        }
    }

    /// The 250 that makes this offer. It has no enhanced code (rule B62).
    #[must_use]
    pub fn to_reply(&self) -> Reply {
        let mut lines = vec![self.domain.clone()];
        let flags = [
            (self.pipelining, "PIPELINING"),
            (self.eight_bit_mime, "8BITMIME"),
            (self.dsn, "DSN"),
            (self.smtputf8, "SMTPUTF8"),
            (self.chunking, "CHUNKING"),
            (self.starttls, "STARTTLS"),
            (self.enhanced_status_codes, "ENHANCEDSTATUSCODES"),
        ];
        lines.extend(
            flags
                .iter()
                .filter(|(offered, _)| *offered)
                .map(|(_, keyword)| (*keyword).to_owned()),
        );
        match self.size {
            Some(0) => lines.push("SIZE".to_owned()),
            Some(size) => lines.push(format!("SIZE {size}")),
            None => {}
        }
        if !self.auth.is_empty() {
            lines.push(format!("AUTH {}", self.auth.join(" ")));
        }
        if self.atrn {
            lines.push("ATRN".to_owned());
        }
        Reply {
            code: 250,
            enhanced: None,
            lines,
        }
    }
}

fn word(line: &str) -> Option<String> {
    line.split([' ', '\t'])
        .find(|word| !word.is_empty())
        .map(str::to_owned)
}
