//! Reading and writing the primitive fields: big-endian integers, arrays, strings.

use crate::error::FormatError;

/// Takes fields off the front of a byte slice.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let (head, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(FormatError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(FormatError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(self.array::<1>()?[0])
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, FormatError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn i64(&mut self) -> Result<i64, FormatError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A `u32` length, and as many bytes.
    pub(crate) fn block(&mut self) -> Result<&'a [u8], FormatError> {
        let len = self.u32()?;
        self.bytes(usize::try_from(len).map_err(|_| FormatError::Truncated)?)
    }

    /// A string of at most `max` bytes.
    pub(crate) fn text(&mut self, max: usize, field: &'static str) -> Result<&'a str, FormatError> {
        let len = usize::from(self.u16()?);
        if len > max {
            return Err(FormatError::TooLong(field));
        }
        std::str::from_utf8(self.bytes(len)?).map_err(|_| FormatError::InvalidUtf8)
    }

    /// An optional string of at most `max` bytes.
    pub(crate) fn optional_text(
        &mut self,
        max: usize,
        field: &'static str,
    ) -> Result<Option<&'a str>, FormatError> {
        match self.u8()? {
            0 => Ok(None),
            1 => self.text(max, field).map(Some),
            _ => Err(FormatError::UndefinedValue(field)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(crate) fn finish(self) -> Result<(), FormatError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(FormatError::TrailingBytes)
        }
    }
}

/// The part of `text` that a field of at most `max` bytes keeps: all of it, or as many whole characters as fit.
pub(crate) fn clip(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// Writes a string, clipped to `max` bytes; `max` is at most 65,535.
#[inline]
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str, max: u16) {
    let text = clip(text, usize::from(max));
    // clip has bounded the length by a u16
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Writes an optional string, clipped to `max` bytes.
#[inline]
pub(crate) fn put_optional_text(out: &mut Vec<u8>, text: Option<&str>, max: u16) {
    match text {
        None => out.push(0),
        Some(text) => {
            out.push(1);
            put_text(out, text, max);
        }
    }
}
