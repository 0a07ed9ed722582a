//! Rows of users' tables, as conversions of columns see and change them.

pub mod rewrite;
pub mod scan;
pub mod step;
pub mod table;
