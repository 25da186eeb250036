//! What a mail server's exit code says: that it failed, or what became of a message.
//!
//! Sendmail ends with the code (sysexits) of the last thing that it refused, although it told the provider, took all
//! the rest and said 221. That is a fetch like any other. The same codes may be those of a program that has not come
//! so far, so it counts whether the provider was heard after the turn: it speaks only when it was greeted.

/// `EX_USAGE` (an address of a wrong form), `EX_DATAERR`, `EX_NOINPUT`, `EX_NOUSER`, `EX_NOHOST`, `EX_UNAVAILABLE`,
/// `EX_PROTOCOL` and `EX_NOPERM`. What is missing among 64 to 78 is trouble on this machine, or passes (75).
const OF_MAIL: [i32; 8] = [64, 65, 66, 67, 68, 69, 76, 77];

/// Does this code say what became of a message in a session that was held? Sendmail alone is known to end so, and only
/// when the provider was `heard` after the turn: what ends before that has not served.
pub(super) fn is_about_mail(code: Option<i32>, is_sendmail: bool, heard: bool) -> bool {
    is_sendmail && heard && code.is_some_and(|code| OF_MAIL.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::is_about_mail;

    #[test]
    fn a_code_is_of_mail_when_it_is_sendmails_and_the_provider_was_heard() {
        assert!(is_about_mail(Some(64), true, true));
        assert!(is_about_mail(Some(68), true, true));
        assert!(!is_about_mail(Some(68), false, true));
        assert!(!is_about_mail(Some(68), true, false));
        for code in [1, 2, 70, 71, 72, 73, 74, 75, 78, 126, 127] {
            assert!(!is_about_mail(Some(code), true, true), "{code}");
        }
        assert!(!is_about_mail(None, true, true));
    }
}
