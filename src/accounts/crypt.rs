//! The forms of password hashes, checked when the file is read: a damaged hash would lock its user out in silence, or
//! fit every password, and a cost with one digit too many would take the machine.

use argon2::password_hash::phc;

/// `$argon2id$v=19$m=...,t=...,p=...$salt$hash`, with a cost that one login may have.
pub(super) fn argon2id(text: &str) -> Result<(), &'static str> {
    let wrong = "not $argon2id$v=19$m=...,t=...,p=...$salt$hash";
    let hash = phc::PasswordHash::new(text).map_err(|_| wrong)?;
    let params = argon2::Params::try_from(&hash).map_err(|_| wrong)?;
    let right = hash.algorithm.as_str() == "argon2id"
        && hash.version == Some(19)
        && hash.salt.is_some()
        && hash.hash.is_some_and(|output| output.as_ref().len() >= 16);
    if !right {
        return Err(wrong);
    }
    // A slip of one digit must not take the machine's memory.
    if params.m_cost() > 1 << 20 || params.t_cost() > 100 || params.p_cost() > 64 {
        return Err("more than 1 GiB of memory, 100 passes or 64 lanes");
    }
    Ok(())
}

/// `$6$salt$hash` or `$6$rounds=N$salt$hash`.
pub(super) fn sha512_crypt(text: &str) -> Result<(), &'static str> {
    let wrong = "not $6$salt$hash or $6$rounds=N$salt$hash";
    let rest = text.strip_prefix("$6$").ok_or(wrong)?;
    let rest = match rest.strip_prefix("rounds=") {
        None => rest,
        Some(rest) => {
            let (rounds, rest) = rest.split_once('$').ok_or(wrong)?;
            let rounds = rounds.parse().unwrap_or(0);
            if !(1000..=10_000_000).contains(&rounds) {
                return Err("the rounds are a number from 1000 to 10000000");
            }
            rest
        }
    };
    let (salt, hash) = rest.split_once('$').ok_or(wrong)?;
    if salt.is_empty() || salt.len() > 16 || !crypt_letters(salt) {
        return Err("the salt has 1 to 16 letters, digits, dots or slashes");
    }
    if hash.len() != 86 || !crypt_letters(hash) {
        return Err("the hash has 86 letters, digits, dots or slashes");
    }
    Ok(())
}

/// `$y$parameters$salt$hash`.
pub(super) fn yescrypt(text: &str) -> Result<(), &'static str> {
    let wrong = "not $y$parameters$salt$hash";
    let rest = text.strip_prefix("$y$").ok_or(wrong)?;
    let fields: Vec<&str> = rest.split('$').take(4).collect();
    let &[params, salt, hash] = fields.as_slice() else {
        return Err(wrong);
    };
    if ![params, salt, hash].into_iter().all(crypt_letters)
        || params.is_empty()
        || params.len() > 16
    {
        return Err(wrong);
    }
    if salt.is_empty() || salt.len() > 86 {
        return Err("the salt has 1 to 86 letters, digits, dots or slashes");
    }
    // An empty hash would fit every password.
    if hash.len() != 43 {
        return Err("the hash has 43 letters, digits, dots or slashes");
    }
    let params: yescrypt::Params = params.parse().map_err(|_| wrong)?;
    if params
        .n()
        .saturating_mul(u64::from(params.r()))
        .saturating_mul(128)
        > 1 << 30
    {
        return Err("more than 1 GiB of memory");
    }
    Ok(())
}

fn crypt_letters(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/'))
}
