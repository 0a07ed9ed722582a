//! Arguments of type text[], whose elements stay as they are stored.

use super::values::{self, Text};
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::prelude::*;

/// An argument of type text[], of any number of dimensions; `None` is a NULL element.
pub struct TextArray<'a>(Vec<Option<Text<'a>>>);

impl<'a> TextArray<'a> {
    /// The elements, in the order of storage.
    pub fn elements(&self) -> &[Option<Text<'a>>] {
        &self.0
    }
}

pgrx::impl_sql_translatable!(TextArray<'_>, "text[]");

// SAFETY: the SQL type is text[]; the elements point into the detoasted array, which lives in the
// memory context of the call.
unsafe impl<'fcx> ArgAbi<'fcx> for TextArray<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: as above.
        unsafe { arg.unbox_arg_using_from_datum() }.unwrap_or_else(|| values::null_argument())
    }
}

impl FromDatum for TextArray<'_> {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        if is_null {
            return None;
        }
        let mut elements = std::ptr::null_mut();
        let mut nulls = std::ptr::null_mut();
        let mut count = 0;
        // SAFETY: the datum is a text[]: elements are varlenas of alignment 'i'. deconstruct_array
        // gives two arrays of `count` members in the current memory context.
        unsafe {
            let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr());
            pg_sys::deconstruct_array(
                array.cast(),
                pg_sys::TEXTOID,
                -1,
                false,
                pg_sys::TYPALIGN_INT as std::ffi::c_char,
                &mut elements,
                &mut nulls,
                &mut count,
            );
            let elements = (0..count as usize)
                .map(|place| Text::from_datum(*elements.add(place), *nulls.add(place)))
                .collect();
            Some(Self(elements))
        }
    }
}
