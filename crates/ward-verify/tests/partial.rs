//! Exports that begin behind a failover or restore: what they do not show is said, and excuses nothing.

mod scene;

use scene::Scene;
use scene::common::{Builder, KEY, Log, insert, seen};
use serde_json::Value;
use ward_log::{Checkpoint, RestoreLeaf, vkey};

const FIRST: [u8; 16] = scene::common::INCARNATION;
const SECOND: [u8; 16] = [10; 16];
const THIRD: [u8; 16] = [11; 16];

fn origin(incarnation: [u8; 16]) -> String {
    format!("db.example.org/log/{}", uuid::Uuid::from_bytes(incarnation))
}

/// The head after the last block of a log.
fn note(log: &Log, incarnation: [u8; 16]) -> String {
    let last = log.blocks.values().next_back().unwrap();
    let head = Checkpoint {
        origin: origin(incarnation),
        size: last.tree_size,
        root: last.root,
    };
    head.sign(&scene::SEED).unwrap()
}

/// A block with so many rows.
fn block(builder: &mut Builder, xid: u64, rows: u64) {
    let rows: Vec<_> = (0..rows).map(|row| insert(xid * 100 + row)).collect();
    builder.transaction(xid, &rows);
    builder.seal(seen(xid + 1));
}

/// Two blocks that all histories share, 6 leaves.
fn shared() -> Builder {
    let mut builder = Builder::new();
    block(&mut builder, 100, 1);
    block(&mut builder, 101, 1);
    builder
}

/// What was lost: a log of 13 leaves.
fn lost() -> Log {
    let mut builder = shared();
    block(&mut builder, 102, 6);
    assert_eq!(builder.log.size(), 13);
    builder.log
}

/// The log that went on: block 2 is the incarnation, 6 and 7; block 3 has leaves 8 and 9, block 4 those from 10 on.
fn continued(reason: &str) -> Builder {
    let mut builder = shared();
    builder.begin(SECOND, reason, seen(102));
    block(&mut builder, 103, 1);
    block(&mut builder, 104, 9);
    builder
}

/// Exit code and outcome for an export from a block on.
fn check(export: &str, notes: &[&str]) -> (i32, Value) {
    let scene = Scene::new();
    let export = scene.write("trail.ward", export);
    let key = vkey(&origin(FIRST), &scene::SEED).unwrap();
    let mut args = vec!["check", &export, "--partial", "--json", "--key", &key];
    let write = |(number, note): (usize, &&str)| scene.write(&format!("note{number}"), note);
    let files: Vec<_> = notes.iter().enumerate().map(write).collect();
    for file in &files {
        args.extend(["--checkpoint", file]);
    }
    let ran = scene.run(&args);
    let outcome = serde_json::from_str(&ran.out).unwrap_or(Value::String(ran.err));
    (ran.code, outcome)
}

#[test]
fn a_failover_before_the_export_is_not_called_tampering() {
    let log = continued("promoted").log;
    let lost = note(&lost(), FIRST);
    let (code, outcome) = check(&scene::export(&log, 0), &[&lost]);
    assert_eq!((code, &outcome["verdict"]), (4, &"lost_at_failover".into()));
    // the incarnation leaf is in the export, only the former history's is not
    let (code, outcome) = check(&scene::export(&log, 2), &[&lost]);
    assert_eq!((code, &outcome["verdict"]), (4, &"lost_at_failover".into()));
    assert_eq!(outcome["findings"][0]["entry"], 6);
    // neither is
    let (code, outcome) = check(&scene::export(&log, 3), &[&lost]);
    assert_eq!(
        (code, &outcome["verdict"]),
        (4, &"left_before_export".into()),
        "{outcome}"
    );
    assert_eq!(outcome["checkpoints"][0]["standing"], "left_before_export");
    assert_eq!(outcome["earlier_histories"].as_array().unwrap().len(), 2);
    let detail = outcome["findings"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("not checked"), "{detail}");
}

#[test]
fn a_restore_declared_in_the_export_of_a_history_that_began_before_it() {
    let mut builder = shared();
    block(&mut builder, 103, 1);
    builder.order(110, &KEY, |frame, out| {
        RestoreLeaf {
            frame,
            restored_size: 6,
            reason: "a disk failed",
        }
        .encode(out);
    });
    builder.seal(seen(111));
    builder.begin(SECOND, "declared: a disk failed", seen(111));
    let lost = note(&lost(), FIRST);
    let (code, outcome) = check(&scene::export(&builder.log, 2), &[&lost]);
    assert_eq!(
        (code, &outcome["verdict"]),
        (4, &"restored_declared".into()),
        "{outcome}"
    );
}

#[test]
fn a_key_counts_for_histories_that_began_before_the_export() {
    let log = continued("promoted").log;
    let (code, outcome) = check(&scene::export(&log, 4), &[&note(&log, SECOND)]);
    assert_eq!(code, 0, "{outcome}");
    assert_eq!(outcome["verdict"], "anchored");
}

/// Rewritten from a point on, without a word about it, by one who then says that it was left before.
#[test]
fn forged_incarnation_lines_make_nothing_look_sound() {
    let mut builder = shared();
    for xid in 103..106 {
        block(&mut builder, xid, 2);
    }
    let log = builder.log;
    let (lost, own) = (note(&lost(), FIRST), note(&log, FIRST));
    for said in [
        &[FIRST][..],
        &[FIRST, FIRST],
        &[THIRD, FIRST],
        &[SECOND, THIRD, FIRST],
    ] {
        let export = scene::export_saying(&log, 2, Some(said));
        let (code, outcome) = check(&export, &[&lost]);
        assert_eq!((code, &outcome["verdict"]), (1, &"tampered".into()));
    }
    let export = scene::export_saying(&log, 2, Some(&[FIRST, THIRD]));
    for notes in [&[&lost[..]][..], &[&lost, &own], &[&own, &lost]] {
        let (code, outcome) = check(&export, notes);
        assert_eq!(
            (code, &outcome["verdict"]),
            (4, &"left_before_export".into())
        );
        assert_eq!(outcome["findings_total"], 1);
    }
    // and anything else that is wrong is not excused
    let mut altered = log.clone();
    altered.entries[12].leaf[20] ^= 1;
    let export = scene::export_saying(&altered, 2, Some(&[FIRST, THIRD]));
    let (code, outcome) = check(&export, &[&lost]);
    assert_eq!((code, &outcome["verdict"]), (1, &"tampered".into()));
    // a history that is not named is another log's
    let export = scene::export_saying(&log, 2, Some(&[FIRST, THIRD]));
    let elsewhere = Checkpoint {
        origin: origin([77; 16]),
        size: 13,
        root: [1; 32],
    };
    let (code, _) = check(&export, &[&elsewhere.sign(&scene::SEED).unwrap()]);
    assert_eq!(code, 2);
}

#[test]
fn a_whole_export_names_no_earlier_incarnation() {
    let export = scene::export_saying(&shared().log, 0, Some(&[FIRST]));
    let (code, outcome) = check(&export, &[]);
    assert_eq!(code, 2, "{outcome}");
}
