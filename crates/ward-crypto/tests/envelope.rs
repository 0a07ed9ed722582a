//! Envelopes: what opens, and that nothing else does.

use proptest::prelude::*;
use ward_crypto::{
    CryptoError, Decryptor, Encryptor, Envelope, EnvelopeField, OVERHEAD, SecretKey, Suite,
    ValueType,
};

const TYPES: [ValueType; 3] = [ValueType::Text, ValueType::Bytea, ValueType::Jsonb];

fn key() -> SecretKey {
    SecretKey::new([0x42; 32])
}

fn encryptor() -> Encryptor {
    Encryptor::new(&key(), [1; 12], [2; 12])
}

fn sealed(plaintext: &[u8], aad: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    encryptor()
        .seal_into(ValueType::Text, plaintext, aad, &mut out)
        .unwrap();
    out
}

fn opened(envelope: &[u8], aad: Option<&[u8]>) -> Result<Vec<u8>, CryptoError> {
    let envelope = Envelope::parse(envelope)?;
    let plaintext = Decryptor::new(&key()).open(&envelope, aad)?;
    Ok(plaintext.to_vec())
}

#[test]
fn an_envelope_says_how_it_was_made() {
    for value_type in TYPES {
        let mut out = b"before".to_vec();
        let mut encryptor = encryptor();
        encryptor
            .seal_into(value_type, b"value", None, &mut out)
            .unwrap();
        assert_eq!(&out[..6], b"before");
        assert_eq!(out.len(), 6 + OVERHEAD + 5);
        let envelope = Envelope::parse(&out[6..]).unwrap();
        assert_eq!(envelope.value_type(), value_type);
        assert_eq!(envelope.suite(), Suite::Xaes256Gcm);
        assert_eq!(envelope.key_id(), key().id());
        assert_eq!(envelope.plaintext_len(), 5);
        assert_eq!(encryptor.used(), 1);
        assert_eq!(opened(&out[6..], None).unwrap(), b"value");
    }
}

#[test]
fn an_empty_value_opens() {
    let envelope = sealed(b"", Some(b"place"));
    assert_eq!(envelope.len(), OVERHEAD);
    assert_eq!(opened(&envelope, Some(b"place")).unwrap(), b"");
    assert_eq!(
        opened(&envelope, None),
        Err(CryptoError::AuthenticationFailed)
    );
}

#[test]
fn every_flipped_bit_fails() {
    for aad in [None, Some(b"place".as_slice())] {
        let envelope = sealed(b"4111 1111 1111 1111", aad);
        assert!(opened(&envelope, aad).is_ok());
        for bit in 0..envelope.len() * 8 {
            let mut flipped = envelope.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = opened(&flipped, aad).unwrap_err();
            let expected = match bit / 8 {
                0 => CryptoError::UnknownFormat {
                    field: EnvelopeField::Magic,
                },
                // Suite 1 with one bit flipped is suite 3.
                1 if bit % 8 == 1 => CryptoError::NeedsPassword,
                1 => CryptoError::UnknownFormat {
                    field: EnvelopeField::Suite,
                },
                // Text with one bit flipped is jsonb.
                2 if bit % 8 == 1 => CryptoError::AuthenticationFailed,
                2 => CryptoError::UnknownFormat {
                    field: EnvelopeField::ValueType,
                },
                3 => CryptoError::UnknownFormat {
                    field: EnvelopeField::Flags,
                },
                4..12 => CryptoError::WrongKey,
                _ => CryptoError::AuthenticationFailed,
            };
            assert_eq!(error, expected, "bit {bit}");
        }
    }
}

#[test]
fn every_truncation_and_extension_fails() {
    let envelope = sealed(b"value", None);
    for len in 0..envelope.len() {
        let expected = if len < OVERHEAD {
            CryptoError::Truncated {
                len,
                least: OVERHEAD,
            }
        } else {
            CryptoError::AuthenticationFailed
        };
        assert_eq!(opened(&envelope[..len], None), Err(expected), "{len} bytes");
    }
    let longer = [&envelope[..], b"\0"].concat();
    assert_eq!(
        opened(&longer, None),
        Err(CryptoError::AuthenticationFailed)
    );
}

#[test]
fn foreign_bytes_are_not_called_truncated() {
    let expected = CryptoError::UnknownFormat {
        field: EnvelopeField::Magic,
    };
    for foreign in [&b"a"[..], b"plain text", &[0; 100]] {
        assert_eq!(opened(foreign, None), Err(expected));
    }
}

#[test]
fn errors_hold_nothing_of_what_was_passed() {
    // A CJK text starts with the magic byte.
    let text = "秘密".as_bytes();
    assert_eq!(text[0], 0xE7);
    let error = opened(text, None).unwrap_err();
    for shown in [error.to_string(), format!("{error:?}")] {
        for byte in text {
            assert!(!shown.contains(&byte.to_string()), "{shown}");
            assert!(!shown.contains(&format!("{byte:02x}")), "{shown}");
        }
    }
}

