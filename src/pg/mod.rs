//! The only module where unsafe code is allowed. Each block says why it holds.
#![allow(unsafe_code)]

pub mod keys;
pub mod preload;
pub mod values;
