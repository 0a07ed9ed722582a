//! The only module where unsafe code is allowed. Each block says why it holds.
#![allow(unsafe_code)]

pub mod access;
pub mod baseline;
pub mod catalog;
pub mod columns;
pub mod context;
pub mod ddl;
pub mod dependency;
pub mod encoding;
pub mod encrypted;
pub mod heap;
pub mod index_worker;
pub mod journal;
pub mod jsonb;
pub mod keys;
pub mod leaf_search;
pub mod owner;
pub mod preload;
pub mod process;
pub mod query;
pub mod relation;
pub mod render;
pub mod segment;
pub mod settings;
pub mod shared;
pub mod snapshot;
pub mod srf;
pub mod text_array;
pub mod timeline;
pub mod trigger;
pub mod types;
pub mod unguarded;
pub mod values;
pub mod who;
pub mod worker;
pub mod xact;
