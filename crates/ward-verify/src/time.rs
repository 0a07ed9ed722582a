//! Times as text.

use jiff::Timestamp;

/// Microseconds since 1970 in ISO 8601, UTC; the number itself when no calendar has such a time.
pub fn text(micros: i64) -> String {
    Timestamp::from_microsecond(micros).map_or_else(
        |_| format!("{micros} microseconds after 1970"),
        |time| format!("{time:.0}"),
    )
}

/// The day of a time, counted from 1970-01-01.
pub fn day(micros: i64) -> i64 {
    micros.div_euclid(86_400_000_000)
}

/// A day as ISO 8601.
pub fn day_text(day: i64) -> String {
    day.checked_mul(86_400_000_000).map_or_else(
        || format!("day {day}"),
        |micros| text(micros)[..10].to_owned(),
    )
}

/// Now, in microseconds since 1970.
pub fn now() -> i64 {
    Timestamp::now().as_microsecond()
}
