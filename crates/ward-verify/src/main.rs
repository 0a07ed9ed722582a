//! Verifies an exported audit trail of pg_ward without trusting the server it came from. `docs/verify.md` is the
//! manual.
#![forbid(unsafe_code)]

mod args;
mod audit_key;
mod check;
mod consistency;
mod failure;
mod input;
mod judge;
mod outcome;
mod pipeline;
mod plot;
mod proof;
mod removed;
mod report;
mod statistics;
mod time;
mod trail;
mod trust;
mod witness;

use args::{Args, Command};
use clap::Parser;
use failure::Failure;
use outcome::Verdict;
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = run(Args::parse().command);
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("ward-verify: {failure}");
            ExitCode::from(Failure::CODE)
        }
    }
}

/// Does what was asked for; returns the exit code.
fn run(command: Command) -> Result<u8, Failure> {
    let verdict: Verdict = match command {
        Command::Check(args) => check::run(&args)?,
        Command::Report(args) => report::run(&args)?,
        Command::Proof(args) => proof::run(&args)?,
        Command::Consistency(args) => consistency::run(&args)?,
        Command::Witness(args) => return witness::run(&args),
        Command::AuditKey(args) => return audit_key::run(&args),
        Command::Keygen(args) => return witness::keygen(&args),
    };
    Ok(verdict.exit_code())
}
