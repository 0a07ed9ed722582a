//! Session tests: each starts its own server and looks at it as real clients do.
//! A test is named after the situation or the attack it is about.

mod harness;
