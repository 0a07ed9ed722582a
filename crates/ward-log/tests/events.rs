//! Event leaves: read back as written, nothing else reads, and verified like other entries.

mod common;

use common::{Builder, Log, insert, one, options, seen};
use proptest::prelude::*;
use ward_log::{
    Details, EventLeaf, FormatError, Leaf, MAX_DETAILS_LEN, MAX_EVENT_TYPE_LEN, MAX_LEAF_LEN,
    Severity,
};

const SEVERITIES: [Severity; 5] = [
    Severity::Info,
    Severity::Low,
    Severity::Medium,
    Severity::High,
    Severity::Critical,
];

fn encoded(leaf: &EventLeaf) -> Vec<u8> {
    let mut out = Vec::new();
    leaf.encode(&mut out);
    out
}

fn event<'a>(event_type: &'a str, details: &'a str) -> EventLeaf<'a> {
    EventLeaf {
        xid: 100,
        position: 1,
        context_back: 1,
        occurred_at: 2,
        severity: Severity::Info,
        event_type,
        details: Details::new(details).unwrap(),
    }
}

proptest! {
    #[test]
    fn an_event_reads_back(xid: u64, position: u32, context_back: u32, occurred_at: i64, severity in 0usize..5,
                           event_type in ".{1,30}", details in ".{0,60}") {
        let leaf = EventLeaf {
            xid, position, context_back, occurred_at, severity: SEVERITIES[severity],
            event_type: &event_type, details: Details::new(&details).unwrap(),
        };
        let mut bytes = encoded(&leaf);
        prop_assert_eq!(Leaf::parse(&bytes).unwrap(), Leaf::Event(leaf.clone()));
        prop_assert_eq!(Leaf::Event(leaf).place(), Some((xid, position)));
        for cut in 0..bytes.len() {
            prop_assert!(Leaf::parse(&bytes[..cut]).is_err(), "cut at {}", cut);
        }
        bytes.push(0);
        prop_assert_eq!(Leaf::parse(&bytes), Err(FormatError::TrailingBytes));
        bytes.pop();
        for version in [0, 2, 255] {
            bytes[1] = version;
            prop_assert_eq!(Leaf::parse(&bytes), Err(FormatError::UnknownVersion(version)));
        }
    }
}

#[test]
fn what_an_event_must_not_be() {
    let honest = encoded(&event("login", "{}"));
    let severity = 2 + 8 + 4 + 4 + 8;
    for undefined in [0, 6, 255] {
        let mut bytes = honest.clone();
        bytes[severity] = undefined;
        let error = Leaf::parse(&bytes);
        assert_eq!(error, Err(FormatError::UndefinedValue("severity")));
    }
    let mut invalid = honest.clone();
    invalid[severity + 3] = 0xff;
    assert_eq!(Leaf::parse(&invalid), Err(FormatError::InvalidUtf8));
    let unnamed = encoded(&event("", "{}"));
    let error = Leaf::parse(&unnamed);
    assert_eq!(error, Err(FormatError::UndefinedValue("event type")));
    // Details are never cut: they would not be JSON any more.
    let most = "d".repeat(usize::from(MAX_DETAILS_LEN));
    assert!(Details::new(&most).is_ok());
    let error = Details::new(&format!("{most}d")).unwrap_err();
    assert_eq!(error, FormatError::TooLong("details"));
    // The longest event is a leaf; a longer event type is cut between characters.
    let name = "\u{e4}".repeat(usize::from(MAX_EVENT_TYPE_LEN));
    let bytes = encoded(&event(&name, &most));
    assert!(bytes.len() <= MAX_LEAF_LEN);
    let Ok(Leaf::Event(read)) = Leaf::parse(&bytes) else {
        panic!("the longest event does not read")
    };
    assert_eq!(read.event_type.chars().count(), 127);
    for severity in SEVERITIES {
        assert_eq!(Severity::from_name(severity.as_str()), Some(severity));
    }
    assert_eq!(Severity::from_name("INFO"), None);
}

/// One block: an incarnation, a transaction of one event (leaves 1 to 3), one of one row.
fn log(context_back: u32) -> Log {
    let mut builder = Builder::new();
    builder.event(100, context_back);
    builder.transaction(101, &[insert(1)]);
    builder.seal(seen(110));
    builder.log
}

#[test]
fn events_are_verified_and_counted_as_entries() {
    let (summary, found) = log(1).verify_with(options());
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(summary.entries, 2);
}

#[test]
fn an_event_that_points_at_no_context() {
    assert_eq!(log(2).found(), one("context_broken", 0, 2));
    assert_eq!(log(0).found(), one("context_broken", 0, 2));
}

#[test]
fn an_event_altered_removed_or_with_an_image() {
    let mut altered = log(1);
    let leaf = &mut altered.entries[2].leaf;
    *leaf.last_mut().unwrap() ^= 1;
    assert_eq!(altered.found(), one("entry_altered", 0, 2));
    // The tree rebuilt over it: the transaction's own chain tells.
    altered.rebuild();
    assert_eq!(altered.found(), one("chain_broken", 0, 3));
    let mut removed = log(1);
    removed.entries.remove(2);
    assert_eq!(removed.found(), one("entry_missing", 0, 2));
    let mut imaged = log(1);
    imaged.entries[2].image = Some(vec![0; 17]);
    assert_eq!(imaged.found(), one("image_altered", 0, 2));
}
