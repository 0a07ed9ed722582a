//! What `ward.verify_current_rows()` compares: what the log says of each record, and the rows as they are.

use super::leaves::{self, UNSEALED};
use super::lineage::Lineage;
use crate::error::{self, Result};
use crate::pg::relation::Hidden;
use crate::pg::srf::{Cell, Rows};
use crate::pg::{live, owner, query};
use pgrx::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use ward_log::{
    Hash, Image, Leaf, Operation, Records, RowLeaf, Shape, Value, Values, record_id_text,
};

/// Type bytes of row and shape leaves (docs/log-format.md).
const ROW: u8 = 0x01;
const SHAPE: u8 = 0x04;
/// Bytes of a column in a fingerprint: attribute number, hash of the type's name, hash of the value.
const COLUMN: usize = 2 + 4 + 16;

/// A row as a sequence of its columns, so that two can be compared by the columns that both have.
type Fingerprint = Vec<u8>;

/// Whether two fingerprints agree in the columns that both have with the same type.
#[pg_extern(immutable, parallel_safe, strict)]
fn audit_same_row(a: &[u8], b: &[u8]) -> bool {
    let columns = |bytes| -> BTreeMap<Vec<u8>, Vec<u8>> {
        let chunks = <[u8]>::chunks_exact(bytes, COLUMN);
        chunks.map(|c| (c[..6].to_vec(), c[6..].to_vec())).collect()
    };
    let b = columns(b);
    columns(a)
        .iter()
        .all(|(column, value)| b.get(column).is_none_or(|other| other == value))
}

/// Fills `rows` with what the log says of the records of a table, and with the table's rows, as one snapshot
/// sees both.
pub fn states(rows: &mut Rows, table: Option<pg_sys::Oid>) -> Result<()> {
    let table = table.ok_or_else(|| {
        error::report(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            "the table must not be NULL",
        )
    })?;
    owner::run(|| {
        let hidden = hidden(table)?;
        let tables = with_rows(table);
        let lineage = Lineage::of(&tables)?;
        let mut reader = Reader::new(rows, lineage)?;
        reader.sealed()?;
        reader.unsealed()?;
        for table in tables {
            reader.live(table, &hidden)?;
        }
        Ok(())
    })
}

/// The partitions of a partitioned table that hold rows, or the table itself.
fn with_rows(table: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    let mut found = Vec::new();
    query::read(
        c"SELECT relid::oid::bigint FROM pg_catalog.pg_partition_tree($1::bigint::oid::regclass) WHERE isleaf \
          UNION ALL SELECT oid::bigint FROM pg_catalog.pg_class \
          WHERE oid = $1::bigint::oid AND relkind = 'r' AND NOT relispartition",
        &[query::Arg::Int8(i64::from(table.to_u32()))],
        |row| found.push(pg_sys::Oid::from(row.int8(1) as u32)),
    );
    found
}

/// The hidden columns of an audited table. Refuses tables that are not audited or whose records cannot be told apart.
fn hidden(table: pg_sys::Oid) -> Result<Hidden> {
    let mut found = None;
    query::read(
        c"SELECT convert_to(coalesce(exclude, ''), 'UTF8'), convert_to(coalesce(redact, ''), 'UTF8'), \
          convert_to(coalesce(gone, ''), 'UTF8') \
          FROM ward.audit_trigger WHERE relation = $1::bigint::oid AND by_row",
        &[query::Arg::Int8(i64::from(table.to_u32()))],
        |row| found = Some((row.bytes(1), row.bytes(2), row.bytes(3))),
    );
    let Some((exclude, redact, gone)) = found else {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "the table is not audited, so there is nothing to compare its rows with",
            "ward.enable_audit() enables the audit of a table; name the topmost partitioned table, not a partition.",
        ));
    };
    let names =
        |text: Vec<u8>| -> Vec<String> { serde_json::from_slice(&text).unwrap_or_default() };
    let hidden = Hidden {
        exclude: names(exclude),
        redact: names(redact),
        gone: names(gone),
    };
    let mut key = Vec::new();
    query::read(
        c"SELECT convert_to(a.attname::text, 'UTF8') FROM pg_catalog.pg_index i \
          JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) \
          WHERE i.indrelid = $1::bigint::oid AND i.indisprimary",
        &[query::Arg::Int8(i64::from(table.to_u32()))],
        |row| key.push(String::from_utf8_lossy(&row.bytes(1)).into_owned()),
    );
    if key.is_empty() {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "the table has no primary key, so its rows cannot be told apart",
            "Add a primary key: entries from then on name the record.",
        ));
    }
    let is_hidden = |name: &String| hidden.exclude.contains(name) || hidden.redact.contains(name);
    if key.iter().any(is_hidden) {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "a column of the table's primary key is excluded from the audit trail or redacted in it",
            "The entries then do not tell which record was given another key.",
        ));
    }
    Ok(hidden)
}

