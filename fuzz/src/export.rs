//! Exports, which an auditor is handed by those he audits.

use std::collections::BTreeMap;

use ward_log::{
    BlockInfo, ExportError, ExportHeader, ExportSummary, ExportVerifier, ExportWriter, Hash,
    LogSource, Options, Records, Tree, leaf_hash,
};

type Leaves = Vec<(u64, Vec<u8>, Option<Vec<u8>>)>;

/// A log of one block, and its tree.
struct Log {
    leaves: Leaves,
    tiles: BTreeMap<(u8, u64), Vec<Hash>>,
    block: BlockInfo,
}

impl LogSource for Log {
    fn tile(&mut self, level: u8, index: u64) -> Option<Vec<Hash>> {
        self.tiles.get(&(level, index)).cloned()
    }

    fn block(&mut self, block_no: u64) -> Option<BlockInfo> {
        (block_no == 0).then(|| self.block.clone())
    }
}

impl Log {
    /// The log of these leaves.
    fn new(leaves: impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)>) -> Self {
        let (mut tree, mut kept) = (Tree::new(), Leaves::new());
        for (index, (leaf, image)) in (0..).zip(leaves) {
            tree.append(leaf_hash(&leaf));
            kept.push((index, leaf, image));
        }
        let tiles = tree.take_dirty().into_iter();
        Self {
            leaves: kept,
            tiles: tiles
                .map(|tile| ((tile.level, tile.index), tile.hashes))
                .collect(),
            block: BlockInfo {
                block_no: 0,
                first_leaf: 0,
                tree_size: tree.size(),
                root: tree.root(),
                snapshot: Vec::new(),
                sealed_at: 7,
            },
        }
    }

    fn export(mut self) -> Vec<String> {
        let header = ExportHeader {
            origin: crate::seeds::ORIGIN.into(),
            first_block: 0,
            first_leaf: 0,
            blocks: 1,
            size: self.block.tree_size,
            taken_at: 7,
        };
        let leaves = std::mem::take(&mut self.leaves);
        let mut writer = ExportWriter::new(header, None, &[], &[], &mut self);
        for (index, leaf, image) in &leaves {
            writer.leaf(*index, leaf, image.as_deref(), &mut self);
        }
        writer.finish(&mut self);
        std::iter::from_fn(|| writer.next_line()).collect()
    }
}

/// An export of these leaves, each with this image.
pub fn written(leaves: &[Vec<u8>], image: &[u8]) -> Vec<u8> {
    let leaves = leaves
        .iter()
        .map(|leaf| (leaf.clone(), Some(image.to_vec())));
    let mut text = Log::new(leaves).export().join("\n").into_bytes();
    text.push(b'\n');
    text
}

fn read<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    heads: Vec<(u64, Hash)>,
) -> Result<(ExportSummary, Leaves), ExportError> {
    let options = Options {
        heads,
        ..Options::default()
    };
    let mut report = |_| {};
    let mut verifier = ExportVerifier::new(options, &mut report);
    let mut leaves = Leaves::new();
    for line in lines {
        verifier.line(line, &mut |index, leaf, image| {
            leaves.push((index, leaf.to_vec(), image.map(<[u8]>::to_vec)));
        })?;
    }
    Ok((verifier.finish()?, leaves))
}

/// The bytes as an export; and as the records of a log that is exported, and its export damaged.
pub fn export(bytes: &[u8]) {
    let _ = read(bytes.split(|byte| *byte == b'\n'), vec![(1, [7; 32])]);

    let Some((place, records)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let records = Records::new(records).map_while(Result::ok);
    let records = records.map(|one| (one.leaf.to_vec(), one.image.map(<[u8]>::to_vec)));
    let log = Log::new(records);
    let (size, root, stored) = (log.block.tree_size, log.block.root, log.leaves.clone());
    let lines = log.export();
    let (summary, leaves) = read(lines.iter().map(|line| line.as_bytes()), vec![(size, root)])
        .expect("what was exported can be read");
    assert_eq!(leaves, stored);
    assert_eq!((summary.header.size, summary.verified.size), (size, size));

    let mut damaged = lines.join("\n").into_bytes();
    let at = usize::from(u16::from_be_bytes(*place));
    let (at, bit) = (at % damaged.len(), at % 7);
    damaged[at] ^= 1 << bit;
    assert!(read(damaged.split(|byte| *byte == b'\n'), Vec::new()).is_err());
}
