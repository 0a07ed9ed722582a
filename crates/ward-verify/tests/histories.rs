//! Checkpoints that the log does not extend, and keys that were replaced, as an auditor sees them.

mod scene;

use scene::common::{Builder, KEY, Log, insert, seen};
use scene::{Ran, Scene, key};
use serde_json::Value;
use ward_log::{Checkpoint, KeyChangeLeaf, public_key, vkey};

const SEED: [u8; 32] = scene::SEED;
const OTHER: [u8; 32] = [4; 32];
const THIRD: [u8; 32] = [5; 32];
const HERE: [u8; 16] = [10; 16];

/// The origin of an incarnation.
fn origin(incarnation: [u8; 16]) -> String {
    format!("db.example.org/log/{}", uuid::Uuid::from_bytes(incarnation))
}

fn note(log: &Log, block: u64, incarnation: [u8; 16], seeds: &[&[u8; 32]]) -> String {
    let head = Checkpoint {
        origin: origin(incarnation),
        size: log.blocks[&block].tree_size,
        root: log.blocks[&block].root,
    };
    head.sign_with(seeds).unwrap()
}

/// Two blocks that all histories share.
fn shared() -> Builder {
    let mut builder = Builder::new();
    for block in 0..2 {
        builder.transaction(100 + block, &[insert(block)]);
        builder.seal(seen(101 + block));
    }
    assert_eq!(builder.log.size(), 6);
    builder
}

/// What was lost: one block more.
fn lost() -> Log {
    let mut builder = shared();
    builder.transaction(102, &[insert(66), insert(67)]);
    builder.seal(seen(103));
    builder.log
}

fn declare(builder: &mut Builder, xid: u64, restored_size: u64) {
    builder.declare(xid, restored_size);
    builder.seal(seen(xid + 1));
    builder.begin(HERE, "declared: a disk failed", seen(xid + 1));
}

