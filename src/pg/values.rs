//! SQL values as bytes: borrowed from the argument, and written straight into the result.

use crate::error;
use crate::keys::KeyError;
use crate::pg::{heap, unguarded};
use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::prelude::*;
use std::borrow::Cow;
use std::ffi::CStr;

/// The longest value of a field.
pub const MAX_LEN: usize = 0x3fff_ffff - HEADER_LEN;
const HEADER_LEN: usize = 4;

/// An argument of type text.
pub struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// The text in UTF-8, whatever the database's encoding, so that a value can be read elsewhere.
    pub fn utf8(&self) -> Result<Cow<'a, [u8]>, KeyError> {
        to_utf8(self.0)
    }

    /// The bytes as the server has them.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// # Safety
    /// The datum is a text that lives as long as the call.
    pub(super) unsafe fn from_datum(datum: pg_sys::Datum, is_null: bool) -> Option<Self> {
        // SAFETY: as promised.
        (!is_null).then(|| Self(unsafe { content(datum) }))
    }
}

pgrx::impl_sql_translatable!(Text<'_>, "text");

// SAFETY: the SQL type is text, so the datum is a varlena; the slice lives as long as the call.
unsafe impl<'fcx> ArgAbi<'fcx> for Text<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: as above.
        Self(unsafe { argument(arg) })
    }
}

/// An argument of type bytea.
pub struct ByteaArg<'a>(&'a [u8]);

impl<'a> ByteaArg<'a> {
    /// Its bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }
}

pgrx::impl_sql_translatable!(ByteaArg<'_>, "bytea");

// SAFETY: the SQL type is bytea, so the datum is a varlena; the slice lives as long as the call.
unsafe impl<'fcx> ArgAbi<'fcx> for ByteaArg<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: as above.
        Self(unsafe { argument(arg) })
    }
}

/// # Safety
/// The SQL type of the argument is a varlena.
unsafe fn argument<'fcx>(arg: Arg<'_, 'fcx>) -> &'fcx [u8] {
    // SAFETY: every datum is some datum; this one is a varlena, which lives as long as the call.
    unsafe {
        match arg.unbox_arg_using_from_datum::<RawDatum>() {
            Some(RawDatum(datum)) => content(datum),
            None => null_argument(),
        }
    }
}

/// The content of a varlena. Only what is compressed or stored out of line is copied.
///
/// # Safety
/// The datum is a varlena that lives as long as the call.
unsafe fn content<'a>(datum: pg_sys::Datum) -> &'a [u8] {
    // SAFETY: as promised; the copy is in the memory context of the call.
    unsafe {
        let stored = datum.cast_mut_ptr::<pg_sys::varlena>();
        let whole = if heap::is_plain(stored) {
            stored
        } else {
            pg_sys::pg_detoast_datum_packed(stored)
        };
        pgrx::varlena::varlena_to_byte_slice(whole)
    }
}

/// An argument of type jsonb.
pub struct Jsonb(pg_sys::Datum);

impl Jsonb {
    /// # Safety
    /// The datum is a jsonb that lives as long as the call.
    pub(super) unsafe fn from_datum_unchecked(datum: pg_sys::Datum) -> Self {
        Self(datum)
    }

    pub(super) fn datum(&self) -> pg_sys::Datum {
        self.0
    }

    /// The value itself, as a result.
    pub fn unchanged(&self) -> JsonbValue {
        JsonbValue(self.0)
    }

    /// The value as PostgreSQL prints it, in UTF-8. No number loses a digit.
    pub fn utf8(&self) -> Result<Vec<u8>, KeyError> {
        // SAFETY: the datum is a jsonb that is not NULL; jsonb_out returns a NUL-terminated string.
        let text = unsafe {
            pgrx::direct_function_call_as_datum(pg_sys::jsonb_out, &[Some(self.0)])
                .map(|text| CStr::from_ptr(text.cast_mut_ptr()))
        };
        let text = text.ok_or(KeyError::NotJson)?;
        match to_utf8(text.to_bytes())? {
            Cow::Borrowed(text) => copied(text, 0),
            Cow::Owned(text) => Ok(text),
        }
    }
}

pgrx::impl_sql_translatable!(Jsonb, "jsonb");

// SAFETY: the datum is only handed to functions of PostgreSQL for this type.
unsafe impl<'fcx> ArgAbi<'fcx> for Jsonb {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the SQL type is jsonb; every datum is some datum.
        Self(
            unsafe { arg.unbox_arg_using_from_datum::<RawDatum>() }
                .map_or_else(|| null_argument(), |raw| raw.0),
        )
    }
}

