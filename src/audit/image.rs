//! Images as JSON, for reading the trail in SQL.
//!
//! Whatever an image holds, the result is something that jsonb takes: one value that it refused
//! would make the whole trail unreadable.

use super::jsonb;
use crate::pg::encoding;
use std::borrow::Cow;
use ward_log::{ColumnKind, Cut, EventLeaf, Shape, Value, Values};

/// What stands for the value of a redacted column.
const REDACTED: &str = "\"[redacted]\"";

/// The longest object that is shown. jsonb holds 256 MB, and its text must fit in 1 GB.
const LIMIT: usize = 0x0FFF_FFFF;

/// The values as a JSON object, with the column names of `shape`.
pub fn json(values: &Values, shape: &Shape) -> String {
    let utf8 = encoding::is_utf8();
    // Text may grow when it is converted to the database's encoding.
    let limit = if utf8 { LIMIT } else { LIMIT / 4 };
    let mut members: Vec<Member> = values
        .clone()
        .map(|(attnum, value)| Member::new(attnum, value, shape, utf8, limit))
        .collect();
    let mut size: usize = members.iter().map(Member::size).sum();
    while size > limit {
        // The largest goes until the rest fits.
        let Some(largest) = members.iter_mut().max_by_key(|member| member.size()) else {
            break;
        };
        let before = largest.size();
        largest.leave_out();
        if largest.size() >= before {
            break;
        }
        size -= before - largest.size();
    }
    let mut out = String::from("{");
    for member in &members {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&member.name);
        out.push(':');
        match &member.shown {
            Shown::As(text) => out.push_str(text),
            Shown::Quoted(text) => out.push_str(&quoted(text)),
        }
    }
    out.push('}');
    out
}

struct Member<'a> {
    name: String,
    /// Length of the value as it was recorded.
    len: usize,
    shown: Shown<'a>,
    /// What jsonb needs for the value, at most.
    cost: usize,
}

enum Shown<'a> {
    /// JSON as it stands.
    As(Cow<'a, str>),
    /// A JSON string, not yet quoted.
    Quoted(Cow<'a, str>),
}

impl<'a> Member<'a> {
    fn new(attnum: u16, value: Value<'a>, shape: &Shape, utf8: bool, limit: usize) -> Self {
        let column = shape.columns.iter().find(|column| column.attnum == attnum);
        let name = match column {
            Some(column) => quoted(&column.name),
            None => quoted(&format!("column {attnum}")),
        };
        let kind = column.map_or(ColumnKind::Text, |column| column.kind);
        let mut member = Member {
            name,
            len: 0,
            shown: Shown::As(Cow::Borrowed("null")),
            cost: 4,
        };
        match value {
            Value::Null => {}
            Value::RedactedUnchanged | Value::RedactedChanged => {
                member.shown = Shown::As(Cow::Borrowed(REDACTED));
            }
            Value::Cut(cut) => {
                let note = cut_note(&cut);
                member.cost = quoted_len(&note);
                member.shown = Shown::Quoted(Cow::Owned(note));
            }
            Value::Bytes(bytes) => {
                member.len = bytes.len();
                // Far too long, or no JSON: never mind what is in it.
                if bytes.len() > limit {
                    member.leave_out();
                    return member;
                }
                let text = String::from_utf8_lossy(bytes);
                match jsonb_cost(&text, kind, utf8).filter(|cost| *cost <= limit / 2) {
                    Some(cost) => {
                        member.cost = cost;
                        member.shown = Shown::As(text);
                    }
                    None => {
                        member.cost = quoted_len(&text);
                        member.shown = Shown::Quoted(text);
                    }
                }
            }
        }
        member
    }

    /// Says how long the value is instead of showing it.
    fn leave_out(&mut self) {
        let note = format!("\"[{} bytes]\"", self.len);
        self.cost = note.len();
        self.shown = Shown::As(Cow::Owned(note));
    }

    fn size(&self) -> usize {
        self.name.len() + self.cost + 16
    }
}

/// What stands for a value that was too long to be kept.
fn cut_note(cut: &Cut) -> String {
    if *cut == Cut::WITHOUT_TEXT {
        return "[cut: a text of more than 1 GB]".to_owned();
    }
    format!(
        "[cut: {} bytes, SHA-256 {}]",
        cut.length,
        hex::encode(cut.sha256)
    )
}

/// What a value that is JSON costs; None when it has to be shown as a string. NaN and the infinities
/// are numbers to PostgreSQL but not to JSON, and jsonb's zero has no sign.
fn jsonb_cost(text: &str, kind: ColumnKind, utf8: bool) -> Option<usize> {
    match kind {
        ColumnKind::Text => None,
        ColumnKind::Number if jsonb::is_negative_zero(text) => None,
        _ => jsonb::cost(text, utf8),
    }
}

/// Names of the columns an update changed: those in its old image.
pub fn changed<'s>(old: &Values, shape: &'s Shape) -> Vec<&'s str> {
    old.clone()
        .filter(|(_, value)| !matches!(value, Value::RedactedUnchanged))
        .filter_map(|(attnum, _)| {
            shape
                .columns
                .iter()
                .find(|column| column.attnum == attnum)
                .map(|c| c.name.as_str())
        })
        .collect()
}

/// An event as a JSON object.
pub fn event(event: &EventLeaf) -> String {
    let text = event.details.as_str();
    // What is no JSON, which only tampering can write, is shown as the text it is.
    let details = match jsonb::cost(text, encoding::is_utf8()) {
        Some(_) => text.to_owned(),
        None => quoted(text),
    };
    format!(
        "{{\"event_type\":{},\"severity\":\"{}\",\"details\":{details}}}",
        quoted(event.event_type),
        event.severity.as_str()
    )
}

/// A JSON string. jsonb cannot hold U+0000: text from PostgreSQL never has it, tampered bytes may.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(without_nul(text).as_ref()).to_string()
}

fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{FFFD}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The length of `quoted`, at most.
fn quoted_len(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
            0..0x20 => 6,
            _ => 1,
        })
        .sum::<usize>()
        + 2
}
