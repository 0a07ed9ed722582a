//! The report: one static HTML page without scripts or external resources. Every text of the log goes through the
//! template's escaping.

use crate::args::Report;
use crate::failure::Failure;
use crate::outcome::{self, Outcome, Verdict, shown};
use crate::plot;
use crate::statistics::Statistics;
use maud::{DOCTYPE, Markup, html};
use std::fs;

/// More tables than these are shown in the table only.
const MAX_BARS: usize = 40;
const COLOURS: [&str; 4] = ["#2a7f62", "#3b6ea8", "#b5651d", "#8b1e3f"];
const OPERATIONS: [&str; 5] = ["insert", "update", "delete", "truncate", "snapshot"];
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2rem}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #ddd;overflow-wrap:anywhere}\
.n{text-align:right;font-variant-numeric:tabular-nums}svg{width:100%}svg text{font-size:12px;fill:#333}\
.verdict{padding:.8rem 1rem;border-radius:.4rem;color:#fff;background:#2a7f62}.tampered,.restored_undeclared{background:#a3162a}\
.unanchored,.restored_declared,.lost_at_failover,.left_before_export{background:#8a6100}code{font-size:.85em}";

/// Verifies, writes the page, prints the outcome, and returns the verdict.
pub fn run(args: &Report) -> Result<Verdict, Failure> {
    let mut statistics = Statistics::default();
    let outcome = crate::check::verify(&args.check, &mut |_, leaf| statistics.leaf(leaf))?;
    let page = page(&outcome, &statistics).into_string();
    fs::write(&args.out, page)
        .map_err(|error| Failure::File(args.out.display().to_string(), error))?;
    outcome::print(&outcome, args.check.json)?;
    Ok(outcome.verdict)
}

fn page(outcome: &Outcome, statistics: &Statistics) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width";
                title { "Audit trail: " (outcome.verdict) }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                h1 { "Verification of an audit trail" }
                p class=(format!("verdict {}", outcome.verdict)) {
                    strong { (outcome.verdict) } ": " (outcome.verdict.meaning())
                }
                (summary(outcome))
                (findings(outcome))
                (checkpoints(outcome))
                (removed(outcome))
                (histories(outcome))
                (restores(outcome))
                (tables(statistics))
                (days(statistics))
                p { "Made by ward-verify " (env!("CARGO_PKG_VERSION")) ". Public keys and checkpoints came from its arguments, \
                    not from the export. That everything which happened was recorded is not shown by any of this." }
            }
        }
    }
}

fn summary(outcome: &Outcome) -> Markup {
    let last = outcome.size.saturating_sub(1);
    html! {
        table {
            tr { th { "Log" } td { (shown(&outcome.origin)) } }
            tr { th { "Exported" } td { (outcome.exported_at) " (as the export says)" } }
            tr { th { "Verified" } td { (outcome.verified_at) } }
            tr { th { "Entries" } td { (outcome.first_entry) " to " (last) ", of which " (outcome.changes) " are changes or events" } }
            @if outcome.first_entry > 0 {
                tr { th { "Before" } td { "The log has " (outcome.first_entry) " entries before these, which were not verified." } }
            }
            @if let Some(size) = outcome.archive_of {
                tr { th { "Behind" } td { "This is an archive of a log that had " (size) " entries later. What lies behind was not verified." } }
            }
            tr { th { "Blocks" } td { (outcome.blocks) } }
            tr { th { "Root" } td { code { (outcome.root) } } }
            tr { th { "Writers" } td {
                @if outcome.writers_checked { "MACs checked with the audit key" }
                @else { "MACs not checked: no audit key was given" }
            } }
            tr { th { "Anchored" } td {
                @match outcome.last_covered_entry {
                    Some(last) => { "up to entry " (last) "; " (outcome.unanchored_tail) " later entries are covered by no checkpoint" }
                    None => { "no entry" }
                }
            } }
            @if let Some(last) = outcome.last_cosigned_entry {
                tr { th { "Cosigned" } td { "up to entry " (last) } }
            }
        }
    }
}

fn findings(outcome: &Outcome) -> Markup {
    html! {
        h2 { "Findings" }
        @if outcome.findings_total == 0 {
            p { "None." }
        } @else {
            p { (outcome.findings_total) " in all" @if outcome.findings.len() as u64 != outcome.findings_total {
                ", of which the first " (outcome.findings.len()) " are shown" } "." }
            table {
                tr { th { "Kind" } th class="n" { "Block" } th class="n" { "Entry" } th { "Detail" } }
                @for finding in &outcome.findings {
                    tr {
                        td { code { (finding.kind) } }
                        td class="n" { (number(finding.block)) }
                        td class="n" { (number(finding.entry)) }
                        td { (shown(&finding.detail)) }
                    }
                }
            }
        }
    }
}

