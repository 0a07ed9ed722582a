//! The type modifier: a key's name in a column's type.

use super::convert::NO_MODIFIER;
use super::error::Error;
use crate::keys::{parse_name, with_registry};
use ward_crypto::{ColumnType, type_modifier};

/// Before a modifier in numbers. No key's name has this character.
const NUMBER: char = '#';

/// The modifier for what stands in the type's parentheses: a key's name, or what [`shown`] gave.
/// The key need not exist: a dump makes tables before it fills the registry.
pub fn parse(column: ColumnType, words: &[String]) -> Result<i32, Error> {
    let [word] = words else {
        return Err(Error::BadModifier(column));
    };
    if let Some(number) = word.strip_prefix(NUMBER) {
        let plain = number.bytes().all(|byte| byte.is_ascii_digit());
        return match number.parse::<i32>() {
            Ok(modifier) if plain && modifier > 0 => Ok(modifier),
            _ => Err(Error::BadModifier(column)),
        };
    }
    Ok(type_modifier(parse_name(Some(word))?))
}

/// The modifier as it stands in a type, with parentheses. Never fails: a key that is not known, or a
/// registry that cannot be read, gives the number.
pub fn shown(modifier: i32) -> String {
    if modifier == NO_MODIFIER {
        return String::new();
    }
    let name = with_registry(|registry| Ok(registry.name_of_modifier(modifier).map(str::to_owned)));
    match name {
        // A name that could not be read back is not shown.
        Ok(Some(name)) if parse_name(Some(&name)).is_ok() => format!("('{name}')"),
        _ => numbered(modifier),
    }
}

/// The modifier as it stands in a type, where the registry must not be read.
pub fn without_name(modifier: i32) -> String {
    match modifier {
        NO_MODIFIER => String::new(),
        modifier => numbered(modifier),
    }
}

/// The modifier in numbers, with parentheses.
pub fn numbered(modifier: i32) -> String {
    format!("('{NUMBER}{modifier}')")
}
