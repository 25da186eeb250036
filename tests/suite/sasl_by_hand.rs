//! SCRAM written out with bare digests, as an independent partner for the tests of either side.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Mac, SimpleHmac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::sync::OnceLock;
use turnabout::sasl::scram::{ScramHash, ScramStored, derive};
use turnabout::sasl::server::ScramKeys;

pub fn b64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub fn unb64(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}

pub fn hmac(hash: ScramHash, key: &[u8], message: &[u8]) -> Vec<u8> {
    match hash {
        ScramHash::Sha1 => <SimpleHmac<Sha1>>::new_from_slice(key)
            .unwrap()
            .chain_update(message)
            .finalize()
            .into_bytes()
            .to_vec(),
        ScramHash::Sha256 => <SimpleHmac<Sha256>>::new_from_slice(key)
            .unwrap()
            .chain_update(message)
            .finalize()
            .into_bytes()
            .to_vec(),
    }
}

pub fn digest(hash: ScramHash, message: &[u8]) -> Vec<u8> {
    match hash {
        ScramHash::Sha1 => Sha1::digest(message).to_vec(),
        ScramHash::Sha256 => Sha256::digest(message).to_vec(),
    }
}

/// `Hi()` of RFC 5802, written as there.
pub fn salted(hash: ScramHash, password: &str, salt: &[u8], iterations: u32) -> Vec<u8> {
    let mut round = hmac(hash, password.as_bytes(), &[salt, &[0, 0, 0, 1]].concat());
    let mut result = round.clone();
    for _ in 1..iterations {
        round = hmac(hash, password.as_bytes(), &round);
        result.iter_mut().zip(&round).for_each(|(a, b)| *a ^= b);
    }
    result
}

/// The value of one field, like `r` in `r=abc,s=...`.
pub fn field(message: &str, key: &str) -> String {
    message
        .split(',')
        .find_map(|field| field.strip_prefix(&format!("{key}=")))
        .unwrap()
        .to_owned()
}

/// What both sides sign.
pub fn auth_message(first_bare: &str, server_first: &str, without_proof: &str) -> Vec<u8> {
    format!("{first_bare},{server_first},{without_proof}").into_bytes()
}

/// The `p=` value of a client that knows the password.
pub fn proof(hash: ScramHash, password: &str, server_first: &str, signed: &[u8]) -> String {
    let salt = unb64(&field(server_first, "s"));
    let iterations = field(server_first, "i").parse().unwrap();
    let salted = salted(hash, password, &salt, iterations);
    let client_key = hmac(hash, &salted, b"Client Key");
    let signature = hmac(hash, &digest(hash, &client_key), signed);
    let proof: Vec<u8> = client_key
        .iter()
        .zip(&signature)
        .map(|(a, b)| a ^ b)
        .collect();
    b64(&proof)
}

/// The `v=` value of a server that knows the password.
pub fn verifier(hash: ScramHash, password: &str, server_first: &str, signed: &[u8]) -> String {
    let salt = unb64(&field(server_first, "s"));
    let iterations = field(server_first, "i").parse().unwrap();
    let salted = salted(hash, password, &salt, iterations);
    b64(&hmac(hash, &hmac(hash, &salted, b"Server Key"), signed))
}

/// One user, `alice` with the password `pencil`; everybody else gets a fake that never fits.
#[derive(Debug)]
pub struct Alice;

impl ScramKeys for Alice {
    fn lookup(&self, user: &str, hash: ScramHash) -> ScramStored {
        static KEYS: [OnceLock<ScramStored>; 4] = [const { OnceLock::new() }; 4];
        let known = user == "alice";
        let password = if known { "pencil" } else { "nobody knows" };
        let slot = usize::from(known) * 2 + usize::from(hash == ScramHash::Sha1);
        let derive = || derive(hash, &password.into(), b"0123456789abcdef", 4096);
        KEYS[slot].get_or_init(derive).clone()
    }
}