#[test]
fn additional_data_must_be_the_same() {
    let aads: [Option<&[u8]>; 5] = [None, Some(b""), Some(b"\0"), Some(b"a"), Some(&[7; 1000])];
    for sealed_with in aads {
        let envelope = sealed(b"value", sealed_with);
        for opened_with in aads {
            let result = opened(&envelope, opened_with);
            if sealed_with == opened_with {
                assert_eq!(result.unwrap(), b"value");
            } else {
                assert_eq!(result, Err(CryptoError::AuthenticationFailed));
            }
        }
    }
}

#[test]
fn another_key_is_refused_before_anything_else() {
    let envelope = sealed(b"value", None);
    let envelope = Envelope::parse(&envelope).unwrap();
    let mut other = Decryptor::new(&SecretKey::new([0x43; 32]));
    assert_eq!(
        other.open(&envelope, None).err(),
        Some(CryptoError::WrongKey)
    );
}

#[test]
fn the_type_can_be_insisted_on() {
    let envelope = sealed(b"value", None);
    let envelope = Envelope::parse(&envelope).unwrap();
    assert_eq!(envelope.expect_type(ValueType::Text), Ok(()));
    let error = envelope.expect_type(ValueType::Jsonb).unwrap_err();
    assert_eq!(error.to_string(), "the encrypted value is text, not jsonb");
}

#[test]
fn a_buffer_of_the_wrong_length_is_refused_without_using_a_nonce() {
    let mut encryptor = encryptor();
    for given in [0, OVERHEAD + 4, OVERHEAD + 6] {
        let result = encryptor.seal_to(ValueType::Text, b"value", None, &mut vec![0; given]);
        let needed = OVERHEAD + 5;
        assert_eq!(result, Err(CryptoError::BufferSize { needed, given }));
    }
    assert_eq!(encryptor.used(), 0);

    let envelope = sealed(b"value", None);
    let result =
        Decryptor::new(&key()).open_to(&Envelope::parse(&envelope).unwrap(), None, &mut [0; 4]);
    let (needed, given) = (5, 4);
    assert_eq!(result, Err(CryptoError::BufferSize { needed, given }));
}

#[test]
fn the_same_value_twice_gives_two_envelopes() {
    let mut encryptor = encryptor();
    let mut envelopes = std::collections::HashSet::new();
    for _ in 0..1000 {
        let mut out = Vec::new();
        encryptor
            .seal_into(ValueType::Text, b"value", None, &mut out)
            .unwrap();
        let nonce = out[12..36].to_vec();
        let ciphertext = out[36..].to_vec();
        assert!(envelopes.insert(nonce));
        assert!(envelopes.insert(ciphertext));
    }
    assert_eq!(encryptor.used(), 1000);
}

#[test]
fn debug_output_holds_no_secret() {
    let envelope = sealed(b"value", None);
    let key_id = key().id();
    assert_eq!(format!("{key_id}").len(), 16);
    assert_eq!(
        format!("{:?}", Envelope::parse(&envelope).unwrap()),
        format!(
            "Envelope {{ suite: Xaes256Gcm, value_type: Text, key_id: KeyId({key_id}), plaintext_len: 5, .. }}"
        )
    );
    assert_eq!(
        format!("{:?}", encryptor()),
        format!("Encryptor {{ key_id: KeyId({key_id}), used: 0, .. }}")
    );
    assert_eq!(
        format!("{:?}", Decryptor::new(&key())),
        format!("Decryptor {{ key_id: KeyId({key_id}), .. }}")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_sealed_opens(
        material: [u8; 32],
        prefix: [u8; 12],
        start: [u8; 12],
        value_type in proptest::sample::select(&TYPES[..]),
        plaintext in proptest::collection::vec(any::<u8>(), 0..=65_536),
        aad in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..400)),
    ) {
        let key = SecretKey::new(material);
        let mut out = Vec::new();
        Encryptor::new(&key, prefix, start)
            .seal_into(value_type, &plaintext, aad.as_deref(), &mut out)
            .unwrap();
        prop_assert_eq!(out.len(), plaintext.len() + OVERHEAD);
        let envelope = Envelope::parse(&out).unwrap();
        prop_assert_eq!(envelope.value_type(), value_type);
        let opened = Decryptor::new(&key).open(&envelope, aad.as_deref()).unwrap();
        prop_assert!(*opened == plaintext);
    }

    #[test]
    fn any_bytes_are_parsed_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let with_magic = [&[0xE7, 1, 1, 0][..], &bytes].concat();
        for input in [&bytes, &with_magic] {
            if let Ok(envelope) = Envelope::parse(input) {
                prop_assert!(Decryptor::new(&key()).open(&envelope, None).is_err());
            }
        }
    }
}
