//! Text between Rust, which is UTF-8, and the encoding of the database.

use super::unguarded::database_encoding as encoding;
use pgrx::prelude::*;
use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char, c_int};
use std::fmt::Write;

const UTF8: c_int = pg_sys::pg_enc::PG_UTF8 as c_int;
const SQL_ASCII: c_int = pg_sys::pg_enc::PG_SQL_ASCII as c_int;

/// Whether the database stores UTF-8.
pub fn is_utf8() -> bool {
    encoding() == UTF8
}

/// Text of the server in UTF-8. SQL_ASCII says nothing about its bytes: what is no UTF-8 there is
/// replaced.
pub fn to_utf8(text: &CStr) -> String {
    String::from_utf8_lossy(&bytes_to_utf8(text.to_bytes())).into_owned()
}

/// Bytes of the server in UTF-8, except in SQL_ASCII, where they stay as they are. Raises when the
/// bytes are not text in the database's encoding.
pub fn bytes_to_utf8(bytes: &[u8]) -> Cow<'_, [u8]> {
    let encoding = encoding();
    if encoding == UTF8 || encoding == SQL_ASCII || bytes.is_ascii() {
        return Cow::Borrowed(bytes);
    }
    // SAFETY: reads exactly `len` bytes, gives a NUL-terminated palloc'ed copy, or the same pointer
    // when there was nothing to convert, which was excluded above. Text of the server is below 1 GB.
    unsafe {
        let text =
            pg_sys::pg_server_to_any(bytes.as_ptr().cast::<c_char>(), bytes.len() as c_int, UTF8);
        let converted = CStr::from_ptr(text).to_bytes().to_vec();
        pg_sys::pfree(text.cast());
        Cow::Owned(converted)
    }
}

/// As [`bytes_to_utf8`], in parts: for texts that are too long to be converted at once.
pub fn utf8_parts(bytes: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    const PART: usize = 1 << 20;
    let whole = matches!(encoding(), UTF8 | SQL_ASCII);
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = rest.len();
        if !whole && end > PART {
            // SAFETY: looks at no more than `end` bytes of `rest`, the end of a whole character.
            end = unsafe {
                pg_sys::pg_mbcliplen(
                    rest.as_ptr().cast(),
                    end.min(2 * PART) as c_int,
                    PART as c_int,
                )
            } as usize;
            // Bytes that are no text are for the conversion to refuse.
            if end == 0 {
                end = rest.len();
            }
        }
        let (part, more) = rest.split_at(end);
        rest = more;
        Some(bytes_to_utf8(part))
    })
}

/// UTF-8 text in the database's encoding, for look-ups: none when a character does not exist there,
/// so that it cannot be taken for another.
pub fn from_utf8(text: &str) -> Option<CString> {
    let encoding = encoding();
    if encoding == UTF8 || encoding == SQL_ASCII || text.is_ascii() {
        return CString::new(text).ok();
    }
    let (converted, done) = convert(text, encoding)?;
    (done == text.len())
        .then(|| CString::new(converted).ok())
        .flatten()
}

/// UTF-8 text in the database's encoding, for showing. Characters that do not exist there become
/// `escape` and their number in hexadecimal, U+0000 becomes U+FFFD: this never raises for a text.
pub fn shown<'t>(text: &'t str, escape: &str) -> Cow<'t, [u8]> {
    let text = if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{FFFD}"))
    } else {
        Cow::Borrowed(text)
    };
    let encoding = encoding();
    if encoding == UTF8 || encoding == SQL_ASCII || text.is_ascii() {
        return match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest: &str = &text;
    while !rest.is_empty() {
        let part = &rest[..rest.floor_char_boundary(PART)];
        let (converted, done) = convert(part, encoding).unwrap_or_default();
        out.extend_from_slice(&converted);
        rest = rest.get(done..).unwrap_or_default();
        if done < part.len()
            && let Some(character) = rest.chars().next()
        {
            let mut number = String::new();
            // Writing to a string cannot fail.
            let _ = write!(number, "{escape}{:04x}", u32::from(character));
            out.extend_from_slice(number.as_bytes());
            rest = &rest[character.len_utf8()..];
        }
    }
    Cow::Owned(out)
}

/// How much is converted at once: the server's buffers grow with it.
const PART: usize = 4096;

/// Converts up to the first character that `encoding` does not have; tells how many bytes of `text`
/// that is. None when the server knows no conversion at all.
fn convert(text: &str, encoding: c_int) -> Option<(Vec<u8>, usize)> {
    let len = c_int::try_from(text.len()).ok()?;
    let room = text.len().checked_mul(GROWTH)?.checked_add(1)?;
    let limit = c_int::try_from(room).ok()?;
    let mut converted = vec![0u8; room];
    // SAFETY: the lengths are those of the two buffers; the source is only read; with the last
    // argument true nothing is raised for a character, the conversion stops before it.
    let done = unsafe {
        let procedure = pg_sys::FindDefaultConversionProc(UTF8, encoding);
        if procedure == pg_sys::InvalidOid {
            return None;
        }
        pg_sys::pg_do_encoding_conversion_buf(
            procedure,
            UTF8,
            encoding,
            text.as_ptr().cast_mut(),
            len,
            converted.as_mut_ptr().cast(),
            limit,
            true,
        )
    };
    let end = converted.iter().position(|byte| *byte == 0);
    converted.truncate(end.unwrap_or(room));
    Some((converted, usize::try_from(done).ok()?))
}

const GROWTH: usize = pg_sys::MAX_CONVERSION_GROWTH as usize;
