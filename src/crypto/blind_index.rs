//! Keyed tags by which equal values are found.

use super::error::CryptoRefusal;
use crate::error::Result;
use crate::keys::{KeyError, search_key};
use crate::pg::text_array::TextArray;
use crate::pg::values::{Bytea, Text, Varlena};
use pgrx::prelude::*;
use ward_crypto::IndexBitsError;

// Stable, so that it is computed once and an index on the column is used.
/// The blind index of a value: equal values of one domain have equal ones.
#[pg_extern(stable, parallel_safe)]
pub(super) fn blind_index(
    value: Option<Text<'_>>,
    domain: Option<Text<'_>>,
    bits: default!(Option<i32>, 128),
) -> Result<Option<Bytea>> {
    let Some(value) = value else { return Ok(None) };
    index(&[&value], domain, bits).map(Some)
}

/// The blind index of several values together; NULL when one of them is.
#[pg_extern(name = "blind_index", stable, parallel_safe)]
pub(super) fn blind_index_compound(
    value: Option<TextArray<'_>>,
    domain: Option<Text<'_>>,
    bits: default!(Option<i32>, 128),
) -> Result<Option<Bytea>> {
    let Some(values) = value else { return Ok(None) };
    let values: Option<Vec<&Text<'_>>> = values.elements().iter().map(Option::as_ref).collect();
    let Some(values) = values else {
        return Ok(None);
    };
    index(&values, domain, bits).map(Some)
}

fn index(values: &[&Text<'_>], domain: Option<Text<'_>>, bits: Option<i32>) -> Result<Bytea> {
    let domain = domain.ok_or(KeyError::Null("domain"))?;
    let domain = domain.utf8()?;
    let bits = bits.ok_or(KeyError::Null("bits"))?;
    let bits = u16::try_from(bits).map_err(|_| CryptoRefusal::from(IndexBitsError))?;
    let values = values
        .iter()
        .map(|value| value.utf8())
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let values: Vec<&[u8]> = values.iter().map(|value| &**value).collect();
    let key = search_key()?;
    let index = ward_crypto::blind_index(&key.material, &domain, bits, &values)
        .map_err(CryptoRefusal::from)?;
    Ok(Bytea(Varlena::copy_of(&index)?))
}
