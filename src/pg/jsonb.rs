//! Replacing values inside a jsonb document, by PostgreSQL's own iterator: nothing is parsed, no number
//! loses a digit, and depth costs no stack but for the steps of the paths themselves.

use super::values::{Jsonb, JsonbValue as Document};
use crate::keys::KeyError;
use pgrx::prelude::*;
use std::ptr;

type Container = *mut pg_sys::JsonbContainer;
type Token = pg_sys::JsonbIteratorToken::Type;

/// What to do with a member or an element.
pub enum Child<'n, N: ?Sized> {
    /// Leave it as it is.
    Keep,
    /// Replace it.
    Replace(usize),
    /// Look into it.
    Enter(&'n N),
}

/// What a document is compared with while it is walked.
pub trait Node {
    /// What to do with the member of this name; `Err` when no object was expected here.
    fn member(&self, name: &[u8]) -> Child<'_, Self>;
    /// What to do with the elements of an array.
    fn element(&self) -> Child<'_, Self>;
    /// Whether an object is expected here.
    fn expects_object(&self) -> bool;
    /// Whether an array is expected here.
    fn expects_array(&self) -> bool;
}

/// A value inside a document.
pub struct Value(pg_sys::JsonbValue);

/// What takes the place of a value.
pub enum Replacement {
    /// Nothing: it stays.
    Same,
    /// A string, in the database's encoding.
    Text(String),
    /// Any value.
    Document(Document),
}

/// Why a document was not changed.
pub enum WalkError<E> {
    /// A path leads on, but the value is neither an object or array as expected, nor null.
    Mismatch,
    /// From the replacing itself.
    Replace(E),
}

impl Value {
    /// The text of a string, in the database's encoding.
    pub fn string(&self) -> Option<&[u8]> {
        if self.0.type_ != pg_sys::jbvType::jbvString {
            return None;
        }
        // SAFETY: of a string, this is the member that is set; it lives as long as the document.
        unsafe { Some(bytes(&self.0)) }
    }

    /// The value by itself, as PostgreSQL prints it, in UTF-8.
    pub fn utf8(&mut self) -> Result<Vec<u8>, KeyError> {
        // SAFETY: the value came out of an iterator; a copy is made.
        let datum = unsafe { pg_sys::Datum::from(pg_sys::JsonbValueToJsonb(&mut self.0)) };
        // SAFETY: just made.
        unsafe { Jsonb::from_datum_unchecked(datum) }.utf8()
    }
}

/// The document with what `replace` gives in place of each value that `root` asks to replace.
pub fn rewrite<N: Node, E>(
    document: &Jsonb,
    root: &N,
    mut replace: impl FnMut(usize, &mut Value) -> Result<Replacement, E>,
) -> Result<Document, WalkError<E>> {
    let datum = document.datum();
    // SAFETY: the datum is a jsonb; detoasted in the memory context of the call, so all pointers into
    // it and all that is pushed live until the call ends.
    unsafe {
        let jsonb = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::Jsonb>();
        let container = &raw mut (*jsonb).root;
        if (*container).header & pg_sys::JB_FSCALAR != 0 {
            let mut scalar = pg_sys::JsonbValue::default();
            pg_sys::JsonbExtractScalar(container, &mut scalar);
            if scalar.type_ != pg_sys::jbvType::jbvNull {
                return Err(WalkError::Mismatch);
            }
            return Ok(Document::from_datum(datum));
        }
        let mut walk = Walk {
            state: ptr::null_mut(),
            replace: &mut replace,
        };
        let value = walk.container(container, root)?;
        Ok(Document::from_datum(pg_sys::Datum::from(
            pg_sys::JsonbValueToJsonb(value),
        )))
    }
}

struct Walk<'f, E> {
    state: *mut pg_sys::JsonbParseState,
    replace: &'f mut dyn FnMut(usize, &mut Value) -> Result<Replacement, E>,
}