fn checkpoints(outcome: &Outcome) -> Markup {
    html! {
        h2 { "Checkpoints" }
        @if outcome.checkpoints.is_empty() {
            p { "None was given: whoever can write to the database could have rebuilt the log as a whole." }
        } @else {
            table {
                tr { th { "File" } th { "Log" } th class="n" { "Entries" } th { "Cosigned by" } }
                @for anchor in &outcome.checkpoints {
                    tr {
                        td { (shown(&anchor.file)) }
                        td { (shown(&anchor.origin)) }
                        td class="n" { (anchor.size) @if !anchor.compared { " (" (anchor.why_not(outcome.size)) ")" } }
                        td { @for cosignature in &anchor.cosignatures {
                            (shown(&cosignature.witness)) ", " (cosignature.at) br;
                        } }
                    }
                }
            }
        }
    }
}

fn removed(outcome: &Outcome) -> Markup {
    let removed = &outcome.removed;
    html! {
        h2 { "Removed, as the log itself says" }
        @if removed.pruned.is_empty() && removed.erasures == 0 {
            p { "Nothing." }
        }
        @if let Some(entry) = outcome.unanchored_removal {
            p { "Entries up to " (entry) " say so, and no checkpoint given covers them: who wrote them could have left it out." }
        }
        @if !removed.pruned.is_empty() {
            p { (removed.pruned_entries) " entries were pruned. Their hashes are still there and were verified." }
            table {
                tr { th { "Entries" } th class="n" { "Missing" } th class="n" { "Said by entry" } }
                @for range in &removed.pruned {
                    tr {
                        td { (range.first) " to " (range.last) }
                        td class="n" { (range.missing) }
                        td class="n" { (range.entry) }
                    }
                }
            }
        }
        @if removed.erasures > 0 {
            p { "The values of " (removed.erased_values) " entries were erased. That the records were changed, when and by whom is still there." }
            table {
                tr { th { "Table" } th { "Record" } th { "Reason" } th class="n" { "Entries" } th class="n" { "Said by entry" } }
                @for record in &removed.erased {
                    tr {
                        td { (shown(&record.table)) }
                        td { (shown(&record.record_id)) }
                        td { (shown(&record.reason)) }
                        td class="n" { (record.missing) }
                        td class="n" { (record.entry) }
                    }
                }
            }
        }
    }
}

fn histories(outcome: &Outcome) -> Markup {
    html! {
        h2 { "Histories" }
        @if !outcome.earlier_histories.is_empty() {
            p { (outcome.earlier_histories.len()) " began before this export, as it says: not checked." }
        }
        table {
            tr { th class="n" { "From entry" } th { "Reason" } th { "At" } th { "Cluster" } th class="n" { "Database" } }
            @for history in &outcome.histories {
                tr {
                    td class="n" { (history.entry) }
                    td { (shown(&history.reason)) }
                    td { (history.at) }
                    td { (history.system_identifier) ", timeline " (history.timeline) }
                    td class="n" { (history.database_oid) }
                }
            }
        }
    }
}

fn restores(outcome: &Outcome) -> Markup {
    html! {
        @if !outcome.restores.is_empty() {
            h2 { "Declared restores" }
            table {
                tr { th class="n" { "Entry" } th class="n" { "Restored to" } th { "Reason" } th { "By" } th { "At" } }
                @for restore in &outcome.restores {
                    tr {
                        td class="n" { (restore.entry) }
                        td class="n" { (restore.restored_size) " entries" }
                        td { (shown(&restore.reason)) }
                        td { @if let Some(role) = &restore.roles[0] { (shown(role)) } }
                        td { (restore.at) }
                    }
                }
            }
        }
        @if !outcome.key_changes.is_empty() {
            h2 { "Changes of the signing key" }
            table {
                tr { th class="n" { "Entry" } th { "New key" } th { "Signed by both" } }
                @for change in &outcome.key_changes {
                    tr {
                        td class="n" { (change.entry) }
                        td { code { (change.new_key) } }
                        td { @if change.followed { "yes" } @else { "not shown by the checkpoints given" } }
                    }
                }
            }
        }
    }
}

fn tables(statistics: &Statistics) -> Markup {
    let tables: Vec<_> = statistics
        .tables()
        .into_iter()
        .map(|(name, counts)| (shown(&name), counts))
        .collect();
    let bars: Vec<_> = tables
        .iter()
        .take(MAX_BARS)
        .map(|(name, counts)| (name.clone(), counts.to_vec()))
        .collect();
    html! {
        h2 { "Changes per table" }
        @if !bars.is_empty() { (plot::bars(&bars, &COLOURS)) }
        table {
            tr { th { "Table" } @for operation in OPERATIONS { th class="n" { (operation) } } }
            @for (name, counts) in &tables {
                tr { td { (name) } @for count in counts { td class="n" { (count) } } }
            }
        }
    }
}

fn days(statistics: &Statistics) -> Markup {
    let days = statistics.days();
    html! {
        h2 { "Changes per day (UTC)" }
        @if !days.is_empty() { (plot::columns(&days, COLOURS[1])) }
    }
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "\u{2013}".to_owned(), |number| number.to_string())
}
