//! Values under a password: what opens, and that nothing else does.

use proptest::prelude::*;
use std::convert::Infallible;
use ward_crypto::{
    CryptoError, EnvelopeField, MAX_ITERATIONS, MIN_ITERATIONS, PASSWORD_OVERHEAD,
    PasswordEncryptor, PasswordEnvelope, PasswordKey, PasswordParams, ValueType,
};

const PASSWORD: &[u8] = b"correct horse battery staple";

fn key(password: &[u8], params: PasswordParams) -> PasswordKey {
    let Ok(key) = PasswordKey::derive(password, params, || Ok::<_, Infallible>(()));
    key
}

fn params() -> PasswordParams {
    PasswordParams::new(MIN_ITERATIONS, [9; 16]).unwrap()
}

fn encryptor() -> PasswordEncryptor {
    PasswordEncryptor::new(key(PASSWORD, params()), [1; 12], [2; 12])
}

fn sealed(plaintext: &[u8], aad: Option<&[u8]>) -> Vec<u8> {
    let mut out = vec![0; plaintext.len() + PASSWORD_OVERHEAD];
    encryptor()
        .seal_to(ValueType::Text, plaintext, aad, &mut out)
        .unwrap();
    out
}

/// Opens without deriving again unless salt or iterations differ.
fn opened(
    key: &mut PasswordKey,
    envelope: &[u8],
    aad: Option<&[u8]>,
) -> Result<Vec<u8>, CryptoError> {
    let envelope = PasswordEnvelope::parse(envelope)?;
    Ok(key.open(&envelope, aad)?.to_vec())
}

#[test]
fn an_envelope_says_how_its_key_was_made() {
    let bytes = sealed(b"value", None);
    assert_eq!(bytes.len(), PASSWORD_OVERHEAD + 5);
    let envelope = PasswordEnvelope::parse(&bytes).unwrap();
    assert_eq!(envelope.params(), &params());
    assert_eq!(envelope.value_type(), ValueType::Text);
    assert_eq!(envelope.plaintext_len(), 5);
    assert_eq!(
        format!("{envelope:?}"),
        "PasswordEnvelope { value_type: Text, iterations: 100000, plaintext_len: 5, .. }"
    );
}

#[test]
fn another_password_is_told_from_a_changed_value() {
    let envelope = sealed(b"value", Some(b"place"));
    let mut right = key(PASSWORD, params());
    let mut wrong = key(b"correct horse battery stapl", params());
    assert_eq!(
        opened(&mut right, &envelope, Some(b"place")).unwrap(),
        b"value"
    );
    assert_eq!(
        opened(&mut wrong, &envelope, Some(b"place")),
        Err(CryptoError::WrongPassword)
    );
    for aad in [None, Some(b"".as_slice()), Some(b"plac")] {
        assert_eq!(
            opened(&mut right, &envelope, aad),
            Err(CryptoError::AuthenticationFailed)
        );
    }
}

#[test]
fn every_flipped_bit_fails() {
    let envelope = sealed(b"4111 1111 1111 1111", None);
    let mut key = key(PASSWORD, params());
    assert!(opened(&mut key, &envelope, None).is_ok());
    for bit in 0..envelope.len() * 8 {
        let mut flipped = envelope.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = opened(&mut key, &flipped, None).unwrap_err();
        let unknown = |field| vec![CryptoError::UnknownFormat { field }];
        let expected = match bit / 8 {
            0 => unknown(EnvelopeField::Magic),
            1 if bit % 8 == 1 => vec![CryptoError::NeedsKey],
            1 => unknown(EnvelopeField::Suite),
            2 if bit % 8 == 1 => vec![CryptoError::AuthenticationFailed],
            2 => unknown(EnvelopeField::ValueType),
            3 => unknown(EnvelopeField::Flags),
            4 => unknown(EnvelopeField::Kdf),
            // This key was derived with other parameters.
            5..9 => vec![CryptoError::Iterations, CryptoError::WrongKey],
            9..25 => vec![CryptoError::WrongKey],
            25..57 => vec![CryptoError::WrongPassword],
            _ => vec![CryptoError::AuthenticationFailed],
        };
        assert!(expected.contains(&error), "bit {bit}: {error:?}");
    }
}

