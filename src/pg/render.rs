//! Renders column values as text that does not depend on session settings.
//!
//! Common types are written natively; all others go through their output function with the settings
//! that output functions read pinned to fixed values for the time of the call.

use super::{encoding, heap, unguarded};
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::panic::AssertUnwindSafe;
use std::ptr;
use ward_log::{ColumnKind, Cut};

/// How a column's values are written.
pub enum Render {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    /// text, varchar, char(n), json: the stored bytes.
    Text,
    Uuid,
    /// `\x` and hex.
    Bytea,
    /// The type's output function, under pinned settings.
    Output(Box<Output>),
}

/// A type's output function.
pub struct Output {
    function: pg_sys::FmgrInfo,
    /// Values can be of any length.
    varlena: bool,
}

impl Render {
    /// How to write type `type_oid` (a domain counts as its base type), and its JSON kind.
    pub fn of(type_oid: pg_sys::Oid, lasting: pg_sys::MemoryContext) -> (Render, ColumnKind) {
        // SAFETY: catalog look-ups; the FmgrInfo lives in `lasting`, which outlives it.
        unsafe {
            let base = pg_sys::getBaseType(type_oid);
            let native = match base {
                pg_sys::BOOLOID => Some((Render::Bool, ColumnKind::Boolean)),
                pg_sys::INT2OID => Some((Render::Int2, ColumnKind::Number)),
                pg_sys::INT4OID => Some((Render::Int4, ColumnKind::Number)),
                pg_sys::INT8OID => Some((Render::Int8, ColumnKind::Number)),
                // Names of objects and the currency's format depend on settings: numbers do not.
                pg_sys::MONEYOID => Some((Render::Int8, ColumnKind::Number)),
                pg_sys::OIDOID => Some((Render::Oid, ColumnKind::Number)),
                other if is_reg(other) => Some((Render::Oid, ColumnKind::Number)),
                pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID => {
                    Some((Render::Text, ColumnKind::Text))
                }
                pg_sys::JSONOID => Some((Render::Text, ColumnKind::Json)),
                pg_sys::UUIDOID => Some((Render::Uuid, ColumnKind::Text)),
                pg_sys::BYTEAOID => Some((Render::Bytea, ColumnKind::Text)),
                _ => None,
            };
            if let Some(native) = native {
                return native;
            }
            let mut output = pg_sys::InvalidOid;
            let mut is_varlena = false;
            pg_sys::getTypeOutputInfo(base, &mut output, &mut is_varlena);
            let mut info = Box::new(Output {
                function: pg_sys::FmgrInfo::default(),
                varlena: is_varlena,
            });
            pg_sys::fmgr_info_cxt(output, &mut info.function, lasting);
            let kind = match base {
                pg_sys::FLOAT4OID | pg_sys::FLOAT8OID | pg_sys::NUMERICOID => ColumnKind::Number,
                pg_sys::JSONBOID => ColumnKind::Json,
                _ => ColumnKind::Text,
            };
            (Render::Output(info), kind)
        }
    }

    /// Whether `Pinned` must be held while values are written.
    pub fn needs_pinned(&self) -> bool {
        matches!(self, Render::Output(_))
    }

    /// Whether `Environment` must be held while values are written, which are of `types` or made of
    /// them: within arrays and composites, names of objects and money are printed as the settings say.
    pub fn needs_environment(&self, types: &[pg_sys::Oid]) -> bool {
        self.needs_pinned()
            && types
                .iter()
                .any(|part| *part == pg_sys::MONEYOID || is_reg(*part))
    }

    /// Appends the text of `datum`, or answers what is to be kept of one that is longer than `room`.
    ///
    /// # Safety
    /// `datum` is a non-NULL value of the type this was made for.
    pub unsafe fn write(
        &mut self,
        datum: pg_sys::Datum,
        room: usize,
        out: &mut Vec<u8>,
    ) -> Option<Cut> {
        let mut number = itoa::Buffer::new();
        // SAFETY: the caller's promise; the output function's result is palloc'ed in the per-tuple
        // context of the trigger manager.
        unsafe {
            match self {
                Render::Bool => out.extend_from_slice(if datum.value() as u8 != 0 {
                    b"true"
                } else {
                    b"false"
                }),
                Render::Int2 => out.extend(number.format(datum.value() as i16).bytes()),
                Render::Int4 => out.extend(number.format(datum.value() as i32).bytes()),
                Render::Int8 => out.extend(number.format(datum.value() as i64).bytes()),
                Render::Oid => out.extend(number.format(datum.value() as u32).bytes()),
                Render::Text => {
                    return heap::with_bytes(datum, |bytes| put(bytes, room, out));
                }
                Render::Uuid => {
                    let bytes = &*datum.cast_mut_ptr::<[u8; 16]>();
                    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
                    let id = uuid::Uuid::from_bytes_ref(bytes).hyphenated();
                    out.extend_from_slice(id.encode_lower(&mut text).as_bytes());
                }
                Render::Bytea => {
                    return heap::with_bytes(datum, |bytes| {
                        if 2 + 2 * bytes.len() > room {
                            return Some(cut_hex(bytes));
                        }
                        out.extend_from_slice(b"\\x");
                        let start = out.len();
                        out.resize(start + 2 * bytes.len(), 0);
                        // The slice has exactly the room, so this cannot fail.
                        let _ = hex::encode_to_slice(bytes, &mut out[start..]);
                        None
                    });
                }
                Render::Output(output) => {
                    let Some(text) = output.call(datum) else {
                        return Some(Cut::WITHOUT_TEXT);
                    };
                    let cut = put(CStr::from_ptr(text).to_bytes(), room, out);
                    unguarded::free(text.cast());
                    return cut;
                }
            }
        }
        None
    }
}

