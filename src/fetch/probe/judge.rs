//! The standards, as far as a customer sees them kept: pure functions from what a provider said to findings.

use super::finding::Findings;
use crate::fetch::talk::what as command;
use crate::odmr::customer::Wait;
use crate::smtp::{COMMAND_LIMIT, LineError, Offer, Reply, ReplyError};

/// RFC 5321 4.2: the greeting is 220 and the provider's name.
pub(super) fn greeting(reply: &Reply, findings: &mut Findings) {
    if reply.is_positive() && reply.code != 220 {
        findings.deviates(
            "RFC 5321 section 4.3.2",
            format!("greets with {} and not with 220", reply.code),
        );
    }
    let name = reply.text().split(' ').next().unwrap_or_default();
    if reply.code == 220 && !is_name(name) {
        findings.deviates(
            "RFC 5321 section 4.2",
            "greets without its name or address behind 220",
        );
    }
    if reply.enhanced.is_some() {
        findings.deviates("RFC 2034 section 4", "greets with an enhanced code");
    }
}

/// A domain or an address in brackets, as the grammar of RFC 5321 4.1.2 has them.
fn is_name(word: &str) -> bool {
    let literal = word.starts_with('[') && word.ends_with(']') && word.len() > 2;
    let label = |label: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.chars().all(plain)
    };
    literal || word.split('.').all(label)
}

/// What an EHLO was answered with. `under_tls`: the connection has TLS already. `last`: nothing is asked for again.
pub(super) fn offer(reply: &Reply, under_tls: bool, last: bool, findings: &mut Findings) {
    if !reply.is_positive() {
        if matches!(reply.code, 500 | 502 | 504) {
            findings.deviates(
                "RFC 2645 section 5.1.1",
                format!("does not know EHLO: {reply}"),
            );
        }
        return;
    }
    form(reply, findings);
    let offer = Offer::parse(reply);
    let plaintext: Vec<&str> = offer
        .auth
        .iter()
        .map(String::as_str)
        .filter(|name| matches!(*name, "PLAIN" | "LOGIN"))
        .collect();
    if !under_tls && !plaintext.is_empty() {
        findings.deviates(
            "RFC 4954 section 4",
            format!(
                "offers {} without TLS, where anybody on the way can read the password",
                plaintext.join(" and ")
            ),
        );
    }
    if under_tls && offer.starttls {
        findings.deviates(
            "RFC 3207 section 4.2",
            "offers STARTTLS although TLS has begun",
        );
    }
    if last {
        last_offer(&offer, under_tls, findings);
    }
}

/// The offer that counts (rules R8, R9, R11).
fn last_offer(offer: &Offer, under_tls: bool, findings: &mut Findings) {
    const HERE: &str = "RFC 2645 section 5.1.1";
    if !offer.atrn {
        findings.deviates(HERE, "does not offer ATRN");
    }
    if offer.auth.is_empty() {
        findings.deviates(HERE, "does not offer AUTH");
    } else if !offer.auth.iter().any(|name| name == "CRAM-MD5") {
        findings.deviates(
            "RFC 2645 section 5.1.2",
            "does not offer CRAM-MD5, which every provider must have",
        );
    }
    if !under_tls && !offer.starttls {
        findings.note(
            "RFC 3207 section 1",
            "offers no TLS: anybody on the way can read the mail",
        );
    }
    if !offer.enhanced_status_codes {
        findings.note(
            "RFC 4954 section 6",
            "does not offer ENHANCEDSTATUSCODES, which AUTH should come with",
        );
    }
}

