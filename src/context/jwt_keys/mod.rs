//! The public keys of token issuers: rows that are authenticated under the master key, so that
//! whoever can write tables still cannot add a key.

mod admin;
mod parse;
mod registry;
mod rewrap;

pub use registry::with;
pub use rewrap::rewrap;
