//! The search key of the database, expanded. It makes the search tags, and the key for literals.

use crate::error::Result;
use crate::keys::{
    Key, KeyError, Purpose, Registry, dirty_stack, ensure_internal_key, random_bytes,
};
use crate::pg::keys::process;
use crate::pg::owner;
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
    fn new(search: &SecretKey) -> std::result::Result<Self, KeyError> {
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

/// Makes the search key, on first need. Fails where nothing can be written.
pub fn make() -> Result<()> {
    owner::run(|| ensure_internal_key(Purpose::Search)).map(|_| ())
}

/// The search tag of `text` under the active search key, and that key's id.
pub fn tag(
    registry: &mut Registry,
    text: &[u8],
) -> std::result::Result<([u8; SEARCH_TAG_LEN], KeyId), KeyError> {
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
) -> std::result::Result<(), KeyError> {
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
) -> std::result::Result<(), KeyError> {
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
    f: impl FnOnce(&mut Expanded) -> std::result::Result<T, KeyError>,
) -> std::result::Result<T, KeyError> {
    let key = registry.of_purpose(Purpose::Search)?;
    let (place, id) = active(key)?;
    ACTIVE.with_borrow_mut(|expanded| {
        let current = expanded.as_ref().is_some_and(|expanded| {
            expanded.tagger.search_key_id() == id && expanded.process == process::id()
        });
        if !current {
            *expanded = None;
            *expanded = Some(Expanded::new(&*key.secret(place)?)?);
        }
        f(expanded
            .as_mut()
            .ok_or(KeyError::NoInternal(Purpose::Search))?)
    })
}

fn active(key: &Key) -> std::result::Result<(usize, KeyId), KeyError> {
    let place = key.active()?;
    let version = key.versions.get(place);
    let id = version.map(|version| version.key_id);
    Ok((place, id.ok_or(KeyError::NoInternal(Purpose::Search))?))
}
