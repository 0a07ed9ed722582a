//! What a trail says about its own history: incarnations, declared restores, changes of the signing key.

use crate::time;
use serde::Serialize;
use ward_log::{Beginning, Leaf, holds_context};

/// Type bytes of the leaves that are looked at (docs/log-format.md).
const SEAL: u8 = 0x10;
const INCARNATION: u8 = 0x11;
const KEY_CHANGE: u8 = 0x16;
const RESTORE: u8 = 0x17;
/// More of a kind than these are not listed.
const MAX_LISTED: usize = 1000;
/// More histories than these are not known: a log that was restored every day for a century has fewer, and what is not known
/// would be taken for another log's.
const MAX_HISTORIES: usize = 0x1_0000;

/// A history: the log's creation, or a restore or copy from which it went on.
#[derive(Debug, Clone, Serialize)]
pub struct History {
    /// The entry that says so.
    pub entry: u64,
    /// Its id.
    pub incarnation: String,
    /// Why it began: "created", or what the restore was declared or recognized as.
    pub reason: String,
    /// The cluster.
    pub system_identifier: u64,
    /// The database.
    pub database_oid: u32,
    /// The timeline.
    pub timeline: u32,
    /// When.
    pub at: String,
    /// How many entries the log had when the history before was left.
    pub left_at: u64,
    /// The reason's first word, where it is a known one.
    #[serde(skip)]
    pub beginning: Option<Beginning>,
}

/// A restore that somebody has declared.
#[derive(Debug, Clone, Serialize)]
pub struct Restore {
    /// The entry that says so.
    pub entry: u64,
    /// How many entries of the former history are in the log.
    pub restored_size: u64,
    /// Why.
    pub reason: String,
    /// When.
    pub at: String,
    /// The transaction.
    pub transaction_id: u64,
    /// The role that logged in, and the one that acted.
    pub roles: [Option<String>; 2],
}

/// A change of the key that signs checkpoints.
#[derive(Debug, Clone, Serialize)]
pub struct KeyChange {
    /// The entry that says so.
    pub entry: u64,
    /// The key that signed before, in hexadecimal.
    pub old_key: String,
    /// The key that signs from here on.
    pub new_key: String,
    /// Whether the new key is relied on because of this entry.
    pub followed: bool,
    /// The keys.
    #[serde(skip)]
    pub keys: [[u8; 32]; 2],
}

/// The place of a history in the trail.
pub struct Place<'a> {
    /// The entry that began it; none when that lies before a partial export.
    pub begun: Option<u64>,
    /// What came after it.
    pub next: Next<'a>,
}

/// What came after a history.
pub enum Next<'a> {
    /// Nothing: it is the log's last.
    Nothing,
    /// This one.
    History(&'a History),
    /// One that began before a partial export, as that says: where the log left the former is not known.
    BeforeExport,
}

/// What was found.
#[derive(Default)]
pub struct Trail {
    /// The histories that began before a partial export, in order: its word, which nothing proves.
    pub earlier: Vec<String>,
    pub histories: Vec<History>,
    pub restores: Vec<Restore>,
    pub key_changes: Vec<KeyChange>,
    /// The last entry that holds a context, and its index.
    context: Option<u64>,
    context_leaf: Vec<u8>,
    /// The first entry of the last block that has ended.
    block: Option<u64>,
}

impl Trail {
    /// Takes a leaf.
    pub fn leaf(&mut self, entry: u64, bytes: &[u8]) {
        if holds_context(bytes) {
            self.context = Some(entry);
            self.context_leaf.clear();
            self.context_leaf.extend_from_slice(bytes);
        }
        if let Some(&(SEAL | INCARNATION | KEY_CHANGE | RESTORE)) = bytes.first() {
            self.control(entry, bytes);
        }
    }

    fn control(&mut self, entry: u64, bytes: &[u8]) {
        match Leaf::parse(bytes) {
            Ok(Leaf::Seal(leaf)) => self.block = Some(leaf.first_leaf),
            Ok(Leaf::Incarnation(leaf)) if self.histories.len() < MAX_HISTORIES => {
                let beginning = leaf.beginning();
                self.histories.push(History {
                    entry,
                    incarnation: hex::encode(leaf.incarnation),
                    reason: leaf.reason.to_owned(),
                    system_identifier: leaf.system_identifier,
                    database_oid: leaf.database_oid,
                    timeline: leaf.timeline,
                    at: time::text(leaf.at),
                    // a transfer begins with the block that closes the old transaction ids
                    left_at: match beginning {
                        Some(Beginning::Transferred) => self.block.unwrap_or(leaf.previous_size),
                        _ => leaf.previous_size,
                    },
                    beginning,
                });
            }
            Ok(Leaf::Restore(leaf)) if self.restores.len() < MAX_LISTED => {
                let back = u64::from(leaf.frame.context.back());
                let roles = self.roles(entry.checked_sub(back));
                self.restores.push(Restore {
                    entry,
                    restored_size: leaf.restored_size,
                    reason: leaf.reason.to_owned(),
                    at: time::text(leaf.frame.occurred_at),
                    transaction_id: leaf.frame.xid,
                    roles,
                });
            }
            Ok(Leaf::KeyChange(leaf)) if self.key_changes.len() < MAX_LISTED => {
                self.key_changes.push(KeyChange {
                    entry,
                    old_key: hex::encode(leaf.old_key),
                    new_key: hex::encode(leaf.new_key),
                    followed: false,
                    keys: [leaf.old_key, leaf.new_key],
                });
            }
            _ => {}
        }
    }

    fn roles(&self, context: Option<u64>) -> [Option<String>; 2] {
        if context.is_none() || context != self.context {
            return [None, None];
        }
        let context = Leaf::parse(&self.context_leaf);
        match context.ok().and_then(|leaf| leaf.context()) {
            Some(context) => [context.authenticated_role, context.current_role]
                .map(|role| role.map(str::to_owned)),
            None => [None, None],
        }
    }

    /// Adds the histories that began before a partial export.
    pub fn begin_behind(&mut self, incarnations: &[[u8; 16]]) {
        let first = incarnations.len().saturating_sub(MAX_HISTORIES);
        self.earlier = incarnations[first..].iter().map(hex::encode).collect();
    }

    /// The place of the history that an origin names.
    pub fn history_of(&self, origin: &str) -> Option<Place<'_>> {
        let name = origin.rsplit('/').next()?;
        let incarnation = uuid::Uuid::parse_str(name).ok()?;
        let incarnation = hex::encode(incarnation.as_bytes());
        let mut here = self.histories.iter();
        if let Some(at) = here.rposition(|history| history.incarnation == incarnation) {
            let next = self.histories.get(at + 1);
            return Some(Place {
                begun: Some(self.histories[at].entry),
                next: next.map_or(Next::Nothing, Next::History),
            });
        }
        let at = self.earlier.iter().rposition(|name| *name == incarnation)?;
        // the last one was in force when the export began
        let next = match self.histories.first() {
            _ if at + 1 < self.earlier.len() => Next::BeforeExport,
            Some(history) => Next::History(history),
            None => Next::Nothing,
        };
        Some(Place { begun: None, next })
    }
}
