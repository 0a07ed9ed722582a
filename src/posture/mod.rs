//! Security posture, application roles: what a database and its server look like to somebody who means
//! harm. All of it reads catalogs in SQL, with the caller's rights.

pgrx::extension_sql_file!(
    "../../sql/posture_catalogue.sql",
    name = "ward_posture_catalogue",
    requires = ["ward_schema"]
);
pgrx::extension_sql_file!(
    "../../sql/posture_isolation.sql",
    name = "ward_posture_isolation",
    requires = ["ward_schema"]
);
pgrx::extension_sql_file!(
    "../../sql/posture_policies.sql",
    name = "ward_posture_policies",
    requires = ["ward_posture_isolation"]
);
pgrx::extension_sql_file!(
    "../../sql/posture_access.sql",
    name = "ward_posture_access",
    requires = ["ward_posture_isolation"]
);
pgrx::extension_sql_file!(
    "../../sql/posture_server.sql",
    name = "ward_posture_server",
    requires = ["ward_schema"]
);
pgrx::extension_sql_file!(
    "../../sql/posture_ward.sql",
    name = "ward_posture_ward",
    requires = ["ward_schema"]
);
// Last: it grants what the others created.
pgrx::extension_sql_file!(
    "../../sql/posture.sql",
    name = "ward_posture",
    requires = [
        "ward_posture_catalogue",
        "ward_posture_isolation",
        "ward_posture_policies",
        "ward_posture_access",
        "ward_posture_server",
        "ward_posture_ward"
    ]
);
pgrx::extension_sql_file!(
    "../../sql/roles.sql",
    name = "ward_roles",
    requires = ["ward_schema"]
);
