//! The verification of a whole trail.

use crate::args::Check;
use crate::failure::Failure;
use crate::input::Work;
use crate::judge::{Case, Standing};
use crate::outcome::{self, Anchor, Finding, Outcome, Verdict};
use crate::removed::Removed;
use crate::trail::Trail;
use crate::trust::{Candidates, Held};
use crate::{audit_key, input, time};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::num::NonZeroUsize;
use std::thread;
use ward_log::{
    AuditKeys, Checkpoint, ExportSummary, ExportVerifier, Options, PreparedLine, Violation,
    ViolationType,
};

/// Verifies, prints the outcome, and returns the verdict.
pub fn run(args: &Check) -> Result<Verdict, Failure> {
    let outcome = verify(args, &mut |_, _| {})?;
    outcome::print(&outcome, args.json)?;
    Ok(outcome.verdict)
}

/// Verifies, and hands every leaf with its index to `visit`.
pub fn verify(args: &Check, visit: &mut dyn FnMut(u64, &[u8])) -> Result<Outcome, Failure> {
    let candidates = Candidates::read(&args.trust)?;
    let audit_keys = match &args.audit_key {
        Some(file) => audit_key::read(file)?,
        None => Vec::new(),
    };
    let writers_checked = !audit_keys.is_empty();
    let keys = AuditKeys::new(&audit_keys);
    let options = Options {
        audit_keys,
        heads: candidates
            .list
            .iter()
            .map(|candidate| (candidate.says.size, candidate.says.root))
            .collect(),
        ..Options::default()
    };
    let name = input::name(&args.source);
    let refused = |error| Failure::Export(name.clone(), error);
    let mut findings = Findings::new(args.max_findings);
    let mut trail = Trail::default();
    let mut report = |violation| findings.add(violation);
    let mut verifier = ExportVerifier::new(options, &mut report);
    let mut take = |line: &mut PreparedLine| {
        verifier
            .prepared(line, &mut |index, leaf, _| {
                trail.leaf(index, leaf);
                visit(index, leaf);
            })
            .map_err(refused)?;
        match (verifier.header(), verifier.head()) {
            _ if args.partial => Ok(()),
            (Some(header), _) if header.first_leaf > 0 => Err(Failure::input(
                &name,
                format!(
                    "the export begins at entry {}: what lies before is not verified. Give --partial if that is meant",
                    header.first_leaf
                ),
            )),
            // whoever has a whole export can make one of it that leaves out the end
            (Some(header), Some(later)) => Err(Failure::input(
                &name,
                format!(
                    "this is an archive of {} entries of a log that had {later}: what lies behind is not verified. \
                     Give --partial if that is meant",
                    header.size
                ),
            )),
            _ => Ok(()),
        }
    };
    let work = Work {
        progress: !args.json,
        jobs: args.jobs.map_or_else(processors, NonZeroUsize::get),
        keys: &keys,
        take: &mut take,
    };
    input::lines(&args.source, work)?;
    let summary = verifier.finish().map_err(refused)?;
    trail.begin_behind(&summary.earlier_incarnations);
    let contradicted = &summary.verified.contradicted;
    let extends =
        |checkpoint: &Checkpoint| !contradicted.contains(&(checkpoint.size, checkpoint.root));
    // what was not compared vouches for no other key
    let compared = |checkpoint: &Checkpoint| {
        extends(checkpoint) && !summary.uncompared.contains(&checkpoint.size)
    };
    let held = candidates.open(&mut trail, compared)?;
    let held = held
        .into_iter()
        .map(|held| {
            let extended = extends(&held.checkpoint);
            (held, extended)
        })
        .collect();
    Ok(outcome(summary, held, findings, trail, writers_checked))
}

