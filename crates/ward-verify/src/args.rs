//! The command line.

use clap::{Args as Group, Parser, Subcommand};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Verifies an exported audit trail of pg_ward without trusting the server it came from.
///
/// Public keys and checkpoints are taken from the arguments only, never from an export. Exit code: 0 anchored or
/// cosigned, 1 tampered or restored undeclared, 2 wrong usage or nothing could be verified, 3 consistent but unanchored,
/// 4 restored as declared, lost at a failover, or left before a partial export begins.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Verify a whole trail, against every checkpoint given
    Check(Check),
    /// Verify a trail and write one static HTML page about it
    Report(Report),
    /// Verify the proof of one entry (C2SP tlog-proof)
    Proof(Proof),
    /// Verify that one checkpoint extends another
    Consistency(Consistency),
    /// Cosign the checkpoint of a request on standard input (C2SP tlog-witness, add-checkpoint)
    Witness(Witness),
    /// Make the signing key of a witness and print its public key
    Keygen(Keygen),
    /// Unwrap a log's audit key, for --audit-key. Standard input: a line "key version wrapped" for each version, as
    /// docs/verify.md gets them from a server
    AuditKey(AuditKey),
}

/// Where the trail comes from.
#[derive(Group)]
#[group(required = true, multiple = false)]
pub struct Source {
    /// An export made by ward.export_audit_trail(); "-" reads standard input
    pub export: Option<PathBuf>,
    /// Read the trail from a server: a libpq connection string, such as "host=/run/postgresql dbname=app user=auditor"
    #[arg(long, value_name = "CONNECTION")]
    pub server: Option<String>,
}

/// What is relied on.
#[derive(Group)]
pub struct Trust {
    /// A public key: of the log (ward.audit_public_key()) or of a witness. May be repeated
    #[arg(long = "key", value_name = "VKEY")]
    pub keys: Vec<String>,
    /// A checkpoint that was kept outside the server. May be repeated
    #[arg(long = "checkpoint", value_name = "FILE")]
    pub checkpoints: Vec<PathBuf>,
}

/// How a trail is verified.
#[derive(Group)]
pub struct Check {
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub trust: Trust,
    /// Audit keys in hexadecimal, a line each: checks the writers' MACs, too
    #[arg(long, value_name = "FILE")]
    pub audit_key: Option<PathBuf>,
    /// Accept an export that does not begin with the log's first entry, or an archive, which ends before the log
    #[arg(long)]
    pub partial: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
    /// How many findings to show; all are counted
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub max_findings: usize,
    /// How many threads work; as many as there are processors unless given. The outcome is the same
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
}

/// How a report is made.
#[derive(Group)]
pub struct Report {
    #[command(flatten)]
    pub check: Check,
    /// The page to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// How a proof is verified.
#[derive(Group)]
pub struct Proof {
    /// The proof, made by ward.audit_proof()
    pub file: PathBuf,
    #[command(flatten)]
    pub trust: Trust,
    /// A request made by ward.audit_witness_request(), that connects a given checkpoint with the proof's. May be repeated
    #[arg(long = "consistency", value_name = "FILE")]
    pub consistency: Vec<PathBuf>,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

/// How consistency is verified.
#[derive(Group)]
pub struct Consistency {
    /// A request made by ward.audit_witness_request(): old size, proof and new checkpoint
    pub file: PathBuf,
    /// The older checkpoint
    #[arg(long, value_name = "FILE")]
    pub old: PathBuf,
    /// A public key: of the log or of a witness. May be repeated
    #[arg(long = "key", value_name = "VKEY", required = true)]
    pub keys: Vec<String>,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

/// How a witness is run.
#[derive(Group)]
pub struct Witness {
    /// The last checkpoint cosigned; replaced when a new one is
    #[arg(long, value_name = "FILE")]
    pub state: PathBuf,
    /// The public key of the log
    #[arg(long, value_name = "VKEY")]
    pub key: String,
    /// The witness's signing key, made by "ward-verify keygen"
    #[arg(long, value_name = "FILE")]
    pub signing_key: PathBuf,
    /// Begin: there is no state yet
    #[arg(long)]
    pub new: bool,
}

/// How a witness's key is made.
#[derive(Group)]
pub struct Keygen {
    /// The witness's name: a URL without scheme that nobody else uses, such as "audit.example.com/witness"
    #[arg(long)]
    pub name: String,
    /// The file to make
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// How audit keys are unwrapped.
#[derive(Group)]
pub struct AuditKey {
    /// The server's master keys, as in ward.master_key_file
    #[arg(long, value_name = "FILE")]
    pub master_key: PathBuf,
    /// The file to make
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}
