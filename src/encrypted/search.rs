//! The search key of the database, expanded. It makes the search tags, and the key for literals.

use crate::keys::{KeyError, Purpose, Registry, active_internal_key, dirty_stack, random_bytes};
use crate::pg::keys::process;
use std::cell::RefCell;
use ward_crypto::{
    ColumnType, CryptoError, Decryptor, Encryptor, Envelope, KeyId, SEARCH_TAG_LEN, SearchTagger,
    SecretKey, ValueType, literal_key,
};

/// What is derived from one version of the search key.
struct Expanded {
    /// Of the process that made it: see the cache of the registry.
    process: i32,
    tagger: SearchTagger,
    literals: Encryptor,
    literals_back: Decryptor,
}

impl Expanded {
    fn new(search: &SecretKey) -> Result<Self, KeyError> {
        dirty_stack();
        let literals = literal_key(search);
        Ok(Self {
            process: process::id(),
            tagger: SearchTagger::new(search),
            literals: Encryptor::new(&literals, random_bytes()?, random_bytes()?),
            literals_back: Decryptor::new(&literals),
        })
    }
}

thread_local! {
    static ACTIVE: RefCell<Option<Expanded>> = const { RefCell::new(None) };
}

/// The search tag of `text` under the active search key, and that key's id.
pub fn tag(
    registry: &mut Registry,
    text: &[u8],
) -> Result<([u8; SEARCH_TAG_LEN], KeyId), KeyError> {
    with_active(registry, |active| {
        Ok((active.tagger.tag(text), active.tagger.search_key_id()))
    })
}

/// Fills `out` with the envelope of a literal.
pub fn seal_literal(
    registry: &mut Registry,
    column: ColumnType,
    text: &[u8],
    out: &mut [u8],
) -> Result<(), KeyError> {
    let mut seal = || {
        with_active(registry, |active| {
            Ok(active
                .literals
                .seal_to(ValueType::Text, text, Some(column.aad()), out))
        })
    };
    match seal()? {
        Err(CryptoError::NonceExhausted) => {
            ACTIVE.set(None);
            Ok(seal()??)
        }
        sealed => Ok(sealed?),
    }
}

/// Fills `out` with the text of a literal, which may be of an older search key: it may stand in a
/// view's definition.
pub fn open_literal(
    registry: &mut Registry,
    column: ColumnType,
    envelope: &Envelope<'_>,
    out: &mut [u8],
) -> Result<(), KeyError> {
    let opened = with_active(registry, |active| {
        let ours = active.literals_back.key_id() == envelope.key_id();
        Ok(ours.then(|| {
            active
                .literals_back
                .open_to(envelope, Some(column.aad()), out)
        }))
    })?;
    if let Some(opened) = opened {
        return Ok(opened?);
    }
    dirty_stack();
    let key = registry.of_purpose(Purpose::Search)?;
    for place in 0..key.versions.len() {
        let literals = match key.secret(place) {
            Err(KeyError::Disabled(_) | KeyError::Destroyed(_)) => continue,
            secret => literal_key(&*secret?),
        };
        if literals.id() == envelope.key_id() {
            return Ok(Decryptor::new(&literals).open_to(envelope, Some(column.aad()), out)?);
        }
    }
    Err(KeyError::UnknownId(envelope.key_id()))
}

/// The registry is asked each time, so that what was derived from a former key is dropped at once.
fn with_active<T>(
    registry: &mut Registry,
    f: impl FnOnce(&mut Expanded) -> Result<T, KeyError>,
) -> Result<T, KeyError> {
    let search = active_internal_key(registry, Purpose::Search)?;
    ACTIVE.with_borrow_mut(|expanded| {
        let current = expanded.as_ref().is_some_and(|expanded| {
            expanded.tagger.search_key_id() == search.id && expanded.process == process::id()
        });
        if !current {
            *expanded = None;
            *expanded = Some(Expanded::new(&search.material)?);
        }
        f(expanded
            .as_mut()
            .ok_or(KeyError::NoInternal(Purpose::Search))?)
    })
}
