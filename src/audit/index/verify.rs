//! Comparing the index with the leaves it was made from.

use super::pairs::{self, Run};
use super::{build, gaps, runs};
use crate::audit::{find, store};
use crate::pg::owner;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::ops::Range;

/// What is wrong with the index.
struct Finding {
    leaves: Range<u64>,
    problem: &'static str,
}

fn findings() -> Vec<Finding> {
    let size = store::last_block().map_or(0, |block| block.tree_size);
    let mut found = Vec::new();
    let mut covered: Vec<Range<u64>> = Vec::new();
    let mut present = runs::present();
    present.sort_unstable_by_key(|run| run.leaves().start);
    for run in present {
        pgrx::check_for_interrupts!();
        let problem = if run.leaves().end > size {
            Some("indexed, but not sealed")
        } else {
            covered.push(run.leaves());
            different(run)
        };
        found.extend(problem.map(|problem| Finding {
            leaves: run.leaves(),
            problem,
        }));
    }
    let missing = gaps(covered, size - size % Run::LEAST).into_iter();
    let missing = missing.filter(|gap| find::is_there(gap.clone()));
    found.extend(missing.map(|leaves| Finding {
        leaves,
        problem: "not indexed",
    }));
    found
}

fn different(run: Run) -> Option<&'static str> {
    const DAMAGED: &str = "a page of the index is missing or damaged";
    let stored = runs::pages_of(run);
    let mut pairs = Vec::new();
    if !pairs::read(&stored, 0, pairs::END, &mut pairs) {
        return Some(DAMAGED);
    }
    let laid_out = stored == pairs::pages(&pairs);
    let expected = build::pairs_of(run);
    if pairs != expected {
        // what was pruned since is no harm
        pairs.retain(|pair| {
            let leaf = run.leaf(*pair);
            find::is_there(leaf..leaf + 1)
        });
    }
    match (pairs == expected, laid_out) {
        (true, true) => None,
        (true, false) => Some(DAMAGED),
        (false, _) => Some("the index is not that of the entries"),
    }
}

/// Compares the index with the leaves: a row for every part of the log where they differ.
#[pg_extern(parallel_unsafe)]
fn verify_audit_index() -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(first_entry, i64),
            name!(entries, i64),
            name!(problem, String),
        ),
    >,
    ErrorReport,
> {
    let found = if owner::table(c"audit_log").is_some() {
        owner::run(findings)
    } else {
        Vec::new()
    };
    let row = |finding: Finding| {
        (
            finding.leaves.start as i64,
            (finding.leaves.end - finding.leaves.start) as i64,
            finding.problem.to_owned(),
        )
    };
    Ok(TableIterator::new(found.into_iter().map(row)))
}
