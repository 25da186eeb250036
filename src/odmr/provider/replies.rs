//! The provider's words. The codes are the contract; the text is for people who read along.

use crate::sasl::Mechanism;
use crate::smtp::{Offer, Reply};

pub(super) fn greeting(hostname: &str) -> Reply {
    Reply::plain(220, &format!("{hostname} ESMTP On-Demand Mail Relay"))
}

/// Only what is implemented is listed (rule B18), PIPELINING is not (rule B60). AUTH goes when nothing can be
/// offered (rule R8), and stays after authentication (rule B38).
pub(super) fn offer(hostname: &str, starttls: bool, mechanisms: &[Mechanism]) -> Reply {
    Offer {
        domain: hostname.to_owned(),
        auth: mechanisms
            .iter()
            .map(|mechanism| mechanism.name().to_owned())
            .collect(),
        starttls,
        atrn: true,
        enhanced_status_codes: true,
        ..Offer::default()
    }
    .to_reply()
}

pub(super) fn challenge(base64: &str) -> Reply {
    Reply::plain(334, base64)
}

pub(super) fn ok() -> Reply {
    Reply::enhanced(250, 0, 0, "Ok")
}

pub(super) fn bye() -> Reply {
    Reply::enhanced(221, 0, 0, "Bye")
}

pub(super) fn authenticated() -> Reply {
    Reply::enhanced(235, 7, 0, "Authentication successful")
}

/// One line, for there are customers that read only one (appendix A7 of the rules).
pub(super) fn turn() -> Reply {
    Reply::enhanced(250, 0, 0, "Ok, now reversing the connection")
}

pub(super) fn start_tls() -> Reply {
    Reply::enhanced(220, 0, 0, "Ready to start TLS")
}

pub(super) fn tls_unavailable() -> Reply {
    Reply::enhanced(454, 7, 0, "TLS not available at present")
}

pub(super) fn tls_required() -> Reply {
    Reply::enhanced(530, 7, 0, "Must issue a STARTTLS command first")
}

/// Octets behind STARTTLS: an injection, or a customer that would misread what follows (rule C1).
pub(super) fn ahead_of_tls() -> Reply {
    Reply::enhanced(421, 7, 0, "Nothing may follow STARTTLS, closing connection")
}

pub(super) fn timed_out() -> Reply {
    Reply::enhanced(421, 4, 2, "Timeout, closing connection")
}

pub(super) fn shutting_down() -> Reply {
    Reply::enhanced(421, 3, 2, "Service shutting down, try again later")
}

pub(super) fn internal() -> Reply {
    Reply::enhanced(421, 3, 0, "Internal error, try again later")
}

pub(super) fn too_many_errors() -> Reply {
    Reply::enhanced(421, 7, 0, "Too many errors, closing connection")
}

pub(super) fn not_smtp() -> Reply {
    Reply::enhanced(421, 7, 0, "This is not HTTP")
}

/// The same for a foreign domain and for one nobody knows: nothing to be learnt (rule R18).
pub(super) fn refused() -> Reply {
    Reply::enhanced(450, 7, 0, "ATRN request refused")
}

pub(super) fn busy() -> Reply {
    Reply::enhanced(450, 7, 0, "ATRN request refused, another session is active")
}

pub(super) fn too_soon() -> Reply {
    Reply::enhanced(450, 7, 0, "ATRN request refused, too soon after the last")
}

pub(super) fn access_unknown() -> Reply {
    Reply::enhanced(451, 4, 3, "Unable to process ATRN request now")
}

pub(super) fn queue_unavailable() -> Reply {
    Reply::enhanced(451, 3, 0, "Unable to process ATRN request now")
}

pub(super) fn no_mail() -> Reply {
    Reply::enhanced(453, 0, 0, "You have no mail")
}

pub(super) fn cannot_judge() -> Reply {
    Reply::enhanced(454, 7, 0, "Temporary authentication failure")
}

pub(super) fn wrong_credentials() -> Reply {
    Reply::enhanced(535, 7, 8, "Authentication credentials invalid")
}

pub(super) fn authentication_required() -> Reply {
    Reply::enhanced(530, 7, 0, "Authentication required")
}

pub(super) fn exchange_line_too_long() -> Reply {
    Reply::enhanced(500, 5, 6, "Authentication exchange line is too long")
}

pub(super) fn cancelled() -> Reply {
    Reply::enhanced(501, 7, 0, "Authentication cancelled")
}

pub(super) fn no_initial_response() -> Reply {
    Reply::enhanced(501, 7, 0, "This mechanism takes no initial response")
}

pub(super) fn not_decodable() -> Reply {
    Reply::enhanced(501, 5, 2, "Cannot decode the response")
}

pub(super) fn bad_line() -> Reply {
    Reply::enhanced(500, 5, 2, "Line is too long or has a stray CR, LF or NUL")
}

pub(super) fn unknown_command() -> Reply {
    Reply::enhanced(500, 5, 2, "Command not recognized")
}

pub(super) fn bad_argument() -> Reply {
    Reply::enhanced(501, 5, 4, "Syntax error in parameters")
}

pub(super) fn not_implemented() -> Reply {
    Reply::enhanced(502, 5, 1, "Command not implemented")
}

pub(super) fn out_of_place(why: &str) -> Reply {
    Reply::enhanced(503, 5, 1, why)
}

pub(super) fn unknown_mechanism() -> Reply {
    Reply::enhanced(504, 5, 4, "Authentication mechanism not available")
}
