//! Proofs of single entries, consistency of checkpoints, and witnesses.

mod scene;

use scene::common::{edit_row, small_log};
use scene::{ORIGIN, Scene, checkpoint, key, proof, request};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;

#[test]
fn a_proof_is_as_good_as_what_its_checkpoint_is_anchored_by() {
    let scene = Scene::new();
    let log = small_log();
    let key = key();
    for with_image in [false, true] {
        let file = scene.write("p", &proof(&log, 20, 2, with_image).to_text());
        let ran = scene.run(&["proof", &file, "--key", &key]);
        assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
        let shows_values = ran.out.contains("values       in the proof");
        assert_eq!(shows_values, with_image, "{}", ran.out);
        let held = scene.checkpoint(&log, 2);
        let ran = scene.run(&[
            "proof",
            &file,
            "--key",
            &key,
            "--checkpoint",
            &held,
            "--json",
        ]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        let outcome: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(outcome["verdict"], "anchored");
        assert_eq!(outcome["entry"], 20);
        assert_eq!(outcome["change"]["operation"], "INSERT");
    }
    // an older checkpoint needs a link to the proof's
    let file = scene.write("p", &proof(&log, 20, 2, false).to_text());
    let (held, link) = (
        scene.checkpoint(&log, 0),
        scene.write("link", &request(&log, 18, 2)),
    );
    let args = ["proof", &file, "--key", &key, "--checkpoint", &held];
    assert_eq!(scene.run(&args).code, 3);
    let linked = [&args[..], &["--consistency", &link]].concat();
    assert_eq!(scene.run(&linked).code, 0);
}

#[test]
fn a_proof_that_was_altered_is_refused() {
    let scene = Scene::new();
    let log = small_log();
    let key = key();
    let refused = |text: &str| {
        let file = scene.write("p", text);
        scene.run(&["proof", &file, "--key", &key]).code
    };
    let good = proof(&log, 20, 2, true);
    let mut other = good.clone();
    other.index = 21;
    assert_eq!(refused(&other.to_text()), 1);
    let mut other = good.clone();
    other.proof[0][0] ^= 1;
    assert_eq!(refused(&other.to_text()), 1);
    for at in [10, 40, good.extra.as_ref().unwrap().len() - 1] {
        let mut other = good.clone();
        other.extra.as_mut().unwrap()[at] ^= 1;
        assert_eq!(refused(&other.to_text()), 1, "byte {at}");
    }
    let mut other = good.clone();
    other.extra = None;
    assert_eq!(refused(&other.to_text()), 2);
    let mut other = good.clone();
    other.extra = Some(vec![1]);
    assert_eq!(refused(&other.to_text()), 2);
    let mut other = good.clone();
    other.checkpoint = other.checkpoint.replace("\n50\n", "\n51\n");
    assert_eq!(refused(&other.to_text()), 2);
    for text in ["", "\n\n\n", "c2sp.org/tlog-proof@v1\n"] {
        assert_eq!(refused(text), 2);
    }
}

#[test]
fn a_proof_of_another_history_contradicts_a_held_checkpoint() {
    let scene = Scene::new();
    let key = key();
    let held = scene.checkpoint(&small_log(), 2);
    let mut log = small_log();
    edit_row(&mut log, 20, |row| row.record_id = Some("another"));
    log.rebuild();
    let file = scene.write("p", &proof(&log, 20, 2, false).to_text());
    assert_eq!(scene.run(&["proof", &file, "--key", &key]).code, 3);
    let ran = scene.run(&["proof", &file, "--key", &key, "--checkpoint", &held]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
}

#[test]
fn consistency_of_two_checkpoints() {
    let scene = Scene::new();
    let log = small_log();
    let key = key();
    let old = scene.checkpoint(&log, 0);
    let file = scene.write("r", &request(&log, 18, 2));
    let ran = scene.run(&["consistency", &file, "--old", &old, "--key", &key]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let mut rewritten = small_log();
    edit_row(&mut rewritten, 4, |row| row.record_id = Some("another"));
    rewritten.rebuild();
    let file = scene.write("r", &request(&rewritten, 18, 2));
    let ran = scene.run(&["consistency", &file, "--old", &old, "--key", &key]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    let other = scene.checkpoint(&log, 1);
    let ran = scene.run(&["consistency", &file, "--old", &other, "--key", &key]);
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
}

/// A witness in a scene: its public key.
fn witness(scene: &Scene) -> String {
    let ran = scene.run(&["keygen", "--name", "witness.example/w", "--out", "w.key"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.out.trim_end().to_owned()
}

fn args<'a>(key: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "witness",
        "--state",
        "state",
        "--key",
        key,
        "--signing-key",
        "w.key",
    ];
    args.extend(more);
    args
}

#[test]
fn a_witness_cosigns_what_extends_what_it_has_seen() {
    let scene = Scene::new();
    let log = small_log();
    let key = key();
    let vkey = witness(&scene);
    let ran = scene.run_with(&args(&key, &["--new"]), &request(&log, 0, 0));
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out.starts_with("\u{2014} witness.example/w "),
        "{}",
        ran.out
    );
    assert_eq!(scene.read("state"), checkpoint(&log, 0));
    let ran = scene.run_with(&args(&key, &[]), &request(&log, 18, 2));
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(scene.read("state"), checkpoint(&log, 2));
    // what it returned makes the checkpoint a cosigned one
    let held = scene.write("cosigned", &(checkpoint(&log, 2) + &ran.out));
    let trail = scene.export(&log, 0);
    let ran = scene.run(&[
        "check",
        &trail,
        "--checkpoint",
        &held,
        "--key",
        &key,
        "--key",
        &vkey,
    ]);
    assert!(ran.out.starts_with("cosigned: "), "{}{}", ran.out, ran.err);
    // the same once more
    assert_eq!(
        scene.run_with(&args(&key, &[]), &request(&log, 50, 2)).code,
        0
    );
}

#[test]
fn a_witness_refuses_a_rewritten_log_and_keeps_its_state() {
    let scene = Scene::new();
    let log = small_log();
    let key = key();
    witness(&scene);
    assert_eq!(
        scene
            .run_with(&args(&key, &["--new"]), &request(&log, 0, 1))
            .code,
        0
    );
    let mut other = small_log();
    edit_row(&mut other, 4, |row| row.record_id = Some("another"));
    other.rebuild();
    // longer, as long, and the same cut short
    for (text, code) in [
        (request(&other, 34, 2), 1),
        (request(&other, 34, 1), 1),
        (request(&log, 18, 1), 2),
        (request(&log, 0, 0), 2),
        (request(&log, 0, 2), 2),
        (request(&log, 34, 2).replace("old 34", "old 50"), 2),
        // what an earlier request had: no evidence that anything was rewritten
        (request(&log, 18, 0).replace("old 18", "old 34"), 2),
        (request(&log, 34, 2).replace("\n50\n", "\n51\n"), 2),
        (String::new(), 2),
    ] {
        let ran = scene.run_with(&args(&key, &[]), &text);
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (code, ""),
            "{text}{}",
            ran.err
        );
        assert_eq!(scene.read("state"), checkpoint(&log, 1));
    }
    assert_eq!(
        scene.run_with(&args(&key, &[]), &request(&log, 34, 2)).code,
        0
    );
}

#[test]
fn a_witness_that_lost_its_state_does_not_begin_anew() {
    let scene = Scene::new();
    let log = small_log();
    let key = key();
    witness(&scene);
    let ran = scene.run_with(&args(&key, &[]), &request(&log, 0, 0));
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("--new"), "{}", ran.err);
    assert_eq!(
        scene
            .run_with(&args(&key, &["--new"]), &request(&log, 0, 0))
            .code,
        0
    );
    let ran = scene.run_with(&args(&key, &["--new"]), &request(&log, 0, 0));
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    // a state that the log's key has not signed is none
    scene.write("state", "nonsense");
    let ran = scene.run_with(&args(&key, &[]), &request(&log, 18, 1));
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
}

/// Replacing the link would leave the file as it was, and whoever names that would sign another history.
#[test]
fn a_state_under_two_names_is_refused() {
    let scene = Scene::new();
    let log = small_log();
    let key = key();
    witness(&scene);
    symlink("elsewhere", scene.path("state")).unwrap();
    for (new, old_size) in [(&["--new"][..], 0), (&[], 18)] {
        let ran = scene.run_with(&args(&key, new), &request(&log, old_size, 0));
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
        assert!(ran.err.contains("not a link"), "{}", ran.err);
        scene.write("elsewhere", &checkpoint(&log, 0));
    }
}

#[test]
fn a_witness_keeps_its_key_to_itself() {
    let scene = Scene::new();
    let log = small_log();
    let key = key();
    witness(&scene);
    let mode = |bits| {
        let permissions = std::fs::Permissions::from_mode(bits);
        std::fs::set_permissions(scene.path("w.key"), permissions).unwrap();
    };
    let bits = std::fs::metadata(scene.path("w.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(bits & 0o777, 0o600);
    mode(0o640);
    let ran = scene.run_with(&args(&key, &["--new"]), &request(&log, 0, 0));
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("chmod 600"), "{}", ran.err);
    mode(0o600);
    // another log's key, a key that exists, a name that cannot be one
    let other = ward_log::vkey(ORIGIN, &[9; 32]).unwrap();
    let ran = scene.run_with(&args(&other, &["--new"]), &request(&log, 0, 0));
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert_eq!(
        scene.run(&["keygen", "--name", "w", "--out", "w.key"]).code,
        2
    );
    assert_eq!(
        scene
            .run(&["keygen", "--name", "a b", "--out", "x.key"])
            .code,
        2
    );
}
