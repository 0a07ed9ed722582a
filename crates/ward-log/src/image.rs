//! The image of a row: its old and new column values, kept beside the leaf so that they can be erased.

use crate::error::FormatError;
use crate::hash::{Hash, labelled};
use crate::wire::Reader;
use sha2::{Digest, Sha256};

const LABEL: &[u8] = b"ward/image/v1";
const OLD: u8 = 1;
const NEW: u8 = 2;
const NULL: u32 = 0xFFFF_FFFF;
const REDACTED_UNCHANGED: u32 = 0xFFFF_FFFE;
const REDACTED_CHANGED: u32 = 0xFFFF_FFFD;
const CUT: u32 = 0xFFFF_FFFC;
const SALT_LEN: usize = 16;

/// The longest image: its record stores the length plus one in 32 bits.
pub const MAX_IMAGE_LEN: usize = 0xFFFF_FFFE;

/// `SHA-256("ward/image/v1" || image)`: what the row leaf says about its image.
///
/// The random salt inside the image keeps an erased image from being found by trying likely values.
pub fn image_commitment(image: &[u8]) -> Hash {
    labelled(LABEL, image)
}

/// A column value as an image holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// SQL NULL.
    Null,
    /// The value's text; an empty slice is the empty string, not NULL.
    Bytes(&'a [u8]),
    /// A redacted column that kept its value.
    RedactedUnchanged,
    /// A redacted column whose value changed, or was first set.
    RedactedChanged,
    /// A value that was too long to keep.
    Cut(Cut),
}

/// What is kept of a value that is too long for an image: enough to recognize it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The length of the value's text in bytes.
    pub length: u64,
    /// The text's SHA-256.
    pub sha256: Hash,
}

impl Cut {
    /// Stands for a value whose text nobody could read, because it is longer than its writer can make one.
    pub const WITHOUT_TEXT: Cut = Cut {
        length: u64::MAX,
        sha256: [0; 32],
    };

    /// Of a text.
    pub fn of(text: &[u8]) -> Cut {
        Cut::of_parts([text])
    }

    /// Of a text that comes in parts.
    pub fn of_parts<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> Cut {
        let mut digest = Sha256::new();
        let mut length = 0;
        for part in parts {
            let part = part.as_ref();
            digest.update(part);
            length += part.len() as u64;
        }
        Cut {
            length,
            sha256: digest.finalize().into(),
        }
    }

    fn read(reader: &mut Reader) -> Result<Cut, FormatError> {
        let cut = Cut {
            length: reader.u64()?,
            sha256: reader.array()?,
        };
        let without = Cut::WITHOUT_TEXT;
        if (cut.length == without.length) != (cut.sha256 == without.sha256) {
            return Err(FormatError::UndefinedValue("cut value"));
        }
        Ok(cut)
    }
}

/// Writes one image at the end of a buffer.
///
/// Call [`begin_old`](Self::begin_old) and its values, then [`begin_new`](Self::begin_new) and its values (one of
/// the two may be left out), with ascending attribute numbers. A mistake in that order, or an image that is too
/// long, is remembered and returned by [`finish`](Self::finish).
#[derive(Debug)]
pub struct ImageWriter<'a> {
    buf: &'a mut Vec<u8>,
    start: usize,
    flags: u8,
    /// Where the values of the open section start.
    section: Option<usize>,
    last_attnum: u16,
    error: Option<FormatError>,
}

impl<'a> ImageWriter<'a> {
    /// Starts an image at the current end of `buf`. The caller owes a salt that is random and used once.
    pub fn new(buf: &'a mut Vec<u8>, salt: &[u8; SALT_LEN]) -> Self {
        let start = buf.len();
        buf.extend_from_slice(salt);
        buf.push(0);
        Self {
            buf,
            start,
            flags: 0,
            section: None,
            last_attnum: 0,
            error: None,
        }
    }

    /// Starts the old values.
    pub fn begin_old(&mut self) {
        if self.flags != 0 {
            self.fail(FormatError::WriterOrder("old values come first and once"));
        }
        self.begin(OLD);
    }

    /// Starts the new values.
    pub fn begin_new(&mut self) {
        if self.flags & NEW != 0 {
            self.fail(FormatError::WriterOrder("new values come once"));
        }
        self.end_section();
        self.begin(NEW);
    }

    /// A value that is not NULL.
    #[inline]
    pub fn value(&mut self, attnum: u16, value: &[u8]) {
        self.attnum(attnum);
        self.length(value.len());
        self.buf.extend_from_slice(value);
    }

