//! Exim's retry rules, by which the mail of a customer who is away stays in the queue.

use super::Exim;
use crate::check::finding::Findings;

/// A retry rule that gives up sooner is a danger: the customer may be away for so long.
const LONG: u64 = 30 * 24 * 3600;

/// A customer that has put off a message should find it again when he calls the next time.
const SHORT: u64 = 60;

/// For so many domains the retry rule is looked at, one by one: there is mostly one for all.
const RULES: usize = 20;

/// Does a failure leave the mail in the queue, and for how long?
pub(super) async fn retries(exim: &Exim, domains: &[String], findings: &mut Findings) {
    const RULE: &str = "*@+odmr_domains  *  F,365d,1s";
    let mut seen: Vec<String> = Vec::new();
    for domain in domains.iter().take(RULES) {
        let Ok(rule) = exim.retry_rule(domain).await else {
            continue;
        };
        if seen.contains(&rule) {
            continue;
        }
        let (first, last) = times(&rule);
        if rule.is_empty() {
            findings
                .error("Exim, retry", format!("there is no rule for {domain}, and without one the first failure returns the mail to its sender"))
                .fix(RULE);
        } else if last.is_none_or(|last| last < LONG) {
            findings
                .error("Exim, retry", format!("the rule for {domain} ({}) gives up too soon: what has waited longer than that for its customer is returned to the sender when he calls", rule.trim_end_matches([';', ' '])))
                .fix(RULE);
        } else if first.is_none_or(|first| first > SHORT) {
            findings
                .warning("Exim, retry", format!("the rule for {domain} begins with a long interval, so mail that a customer has put off may not be tried when he calls again"))
                .fix(RULE);
        }
        seen.push(rule);
    }
}

/// The first interval and the last end of a rule such as `*  *  F,2h,15m; G,16h,1h,1.5; F,4d,6h;`, in seconds.
fn times(rule: &str) -> (Option<u64>, Option<u64>) {
    let parts = || {
        rule.split_whitespace().filter(|word| {
            word.starts_with("F,") || word.starts_with("G,") || word.starts_with("H,")
        })
    };
    let field = |part: &str, index: usize| {
        part.trim_end_matches(';')
            .split(',')
            .nth(index)
            .and_then(seconds)
    };
    (
        parts().next().and_then(|part| field(part, 2)),
        parts().next_back().and_then(|part| field(part, 1)),
    )
}

/// Exim's notation of a time, such as `52w1d` or `1h30m`.
fn seconds(text: &str) -> Option<u64> {
    let (mut all, mut number) = (0_u64, 0_u64);
    for c in text.chars() {
        if let Some(digit) = c.to_digit(10) {
            number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 24 * 3600,
            'w' => 7 * 24 * 3600,
            _ => return None,
        };
        all = all.checked_add(number.checked_mul(unit)?)?;
        number = 0;
    }
    all.checked_add(number)
}

#[cfg(test)]
mod tests {
    use super::{seconds, times};

    #[test]
    fn a_retry_rule_has_a_first_interval_and_an_end() {
        let day = 24 * 3600;
        assert_eq!(
            times("*@+odmr_domains  *  F,52w1d,1s;"),
            (Some(1), Some(365 * day))
        );
        assert_eq!(
            times("*  *  F,2h,15m; G,16h,1h,1.5; F,4d,6h;"),
            (Some(900), Some(4 * day))
        );
        assert_eq!(times(""), (None, None));
        assert_eq!(seconds("1h30m"), Some(5400));
        assert_eq!(seconds("x"), None);
    }
}
