//! Values of the encrypted column types: the test vectors of `docs/envelope-format.md`, and what is
//! refused.

use std::collections::HashMap;
use std::path::Path;

use proptest::prelude::*;
use ward_crypto::{
    ColumnType, CryptoError, Decryptor, Encryptor, Form, SEARCH_TAG_LEN, SearchTagger, SecretKey,
    ValueType, literal_key, type_modifier,
};

type Vector = HashMap<String, String>;

fn vectors_with(name: &str) -> Vec<Vector> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/envelope-format.md");
    let document = std::fs::read_to_string(file).unwrap();
    let blocks = document.split("```text\n").skip(1);
    let vectors = blocks.map(|block| {
        let (block, _) = block.split_once("```").unwrap();
        let lines = block.lines().map(|line| line.split_once(": ").unwrap());
        lines.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    });
    vectors
        .filter(|vector: &Vector| vector.contains_key(name))
        .collect()
}

fn bytes<const N: usize>(hexadecimal: &str) -> [u8; N] {
    hex::decode(hexadecimal).unwrap().try_into().unwrap()
}

fn value(
    column: ColumnType,
    form: Form,
    key: &SecretKey,
    nonce: [u8; 24],
    tagger: &SearchTagger,
    text: &[u8],
) -> Vec<u8> {
    let (prefix, start) = nonce.split_at(12);
    let mut value = vec![0; text.len() + column.overhead()];
    let (head, envelope) = value.split_at_mut(column.head_len());
    let tag = tagger.tag(text);
    column.write_head(form, Some((&tag, tagger.search_key_id())), head);
    Encryptor::new(key, prefix.try_into().unwrap(), start.try_into().unwrap())
        .seal_to(ValueType::Text, text, Some(column.aad()), envelope)
        .unwrap();
    value
}

#[test]
fn frozen_values() {
    let vectors = vectors_with("column type");
    assert_eq!(vectors.len(), 3);
    let mut search = None;
    for vector in vectors {
        let column = match &*vector["column type"] {
            "encrypted_text" => ColumnType::EncryptedText,
            "secret_text" => ColumnType::SecretText,
            other => panic!("column type {other}"),
        };
        let form = match &*vector["form"] {
            "1" => Form::Stored,
            "2" => Form::Literal,
            other => panic!("form {other}"),
        };
        if let Some(key) = vector.get("search key") {
            search = Some(bytes::<32>(key));
        }
        let search = SecretKey::new(search.unwrap());
        let tagger = SearchTagger::new(&search);
        let key = SecretKey::new(bytes(&vector["key"]));
        if form == Form::Literal {
            assert_eq!(literal_key(&search).expose(), key.expose());
        }
        let text = hex::decode(&vector["plaintext"]).unwrap();
        if column == ColumnType::EncryptedText {
            assert_eq!(
                tagger.tag(&text),
                bytes::<SEARCH_TAG_LEN>(&vector["search tag"])
            );
            assert_eq!(
                tagger.search_key_id().0,
                bytes::<8>(&vector["search key id"])
            );
        }
        let made = value(column, form, &key, bytes(&vector["nonce"]), &tagger, &text);
        assert_eq!(hex::encode(&made), vector["value"]);

        let mut shown = vec![0; column.text_len(made.len())];
        column.write_text(&made, &mut shown).unwrap();
        assert_eq!(String::from_utf8(shown).unwrap(), vector["text"]);
        assert_eq!(
            column.from_text(vector["text"].as_bytes(), Vec::new()),
            Some(made.clone())
        );

        let parsed = column.parse(&made).unwrap();
        assert_eq!(parsed.form, form);
        let searchable = column == ColumnType::EncryptedText;
        assert_eq!(
            parsed.search_key_id,
            searchable.then(|| tagger.search_key_id())
        );
        let opened = Decryptor::new(&key).open(&parsed.envelope, Some(column.aad()));
        assert_eq!(*opened.unwrap(), text);
    }
}

#[test]
fn frozen_type_modifiers() {
    let vectors = vectors_with("key name");
    assert_eq!(vectors.len(), 2);
    for vector in vectors {
        assert_eq!(
            type_modifier(&vector["key name"]).to_string(),
            vector["modifier"]
        );
    }
}

fn sample(column: ColumnType) -> Vec<u8> {
    let tagger = SearchTagger::new(&SecretKey::new([1; 32]));
    value(
        column,
        Form::Stored,
        &SecretKey::new([2; 32]),
        [3; 24],
        &tagger,
        b"text",
    )
}

