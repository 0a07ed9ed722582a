//! What jsonb takes. It is narrower than JSON: no U+0000, no lone surrogates, only numbers that
//! numeric holds, and limits on depth, size and the number of elements.

use std::iter::Peekable;
use std::str::Bytes;

/// The deepest nesting: what recurses over the value must not exhaust the stack.
const MAX_DEPTH: usize = 128;

/// The largest exponent of a number: jsonb writes all digits out, so a few bytes could become a
/// hundred thousand.
const MAX_EXPONENT: usize = 1000;

/// Digits that numeric holds before and after the point.
const MAX_WHOLE: usize = 131_072;
const MAX_FRACTION: usize = 16_383;

/// What a separator, bracket or brace may cost: an element's entry, header and alignment.
const ELEMENT: usize = 20;

/// The room that `text` needs as jsonb and as its text, at most; None when jsonb refuses it. `utf8`:
/// whether the database stores UTF-8; others do not have every character that an escape can name.
pub fn cost(text: &str, utf8: bool) -> Option<usize> {
    // The grammar, which is jsonb's; this does not recurse.
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    let mut bytes = text.bytes().peekable();
    let mut cost = text.len();
    let mut depth = 0usize;
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => string(&mut bytes, utf8)?,
            b'-' => {}
            b'0'..=b'9' => cost += number(&mut bytes)?,
            b',' | b':' => cost += ELEMENT,
            b'[' | b'{' => {
                cost += ELEMENT;
                depth += 1;
                if depth > MAX_DEPTH {
                    return None;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Some(cost)
}

/// Whether a number is zero with a minus, which jsonb drops.
pub fn is_negative_zero(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|digits| {
        digits
            .bytes()
            .take_while(|byte| !matches!(byte, b'e' | b'E'))
            .all(|byte| matches!(byte, b'0' | b'.'))
    })
}

/// The rest of a string, which follows the grammar.
fn string(bytes: &mut Peekable<Bytes>, utf8: bool) -> Option<()> {
    let mut high = false;
    while let Some(byte) = bytes.next() {
        let unit = match byte {
            b'"' => break,
            b'\\' if bytes.next()? == b'u' => Some(unit(bytes)?),
            _ => None,
        };
        let low = matches!(unit, Some(0xDC00..=0xDFFF));
        if high != low {
            return None;
        }
        high = matches!(unit, Some(0xD800..=0xDBFF));
        if matches!(unit, Some(0)) || (!utf8 && unit.is_some_and(|unit| unit > 0x7F)) {
            return None;
        }
    }
    (!high).then_some(())
}

/// The four digits of an escape.
fn unit(bytes: &mut Peekable<Bytes>) -> Option<u32> {
    (0..4).try_fold(0, |value, _| {
        Some(value * 16 + char::from(bytes.next()?).to_digit(16)?)
    })
}

/// The rest of a number after its first digit: how many digits its exponent adds.
fn number(bytes: &mut Peekable<Bytes>) -> Option<usize> {
    let whole = 1 + digits(bytes);
    let fraction = match bytes.next_if_eq(&b'.') {
        Some(_) => digits(bytes),
        None => 0,
    };
    let mut exponent = 0;
    if bytes.next_if(|byte| matches!(byte, b'e' | b'E')).is_some() {
        bytes.next_if(|byte| matches!(byte, b'+' | b'-'));
        while let Some(digit) = bytes.next_if(u8::is_ascii_digit) {
            exponent = exponent * 10 + usize::from(digit - b'0');
            if exponent > MAX_EXPONENT {
                return None;
            }
        }
    }
    (whole + exponent <= MAX_WHOLE && fraction + exponent <= MAX_FRACTION).then_some(exponent)
}

fn digits(bytes: &mut Peekable<Bytes>) -> usize {
    std::iter::from_fn(|| bytes.next_if(u8::is_ascii_digit)).count()
}
