//! The format of pg_ward's audit log, without PostgreSQL: how leaves, images and journal records are written and
//! read, the Merkle tree over the leaves, signed checkpoints, and the verifier.
//!
//! The crate does no input or output, reads no clock and draws no random bytes: the extension and the offline
//! verifier hand those in, and so run the very same code. `docs/log-format.md` is the specification.
#![forbid(unsafe_code)]

mod chain;
mod checkpoint;
mod cosign;
mod error;
mod export;
mod export_line;
mod export_read;
mod export_verify;
mod hash;
mod image;
mod leaf;
mod note;
mod proof;
mod record;
mod tlog;
mod tree;
mod verification;
pub mod verify;
mod wire;

pub use chain::TransactionChain;
pub use checkpoint::{Checkpoint, CheckpointError, public_key, vkey};
pub use cosign::{WitnessKey, cosigned_at};
pub use error::FormatError;
pub use export::{
    EXPORT_VERSION, ExportError, ExportHead, ExportHeader, ExportOrder, ExportWriter,
    MAX_EXPORT_LINE,
};
pub use export_line::PreparedLine;
pub use export_verify::{ExportSummary, ExportVerifier};
pub use hash::{Hash, empty_root, leaf_hash, node_hash};
pub use image::{Cut, Image, ImageWriter, MAX_IMAGE_LEN, Value, Values, image_commitment};
pub use leaf::{
    AuditMac, Beginning, Column, ColumnKind, Context, ContextPlace, ContextSource, Details,
    EntryFrame, EraseLeaf, EventLeaf, IncarnationLeaf, KeyChangeLeaf, Leaf, MAX_CONTEXT_TEXT_LEN,
    MAX_CONTROL_LEAF_LEN, MAX_DETAILS_LEN, MAX_EVENT_TYPE_LEN, MAX_LEAF_LEN, MAX_NAME_LEN,
    MAX_RECORD_ID_LEN, MAX_TEXT_LEN, MacCheck, Operation, PRUNE_UNIT, PruneLeaf, RestoreLeaf,
    RetentionLeaf, RetentionPolicy, RowLeaf, SealLeaf, Severity, Shape, ShapeLeaf, Snapshot,
    Trailer, ViolationKind, ViolationLeaf, has_trailer, holds_context, record_id_text, record_of,
};
pub use note::{KeyKind, SignedNote, VerifierKey};
pub use proof::{
    ProofError, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion,
};
pub use record::{Record, RecordSpan, RecordWriter, Records, push_record};
pub use tlog::{AddCheckpoint, TlogError, TlogProof};
pub use tree::{TILE_WIDTH, Tile, Tree, TreeError};
pub use verification::Verification;
pub use verify::{
    AuditKeys, BlockInfo, Erased, LogSource, Options, Prepared, Pruned, Summary, Verifier,
    Violation, ViolationType,
};