#[test]
fn one_types_value_does_not_open_as_the_others() {
    let key = SecretKey::new([2; 32]);
    let made = sample(ColumnType::SecretText);
    let parsed = ColumnType::SecretText.parse(&made).unwrap();
    for aad in [Some(ColumnType::EncryptedText.aad()), None] {
        let opened = Decryptor::new(&key).open(&parsed.envelope, aad);
        assert_eq!(opened.unwrap_err(), CryptoError::AuthenticationFailed);
    }
}

#[test]
fn every_truncation_and_every_unknown_form_is_refused() {
    for column in [ColumnType::EncryptedText, ColumnType::SecretText] {
        let made = sample(column);
        assert!(column.parse(&made).is_ok());
        for len in 0..column.overhead() {
            assert!(column.parse(&made[..len]).is_err(), "{len} bytes");
        }
        for form in (0..=255).filter(|form| !matches!(form, 1 | 2)) {
            let mut other = made.clone();
            other[0] = form;
            assert!(column.parse(&other).is_err(), "form {form}");
        }
    }
}

#[test]
fn an_envelope_of_bytes_is_no_value() {
    let column = ColumnType::SecretText;
    let mut made = sample(column);
    made[column.head_len() + 2] = ValueType::Bytea as u8;
    assert!(matches!(
        column.parse(&made),
        Err(CryptoError::WrongType { .. })
    ));
}

#[test]
fn no_value_is_valid_utf8() {
    for column in [ColumnType::EncryptedText, ColumnType::SecretText] {
        let mut made = sample(column);
        // The tag and the id are any bytes, so also those of a text.
        made[1..column.head_len()].fill(b'x');
        assert!(std::str::from_utf8(&made).is_err());
        made.truncate(column.head_len() + 2);
        assert!(std::str::from_utf8(&made).is_err());
    }
}

#[test]
fn text_that_is_not_exactly_the_text_form_is_refused() {
    let column = ColumnType::SecretText;
    let made = sample(column);
    let mut shown = vec![0; column.text_len(made.len())];
    column.write_text(&made, &mut shown).unwrap();
    let shown = String::from_utf8(shown).unwrap();
    assert!(column.from_text(shown.as_bytes(), Vec::new()).is_some());
    for other in [
        format!(" {shown}"),
        format!("{shown} "),
        format!("{shown}="),
        shown.to_uppercase(),
        shown.replace("secret", "encrypted"),
        shown.trim_end_matches('=').to_owned() + "*",
        column.prefix().to_owned(),
        String::new(),
    ] {
        assert!(
            column.from_text(other.as_bytes(), Vec::new()).is_none(),
            "{other}"
        );
    }
}

#[test]
fn a_buffer_of_the_wrong_length_is_refused() {
    let made = sample(ColumnType::SecretText);
    let needed = ColumnType::SecretText.text_len(made.len());
    for len in [0, 5, needed - 1, needed + 1] {
        let written = ColumnType::SecretText.write_text(&made, &mut vec![0; len]);
        assert!(
            matches!(written, Err(CryptoError::BufferSize { .. })),
            "{len}"
        );
    }
}

proptest! {
    #[test]
    fn equal_texts_have_equal_tags_and_others_have_others(a: Vec<u8>, b: Vec<u8>, key: [u8; 32]) {
        let tagger = SearchTagger::new(&SecretKey::new(key));
        let again = SearchTagger::new(&SecretKey::new(key));
        prop_assert_eq!(tagger.tag(&a), again.tag(&a));
        prop_assert_eq!(tagger.tag(&a) == tagger.tag(&b), a == b);
    }

    #[test]
    fn another_search_key_gives_other_tags(text: Vec<u8>, one: [u8; 32], two: [u8; 32]) {
        prop_assume!(one != two);
        let (one, two) = (SecretKey::new(one), SecretKey::new(two));
        prop_assert_ne!(SearchTagger::new(&one).tag(&text), SearchTagger::new(&two).tag(&text));
    }

    #[test]
    fn parsing_never_panics(bytes: Vec<u8>, text: String) {
        for column in [ColumnType::EncryptedText, ColumnType::SecretText] {
            let _ = column.parse(&bytes);
            let _ = column.from_text(&bytes, Vec::new());
            let prefixed = format!("{}{text}", column.prefix());
            let _ = column.from_text(prefixed.as_bytes(), Vec::new());
        }
    }

    #[test]
    fn a_modifier_is_positive(name: String) {
        prop_assert!(type_modifier(&name) > 0);
    }
}
