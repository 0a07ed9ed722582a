//! Reading master keys.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ward_crypto::{MAX_MASTER_KEYS, MasterKey, MasterKeyError, SecretKey, parse_master_keys};

fn material(seed: u8) -> [u8; 32] {
    std::array::from_fn(|i| seed.wrapping_mul(37).wrapping_add(i as u8))
}

fn hex_line(seed: u8) -> String {
    hex::encode(material(seed))
}

fn base64_line(seed: u8) -> String {
    STANDARD.encode(material(seed))
}

fn id(seed: u8) -> [u8; 8] {
    MasterKey::new(SecretKey::new(material(seed))).id()
}

fn ids(text: &str) -> Result<Vec<[u8; 8]>, MasterKeyError> {
    let masters = parse_master_keys(text)?;
    Ok(masters.iter().map(MasterKey::id).collect())
}

#[test]
fn hex_and_base64_mean_the_same_key() {
    assert_eq!(ids(&hex_line(1)), Ok(vec![id(1)]));
    assert_eq!(ids(&hex_line(1).to_uppercase()), Ok(vec![id(1)]));
    assert_eq!(ids(&base64_line(1)), Ok(vec![id(1)]));
    let masters = parse_master_keys(&base64_line(1)).unwrap();
    let expected = MasterKey::new(SecretKey::new(material(1)));
    assert_eq!(masters[0].kek().expose(), expected.kek().expose());
}

#[test]
fn the_first_line_is_the_current_key_and_blanks_are_ignored() {
    let text = format!(
        "\n  \t\n {} \r\n\n{}\t\n{}",
        hex_line(3),
        base64_line(1),
        hex_line(2)
    );
    assert_eq!(ids(&text), Ok(vec![id(3), id(1), id(2)]));
}

#[test]
fn derived_keys_all_differ() {
    let master = MasterKey::new(SecretKey::new(material(1)));
    let derived = [
        *master.kek().expose(),
        *master.registry_mac_key().expose(),
        material(1),
    ];
    assert_ne!(derived[0], derived[1]);
    assert_ne!(derived[0], derived[2]);
    assert_ne!(derived[1], derived[2]);
    assert_ne!(master.id(), SecretKey::new(material(1)).id().0);
}

#[test]
fn there_must_be_a_key() {
    for text in ["", "\n", "  \n\t\r\n"] {
        assert_eq!(ids(text), Err(MasterKeyError::Missing));
    }
}

#[test]
fn what_is_not_a_key_is_refused_with_its_line() {
    let line = 3;
    let good = hex_line(1);
    let wrong_length = [
        "00".to_owned(),
        good[..63].to_owned(),
        format!("{good}0"),
        format!("{good}{good}"),
        // Still base64, of 48 bytes.
        format!("{}g", &good[..63]),
        STANDARD.encode([7; 31]),
        STANDARD.encode([7; 33]),
        STANDARD.encode([7; 64]),
        STANDARD.encode([7; 500]),
    ];
    let malformed = [
        "correct horse battery staple".to_owned(),
        format!("0x{good}"),
        format!("{good} # current"),
        format!("{good},{}", hex_line(2)),
        base64_line(2).trim_end_matches('=').to_owned(),
        base64_line(1).replace('=', "!"),
        // The URL-safe alphabet, and bits behind the last byte.
        "_".repeat(43) + "=",
        "A".repeat(42) + "B=",
        "\u{feff}".to_owned() + &good,
        "ключ".to_owned(),
    ];
    for bad in wrong_length {
        let text = format!("\n{}\n{bad}\n", hex_line(9));
        assert_eq!(
            ids(&text),
            Err(MasterKeyError::WrongLength { line }),
            "{bad}"
        );
    }
    for bad in malformed {
        let text = format!("\n{}\n{bad}\n", hex_line(9));
        assert_eq!(ids(&text), Err(MasterKeyError::Malformed { line }), "{bad}");
    }
}

#[test]
fn an_all_zero_key_is_refused() {
    let line = 1;
    for text in ["0".repeat(64), STANDARD.encode([0; 32])] {
        assert_eq!(ids(&text), Err(MasterKeyError::AllZero { line }));
    }
}

#[test]
fn the_same_key_twice_is_refused() {
    let text = format!("{}\n\n{}\n{}", hex_line(1), hex_line(2), base64_line(1));
    let (line, first) = (4, 1);
    assert_eq!(ids(&text), Err(MasterKeyError::Duplicate { line, first }));
}

#[test]
fn eight_keys_are_enough() {
    let lines: Vec<String> = (1..=9).map(hex_line).collect();
    assert_eq!(ids(&lines[..8].join("\n")).unwrap().len(), MAX_MASTER_KEYS);
    let line = 9;
    assert_eq!(
        ids(&lines.join("\n")),
        Err(MasterKeyError::TooMany { line })
    );
}

#[test]
fn errors_and_debug_output_hold_nothing_of_the_key() {
    let bad = format!("{}g", &hex_line(1)[..63]);
    let error = ids(&bad).unwrap_err();
    let master = MasterKey::new(SecretKey::new(material(1)));
    for shown in [
        error.to_string(),
        format!("{error:?}"),
        format!("{master:?}"),
    ] {
        assert!(!shown.contains(&bad[..8]), "{shown}");
    }
    assert!(error.to_string().starts_with("line 1: "));
}
