//! Wrapped keys and the MAC of registry rows.

use ward_crypto::{
    MasterKey, SecretKey, UnwrapError, WRAPPED_LEN, WrapContext, registry_mac, registry_mac_verify,
    unwrap_key, wrap_key, wrapped_by,
};

const CONTEXT: WrapContext<'static> = WrapContext {
    key: [0x11; 16],
    version: 3,
    purpose: "data_encryption",
};

fn master(seed: u8) -> MasterKey {
    MasterKey::new(SecretKey::new([seed; 32]))
}

fn wrapped(master: &MasterKey) -> Vec<u8> {
    wrap_key(master, &CONTEXT, &SecretKey::new([0x55; 32]), [9; 24]).unwrap()
}

fn error(masters: &[MasterKey], context: &WrapContext<'_>, wrapped: &[u8]) -> Option<UnwrapError> {
    unwrap_key(masters, context, wrapped).err()
}

#[test]
fn any_of_the_master_keys_unwraps() {
    let masters = [master(1), master(2), master(3)];
    for current in &masters {
        let wrapped = wrapped(current);
        assert_eq!(wrapped.len(), WRAPPED_LEN);
        assert_eq!(wrapped_by(&wrapped), Ok(current.id()));
        let material = unwrap_key(&masters, &CONTEXT, &wrapped).ok().unwrap();
        assert_eq!(material.expose(), &[0x55; 32]);
    }
}

#[test]
fn the_wrong_master_key_is_not_called_corruption() {
    let wrapped = wrapped(&master(1));
    let id = master(1).id();
    for masters in [vec![], vec![master(2), master(3)]] {
        let error = error(&masters, &CONTEXT, &wrapped);
        assert_eq!(error, Some(UnwrapError::UnknownMaster { id }));
    }
    let error = error(&[], &CONTEXT, &wrapped).unwrap();
    assert!(error.to_string().contains(&hex::encode(id)));
}

#[test]
fn a_wrapped_key_stands_for_nothing_but_itself() {
    let wrapped = wrapped(&master(1));
    let mut other_key = CONTEXT;
    other_key.key[15] ^= 1;
    let mut other_version = CONTEXT;
    other_version.version = 4;
    let mut other_purpose = CONTEXT;
    other_purpose.purpose = "search";
    let mut no_purpose = CONTEXT;
    no_purpose.purpose = "";
    for context in [other_key, other_version, other_purpose, no_purpose] {
        let error = error(&[master(1)], &context, &wrapped);
        assert_eq!(error, Some(UnwrapError::Corrupt), "{context:?}");
    }
}

#[test]
fn every_flipped_bit_of_a_wrapped_key_fails() {
    let good = wrapped(&master(1));
    for bit in 0..good.len() * 8 {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = error(&[master(1)], &CONTEXT, &flipped).unwrap();
        let as_expected = match bit / 8 {
            0 => matches!(error, UnwrapError::UnknownFormat { format } if format == flipped[0]),
            1..9 => matches!(error, UnwrapError::UnknownMaster { .. }),
            _ => error == UnwrapError::Corrupt,
        };
        assert!(as_expected, "bit {bit}: {error}");
    }
}

#[test]
fn a_wrapped_key_has_one_length() {
    let good = wrapped(&master(1));
    for len in 0..good.len() {
        let error = error(&[master(1)], &CONTEXT, &good[..len]);
        assert_eq!(error, Some(UnwrapError::Truncated { len }));
    }
    let longer = [&good[..], b"\0"].concat();
    let error = error(&[master(1)], &CONTEXT, &longer);
    assert_eq!(error, Some(UnwrapError::Corrupt));
}

#[test]
fn a_registry_mac_binds_master_label_and_each_field() {
    let mac = registry_mac(&master(1), "grant", &[b"ab", b"c"]);
    assert!(registry_mac_verify(
        &master(1),
        "grant",
        &[b"ab", b"c"],
        &mac
    ));

    let others: [(u8, &str, &[&[u8]]); 7] = [
        (2, "grant", &[b"ab", b"c"]),
        (1, "state", &[b"ab", b"c"]),
        (1, "grant", &[b"a", b"bc"]),
        (1, "grant", &[b"c", b"ab"]),
        (1, "grant", &[b"ab", b"c", b""]),
        (1, "grant", &[b"abc"]),
        (1, "grant", &[]),
    ];
    for (seed, label, fields) in others {
        assert_ne!(registry_mac(&master(seed), label, fields), mac);
        assert!(!registry_mac_verify(&master(seed), label, fields, &mac));
    }
    for bit in 0..256 {
        let mut flipped = mac;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!registry_mac_verify(
            &master(1),
            "grant",
            &[b"ab", b"c"],
            &flipped
        ));
    }
    for len in 0..mac.len() {
        assert!(!registry_mac_verify(
            &master(1),
            "grant",
            &[b"ab", b"c"],
            &mac[..len]
        ));
    }
}
