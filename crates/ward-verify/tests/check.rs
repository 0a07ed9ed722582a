//! `ward-verify check` as an auditor runs it.

mod scene;

use scene::common::{self, Builder, edit_row, insert, resign, seen, small_log};
use scene::{Ran, Scene, checkpoint, export, key};
use serde_json::Value;
use ward_log::{Checkpoint, Leaf, Operation, SignedNote, VerifierKey, WitnessKey, has_trailer};

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}{}", ran.out, ran.err))
}

#[test]
fn without_a_checkpoint_an_honest_trail_is_unanchored() {
    let scene = Scene::new();
    let trail = scene.export(&small_log(), 0);
    let ran = scene.run(&["check", &trail]);
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("unanchored: "), "{}", ran.out);
    assert_eq!(ran.err, "");
    let outcome = json(&scene.run(&["check", &trail, "--json"]));
    assert_eq!(outcome["verdict"], "unanchored");
    assert_eq!(outcome["last_covered_entry"], Value::Null);
    assert_eq!(outcome["unanchored_tail"], 50);
    assert_eq!(outcome["changes"], 45);
    assert_eq!(outcome["entries"], 50);
    assert_eq!(outcome["exported_at"], "2026-09-21T14:13:20Z");
    assert_eq!(outcome["histories"][0]["reason"], "created");
}

#[test]
fn a_held_checkpoint_anchors_what_it_covers() {
    let scene = Scene::new();
    let log = small_log();
    let trail = scene.export(&log, 0);
    let first = scene.checkpoint(&log, 0);
    let second = scene.checkpoint(&log, 1);
    let key = key();
    let args = [
        "check",
        &trail,
        "--checkpoint",
        &first,
        "--checkpoint",
        &second,
        "--key",
        &key,
        "--json",
    ];
    let ran = scene.run(&args);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let outcome = json(&ran);
    assert_eq!(outcome["verdict"], "anchored");
    assert_eq!(outcome["last_covered_entry"], 33);
    assert_eq!(outcome["unanchored_tail"], 16);
    // from standard input, too
    let mut piped = args;
    piped[1] = "-";
    assert_eq!(scene.run_with(&piped, &export(&log, 0)).code, 0);
}

#[test]
fn a_cosigned_checkpoint_is_told_apart() {
    let scene = Scene::new();
    let log = small_log();
    let trail = scene.export(&log, 0);
    let witness = WitnessKey::new("witness.example/w", [4; 32].into()).unwrap();
    let note = checkpoint(&log, 2);
    let signed = Checkpoint::open(
        &SignedNote::parse(&note).unwrap(),
        &VerifierKey::parse(&key()).unwrap(),
    )
    .unwrap();
    let line = witness.cosign(&signed, 1_790_000_000).unwrap();
    let file = scene.write("cosigned", &(note.clone() + &line));
    let (log_key, witness_key) = (key(), witness.vkey());
    let args = [
        "check",
        &trail,
        "--checkpoint",
        &file,
        "--key",
        &log_key,
        "--key",
        &witness_key,
        "--json",
    ];
    let ran = scene.run(&args);
    let outcome = json(&ran);
    assert_eq!((ran.code, &outcome["verdict"]), (0, &"cosigned".into()));
    assert_eq!(outcome["last_cosigned_entry"], 49);
    let cosignature = &outcome["checkpoints"][0]["cosignatures"][0];
    assert_eq!(cosignature["witness"], "witness.example/w");
    assert_eq!(cosignature["at"], "2026-09-21T14:13:20Z");
    // a witness nobody named does not count
    let ran = scene.run(&["check", &trail, "--checkpoint", &file, "--key", &log_key]);
    assert!(ran.out.starts_with("anchored: "), "{}", ran.out);
    // a wrong signature of a known witness is no checkpoint at all
    let forged = line.replace("— witness.example/w ", "— witness.example/w  ");
    let file = scene.write("forged", &(note + &forged));
    let ran = scene.run(&[
        "check",
        &trail,
        "--checkpoint",
        &file,
        "--key",
        &log_key,
        "--key",
        &witness_key,
    ]);
    assert_eq!(ran.code, 2);
}

