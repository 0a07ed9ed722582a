//! Images as JSON, for reading the trail in SQL.

use ward_log::{ColumnKind, Shape, Value, Values};

/// What stands for the value of a redacted column.
const REDACTED: &str = "\"[redacted]\"";

/// The values as a JSON object, with the column names of `shape`.
pub fn json(values: &Values, shape: &Shape) -> String {
    let mut out = String::from("{");
    for (attnum, value) in values.clone() {
        let column = shape.columns.iter().find(|column| column.attnum == attnum);
        if out.len() > 1 {
            out.push(',');
        }
        match column {
            Some(column) => push_string(&mut out, &column.name),
            None => push_string(&mut out, &format!("column {attnum}")),
        }
        out.push(':');
        let kind = column.map_or(ColumnKind::Text, |column| column.kind);
        match value {
            Value::Null => out.push_str("null"),
            Value::RedactedUnchanged | Value::RedactedChanged => out.push_str(REDACTED),
            Value::Bytes(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                if kind != ColumnKind::Text && is_json(&text) {
                    out.push_str(&text);
                } else {
                    push_string(&mut out, &text);
                }
            }
        }
    }
    out.push('}');
    out
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

/// NaN and the infinities are numbers to PostgreSQL, but not to JSON.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn push_string(out: &mut String, text: &str) {
    // jsonb cannot hold U+0000; text from PostgreSQL never has it, tampered bytes may.
    out.push_str(&serde_json::Value::from(text.replace('\0', "\u{FFFD}")).to_string());
}
