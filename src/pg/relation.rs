//! What the capture needs to know of an audited table, built once per backend and table shape.

use super::dependency::{self, Dependency};
pub use super::dependency::{is_anything_invalidated, take_invalidated, watch};
use super::render::{Environment, Pinned, Render};
use super::trigger::Firing;
use super::{encoding, heap, types};
use crate::error;
use pgrx::prelude::*;
use std::borrow::Cow;
use ward_log::{Column as ShapeColumn, Hash, ImageWriter, Shape, record_id_text};

/// pg_attribute.attgenerated of a column that is computed when it is read (from PostgreSQL 18 on).
const GENERATED_VIRTUAL: u8 = b'v';

/// Which columns an audit leaves out or records without their values.
#[derive(Default, Clone)]
pub struct Hidden {
    /// Left out altogether.
    pub exclude: Vec<String>,
    /// Recorded as changed or unchanged only.
    pub redact: Vec<String>,
    /// Those of them that were dropped, and are not missed.
    pub gone: Vec<String>,
}

struct Column {
    attnum: u16,
    index: usize,
    length: i16,
    by_value: bool,
    redacted: bool,
    render: Render,
}

/// An audited table as captured.
pub struct Described {
    columns: Vec<Column>,
    /// Indexes into `columns` of the primary key; they are there even when excluded.
    key: Vec<Column>,
    natts: i32,
    pinned: bool,
    environment: bool,
    /// The shape's content part.
    pub content: Vec<u8>,
    /// The shape's id.
    pub id: Hash,
    /// Holds what the columns' output functions keep; last, because they are used until then.
    _memory: Memory,
}

/// A memory context that lives as long as this.
struct Memory(pg_sys::MemoryContext);

impl Memory {
    fn new() -> Memory {
        // SAFETY: a child of the context that lives as long as the backend.
        Memory(unsafe {
            pg_sys::AllocSetContextCreateExtended(
                pg_sys::TopMemoryContext,
                c"pg_ward audited table".as_ptr(),
                pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
                pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
                pg_sys::ALLOCSET_SMALL_MAXSIZE as usize,
            )
        })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: only this value knows the context. At the end of the process it ends anyway, and
        // nothing of the server must be called any more.
        unsafe {
            if !pg_sys::proc_exit_inprogress {
                pg_sys::MemoryContextDelete(self.0);
            }
        }
    }
}

/// One row version in a trigger.
pub struct Row {
    slot: *mut pg_sys::TupleTableSlot,
}

impl Row {
    /// # Safety
    /// `slot` holds a row of the trigger's relation for as long as the `Row` is used.
    pub unsafe fn new(slot: *mut pg_sys::TupleTableSlot) -> Row {
        Row { slot }
    }

    fn get(&self, index: usize) -> Option<pg_sys::Datum> {
        // SAFETY: `prepare` deformed all columns; index is below natts.
        unsafe {
            (!*(*self.slot).tts_isnull.add(index)).then(|| *(*self.slot).tts_values.add(index))
        }
    }

    fn prepare(&self, natts: i32) {
        // SAFETY: what the inline function slot_getallattrs does.
        unsafe {
            if i32::from((*self.slot).tts_nvalid) < natts {
                pg_sys::slot_getsomeattrs_int(self.slot, natts);
            }
        }
    }
}

impl Described {
    /// Describes the table of a trigger firing.
    pub fn of(firing: &Firing) -> error::Result<Described> {
        // SAFETY: the trigger's relation is open and locked by the statement.
        unsafe { Described::new(firing.relation, firing.is_truncate(), &firing.hidden()?) }
    }

