//! What it means that the log does not extend a checkpoint that was kept.

use crate::outcome::Finding;
use crate::trail::{Next, Place, Trail};
use crate::trust::Held;
use serde::Serialize;
use ward_log::Beginning;

/// How the log stands to a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The log extends it.
    Extended,
    /// It lies before a partial export.
    NotCompared,
    /// The log has other entries since before a partial export, which does not show why.
    LeftBeforeExport,
    /// The log was restored to less, and says so.
    RestoredDeclared,
    /// The log went on elsewhere with less, after a promotion.
    LostAtFailover,
    /// The log was restored to less, or cut, and nobody says so.
    RestoredUndeclared,
    /// The log is not the one it was signed for.
    Contradicted,
}

impl Standing {
    fn kind(self) -> &'static str {
        match self {
            Self::Extended | Self::NotCompared => "",
            Self::LeftBeforeExport => "left_before_export",
            Self::RestoredDeclared => "restored_declared",
            Self::LostAtFailover => "lost_at_failover",
            Self::RestoredUndeclared => "restored_undeclared",
            Self::Contradicted => "checkpoint_mismatch",
        }
    }
}

/// What the judgement rests on.
pub struct Case<'a> {
    pub trail: &'a Trail,
    /// The checkpoints given, and whether the log has their heads.
    pub held: &'a [(Held, bool)],
    /// Sizes of checkpoints that could not be compared.
    pub uncompared: &'a [u64],
    /// How many entries the log has.
    pub size: u64,
    /// Whether the entries begin later than the log.
    pub partial: bool,
    /// Whether every trailer was verified under the audit key.
    pub writers_checked: bool,
}

impl Case<'_> {
    /// Judges a checkpoint that the log does not extend: what it shows, and where the histories part.
    pub fn judge(&self, held: &Held) -> (Standing, Finding) {
        let size = held.checkpoint.size;
        let (standing, entry, detail) = self.ruling(held);
        let finding = Finding {
            kind: standing.kind(),
            block: None,
            entry,
            detail: format!(
                "{}: the checkpoint says {size} entries; {detail}",
                held.file
            ),
        };
        (standing, finding)
    }

    fn ruling(&self, held: &Held) -> (Standing, Option<u64>, String) {
        let size = held.checkpoint.size;
        let Some(Place { begun, next }) = self.trail.history_of(&held.checkpoint.origin) else {
            let partial = if self.partial {
                ", unless the log was moved to another cluster before this export begins: verify one from its first entry"
            } else {
                ""
            };
            return (
                Standing::Contradicted,
                None,
                format!(
                    "the log of {} entries is another one, or has another history: it does not have the one \
                     that the checkpoint names{partial}",
                    self.size
                ),
            );
        };
        let behind = |entry| begun.is_none_or(|begun| entry > begun);
        let declared = self
            .trail
            .restores
            .iter()
            .find(|restore| behind(restore.entry) && restore.restored_size < size);
        if let Some(restore) = declared
            && self.agrees_up_to(restore.restored_size)
        {
            let why = format!(
                "entry {} declares a restore to {} entries: {}",
                restore.entry, restore.restored_size, restore.reason
            );
            return (
                Standing::RestoredDeclared,
                Some(restore.restored_size),
                format!("{why}. What came after in the former history is lost"),
            );
        }
        match &next {
            Next::BeforeExport => {
                return (
                    Standing::LeftBeforeExport,
                    None,
                    "this export says that the log left the checkpoint's history before it begins. Where and why was \
                     not checked: verify an export from the log's first entry"
                        .to_owned(),
                );
            }
            Next::History(next) if next.left_at < size => {
                let left = next.left_at;
                return match next.beginning {
                    Some(Beginning::Promoted) => (
                        Standing::LostAtFailover,
                        Some(left),
                        format!(
                            "by entry {}, another server went on with {left} of them. The others are lost",
                            next.entry
                        ),
                    ),
                    _ => (
                        Standing::RestoredUndeclared,
                        Some(left),
                        format!(
                            "by entry {}, the log went on elsewhere with {left} of them ({}), and nobody has declared that",
                            next.entry, next.reason
                        ),
                    ),
                };
            }
            _ => {}
        }
        let known = self.agreed();
        if matches!(next, Next::Nothing) && size > self.size {
            return (
                Standing::RestoredUndeclared,
                Some(self.size),
                format!(
                    "the log ends with {}. An older copy was put back, or the end was cut off",
                    self.size
                ),
            );
        }
        let known_text = format!("checkpoints show nothing of what lies behind entry {known}");
        if self.writers_checked {
            return (
                Standing::RestoredUndeclared,
                Some(known),
                format!(
                    "the log has others, all written under the audit key: an older copy was put back and went on. {known_text}"
                ),
            );
        }
        (
            Standing::Contradicted,
            Some(known),
            format!("the log has others. {known_text}"),
        )
    }

    /// Whether every checkpoint of at most so many entries is of this log.
    fn agrees_up_to(&self, size: u64) -> bool {
        self.held
            .iter()
            .all(|(held, extended)| *extended || held.checkpoint.size > size)
    }

    /// The size of the largest checkpoint that the log extends.
    fn agreed(&self) -> u64 {
        let extended = self.held.iter().filter(|(_, extended)| *extended);
        extended
            .map(|(held, _)| held.checkpoint.size)
            .filter(|size| !self.uncompared.contains(size))
            .max()
            .unwrap_or(0)
    }
}
