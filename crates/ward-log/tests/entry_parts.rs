//! The parts that all entries have: flags, context, trailer. Nothing but what a writer writes is read.

mod common;
#[path = "common/frames.rs"]
mod frames;

use common::{KEY, KEY_ID, Log, TRAILER_LEN, chain, context, encoded, frame, small_log};
use frames::any_frame;
use proptest::prelude::*;
use ward_log::{
    AuditKeys, AuditMac, Context, ContextPlace, ContextSource, EntryFrame, EraseLeaf, FormatError,
    KeyChangeLeaf, Leaf, MacCheck, Operation, Options, Prepared, PruneLeaf, RestoreLeaf,
    RetentionLeaf, RowLeaf, Trailer, Verifier, has_trailer, holds_context,
};

/// An entry of each type.
fn entries(frame: EntryFrame<'_>) -> [Leaf<'_>; 7] {
    [
        row(frame),
        Leaf::Event(common::event(frame)),
        Leaf::Prune(PruneLeaf {
            frame,
            from: 0,
            to: 1024,
            root: [1; 32],
            checkpoint_size: 1024,
            period: 1,
        }),
        Leaf::Erase(EraseLeaf {
            frame,
            relation_oid: 1,
            schema: "s",
            table: "t",
            record_id: "1",
            reason: "r",
        }),
        Leaf::Retention(RetentionLeaf {
            frame,
            period: 1,
            effective_at: 2,
        }),
        Leaf::KeyChange(KeyChangeLeaf {
            frame,
            old_key: [1; 32],
            new_key: [2; 32],
        }),
        Leaf::Restore(RestoreLeaf {
            frame,
            restored_size: 1,
            reason: "r",
        }),
    ]
}

fn row(frame: EntryFrame<'_>) -> Leaf<'_> {
    Leaf::Row(RowLeaf {
        frame,
        operation: Operation::Insert,
        shape: [4; 32],
        image_commit: [5; 32],
        record_id: Some("7"),
    })
}

fn bytes_of(leaf: &Leaf<'_>) -> Vec<u8> {
    encoded(|out| leaf.encode(out))
}

fn close(leaf: &mut Vec<u8>, key: &[u8; 32]) -> Result<(), FormatError> {
    Trailer::close(leaf, &chain([]), [9; 16], KEY_ID, &AuditMac::new(key))
}

/// What the key says of the trailer, under the id that the log's key has.
fn check(leaf: &[u8], key: &[u8; 32]) -> Option<MacCheck> {
    let mac = AuditMac::new(key);
    Trailer::check(leaf, |id| (*id == KEY_ID).then_some(&mac))
}

/// An entry that points one leaf back to its context.
fn pointing() -> EntryFrame<'static> {
    EntryFrame {
        position: 1,
        context: ContextPlace::Back(1),
        ..frame(100)
    }
}

#[test]
fn undefined_flags_are_refused() {
    for frame in [frame(100), pointing()] {
        for leaf in entries(frame) {
            let honest = bytes_of(&leaf);
            assert_eq!(Leaf::parse(&honest), Ok(leaf));
            for bit in 2..8 {
                let mut bytes = honest.clone();
                bytes[2] |= 1 << bit;
                let error = Leaf::parse(&bytes);
                assert_eq!(error, Err(FormatError::UndefinedValue("entry flags")));
            }
        }
    }
}

#[test]
fn a_flag_and_a_place_of_the_context_that_disagree_are_refused() {
    let error = Err(FormatError::NotCanonical("the place of the context"));
    for leaf in entries(frame(100)) {
        let honest = bytes_of(&leaf);
        // a context that is there and lies elsewhere, and one that is nowhere
        let mut bytes = honest.clone();
        bytes[18] = 1;
        assert_eq!(Leaf::parse(&bytes), error);
        let mut bytes = honest[..honest.len() - context().len()].to_vec();
        bytes[2] = 0;
        assert_eq!(Leaf::parse(&bytes), error);
        // so that a flag is all that has to be looked at
        assert!(holds_context(&honest) && !has_trailer(&honest));
    }
    for leaf in entries(pointing()) {
        let honest = bytes_of(&leaf);
        let mut bytes = honest.clone();
        bytes[18] = 0;
        assert_eq!(Leaf::parse(&bytes), error);
        let mut bytes = honest.clone();
        bytes[2] = 1;
        bytes.extend_from_slice(context());
        assert_eq!(Leaf::parse(&bytes), error);
        // the flag without the context, and the other way round
        let mut bytes = honest.clone();
        (bytes[2], bytes[18]) = (1, 0);
        assert_eq!(Leaf::parse(&bytes), Err(FormatError::Truncated));
        let mut bytes = honest.clone();
        bytes.extend_from_slice(context());
        assert_eq!(Leaf::parse(&bytes), Err(FormatError::TrailingBytes));
        assert!(!holds_context(&honest));
    }
}

