//! Keys derived from passwords, for the rest of the transaction. Then they are wiped.

use super::error::CryptoRefusal;
use crate::keys::random_bytes;
use crate::pg::xact::{self, Hooks};
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::cell::RefCell;
use std::convert::Infallible;
use ward_crypto::{CryptoError, PasswordEncryptor, PasswordKey, PasswordParams};
use zeroize::Zeroizing;

/// How many iterations a transaction may spend on values it decrypts. The default is some ten seconds.
static WORK_LIMIT: GucSetting<i32> = GucSetting::<i32>::new(100_000_000);

/// How many keys are kept for encrypting, and for decrypting.
const KEPT: usize = 64;

#[derive(Default)]
struct Cache {
    encryptors: Vec<(Password, PasswordEncryptor)>,
    keys: Vec<(Password, PasswordKey)>,
    spent: u64,
}

type Password = Zeroizing<Vec<u8>>;

thread_local! {
    static CACHE: RefCell<Cache> = const {
        RefCell::new(Cache { encryptors: Vec::new(), keys: Vec::new(), spent: 0 })
    };
}

static HOOKS: Hooks = Hooks {
    before_commit: |_| {},
    ended: |_| forget(),
    before_release: |_| {},
    released: |_, _| {},
    rolled_back: |_| {},
};

/// Defines the setting and has the cache emptied at the end of every transaction.
pub fn init() {
    GucRegistry::define_int_guc(
        c"ward.max_password_iterations",
        c"Iterations that one transaction may spend on decrypting with passwords.",
        c"Bounds the time that a hostile ciphertext, or a table of them, can take.",
        &WORK_LIMIT,
        ward_crypto::MIN_ITERATIONS as i32,
        i32::MAX,
        GucContext::Userset,
        GucFlags::default(),
    );
    xact::register(&HOOKS);
}

fn forget() {
    CACHE.with_borrow_mut(|cache| *cache = Cache::default());
}

/// Runs `f` with what encrypts under `password`: one salt per transaction, password and number of
/// iterations.
pub fn with_encryptor<T>(
    password: &[u8],
    iterations: u32,
    mut f: impl FnMut(&mut PasswordEncryptor) -> Result<T, CryptoError>,
) -> Result<T, CryptoRefusal> {
    let known = CACHE.with_borrow_mut(|cache| {
        cache
            .encryptors
            .iter_mut()
            .find(|(known, encryptor)| {
                encryptor.params().iterations() == iterations && same(known, password)
            })
            .map(|(_, encryptor)| f(encryptor))
    });
    match known {
        // Once in 2^32 values the nonce prefix is used up; another salt has another key.
        None | Some(Err(CryptoError::NonceExhausted)) => {}
        Some(done) => return Ok(done?),
    }
    let params = PasswordParams::new(iterations, random_bytes()?)?;
    let mut encryptor =
        PasswordEncryptor::new(derive(password, params), random_bytes()?, random_bytes()?);
    let done = f(&mut encryptor)?;
    CACHE.with_borrow_mut(|cache| {
        cache.encryptors.retain(|(known, old)| {
            !(old.params().iterations() == iterations && same(known, password))
        });
        keep(&mut cache.encryptors, password, encryptor);
    });
    Ok(done)
}

/// Runs `f` with the key that `password` gives with `params`.
pub fn with_key<T>(
    password: &[u8],
    params: PasswordParams,
    mut f: impl FnMut(&mut PasswordKey) -> Result<T, CryptoError>,
) -> Result<T, CryptoRefusal> {
    let known = CACHE.with_borrow_mut(|cache| {
        let encryptors = cache.encryptors.iter_mut();
        encryptors
            .map(|(known, encryptor)| (known, encryptor.key()))
            .chain(cache.keys.iter_mut().map(|(known, key)| (known, key)))
            .find(|(known, key)| *key.params() == params && same(known, password))
            .map(|(_, key)| f(key))
    });
    if let Some(done) = known {
        return Ok(done?);
    }
    spend(params.iterations())?;
    let mut key = derive(password, params);
    let done = f(&mut key);
    // A wrong password's key too: the next value with that salt is refused at once.
    CACHE.with_borrow_mut(|cache| keep(&mut cache.keys, password, key));
    Ok(done?)
}

/// Counts the work before it is done: a statement that fails and is tried again counts each time.
fn spend(iterations: u32) -> Result<(), CryptoRefusal> {
    let limit = WORK_LIMIT.get();
    CACHE.with_borrow_mut(|cache| {
        let spent = cache.spent.saturating_add(u64::from(iterations));
        if spent > limit.unsigned_abs().into() {
            return Err(CryptoRefusal::WorkLimit { limit });
        }
        cache.spent = spent;
        Ok(())
    })
}

fn derive(password: &[u8], params: PasswordParams) -> PasswordKey {
    let derived = PasswordKey::derive(password, params, || {
        // Raises by itself; what was derived so far is wiped while it unwinds.
        pgrx::check_for_interrupts!();
        Ok::<_, Infallible>(())
    });
    let Ok(key) = derived;
    key
}

fn same(known: &Password, password: &[u8]) -> bool {
    use subtle::ConstantTimeEq;
    known.as_slice().ct_eq(password).into()
}

fn keep<T>(kept: &mut Vec<(Password, T)>, password: &[u8], value: T) {
    if kept.len() == KEPT {
        kept.remove(0);
    }
    kept.push((Zeroizing::new(password.to_vec()), value));
}
