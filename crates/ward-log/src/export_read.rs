//! Reading exports. Strict: what is not exactly as written is refused.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::error::FormatError;
use crate::export::{
    EXPORT_VERSION, ExportError, ExportHead, ExportHeader, ExportOrder, MAX_EXPORT_LINE,
    MAX_ORIGIN_LEN,
};
use crate::export_line::{LEAVES, PreparedLine};
use crate::hash::Hash;
use crate::leaf::Shape;
use crate::tree::{TILE_WIDTH, Tile};
use crate::verify::{BlockInfo, Prepared};
use crate::wire::Reader;

/// A record beyond this is not read: PostgreSQL has no values of that length.
const MAX_RECORD_LEN: u64 = 0x8000_0000;
/// How many bytes of a record precede its leaf.
const LEAF_START: usize = 12;

/// One line of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExportLine {
    Version,
    Log(ExportHeader),
    Incarnation([u8; 16]),
    /// A later size, its root, and the proof that this log is the beginning of that.
    Head(ExportHead),
    Order(ExportOrder),
    Shape(Vec<u8>),
    Block(BlockInfo),
    Tile(Tile),
    /// No leaf before this one follows.
    Gap(u64),
    /// Records are ready to be taken.
    Leaves,
    End,
}

/// A leaf and its image, with its index, and what was found out about them ahead.
pub(crate) type ExportRecord<'a> = (u64, &'a [u8], Option<&'a [u8]>, Option<Prepared>);

/// Reads an export line by line.
#[derive(Default)]
pub(crate) struct ExportParser {
    lines: u64,
    checksum: crc32fast::Hasher,
    fields: Vec<u8>,
    records: Vec<u8>,
    taken: usize,
    /// What was found out about the records from here on.
    prepared: std::vec::IntoIter<Prepared>,
    leaves: u64,
    ended: bool,
}

impl ExportParser {
    /// Takes the next line.
    pub(crate) fn line(&mut self, prepared: &mut PreparedLine) -> Result<ExportLine, ExportError> {
        self.lines += 1;
        let line = prepared.line();
        if self.lines == 1 {
            if line != EXPORT_VERSION.as_bytes() {
                return Err(ExportError::NotAnExport);
            }
            self.add_to_checksum(prepared);
            return Ok(ExportLine::Version);
        }
        if self.ended {
            return Err(self.bad("a line follows after the last"));
        }
        if line.len() > MAX_EXPORT_LINE {
            return Err(self.bad("the line is too long"));
        }
        let Some(space) = line.iter().position(|byte| *byte == b' ') else {
            return Err(self.bad("the line has no fields"));
        };
        let (word, text) = (&line[..space], &line[space + 1..]);
        if (word == b"log") != (self.lines == 2) {
            return Err(self.bad("the line \"log\" must be the second, and only there"));
        }
        if line.starts_with(LEAVES) {
            return self.pieces(prepared);
        }
        if self.taken < self.records.len() {
            return Err(self.bad("a record is cut short"));
        }
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        let decoded = STANDARD.decode_vec(text, &mut fields);
        let parsed = match decoded {
            Err(_) => Err(self.bad("the fields are not base64")),
            Ok(()) if word == b"end" => self.end(&fields),
            Ok(()) => parse(word, &fields).map_err(|error| match error {
                Some(error) => ExportError::BadField {
                    line: self.lines,
                    error,
                },
                None => self.bad("the line is of no known kind"),
            }),
        };
        self.fields = fields;
        if !self.ended {
            self.add_to_checksum(prepared);
        }
        parsed
    }

    /// The next whole record.
    pub(crate) fn record(&mut self) -> Result<Option<ExportRecord<'_>>, ExportError> {
        let rest = &self.records[self.taken..];
        let Some(frame) = frame(rest).map_err(|what| ExportError::BadLine {
            line: self.lines,
            what,
        })?
        else {
            return Ok(None);
        };
        self.taken += frame.len;
        self.leaves += 1;
        let (leaf, image) = frame.parts(rest);
        Ok(Some((frame.index, leaf, image, self.prepared.next())))
    }

    /// Whether the last line was read.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    fn pieces(&mut self, prepared: &mut PreparedLine) -> Result<ExportLine, ExportError> {
        self.add_to_checksum(prepared);
        if !prepared.is_base64 {
            return Err(self.bad("the fields are not base64"));
        }
        if self.taken == self.records.len() {
            std::mem::swap(&mut self.records, &mut prepared.records);
            self.prepared = std::mem::take(&mut prepared.leaves).into_iter();
        } else {
            // the line begins within a record, so what was found out ahead is of no use
            self.records.drain(..self.taken);
            self.records.extend_from_slice(&prepared.records);
            self.prepared = Vec::new().into_iter();
        }
        self.taken = 0;
        Ok(ExportLine::Leaves)
    }

    fn end(&mut self, fields: &[u8]) -> Result<ExportLine, ExportError> {
        let (count, checksum) = fields
            .split_first_chunk::<8>()
            .ok_or(ExportError::BadField {
                line: self.lines,
                error: FormatError::Truncated,
            })?;
        if checksum != self.checksum.clone().finalize().to_be_bytes() {
            return Err(ExportError::Damaged);
        }
        if u64::from_be_bytes(*count) != self.leaves {
            return Err(self.bad("the number of leaves is wrong"));
        }
        self.ended = true;
        Ok(ExportLine::End)
    }

    fn add_to_checksum(&mut self, line: &PreparedLine) {
        self.checksum.combine(&line.checksum);
        self.checksum.update(b"\n");
    }

    pub(crate) fn bad(&self, what: &'static str) -> ExportError {
        ExportError::BadLine {
            line: self.lines,
            what,
        }
    }
}