#[test]
fn a_changed_salt_is_a_wrong_password() {
    let mut envelope = sealed(b"value", None);
    envelope[9] ^= 1;
    let changed = *PasswordEnvelope::parse(&envelope).unwrap().params();
    let result = opened(&mut key(PASSWORD, changed), &envelope, None);
    assert_eq!(result, Err(CryptoError::WrongPassword));
}

#[test]
fn every_truncation_and_extension_fails() {
    let envelope = sealed(b"value", None);
    let mut key = key(PASSWORD, params());
    for len in 0..envelope.len() {
        let expected = if len < PASSWORD_OVERHEAD {
            CryptoError::Truncated {
                len,
                least: PASSWORD_OVERHEAD,
            }
        } else {
            CryptoError::AuthenticationFailed
        };
        assert_eq!(opened(&mut key, &envelope[..len], None), Err(expected));
    }
    let longer = [&envelope[..], b"\0"].concat();
    assert_eq!(
        opened(&mut key, &longer, None),
        Err(CryptoError::AuthenticationFailed)
    );
}

#[test]
fn a_hostile_number_of_iterations_is_refused_before_any_work() {
    let envelope = sealed(b"value", None);
    for hostile in [0, 1, MIN_ITERATIONS - 1, MAX_ITERATIONS + 1, u32::MAX] {
        let mut changed = envelope.clone();
        changed[5..9].copy_from_slice(&hostile.to_be_bytes());
        assert_eq!(
            PasswordEnvelope::parse(&changed).err(),
            Some(CryptoError::Iterations)
        );
        assert_eq!(
            PasswordParams::new(hostile, [0; 16]),
            Err(CryptoError::Iterations)
        );
    }
    assert!(PasswordParams::new(MAX_ITERATIONS, [0; 16]).is_ok());
}

#[test]
fn suites_are_not_mistaken_for_each_other() {
    let mut envelope = sealed(b"value", None);
    assert_eq!(
        ward_crypto::Envelope::parse(&envelope).err(),
        Some(CryptoError::NeedsPassword)
    );
    envelope[1] = 1;
    assert_eq!(
        PasswordEnvelope::parse(&envelope).err(),
        Some(CryptoError::NeedsKey)
    );
}

#[test]
fn a_buffer_of_the_wrong_length_is_refused() {
    let mut encryptor = encryptor();
    let (needed, given) = (PASSWORD_OVERHEAD + 5, 5);
    let result = encryptor.seal_to(ValueType::Text, b"value", None, &mut vec![0; given]);
    assert_eq!(result, Err(CryptoError::BufferSize { needed, given }));
    let envelope = sealed(b"value", None);
    let envelope = PasswordEnvelope::parse(&envelope).unwrap();
    let result = encryptor.key().open_to(&envelope, None, &mut [0; 4]);
    let (needed, given) = (5, 4);
    assert_eq!(result, Err(CryptoError::BufferSize { needed, given }));
}

#[test]
fn one_encryptor_gives_each_value_its_own_nonce() {
    let mut encryptor = encryptor();
    let mut nonces = std::collections::HashSet::new();
    for _ in 0..1000 {
        let mut out = vec![0; PASSWORD_OVERHEAD + 5];
        encryptor
            .seal_to(ValueType::Text, b"value", None, &mut out)
            .unwrap();
        assert!(nonces.insert(out[57..81].to_vec()));
        let envelope = PasswordEnvelope::parse(&out).unwrap();
        assert_eq!(*encryptor.key().open(&envelope, None).unwrap(), b"value");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn what_is_sealed_opens(
        password in proptest::collection::vec(any::<u8>(), 1..200),
        salt: [u8; 16],
        plaintext in proptest::collection::vec(any::<u8>(), 0..5000),
        aad in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..400)),
    ) {
        let params = PasswordParams::new(MIN_ITERATIONS, salt).unwrap();
        let mut out = vec![0; plaintext.len() + PASSWORD_OVERHEAD];
        PasswordEncryptor::new(key(&password, params), [3; 12], [4; 12])
            .seal_to(ValueType::Jsonb, &plaintext, aad.as_deref(), &mut out)
            .unwrap();
        let envelope = PasswordEnvelope::parse(&out).unwrap();
        let opened = key(&password, *envelope.params()).open(&envelope, aad.as_deref());
        prop_assert!(*opened.unwrap() == plaintext);
    }
}
