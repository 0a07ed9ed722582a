//! The verification of a whole trail.

use crate::args::Check;
use crate::failure::Failure;
use crate::outcome::{self, Anchor, Finding, History, Outcome, Verdict};
use crate::removed::Removed;
use crate::trust::{self, Held};
use crate::{input, time};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::path::Path;
use ward_crypto::SecretKey;
use ward_log::{ExportSummary, ExportVerifier, Leaf, Options, Violation};
use zeroize::Zeroizing;

/// Type byte of incarnation leaves (docs/log-format.md).
const INCARNATION_LEAF: u8 = 0x11;
/// More histories than these are not listed.
const MAX_HISTORIES: usize = 1000;

/// Verifies, prints the outcome, and returns the verdict.
pub fn run(args: &Check) -> Result<Verdict, Failure> {
    let outcome = verify(args, &mut |_, _| {})?;
    outcome::print(&outcome, args.json)?;
    Ok(outcome.verdict)
}

/// Verifies, and hands every leaf with its index to `visit`.
pub fn verify(args: &Check, visit: &mut dyn FnMut(u64, &[u8])) -> Result<Outcome, Failure> {
    let (_, held) = trust::read(&args.trust)?;
    let audit_keys = match &args.audit_key {
        Some(file) => audit_keys(file)?,
        None => Vec::new(),
    };
    let writers_checked = !audit_keys.is_empty();
    let options = Options {
        audit_keys,
        heads: held
            .iter()
            .map(|held| (held.checkpoint.size, held.checkpoint.root))
            .collect(),
        ..Options::default()
    };
    let name = input::name(&args.source);
    let refused = |error| Failure::Export(name.clone(), error);
    let mut findings = Findings::new(args.max_findings);
    let mut histories = Vec::new();
    let mut report = |violation| findings.add(violation);
    let mut verifier = ExportVerifier::new(options, &mut report);
    input::lines(&args.source, &mut |line| {
        verifier
            .line(line, &mut |index, leaf, _| {
                if leaf.first() == Some(&INCARNATION_LEAF) && histories.len() < MAX_HISTORIES {
                    histories.extend(history(index, leaf));
                }
                visit(index, leaf);
            })
            .map_err(refused)?;
        match verifier.header() {
            Some(header) if header.first_leaf > 0 && !args.partial => Err(Failure::input(
                &name,
                format!(
                    "the export begins at entry {}: what lies before is not verified. Give --partial if that is meant",
                    header.first_leaf
                ),
            )),
            _ => Ok(()),
        }
    })?;
    let summary = verifier.finish().map_err(refused)?;
    Ok(outcome(summary, held, findings, histories, writers_checked))
}

fn outcome(
    summary: ExportSummary,
    held: Vec<Held>,
    findings: Findings,
    histories: Vec<History>,
    writers_checked: bool,
) -> Outcome {
    let ExportSummary {
        header,
        verified,
        head,
        uncompared,
    } = summary;
    let compared = |held: &Held| !uncompared.contains(&held.checkpoint.size);
    let tampered = findings.total > 0;
    // of a log that was tampered with, a checkpoint covers nothing
    let last = |cosigned: bool| {
        held.iter()
            .filter(|held| !tampered && compared(held) && held.checkpoint.size > header.first_leaf)
            .filter(|held| !cosigned || !held.cosignatures.is_empty())
            .map(|held| held.checkpoint.size.min(header.size) - 1)
            .max()
    };
    let (covered, cosigned) = (last(false), last(true));
    let verdict = match (covered, cosigned) {
        _ if tampered => Verdict::Tampered,
        (_, Some(_)) => Verdict::Cosigned,
        (Some(_), None) => Verdict::Anchored,
        (None, None) => Verdict::Unanchored,
    };
    let anchored = covered.map_or(header.first_leaf, |last| last + 1);
    Outcome {
        verdict,
        origin: header.origin,
        exported_at: time::text(header.taken_at),
        verified_at: time::text(time::now()),
        first_entry: header.first_leaf,
        size: header.size,
        root: STANDARD.encode(verified.root),
        entries: verified.leaves,
        changes: verified.entries,
        blocks: verified.blocks,
        writers_checked,
        last_covered_entry: covered,
        last_cosigned_entry: cosigned,
        unanchored_tail: header.size.saturating_sub(anchored),
        checkpoints: held
            .iter()
            .map(|held| Anchor {
                file: held.file.clone(),
                origin: held.checkpoint.origin.clone(),
                size: held.checkpoint.size,
                compared: compared(held),
                cosignatures: held.cosignatures.clone(),
            })
            .collect(),
        archive_of: head,
        removed: Removed::of(&verified),
        histories,
        findings_total: findings.total,
        findings: findings.first,
    }
}

fn history(entry: u64, leaf: &[u8]) -> Option<History> {
    let Ok(Leaf::Incarnation(leaf)) = Leaf::parse(leaf) else {
        return None;
    };
    Some(History {
        entry,
        incarnation: hex::encode(leaf.incarnation),
        reason: leaf.reason.to_owned(),
        system_identifier: leaf.system_identifier,
        database_oid: leaf.database_oid,
        timeline: leaf.timeline,
        at: time::text(leaf.at),
    })
}

/// The findings, as many as are shown.
struct Findings {
    first: Vec<Finding>,
    shown: usize,
    total: u64,
}

impl Findings {
    fn new(shown: usize) -> Self {
        Self {
            first: Vec::new(),
            shown,
            total: 0,
        }
    }

    fn add(&mut self, violation: Violation) {
        self.total += 1;
        if self.first.len() < self.shown {
            self.first.push(Finding {
                kind: violation.kind.as_str(),
                block: violation.block,
                entry: violation.entry,
                detail: violation.detail,
            });
        }
    }
}

/// The audit keys in a file, with their ids.
fn audit_keys(file: &Path) -> Result<Vec<([u8; 8], Zeroizing<[u8; 32]>)>, Failure> {
    let text = Zeroizing::new(input::text(file)?);
    let mut keys = Vec::new();
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(line.trim(), key.as_mut_slice()).map_err(|_| {
            Failure::input(
                file.display(),
                format!(
                    "line {} is not an audit key of 64 hexadecimal digits",
                    number + 1
                ),
            )
        })?;
        keys.push((SecretKey::new(*key).id().0, key));
    }
    if keys.is_empty() {
        return Err(Failure::input(
            file.display(),
            "the file holds no audit key",
        ));
    }
    Ok(keys)
}
