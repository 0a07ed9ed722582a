//! How many leaves a second one core encodes and verifies: `cargo run --release -p ward-log --example speed`.

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use ward_log::{
    AuditMac, BlockInfo, Context, ContextPlace, ContextSource, EntryFrame, ExportHeader,
    ExportVerifier, ExportWriter, Hash, ImageWriter, IncarnationLeaf, LogSource, Operation,
    Options, RecordSpan, RecordWriter, RowLeaf, SealLeaf, Shape, ShapeLeaf, Snapshot, Trailer,
    TransactionChain, Tree, Verifier, leaf_hash, push_record,
};

const TRANSACTIONS: u64 = 20_000;
const KEY: [u8; 32] = [7; 32];

#[derive(Default)]
struct Log {
    bytes: Vec<u8>,
    spans: Vec<RecordSpan>,
    tiles: BTreeMap<(u8, u64), Vec<Hash>>,
    blocks: Vec<BlockInfo>,
}

impl LogSource for &Log {
    fn tile(&mut self, level: u8, index: u64) -> Option<Vec<Hash>> {
        self.tiles.get(&(level, index)).cloned()
    }
    fn block(&mut self, block_no: u64) -> Option<BlockInfo> {
        self.blocks.get(block_no as usize).cloned()
    }
}

