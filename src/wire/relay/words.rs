//! What a relay overhears. It changes nothing of it, but two things must be known:
//!
//! * that QUIT was answered with 221: some servers then wait for our close before they make theirs (Exim for
//!   a fifth of a second), so the end of the words is taken for the end of the session;
//! * that the mail server offers STARTTLS although the peer is under TLS already (rule B46).

/// The octets at the end of one direction, enough for `CRLF QUIT CRLF`.
#[derive(Debug, Default)]
struct Tail {
    octets: [u8; 8],
    length: usize,
}

impl Tail {
    fn pass(&mut self, octets: &[u8]) {
        let keep = octets.len().min(self.octets.len());
        let new = octets.get(octets.len() - keep..).unwrap_or_default();
        self.octets.rotate_left(keep);
        let room = self.octets.iter_mut().rev().zip(new.iter().rev());
        room.for_each(|(to, from)| *to = *from);
        self.length = self.length.saturating_add(octets.len());
    }

    fn is_quit(&self) -> bool {
        let line = self.octets.get(2..).unwrap_or_default();
        let begins = self.length == line.len() || self.octets.starts_with(b"\r\n");
        begins && line.eq_ignore_ascii_case(b"QUIT\r\n")
    }

    fn is_line_end(&self) -> bool {
        self.length == 0 || self.octets.ends_with(b"\n")
    }
}

/// Lines out of octets; of each only the beginning.
#[derive(Debug, Default)]
struct Lines {
    line: Vec<u8>,
    /// In the middle of a line whose beginning nobody heard.
    deaf: bool,
}

impl Lines {
    /// Longer than any word that matters.
    const KEPT: usize = 32;

    fn each(&mut self, octets: &[u8], mut heard: impl FnMut(&[u8])) {
        for octet in octets {
            if *octet != b'\n' {
                if self.line.len() < Self::KEPT && !self.deaf {
                    self.line.push(*octet);
                }
                continue;
            }
            if !std::mem::take(&mut self.deaf) {
                heard(self.line.trim_ascii_end());
            }
            self.line.clear();
        }
    }
}

/// One direction, as far as the other cares.
#[derive(Debug, Default)]
struct Side {
    tail: Tail,
    answer: Lines,
}

impl Side {
    /// Was the last 221 said, after the other side's QUIT?
    fn pass(&mut self, octets: &[u8], after_quit: bool) -> bool {
        let mut last = false;
        if after_quit {
            self.answer.each(octets, |line| {
                last |= line == b"221" || line.starts_with(b"221 ");
            });
        } else {
            let line_end = octets
                .last()
                .map_or_else(|| self.tail.is_line_end(), |octet| *octet == b'\n');
            self.answer.line.clear();
            self.answer.deaf = !line_end;
        }
        self.tail.pass(octets);
        last
    }
}

/// Both directions. Which side is the server is told by who says QUIT.
#[derive(Debug, Default)]
pub(super) struct Words {
    peer: Side,
    mail_server: Side,
}

impl Words {
    /// The peer said this. True: it was the answer to QUIT, nothing can follow.
    pub(super) fn of_the_peer(&mut self, octets: &[u8]) -> bool {
        let after_quit = self.mail_server.tail.is_quit();
        self.peer.pass(octets, after_quit)
    }

    /// The mail server said this. True as above.
    pub(super) fn of_the_mail_server(&mut self, octets: &[u8]) -> bool {
        let after_quit = self.peer.tail.is_quit();
        self.mail_server.pass(octets, after_quit)
    }
}

/// Listens to a mail server that is the server of the session, from its 220 to the end of its offer.
#[derive(Debug, Default)]
pub(super) struct Offer {
    lines: Lines,
    heard: usize,
    greeted: bool,
    over: bool,
}

impl Offer {
    /// More than a greeting and an offer have.
    const LIMIT: usize = 16 * 1024;