/// What is needed of a shape.
struct Described {
    relation: u32,
    /// By attribute number: the hash of the type's name, none for hidden columns.
    columns: HashMap<u16, [u8; 4]>,
    /// The columns of the record id, in their order.
    key: Vec<u16>,
}

impl Described {
    fn new(shape: &Shape) -> Described {
        let of_type = |name: &str| {
            let hash = Sha256::digest(name);
            [hash[0], hash[1], hash[2], hash[3]]
        };
        Described {
            relation: shape.relation_oid,
            columns: shape
                .columns
                .iter()
                .filter(|column| !column.excluded && !column.redacted)
                .map(|column| (column.attnum, of_type(&column.type_name)))
                .collect(),
            key: shape
                .columns
                .iter()
                .filter(|column| column.record_id)
                .map(|column| column.attnum)
                .collect(),
        }
    }

    fn fingerprint(&self, values: &Values) -> Fingerprint {
        let mut fingerprint = Vec::new();
        for (attnum, value) in values.clone() {
            let Some(type_hash) = self.columns.get(&attnum) else {
                continue;
            };
            let hash = match value {
                Value::Null => [0; 32],
                Value::Bytes(text) => Sha256::digest(text).into(),
                Value::Cut(cut) => cut.sha256,
                _ => continue,
            };
            fingerprint.extend_from_slice(&attnum.to_be_bytes());
            fingerprint.extend_from_slice(type_hash);
            fingerprint.extend_from_slice(&hash[..16]);
        }
        fingerprint
    }

    /// The record id before an update, if that changed it.
    fn old_id(&self, image: &Image) -> Option<String> {
        let (old, new) = (image.old.as_ref()?, image.new.as_ref()?);
        let find = |values: &Values, wanted: u16| {
            values.clone().find_map(|(attnum, value)| match value {
                Value::Bytes(text) if attnum == wanted => {
                    Some(String::from_utf8_lossy(text).into_owned())
                }
                _ => None,
            })
        };
        if self.key.iter().all(|attnum| find(old, *attnum).is_none()) {
            return None;
        }
        let parts: Option<Vec<String>> = self
            .key
            .iter()
            .map(|attnum| find(old, *attnum).or_else(|| find(new, *attnum)))
            .collect();
        match parts?.as_slice() {
            [only] => Some(record_id_text(only).into_owned()),
            several => {
                let joined = serde_json::Value::from(several).to_string();
                Some(record_id_text(&joined).into_owned())
            }
        }
    }
}

struct Reader<'r> {
    rows: &'r mut Rows,
    lineage: Lineage,
    shapes: HashMap<Hash, Described>,
}

