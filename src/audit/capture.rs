//! Capture: from a trigger firing to bytes in the journal, within the writer's transaction.

use super::buffer::{Buffer, CHUNK, ContextMark, ContextStamp, Hold, LEVEL_LIMIT, Scratch};
use super::catalog::{self, Log};
use super::context::ContextCache;
use super::salt::SaltPool;
use crate::context;
use crate::error::{self, Result};
use crate::keys::{self, Purpose};
use crate::pg;
use crate::pg::journal::{Journal, Mode};
use crate::pg::relation::{self, Described};
use crate::pg::trigger::Firing;
use crate::pg::xact::{self, Hooks};
use crate::pg::{process, shared, who};
use pgrx::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::Ordering;
use ward_log::{
    AuditMac, ContextPlace, Details, EntryFrame, EventLeaf, Hash, RowLeaf, Severity, ShapeLeaf,
    image_commitment,
};

/// A table, and whether it is described as what is truncated (partitions have a name of their own then).
type TableKey = (pg_sys::Oid, bool);

/// What this backend keeps between rows.
#[derive(Default)]
struct State {
    log: Option<Log>,
    tables: HashMap<TableKey, Table>,
    mac: Option<([u8; 8], AuditMac)>,
    context: ContextCache,
    salts: SaltPool,
    transaction: Option<Transaction>,
    /// The last transaction's buffer, emptied: its memory serves the next.
    spare: Option<Buffer>,
    scratch: Scratch,
}

/// An audited table.
struct Table {
    described: Described,
    /// The sealer has registered its shape, so it need not be described again.
    registered: bool,
    /// Transactions that have described it.
    uses: u32,
}

struct Transaction {
    xid: u64,
    /// The identity table of the log it is captured for.
    log: pg_sys::Oid,
    buffer: Buffer,
    /// Set once the trailer was written: whatever comes later is written at once, with another.
    closed: bool,
    /// Set once anything was written to a journal.
    written: bool,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::new(State::default());
}

static HOOKS: Hooks = Hooks {
    before_commit,
    ended,
    before_release,
    released,
    rolled_back,
};

/// Registers the callbacks.
pub fn init() {
    xact::register(&HOOKS);
    relation::watch();
    who::watch();
}

/// Records one change.
pub fn change(firing: &Firing) -> Result<()> {
    with_state(|state| {
        state.drop_stale();
        state.begin()?;
        state.describe(firing)?;
        state.row(firing)?;
        state.spill()
    })
}

/// Records something that happened other than a change of a row. The log must exist.
pub fn event(event_type: &str, severity: Severity, details: Details) -> Result<()> {
    with_state(|state| {
        state.drop_stale();
        state.begin()?;
        state.push(process::now_micros(), |frame, out| {
            EventLeaf {
                frame,
                severity,
                event_type,
                details,
            }
            .encode(out);
        })?;
        state.spill()
    })
}

/// Records an order that the sealer is to carry out: `encode` writes its leaf. The log must exist.
pub fn order(occurred_at: i64, encode: impl FnOnce(EntryFrame, &mut Vec<u8>)) -> Result<()> {
    with_state(|state| {
        state.drop_stale();
        state.begin()?;
        state.push(occurred_at, encode)?;
        state.spill()
    })
}

/// Calls `visit` with the xid, and position and bytes of every chunk this transaction holds in memory.
pub fn unwritten(mut visit: impl FnMut(u64, u32, &[u8])) -> Result<()> {
    with_state(|state| {
        if let Some(transaction) = &state.transaction {
            for (position, bytes) in transaction.buffer.all_chunks() {
                visit(transaction.xid, position, bytes);
            }
        }
        Ok(())
    })
}

fn with_state<R>(work: impl FnOnce(&mut State) -> Result<R>) -> Result<R> {
    STATE.with(|state| match state.try_borrow_mut() {
        Ok(mut state) => work(&mut state),
        Err(_) => Err(error::report(
            PgSqlErrorCode::ERRCODE_OBJECT_IN_USE,
            "a change was made while another was being recorded in the audit trail",
        )),
    })
}

impl State {
    /// Forgets what was cached about tables that changed since.
    fn drop_stale(&mut self) {
        for oid in relation::take_invalidated() {
            if oid == pg_sys::InvalidOid {
                self.tables.clear();
                self.log = None;
            } else {
                self.tables.remove(&(oid, false));
                self.tables.remove(&(oid, true));
                if self
                    .log
                    .as_ref()
                    .is_some_and(|log| log.identity_table == oid)
                {
                    self.log = None;
                    self.tables.clear();
                }
            }
        }
    }

