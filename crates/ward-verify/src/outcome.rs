//! What a verification says, for people and as JSON.

use crate::judge::Standing;
use crate::removed::Removed;
use crate::trail::{History, KeyChange, Restore};
use crate::trust::Cosignature;
use serde::Serialize;
use std::fmt::{self, Write};

/// The verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Consistent, and a witness has cosigned a checkpoint of it.
    Cosigned,
    /// Consistent, and a checkpoint that was kept outside is of it.
    Anchored,
    /// Consistent in itself; whoever rebuilt the log could have made it so.
    Unanchored,
    /// Consistent, but not what it was since before a partial export, which does not show why.
    LeftBeforeExport,
    /// Consistent, but shorter than it was, and says that this was meant.
    RestoredDeclared,
    /// Consistent, but shorter than it was, and says that another server took over.
    LostAtFailover,
    /// Consistent, but not what it was, and nobody says why.
    RestoredUndeclared,
    /// Not what was written.
    Tampered,
}

impl Verdict {
    /// The program's exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Cosigned | Self::Anchored => 0,
            Self::Tampered | Self::RestoredUndeclared => 1,
            Self::Unanchored => 3,
            Self::RestoredDeclared | Self::LostAtFailover | Self::LeftBeforeExport => 4,
        }
    }

    /// What it means, in a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Cosigned => "everything fits, and a witness has seen the log as it is",
            Self::Anchored => "everything fits, and the checkpoints given are of this log",
            Self::Unanchored => {
                "everything fits together, but no checkpoint shows that the log was not rebuilt as a whole"
            }
            Self::LeftBeforeExport => {
                "everything fits together, but entries that a checkpoint covers are lost or replaced, since before this export begins; why was not checked"
            }
            Self::RestoredDeclared => {
                "everything fits together, but entries that a checkpoint covers are lost; the log declares a restore"
            }
            Self::LostAtFailover => {
                "everything fits together, but entries that a checkpoint covers are lost; the log says that another server took over"
            }
            Self::RestoredUndeclared => {
                "everything fits together, but entries that a checkpoint covers are lost or replaced, and nobody has declared that"
            }
            Self::Tampered => "the log is not what was written",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cosigned => "cosigned",
            Self::Anchored => "anchored",
            Self::Unanchored => "unanchored",
            Self::LeftBeforeExport => "left_before_export",
            Self::RestoredDeclared => "restored_declared",
            Self::LostAtFailover => "lost_at_failover",
            Self::RestoredUndeclared => "restored_undeclared",
            Self::Tampered => "tampered",
        })
    }
}

/// Something that is wrong, and where.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The kind, as in `docs/log-format.md`.
    pub kind: &'static str,
    /// The block.
    pub block: Option<u64>,
    /// The entry.
    pub entry: Option<u64>,
    /// More about it.
    pub detail: String,
}

/// A checkpoint, and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct Anchor {
    /// The file.
    pub file: String,
    /// The log it names.
    pub origin: String,
    /// The size it is of.
    pub size: u64,
    /// How the log stands to it.
    pub standing: Standing,
    /// Whether it was compared; not when it lies before a partial export, or behind an archive.
    pub compared: bool,
    /// The witnesses that cosigned it.
    pub cosignatures: Vec<Cosignature>,
}

impl Anchor {
    /// Why it was not compared with an export of this size.
    pub fn why_not(&self, size: u64) -> &'static str {
        if self.size > size {
            "behind this archive and not the one it is connected with: not compared"
        } else {
            "before this export: not compared"
        }
    }
}

