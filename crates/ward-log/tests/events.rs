//! Event leaves: read back as written, nothing else reads, and verified like other entries.

mod common;
#[path = "common/frames.rs"]
mod frames;

use common::{Builder, Log, context, frame, insert, one, options, seen};
use frames::any_frame;
use proptest::prelude::*;
use ward_log::{
    AuditMac, Context, ContextPlace, ContextSource, Details, EventLeaf, FormatError, Leaf,
    MAX_DETAILS_LEN, MAX_EVENT_TYPE_LEN, MAX_LEAF_LEN, Severity, Trailer, TransactionChain,
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
        frame: frame(100),
        severity: Severity::Info,
        event_type,
        details: Details::new(details).unwrap(),
    }
}

proptest! {
    #[test]
    fn an_event_reads_back(any in any_frame(), severity in 0usize..5, event_type in ".{1,30}", details in ".{0,60}") {
        let leaf = Leaf::Event(EventLeaf {
            frame: any.frame(), severity: SEVERITIES[severity],
            event_type: &event_type, details: Details::new(&details).unwrap(),
        });
        let mut bytes = any.encoded(&leaf);
        any.reads(&bytes, &leaf)?;
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
    let severity = 2 + 1 + 8 + 4 + 4 + 8;
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
    // A longer event type is cut between characters.
    let name = "\u{e4}".repeat(usize::from(MAX_EVENT_TYPE_LEN));
    let bytes = encoded(&event(&name, &most));
    let Ok(Leaf::Event(read)) = Leaf::parse(&bytes) else {
        panic!("the event does not read")
    };
    assert_eq!(read.event_type.chars().count(), 127);
    for severity in SEVERITIES {
        assert_eq!(Severity::from_name(severity.as_str()), Some(severity));
    }
    assert_eq!(Severity::from_name("INFO"), None);
}

/// Everything as long as it may be: the context, the type, the details, and the end of a transaction.
#[test]
fn the_longest_event_is_a_leaf() {
    let longest = "x".repeat(1024);
    let text = Some(&longest[..]);
    let mut context = Vec::new();
    Context {
        source: ContextSource::Override,
        tenant_id: text,
        user_id: text,
        session_id: text,
        service_name: text,
        client_ip: text,
        user_agent: text,
        authenticated_role: text,
        session_role: text,
        current_role: text,
        application_name: text,
    }
    .encode(&mut context);
    assert_eq!(context.len(), 1 + 10 * (1 + 2 + 1024));
    let name = "n".repeat(usize::from(MAX_EVENT_TYPE_LEN));
    let details = "d".repeat(usize::from(MAX_DETAILS_LEN));
    let mut leaf = event(&name, &details);
    leaf.frame.context = ContextPlace::Here(&context);
    let mut bytes = encoded(&leaf);
    let (chain, mac) = (TransactionChain::new(), AuditMac::new(&[1; 32]));
    Trailer::close(&mut bytes, &chain, [2; 16], [3; 8], &mac).unwrap();
    assert_eq!(bytes.len(), 27 + 1 + 2 + 255 + 2 + 49_152 + 10_271 + 88);
    assert!(bytes.len() <= MAX_LEAF_LEN);
    let Ok(Leaf::Event(read)) = Leaf::parse(&bytes) else {
        panic!("the longest event does not read")
    };
    assert_eq!(
        (read.event_type, read.details.as_str()),
        (&*name, &*details)
    );
    assert_eq!(read.frame.context, leaf.frame.context);
}

/// One block: an incarnation, a transaction of two events (leaves 1 and 2), one of one row.
fn log(second: ContextPlace<'static>) -> Log {
    let mut builder = Builder::new();
    builder.event(100, second);
    builder.transaction(101, &[insert(1)]);
    builder.seal(seen(110));
    builder.log
}

#[test]
fn events_are_verified_and_counted_as_entries() {
    for second in [ContextPlace::Back(1), ContextPlace::Here(context())] {
        let (summary, found) = log(second).verify_with(options());
        assert!(found.is_empty(), "{found:?}");
        assert_eq!(summary.entries, 3);
    }
}

#[test]
fn an_event_that_points_at_no_context() {
    for back in [2, 3, u32::MAX] {
        let log = log(ContextPlace::Back(back));
        assert_eq!(log.found(), one("context_broken", 0, 2));
    }
}

#[test]
fn an_event_altered_removed_or_with_an_image() {
    let honest = log(ContextPlace::Back(1));
    // its body, its context, and the trailer of the other
    for (at, byte) in [(1, 30), (1, honest.entries[1].leaf.len() - 1), (2, 130)] {
        let mut altered = honest.clone();
        altered.entries[at].leaf[byte] ^= 1;
        assert_eq!(altered.found(), one("entry_altered", 0, at as u64));
        // The tree rebuilt over it: the transaction's own chain tells, or the MAC.
        altered.rebuild();
        let kind = ["chain_broken", "trailer_forged"][at - 1];
        assert_eq!(altered.found(), one(kind, 0, 2));
    }
    for at in [1, 2] {
        let mut removed = honest.clone();
        removed.entries.remove(at);
        assert_eq!(removed.found(), one("entry_missing", 0, at as u64));
        let mut imaged = honest.clone();
        imaged.entries[at].image = Some(vec![0; 17]);
        assert_eq!(imaged.found(), one("image_altered", 0, at as u64));
    }
}
