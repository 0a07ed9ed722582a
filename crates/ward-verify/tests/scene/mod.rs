//! A log, its export, its checkpoints, and the program.
#![allow(dead_code)]

#[path = "../../../ward-log/tests/common/mod.rs"]
pub mod common;

use common::{Log, Stored};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use ward_log::{
    AddCheckpoint, Checkpoint, ExportHeader, ExportWriter, Leaf, TlogProof, consistency_proof,
    inclusion_proof, push_record, vkey,
};

pub const ORIGIN: &str = "db.example.org/log";
pub const SEED: [u8; 32] = [3; 32];

pub struct Scene {
    directory: TempDir,
}

pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Scene {
    pub fn new() -> Self {
        Self {
            directory: TempDir::with_prefix("ward-verify-").unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Exports a log to a file.
    pub fn export(&self, log: &Log, first_block: u64) -> String {
        self.write("trail.ward", &export(log, first_block))
    }

    /// Signs the head after a block, into a file.
    pub fn checkpoint(&self, log: &Log, block: u64) -> String {
        self.write(&format!("checkpoint-{block}"), &checkpoint(log, block))
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "")
    }

    pub fn run_with(&self, args: &[&str], input: &str) -> Ran {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ward-verify"))
            .args(args)
            .current_dir(self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // a program that fails early does not read its input
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output().unwrap();
        Ran {
            code: status.code().unwrap(),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        }
    }
}

pub fn key() -> String {
    vkey(ORIGIN, &SEED).unwrap()
}

fn head(log: &Log, block: u64) -> Checkpoint {
    Checkpoint {
        origin: ORIGIN.into(),
        size: log.blocks[&block].tree_size,
        root: log.blocks[&block].root,
    }
}

pub fn checkpoint(log: &Log, block: u64) -> String {
    head(log, block).sign(&SEED).unwrap()
}

pub fn request(log: &Log, old_size: u64, block: u64) -> String {
    let size = log.blocks[&block].tree_size;
    let tiles = |level, index| log.tiles.get(&(level, index)).cloned();
    AddCheckpoint {
        old_size,
        proof: consistency_proof(old_size, size, tiles).unwrap(),
        checkpoint: checkpoint(log, block),
    }
    .to_text()
}

pub fn proof(log: &Log, index: u64, block: u64, with_image: bool) -> TlogProof {
    let size = log.blocks[&block].tree_size;
    let tiles = |level, index| log.tiles.get(&(level, index)).cloned();
    let entry = &log.entries[index as usize];
    let image = entry.image.as_deref().filter(|_| with_image);
    let mut extra = Vec::new();
    push_record(&mut extra, &entry.leaf, image).unwrap();
    TlogProof {
        extra: Some(extra),
        index,
        proof: inclusion_proof(index, size, tiles).unwrap(),
        checkpoint: checkpoint(log, block),
    }
}

pub fn export(log: &Log, first_block: u64) -> String {
    export_saying(log, first_block, None)
}

/// An export that says which incarnations began before it, whatever the log says.
pub fn export_saying(log: &Log, first_block: u64, said: Option<&[[u8; 16]]>) -> String {
    let mut source = Stored(log);
    let first_leaf = match first_block.checked_sub(1) {
        Some(before) => log.blocks[&before].tree_size,
        None => 0,
    };
    let last = log.blocks.values().next_back().unwrap();
    let header = ExportHeader {
        origin: ORIGIN.into(),
        first_block,
        first_leaf,
        blocks: last.block_no + 1,
        size: last.tree_size,
        taken_at: 1_790_000_000_000_000,
    };
    let (mut incarnations, mut shapes) = (Vec::new(), Vec::new());
    for entry in log.entries.iter().filter(|entry| entry.index < first_leaf) {
        match Leaf::parse(&entry.leaf) {
            Ok(Leaf::Incarnation(leaf)) => incarnations.push(leaf.incarnation),
            Ok(Leaf::Shape(leaf)) => shapes.push(leaf.content.to_vec()),
            _ => {}
        }
    }
    let incarnations = said.unwrap_or(&incarnations);
    let mut writer = ExportWriter::new(header, None, incarnations, &shapes, &mut source);
    for entry in log.entries.iter().filter(|entry| entry.index >= first_leaf) {
        writer.leaf(
            entry.index,
            &entry.leaf,
            entry.image.as_deref(),
            &mut source,
        );
    }
    writer.finish(&mut source);
    std::iter::from_fn(|| writer.next_line())
        .map(|line| line + "\n")
        .collect()
}
