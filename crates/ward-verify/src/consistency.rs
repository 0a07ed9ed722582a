//! The verification that one checkpoint extends another.

use crate::args::Consistency;
use crate::failure::Failure;
use crate::outcome::{self, Verdict, shown};
use crate::trust::{Held, Keys};
use crate::{input, time};
use serde::Serialize;
use std::fmt;
use std::path::Path;
use ward_log::{AddCheckpoint, verify_consistency};

/// What connects two checkpoints: a proof, and the newer of them.
pub struct Link {
    request: AddCheckpoint,
    /// The checkpoint in it.
    pub new: Held,
}

impl Link {
    /// Reads a request to a witness.
    pub fn read(file: &Path, keys: &Keys) -> Result<Self, Failure> {
        let name = file.display().to_string();
        let request = AddCheckpoint::parse(&input::note(file)?)
            .map_err(|error| Failure::input(&name, error))?;
        let new = keys.open(&name, &request.checkpoint)?;
        Ok(Self { request, new })
    }

    /// The size it begins with.
    pub fn old_size(&self) -> u64 {
        self.request.old_size
    }

    /// Whether the proof shows that the newer checkpoint extends this one, which has the old size.
    pub fn extends(&self, old: &Held) -> bool {
        let new = &self.new.checkpoint;
        verify_consistency(
            (old.checkpoint.size, &old.checkpoint.root),
            (new.size, &new.root),
            &self.request.proof,
        )
    }
}

#[derive(Serialize)]
struct Outcome {
    verdict: Verdict,
    verified_at: String,
    old_origin: String,
    old_size: u64,
    new_origin: String,
    new_size: u64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verdict,
            old_size,
            new_size,
            ..
        } = self;
        match verdict {
            Verdict::Tampered => writeln!(
                f,
                "{verdict}: nothing shows that the log of {new_size} entries extends that of {old_size}; \
                 either one of its histories was rewritten, or the proof is another one's"
            )?,
            _ => writeln!(
                f,
                "{verdict}: the log of {new_size} entries extends that of {old_size}"
            )?,
        }
        writeln!(f, "  older  {}", shown(&self.old_origin))?;
        writeln!(f, "  newer  {}", shown(&self.new_origin))
    }
}

/// Verifies, prints the outcome, and returns the verdict.
pub fn run(args: &Consistency) -> Result<Verdict, Failure> {
    let keys = Keys::parse(&args.keys)?;
    let old = keys.open_file(&args.old)?;
    let link = Link::read(&args.file, &keys)?;
    if link.old_size() != old.checkpoint.size {
        return Err(Failure::input(
            args.file.display(),
            format!(
                "the proof begins with {} entries, the older checkpoint has {}",
                link.old_size(),
                old.checkpoint.size
            ),
        ));
    }
    let verdict = if !link.extends(&old) {
        Verdict::Tampered
    } else if link.new.cosignatures.is_empty() {
        Verdict::Anchored
    } else {
        Verdict::Cosigned
    };
    let outcome = Outcome {
        verdict,
        verified_at: time::text(time::now()),
        old_origin: old.checkpoint.origin,
        old_size: old.checkpoint.size,
        new_origin: link.new.checkpoint.origin,
        new_size: link.new.checkpoint.size,
    };
    outcome::print(&outcome, args.json)?;
    Ok(verdict)
}