    /// The mail server said this. True: STARTTLS is in its offer.
    pub(super) fn hear(&mut self, octets: &[u8]) -> bool {
        if self.over {
            return false;
        }
        let mut offered = false;
        let (greeted, over) = (&mut self.greeted, &mut self.over);
        self.lines.each(octets, |line| {
            if *over {
                return;
            }
            let (code, rest) = line.split_at_checked(3).unwrap_or_default();
            *greeted |= code == b"220";
            let (mark, word) = rest.split_at_checked(1).unwrap_or_default();
            if *greeted && code == b"250" {
                offered |= word.trim_ascii().eq_ignore_ascii_case(b"STARTTLS");
            }
            // A client does not begin with 220, and the offer ends with its last line.
            *over = !*greeted || (code == b"250" && mark != b"-");
        });
        self.heard = self.heard.saturating_add(octets.len());
        self.over |= self.heard > Self::LIMIT;
        offered
    }
}

#[cfg(test)]
mod tests {
    use super::{Offer, Words};

    /// Whether the session is over behind the last of these; `>` the peer's words, `<` the mail server's.
    fn over(said: &[&str]) -> bool {
        let mut words = Words::default();
        let mut over = false;
        for said in said {
            assert!(!over, "over before {said:?}");
            over = match said.split_at_checked(1) {
                Some((">", octets)) => words.of_the_peer(octets.as_bytes()),
                Some((_, octets)) => words.of_the_mail_server(octets.as_bytes()),
                None => false,
            };
        }
        over
    }

    #[test]
    fn the_221_to_quit_is_the_end_whoever_says_it_and_however_it_is_cut() {
        assert!(over(&[">QUIT\r\n", "<221 bye\r\n"]));
        assert!(over(&["<QUIT\r\n", ">221 2.0.0 bye\r\n"]));
        assert!(over(&[">RSET\r\nquit\r\n", "<250 ok\r\n221 bye\r\n"]));
        assert!(over(&[
            ">x\r\n", ">Q", ">UIT\r", ">\n", "<2", "<21", "< bye\r", "<\n"
        ]));
        assert!(over(&[
            "<25",
            ">x\r\nQUIT\r\n",
            "<0 ok\r\n221-so\r\n",
            "<221\r\n"
        ]));
    }

    #[test]
    fn nothing_else_is_the_end() {
        assert!(!over(&[">QUIT\r\n", "<250 ok\r\n"]));
        assert!(!over(&["<221 bye\r\n", ">QUIT\r\n"]));
        assert!(!over(&[">MAQUIT\r\n", "<221 bye\r\n"]));
        assert!(!over(&[">QUIT\r\n.\r\n", "<221 bye\r\n"]));
        assert!(!over(&[">QUIT\r\n", "<221-bye\r\n"]));
        assert!(!over(&[
            "<25",
            ">QUIT\r\n",
            "<221 is the middle of a line\r\n"
        ]));
    }

    fn offered(said: &[&str]) -> bool {
        let mut offer = Offer::default();
        said.iter()
            .fold(false, |offered, said| offer.hear(said.as_bytes()) | offered)
    }

    /// Rules: B46
    #[test]
    fn starttls_is_noticed_in_the_offer_and_nowhere_else() {
        let greeting = "220 me\r\n";
        assert!(offered(&[
            greeting,
            "250-me\r\n250-STARTTLS\r\n250 SIZE\r\n"
        ]));
        assert!(offered(&[greeting, "250-me\r\n250 start", "tls\r\n"]));
        assert!(offered(&[
            greeting,
            "502 no\r\n",
            "250-me\r\n250 STARTTLS\r\n"
        ]));
        assert!(!offered(&[
            greeting,
            "250-me\r\n250 SIZE\r\n",
            "250-STARTTLS\r\n"
        ]));
        assert!(!offered(&[
            greeting,
            "250-me\r\n250-STARTTLSX\r\n250 SIZE\r\n"
        ]));
        assert!(!offered(&["MAIL FROM:<>\r\n", "250-STARTTLS\r\n"]));
        let long = "250-X\r\n".repeat(3000);
        assert!(!offered(&[greeting, &long, "250-STARTTLS\r\n"]));
    }
}