/// Where the parts of a record lie.
pub(crate) struct Frame {
    index: u64,
    leaf_end: usize,
    has_image: bool,
    pub(crate) len: usize,
}

impl Frame {
    /// The leaf and the image of the record that begins with `bytes`.
    pub(crate) fn parts<'a>(&self, bytes: &'a [u8]) -> (&'a [u8], Option<&'a [u8]>) {
        let image = &bytes[self.leaf_end + 4..self.len];
        (
            &bytes[LEAF_START..self.leaf_end],
            self.has_image.then_some(image),
        )
    }
}

/// Finds the parts of the record that begins with `bytes`; none when it is not whole.
pub(crate) fn frame(bytes: &[u8]) -> Result<Option<Frame>, &'static str> {
    let mut reader = Reader::new(bytes);
    let (Ok(index), Ok(leaf_len)) = (reader.u64(), reader.u32()) else {
        return Ok(None);
    };
    let mut len = LEAF_START as u64 + u64::from(leaf_len) + 4;
    let mark = reader
        .bytes(leaf_len as usize)
        .and_then(|_| reader.u32())
        .unwrap_or(0);
    len += u64::from(mark.saturating_sub(1));
    if len > MAX_RECORD_LEN {
        return Err("a record is too long");
    }
    // both lengths are below 2^32, and their sum below the limit
    Ok((len <= bytes.len() as u64).then_some(Frame {
        index,
        leaf_end: LEAF_START + leaf_len as usize,
        has_image: mark != 0,
        len: len as usize,
    }))
}

/// The fields of a line; no error for a word that is not known.
fn parse(word: &[u8], fields: &[u8]) -> Result<ExportLine, Option<FormatError>> {
    let mut reader = Reader::new(fields);
    let line = match word {
        b"log" => ExportLine::Log(ExportHeader {
            origin: reader
                .text(usize::from(MAX_ORIGIN_LEN), "origin")?
                .to_owned(),
            first_block: reader.u64()?,
            first_leaf: reader.u64()?,
            blocks: reader.u64()?,
            size: reader.u64()?,
            taken_at: reader.i64()?,
        }),
        b"incarnation" => ExportLine::Incarnation(reader.array()?),
        b"head" => ExportLine::Head(ExportHead {
            size: reader.u64()?,
            root: reader.array()?,
            consistency: proof(&mut reader)?,
            orders: Vec::new(),
        }),
        b"order" => ExportLine::Order(ExportOrder {
            index: reader.u64()?,
            leaf: reader.block()?.to_vec(),
            inclusion: proof(&mut reader)?,
        }),
        b"shape" => {
            Shape::parse_content(fields)?;
            ExportLine::Shape(reader.rest().to_vec())
        }
        b"gap" => ExportLine::Gap(reader.u64()?),
        b"block" => ExportLine::Block(BlockInfo {
            block_no: reader.u64()?,
            first_leaf: reader.u64()?,
            tree_size: reader.u64()?,
            root: reader.array()?,
            sealed_at: reader.i64()?,
            snapshot: reader.rest().to_vec(),
        }),
        b"tile" => {
            let tile = Tile {
                level: reader.u8()?,
                index: reader.u64()?,
                hashes: hashes(&mut reader)?,
            };
            if tile.hashes.len() > TILE_WIDTH || tile.level > 7 {
                return Err(Some(FormatError::TooLong("a tile")));
            }
            ExportLine::Tile(tile)
        }
        _ => return Err(None),
    };
    reader.finish()?;
    Ok(line)
}

/// The hashes of a proof, which may be none.
fn proof(reader: &mut Reader<'_>) -> Result<Vec<Hash>, FormatError> {
    let (hashes, rest) = reader.rest().as_chunks::<32>();
    if !rest.is_empty() {
        return Err(FormatError::Truncated);
    }
    Ok(hashes.to_vec())
}

fn hashes(reader: &mut Reader<'_>) -> Result<Vec<Hash>, FormatError> {
    let (hashes, rest) = reader.rest().as_chunks::<32>();
    if !rest.is_empty() || hashes.is_empty() {
        return Err(FormatError::Truncated);
    }
    Ok(hashes.to_vec())
}