impl<'r> Reader<'r> {
    fn new(rows: &'r mut Rows, lineage: Lineage) -> Result<Self> {
        let mut shapes = HashMap::new();
        query::read(
            c"SELECT shape_id, content FROM ward.audit_shape",
            &[],
            |row| {
                if let (Ok(id), Ok(shape)) = (
                    Hash::try_from(row.bytes(1)),
                    Shape::parse_content(&row.bytes(2)),
                ) {
                    shapes.insert(id, Described::new(&shape));
                }
            },
        );
        Ok(Reader {
            rows,
            lineage,
            shapes,
        })
    }

    fn sealed(&mut self) -> Result<()> {
        leaves::sealed(|id, block, leaf, image| self.leaf(id, block, leaf, image))
    }

    fn unsealed(&mut self) -> Result<()> {
        let entries = leaves::unsealed()?;
        // shapes first: a row may have the lower transaction id than the shape it names
        for kind in [SHAPE, ROW] {
            for record in entries.iter().flat_map(|bytes| Records::new(bytes)) {
                // what cannot be read is reported when it is sealed
                let Ok(record) = record else { continue };
                if record.leaf.first() == Some(&kind) {
                    self.leaf(u64::MAX, UNSEALED, record.leaf, record.image);
                }
            }
        }
        Ok(())
    }

    fn leaf(&mut self, id: u64, block: i64, leaf: &[u8], image: Option<&[u8]>) {
        if !matches!(leaf.first(), Some(&(ROW | SHAPE))) {
            return;
        }
        match Leaf::parse(leaf) {
            Ok(Leaf::Shape(shape)) => {
                if let Ok(described) = shape.shape() {
                    self.shapes
                        .insert(shape.shape_id(), Described::new(&described));
                }
            }
            Ok(Leaf::Row(row)) => self.row(id, block, &row, image),
            // the verifier reports what cannot be read
            _ => {}
        }
    }

    fn row(&mut self, id: u64, block: i64, row: &RowLeaf, image: Option<&[u8]>) {
        let Some(shape) = self.shapes.get(&row.shape) else {
            return;
        };
        let Some(table) = self.lineage.table(id, shape.relation) else {
            return;
        };
        let mut put = |kind: &'static str, record: Option<&str>, fingerprint: Option<&[u8]>| {
            self.rows.put(&[
                Cell::Text(kind),
                record.into(),
                Cell::Int8(block),
                Cell::Int8(row.frame.xid as i64),
                Cell::Int8(i64::from(row.frame.position)),
                Cell::Int8(i64::from(table)),
                fingerprint.map_or(Cell::Null, Cell::Bytes),
            ]);
        };
        match row.operation {
            Operation::Truncate => put("truncated", None, None),
            _ if row.record_id.is_none() => {}
            Operation::Delete => put("absent", row.record_id, None),
            _ => {
                let image = image.and_then(|bytes| Image::parse(bytes).ok());
                let new = image.as_ref().and_then(|image| image.new.as_ref());
                match new.map(|new| shape.fingerprint(new)) {
                    Some(known) => put("present", row.record_id, Some(&known)),
                    None => put("unknown", row.record_id, None),
                }
                if let Some(old) = image.as_ref().and_then(|image| shape.old_id(image)) {
                    put("absent", Some(&old), None);
                }
            }
        }
    }

    fn live(&mut self, table: pg_sys::Oid, hidden: &Hidden) -> Result<()> {
        let mut shape = None;
        let mut rows = Vec::new();
        live::rows(table, hidden, |content, id, image| {
            let shape = shape.get_or_insert_with(|| {
                Shape::parse_content(content).map(|shape| Described::new(&shape))
            });
            let image = Image::parse(image);
            let (Ok(shape), Ok(Image { new: Some(new), .. })) = (shape, &image) else {
                return;
            };
            rows.clear();
            rows.extend_from_slice(&shape.fingerprint(new));
            self.rows.put(&[
                Cell::Text("live"),
                id.into(),
                Cell::Null,
                Cell::Null,
                Cell::Null,
                Cell::Int8(i64::from(table.to_u32())),
                Cell::Bytes(&rows),
            ]);
        })
    }
}
