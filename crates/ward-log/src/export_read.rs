//! Reading exports. Strict: what is not exactly as written is refused.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::error::FormatError;
use crate::export::{
    EXPORT_VERSION, ExportError, ExportHead, ExportHeader, ExportOrder, MAX_EXPORT_LINE,
    MAX_ORIGIN_LEN,
};
use crate::hash::Hash;
use crate::leaf::Shape;
use crate::tree::{TILE_WIDTH, Tile};
use crate::verify::BlockInfo;
use crate::wire::Reader;

/// A record beyond this is not read: PostgreSQL has no values of that length.
const MAX_RECORD_LEN: u64 = 0x8000_0000;

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

/// A leaf and its image, with its index.
pub(crate) type ExportRecord<'a> = (u64, &'a [u8], Option<&'a [u8]>);

/// Reads an export line by line.
#[derive(Default)]
pub(crate) struct ExportParser {
    lines: u64,
    checksum: crc32fast::Hasher,
    fields: Vec<u8>,
    records: Vec<u8>,
    taken: usize,
    leaves: u64,
    ended: bool,
}

impl ExportParser {
    /// Takes the next line, without its line end.
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<ExportLine, ExportError> {
        self.lines += 1;
        if self.lines == 1 {
            if line != EXPORT_VERSION.as_bytes() {
                return Err(ExportError::NotAnExport);
            }
            self.add_to_checksum(line);
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
        if word == b"leaves" {
            return self.pieces(line, text);
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
            self.add_to_checksum(line);
        }
        parsed
    }

    /// The next whole record.
    pub(crate) fn record(&mut self) -> Result<Option<ExportRecord<'_>>, ExportError> {
        let mut reader = Reader::new(&self.records[self.taken..]);
        let Ok(index) = reader.u64() else {
            return Ok(None);
        };
        let Ok(leaf_len) = reader.u32() else {
            return Ok(None);
        };
        let mut len = 16 + u64::from(leaf_len);
        if len <= (self.records.len() - self.taken) as u64 {
            let mut rest = reader.clone();
            let mark = rest.bytes(leaf_len as usize).and_then(|_| rest.u32());
            len += u64::from(mark.unwrap_or(0).saturating_sub(1));
        }
        if len > MAX_RECORD_LEN {
            return Err(self.bad("a record is too long"));
        }
        // both lengths are below 2^32, and their sum below the limit
        if len > (self.records.len() - self.taken) as u64 {
            return Ok(None);
        }
        let start = self.taken;
        self.taken += len as usize;
        self.leaves += 1;
        let leaf_end = start + 12 + leaf_len as usize;
        let leaf = &self.records[start + 12..leaf_end];
        let marked = self.records[leaf_end..leaf_end + 4] != [0; 4];
        let image = marked.then(|| &self.records[leaf_end + 4..self.taken]);
        Ok(Some((index, leaf, image)))
    }

    /// Whether the last line was read.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    fn pieces(&mut self, line: &[u8], text: &[u8]) -> Result<ExportLine, ExportError> {
        self.add_to_checksum(line);
        self.records.drain(..self.taken);
        self.taken = 0;
        match STANDARD.decode_vec(text, &mut self.records) {
            Ok(()) => Ok(ExportLine::Leaves),
            Err(_) => Err(self.bad("the fields are not base64")),
        }
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

    fn add_to_checksum(&mut self, line: &[u8]) {
        self.checksum.update(line);
        self.checksum.update(b"\n");
    }

    pub(crate) fn bad(&self, what: &'static str) -> ExportError {
        ExportError::BadLine {
            line: self.lines,
            what,
        }
    }
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