/// The grammar of the reply to EHLO (RFC 5321 4.1.1.1).
fn form(reply: &Reply, findings: &mut Findings) {
    const HERE: &str = "RFC 5321 section 4.1.1.1";
    if reply.code != 250 {
        findings.deviates(HERE, format!("answers EHLO with {}, not 250", reply.code));
    }
    let name = reply.text().split(' ').next().unwrap_or_default();
    if !is_name(name) {
        findings.deviates(HERE, "answers EHLO without its name in the first line");
    }
    if reply.enhanced.is_some() {
        findings.deviates("RFC 2034 section 4", "answers EHLO with an enhanced code");
    }
    for line in reply.lines.iter().skip(1) {
        let keyword = line.split(' ').next().unwrap_or_default();
        let (name, old) = keyword.split_once('=').unwrap_or((keyword, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !old.is_empty() && name.eq_ignore_ascii_case("AUTH") {
            findings.note(
                "RFC 4954 section 3",
                "offers AUTH= as servers did before the standard",
            );
        } else if keyword.is_empty() || keyword.starts_with('-') || !keyword.chars().all(plain) {
            findings.deviates(HERE, format!("offers what is no keyword: {line:?}"));
        }
    }
}

/// A reply under an offer of ENHANCEDSTATUSCODES (rule B62).
pub(super) fn enhanced(reply: &Reply, wait: Wait, findings: &mut Findings) {
    if reply.enhanced.is_none() && !reply.is_intermediate() {
        findings.deviates(
            "RFC 2034 section 4",
            format!(
                "offers ENHANCEDSTATUSCODES and answers {} without one: {reply}",
                command(wait)
            ),
        );
    }
}

/// The reply to STARTTLS (rule B43).
pub(super) fn starttls(reply: &Reply, findings: &mut Findings) {
    if !matches!(reply.code, 220 | 421 | 454 | 501) {
        findings.deviates(
            "RFC 3207 section 4",
            format!("answers STARTTLS with {reply}"),
        );
    }
}

/// The end of a login (rule B33).
pub(super) fn login(reply: &Reply, findings: &mut Findings) {
    let known = matches!(
        reply.code,
        235 | 334 | 421 | 432 | 454 | 500 | 501 | 504 | 530 | 534 | 535 | 538
    );
    if !known {
        findings.deviates("RFC 4954 section 6", format!("answers AUTH with {reply}"));
    }
}

/// ATRN before AUTH (rule R15).
pub(super) fn early_atrn(reply: &Reply, findings: &mut Findings) {
    if reply.is_positive() {
        findings.deviates(
            "RFC 2645 section 5.2.1",
            "turns without authentication: whoever calls gets the mail",
        );
    } else if !matches!(reply.code, 421 | 530) {
        findings.deviates(
            "RFC 2645 section 5.2.1",
            format!(
                "refuses ATRN before AUTH with {}, not 530: {reply}",
                reply.code
            ),
        );
    }
}

/// ATRN behind AUTH (RFC 2645 7).
pub(super) fn atrn(reply: &Reply, findings: &mut Findings) {
    const HERE: &str = "RFC 2645 section 7";
    match reply.code {
        250 | 421 | 450 | 451 | 453 => {}
        530 => findings.deviates(HERE, "asks for authentication behind a successful AUTH"),
        502 => findings.deviates(
            "RFC 2645 section 5.1.1",
            "offers ATRN and does not know the command",
        ),
        _ => findings.deviates(
            HERE,
            format!("answers ATRN with {reply}, where 250, 450, 451 and 453 are known"),
        ),
    }
}

/// The reply to QUIT.
pub(super) fn quit(reply: &Reply, findings: &mut Findings) {
    if !matches!(reply.code, 221 | 421) {
        findings.deviates(
            "RFC 5321 section 4.1.1.10",
            format!("answers QUIT with {}, not 221", reply.code),
        );
    }
}

/// One line of a reply, by its octets without CRLF.
pub(super) fn line(octets: &[u8], findings: &mut Findings) {
    if octets.len().saturating_add(2) > COMMAND_LIMIT && !octets.starts_with(b"334") {
        findings.deviates(
            "RFC 5321 section 4.5.3.1.5",
            "sends a reply with a line of more than 512 octets",
        );
    }
}

/// What is no reply.
pub(super) fn broken(error: ReplyError, wait: Wait, findings: &mut Findings) {
    let command = command(wait);
    match error {
        ReplyError::Line(error) => broken_line(error, wait, findings),
        ReplyError::NoCode => findings.deviates(
            "RFC 5321 section 4.2",
            format!("answers {command} with what has no reply code"),
        ),
        ReplyError::CodeChanged => findings.deviates(
            "RFC 5321 section 4.2.1",
            format!("answers {command} with lines that differ in their code"),
        ),
        ReplyError::TooLong => findings.deviates(
            "RFC 5321 section 4.2",
            format!("answers {command} with more than 64 KiB"),
        ),
    }
}

/// A line that is none.
pub(super) fn broken_line(error: LineError, wait: Wait, findings: &mut Findings) {
    let section = match error {
        LineError::BareCr | LineError::BareLf => "RFC 5321 section 2.3.8",
        LineError::Nul => "RFC 5321 section 4.2",
        LineError::TooLong => "RFC 5321 section 4.5.3.1.5",
    };
    findings.deviates(section, format!("answers {} with {error}", command(wait)));
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn a_name_is_a_domain_or_an_address_in_brackets() {
        for name in [
            "odmr.example.net",
            "localhost",
            "[192.0.2.1]",
            "[IPv6:2001:db8::1]",
        ] {
            assert!(is_name(name), "{name}");
        }
        for other in ["", "hello,", "[]", "a..b", "<odmr>"] {
            assert!(!is_name(other), "{other}");
        }
    }
}
