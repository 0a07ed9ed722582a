//! What a verification shows and needs while it runs.

mod scene;

use scene::Scene;
use scene::common::{Builder, Log, insert, seen, small_log};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ward-verify");

/// What the program writes to a terminal.
fn on_a_terminal(scene: &Scene, args: &str) -> String {
    let terminal = Command::new("script")
        .args(["-qec", &format!("{PROGRAM} {args}"), "/dev/null"])
        .current_dir(scene.path("."))
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .expect("run script (of bsdutils)");
    String::from_utf8(terminal.stdout).unwrap()
}

#[test]
fn progress_is_for_people_at_a_terminal() {
    let scene = Scene::new();
    let export = scene.export(&small_log(), 0);
    let shown = on_a_terminal(&scene, "check trail.ward");
    assert!(shown.contains("verifying ["), "{shown}");
    assert!(shown.contains("unanchored: "), "{shown}");
    let shown = on_a_terminal(&scene, "check trail.ward --json");
    assert!(!shown.contains("verifying"), "{shown}");
    for args in [&["check", &export][..], &["check", &export, "--json"]] {
        let ran = scene.run(args);
        assert_eq!((ran.code, ran.err.as_str()), (3, ""));
        assert!(!ran.out.contains("verifying"), "{}", ran.out);
    }
}

/// A log with so many blocks of 400 rows each.
fn log_of(blocks: u64) -> Log {
    let mut builder = Builder::new();
    for block in 0..blocks {
        let rows: Vec<_> = (0..400).map(|row| insert(block * 400 + row)).collect();
        builder.transaction(100 + block, &rows);
        builder.seal(seen(101 + block));
    }
    builder.log
}

/// Verifies an export that comes through a pipe, and says how much memory that took at most, in kB, when all but the
/// last line was read.
fn peak(log: &Log) -> u64 {
    let export = scene::export(log, 0);
    let last = export.trim_end().rfind('\n').unwrap() + 1;
    let mut child = Command::new(PROGRAM)
        .args(["check", "-", "--jobs", "1", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&export.as_bytes()[..last]).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    pipe.write_all(&export.as_bytes()[last..]).unwrap();
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let peak = status.lines().find(|line| line.starts_with("VmHWM:"));
    let peak = peak.and_then(|line| line.split_whitespace().nth(1));
    peak.unwrap().parse().unwrap()
}

#[test]
fn memory_does_not_grow_with_the_trail() {
    let (short, long) = (log_of(30), log_of(240));
    let more = scene::export(&long, 0).len() - scene::export(&short, 0).len();
    assert!(more > 20 << 20, "{more} bytes more");
    let (short, long) = (peak(&short), peak(&long));
    assert!(
        long < short + 2048,
        "{short} kB, and {long} kB for 8 times as much"
    );
}
