//! Shape leaves: what a table looked like when its rows were recorded.

use crate::error::FormatError;
use crate::hash::{Hash, labelled};
use crate::leaf::{SHAPE, VERSION};
use crate::wire::{Reader, put_text};

const LABEL: &[u8] = b"ward/shape/v1";
const RECORD_ID: u8 = 1;
const REDACTED: u8 = 2;
const EXCLUDED: u8 = 4;

/// The longest schema, table, column or type name; longer ones are clipped at the last whole character.
pub const MAX_NAME_LEN: u16 = 1024;

/// How a column's text is to be shown as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ColumnKind {
    /// As a string.
    Text = 0,
    /// As a number.
    Number = 1,
    /// As true or false.
    Boolean = 2,
    /// As it is.
    Json = 3,
}

impl ColumnKind {
    fn parse(byte: u8) -> Result<Self, FormatError> {
        match byte {
            0 => Ok(Self::Text),
            1 => Ok(Self::Number),
            2 => Ok(Self::Boolean),
            3 => Ok(Self::Json),
            _ => Err(FormatError::UndefinedValue("column kind")),
        }
    }
}

/// One column of a shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The attribute number.
    pub attnum: u16,
    /// The column's name.
    pub name: String,
    /// The column type's name.
    pub type_name: String,
    /// How its text is to be shown.
    pub kind: ColumnKind,
    /// It is part of the record id.
    pub record_id: bool,
    /// Only whether it changed is recorded.
    pub redacted: bool,
    /// It is not recorded at all.
    pub excluded: bool,
}

/// What a table looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The table's OID.
    pub relation_oid: u32,
    /// The schema's name.
    pub schema: String,
    /// The table's name.
    pub table: String,
    /// The columns, by ascending attribute number.
    pub columns: Vec<Column>,
}

impl Shape {
    /// The content part of the shape leaf: it depends on the table alone, so equal tables give equal ids.
    ///
    /// Fails when the columns do not ascend or the shape is too large for a leaf.
    pub fn encode_content(&self) -> Result<Vec<u8>, FormatError> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.relation_oid.to_be_bytes());
        put_text(&mut out, &self.schema, MAX_NAME_LEN);
        put_text(&mut out, &self.table, MAX_NAME_LEN);
        let count =
            u16::try_from(self.columns.len()).map_err(|_| FormatError::TooLong("the shape"))?;
        out.extend_from_slice(&count.to_be_bytes());
        let mut last = 0;
        for column in &self.columns {
            if column.attnum <= last {
                return Err(FormatError::NotCanonical("attribute number"));
            }
            last = column.attnum;
            out.extend_from_slice(&column.attnum.to_be_bytes());
            put_text(&mut out, &column.name, MAX_NAME_LEN);
            put_text(&mut out, &column.type_name, MAX_NAME_LEN);
            out.push(column.kind as u8);
            out.push(
                u8::from(column.record_id) * RECORD_ID
                    + u8::from(column.redacted) * REDACTED
                    + u8::from(column.excluded) * EXCLUDED,
            );
        }
        if out.len() + ShapeLeaf::HEAD_LEN > super::MAX_CONTROL_LEAF_LEN {
            return Err(FormatError::TooLong("the shape"));
        }
        Ok(out)
    }

    /// Reads the content part of a shape leaf.
    pub fn parse_content(content: &[u8]) -> Result<Self, FormatError> {
        let max = usize::from(MAX_NAME_LEN);
        let mut reader = Reader::new(content);
        let relation_oid = reader.u32()?;
        let schema = reader.text(max, "schema name")?.to_owned();
        let table = reader.text(max, "table name")?.to_owned();
        let mut columns = Vec::new();
        let mut last = 0;
        for _ in 0..reader.u16()? {
            let attnum = reader.u16()?;
            if attnum <= last {
                return Err(FormatError::NotCanonical("attribute number"));
            }
            last = attnum;
            let name = reader.text(max, "column name")?.to_owned();
            let type_name = reader.text(max, "type name")?.to_owned();
            let kind = ColumnKind::parse(reader.u8()?)?;
            let flags = reader.u8()?;
            if flags & !(RECORD_ID | REDACTED | EXCLUDED) != 0 {
                return Err(FormatError::UndefinedValue("column flags"));
            }
            columns.push(Column {
                attnum,
                name,
                type_name,
                kind,
                record_id: flags & RECORD_ID != 0,
                redacted: flags & REDACTED != 0,
                excluded: flags & EXCLUDED != 0,
            });
        }
        reader.finish()?;
        Ok(Self {
            relation_oid,
            schema,
            table,
            columns,
        })
    }

    /// The part of the content that names the table: its OID, schema and name.
    pub(crate) fn table_part(content: &[u8]) -> Result<&[u8], FormatError> {
        let max = usize::from(MAX_NAME_LEN);
        let mut reader = Reader::new(content);
        reader.u32()?;
        reader.text(max, "schema name")?;
        reader.text(max, "table name")?;
        Ok(&content[..content.len() - reader.rest().len()])
    }

    /// `SHA-256("ward/shape/v1" || content)`: the id by which row leaves name the shape.
    pub fn shape_id(content: &[u8]) -> Hash {
        labelled(LABEL, content)
    }
}

/// A shape, introduced by the first transaction that needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeLeaf<'a> {
    /// The top-level transaction's full id.
    pub xid: u64,
    /// Index of this leaf within its transaction.
    pub position: u32,
    /// The content part, see [`Shape::encode_content`].
    pub content: &'a [u8],
}

impl<'a> ShapeLeaf<'a> {
    /// How many bytes precede the content.
    const HEAD_LEN: usize = 14;

    /// The shape.
    pub fn shape(&self) -> Result<Shape, FormatError> {
        Shape::parse_content(self.content)
    }

    /// The shape's id.
    pub fn shape_id(&self) -> Hash {
        Shape::shape_id(self.content)
    }

    /// Appends the leaf's encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[SHAPE, VERSION]);
        out.extend_from_slice(&self.xid.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
        out.extend_from_slice(self.content);
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, FormatError> {
        let leaf = Self {
            xid: reader.u64()?,
            position: reader.u32()?,
            content: reader.rest(),
        };
        leaf.shape()?;
        Ok(leaf)
    }
}
