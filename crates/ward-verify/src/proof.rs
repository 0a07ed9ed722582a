//! The verification of one entry's proof.

use crate::args::Proof;
use crate::consistency::Link;
use crate::failure::Failure;
use crate::outcome::{self, Verdict, shown};
use crate::trust::{self, Cosignature, Held};
use crate::{input, time};
use serde::Serialize;
use std::fmt;
use ward_log::{
    Hash, Leaf, Record, Records, TlogProof, image_commitment, leaf_hash, verify_inclusion,
};

#[derive(Serialize)]
struct Outcome {
    verdict: Verdict,
    /// Why it is tampered with.
    reason: Option<&'static str>,
    verified_at: String,
    origin: String,
    size: u64,
    entry: u64,
    cosignatures: Vec<Cosignature>,
    change: Option<Change>,
}

/// What the entry says, where it is a change of a row.
#[derive(Serialize)]
struct Change {
    operation: &'static str,
    record_id: Option<String>,
    occurred_at: String,
    transaction_id: u64,
    /// Whether the row's values are in the proof, and are those the entry commits to.
    values_verified: bool,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verdict,
            entry,
            size,
            ..
        } = self;
        match (self.reason, verdict) {
            (Some(reason), _) => writeln!(f, "{verdict}: {reason}")?,
            (None, Verdict::Unanchored) => writeln!(
                f,
                "{verdict}: entry {entry} is in the log of {size} entries that the log's key signed; nothing kept \
                 outside the server shows that it is the log others have seen"
            )?,
            (None, _) => writeln!(
                f,
                "{verdict}: entry {entry} is in the log of {size} entries"
            )?,
        }
        writeln!(f, "  log          {}", shown(&self.origin))?;
        for cosignature in &self.cosignatures {
            writeln!(
                f,
                "  cosigned by  {} at {}",
                cosignature.witness, cosignature.at
            )?;
        }
        if let Some(change) = &self.change {
            let record = change.record_id.as_deref().map_or("-".to_owned(), shown);
            writeln!(
                f,
                "  entry        {} of record {record} at {}, transaction {}",
                change.operation, change.occurred_at, change.transaction_id
            )?;
            if change.values_verified {
                writeln!(
                    f,
                    "  values       in the proof, as the entry commits to them"
                )?;
            }
        }
        Ok(())
    }
}

/// Verifies, prints the outcome, and returns the verdict.
pub fn run(args: &Proof) -> Result<Verdict, Failure> {
    let name = args.file.display().to_string();
    let proof = TlogProof::parse(&input::note(&args.file)?)
        .map_err(|error| Failure::input(&name, error))?;
    let (keys, held) = trust::read(&args.trust)?;
    let own = keys.open(&name, &proof.checkpoint)?;
    let links = args
        .consistency
        .iter()
        .map(|file| Link::read(file, &keys))
        .collect::<Result<Vec<_>, _>>()?;
    let bytes = proof.extra.as_deref().ok_or_else(|| {
        Failure::input(
            &name,
            "the proof does not hold the entry it is about (line \"extra\")",
        )
    })?;
    let record = single_record(bytes)
        .ok_or_else(|| Failure::input(&name, "the entry in the proof cannot be read"))?;
    let reason = if !is_included(&proof, &record, &own) {
        Some("the entry is not in the log that the checkpoint is of")
    } else if !image_fits(&record) {
        Some("the row's values are not those the entry commits to")
    } else {
        anchor(&own, &held, &links).err()
    };
    let verdict = match reason {
        Some(_) => Verdict::Tampered,
        None if !own.cosignatures.is_empty() => Verdict::Cosigned,
        None if anchor(&own, &held, &links) == Ok(true) => Verdict::Anchored,
        None => Verdict::Unanchored,
    };
    let outcome = Outcome {
        verdict,
        reason,
        verified_at: time::text(time::now()),
        origin: own.checkpoint.origin,
        size: own.checkpoint.size,
        entry: proof.index,
        cosignatures: own.cosignatures,
        change: change(&record),
    };
    outcome::print(&outcome, args.json)?;
    Ok(verdict)
}

fn single_record(bytes: &[u8]) -> Option<Record<'_>> {
    let mut records = Records::new(bytes);
    let record = records.next()?.ok()?;
    records.next().is_none().then_some(record)
}

fn is_included(proof: &TlogProof, record: &Record<'_>, own: &Held) -> bool {
    let leaf: Hash = leaf_hash(record.leaf);
    let head = &own.checkpoint;
    verify_inclusion(&leaf, proof.index, head.size, &proof.proof, &head.root)
}

fn image_fits(record: &Record<'_>) -> bool {
    match (record.image, Leaf::parse(record.leaf)) {
        (None, _) => true,
        (Some(image), Ok(Leaf::Row(row))) => image_commitment(image) == row.image_commit,
        (Some(_), _) => false,
    }
}

/// Whether a checkpoint kept outside is of the same log as the proof's; an error where one contradicts it.
fn anchor(own: &Held, held: &[Held], links: &[Link]) -> Result<bool, &'static str> {
    let mut anchored = false;
    for held in held {
        let (kept, here) = (&held.checkpoint, &own.checkpoint);
        let connects = |link: &&Link, old: &Held, new: &Held| {
            link.old_size() == old.checkpoint.size
                && link.new.checkpoint.size == new.checkpoint.size
                && link.new.checkpoint.root == new.checkpoint.root
        };
        let (old, new) = if kept.size < here.size {
            (held, own)
        } else {
            (own, held)
        };
        let fits = if kept.size == here.size {
            Some(kept.root == here.root)
        } else {
            links
                .iter()
                .find(|link| connects(link, old, new))
                .map(|link| link.extends(old))
        };
        match fits {
            Some(true) => anchored = true,
            Some(false) => {
                return Err("the proof's checkpoint contradicts one that was kept outside");
            }
            None => {}
        }
    }
    Ok(anchored)
}

fn change(record: &Record<'_>) -> Option<Change> {
    let Ok(Leaf::Row(row)) = Leaf::parse(record.leaf) else {
        return None;
    };
    Some(Change {
        operation: row.operation.as_str(),
        record_id: row.record_id.map(str::to_owned),
        occurred_at: time::text(row.frame.occurred_at),
        transaction_id: row.frame.xid,
        values_verified: record.image.is_some(),
    })
}
