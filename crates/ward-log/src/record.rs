//! Journal records: a leaf and its image, framed, as writers store them until the sealer takes them.

use std::ops::Range;

use crate::error::FormatError;
use crate::image::{MAX_IMAGE_LEN, image_commitment};
use crate::leaf::{MAX_CONTROL_LEAF_LEN, RowLeaf};
use crate::wire::Reader;

/// Appends one record.
pub fn push_record(
    out: &mut Vec<u8>,
    leaf: &[u8],
    image: Option<&[u8]>,
) -> Result<(), FormatError> {
    let writer = RecordWriter::begin(out);
    out.extend_from_slice(leaf);
    match image {
        None => writer.finish(out)?,
        Some(image) => {
            let writer = writer.begin_image(out)?;
            out.extend_from_slice(image);
            writer.finish(out)?
        }
    };
    Ok(())
}

/// Where a finished record's parts lie in the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSpan {
    /// The leaf's bytes.
    pub leaf: Range<usize>,
    /// The image's bytes.
    pub image: Option<Range<usize>>,
}

/// Frames a record whose leaf and image are written straight into the buffer.
///
/// [`begin`](Self::begin), write the leaf, then either [`finish`](Self::finish), or
/// [`begin_image`](Self::begin_image), write the image and finish.
#[derive(Debug)]
#[must_use = "a record that is not finished has no lengths"]
pub struct RecordWriter {
    leaf: usize,
    image: Option<usize>,
}

impl RecordWriter {
    /// Starts a record at the end of `out`; the leaf is to be appended next.
    pub fn begin(out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(&[0; 4]);
        Self {
            leaf: out.len(),
            image: None,
        }
    }

    /// Ends the leaf; the image is to be appended next.
    pub fn begin_image(mut self, out: &mut Vec<u8>) -> Result<Self, FormatError> {
        self.end_leaf(out)?;
        self.image = Some(out.len());
        Ok(self)
    }

    /// Ends the record.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<RecordSpan, FormatError> {
        let Some(image) = self.image else {
            let end = self.end_leaf(out)?;
            return Ok(RecordSpan {
                leaf: self.leaf..end,
                image: None,
            });
        };
        let len = out.len() - image;
        if len > MAX_IMAGE_LEN {
            return Err(FormatError::TooLong("the image"));
        }
        // MAX_IMAGE_LEN leaves room for the one
        out[image - 4..image].copy_from_slice(&(len as u32 + 1).to_be_bytes());
        Ok(RecordSpan {
            leaf: self.leaf..image - 4,
            image: Some(image..out.len()),
        })
    }

    /// Ends the record of a row leaf that was encoded before its image existed: puts the image's commitment into
    /// the leaf.
    pub fn finish_row(self, out: &mut Vec<u8>) -> Result<RecordSpan, FormatError> {
        let span = self.finish(out)?;
        if let Some(image) = &span.image {
            let commit = image_commitment(&out[image.clone()]);
            RowLeaf::set_image_commit(&mut out[span.leaf.clone()], &commit)?;
        }
        Ok(span)
    }

    /// Writes the leaf's length and the mark for "no image" after it; returns where the leaf ends.
    fn end_leaf(&self, out: &mut Vec<u8>) -> Result<usize, FormatError> {
        let end = out.len();
        let len = end - self.leaf;
        if len > MAX_CONTROL_LEAF_LEN {
            return Err(FormatError::TooLong("the leaf"));
        }
        out[self.leaf - 4..self.leaf].copy_from_slice(&(len as u32).to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        Ok(end)
    }
}

/// One journal record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The leaf's bytes, not parsed yet.
    pub leaf: &'a [u8],
    /// The image's bytes, not parsed yet.
    pub image: Option<&'a [u8]>,
}

/// Walks the records of a transaction. After an error it ends: the rest of the bytes has no known framing.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    reader: Reader<'a>,
}

impl<'a> Records<'a> {
    /// Reads records from `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(bytes),
        }
    }

    fn read(&mut self) -> Result<Record<'a>, FormatError> {
        let leaf = self.reader.block()?;
        if leaf.len() > MAX_CONTROL_LEAF_LEN {
            return Err(FormatError::TooLong("the leaf"));
        }
        let image = match self.reader.u32()? {
            0 => None,
            len => Some(
                self.reader
                    .bytes(usize::try_from(len - 1).map_err(|_| FormatError::Truncated)?)?,
            ),
        };
        Ok(Record { leaf, image })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let record = self.read();
        if record.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(record)
    }
}
