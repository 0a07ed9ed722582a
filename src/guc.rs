//! The prefix of the settings. Parts define their own settings in their own `init`.

/// Reserves `ward.` for settings that exist. Called after all are defined: values given for others in
/// the configuration are dropped, with a warning.
pub fn reserve_prefix() {
    crate::pg::settings::reserve_prefix(c"ward");
}