    fn begin(&mut self) -> Result<()> {
        if self.log.is_none() {
            self.log = Some(Log::load()?);
        }
        let table = self.log.as_ref().map(|log| log.identity_table);
        let log = table.ok_or_else(lost)?;
        // What was captured for a log that this transaction has dropped since went with it.
        self.transaction.take_if(|captured| captured.log != log);
        if self.transaction.is_none() {
            let key = keys::internal_key(Purpose::Audit)?;
            if self.mac.as_ref().is_none_or(|(id, _)| *id != key.id.0) {
                self.mac = Some((key.id.0, AuditMac::new(key.material.expose())));
            }
            self.transaction = Some(Transaction {
                xid: xact::top_xid(),
                log,
                buffer: self.spare.take().unwrap_or_else(Buffer::new),
                closed: false,
                written: false,
            });
        }
        self.transaction()?.buffer.enter(xact::current_subid());
        Ok(())
    }

    fn transaction(&mut self) -> Result<&mut Transaction> {
        self.transaction.as_mut().ok_or_else(lost)
    }

    fn describe(&mut self, firing: &Firing) -> Result<()> {
        if let Entry::Vacant(place) = self.tables.entry(firing.key()) {
            place.insert(Table {
                described: Described::of(firing)?,
                registered: false,
                uses: 0,
            });
        }
        Ok(())
    }

    fn row(&mut self, firing: &Firing) -> Result<()> {
        let (Some(table), Some(transaction)) =
            (self.tables.get_mut(&firing.key()), &mut self.transaction)
        else {
            return Err(lost());
        };
        table.mark_shape(transaction, &mut self.scratch.leaf)?;
        let described = &mut table.described;
        let image = &mut self.scratch.image;
        image.clear();
        let has_image = firing.old.is_some() || firing.new.is_some();
        let mut image_commit: Hash = [0; 32];
        let mut record_id = None;
        if has_image {
            let salt = self.salts.next()?;
            let (old, new) = (firing.old.as_ref(), firing.new.as_ref());
            record_id = described.render(old, new, &salt, image)?;
            image_commit = image_commitment(image);
        }
        let now = process::now_micros();
        transaction.push(&mut self.context, &mut self.scratch, now, |frame, out| {
            RowLeaf {
                frame,
                operation: firing.operation,
                shape: described.id,
                image_commit,
                record_id: record_id.as_deref(),
            }
            .encode(out);
            has_image
        })?;
        if self.scratch.image.capacity() > 4 * LEVEL_LIMIT {
            self.scratch.image = Vec::new();
        }
        Ok(())
    }

    /// Appends an entry without an image, which `encode` writes.
    fn push(
        &mut self,
        occurred_at: i64,
        encode: impl FnOnce(EntryFrame, &mut Vec<u8>),
    ) -> Result<()> {
        let transaction = self.transaction.as_mut().ok_or_else(lost)?;
        let (context, scratch) = (&mut self.context, &mut self.scratch);
        transaction.push(context, scratch, occurred_at, |frame, out| {
            encode(frame, out);
            false
        })
    }

    /// Writes the current level when it is full, or when the transaction is already closed.
    fn spill(&mut self) -> Result<()> {
        if self.transaction()?.closed {
            self.close()
        } else if self.transaction()?.buffer.top_len() > LEVEL_LIMIT {
            self.write(Hold::Last)
        } else {
            Ok(())
        }
    }

    /// Ends the transaction with a trailer and writes all that is left.
    fn close(&mut self) -> Result<()> {
        let (Some(transaction), Some(log), Some((key_id, mac))) =
            (&mut self.transaction, &self.log, &self.mac)
        else {
            return Err(lost());
        };
        let scratch = &mut self.scratch.image;
        transaction
            .buffer
            .close(log.incarnation, *key_id, mac, scratch)?;
        transaction.closed = true;
        self.write(Hold::Nothing)
    }

    /// Writes the top level, which belongs to the current subtransaction.
    fn write(&mut self, hold: Hold) -> Result<()> {
        let (Some(transaction), Some(log)) = (&mut self.transaction, &self.log) else {
            return Err(lost());
        };
        let number =
            shared::mine().map_or(0, |slot| slot.journal.load(Ordering::Relaxed)) as usize & 1;
        let journal = Journal::open(log.journals[number], number as u8, Mode::Write);
        journal.append(transaction.xid, transaction.buffer.top_chunks(hold), CHUNK);
        transaction.buffer.top_written(hold);
        transaction.written = true;
        Ok(())
    }
}

