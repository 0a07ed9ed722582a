//! Proofs as text: C2SP tlog-proof, and the request a log sends to a witness (C2SP tlog-witness).

use base64::{Engine, engine::general_purpose::STANDARD};
use thiserror::Error;

use crate::hash::Hash;

const PROOF: &str = "c2sp.org/tlog-proof@v1";
/// A tree of 2^64 leaves has proofs of 64 hashes; a witness takes at most 63 (C2SP tlog-witness).
const MAX_PROOF_HASHES: usize = 63;
/// The longest text that is read: a leaf with its image, and a checkpoint.
const MAX_TEXT_LEN: usize = 0x4000_0000;

/// Why a text is no proof or request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TlogError {
    /// The first line is not the format's name.
    #[error("the text is not a c2sp.org/tlog-proof@v1")]
    NotAProof,
    /// The first line is not an old size.
    #[error("the text does not begin with a line \"old <size>\"")]
    NotARequest,
    /// The index or size is not a decimal number without leading zeros.
    #[error("a number is not a decimal without leading zeros")]
    BadNumber,
    /// The extra data are not base64.
    #[error("the extra data are not base64")]
    BadExtra,
    /// A line between header and checkpoint is not a hash.
    #[error("a line of the proof is not the base64 of 32 bytes")]
    BadHash,
    /// There are more hashes than any tree needs.
    #[error("the proof has more than 63 hashes")]
    TooManyHashes,
    /// The empty line and the checkpoint after it are missing.
    #[error("no checkpoint follows the proof")]
    NoCheckpoint,
    /// The text is longer than any proof.
    #[error("the text is too long")]
    TooLong,
}

/// A proof that a leaf lies in the tree of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Data for the application, not authenticated: here the leaf, framed as a journal record.
    pub extra: Option<Vec<u8>>,
    /// The leaf's index.
    pub index: u64,
    /// The inclusion proof.
    pub proof: Vec<Hash>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: String,
}

impl TlogProof {
    /// The proof as text.
    pub fn to_text(&self) -> String {
        let mut text = format!("{PROOF}\n");
        if let Some(extra) = &self.extra {
            text.push_str("extra ");
            STANDARD.encode_string(extra, &mut text);
            text.push('\n');
        }
        text.push_str(&format!("index {}\n", self.index));
        put_hashes(&mut text, &self.proof);
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads a proof; verifies nothing.
    pub fn parse(text: &str) -> Result<Self, TlogError> {
        let mut lines = Lines::new(text)?;
        if lines.next() != Some(PROOF) {
            return Err(TlogError::NotAProof);
        }
        let mut line = lines.next().ok_or(TlogError::BadNumber)?;
        let mut extra = None;
        if let Some(data) = line.strip_prefix("extra ") {
            extra = Some(STANDARD.decode(data).map_err(|_| TlogError::BadExtra)?);
            line = lines.next().ok_or(TlogError::BadNumber)?;
        }
        let index = line.strip_prefix("index ").ok_or(TlogError::BadNumber)?;
        Ok(Self {
            extra,
            index: number(index)?,
            proof: lines.hashes()?,
            checkpoint: lines.checkpoint()?,
        })
    }
}

/// A log's request that a witness cosign a checkpoint: the body of `add-checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the last checkpoint that the witness cosigned.
    pub old_size: u64,
    /// The proof of consistency from there.
    pub proof: Vec<Hash>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: String,
}

impl AddCheckpoint {
    /// The request as text.
    pub fn to_text(&self) -> String {
        let mut text = format!("old {}\n", self.old_size);
        put_hashes(&mut text, &self.proof);
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads a request; verifies nothing.
    pub fn parse(text: &str) -> Result<Self, TlogError> {
        let mut lines = Lines::new(text)?;
        let old = lines
            .next()
            .and_then(|line| line.strip_prefix("old "))
            .ok_or(TlogError::NotARequest)?;
        Ok(Self {
            old_size: number(old)?,
            proof: lines.hashes()?,
            checkpoint: lines.checkpoint()?,
        })
    }
}

fn put_hashes(text: &mut String, hashes: &[Hash]) {
    for hash in hashes {
        STANDARD.encode_string(hash, text);
        text.push('\n');
    }
    text.push('\n');
}

/// A decimal without sign and leading zeros.
pub(crate) fn number(text: &str) -> Result<u64, TlogError> {
    let decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    if !decimal || (text.len() > 1 && text.starts_with('0')) {
        return Err(TlogError::BadNumber);
    }
    // an empty text does not parse
    text.parse().map_err(|_| TlogError::BadNumber)
}

struct Lines<'a> {
    rest: &'a str,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Result<Self, TlogError> {
        if text.len() > MAX_TEXT_LEN {
            return Err(TlogError::TooLong);
        }
        Ok(Self { rest: text })
    }

    fn next(&mut self) -> Option<&'a str> {
        let (line, rest) = self.rest.split_once('\n')?;
        self.rest = rest;
        Some(line)
    }

    /// The lines up to the empty one.
    fn hashes(&mut self) -> Result<Vec<Hash>, TlogError> {
        let mut hashes = Vec::new();
        loop {
            let line = self.next().ok_or(TlogError::NoCheckpoint)?;
            if line.is_empty() {
                return Ok(hashes);
            }
            if hashes.len() == MAX_PROOF_HASHES {
                return Err(TlogError::TooManyHashes);
            }
            let hash = STANDARD.decode(line).ok();
            hashes.push(
                hash.and_then(|hash| hash.try_into().ok())
                    .ok_or(TlogError::BadHash)?,
            );
        }
    }

    fn checkpoint(self) -> Result<String, TlogError> {
        if self.rest.is_empty() {
            return Err(TlogError::NoCheckpoint);
        }
        Ok(self.rest.to_owned())
    }
}