#[test]
fn a_rebuilt_log_is_found_out_by_a_held_checkpoint_only() {
    let scene = Scene::new();
    let held = scene.checkpoint(&small_log(), 1);
    let mut log = small_log();
    let first = log.position_of(|leaf| leaf.place() == Some((111, 0)));
    let last = log.position_of(|leaf| leaf.place() == Some((111, 4)));
    edit_row(&mut log, first, |row| row.record_id = Some("another"));
    // the attacker holds the audit key, too
    let audit_key = (common::KEY_ID, &common::KEY);
    resign(&mut log, first, last, common::INCARNATION, audit_key);
    log.rebuild();
    let trail = scene.export(&log, 0);
    assert_eq!(scene.run(&["check", &trail]).code, 3);
    let key = key();
    let ran = scene.run(&[
        "check",
        &trail,
        "--checkpoint",
        &held,
        "--key",
        &key,
        "--json",
    ]);
    let outcome = json(&ran);
    assert_eq!((ran.code, &outcome["verdict"]), (1, &"tampered".into()));
    assert_eq!(outcome["findings"][0]["kind"], "checkpoint_mismatch");
    assert_eq!(outcome["findings"][0]["block"], 1);
    assert_eq!(outcome["last_covered_entry"], Value::Null);
}

#[test]
fn a_log_cut_at_its_end_is_found_out_by_a_held_checkpoint() {
    let scene = Scene::new();
    let held = scene.checkpoint(&small_log(), 2);
    let mut log = small_log();
    log.entries.truncate(34);
    log.blocks.remove(&2);
    log.rebuild();
    let trail = scene.export(&log, 0);
    let key = key();
    let ran = scene.run(&["check", &trail, "--checkpoint", &held, "--key", &key]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("checkpoint_mismatch"), "{}", ran.out);
}

#[test]
fn an_edited_entry_is_reported_at_its_place() {
    let scene = Scene::new();
    let mut log = small_log();
    log.entries[20].leaf[20] ^= 1;
    let trail = scene.export(&log, 0);
    let ran = scene.run(&["check", &trail]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.out.contains("entry_altered, block 1, entry 20: "),
        "{}",
        ran.out
    );
}

#[test]
fn with_the_audit_key_a_forged_trailer_is_found() {
    let scene = Scene::new();
    let log = small_log();
    let trail = scene.export(&log, 0);
    // the log of the tests names its key otherwise than by the key's own id
    let keys = scene.write("keys", &format!("{}\n", hex::encode(common::KEY)));
    let ran = scene.run(&["check", &trail, "--audit-key", &keys, "--json"]);
    let outcome = json(&ran);
    assert_eq!(ran.code, 1);
    assert_eq!(outcome["writers_checked"], true);
    assert_eq!(outcome["findings"][0]["kind"], "trailer_forged");
    assert_eq!(outcome["findings_total"], 9);
    let ran = scene.run(&["check", &trail, "--audit-key", &keys, "--max-findings", "2"]);
    assert!(ran.out.contains("and 7 more findings"), "{}", ran.out);
    for bad in ["", "\n", "abcd", &"g".repeat(64)] {
        let keys = scene.write("keys", bad);
        assert_eq!(scene.run(&["check", &trail, "--audit-key", &keys]).code, 2);
    }
}

#[test]
fn with_the_audit_key_genuine_trailers_pass() {
    let scene = Scene::new();
    let mut log = small_log();
    let id = ward_crypto::SecretKey::new(common::KEY).id().0;
    let mut first = 0;
    for at in 0..log.size() {
        if log
            .leaf(at)
            .place()
            .is_some_and(|(_, position)| position == 0)
        {
            first = at;
        }
        if has_trailer(&log.entries[at as usize].leaf) {
            resign(&mut log, first, at, common::INCARNATION, (id, &common::KEY));
        }
    }
    log.rebuild();
    let trail = scene.export(&log, 0);
    let keys = format!("{}\n\n{}\n", hex::encode([1; 32]), hex::encode(common::KEY));
    let keys = scene.write("keys", &keys);
    let ran = scene.run(&["check", &trail, "--audit-key", &keys, "--json"]);
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    assert_eq!(json(&ran)["writers_checked"], true);
}

