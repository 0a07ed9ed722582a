//! Tokens that this backend has verified, so that an application that sends its token with every
//! transaction pays for the signature once. Dropped when a key or a setting changes.

use super::refusal::Refusal;
use super::settings::Settings;
use super::verify::Accepted;
use crate::pg::keys::invalidation::{self, Stamp};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::rc::Rc;

/// How many tokens are kept.
const CAPACITY: usize = 64;

struct Cache {
    stamp: Stamp,
    settings: Settings,
    /// The token used last comes last.
    tokens: Vec<([u8; 32], Rc<Accepted>)>,
}

thread_local! {
    static CACHE: RefCell<Option<Cache>> = const { RefCell::new(None) };
}

/// What `verify` says of `token`, kept from an earlier time if nothing has changed since.
pub fn look_up(
    token: &str,
    settings: &Settings,
    verify: impl FnOnce(&str, &Settings) -> Result<Accepted, Refusal>,
) -> Result<Rc<Accepted>, Refusal> {
    let digest: [u8; 32] = Sha256::digest(token).into();
    // Before the keys are read: a change in between makes the entry stale, not wrong.
    let stamp = invalidation::stamp();
    if let Some(known) = recall(&digest, stamp, settings) {
        return Ok(known);
    }
    let accepted = Rc::new(verify(token, settings)?);
    keep(digest, stamp, settings, Rc::clone(&accepted));
    Ok(accepted)
}

fn recall(digest: &[u8; 32], stamp: Stamp, settings: &Settings) -> Option<Rc<Accepted>> {
    CACHE.with_borrow_mut(|cache| {
        let current = cache
            .as_ref()
            .is_some_and(|cache| cache.stamp == stamp && cache.settings == *settings);
        if !current {
            *cache = None;
        }
        let tokens = &mut cache.as_mut()?.tokens;
        let place = tokens.iter().rposition(|(known, _)| known == digest)?;
        let found = tokens.remove(place);
        let accepted = Rc::clone(&found.1);
        tokens.push(found);
        Some(accepted)
    })
}

fn keep(digest: [u8; 32], stamp: Stamp, settings: &Settings, accepted: Rc<Accepted>) {
    CACHE.with_borrow_mut(|cache| {
        let cache = cache.get_or_insert_with(|| Cache {
            stamp,
            settings: settings.clone(),
            tokens: Vec::with_capacity(CAPACITY),
        });
        if cache.tokens.len() == CAPACITY {
            cache.tokens.remove(0);
        }
        cache.tokens.push((digest, accepted));
    });
}