    /// Describes the open relation.
    ///
    /// # Safety
    /// `relation` is open and locked.
    pub(super) unsafe fn new(
        relation: pg_sys::Relation,
        itself: bool,
        hidden: &Hidden,
    ) -> error::Result<Described> {
        let memory = Memory::new();
        let mut columns = Vec::new();
        let mut key = Vec::new();
        let mut shape_columns = Vec::new();
        let (mut pinned, mut environment) = (false, false);
        // SAFETY: the caller's promise; the descriptor's attributes are valid while it is open.
        unsafe {
            let oid = (*relation).rd_id;
            // Rows belong to the partitioned table; what is truncated is the partition.
            let named = if itself { oid } else { root(relation) };
            // Before anything is read: a change from now on is noticed at the next use.
            dependency::depends(
                oid,
                [
                    Dependency::Relation(named),
                    Dependency::of_schema(pg_sys::get_rel_namespace(named)),
                ],
            );
            let desc = (*relation).rd_att;
            let primary = pg_sys::RelationGetIndexAttrBitmap(
                relation,
                pg_sys::IndexAttrBitmapKind::INDEX_ATTR_BITMAP_PRIMARY_KEY,
            );
            for index in 0..(*desc).natts as usize {
                let attribute = &*attribute(desc, index);
                if attribute.attisdropped {
                    continue;
                }
                let name = text(attribute.attname.data.as_ptr());
                let in_key = pg_sys::bms_is_member(
                    i32::from(attribute.attnum) - pg_sys::FirstLowInvalidHeapAttributeNumber,
                    primary,
                );
                // Not stored: triggers see NULL. What it is computed from is recorded.
                let virtual_column = attribute.attgenerated as u8 == GENERATED_VIRTUAL;
                let excluded = virtual_column || hidden.exclude.contains(&name);
                let redacted = !virtual_column && hidden.redact.contains(&name);
                let parts = types::parts(oid, attribute.atttypid);
                let (render, kind) = Render::of(attribute.atttypid, memory.0);
                if in_key || !excluded {
                    pinned |= render.needs_pinned();
                    environment |= render.needs_environment(&parts);
                }
                let column = |render| Column {
                    attnum: attribute.attnum as u16,
                    index,
                    length: attribute.attlen,
                    by_value: attribute.attbyval,
                    redacted,
                    render,
                };
                if in_key {
                    key.push(column(Render::of(attribute.atttypid, memory.0).0));
                }
                if !excluded {
                    columns.push(column(render));
                }
                shape_columns.push(ShapeColumn {
                    attnum: attribute.attnum as u16,
                    type_name: text(pg_sys::format_type_extended(
                        attribute.atttypid,
                        attribute.atttypmod,
                        (pg_sys::FORMAT_TYPE_TYPEMOD_GIVEN | pg_sys::FORMAT_TYPE_FORCE_QUALIFY)
                            as u16,
                    )),
                    name,
                    kind,
                    record_id: in_key,
                    redacted,
                    excluded,
                });
            }
            let (schema, table) = name(named);
            refuse_missing(hidden, &shape_columns, &schema, &table)?;
            let content = Shape {
                relation_oid: oid.to_u32(),
                schema,
                table,
                columns: shape_columns,
            }
            .encode_content()
            .map_err(error::format)?;
            Ok(Described {
                pinned,
                environment,
                columns,
                key,
                natts: (*desc).natts,
                id: Shape::shape_id(&content),
                content,
                _memory: memory,
            })
        }
    }

    /// Appends the image of a change to `out` and returns the record id. In an update the old image
    /// holds the changed columns only.
    pub fn render(
        &mut self,
        old: Option<&Row>,
        new: Option<&Row>,
        salt: &[u8; 16],
        out: &mut Vec<u8>,
    ) -> error::Result<Option<String>> {
        let _environment = self.environment.then(Environment::enter);
        let _pinned = self.pinned.then(Pinned::new);
        for row in old.iter().chain(new.iter()) {
            row.prepare(self.natts);
        }
        let mut image = ImageWriter::new(out, salt);
        if let Some(old) = old {
            image.begin_old();
            for column in &mut self.columns {
                let changed = new.is_none_or(|new| !column.same(old, new));
                if changed {
                    column.write(old, &mut image, true);
                }
            }
        }
        if let Some(new) = new {
            image.begin_new();
            for column in &mut self.columns {
                let changed = column.redacted && old.is_none_or(|old| !column.same(old, new));
                column.write(new, &mut image, changed);
            }
        }
        image.finish().map_err(error::format)?;
        Ok(new.or(old).and_then(|row| self.record_id(row)))
    }

    fn record_id(&mut self, row: &Row) -> Option<String> {
        if let [only] = self.key.as_mut_slice() {
            return Some(short(only.text(row)?));
        }
        let parts: Option<Vec<String>> = self.key.iter_mut().map(|part| part.text(row)).collect();
        let parts = parts.filter(|parts| !parts.is_empty())?;
        Some(short(serde_json::Value::from(parts).to_string()))
    }
}

/// A record id in the length that a leaf has room for.
fn short(id: String) -> String {
    match record_id_text(&id) {
        Cow::Borrowed(_) => id,
        Cow::Owned(short) => short,
    }
}

/// Fails closed when a hidden column does not exist: it was dropped, or has another name now and would
/// be recorded in clear.
fn refuse_missing(
    hidden: &Hidden,
    columns: &[ShapeColumn],
    schema: &str,
    table: &str,
) -> error::Result<()> {
    let missing = |names: &[String]| {
        names
            .iter()
            .find(|name| {
                !hidden.gone.contains(name) && columns.iter().all(|column| column.name != **name)
            })
            .cloned()
    };
    let (missing, done) = match (missing(&hidden.exclude), missing(&hidden.redact)) {
        (Some(name), _) => (name, "excluded from"),
        (None, Some(name)) => (name, "redacted in"),
        (None, None) => return Ok(()),
    };
    Err(error::report_hint(
        PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
        format!(
            "column \"{missing}\" is to be {done} the audit trail, but table \"{schema}\".\"{table}\" has no such column"
        ),
        "It was renamed or dropped. Call ward.enable_audit() again with the names of the columns to hide.",
    ))
}

