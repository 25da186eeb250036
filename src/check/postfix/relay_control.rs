//! Would smtpd(8) relay for the provider? Its two lists of restrictions, read as it does.
//!
//! A list guards if it comes to a refusal of foreign domains before anything in it lets the client pass. One list that
//! guards is enough: what one of them refuses the other cannot permit.

use super::lists::words;

/// What the two lists come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Guard {
    /// Foreign domains are refused, whoever asks.
    Sure,
    /// Unless the client is in `mynetworks`.
    NetworksFirst,
    /// Unless this restriction permits the client, which only its own table knows.
    Unknown(String),
    /// They are not refused.
    None,
}

/// What comes of the effective values of both lists.
pub(super) fn guard(relay: &str, recipient: &str) -> Guard {
    let [relay, recipient] = [relay, recipient].map(one);
    let rank = |guard: &Guard| match guard {
        Guard::Sure => 0,
        Guard::NetworksFirst => 1,
        Guard::Unknown(_) => 2,
        Guard::None => 3,
    };
    if rank(&recipient) < rank(&relay) {
        recipient
    } else {
        relay
    }
}

fn one(list: &str) -> Guard {
    let mut so_far = Guard::Sure;
    let words = words(list);
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        // The table of a check_..._access is no restriction of its own.
        if word.starts_with("check_") {
            let table = words.next_if(|next| next.contains(':'));
            let named = table.map_or(word.to_owned(), |table| format!("{word} {table}"));
            if so_far == Guard::Sure || so_far == Guard::NetworksFirst {
                so_far = Guard::Unknown(named);
            }
            continue;
        }
        match word {
            "reject_unauth_destination"
            | "defer_unauth_destination"
            | "reject"
            | "defer"
            | "defer_if_permit" => return so_far,
            // What they permit is our own domains, or those who have logged in.
            "permit_auth_destination" | "permit_sasl_authenticated" | "permit_tls_clientcerts" => {}
            "permit_mynetworks" => {
                if so_far == Guard::Sure {
                    so_far = Guard::NetworksFirst;
                }
            }
            permit if permit == "permit" || permit == "permit_tls_all_clientcerts" => {
                return Guard::None;
            }
            // What only refuses cannot open anything.
            known
                if known.starts_with("reject_")
                    || known.starts_with("warn_if_reject")
                    || known.starts_with("sleep") => {}
            number if number.chars().all(|c| c.is_ascii_digit()) => {}
            other => {
                if so_far != Guard::None && !matches!(so_far, Guard::Unknown(_)) {
                    so_far = Guard::Unknown(other.to_owned());
                }
            }
        }
    }
    Guard::None
}

#[cfg(test)]
mod tests {
    use super::{Guard, guard};

    #[test]
    fn one_list_that_refuses_foreign_domains_is_enough() {
        assert_eq!(guard("", "reject_unauth_destination"), Guard::Sure);
        assert_eq!(guard("reject_unauth_destination", "permit"), Guard::Sure);
        assert_eq!(
            guard("permit_sasl_authenticated, defer_unauth_destination", ""),
            Guard::Sure
        );
        assert_eq!(
            guard("reject_unknown_client_hostname reject", ""),
            Guard::Sure
        );
    }

    #[test]
    fn what_permits_before_the_refusal_decides() {
        let networks = "permit_mynetworks, reject_unauth_destination";
        assert_eq!(guard(networks, ""), Guard::NetworksFirst);
        assert_eq!(guard(networks, "reject_unauth_destination"), Guard::Sure);
        assert_eq!(guard("permit, reject_unauth_destination", ""), Guard::None);
        assert_eq!(guard("", ""), Guard::None);
        assert_eq!(
            guard("permit_mynetworks", "reject_unlisted_recipient"),
            Guard::None
        );
        assert_eq!(
            guard("check_client_access cidr:/etc/postfix/friends, reject", ""),
            Guard::Unknown("check_client_access cidr:/etc/postfix/friends".to_owned())
        );
    }
}