/// Appends text of the server as UTF-8, or answers what is to be kept of it.
fn put(bytes: &[u8], room: usize, out: &mut Vec<u8>) -> Option<Cut> {
    if bytes.len() > room {
        return Some(Cut::of_parts(encoding::utf8_parts(bytes)));
    }
    let text = encoding::bytes_to_utf8(bytes);
    if text.len() > room {
        return Some(Cut::of(&text));
    }
    out.extend_from_slice(&text);
    None
}

/// What is kept of a bytea that is too long.
fn cut_hex(bytes: &[u8]) -> Cut {
    const PART: usize = 64 * 1024;
    let digits = bytes.chunks(PART).map(hex::encode);
    Cut::of_parts(std::iter::once("\\x".to_owned()).chain(digits))
}

/// Values below this size have a text below PostgreSQL's limit of 1 GB, whatever their type.
const SAFE: usize = 64 * 1024;

/// Length of a value as text is made of it: uncompressed.
///
/// # Safety
/// `datum` is a varlena value.
unsafe fn size(datum: pg_sys::Datum) -> usize {
    // SAFETY: the caller's promise.
    unsafe {
        let stored = datum.cast_mut_ptr::<pg_sys::varlena>();
        if heap::is_plain(stored) {
            pgrx::varlena::varsize_any(stored)
        } else {
            pg_sys::toast_raw_datum_size(datum)
        }
    }
}

impl Output {
    /// The text of `datum`, palloc'ed; None when it would be longer than PostgreSQL can make one.
    ///
    /// # Safety
    /// `datum` is a non-NULL value of the type this was made for.
    unsafe fn call(&mut self, datum: pg_sys::Datum) -> Option<*mut std::ffi::c_char> {
        // SAFETY: the caller's promise; the result is palloc'ed in the current memory context.
        unsafe {
            if !self.varlena || size(datum) < SAFE {
                return Some(pg_sys::OutputFunctionCall(&mut self.function, datum));
            }
            let memory = pg_sys::CurrentMemoryContext;
            let function = &raw mut self.function;
            let resources = Resources::begin();
            // Such a value can be stored, and nobody can read it as text. What the function held is given back, and the
            // rest of an error is for the (sub)transaction that it ends.
            let too_long = |error: CaughtError| {
                if !is_too_long(&error) {
                    resources.leave();
                    error.rethrow();
                }
                pg_sys::MemoryContextSwitchTo(memory);
                resources.end(false);
                None
            };
            pgrx::PgTryBuilder::new(AssertUnwindSafe(|| {
                let text = pg_sys::OutputFunctionCall(function, datum);
                resources.end(true);
                Some(text)
            }))
            .catch_when(PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED, too_long)
            .catch_when(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, too_long)
            .execute()
        }
    }
}

/// A resource owner for one call of a function whose errors are caught: pins and references that it holds when it fails
/// would otherwise be kept, and complained about, until the statement ends.
#[derive(Clone, Copy)]
struct Resources {
    own: pg_sys::ResourceOwner,
    outer: pg_sys::ResourceOwner,
}

impl Resources {
    fn begin() -> Resources {
        // SAFETY: within a statement there is a current owner, which outlives its child. An error that is not caught leaves
        // the child to it: it is released with it.
        unsafe {
            let outer = pg_sys::CurrentResourceOwner;
            let own = pg_sys::ResourceOwnerCreate(outer, c"pg_ward output function".as_ptr());
            pg_sys::CurrentResourceOwner = own;
            Resources { own, outer }
        }
    }

    /// Goes back to the outer owner, whose child this stays.
    fn leave(self) {
        // SAFETY: the owner of `begin`.
        unsafe { pg_sys::CurrentResourceOwner = self.outer }
    }

