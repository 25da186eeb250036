//! The examples of the RFCs.
//!
//! The nonces of SCRAM's examples cannot be given to rsasl. So the examples are recomputed from the keys that
//! `derive` stores, and whole exchanges run against a partner written out with bare digests.

use crate::sasl_by_hand::{auth_message, digest, field, hmac, proof, unb64, verifier};
use turnabout::sasl::scram::{ScramHash, derive};
use turnabout::sasl::{cram_md5, plain};

/// Rules: B66
#[test]
fn the_cram_md5_example_of_rfc_2195_comes_out() {
    let secret = "tanstaaftanstaaf".into();
    let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
    let response = cram_md5::write("tim", &secret, challenge);
    assert_eq!(&response[..], b"tim b913a602c7eda7a495b4e6e7334d3890");
    let (user, digest) = cram_md5::parse(&response).unwrap();
    assert_eq!(user, "tim");
    assert!(cram_md5::matches(&secret, challenge, &digest));
}

/// Rules: B64
#[test]
fn the_plain_example_of_rfc_4954_has_an_authorization_identity() {
    let read = plain::parse(&unb64("dGVzdAB0ZXN0ADEyMzQ=")).unwrap();
    assert_eq!(read.authzid.as_deref(), Some("test"));
    assert_eq!(read.authcid, "test");
    assert_eq!(read.password.expose(), "1234");
}

struct Example {
    hash: ScramHash,
    first_bare: &'static str,
    server_first: &'static str,
    without_proof: &'static str,
    proof: &'static str,
    verifier: &'static str,
}

const RFC_5802: Example = Example {
    hash: ScramHash::Sha1,
    first_bare: "n=user,r=fyko+d2lbbFgONRv9qkxdawL",
    server_first: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
    without_proof: "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
    proof: "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
    verifier: "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
};

const RFC_7677: Example = Example {
    hash: ScramHash::Sha256,
    first_bare: "n=user,r=rOprNGfwEbeRWgbNEkqO",
    server_first: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    without_proof: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
    proof: "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    verifier: "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
};

/// Rules: B68
#[test]
fn the_scram_examples_of_rfc_5802_and_rfc_7677_come_out() {
    for example in [RFC_5802, RFC_7677] {
        let hash = example.hash;
        let signed = auth_message(
            example.first_bare,
            example.server_first,
            example.without_proof,
        );

        // What we would have stored for the example's user agrees with the example's messages.
        let salt = unb64(&field(example.server_first, "s"));
        let stored = derive(hash, &"pencil".into(), &salt, 4096);
        assert_eq!(
            hmac(hash, &stored.server_key, &signed),
            unb64(example.verifier)
        );
        let signature = hmac(hash, &stored.stored_key, &signed);
        let client_key: Vec<u8> = unb64(example.proof)
            .iter()
            .zip(&signature)
            .map(|(a, b)| a ^ b)
            .collect();
        assert_eq!(digest(hash, &client_key), stored.stored_key);

        // And so does the partner that the other tests rely on.
        assert_eq!(
            proof(hash, "pencil", example.server_first, &signed),
            example.proof
        );
        assert_eq!(
            verifier(hash, "pencil", example.server_first, &signed),
            example.verifier
        );
    }
}