#[test]
fn the_strings_of_a_context_are_clipped_at_whole_characters() {
    for (text, kept) in [
        ("x".repeat(1024), 1024),
        ("x".repeat(1025), 1024),
        ("ä".repeat(513), 1024),
        (format!("x{}", "ä".repeat(600)), 1023),
        (format!("xx{}", "\u{1f600}".repeat(9000)), 1022),
    ] {
        let long = Some(&text[..]);
        let bytes = encoded(|out| {
            Context {
                source: ContextSource::Token,
                tenant_id: long,
                user_id: long,
                session_id: long,
                service_name: long,
                client_ip: long,
                user_agent: long,
                authenticated_role: long,
                session_role: long,
                current_role: long,
                application_name: long,
            }
            .encode(out);
        });
        let Context {
            source: ContextSource::Token,
            tenant_id,
            user_id,
            session_id,
            service_name,
            client_ip,
            user_agent,
            authenticated_role,
            session_role,
            current_role,
            application_name,
        } = Context::parse(&bytes).unwrap()
        else {
            panic!("another source")
        };
        for read in [
            tenant_id,
            user_id,
            session_id,
            service_name,
            client_ip,
            user_agent,
            authenticated_role,
            session_role,
            current_role,
            application_name,
        ] {
            assert_eq!(read, Some(&text[..kept]));
        }
    }
}

#[test]
fn a_context_that_no_writer_writes_is_refused() {
    // no string at all, and one that is longer than a writer's
    let mut bare = vec![0; 11];
    assert!(Context::parse(&bare).is_ok());
    bare[0] = 4;
    let error = Context::parse(&bare);
    assert_eq!(error, Err(FormatError::UndefinedValue("context source")));
    for (len, expected) in [
        (1024, Ok(())),
        (1025, Err(FormatError::TooLong("context string"))),
    ] {
        for at in 0..10 {
            let mut bytes = vec![0; at + 1];
            bytes.push(1);
            bytes.extend_from_slice(&u16::to_be_bytes(len));
            bytes.extend_from_slice(&vec![b'x'; usize::from(len)]);
            bytes.extend_from_slice(&vec![0; 9 - at]);
            assert_eq!(Context::parse(&bytes).map(drop), expected);
            // in a leaf, too
            let mut here = frame(100);
            here.context = ContextPlace::Here(&bytes);
            let leaf = bytes_of(&row(here));
            assert_eq!(Leaf::parse(&leaf).map(drop), expected);
        }
    }
    let mut undefined = context().to_vec();
    undefined[1] = 2;
    let error = Context::parse(&undefined);
    assert_eq!(error, Err(FormatError::UndefinedValue("context string")));
    undefined = context().to_vec();
    undefined[4] = 0xFF;
    assert_eq!(Context::parse(&undefined), Err(FormatError::InvalidUtf8));
}

#[test]
fn a_trailer_that_is_cut_short_or_not_the_last_part_is_refused() {
    for frame in [frame(100), pointing()] {
        for leaf in entries(frame) {
            let mut honest = bytes_of(&leaf);
            let without = honest.clone();
            close(&mut honest, &KEY).unwrap();
            assert_eq!(honest.len(), without.len() + TRAILER_LEN);
            let read = Leaf::parse(&honest).unwrap();
            let trailer = read.frame().unwrap().trailer.unwrap();
            assert_eq!(trailer.chain, chain([]).digest());
            assert_eq!(
                (trailer.incarnation, trailer.audit_key_id),
                ([9; 16], KEY_ID)
            );
            // from the flag alone up to one byte less
            for cut in without.len()..honest.len() {
                let error = Leaf::parse(&honest[..cut]);
                assert_eq!(error, Err(FormatError::Truncated), "cut at {cut}");
            }
            let mut longer = honest.clone();
            longer.push(0);
            assert_eq!(Leaf::parse(&longer), Err(FormatError::TrailingBytes));
            let mut twice = honest.clone();
            twice.extend_from_slice(&honest[without.len()..]);
            assert_eq!(Leaf::parse(&twice), Err(FormatError::TrailingBytes));
            let mut unsaid = honest.clone();
            unsaid[2] &= !2;
            assert_eq!(Leaf::parse(&unsaid), Err(FormatError::TrailingBytes));
        }
    }
}

#[test]
fn only_an_entry_is_ended_and_only_once() {
    for leaf in entries(frame(100)) {
        let mut bytes = bytes_of(&leaf);
        close(&mut bytes, &KEY).unwrap();
        let closed = bytes.clone();
        assert!(close(&mut bytes, &KEY).is_err());
        assert_eq!(bytes, closed);
    }
    // the incarnation, the shape, the seal; what is nothing at all
    let log = small_log();
    let others = [0, 1, 17].map(|at: usize| log.entries[at].leaf.clone());
    let none: [Vec<u8>; 3] = [vec![], vec![1, 1], vec![0x02, 1, 0]];
    for mut bytes in others.into_iter().chain(none) {
        let before = bytes.clone();
        assert!(close(&mut bytes, &KEY).is_err(), "{before:?}");
        assert_eq!(bytes, before);
    }
}

