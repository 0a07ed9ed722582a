//! However many threads work, `ward-verify check` finds the same.

mod scene;

use base64::{Engine, engine::general_purpose::STANDARD};
use scene::Scene;
use scene::common::{Builder, Log, RowSpec, edit_row, insert, seen};
use ward_log::Operation;

/// 40 blocks of 50 transactions of 7 rows: 4 MB of export, a dozen batches.
fn long_log() -> Log {
    let mut builder = Builder::new();
    for block in 0..40 {
        for transaction in 0..50 {
            let xid = 1_000 + block * 50 + transaction;
            let rows: Vec<RowSpec> = (0..7).map(|row| insert(xid * 10 + row)).collect();
            builder.transaction(xid, &rows);
        }
        builder.seal(seen(1_050 + block * 50));
    }
    builder.log
}

/// What one run says, without the time of the run.
fn said(scene: &Scene, trail: &str, more: &[&str], jobs: &str) -> (i32, String, String) {
    let mut args = vec!["check", trail, "--json", "--jobs", jobs];
    args.extend(more);
    let ran = scene.run(&args);
    let out: String = ran
        .out
        .lines()
        .filter(|line| !line.contains("verified_at"))
        .map(|line| format!("{line}\n"))
        .collect();
    (ran.code, out, ran.err)
}

/// What one thread says, which is what every other number of threads says, too.
fn same(scene: &Scene, text: &str, more: &[&str]) -> (i32, String, String) {
    let trail = scene.write("trail.ward", text);
    let alone = said(scene, &trail, more, "1");
    for jobs in ["2", "3", "16"] {
        assert_eq!(said(scene, &trail, more, jobs), alone, "with {jobs} jobs");
    }
    alone
}

#[test]
fn an_honest_trail_is_honest_with_any_number_of_threads() {
    let scene = Scene::new();
    let (code, out, err) = same(&scene, &scene::export(&long_log(), 0), &[]);
    assert_eq!(code, 3, "{out}{err}");
    assert!(out.contains("\"entries\": 14042"), "{out}");
}

#[test]
fn tampering_anywhere_is_found_in_order_and_in_its_place() {
    let scene = Scene::new();
    let mut log = long_log();
    // at both ends of groups of leaves and of blocks, and in their middle
    let mut wanted = Vec::new();
    for at in [256, 511, 512, 5_000, 7_000, 10_240, 13_990] {
        let row = (at..).find(|at| matches!(log.leaf(*at), ward_log::Leaf::Row(_)));
        let row = row.unwrap();
        edit_row(&mut log, row, |leaf| leaf.operation = Operation::Delete);
        wanted.push(row);
    }
    log.entries[6_003].image = None;
    let image = log.entries.iter().rposition(|e| e.image.is_some()).unwrap();
    log.entries[image].image.as_mut().unwrap()[20] ^= 1;
    log.entries.remove(3_000);
    let (code, out, _) = same(&scene, &scene::export(&log, 0), &[]);
    assert_eq!(code, 1);
    let outcome: serde_json::Value = serde_json::from_str(&out).unwrap();
    let entries = |kind: &str| -> Vec<u64> {
        let findings = outcome["findings"].as_array().unwrap().iter();
        findings
            .filter(|finding| finding["kind"] == kind)
            .map(|finding| finding["entry"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(entries("entry_altered"), wanted);
    assert_eq!(entries("entry_missing"), [3_000]);
    assert_eq!(entries("image_missing"), [6_003]);
    assert_eq!(entries("image_altered"), [image as u64]);
}

#[test]
fn macs_are_checked_in_every_thread() {
    let scene = Scene::new();
    let key = scene.write("audit-key", &"09".repeat(32));
    let more = ["--audit-key", &key, "--max-findings", "5000"];
    let (code, out, _) = same(&scene, &scene::export(&long_log(), 0), &more);
    assert_eq!(code, 1);
    assert_eq!(out.matches("trailer_forged").count(), 2_000);
}

/// The same records in pieces of `len` bytes, which end anywhere.
fn in_pieces(export: &str, len: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in export.lines() {
        match line.split_once(' ') {
            Some(("leaves", text)) => {
                let bytes = STANDARD.decode(text).unwrap();
                let (most, last) = bytes.split_at(bytes.len() - bytes.len() % len);
                for piece in most
                    .chunks(len)
                    .chain([last].into_iter().filter(|l| !l.is_empty()))
                {
                    lines.push(format!("leaves {}", STANDARD.encode(piece)));
                }
            }
            Some(("end", fields)) => {
                let mut fields = STANDARD.decode(fields).unwrap();
                let so_far: String = lines.iter().map(|line| format!("{line}\n")).collect();
                let checksum = crc32fast::hash(so_far.as_bytes());
                fields[8..].copy_from_slice(&checksum.to_be_bytes());
                lines.push(format!("end {}", STANDARD.encode(fields)));
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn records_that_go_over_the_ends_of_lines_are_read_whole() {
    let scene = Scene::new();
    let mut log = long_log();
    let export = scene::export(&log, 0);
    let honest = same(&scene, &export, &[]);
    for len in [501, 9_999] {
        assert_eq!(same(&scene, &in_pieces(&export, len), &[]), honest);
    }
    log.entries[5_000].leaf[30] ^= 1;
    let export = scene::export(&log, 0);
    let found = same(&scene, &export, &[]);
    assert_eq!(found.0, 1);
    assert_eq!(same(&scene, &in_pieces(&export, 1_001), &[]), found);
}

#[test]
fn a_damaged_export_is_refused_alike() {
    let scene = Scene::new();
    let export = scene::export(&long_log(), 0);
    let refused = |text: &str, why: &str| {
        let (code, out, err) = same(&scene, text, &[]);
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert!(err.contains(why), "{err}");
    };
    let middle = export.len() / 2;
    refused(&export[..middle], "");
    let line_end = middle + export[middle..].find('\n').unwrap() + 1;
    refused(&export[..line_end], "the export is cut short");
    let mut damaged = export.clone().into_bytes();
    let at = export[middle..].find("leaves ").unwrap() + middle + 100;
    damaged[at] = b'!';
    refused(std::str::from_utf8(&damaged).unwrap(), "not base64");
    damaged[at] = if export.as_bytes()[at] == b'A' {
        b'B'
    } else {
        b'A'
    };
    refused(std::str::from_utf8(&damaged).unwrap(), "");
    let without = export.replacen("leaves ", "leafs ", 1);
    refused(&without, "no known kind");
    let twice = export.clone() + export.lines().last().unwrap() + "\n";
    refused(&twice, "after the last");
}

#[test]
fn no_thread_is_no_number_of_threads() {
    let scene = Scene::new();
    for jobs in ["0", "-1", "many"] {
        let ran = scene.run(&["check", "trail.ward", "--jobs", jobs]);
        assert_eq!(ran.code, 2, "{}", ran.out);
    }
}