/// Verifies a log against notes, with keys.
fn check(log: &Log, notes: &[&str], keys: &[&str]) -> (Ran, Value) {
    let scene = Scene::new();
    let mut args = vec![
        "check".to_owned(),
        scene.export(log, 0),
        "--json".to_owned(),
    ];
    for (number, note) in notes.iter().enumerate() {
        args.push("--checkpoint".to_owned());
        args.push(scene.write(&format!("note{number}"), note));
    }
    for key in keys {
        args.push("--key".to_owned());
        args.push((*key).to_owned());
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ran = scene.run(&args);
    let outcome = serde_json::from_str(&ran.out).unwrap_or(Value::Null);
    (ran, outcome)
}

/// Verdict, exit code, and kind and place of the only finding.
fn verdict(log: &Log, notes: &[&str]) -> (String, i32, String, Option<u64>) {
    let old = vkey(&origin([9; 16]), &SEED).unwrap();
    let (ran, outcome) = check(log, notes, &[&old]);
    assert_eq!(outcome["findings_total"], 1, "{}{}", ran.out, ran.err);
    let finding = &outcome["findings"][0];
    (
        outcome["verdict"].as_str().unwrap().to_owned(),
        ran.code,
        finding["kind"].as_str().unwrap().to_owned(),
        finding["entry"].as_u64(),
    )
}

fn is(kind: &str, code: i32, entry: Option<u64>) -> (String, i32, String, Option<u64>) {
    (kind.to_owned(), code, kind.to_owned(), entry)
}

#[test]
fn what_the_log_says_of_entries_it_has_lost() {
    let held = note(&lost(), 2, [9; 16], &[&SEED]);
    let shorter = note(&shared().log, 0, [9; 16], &[&SEED]);
    for (reason, expected) in [
        ("promoted", is("lost_at_failover", 4, Some(6))),
        (
            "recovered: before noon",
            is("restored_undeclared", 1, Some(6)),
        ),
        ("copied", is("restored_undeclared", 1, Some(6))),
        ("something else", is("restored_undeclared", 1, Some(6))),
    ] {
        let mut builder = shared();
        builder.begin(HERE, reason, seen(102));
        builder.transaction(103, &[insert(7)]);
        builder.seal(seen(104));
        assert_eq!(
            verdict(&builder.log, &[&held, &shorter]),
            expected,
            "{reason}"
        );
        // a declaration answers for it
        declare(&mut builder, 110, 6);
        let expected = is("restored_declared", 4, Some(6));
        assert_eq!(
            verdict(&builder.log, &[&held, &shorter]),
            expected,
            "{reason}"
        );
    }
}

#[test]
fn cut_off_or_put_back() {
    let held = note(&lost(), 2, [9; 16], &[&SEED]);
    let log = shared().log;
    assert_eq!(
        verdict(&log, &[&held]),
        is("restored_undeclared", 1, Some(6))
    );
}

#[test]
fn rewritten_from_a_point_on() {
    let held = note(&lost(), 2, [9; 16], &[&SEED]);
    let mut builder = shared();
    for xid in 103..106 {
        builder.transaction(xid, &[insert(xid)]);
        builder.seal(seen(xid + 1));
    }
    let kept = note(&builder.log, 1, [9; 16], &[&SEED]);
    let (verdict, code, kind, entry) = verdict(&builder.log, &[&kept, &held]);
    assert_eq!((verdict.as_str(), code), ("tampered", 1));
    assert_eq!((kind.as_str(), entry), ("checkpoint_mismatch", Some(6)));
}

#[test]
fn a_transfer_begins_with_the_block_that_closes_the_old_ids() {
    let held = note(&lost(), 2, [9; 16], &[&SEED]);
    let mut builder = shared();
    builder.transaction(102, &[insert(66)]);
    builder.seal(seen(103));
    builder.begin_anew(HERE, seen(50));
    assert_eq!(
        verdict(&builder.log, &[&held]),
        is("restored_undeclared", 1, Some(6))
    );
}

#[test]
fn a_declaration_does_not_excuse_what_lies_before_it() {
    let mut other = Builder::new();
    other.transaction(100, &[insert(999)]);
    other.seal(seen(101));
    let before = note(&other.log, 0, [9; 16], &[&SEED]);
    let held = note(&lost(), 2, [9; 16], &[&SEED]);
    let mut builder = shared();
    declare(&mut builder, 110, 6);
    let old = vkey(&origin([9; 16]), &SEED).unwrap();
    let (ran, outcome) = check(&builder.log, &[&before, &held], &[&old]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert_eq!(outcome["verdict"], "tampered");
    assert_eq!(outcome["checkpoints"][0]["standing"], "contradicted");
    assert_eq!(outcome["restores"][0]["roles"][0], "app");
}

#[test]
fn a_checkpoint_of_a_history_the_log_does_not_have() {
    let mut elsewhere = shared();
    elsewhere.begin([11; 16], "copied", seen(102));
    let held = note(&elsewhere.log, 2, [11; 16], &[&SEED]);
    let theirs = vkey(&origin([11; 16]), &SEED).unwrap();
    let mut builder = shared();
    declare(&mut builder, 110, 6);
    let (ran, outcome) = check(&builder.log, &[&held], &[&theirs]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert_eq!(outcome["findings"][0]["kind"], "checkpoint_mismatch");
    // under a name the log does not have, a key has to be given itself
    let (ran, _) = check(&builder.log, &[&held], &[&key()]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("none of the given keys"), "{}", ran.err);
}

fn change(builder: &mut Builder, xid: u64, old: &[u8; 32], new: &[u8; 32]) {
    builder.order(xid, &KEY, |frame, out| {
        KeyChangeLeaf {
            frame,
            old_key: public_key(old),
            new_key: public_key(new),
        }
        .encode(out);
    });
    builder.seal(seen(xid + 1));
}

#[test]
fn a_key_is_followed_where_both_have_signed() {
    let mut builder = shared();
    change(&mut builder, 110, &SEED, &OTHER);
    change(&mut builder, 111, &OTHER, &THIRD);
    let log = builder.log;
    let by = |block, seeds: &[&[u8; 32]]| note(&log, block, [9; 16], seeds);
    let old = vkey(&origin([9; 16]), &SEED).unwrap();
    let code = |notes: &[&str]| check(&log, notes, &[&old]).0.code;
    let (first, second) = (by(2, &[&SEED, &OTHER]), by(3, &[&THIRD, &OTHER]));
    assert_eq!(code(&[&first, &second]), 0);
    // in any order, and over more than one change at once
    assert_eq!(code(&[&second, &first]), 0);
    assert_eq!(
        code(&[&by(3, &[&SEED, &OTHER, &THIRD]), &by(3, &[&THIRD])]),
        0
    );
    let (_, outcome) = check(&log, &[&first], &[&old]);
    let followed = |at: usize| outcome["key_changes"][at]["followed"].as_bool().unwrap();
    assert_eq!((followed(0), followed(1)), (true, false));
    for unconnected in [
        // only the new one
        vec![by(2, &[&OTHER])],
        // both, but before the change
        vec![by(1, &[&SEED, &OTHER]), by(2, &[&OTHER])],
        // the second change without the first
        vec![by(2, &[&SEED]), by(3, &[&OTHER, &THIRD]), by(3, &[&THIRD])],
        // a key nobody speaks of
        vec![by(2, &[&[6; 32]])],
    ] {
        let notes: Vec<&str> = unconnected.iter().map(String::as_str).collect();
        let (ran, _) = check(&log, &notes, &[&old]);
        assert_eq!(ran.code, 2, "{}", ran.out);
        assert!(ran.err.contains("none of the given keys"), "{}", ran.err);
    }
    // both keys have signed, but another log
    let mut other = shared();
    other.transaction(109, &[insert(5)]);
    change(&mut other, 110, &SEED, &OTHER);
    let foreign = note(&other.log, 2, [9; 16], &[&SEED, &OTHER]);
    let (ran, _) = check(&log, &[&foreign, &by(2, &[&OTHER])], &[&old]);
    assert_eq!(ran.code, 2, "{}", ran.out);
}

#[test]
fn a_key_counts_for_every_history_of_the_log() {
    let mut builder = shared();
    builder.begin(HERE, "promoted", seen(102));
    let held = note(&builder.log, 2, HERE, &[&SEED]);
    let old = vkey(&origin([9; 16]), &SEED).unwrap();
    let (ran, outcome) = check(&builder.log, &[&held], &[&old]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(outcome["verdict"], "anchored");
    // but not for another log
    let (ran, _) = check(&shared().log, &[&held], &[&old]);
    assert_eq!(ran.code, 2, "{}", ran.out);
}

#[test]
fn a_checkpoint_of_the_last_of_many_histories() {
    let mut builder = shared();
    let mut last = HERE;
    for number in 0..1_100_u64 {
        last[..8].copy_from_slice(&number.to_be_bytes());
        builder.begin(last, "promoted", seen(102));
    }
    let held = note(&builder.log, 1_000, last, &[&SEED]);
    let key = vkey(&origin([9; 16]), &SEED).unwrap();
    let (ran, outcome) = check(&builder.log, &[&held], &[&key]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(outcome["histories"].as_array().unwrap().len(), 1_101);
}
