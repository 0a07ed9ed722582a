//! Retention, prune and erase leaves are read back as written, and a period is never shortened at once.

mod common;
#[path = "common/frames.rs"]
mod frames;

use common::{encoded, frame};
use frames::any_frame;
use proptest::prelude::*;
use ward_log::{
    EraseLeaf, FormatError, Leaf, MAX_LEAF_LEN, PRUNE_UNIT, PruneLeaf, RetentionLeaf,
    RetentionPolicy,
};

proptest! {
    #[test]
    fn orders_read_back(any in any_frame(), unit in 0u64..1000, units in 1u64..1000, beyond in 0u64..1000,
                        root: [u8; 32], period in 1i64.., oid: u32, schema in ".{0,30}", table in ".{0,30}",
                        record in ".{0,60}", reason in ".{1,60}") {
        let frame = any.frame();
        let (from, to) = (unit * PRUNE_UNIT, (unit + units) * PRUNE_UNIT);
        let leaves = [
            Leaf::Prune(PruneLeaf { frame, from, to, root, checkpoint_size: to + beyond, period }),
            Leaf::Erase(EraseLeaf {
                frame, relation_oid: oid, schema: &schema, table: &table, record_id: &record, reason: &reason,
            }),
            Leaf::Retention(RetentionLeaf { frame, period, effective_at: period }),
        ];
        for leaf in leaves {
            let mut bytes = any.encoded(&leaf);
            any.reads(&bytes, &leaf)?;
            for cut in 0..bytes.len() {
                prop_assert!(Leaf::parse(&bytes[..cut]).is_err(), "cut at {}", cut);
            }
            bytes.push(0);
            prop_assert_eq!(Leaf::parse(&bytes), Err(FormatError::TrailingBytes));
            bytes[1] = 2;
            prop_assert_eq!(Leaf::parse(&bytes), Err(FormatError::UnknownVersion(2)));
        }
    }

    /// Whatever is set in whatever order, a shorter period never takes effect before the longer one has passed.
    #[test]
    fn a_period_is_never_shortened_at_once(changes in prop::collection::vec((0i64..50, 0i64..100), 1..30)) {
        let mut policy = RetentionPolicy::default();
        let mut at = 0;
        for (period, wait) in changes {
            at += wait;
            let before = policy.in_force(at);
            policy.change(period, i64::MIN, at);
            let longer = period == 0 || (before != 0 && period >= before);
            prop_assert_eq!(policy.in_force(at), if longer { period } else { before });
            if !longer {
                let passed = at + if before == 0 { period } else { before };
                prop_assert_eq!(policy.in_force(passed - 1), before);
                prop_assert_eq!(policy.in_force(passed), period);
                prop_assert_eq!(policy.to_follow(at), Some((period, passed)));
            }
        }
    }
}

#[test]
fn what_an_order_must_not_be() {
    let honest = PruneLeaf {
        frame: frame(1),
        from: 0,
        to: PRUNE_UNIT,
        root: [0; 32],
        checkpoint_size: PRUNE_UNIT,
        period: 1,
    };
    let wrong = [
        PruneLeaf {
            from: PRUNE_UNIT,
            ..honest.clone()
        },
        PruneLeaf {
            from: 1,
            ..honest.clone()
        },
        PruneLeaf {
            to: PRUNE_UNIT + 1,
            checkpoint_size: 5000,
            ..honest.clone()
        },
        PruneLeaf {
            checkpoint_size: PRUNE_UNIT - 1,
            ..honest.clone()
        },
        PruneLeaf {
            period: 0,
            ..honest.clone()
        },
        PruneLeaf {
            period: -1,
            ..honest
        },
    ];
    for leaf in wrong {
        assert!(
            Leaf::parse(&encoded(|out| leaf.encode(out))).is_err(),
            "{leaf:?}"
        );
    }
    let retention = RetentionLeaf {
        frame: frame(1),
        period: -1,
        effective_at: 0,
    };
    let error = Leaf::parse(&encoded(|out| retention.encode(out))).unwrap_err();
    assert_eq!(error, FormatError::UndefinedValue("period"));
    let long = "\u{e4}".repeat(5000);
    let mut erase = EraseLeaf {
        frame: frame(1),
        relation_oid: 1,
        schema: &long,
        table: &long,
        record_id: &long,
        reason: "",
    };
    let error = Leaf::parse(&encoded(|out| erase.encode(out))).unwrap_err();
    assert_eq!(error, FormatError::UndefinedValue("reason"));
    // The longest is a leaf: names and reason are cut between characters, the record id is hashed.
    erase.reason = &long;
    let bytes = encoded(|out| erase.encode(out));
    assert!(bytes.len() <= MAX_LEAF_LEN);
    let Ok(Leaf::Erase(read)) = Leaf::parse(&bytes) else {
        panic!("the longest erase leaf does not read")
    };
    assert_eq!((read.schema.len(), read.reason.len()), (1024, 4096));
    assert!(read.record_id.starts_with("sha256:"));
}
