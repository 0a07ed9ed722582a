//! Targets of ward-crypto.

use std::cell::RefCell;
use ward_crypto::{
    ColumnType, Decryptor, Encryptor, Envelope, FieldPath, Form, MAX_ITERATIONS, MAX_PATH_STEPS,
    MIN_ITERATIONS, OVERHEAD, PASSWORD_OVERHEAD, PasswordEnvelope, SearchTagger, SecretKey,
    ValueType, WrapContext, blind_index, field_envelope, field_text, parse_master_keys,
    type_modifier, unwrap_key, wrap_key,
};

/// The key that hostile envelopes are made for.
pub fn key() -> SecretKey {
    SecretKey::new([0x42; 32])
}

thread_local! {
    static ENCRYPTOR: RefCell<Encryptor> = RefCell::new(Encryptor::new(&key(), [1; 12], [2; 12]));
    static DECRYPTOR: RefCell<Decryptor> = RefCell::new(Decryptor::new(&key()));
}

/// The bytes as an envelope; and as a value, whose envelope is then changed as the bytes say.
pub fn envelope(bytes: &[u8]) {
    if let Ok(envelope) = Envelope::parse(bytes) {
        assert_eq!(envelope.plaintext_len() + OVERHEAD, bytes.len());
        // Whatever it claims: its tag was not made with this key.
        let named = envelope.key_id() == key().id();
        let opened = DECRYPTOR.with_borrow_mut(|decryptor| decryptor.open(&envelope, None));
        assert!(opened.is_err() || (named && is_seed(bytes)));
    }
    let Some((place, value)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let mut sealed = Vec::new();
    ENCRYPTOR
        .with_borrow_mut(|encryptor| {
            encryptor.seal_into(ValueType::Text, value, Some(value), &mut sealed)
        })
        .unwrap();
    let open = |sealed: &[u8], aad: Option<&[u8]>| {
        let envelope = Envelope::parse(sealed).ok()?;
        DECRYPTOR
            .with_borrow_mut(|decryptor| decryptor.open(&envelope, aad))
            .ok()
    };
    assert_eq!(open(&sealed, Some(value)).unwrap().as_slice(), value);
    assert!(open(&sealed, None).is_none());
    let bit = usize::from(u16::from_be_bytes(*place)) % (sealed.len() * 8);
    sealed[bit / 8] ^= 1 << (bit % 8);
    assert!(open(&sealed, Some(value)).is_none());
}

/// Only the seed of the corpus was sealed with this key and without additional data.
fn is_seed(bytes: &[u8]) -> bool {
    crate::seeds::sealed().as_slice() == bytes
}

/// The bytes as a value of the column types, as its text form, and as a text to store.
pub fn column_value(bytes: &[u8]) {
    let key_name = String::from_utf8_lossy(bytes);
    assert!(type_modifier(&key_name) > 0);
    for column in [ColumnType::EncryptedText, ColumnType::SecretText] {
        if let Ok(value) = column.parse(bytes) {
            let len = value.envelope.plaintext_len();
            assert_eq!(len + column.overhead(), bytes.len());
            let text = column_text(column, bytes);
            assert_eq!(column.from_text(&text, Vec::new()).as_deref(), Some(bytes));
        }
        if let Some(value) = column.from_text(bytes, Vec::new()) {
            assert!(column.parse(&value).is_ok());
            assert_eq!(column_text(column, &value), bytes);
        }
        let stored = stored(column, bytes);
        for other in [ColumnType::EncryptedText, ColumnType::SecretText] {
            let opened = other.parse(&stored).ok().and_then(|value| {
                let aad = Some(other.aad());
                DECRYPTOR.with_borrow_mut(|keyed| keyed.open(&value.envelope, aad).ok())
            });
            let expected = (other == column).then_some(bytes);
            assert_eq!(opened.as_ref().map(|text| text.as_slice()), expected);
        }
    }
}

/// The text form of a column's value.
pub fn column_text(column: ColumnType, value: &[u8]) -> Vec<u8> {
    let mut text = vec![0; column.text_len(value.len())];
    column.write_text(value, &mut text).unwrap();
    text
}

/// A text as a column holds it.
pub fn stored(column: ColumnType, text: &[u8]) -> Vec<u8> {
    let tagger = SearchTagger::new(&key());
    let tag = tagger.tag(text);
    let mut value = vec![0; column.head_len()];
    let search = Some((&tag, tagger.search_key_id()));
    column.write_head(Form::Stored, search, &mut value);
    ENCRYPTOR
        .with_borrow_mut(|keyed| {
            keyed.seal_into(ValueType::Text, text, Some(column.aad()), &mut value)
        })
        .unwrap();
    value
}

/// The bytes as an envelope under a password. Nothing is derived: that would only be slow.
pub fn password_envelope(bytes: &[u8]) {
    if let Ok(envelope) = PasswordEnvelope::parse(bytes) {
        assert!((MIN_ITERATIONS..=MAX_ITERATIONS).contains(&envelope.params().iterations()));
        assert_eq!(envelope.plaintext_len() + PASSWORD_OVERHEAD, bytes.len());
        assert!(Envelope::parse(bytes).is_err());
        let _ = envelope.expect_type(ValueType::Text);
    }
}

/// The bytes as the text of master keys, and as a wrapped key.
pub fn master_key(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(masters) = parse_master_keys(text)
    {
        assert!(!masters.is_empty());
        let context = WrapContext {
            key: [1; 16],
            version: 1,
            purpose: "data_encryption",
        };
        assert!(unwrap_key(&masters, &context, bytes).is_err());
        let wrapped = wrap_key(&masters[0], &context, &key(), [3; 24]).unwrap();
        let unwrapped = unwrap_key(&masters, &context, &wrapped);
        assert_eq!(unwrapped.ok().unwrap().expose(), key().expose());
    }
    let masters = parse_master_keys(&"11".repeat(32)).ok().unwrap();
    let context = WrapContext {
        key: [1; 16],
        version: 1,
        purpose: "",
    };
    assert!(unwrap_key(&masters, &context, bytes).is_err());
}

/// The bytes as a path, as the text of a field, and as values and domain of a blind index.
pub fn field(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(path) = FieldPath::parse(text)
    {
        assert!((1..=MAX_PATH_STEPS).contains(&path.steps().len()));
        assert_ne!(path.binding(None), path.binding(Some(b"")));
    }
    if let Ok(Some(envelope)) = field_envelope(bytes, Vec::new()) {
        assert_eq!(field_text(&envelope, String::new()).as_bytes(), bytes);
    }
    let bits = bytes.first().map_or(0, |first| u16::from(*first) * 2);
    let index = blind_index(&key(), bytes, bits, &[bytes]);
    assert_eq!(index.is_ok(), (8..=256).contains(&bits));
}