    /// How long the image is so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.buf.len() - self.start
    }

    /// Whether nothing was written yet, which cannot be: an image begins with its salt.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A value that is not NULL, rendered in place by `render`, which must only append.
    #[inline]
    pub fn value_with(&mut self, attnum: u16, render: impl FnOnce(&mut Vec<u8>)) {
        self.value_or_cut(attnum, |out| {
            render(out);
            None
        });
    }

    /// A value that is not NULL, rendered in place by `render`, which must only append, or else answers what is to be
    /// kept instead of the value.
    #[inline]
    pub fn value_or_cut(&mut self, attnum: u16, render: impl FnOnce(&mut Vec<u8>) -> Option<Cut>) {
        self.attnum(attnum);
        let at = self.buf.len();
        self.buf.extend_from_slice(&[0; 4]);
        let cut = render(self.buf);
        if self.buf.len() < at + 4 {
            self.fail(FormatError::WriterOrder(
                "a value's renderer must only append",
            ));
            self.buf.resize(at + 4, 0);
        }
        match cut {
            None => self.patch_length(at),
            Some(cut) => {
                self.buf.truncate(at);
                self.buf.extend_from_slice(&CUT.to_be_bytes());
                self.buf.extend_from_slice(&cut.length.to_be_bytes());
                self.buf.extend_from_slice(&cut.sha256);
            }
        }
    }

    /// A NULL.
    #[inline]
    pub fn null(&mut self, attnum: u16) {
        self.attnum(attnum);
        self.buf.extend_from_slice(&NULL.to_be_bytes());
    }

    /// A redacted column: only whether it changed is kept.
    #[inline]
    pub fn redacted(&mut self, attnum: u16, changed: bool) {
        self.attnum(attnum);
        let mark = if changed {
            REDACTED_CHANGED
        } else {
            REDACTED_UNCHANGED
        };
        self.buf.extend_from_slice(&mark.to_be_bytes());
    }

    /// Ends the image and returns where in the buffer it starts.
    pub fn finish(mut self) -> Result<usize, FormatError> {
        if self.flags == 0 {
            self.fail(FormatError::WriterOrder("an image holds old or new values"));
        }
        self.end_section();
        self.buf[self.start + SALT_LEN] = self.flags;
        if self.buf.len() - self.start > MAX_IMAGE_LEN {
            self.fail(FormatError::TooLong("the image"));
        }
        match self.error {
            None => Ok(self.start),
            Some(error) => Err(error),
        }
    }

    fn fail(&mut self, error: FormatError) {
        self.error.get_or_insert(error);
    }

    fn begin(&mut self, flag: u8) {
        self.flags |= flag;
        self.buf.extend_from_slice(&[0; 4]);
        self.section = Some(self.buf.len());
        self.last_attnum = 0;
    }

    fn end_section(&mut self) {
        if let Some(section) = self.section.take() {
            self.patch_length(section - 4);
        }
    }

    /// Writes at `at` how many bytes follow the four there.
    #[inline]
    fn patch_length(&mut self, at: usize) {
        match encode_length(self.buf.len() - at - 4) {
            Some(len) => self.buf[at..at + 4].copy_from_slice(&len.to_be_bytes()),
            None => self.fail(FormatError::TooLong("a value of the image")),
        }
    }

    #[inline]
    fn length(&mut self, len: usize) {
        match encode_length(len) {
            Some(len) => self.buf.extend_from_slice(&len.to_be_bytes()),
            None => self.fail(FormatError::TooLong("a value of the image")),
        }
    }

    #[inline]
    fn attnum(&mut self, attnum: u16) {
        if self.section.is_none() || attnum <= self.last_attnum {
            self.fail(FormatError::WriterOrder(
                "attribute numbers ascend within old and new values",
            ));
        }
        self.last_attnum = attnum;
        self.buf.extend_from_slice(&attnum.to_be_bytes());
    }
}

/// A length, unless it would collide with the marks for NULL, redacted and cut values.
#[inline]
fn encode_length(len: usize) -> Option<u32> {
    u32::try_from(len).ok().filter(|len| *len < CUT)
}

/// A parsed image.
#[derive(Debug, Clone)]
pub struct Image<'a> {
    /// The values before the change; in an update only those of the changed columns.
    pub old: Option<Values<'a>>,
    /// The values after the change.
    pub new: Option<Values<'a>>,
}

impl<'a> Image<'a> {
    /// Reads an image; everything in it is checked here, so that walking the values cannot fail.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        if bytes.len() > MAX_IMAGE_LEN {
            return Err(FormatError::TooLong("the image"));
        }
        let mut reader = Reader::new(bytes);
        reader.array::<SALT_LEN>()?;
        let flags = reader.u8()?;
        if flags == 0 || flags & !(OLD | NEW) != 0 {
            return Err(FormatError::UndefinedValue("image flags"));
        }
        let mut section = |flag| {
            (flags & flag != 0)
                .then(|| Values::parse(reader.block()?))
                .transpose()
        };
        let image = Self {
            old: section(OLD)?,
            new: section(NEW)?,
        };
        reader.finish()?;
        Ok(image)
    }
}

/// The values of one side of an image: an iterator of attribute number and value.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    reader: Reader<'a>,
}

impl<'a> Values<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let mut last = 0;
        while !reader.is_empty() {
            let (attnum, _) = read_value(&mut reader)?;
            if attnum <= last {
                return Err(FormatError::NotCanonical("attribute number"));
            }
            last = attnum;
        }
        Ok(Self {
            reader: Reader::new(bytes),
        })
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = (u16, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        // `parse` has read every value once, so the only error left is the end
        read_value(&mut self.reader).ok()
    }
}

fn read_value<'a>(reader: &mut Reader<'a>) -> Result<(u16, Value<'a>), FormatError> {
    let attnum = reader.u16()?;
    let value = match reader.u32()? {
        NULL => Value::Null,
        REDACTED_UNCHANGED => Value::RedactedUnchanged,
        REDACTED_CHANGED => Value::RedactedChanged,
        CUT => Value::Cut(Cut::read(reader)?),
        len => {
            Value::Bytes(reader.bytes(usize::try_from(len).map_err(|_| FormatError::Truncated)?)?)
        }
    };
    Ok((attnum, value))
}