/// What was found out.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// The log the export says it is of.
    pub origin: String,
    /// When the export says it was made.
    pub exported_at: String,
    /// When it was verified.
    pub verified_at: String,
    /// The first entry that was verified.
    pub first_entry: u64,
    /// How many entries the log has: changes, events and all else.
    pub size: u64,
    /// The root over all entries, in base64.
    pub root: String,
    /// How many entries were read.
    pub entries: u64,
    /// How many of them are changes of rows or events.
    pub changes: u64,
    /// How many blocks.
    pub blocks: u64,
    /// Whether the writers' MACs were checked.
    pub writers_checked: bool,
    /// The last entry that a checkpoint covers.
    pub last_covered_entry: Option<u64>,
    /// The last entry that a cosigned checkpoint covers.
    pub last_cosigned_entry: Option<u64>,
    /// The last entry that says of something missing that it was removed, where no checkpoint covers it. It, and what it
    /// speaks of, may be made up.
    pub unanchored_removal: Option<u64>,
    /// How many entries follow that no checkpoint covers.
    pub unanchored_tail: u64,
    /// The checkpoints.
    pub checkpoints: Vec<Anchor>,
    /// The size of the log that an archive is connected with.
    pub archive_of: Option<u64>,
    /// What was taken out of the log, and is accounted for.
    pub removed: Removed,
    /// The ids of the histories that began before the first entry that was verified, as a partial export says: nothing of
    /// them was checked.
    pub earlier_histories: Vec<String>,
    /// The histories of the log, in order.
    pub histories: Vec<History>,
    /// The restores that were declared, in order.
    pub restores: Vec<Restore>,
    /// The changes of the signing key, in order.
    pub key_changes: Vec<KeyChange>,
    /// How many findings there are.
    pub findings_total: u64,
    /// The first of them.
    pub findings: Vec<Finding>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.verdict, self.verdict.meaning())?;
        writeln!(f, "  log          {}", shown(&self.origin))?;
        writeln!(f, "  exported at  {}", self.exported_at)?;
        let end = self.size.saturating_sub(1);
        let changes = self.changes;
        writeln!(
            f,
            "  verified     entries {} to {end}, {changes} of them changes or events, in {} blocks",
            self.first_entry, self.blocks
        )?;
        let writers = if self.writers_checked {
            "MACs checked with the audit key"
        } else {
            "MACs not checked: no audit key given"
        };
        writeln!(f, "  writers      {writers}")?;
        match self.last_covered_entry {
            Some(last) => writeln!(
                f,
                "  anchored     up to entry {last}; {} later entries are covered by no checkpoint",
                self.unanchored_tail
            )?,
            None if self.verdict == Verdict::Tampered => {}
            None => writeln!(
                f,
                "  anchored     nothing: no checkpoint given covers an entry"
            )?,
        }
        if let Some(entry) = self.unanchored_removal {
            writeln!(
                f,
                "  removed      as entries up to {entry} say, which no checkpoint given covers: who wrote them could have left \
                 it out. Give a later checkpoint"
            )?;
        }
        for anchor in &self.checkpoints {
            write!(
                f,
                "  checkpoint   {}: {} entries",
                shown(&anchor.file),
                anchor.size
            )?;
            if !anchor.compared {
                write!(f, ", {}", anchor.why_not(self.size))?;
            }
            for cosignature in &anchor.cosignatures {
                write!(
                    f,
                    ", cosigned by {} at {}",
                    cosignature.witness, cosignature.at
                )?;
            }
            writeln!(f)?;
        }
        if let Some(size) = self.archive_of {
            writeln!(
                f,
                "  archive      of a log that had {size} entries later: what lies behind is not verified"
            )?;
        }
        self.removed.fmt(f)?;
        if !self.earlier_histories.is_empty() {
            writeln!(
                f,
                "  histories    {} began before this export, as it says: not checked",
                self.earlier_histories.len()
            )?;
        }
        for history in &self.histories {
            writeln!(
                f,
                "  history      from entry {} on: {}, {}, cluster {}, database {}",
                history.entry,
                shown(&history.reason),
                history.at,
                history.system_identifier,
                history.database_oid
            )?;
        }
        for restore in &self.restores {
            let who = restore.roles[0].as_deref().map_or("-".to_owned(), shown);
            writeln!(
                f,
                "  restore      declared in entry {} by {who} at {}, to {} entries: {}",
                restore.entry,
                restore.at,
                restore.restored_size,
                shown(&restore.reason)
            )?;
        }
        for change in &self.key_changes {
            let followed = if change.followed {
                "both keys have signed for it"
            } else {
                "not relied on: no checkpoint given is signed by both keys"
            };
            writeln!(f, "  key change   in entry {}: {followed}", change.entry)?;
        }
        for finding in &self.findings {
            writeln!(f, "  {}", finding_text(finding))?;
        }
        let more = self.findings_total - self.findings.len() as u64;
        if more > 0 {
            writeln!(f, "  and {more} more findings")?;
        }
        Ok(())
    }
}

/// A finding in a line.
fn finding_text(finding: &Finding) -> String {
    let mut text = finding.kind.to_owned();
    if let Some(block) = finding.block {
        let _ = write!(text, ", block {block}");
    }
    if let Some(entry) = finding.entry {
        let _ = write!(text, ", entry {entry}");
    }
    let _ = write!(text, ": {}", shown(&finding.detail));
    text
}

/// Text from a log, safe to print: it must not move the cursor, look like another line, or turn what stands beside it round.
pub fn shown(text: &str) -> String {
    let is_safe = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| Some(c).filter(is_safe).unwrap_or('\u{FFFD}'))
        .collect()
}

/// Prints an outcome.
pub fn print(
    outcome: &(impl Serialize + fmt::Display),
    json: bool,
) -> Result<(), crate::failure::Failure> {
    use std::io::Write;
    let text = if json {
        let text = serde_json::to_string_pretty(outcome);
        text.map_err(|error| crate::failure::Failure::input("JSON", error))? + "\n"
    } else {
        outcome.to_string()
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| crate::failure::Failure::File("standard output".into(), error))
}
