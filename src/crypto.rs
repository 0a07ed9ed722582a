//! SQL functions of field encryption.
