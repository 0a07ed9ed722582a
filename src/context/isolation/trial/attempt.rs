//! The attempts.

use super::super::table::Table;
use super::subject::Subject;
use super::target::{Attempted, Target};
use super::verdict::{Line, changed, found, line, own_row, untried, written};
use crate::context::state::Unlatched;
use crate::error;
use crate::pg::context as setting;
use crate::pg::context::trial::{self, Argument, Sample};
use crate::pg::owner;

/// One side trying to get at the rows of the other.
pub struct Direction<'a> {
    pub target: &'a Target,
    pub names: [&'static str; 2],
    pub acting: &'a Subject,
    pub other: &'a Subject,
    pub own: Option<&'a Sample>,
    pub theirs: Option<&'a Sample>,
    pub unlatched: &'a Unlatched,
}

impl Direction<'_> {
    pub fn all(&self) -> Vec<Line> {
        let [a, b] = self.names;
        let target = self.target;
        let read = format!(
            "SELECT FROM {} WHERE tableoid = $1 AND ctid = $2",
            target.name
        );
        let mut lines = vec![match self.own {
            None => untried(format!("{a} reads its own row"), a),
            Some(own) => own_row(format!("{a} reads its own row"), self.found(&read, own)),
        }];
        let reads = format!("{a} reads a row of {b}");
        let changes = format!("{a} changes a row of {b}");
        let deletes = format!("{a} deletes a row of {b}");
        match self.theirs {
            None => lines.extend([reads, changes, deletes].map(|attempt| untried(attempt, b))),
            Some(theirs) => {
                // One row can be hidden where others are not.
                let seen = match self.found(&read, theirs) {
                    Attempted::Done(0) => self.found_foreign(),
                    other => other,
                };
                lines.push(found(reads, seen));
                if theirs.table != target.oid
                    && let Ok(partition) = Table::find(theirs.table)
                {
                    let direct = format!(
                        "SELECT FROM ONLY {} WHERE tableoid = $1 AND ctid = $2",
                        partition.name
                    );
                    lines.push(found(
                        format!("{a} reads a row of {b} in its partition"),
                        self.found(&direct, theirs),
                    ));
                }
                if let Some(column) = &target.updatable {
                    let update = format!(
                        "UPDATE {} SET {column} = {column} WHERE tableoid = $1 AND ctid = $2",
                        target.name
                    );
                    lines.push(changed(changes, self.found(&update, theirs)));
                }
                let delete = format!(
                    "DELETE FROM {} WHERE tableoid = $1 AND ctid = $2",
                    target.name
                );
                lines.push(changed(deletes, self.found(&delete, theirs)));
            }
        }
        let inserts = format!("{a} inserts a row for {b}");
        let moves = format!("{a} gives its row to {b}");
        match (self.own, self.theirs) {
            (Some(own), Some(theirs)) => {
                let rows = [
                    Argument::Row(own, target.row_type),
                    Argument::Row(theirs, target.row_type),
                ];
                lines.push(written(inserts, self.landed(&target.insert(), &rows)));
                let rows = [
                    Argument::Table(own),
                    Argument::Place(own),
                    Argument::Row(theirs, target.row_type),
                ];
                lines.push(written(moves, self.landed(&target.give_away(), &rows)));
            }
            (own, _) => {
                let missing = if own.is_none() { a } else { b };
                lines.extend([inserts, moves].map(|attempt| untried(attempt, missing)));
            }
        }
        lines
    }

    /// How many rows a statement finds, of the one sample it looks for.
    fn found(&self, statement: &str, sample: &Sample) -> Attempted<u64> {
        let arguments = [Argument::Table(sample), Argument::Place(sample)];
        self.target
            .attempt(statement, &arguments, || self.act(self.acting), |rows| rows)
    }

    /// Whether any row is found that is not the acting side's.
    fn found_foreign(&self) -> Attempted<u64> {
        let statement = format!(
            "SELECT FROM {} WHERE ({}) IS NOT TRUE LIMIT 1",
            self.target.name, self.target.condition
        );
        let seen = self
            .target
            .attempt(&statement, &[], || self.act(self.acting), |rows| rows);
        match seen {
            // The role may read the row that was looked for, but not the columns that say whose rows are.
            Attempted::NoPrivilege => Attempted::Done(0),
            seen => seen,
        }
    }

    /// Whether a statement leaves a row behind that belongs to the other side.
    fn landed(&self, statement: &str, rows: &[Argument]) -> Attempted<bool> {
        let theirs = format!(
            "SELECT FROM {} WHERE xmin = $1 AND {}",
            self.target.name, self.target.condition
        );
        self.target.attempt(
            statement,
            rows,
            || self.act(self.acting),
            |_| {
                let xid = Argument::Xid(trial::subtransaction_xid());
                self.act(self.other);
                owner::as_owner_of(self.target.oid, || trial::run(&theirs, &[xid])) > 0
            },
        )
    }

    fn act(&self, subject: &Subject) {
        self.unlatched.next();
        if let Err(report) = subject.enter() {
            error::raise(report);
        }
    }
}

/// What somebody can do for whom no context was set.
pub fn without_context(
    target: &Target,
    sample: Option<&Sample>,
    unlatched: &Unlatched,
) -> Vec<Line> {
    let reads = "reads without a context".to_owned();
    let inserts = "inserts without a context".to_owned();
    let Some(sample) = sample else {
        return [reads, inserts]
            .map(|attempt| untried(attempt, "neither"))
            .into();
    };
    let act = || {
        unlatched.next();
        if let Err(report) = setting::clear() {
            error::raise(report);
        }
    };
    let read = format!("SELECT FROM {} LIMIT 1", target.name);
    let row = || Argument::Row(sample, target.row_type);
    vec![
        found(reads, target.attempt(&read, &[], act, |rows| rows)),
        written(
            inserts,
            target.attempt(&target.insert(), &[row(), row()], act, |rows| rows > 0),
        ),
    ]
}

/// Row level security does not apply to TRUNCATE: the right itself is what counts.
pub fn truncate(target: &Target) -> Line {
    let attempt = "truncates the table".to_owned();
    if target.may_truncate {
        let detail = "the role holds TRUNCATE, to which no policy applies";
        line(attempt, "allowed", Some(false), Some(detail))
    } else {
        line(attempt, "no privilege", Some(true), None)
    }
}