impl Transaction {
    /// Appends an entry, which `encode` writes: in this frame, and with the image in `scratch` if it says so.
    fn push(
        &mut self,
        context: &mut ContextCache,
        scratch: &mut Scratch,
        occurred_at: i64,
        encode: impl FnOnce(EntryFrame, &mut Vec<u8>) -> bool,
    ) -> Result<()> {
        let stamp = ContextStamp {
            generation: context::generation(),
            current_role: who::current_role(),
            session_role: who::session_role(),
            application: who::application_hash(),
        };
        let position = self.buffer.position();
        let known = self.buffer.context().filter(|mark| mark.stamp == stamp);
        let frame = EntryFrame {
            xid: self.xid,
            position,
            occurred_at,
            context: match known {
                Some(mark) => ContextPlace::Back(position - mark.position),
                None => ContextPlace::Here(context.encoded(stamp)),
            },
            trailer: None,
        };
        scratch.leaf.clear();
        let has_image = encode(frame, &mut scratch.leaf);
        let image = has_image.then_some(&*scratch.image);
        self.buffer.push(&scratch.leaf, image)?;
        if known.is_none() {
            self.buffer.set_context(ContextMark { position, stamp });
        }
        Ok(())
    }
}

impl Table {
    /// Describes the table in this transaction unless the sealer already knows its shape.
    fn mark_shape(&mut self, transaction: &mut Transaction, leaf: &mut Vec<u8>) -> Result<()> {
        let shape = self.described.id;
        if self.registered || transaction.buffer.has_shape(&shape) {
            return Ok(());
        }
        // Ask again ever more rarely: on the first use, the second, the fourth …
        self.uses += 1;
        self.registered = self.uses.is_power_of_two() && catalog::shape_registered(&shape);
        if self.registered {
            return Ok(());
        }
        leaf.clear();
        ShapeLeaf {
            xid: transaction.xid,
            position: transaction.buffer.position(),
            content: &self.described.content,
        }
        .encode(leaf);
        transaction.buffer.push(leaf, None)?;
        transaction.buffer.add_shape(shape);
        Ok(())
    }
}

fn lost() -> pgrx::pg_sys::panic::ErrorReport {
    error::report(
        PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        "the audit trail lost track of this transaction",
    )
}

fn before_commit(_prepare: bool) {
    let done = with_state(|state| {
        // DROP EXTENSION takes the log away, and with it what this transaction has captured for it. The catalogs are
        // not asked where nothing has changed.
        if state.log.is_none() || relation::is_anything_invalidated() {
            let gone = |captured: &mut Transaction| pg::catalog::owner(captured.log).is_none();
            state.transaction.take_if(gone);
        }
        match &state.transaction {
            Some(transaction) if transaction.buffer.position() > 0 && !transaction.closed => {
                state.close()
            }
            _ => Ok(()),
        }
    });
    if let Err(report) = done {
        error::raise(report);
    }
}

fn before_release(subid: u32) {
    let done = with_state(|state| match &state.transaction {
        Some(Transaction { buffer, .. })
            if buffer.top_subid() == Some(subid)
                && buffer.total_len() > LEVEL_LIMIT
                && buffer.top_len() > 0 =>
        {
            state.write(Hold::Last)
        }
        _ => Ok(()),
    });
    if let Err(report) = done {
        error::raise(report);
    }
}

fn ended(committed: bool) {
    // An error that unwound through a borrow has released it, so this cannot be refused.
    let Ok(written) = with_state(|state| {
        let Some(mut transaction) = state.transaction.take() else {
            return Ok(false);
        };
        if transaction.buffer.empty() {
            state.spare = Some(transaction.buffer);
        }
        Ok(transaction.written)
    }) else {
        return;
    };
    if committed && written {
        announce();
    }
}

/// Tells the launcher that this database has entries to seal.
fn announce() {
    if let Some(slot) = shared::mine()
        // Most of the time another writer was faster. The commit went through a lock that the worker takes for its
        // snapshot after it has cleared the flag: who reads it set is in the snapshot.
        && !slot.dirty.load(Ordering::Acquire)
        && !slot.dirty.swap(true, Ordering::AcqRel)
        && slot.worker.load(Ordering::Acquire) == 0
    {
        process::wake(&shared::get().launcher);
    }
}

fn released(subid: u32, parent: u32) {
    with_buffer(|buffer| buffer.release(subid, parent));
}

fn rolled_back(subid: u32) {
    with_buffer(|buffer| buffer.roll_back(subid));
}

fn with_buffer(work: impl FnOnce(&mut Buffer)) {
    let _ = with_state(|state| {
        if let Some(transaction) = &mut state.transaction {
            work(&mut transaction.buffer);
        }
        Ok(())
    });
}
