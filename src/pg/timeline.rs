//! What PostgreSQL wrote down about how a timeline began.

use super::process;
use std::fs;

/// The target at which the recovery ended that began `timeline`, in PostgreSQL's words; None when it had no target,
/// as when a standby is promoted, or when nothing is written down.
pub fn recovery_target(timeline: u32) -> Option<String> {
    let file = process::data_directory()
        .join("pg_wal")
        .join(format!("{timeline:08X}.history"));
    let text = fs::read(file).ok()?;
    reason(&String::from_utf8_lossy(&text))
}

/// The last line says where and why the timeline before was left.
fn reason(history: &str) -> Option<String> {
    let last = history
        .lines()
        .rfind(|line| !line.trim().is_empty() && !line.starts_with('#'))?;
    let reason = last.splitn(3, '\t').nth(2)?.trim();
    let printable = |c: char| if c.is_control() { '?' } else { c };
    (!reason.is_empty() && !reason.starts_with("no recovery target"))
        .then(|| reason.chars().map(printable).collect())
}
