//! How long leaves are kept: retention leaves, and the policy that they make.

use crate::error::FormatError;
use crate::leaf::frame::FrameHead;
use crate::leaf::{EntryFrame, RETENTION};
use crate::wire::Reader;

/// A new retention period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionLeaf<'a> {
    /// Place, context and trailer.
    pub frame: EntryFrame<'a>,
    /// The period in microseconds; 0 keeps leaves for ever.
    pub period: i64,
    /// When it takes effect, in microseconds since 1970-01-01 UTC, but not before the rule of
    /// [`RetentionPolicy`] allows.
    pub effective_at: i64,
}

impl<'a> RetentionLeaf<'a> {
    /// Appends the leaf's encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.frame.encode(RETENTION, out, |out| {
            out.extend_from_slice(&self.period.to_be_bytes());
            out.extend_from_slice(&self.effective_at.to_be_bytes());
        });
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, FormatError> {
        let head = FrameHead::parse(reader)?;
        let leaf = Self {
            period: reader.i64()?,
            effective_at: reader.i64()?,
            frame: head.finish(reader)?,
        };
        if leaf.period < 0 {
            return Err(FormatError::UndefinedValue("period"));
        }
        Ok(leaf)
    }
}

/// The period in force, and one that is to follow. Times are microseconds since 1970-01-01 UTC, by the blocks'
/// times of sealing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionPolicy {
    current: i64,
    pending: Option<(i64, i64)>,
}

impl RetentionPolicy {
    /// The earliest time at which a period that is set at `at` may take effect: a longer one at once, a shorter one
    /// when the old one has passed. Where leaves were kept for ever, the new one has to pass.
    pub fn earliest(&self, period: i64, at: i64) -> i64 {
        let current = self.in_force(at);
        if period == 0 || (current != 0 && period >= current) {
            at
        } else if current == 0 {
            at.saturating_add(period)
        } else {
            at.saturating_add(current)
        }
    }

    /// Takes what a retention leaf of a block that was sealed at `sealed_at` says. It replaces a period that is not in
    /// force yet.
    pub fn change(&mut self, period: i64, effective_at: i64, sealed_at: i64) {
        // From when the log says so: a transaction can stay open as long as the period.
        let at = sealed_at;
        let effective_at = effective_at.max(self.earliest(period, at));
        self.current = self.in_force(at);
        self.pending = Some((period, effective_at));
    }

    /// The policy after a retention leaf, as far as that leaf alone tells: from its effective time on.
    pub(crate) fn announced(period: i64, effective_at: i64) -> Self {
        Self {
            current: 0,
            pending: Some((period, effective_at)),
        }
    }

    /// The period in force at `at`; 0 keeps leaves for ever.
    pub fn in_force(&self, at: i64) -> i64 {
        match self.pending {
            Some((period, effective_at)) if effective_at <= at => period,
            _ => self.current,
        }
    }

    /// The period that is to follow after `at`, and when.
    pub fn to_follow(&self, at: i64) -> Option<(i64, i64)> {
        self.pending.filter(|(_, effective_at)| *effective_at > at)
    }
}