struct RawDatum(pg_sys::Datum);

impl FromDatum for RawDatum {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        (!is_null).then_some(Self(datum))
    }
}

pub(super) fn null_argument() -> ! {
    error::raise(error::report(
        PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
        "an argument must not be NULL",
    ))
}

/// A result under construction, in memory of PostgreSQL: of type bytea or text.
pub struct Varlena {
    start: *mut u8,
    len: usize,
}

impl Varlena {
    /// Room for `len` bytes.
    pub fn new(len: usize) -> Result<Self, KeyError> {
        if len > MAX_LEN {
            return Err(KeyError::TooLong);
        }
        let start = unguarded::zeroed(len + HEADER_LEN).ok_or(KeyError::OutOfMemory)?;
        // SAFETY: the allocation has room for header and content, is zeroed, and is in the context of
        // the call, which outlives this value; the header is written as for every varlena.
        unsafe { pgrx::varlena::set_varsize_4b(start.cast(), (len + HEADER_LEN) as i32) };
        Ok(Self { start, len })
    }

    /// A copy of these bytes.
    pub fn copy_of(bytes: &[u8]) -> Result<Self, KeyError> {
        let mut value = Self::new(bytes.len())?;
        value.bytes_mut().copy_from_slice(bytes);
        Ok(value)
    }

    /// The content.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: this many bytes follow the header, initialised, and only this value points there.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(HEADER_LEN), self.len) }
    }

    /// The result as PostgreSQL takes it.
    pub fn datum(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.start)
    }
}

/// A result of type bytea.
pub struct Bytea(pub Varlena);

/// A result of type text, valid in the database's encoding.
pub struct TextValue(pub Varlena);

/// A result of type jsonb.
pub struct JsonbValue(pg_sys::Datum);

impl TextValue {
    /// Text that was stored as UTF-8.
    pub fn from_utf8(mut value: Varlena) -> Result<Self, KeyError> {
        match from_utf8(value.bytes_mut())? {
            None => Ok(Self(value)),
            Some(converted) => Ok(Self(Varlena::copy_of(&converted)?)),
        }
    }
}

impl JsonbValue {
    /// # Safety
    /// The datum is a jsonb that lives as long as the call.
    pub(super) unsafe fn from_datum(datum: pg_sys::Datum) -> Self {
        Self(datum)
    }

    pub(super) fn datum(&self) -> pg_sys::Datum {
        self.0
    }

    /// What [`Jsonb::utf8`] gave.
    pub fn from_utf8(mut value: Varlena) -> Result<Self, KeyError> {
        let bytes = value.bytes_mut();
        let mut text = match from_utf8(bytes)? {
            None => copied(bytes, 1)?,
            Some(converted) => copied(&converted, 1)?,
        };
        text.push(0);
        let parse = std::panic::AssertUnwindSafe(|| {
            let text = pg_sys::Datum::from(text.as_ptr());
            // SAFETY: NUL-terminated, and outlives the call; jsonb_in copies it.
            unsafe { pgrx::direct_function_call_as_datum(pg_sys::jsonb_in, &[Some(text)]) }
        });
        // These two quote the value. They are raised again as another error, so nothing that they
        // interrupted goes on.
        pgrx::PgTryBuilder::new(|| parse().map(Self).ok_or(KeyError::NotJson))
            .catch_when(PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION, |_| {
                Err(KeyError::NotJson)
            })
            .catch_when(PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER, |_| {
                Err(KeyError::NotJson)
            })
            .execute()
    }
}

pgrx::impl_sql_translatable!(Bytea, "bytea");
pgrx::impl_sql_translatable!(TextValue, "text");
pgrx::impl_sql_translatable!(JsonbValue, "jsonb");

// SAFETY: the datum is a varlena with the representation of the SQL type.
unsafe impl BoxRet for Bytea {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
        // SAFETY: allocated in the context of the call.
        unsafe { fcinfo.return_raw_datum(self.0.datum()) }
    }
}

// SAFETY: as above.
unsafe impl BoxRet for TextValue {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
        // SAFETY: allocated in the context of the call.
        unsafe { fcinfo.return_raw_datum(self.0.datum()) }
    }
}

// SAFETY: as above, made by jsonb_in.
unsafe impl BoxRet for JsonbValue {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
        // SAFETY: allocated in the context of the call.
        unsafe { fcinfo.return_raw_datum(self.0) }
    }
}