impl<E> Walk<'_, E> {
    /// # Safety
    /// `container` is an object or array of a detoasted jsonb.
    unsafe fn container<N: Node>(
        &mut self,
        container: Container,
        node: &N,
    ) -> Result<*mut pg_sys::JsonbValue, WalkError<E>> {
        use pg_sys::JsonbIteratorToken::*;
        // SAFETY: as promised; the iterator hands out pointers into the same jsonb.
        unsafe {
            let object = (*container).header & pg_sys::JB_FOBJECT != 0;
            if !(if object {
                node.expects_object()
            } else {
                node.expects_array()
            }) {
                return Err(WalkError::Mismatch);
            }
            let mut iterator = pg_sys::JsonbIteratorInit(container);
            let mut value = pg_sys::JsonbValue::default();
            let begin = pg_sys::JsonbIteratorNext(&mut iterator, &mut value, false);
            self.push(begin, ptr::null_mut());
            loop {
                pgrx::check_for_interrupts!();
                let token = pg_sys::JsonbIteratorNext(&mut iterator, &mut value, true);
                let child = match token {
                    WJB_KEY => {
                        let child = node.member(bytes(&value));
                        self.push(WJB_KEY, &mut value);
                        pg_sys::JsonbIteratorNext(&mut iterator, &mut value, true);
                        child
                    }
                    WJB_ELEM => node.element(),
                    end => return Ok(self.push(end, ptr::null_mut())),
                };
                let place = if object { WJB_VALUE } else { WJB_ELEM };
                self.value(place, value, child)?;
            }
        }
    }

    /// # Safety
    /// `value` came out of an iterator.
    unsafe fn value<N: Node>(
        &mut self,
        place: Token,
        value: pg_sys::JsonbValue,
        child: Child<'_, N>,
    ) -> Result<(), WalkError<E>> {
        let mut value = Value(value);
        match child {
            Child::Keep => {}
            Child::Replace(which) => {
                let replacement = (self.replace)(which, &mut value).map_err(WalkError::Replace)?;
                match replacement {
                    Replacement::Same => {}
                    // SAFETY: the pointers are to memory of the call.
                    Replacement::Text(text) => unsafe { value = string(&text) },
                    // SAFETY: as above.
                    Replacement::Document(document) => unsafe { value = whole(document) },
                }
            }
            Child::Enter(node) => match value.0.type_ {
                pg_sys::jbvType::jbvNull => {}
                pg_sys::jbvType::jbvBinary => {
                    // SAFETY: of a binary, this is the member that is set: a nested container.
                    unsafe { self.container(value.0.val.binary.data, node)? };
                    return Ok(());
                }
                _ => return Err(WalkError::Mismatch),
            },
        }
        // SAFETY: a binary is unpacked by what it points to, which is still there.
        unsafe { self.push(place, &mut value.0) };
        Ok(())
    }

    /// # Safety
    /// The tokens come in the order of an iterator.
    unsafe fn push(
        &mut self,
        token: Token,
        value: *mut pg_sys::JsonbValue,
    ) -> *mut pg_sys::JsonbValue {
        // SAFETY: as promised.
        unsafe { pg_sys::pushJsonbValue(&mut self.state, token, value) }
    }
}

/// # Safety
/// The value is a string or a key.
unsafe fn bytes(value: &pg_sys::JsonbValue) -> &[u8] {
    // SAFETY: as promised.
    unsafe {
        let string = value.val.string;
        std::slice::from_raw_parts(string.val.cast(), string.len as usize)
    }
}

/// # Safety
/// In a call of the server: the text is copied to its memory context.
unsafe fn string(text: &str) -> Value {
    // SAFETY: the copy is exactly as long.
    unsafe {
        let copy = pg_sys::palloc(text.len().max(1)).cast::<std::ffi::c_char>();
        ptr::copy_nonoverlapping(text.as_ptr().cast(), copy, text.len());
        let mut value = pg_sys::JsonbValue {
            type_: pg_sys::jbvType::jbvString,
            ..Default::default()
        };
        value.val.string.len = text.len() as i32;
        value.val.string.val = copy;
        Value(value)
    }
}

/// # Safety
/// The document was made by jsonb_in: not toasted.
unsafe fn whole(document: Document) -> Value {
    // SAFETY: as promised.
    unsafe {
        let jsonb = document.datum().cast_mut_ptr::<pg_sys::Jsonb>();
        let container = &raw mut (*jsonb).root;
        let mut value = pg_sys::JsonbValue::default();
        if !pg_sys::JsonbExtractScalar(container, &mut value) {
            value.type_ = pg_sys::jbvType::jbvBinary;
            value.val.binary.data = container;
            value.val.binary.len =
                pgrx::varlena::varsize_any_exhdr(jsonb.cast_const().cast()) as i32;
        }
        Value(value)
    }
}