/// How many processors there are.
fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn outcome(
    summary: ExportSummary,
    held: Vec<(Held, bool)>,
    mut findings: Findings,
    trail: Trail,
    writers_checked: bool,
) -> Outcome {
    let ExportSummary {
        header,
        verified,
        head,
        uncompared,
        earlier_incarnations: _,
    } = summary;
    let altered = findings.total > 0;
    let case = Case {
        trail: &trail,
        held: &held,
        uncompared: &uncompared,
        size: head.unwrap_or(header.size),
        partial: header.first_leaf > 0,
        writers_checked,
    };
    let standings: Vec<Standing> = held
        .iter()
        .map(|(held, extended)| {
            if uncompared.contains(&held.checkpoint.size) {
                return Standing::NotCompared;
            }
            if *extended {
                return Standing::Extended;
            }
            let (standing, finding) = case.judge(held);
            findings.judged(finding, held.checkpoint.size);
            standing
        })
        .collect();
    let any = |standing| standings.contains(&standing);
    let tampered = altered || any(Standing::Contradicted);
    // Of a log that was tampered with, a checkpoint covers nothing. What is missing is vouched for by nothing but the entry
    // that says it was removed, so a checkpoint before that entry shows nothing either.
    let removal = verified.last_removal;
    let last = |cosigned: bool| {
        held.iter()
            .zip(&standings)
            .filter(|(_, standing)| !tampered && **standing == Standing::Extended)
            .map(|((held, _), _)| held)
            .filter(|held| held.checkpoint.size > header.first_leaf)
            .filter(|held| removal.is_none_or(|entry| held.checkpoint.size > entry))
            .filter(|held| !cosigned || !held.cosignatures.is_empty())
            .map(|held| held.checkpoint.size.min(header.size) - 1)
            .max()
    };
    let (covered, cosigned) = (last(false), last(true));
    let verdict = match (covered, cosigned) {
        _ if tampered => Verdict::Tampered,
        _ if any(Standing::RestoredUndeclared) => Verdict::RestoredUndeclared,
        _ if any(Standing::LeftBeforeExport) => Verdict::LeftBeforeExport,
        _ if any(Standing::LostAtFailover) => Verdict::LostAtFailover,
        _ if any(Standing::RestoredDeclared) => Verdict::RestoredDeclared,
        (_, Some(_)) => Verdict::Cosigned,
        (Some(_), None) => Verdict::Anchored,
        (None, None) => Verdict::Unanchored,
    };
    let unanchored_removal = removal.filter(|_| covered.is_none());
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
        unanchored_removal,
        unanchored_tail: header.size.saturating_sub(anchored),
        checkpoints: held
            .iter()
            .zip(&standings)
            .map(|((held, _), standing)| Anchor {
                file: held.file.clone(),
                origin: held.checkpoint.origin.clone(),
                size: held.checkpoint.size,
                compared: *standing != Standing::NotCompared,
                standing: *standing,
                cosignatures: held.cosignatures.clone(),
            })
            .collect(),
        archive_of: head,
        removed: Removed::of(&verified),
        earlier_histories: trail.earlier,
        histories: trail.histories,
        restores: trail.restores,
        key_changes: trail.key_changes,
        findings_total: findings.total,
        findings: findings.first,
    }
}

/// The findings, as many as are shown.
struct Findings {
    first: Vec<Finding>,
    shown: usize,
    total: u64,
    /// Contradicted checkpoints, which are judged when all leaves are read.
    unjudged: Vec<Violation>,
}

impl Findings {
    fn new(shown: usize) -> Self {
        Self {
            first: Vec::new(),
            shown,
            total: 0,
            unjudged: Vec::new(),
        }
    }

    fn add(&mut self, violation: Violation) {
        if violation.kind == ViolationType::CheckpointMismatch {
            self.unjudged.push(violation);
            return;
        }
        self.put(Finding {
            kind: violation.kind.as_str(),
            block: violation.block,
            entry: violation.entry,
            detail: violation.detail,
        });
    }

    /// Adds what was found about a checkpoint of this size, with the block in which the log has that size.
    fn judged(&mut self, finding: Finding, size: u64) {
        let at = format!("size {size} ");
        let block = self
            .unjudged
            .iter()
            .find(|violation| violation.detail.contains(&at))
            .and_then(|violation| violation.block);
        self.put(Finding { block, ..finding });
    }

    fn put(&mut self, finding: Finding) {
        self.total += 1;
        if self.first.len() < self.shown {
            self.first.push(finding);
        }
    }
}
