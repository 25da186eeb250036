//! What a mail server's exit code says: that it failed, or what became of a message.
//!
//! Sendmail ends with the code (sysexits) of the last thing that it refused, although it told the provider, took all
//! the rest and said 221. That is a fetch like any other. The same codes may be those of a program that has not come
//! so far, so it counts whether the provider was heard after the turn: it speaks only when it was greeted.

/// `EX_USAGE` (an address of a wrong form), `EX_DATAERR`, `EX_NOINPUT`, `EX_NOUSER`, `EX_NOHOST`, `EX_UNAVAILABLE`,
/// `EX_PROTOCOL` and `EX_NOPERM`. What is missing among 64 to 78 is trouble on this machine, or passes (75).
const OF_MAIL: [i32; 8] = [64, 65, 66, 67, 68, 69, 76, 77];

/// Of these, those with which Sendmail does not end when it cannot begin.
const OF_MAIL_ALONE: [i32; 3] = [65, 67, 68];

/// Does this code say what became of a message in a session that was held? `heard` tells that the provider spoke after
/// the turn; a very short session may have gone by unseen.
pub(super) fn is_about_mail(code: Option<i32>, is_sendmail: bool, heard: bool) -> bool {
    code.is_some_and(|code| {
        (heard && OF_MAIL.contains(&code)) || (is_sendmail && OF_MAIL_ALONE.contains(&code))
    })
}

#[cfg(test)]
mod tests {
    use super::is_about_mail;

    #[test]
    fn a_code_is_of_mail_when_the_provider_was_heard_or_when_nothing_else_can_be_meant() {
        assert!(is_about_mail(Some(64), true, true));
        assert!(is_about_mail(Some(68), false, true));
        assert!(is_about_mail(Some(68), true, false));
        assert!(!is_about_mail(Some(64), true, false));
        assert!(!is_about_mail(Some(68), false, false));
        for code in [1, 2, 70, 71, 72, 73, 74, 75, 78, 126, 127] {
            assert!(!is_about_mail(Some(code), true, true), "{code}");
        }
        assert!(!is_about_mail(None, true, true));
    }
}