    /// Releases what is held: as at the end of a subtransaction that succeeds, which passes locks on, or of one that fails.
    fn end(self, succeeded: bool) {
        use pg_sys::ResourceReleasePhase::*;
        self.leave();
        // SAFETY: the child is not current any more and has no children.
        unsafe {
            for phase in [
                RESOURCE_RELEASE_BEFORE_LOCKS,
                RESOURCE_RELEASE_LOCKS,
                RESOURCE_RELEASE_AFTER_LOCKS,
            ] {
                pg_sys::ResourceOwnerRelease(self.own, phase, succeeded, false);
            }
            pg_sys::ResourceOwnerDelete(self.own);
        }
    }
}

/// Whether a text was refused for its length.
fn is_too_long(error: &CaughtError) -> bool {
    match error {
        CaughtError::PostgresError(report) => {
            report.sql_error_code() == PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED
                || report
                    .message()
                    .starts_with("invalid memory alloc request size")
        }
        _ => false,
    }
}

/// Whether values of the type are oids that are printed as names.
fn is_reg(type_oid: pg_sys::Oid) -> bool {
    matches!(
        type_oid,
        pg_sys::REGCLASSOID
            | pg_sys::REGTYPEOID
            | pg_sys::REGPROCOID
            | pg_sys::REGPROCEDUREOID
            | pg_sys::REGOPEROID
            | pg_sys::REGOPERATOROID
            | pg_sys::REGROLEOID
            | pg_sys::REGNAMESPACEOID
            | pg_sys::REGCOLLATIONOID
            | pg_sys::REGCONFIGOID
            | pg_sys::REGDICTIONARYOID
    )
}

unsafe extern "C" {
    /// Declared in utils/bytea.h.
    static mut bytea_output: c_int;
}

/// Holds the settings that output functions read at fixed values; restores them on drop, also when
/// an error unwinds.
pub struct Pinned {
    date_style: c_int,
    date_order: c_int,
    interval_style: c_int,
    float_digits: c_int,
    bytea: c_int,
    zone: *mut pg_sys::pg_tz,
}

impl Pinned {
    /// ISO dates in UTC, ISO 8601 intervals, shortest exact floats, hex bytea.
    pub fn new() -> Pinned {
        // SAFETY: plain globals of this single-threaded backend.
        unsafe {
            let saved = Pinned {
                date_style: pg_sys::DateStyle,
                date_order: pg_sys::DateOrder,
                interval_style: pg_sys::IntervalStyle,
                float_digits: pg_sys::extra_float_digits,
                bytea: bytea_output,
                zone: pg_sys::session_timezone,
            };
            pg_sys::DateStyle = pg_sys::USE_ISO_DATES as c_int;
            pg_sys::DateOrder = pg_sys::DATEORDER_YMD as c_int;
            pg_sys::IntervalStyle = pg_sys::INTSTYLE_ISO_8601 as c_int;
            pg_sys::extra_float_digits = 1;
            bytea_output = 1; // BYTEA_OUTPUT_HEX
            pg_sys::session_timezone = utc();
            saved
        }
    }
}

fn utc() -> *mut pg_sys::pg_tz {
    thread_local! {
        static UTC: Cell<*mut pg_sys::pg_tz> = const { Cell::new(ptr::null_mut()) };
    }
    UTC.with(|utc| {
        if utc.get().is_null() {
            // SAFETY: the name is built in; PostgreSQL keeps a zone that it has looked up for good.
            utc.set(unsafe { pg_sys::pg_tzset(c"GMT".as_ptr()) });
        }
        utc.get()
    })
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: as in `new`.
        unsafe {
            pg_sys::DateStyle = self.date_style;
            pg_sys::DateOrder = self.date_order;
            pg_sys::IntervalStyle = self.interval_style;
            pg_sys::extra_float_digits = self.float_digits;
            bytea_output = self.bytea;
            pg_sys::session_timezone = self.zone;
        }
    }
}

/// Holds the settings that cannot simply be assigned, search_path and lc_monetary, at fixed values.
/// Slower than `Pinned`, so only held where it matters.
pub struct Environment {
    nest: c_int,
}

impl Environment {
    /// Names are qualified unless they are the system's, money is in the C locale.
    pub fn enter() -> Environment {
        // SAFETY: inside a transaction; what is set belongs to the nest level, which `drop` ends, or
        // the abort of the (sub)transaction does.
        unsafe {
            let environment = Environment {
                nest: pg_sys::NewGUCNestLevel(),
            };
            for (name, value) in [(c"search_path", c""), (c"lc_monetary", c"C")] {
                pg_sys::set_config_option(
                    name.as_ptr(),
                    value.as_ptr(),
                    pg_sys::GucContext::PGC_USERSET,
                    pg_sys::GucSource::PGC_S_SESSION,
                    pg_sys::GucAction::GUC_ACTION_SAVE,
                    true,
                    0,
                    false,
                );
            }
            environment
        }
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        // An error that unwinds ends the (sub)transaction, and its settings with it.
        if !std::thread::panicking() {
            // SAFETY: the level of `enter`, and all within it.
            unsafe { pg_sys::AtEOXact_GUC(true, self.nest) }
        }
    }
}