impl Log {
    /// A leaf without image.
    fn leaf(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<Hash, Box<dyn Error>> {
        let record = RecordWriter::begin(&mut self.bytes);
        encode(&mut self.bytes);
        let span = record.finish(&mut self.bytes)?;
        let hash = leaf_hash(&self.bytes[span.leaf.clone()]);
        self.spans.push(span);
        Ok(hash)
    }
}

/// What a writer does for each row: the image, its commitment, the leaf, its hash, the chain.
fn row(
    log: &mut Log,
    leaf: &RowLeaf<'_>,
    salt: u64,
    end: Option<&TransactionChain>,
    mac: &AuditMac,
) -> Result<Hash, Box<dyn Error>> {
    let mut salts = [0; 16];
    salts[..8].copy_from_slice(&salt.to_be_bytes());
    let start = log.bytes.len();
    let record = RecordWriter::begin(&mut log.bytes);
    leaf.encode(&mut log.bytes);
    let record = record.begin_image(&mut log.bytes)?;
    let mut image = ImageWriter::new(&mut log.bytes, &salts);
    image.begin_new();
    image.value(1, leaf.record_id.unwrap_or_default().as_bytes());
    image.value(2, b"17");
    image.value(3, b"-4711");
    image.value(4, b"a filler of forty bytes, more or less.  ");
    image.finish()?;
    let mut span = record.finish_row(&mut log.bytes)?;
    if let Some(chain) = end {
        span = close(&mut log.bytes, start, &span, chain, mac)?;
    }
    let hash = leaf_hash(&log.bytes[span.leaf.clone()]);
    log.spans.push(span);
    Ok(hash)
}

/// Ends a transaction with its last record, which begins at `start`: the image moves behind the trailer.
fn close(
    bytes: &mut Vec<u8>,
    start: usize,
    span: &RecordSpan,
    chain: &TransactionChain,
    mac: &AuditMac,
) -> Result<RecordSpan, Box<dyn Error>> {
    let mut leaf = bytes[span.leaf.clone()].to_vec();
    let image = span.image.clone().map(|image| bytes[image].to_vec());
    Trailer::close(&mut leaf, chain, [9; 16], *b"auditkey", mac)?;
    bytes.truncate(start);
    let mut record = RecordWriter::begin(bytes);
    bytes.extend_from_slice(&leaf);
    if let Some(image) = image {
        record = record.begin_image(bytes)?;
        bytes.extend_from_slice(&image);
    }
    Ok(record.finish(bytes)?)
}

fn transaction(
    log: &mut Log,
    xid: u64,
    rows: u32,
    shape: &[u8],
    mac: &AuditMac,
) -> Result<(), Box<dyn Error>> {
    let mut chain = TransactionChain::new();
    if xid == 1 {
        let leaf = ShapeLeaf {
            xid,
            position: 0,
            content: shape,
        };
        chain.push(&log.leaf(|out| leaf.encode(out))?);
    }
    let start = chain.count();
    let mut context = Vec::new();
    Context {
        source: ContextSource::Trusted,
        tenant_id: Some("3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
        user_id: Some("3f2504e0-4f89-11d3-9a0c-0305e82c3302"),
        session_id: None,
        service_name: None,
        client_ip: Some("192.0.2.1"),
        user_agent: None,
        authenticated_role: Some("app"),
        session_role: Some("app"),
        current_role: Some("app"),
        application_name: Some("pgbench"),
    }
    .encode(&mut context);
    let id = Shape::shape_id(shape);
    for n in 0..rows {
        let record_id = xid.to_string();
        let leaf = RowLeaf {
            frame: EntryFrame {
                xid,
                position: chain.count(),
                occurred_at: 1,
                context: match chain.count() - start {
                    0 => ContextPlace::Here(&context),
                    back => ContextPlace::Back(back),
                },
                trailer: None,
            },
            operation: Operation::Insert,
            shape: id,
            image_commit: [0; 32],
            record_id: Some(&record_id),
        };
        let end = (n + 1 == rows).then_some(&chain);
        let hash = row(log, &leaf, xid * 1000 + u64::from(n), end, mac)?;
        chain.push(&hash);
    }
    Ok(())
}

fn build(rows: u32) -> Result<Log, Box<dyn Error>> {
    let shape = Shape {
        relation_oid: 1,
        schema: "public".into(),
        table: "accounts".into(),
        columns: Vec::new(),
    }
    .encode_content()?;
    let mac = AuditMac::new(&KEY);
    let mut log = Log::default();
    let mut tree = Tree::new();
    let (root, incarnation) = (tree.root(), [9; 16]);
    log.leaf(|out| {
        IncarnationLeaf {
            incarnation,
            system_identifier: 1,
            database_oid: 1,
            timeline: 1,
            previous_size: 0,
            previous_root: root,
            reason: "created",
            at: 0,
        }
        .encode(out);
    })?;
    let start = Instant::now();
    for xid in 1..=TRANSACTIONS {
        transaction(&mut log, xid, rows, &shape, &mac)?;
    }
    report("encode, commit, hash, chain", log.spans.len(), start);
    let start = Instant::now();
    for span in &log.spans {
        tree.append(leaf_hash(&log.bytes[span.leaf.clone()]));
    }
    let snapshot = Snapshot {
        xmin: TRANSACTIONS + 1,
        xmax: TRANSACTIONS + 1,
        xip: Vec::new(),
    };
    let seal = SealLeaf {
        block_no: 0,
        first_leaf: 0,
        previous_size: 0,
        previous_root: root,
        snapshot_before: Snapshot::default(),
        snapshot_after: snapshot.clone(),
        sealed_at: 0,
    };
    tree.append(log.leaf(|out| seal.encode(out))?);
    log.tiles = tree
        .take_dirty()
        .into_iter()
        .map(|t| ((t.level, t.index), t.hashes))
        .collect();
    report("hash and append to the tree", log.spans.len(), start);
    let mut encoded = Vec::new();
    snapshot.encode(&mut encoded);
    log.blocks.push(BlockInfo {
        block_no: 0,
        first_leaf: 0,
        tree_size: tree.size(),
        root: tree.root(),
        snapshot: encoded,
        sealed_at: 0,
    });
    Ok(log)
}

fn report(what: &str, leaves: usize, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "  {what:<30} {:>10.0} leaves/s  {:>6.3} us/leaf",
        leaves as f64 / seconds,
        seconds * 1e6 / leaves as f64
    );
}

/// What a server does to export a log, and an auditor to verify the export.
fn export(mut log: &Log) -> Result<(), Box<dyn Error>> {
    let size = log.spans.len() as u64;
    let start = Instant::now();
    let header = ExportHeader {
        origin: "example.org/log".into(),
        first_block: 0,
        first_leaf: 0,
        blocks: 1,
        size,
        taken_at: 0,
    };
    let mut writer = ExportWriter::new(header, None, &[], &[], &mut log);
    let mut lines = Vec::new();
    for (index, span) in log.spans.iter().enumerate() {
        let image = span.image.clone().map(|image| &log.bytes[image]);
        writer.leaf(index as u64, &log.bytes[span.leaf.clone()], image, &mut log);
        lines.extend(std::iter::from_fn(|| writer.next_line()));
    }
    writer.finish(&mut log);
    lines.extend(std::iter::from_fn(|| writer.next_line()));
    report("export", log.spans.len(), start);
    for _ in 0..3 {
        let mut violations = 0;
        let mut count = |_| violations += 1;
        let options = Options {
            audit_keys: vec![(*b"auditkey", KEY.into())],
            ..Options::default()
        };
        let start = Instant::now();
        let mut verifier = ExportVerifier::new(options, &mut count);
        for line in &lines {
            verifier.line(line.as_bytes(), &mut |_, _, _| {})?;
        }
        let summary = verifier.finish()?;
        report("verify the export", log.spans.len(), start);
        if summary.verified.leaves != size || violations != 0 {
            return Err("the export does not verify".into());
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    for rows in [1, 3, 100] {
        println!("{rows} rows a transaction");
        let log = build(rows)?;
        for _ in 0..3 {
            let mut violations = 0;
            let mut count = |_| violations += 1;
            let options = Options {
                audit_keys: vec![(*b"auditkey", KEY.into())],
                ..Options::default()
            };
            let start = Instant::now();
            let mut verifier = Verifier::new(&log, options, &mut count);
            for (index, span) in log.spans.iter().enumerate() {
                let image = span.image.clone().map(|image| &log.bytes[image]);
                verifier.leaf(index as u64, &log.bytes[span.leaf.clone()], image);
            }
            let summary = verifier.finish(log.spans.len() as u64);
            report("verify", log.spans.len(), start);
            if summary.violations != 0 || violations != 0 {
                return Err("the log does not verify".into());
            }
        }
        export(&log)?;
        // the same record as one copy, for comparison with writing in place
        let start = Instant::now();
        let mut out = Vec::with_capacity(log.bytes.len());
        for span in &log.spans {
            let image = span.image.clone().map(|image| &log.bytes[image]);
            push_record(&mut out, &log.bytes[span.leaf.clone()], image)?;
        }
        black_box(&out);
        report("copy records", log.spans.len(), start);
    }
    Ok(())
}
