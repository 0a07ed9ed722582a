//! What the administrator decides about tokens. Superusers set these, for the server, a role or a
//! database.

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::ffi::{CStr, CString};

/// The largest difference between clocks that can be allowed, in seconds.
const LEEWAY_LIMIT: i32 = 30;
/// The same in microseconds.
pub const LARGEST_LEEWAY_MICROS: i64 = LEEWAY_LIMIT as i64 * 1_000_000;
/// The longest lifetime that can be allowed, in seconds: a day.
const LIFETIME_LIMIT: i32 = 86_400;

static LEEWAY: GucSetting<i32> = GucSetting::<i32>::new(5);
static MAX_LIFETIME: GucSetting<i32> = GucSetting::<i32>::new(3_600);
static SINGLE_USE: GucSetting<bool> = GucSetting::<bool>::new(false);
static TENANT: Name = Name::new(Some(c"tenant_id"));
static USER: Name = Name::new(Some(c"user_id"));
static SESSION: Name = Name::new(Some(c"session_id"));
static SERVICE: Name = Name::new(Some(c"client_id"));
static ROLES: Name = Name::new(Some(c"roles"));
static PERMISSIONS: Name = Name::new(Some(c"permissions"));

type Name = GucSetting<Option<CString>>;

/// The settings that decide what an accepted token means.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Allowed difference between clocks, in seconds.
    pub leeway: i32,
    /// Longest accepted lifetime, in seconds.
    pub max_lifetime: i32,
    /// Whether a token counts once only.
    pub single_use: bool,
    /// Which claim is what.
    pub claims: ClaimNames,
}

/// The names or dotted paths of claims; an empty one is not read.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimNames {
    /// The tenant.
    pub tenant: String,
    /// The user.
    pub user: String,
    /// The application's session.
    pub session: String,
    /// The service that acts.
    pub service: String,
    /// What the user is.
    pub roles: String,
    /// What the user may do.
    pub permissions: String,
}

impl Settings {
    /// The settings as they are now.
    pub fn current() -> Self {
        let name = |setting: &Name| {
            setting
                .get()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default()
        };
        Self {
            leeway: LEEWAY.get(),
            max_lifetime: MAX_LIFETIME.get(),
            single_use: SINGLE_USE.get(),
            claims: ClaimNames {
                tenant: name(&TENANT),
                user: name(&USER),
                session: name(&SESSION),
                service: name(&SERVICE),
                roles: name(&ROLES),
                permissions: name(&PERMISSIONS),
            },
        }
    }

    /// The leeway in microseconds.
    pub fn leeway_micros(&self) -> i64 {
        i64::from(self.leeway) * 1_000_000
    }
}

/// Defines the settings.
pub fn register() {
    GucRegistry::define_int_guc(
        c"ward.token_leeway",
        c"How much the clocks of token issuers and this server may differ.",
        c"Added to both ends of a token's validity.",
        &LEEWAY,
        0,
        LEEWAY_LIMIT,
        GucContext::Suset,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"ward.token_max_lifetime",
        c"The longest time from issue to expiry of a token that is accepted.",
        c"",
        &MAX_LIFETIME,
        1,
        LIFETIME_LIMIT,
        GucContext::Suset,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_bool_guc(
        c"ward.token_single_use",
        c"Whether each token is accepted once only.",
        c"Tokens then need the claim jti. Not possible on standbys and in read-only transactions.",
        &SINGLE_USE,
        GucContext::Suset,
        GucFlags::default(),
    );
    let names: [(&'static CStr, &'static CStr, &'static Name); 6] = [
        (
            c"ward.token_tenant_claim",
            c"The claim that names the tenant.",
            &TENANT,
        ),
        (
            c"ward.token_user_claim",
            c"The claim that names the user.",
            &USER,
        ),
        (
            c"ward.token_session_claim",
            c"The claim that names the application's session.",
            &SESSION,
        ),
        (
            c"ward.token_service_claim",
            c"The claim that names the service that acts.",
            &SERVICE,
        ),
        (
            c"ward.token_roles_claim",
            c"The claim that lists roles.",
            &ROLES,
        ),
        (
            c"ward.token_permissions_claim",
            c"The claim that lists permissions.",
            &PERMISSIONS,
        ),
    ];
    for (setting, description, value) in names {
        GucRegistry::define_string_guc(
            setting,
            description,
            c"A name, or a path with dots. Empty: no claim.",
            value,
            GucContext::Suset,
            GucFlags::default(),
        );
    }
}