const UTF8: i32 = pg_sys::pg_enc::PG_UTF8 as i32;
const SQL_ASCII: i32 = pg_sys::pg_enc::PG_SQL_ASCII as i32;

fn invalid() -> KeyError {
    // SAFETY: returns a constant NUL-terminated string.
    let name = unsafe { CStr::from_ptr(pg_sys::GetDatabaseEncodingName()) };
    KeyError::Encoding(name.to_string_lossy().into_owned())
}

/// Text of the database in UTF-8.
pub fn to_utf8(text: &[u8]) -> Result<Cow<'_, [u8]>, KeyError> {
    match unguarded::database_encoding() {
        // SQL_ASCII declares no encoding: bytes are bytes.
        UTF8 | SQL_ASCII => Ok(Cow::Borrowed(text)),
        other => convert(text, other, UTF8).map(Cow::Owned),
    }
}

/// Text of encoding `from` in UTF-8. Text of unknown encoding is taken for the database's.
pub fn utf8_from(text: &[u8], from: i32) -> Result<Cow<'_, [u8]>, KeyError> {
    match from {
        UTF8 => Ok(Cow::Borrowed(text)),
        SQL_ASCII => to_utf8(text),
        other => convert(text, other, UTF8).map(Cow::Owned),
    }
}

/// The text in the database's encoding, `None` when it is so already.
pub fn from_utf8(text: &[u8]) -> Result<Option<Vec<u8>>, KeyError> {
    if text.contains(&0) {
        return Err(invalid());
    }
    match unguarded::database_encoding() {
        UTF8 => std::str::from_utf8(text)
            .map(|_| None)
            .map_err(|_| invalid()),
        SQL_ASCII => Ok(None),
        other => convert(text, UTF8, other).map(Some),
    }
}

/// A name that is written in UTF-8 as the database would store it.
pub fn in_database_encoding(text: &str) -> Result<Vec<u8>, KeyError> {
    Ok(from_utf8(text.as_bytes())?.unwrap_or_else(|| text.as_bytes().to_vec()))
}

/// Nothing yet, with room for `len` bytes.
///
/// Memory for a value is always asked for in this way, or from PostgreSQL: Rust's own way ends the
/// process when there is none, and with it every session of the server.
pub fn buffer(len: usize) -> Result<Vec<u8>, KeyError> {
    let mut buffer = Vec::new();
    match buffer.try_reserve_exact(len) {
        Ok(()) => Ok(buffer),
        Err(_) => Err(KeyError::OutOfMemory),
    }
}

/// The same for text.
pub fn text_buffer(len: usize) -> Result<String, KeyError> {
    let mut buffer = String::new();
    match buffer.try_reserve_exact(len) {
        Ok(()) => Ok(buffer),
        Err(_) => Err(KeyError::OutOfMemory),
    }
}

/// As many zero bytes.
pub fn zeroed(len: usize) -> Result<Vec<u8>, KeyError> {
    let mut buffer = buffer(len)?;
    buffer.resize(len, 0);
    Ok(buffer)
}

fn copied(bytes: &[u8], more: usize) -> Result<Vec<u8>, KeyError> {
    let mut copy = buffer(bytes.len().saturating_add(more))?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// Converts without quoting a character in an error, as PostgreSQL's own message would.
fn convert(text: &[u8], from: i32, to: i32) -> Result<Vec<u8>, KeyError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let growth = pg_sys::MAX_CONVERSION_GROWTH as usize;
    let room = text.len() * growth + 1;
    let (Ok(len), Ok(limit)) = (i32::try_from(text.len()), i32::try_from(room)) else {
        return Err(KeyError::TooLong);
    };
    let mut converted = zeroed(room)?;
    // SAFETY: the lengths are those of the two buffers; the source is only read; with the last
    // argument true nothing is raised for a character that cannot be converted, but less is converted.
    let done = unsafe {
        let procedure = pg_sys::FindDefaultConversionProc(from, to);
        if procedure == pg_sys::InvalidOid {
            return Err(invalid());
        }
        pg_sys::pg_do_encoding_conversion_buf(
            procedure,
            from,
            to,
            text.as_ptr().cast_mut(),
            len,
            converted.as_mut_ptr().cast(),
            limit,
            true,
        )
    };
    if done != len {
        return Err(invalid());
    }
    let end = converted.iter().position(|byte| *byte == 0);
    converted.truncate(end.unwrap_or(room));
    Ok(converted)
}
