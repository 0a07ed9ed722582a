//! The C-level functions of the encrypted column types.

mod call;
mod cast;
mod compare;
mod ddl;
mod io;
mod modifier;
pub mod reveal;
pub mod who;
