//! Fields of a document: paths, what they bind, and how an encrypted one looks.

use proptest::prelude::*;
use ward_crypto::{FieldPath, PathError, Step, field_envelope, field_text};

fn name(name: &str) -> Step {
    Step::Name(name.to_owned())
}

fn steps(path: &str) -> Result<Vec<Step>, PathError> {
    FieldPath::parse(path).map(|path| path.steps().to_vec())
}

#[test]
fn names_asterisks_and_escapes() {
    assert_eq!(steps("a"), Ok(vec![name("a")]));
    assert_eq!(
        steps("a.b c.é"),
        Ok(vec![name("a"), name("b c"), name("é")])
    );
    assert_eq!(
        steps("items.*.card"),
        Ok(vec![name("items"), Step::Elements, name("card")])
    );
    assert_eq!(steps(r"a\.b"), Ok(vec![name("a.b")]));
    assert_eq!(steps(r"\*"), Ok(vec![name("*")]));
    assert_eq!(steps(r"a\\.b"), Ok(vec![name(r"a\"), name("b")]));
    assert_eq!(steps("0"), Ok(vec![name("0")]));
    assert_eq!(steps("*.*"), Ok(vec![Step::Elements, Step::Elements]));
}

#[test]
fn what_is_no_path() {
    for empty in ["", ".", "a.", ".a", "a..b"] {
        assert_eq!(steps(empty), Err(PathError::EmptyStep), "{empty}");
    }
    for escape in [r"\", r"a\b", r"a.\"] {
        assert_eq!(steps(escape), Err(PathError::BadEscape), "{escape}");
    }
    for asterisk in ["a*", "*a", "**", r"*\*"] {
        assert_eq!(steps(asterisk), Err(PathError::BadAsterisk), "{asterisk}");
    }
    assert_eq!(steps(&["a"; 65].join(".")), Err(PathError::TooManySteps));
    assert!(steps(&["a"; 64].join(".")).is_ok());
}

#[test]
fn no_two_bindings_are_the_same() {
    let paths = ["a", "b", "a.b", r"a\.b", "*", r"\*", "*.a", "a.*"];
    let aads = [None, Some(b"".as_slice()), Some(b"a"), Some(b"\0")];
    let mut seen = std::collections::HashSet::new();
    for path in paths {
        for aad in aads {
            assert!(seen.insert(FieldPath::parse(path).unwrap().binding(aad).unwrap()));
        }
    }
}

#[test]
fn a_plain_text_is_not_taken_for_an_encrypted_one() {
    for plain in [
        "",
        "ward",
        "ward:enc:",
        "ward:enc:2:AAAA",
        " ward:enc:1:AAAA",
    ] {
        assert_eq!(
            field_envelope(plain.as_bytes(), Vec::new()),
            Ok(None),
            "{plain}"
        );
    }
}

#[test]
fn what_looks_encrypted_is_never_plain() {
    for hostile in [
        "ward:enc:1:?",
        "ward:enc:1:A",
        "ward:enc:1:AAA",
        "ward:enc:1:AA=A",
    ] {
        assert!(
            field_envelope(hostile.as_bytes(), Vec::new()).is_err(),
            "{hostile}"
        );
    }
    assert!(field_envelope(b"ward:enc:1:\xFF", Vec::new()).is_err());
    assert_eq!(
        field_envelope(b"ward:enc:1:", Vec::new()),
        Ok(Some(Vec::new()))
    );
}

proptest! {
    #[test]
    fn an_envelope_survives_being_text(envelope in proptest::collection::vec(any::<u8>(), 0..300)) {
        let text = field_text(&envelope, String::new());
        prop_assert!(text.is_ascii());
        prop_assert_eq!(field_envelope(text.as_bytes(), Vec::new()), Ok(Some(envelope)));
    }

    #[test]
    fn any_name_can_be_written(names in proptest::collection::vec("(?s).{1,8}", 1..5)) {
        let escaped: Vec<String> = names
            .iter()
            .map(|name| name.replace('\\', r"\\").replace('.', r"\.").replace('*', r"\*"))
            .collect();
        let expected: Vec<Step> = names.iter().map(|one| name(one)).collect();
        prop_assert_eq!(steps(&escaped.join(".")), Ok(expected));
    }

    #[test]
    fn any_text_is_parsed_without_panic(text: String) {
        if let Ok(path) = FieldPath::parse(&text) {
            prop_assert!(!path.steps().is_empty());
        }
    }
}
