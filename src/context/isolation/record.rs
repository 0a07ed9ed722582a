//! What a table had before it was isolated.
//!
//! It is the comment of the isolation policy: dumped and dropped with it, changed only by the
//! table's owner, and free of names and oids that a rename or a restore would make wrong.

use super::kind::Kind;

/// What `disable_isolation` puts back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Row level security was enabled.
    pub enabled: bool,
    /// Row level security was forced.
    pub forced: bool,
    /// The column had no default and got the context's.
    pub default_added: bool,
}

impl Record {
    /// The comment that says so.
    pub fn comment(self, kind: Kind) -> String {
        format!(
            "{} isolation by pg_ward. Row level security before: {}, {}.{}",
            kind.title(),
            if self.enabled { "enabled" } else { "disabled" },
            if self.forced { "forced" } else { "not forced" },
            if self.default_added {
                " Column default before: none."
            } else {
                ""
            }
        )
    }

    /// Reads the comment. None when it is not one of those.
    pub fn parse(kind: Kind, comment: &str) -> Option<Self> {
        (0..8u8)
            .map(|bits| Record {
                enabled: bits & 1 != 0,
                forced: bits & 2 != 0,
                default_added: bits & 4 != 0,
            })
            .find(|record| record.comment(kind) == comment)
    }
}