#[test]
fn what_has_no_trailer_is_not_checked() {
    let asked = |leaf: &[u8]| {
        let mut asked = false;
        let found = Trailer::check(leaf, |_| {
            asked = true;
            None
        });
        assert_eq!(found.is_some(), asked);
        found
    };
    for leaf in entries(frame(100)) {
        let mut bytes = bytes_of(&leaf);
        assert_eq!(asked(&bytes), None);
        close(&mut bytes, &KEY).unwrap();
        assert_eq!(asked(&bytes), Some(MacCheck::UnknownKey));
        bytes[2] &= !2;
        assert_eq!(asked(&bytes), None);
    }
    // other leaves have other bytes there; what is too short has no room for one
    let log = small_log();
    for at in [0, 1, 17] {
        let mut bytes = log.entries[at].leaf.clone();
        bytes[2] |= 3;
        assert_eq!(asked(&bytes), None, "{at}");
        assert!(!has_trailer(&bytes) && !holds_context(&bytes));
    }
    for len in 0..=39 {
        let bytes = [&[1, 1, 2][..], &[0; 40]].concat();
        assert_eq!(asked(&bytes[..len]), None, "{len}");
    }
}

#[test]
fn a_trailer_is_genuine_under_the_key_that_it_names_only() {
    for leaf in entries(frame(100)) {
        let mut bytes = bytes_of(&leaf);
        close(&mut bytes, &KEY).unwrap();
        assert_eq!(check(&bytes, &KEY), Some(MacCheck::Genuine));
        assert_eq!(check(&bytes, &[8; 32]), Some(MacCheck::Forged));
        let mut named = None;
        let none = |id: &[u8; 8]| {
            named = Some(*id);
            None
        };
        let found = Trailer::check(&bytes, none);
        assert_eq!((found, named), (Some(MacCheck::UnknownKey), Some(KEY_ID)));
    }
}

proptest! {
    /// Every bit of the entry is covered: type, version, flags, place, body, context, trailer.
    #[test]
    fn a_flipped_bit_of_the_last_entry_breaks_its_mac(any in any_frame(), which in 0usize..7, key: [u8; 32],
                                                      bit: prop::sample::Index) {
        let mut bytes = bytes_of(&entries(any.frame())[which]);
        close(&mut bytes, &key).unwrap();
        prop_assert_eq!(check(&bytes, &key), Some(MacCheck::Genuine));
        let mut other = key;
        other[31] ^= 1;
        prop_assert_eq!(check(&bytes, &other), Some(MacCheck::Forged));
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_ne!(check(&bytes, &key), Some(MacCheck::Genuine));
        // whatever else it reads as, it never reads as an entry with a trailer that is not checked
        if let Ok(leaf) = Leaf::parse(&bytes) {
            let ended = leaf.frame().is_some_and(|frame| frame.trailer.is_some());
            prop_assert_eq!(check(&bytes, &key).is_some(), ended);
        }
    }
}

/// What a verifier finds that is handed what another process found out.
fn found_by_another(log: &Log, options: &Options, with_mac: bool) -> Vec<ward_log::Violation> {
    let keys = AuditKeys::new(&options.audit_keys);
    let mut found = Vec::new();
    let mut report = |violation| found.push(violation);
    let mut verifier = Verifier::new(common::Stored(log), options.clone(), &mut report);
    for entry in &log.entries {
        let image = entry.image.as_deref();
        let here = Prepared::with_mac(&entry.leaf, image, &keys);
        let there = Prepared::from_bytes(&here.to_bytes());
        assert_eq!(there, Prepared::new(&entry.leaf, image));
        assert_eq!(here == there, !has_trailer(&entry.leaf));
        let prepared = if with_mac { &here } else { &there };
        verifier.prepared(entry.index, &entry.leaf, image, prepared);
    }
    verifier.finish(log.size());
    found
}

#[test]
fn what_was_found_out_ahead_is_what_the_verifier_finds() {
    let mut forged = small_log();
    common::resign(&mut forged, 18, 22, [9; 16], (KEY_ID, &[8; 32]));
    forged.rebuild();
    let mut unknown = small_log();
    common::resign(&mut unknown, 18, 22, [9; 16], (*b"otherkey", &KEY));
    unknown.rebuild();
    let mut image = small_log();
    image.entries[20].image.as_mut().unwrap()[3] ^= 1;
    let mut retired = common::options();
    retired.retired_key_ids.push(*b"otherkey");
    for (log, expected) in [
        (small_log(), &[][..]),
        (forged, &["trailer_forged"]),
        (unknown, &["trailer_forged"]),
        (image, &["image_altered"]),
    ] {
        for options in [common::options(), retired.clone()] {
            let direct = log.verify_with(options.clone()).1;
            for with_mac in [false, true] {
                assert_eq!(found_by_another(&log, &options, with_mac), direct);
            }
            let kinds: Vec<_> = direct.iter().map(|found| found.kind.as_str()).collect();
            let excused = log.entries[22].leaf.windows(8).any(|id| id == b"otherkey")
                && !options.retired_key_ids.is_empty();
            assert_eq!(kinds, if excused { &[] } else { expected });
        }
    }
}
