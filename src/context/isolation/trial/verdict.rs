//! What the outcome of an attempt says about isolation.

use super::target::Attempted;
use crate::pg::context::trial::Failure;

/// One row of the report.
pub struct Line {
    attempt: String,
    outcome: &'static str,
    isolated: Option<bool>,
    detail: Option<String>,
}

impl Line {
    pub fn cells(self) -> (String, String, Option<bool>, Option<String>) {
        (
            self.attempt,
            self.outcome.to_owned(),
            self.isolated,
            self.detail,
        )
    }
}

pub fn line(
    attempt: String,
    outcome: &'static str,
    isolated: Option<bool>,
    detail: Option<&str>,
) -> Line {
    Line {
        attempt,
        outcome,
        isolated,
        detail: detail.map(str::to_owned),
    }
}

pub fn untried(attempt: String, side: &str) -> Line {
    let detail = match side {
        "neither" => "neither context has a row".to_owned(),
        side => format!("context {side} has no row that could be locked"),
    };
    line(attempt, "no row to try with", None, Some(&detail))
}

pub fn own_row(attempt: String, result: Attempted<u64>) -> Line {
    let detail = "the attempts that follow prove little: the role does not see its own row either";
    match result {
        Attempted::Done(0) => line(attempt, "hidden", None, Some(detail)),
        Attempted::Done(_) => line(attempt, "visible", Some(true), None),
        Attempted::NoPrivilege => line(attempt, "no privilege", None, Some(detail)),
        other => stopped(attempt, other),
    }
}

pub fn found(attempt: String, result: Attempted<u64>) -> Line {
    match result {
        Attempted::Done(0) => line(attempt, "hidden", Some(true), None),
        Attempted::Done(_) => line(attempt, "visible", Some(false), None),
        other => stopped(attempt, other),
    }
}

pub fn changed(attempt: String, result: Attempted<u64>) -> Line {
    match result {
        Attempted::Done(0) => line(attempt, "hidden", Some(true), None),
        Attempted::Done(_) => line(attempt, "done", Some(false), None),
        // A constraint is checked only when there is a row.
        Attempted::Failed(failure) if failure.code.starts_with("23") => passed(attempt, &failure),
        other => stopped(attempt, other),
    }
}

pub fn written(attempt: String, result: Attempted<bool>) -> Line {
    match result {
        Attempted::Done(true) => line(attempt, "done", Some(false), None),
        Attempted::Done(false) => {
            let detail = "nothing was written for the other context";
            line(attempt, "no effect", Some(true), Some(detail))
        }
        // These check a row after its policies.
        Attempted::Failed(failure)
            if failure.code.starts_with("23")
                && [
                    "ExecConstraints",
                    "ReportNotNullViolationError",
                    "_bt_check_unique",
                    "check_exclusion_or_unique_constraint",
                    "ri_ReportViolation",
                ]
                .contains(&failure.routine.as_str()) =>
        {
            passed(attempt, &failure)
        }
        other => stopped(attempt, other),
    }
}

/// Only a constraint stood in the way.
fn passed(attempt: String, failure: &Failure) -> Line {
    let detail = format!(
        "no policy refused it; a constraint did (SQLSTATE {})",
        failure.code
    );
    line(attempt, "passed the policies", Some(false), Some(&detail))
}

fn stopped<T>(attempt: String, result: Attempted<T>) -> Line {
    match result {
        Attempted::RefusedByPolicy => line(attempt, "refused by a policy", Some(true), None),
        Attempted::NoPrivilege => line(attempt, "no privilege", Some(true), None),
        Attempted::Failed(failure) => {
            let detail = format!(
                "SQLSTATE {}: this says nothing about isolation",
                failure.code
            );
            line(attempt, "error", None, Some(&detail))
        }
        Attempted::Done(_) => line(attempt, "done", None, None),
    }
}