/// The longest value that is kept, in bytes of text.
const VALUE_LIMIT: usize = 32 << 20;
/// An image that is longer keeps small values only: an image is held in memory several times over.
const IMAGE_LIMIT: usize = 64 << 20;
/// The longest value that is always kept.
const SMALL: usize = 1024;

/// How long a value may be in an image that is `len` bytes long so far.
fn room(len: usize) -> usize {
    IMAGE_LIMIT.saturating_sub(len).clamp(SMALL, VALUE_LIMIT)
}

impl Column {
    /// The whole value as text; None for NULL.
    fn text(&mut self, row: &Row) -> Option<String> {
        let mut bytes = Vec::new();
        // SAFETY: the datum is this column's.
        unsafe {
            self.render
                .write(row.get(self.index)?, usize::MAX, &mut bytes)
        };
        let text = String::from_utf8(bytes);
        Some(text.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    fn write(&mut self, row: &Row, image: &mut ImageWriter, changed: bool) {
        if self.redacted {
            image.redacted(self.attnum, changed);
            return;
        }
        match row.get(self.index) {
            None => image.null(self.attnum),
            Some(datum) => {
                let room = room(image.len());
                image.value_or_cut(self.attnum, |out| {
                    // SAFETY: the datum is this column's.
                    unsafe { self.render.write(datum, room, out) }
                });
            }
        }
    }

    /// Whether the stored values are the same; a changed compression or place does not count.
    fn same(&self, old: &Row, new: &Row) -> bool {
        match (old.get(self.index), new.get(self.index)) {
            (None, None) => true,
            (Some(a), Some(b)) => {
                // SAFETY: both are values of this column's type and length.
                unsafe {
                    if self.by_value {
                        return a == b;
                    }
                    match self.length {
                        -1 => same_varlena(a, b),
                        -2 => {
                            std::ffi::CStr::from_ptr(a.cast_mut_ptr())
                                == std::ffi::CStr::from_ptr(b.cast_mut_ptr())
                        }
                        length => {
                            let a =
                                std::slice::from_raw_parts(a.cast_mut_ptr::<u8>(), length as usize);
                            let b =
                                std::slice::from_raw_parts(b.cast_mut_ptr::<u8>(), length as usize);
                            a == b
                        }
                    }
                }
            }
            _ => false,
        }
    }
}

/// # Safety
/// Both are varlena values.
unsafe fn same_varlena(a: pg_sys::Datum, b: pg_sys::Datum) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let (p, q) = (
            a.cast_mut_ptr::<pg_sys::varlena>(),
            b.cast_mut_ptr::<pg_sys::varlena>(),
        );
        let (m, n) = (pgrx::varlena::varsize_any(p), pgrx::varlena::varsize_any(q));
        if m == n
            && std::slice::from_raw_parts(p.cast::<u8>(), m)
                == std::slice::from_raw_parts(q.cast::<u8>(), n)
        {
            return true;
        }
        if !(heap::is_plain(p) && heap::is_plain(q))
            && pg_sys::toast_raw_datum_size(a) != pg_sys::toast_raw_datum_size(b)
        {
            return false;
        }
        heap::with_bytes(a, |a| heap::with_bytes(b, |b| a == b))
    }
}

/// # Safety
/// `desc` is a valid descriptor with more than `index` attributes.
pub(super) unsafe fn attribute(
    desc: pg_sys::TupleDesc,
    index: usize,
) -> *const pg_sys::FormData_pg_attribute {
    // SAFETY: the caller's promise.
    #[cfg(not(feature = "pg18"))]
    unsafe {
        (*desc).attrs.as_ptr().add(index)
    }
    // SAFETY: the caller's promise; from 18 on the attributes follow the compact ones.
    #[cfg(feature = "pg18")]
    unsafe {
        let compact = (*desc).compact_attrs.as_ptr();
        compact
            .add((*desc).natts as usize)
            .cast::<pg_sys::FormData_pg_attribute>()
            .add(index)
    }
}

/// The table, or its topmost partitioned ancestor.
///
/// # Safety
/// `relation` is open.
unsafe fn root(relation: pg_sys::Relation) -> pg_sys::Oid {
    // SAFETY: the caller's promise; a catalog look-up by oid.
    unsafe {
        let oid = (*relation).rd_id;
        if !(*(*relation).rd_rel).relispartition {
            return oid;
        }
        let root: Option<pg_sys::Oid> = pgrx::direct_function_call(
            pg_sys::pg_partition_root,
            &[Some(pg_sys::Datum::from(oid))],
        );
        root.unwrap_or(oid)
    }
}

/// Schema and name of a table, empty when there is none.
pub fn name(oid: pg_sys::Oid) -> (String, String) {
    // SAFETY: catalog look-ups by oid; the names are palloc'ed C strings.
    unsafe {
        let namespace = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(oid));
        (text(namespace), text(pg_sys::get_rel_name(oid)))
    }
}

/// # Safety
/// `string` is NULL or a C string.
unsafe fn text(string: *const std::ffi::c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    encoding::to_utf8(unsafe { std::ffi::CStr::from_ptr(string) })
}