#[test]
fn a_part_of_a_trail_has_to_be_asked_for() {
    let scene = Scene::new();
    let log = small_log();
    let trail = scene.export(&log, 1);
    let ran = scene.run(&["check", &trail]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--partial"), "{}", ran.err);
    let (before, last, key) = (scene.checkpoint(&log, 0), scene.checkpoint(&log, 2), key());
    let ran = scene.run(&[
        "check",
        &trail,
        "--partial",
        "--key",
        &key,
        "--checkpoint",
        &last,
    ]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("entries 18 to 49"), "{}", ran.out);
    // a checkpoint right before the part agrees with it and covers none of it
    let ran = scene.run(&[
        "check",
        &trail,
        "--partial",
        "--key",
        &key,
        "--checkpoint",
        &before,
    ]);
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
}

#[test]
fn a_damaged_or_cut_export_gives_no_verdict() {
    let scene = Scene::new();
    let text = export(&small_log(), 0);
    for bad in [
        "",
        "\n",
        "something else\n",
        &text[..text.len() / 2],
        &text[..text.rfind("\nend").unwrap() + 1],
        &text.replacen("block", "blcok", 1),
        &"A".repeat(5_000_000),
    ] {
        let trail = scene.write("trail.ward", bad);
        let ran = scene.run(&["check", &trail]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
        assert!(ran.err.starts_with("ward-verify: "), "{}", ran.err);
    }
    assert_eq!(scene.run(&["check", "missing"]).code, 2);
}

#[test]
fn what_cannot_be_relied_on_is_refused() {
    let scene = Scene::new();
    let log = small_log();
    let trail = scene.export(&log, 0);
    let held = scene.checkpoint(&log, 2);
    let key = key();
    let other = ward_log::vkey(scene::ORIGIN, &[9; 32]).unwrap();
    for args in [
        vec!["check"],
        vec!["check", &trail, "--server", "host=/tmp"],
        // without a key, with another's, with none that is one
        vec!["check", &trail, "--checkpoint", &held],
        vec!["check", &trail, "--checkpoint", &held, "--key", &other],
        vec!["check", &trail, "--checkpoint", &held, "--key", "nonsense"],
        vec!["check", &trail, "--checkpoint", &trail, "--key", &key],
        vec!["check", &trail, "--checkpoint", "missing", "--key", &key],
        // not encrypted, not near
        vec!["check", "--server", "host=db.example.org dbname=app"],
    ] {
        let ran = scene.run(&args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}");
    }
}

#[test]
fn a_report_escapes_everything_and_loads_nothing() {
    let scene = Scene::new();
    let mut log = small_log();
    // a hostile name of a table, of a history and of a file
    let hostile = "<script>alert(1)</script>\"'&\u{1b}[2J\u{202e}\u{2028}";
    let at = log.position_of(|leaf| matches!(leaf, Leaf::Shape(_)));
    let mut shape = common::shape();
    shape.table = hostile.into();
    let content = shape.encode_content().unwrap();
    let mut leaf = Vec::new();
    ward_log::ShapeLeaf {
        xid: 100,
        position: 0,
        content: &content,
    }
    .encode(&mut leaf);
    log.entries[at as usize].leaf = leaf;
    for index in 0..log.size() {
        if let Leaf::Row(_) = log.leaf(index) {
            edit_row(&mut log, index, |row| {
                row.shape = ward_log::Shape::shape_id(&content);
                row.operation = Operation::Update;
            });
        }
    }
    log.rebuild();
    let trail = scene.export(&log, 0);
    let out = scene.path("report.html").display().to_string();
    let ran = scene.run(&["report", &trail, "--out", &out]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    let page = scene.read("report.html");
    assert!(page.contains("public.&lt;script&gt;alert(1)"), "{page}");
    assert!(!page.contains("<script"), "{page}");
    assert!(!page.contains(['\u{1b}', '\u{202e}', '\u{2028}']));
    for outside in ["http://", "https://", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("default-src 'none'"));
    assert!(page.contains("<svg"));
    assert!(page.contains("chain_broken"));
    assert!(page.contains("tampered"));
}

#[test]
fn a_report_counts_per_table_and_day() {
    let scene = Scene::new();
    let mut builder = Builder::new();
    builder.transaction_with(100, &[insert(1), insert(2)], |mut row| {
        row.frame.occurred_at = 1_790_000_000_000_000;
        row
    });
    builder.transaction_with(101, &[insert(3)], |mut row| {
        row.frame.occurred_at = i64::MAX;
        row
    });
    builder.seal(seen(110));
    let trail = scene.export(&builder.log, 0);
    let out = scene.path("report.html").display().to_string();
    let key = key();
    let held = scene.checkpoint(&builder.log, 0);
    let ran = scene.run(&[
        "report",
        &trail,
        "--out",
        &out,
        "--key",
        &key,
        "--checkpoint",
        &held,
    ]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let page = scene.read("report.html");
    assert!(page.contains("2026-09-21: 2"), "{page}");
    assert!(
        page.contains("<td>public.accounts</td><td class=\"n\">3</td>"),
        "{page}"
    );
    assert!(page.contains("anchored"));
}

/// The audit key comes out of what the server stores of it with the server's master key only.
#[test]
fn the_audit_key_is_unwrapped_with_the_master_key() {
    let scene = Scene::new();
    let key = uuid::Uuid::from_bytes([7; 16]);
    let master = |byte: u8| ward_crypto::MasterKey::new(ward_crypto::SecretKey::new([byte; 32]));
    let row = |version: u32, purpose: &str, material: u8| {
        let context = ward_crypto::WrapContext {
            key: key.into_bytes(),
            version,
            purpose,
        };
        let secret = ward_crypto::SecretKey::new([material; 32]);
        let wrapped = ward_crypto::wrap_key(&master(1), &context, &secret, [material; 24]).unwrap();
        format!("{key} {version} {}\n", hex::encode(wrapped))
    };
    let masters = scene.write(
        "master.key",
        &format!("{}\n{}\n", "02".repeat(32), "01".repeat(32)),
    );
    let unwrap = |masters: &str, out: &str, rows: &str| {
        let args = ["audit-key", "--master-key", masters, "--out", out];
        scene.run_with(&args, rows)
    };
    let rows = row(1, "audit", 8) + "\n" + &row(2, "audit", 9);
    let ran = unwrap(&masters, "audit.key", &rows);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(ran.out, "audit keys written: 2\n");
    assert_eq!(
        scene.read("audit.key"),
        format!("{}\n{}\n", "08".repeat(32), "09".repeat(32))
    );
    let mode = std::fs::metadata(scene.path("audit.key")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777,
        0o600
    );
    // it replaces nothing
    assert_eq!(unwrap(&masters, "audit.key", &rows).code, 2);

    let other = scene.write("other.key", &"02".repeat(32));
    let right = row(1, "audit", 8);
    let (id, rest) = right.split_once(' ').unwrap();
    for (masters, rows, complaint) in [
        (&other, right.clone(), "under master key"),
        (&masters, row(1, "data_encryption", 8), "corrupt"),
        (&masters, right.replacen(" 1 ", " 3 ", 1), "corrupt"),
        (&masters, String::new(), "holds no key"),
        (&masters, format!("{id} 1"), "line 1 of standard input"),
        (&masters, format!("x {rest}"), "not a UUID"),
        (&masters, right.replacen(" 1 ", " -1 ", 1), "not a number"),
        (&masters, format!("{id} 1 xy"), "not hexadecimal"),
    ] {
        let ran = unwrap(masters, "none.key", &rows);
        assert_eq!(ran.code, 2, "{complaint}");
        assert!(ran.err.contains(complaint), "{}", ran.err);
        assert!(!scene.path("none.key").exists(), "{complaint}");
    }
}
