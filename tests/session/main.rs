//! Session tests: each starts its own server and looks at it as real clients do.
//! A test is named after the situation or the attack it is about.

mod attacks;
mod attacks_context;
mod attacks_history;
mod attacks_journal;
mod attacks_planner;
mod attacks_ranges;
mod attacks_record_index;
mod attacks_retention;
mod attacks_scene;
mod attacks_segments;
mod attacks_tables;
mod attacks_tokens;
mod attacks_trial;
mod audit_baseline;
mod audit_capture;
mod audit_cases;
mod audit_concurrency;
mod audit_crash;
mod audit_ddl;
mod audit_ddl_indirect;
mod audit_history;
mod audit_identity;
mod audit_keys;
mod audit_memory;
mod audit_oversized;
mod audit_proofs;
mod audit_publish;
mod audit_reading;
mod audit_record_index;
mod audit_retention;
mod audit_retention_refusals;
mod audit_segments;
mod audit_settings;
mod audit_statements;
mod audit_triggers;
mod audit_types;
mod audit_worker;
mod client_jdbc;
mod clients;
mod columns_online;
mod context;
mod context_audit;
mod context_claims;
mod context_keys;
mod context_mode;
mod context_refusals;
mod context_token_end;
mod context_tokens;
mod crypto_limits;
mod crypto_password;
mod documented_errors;
mod encrypted_clients;
mod encrypted_copies;
mod encrypted_replication;
mod erase_by_index;
mod harness;
mod honest_concurrency;
mod honest_crashes;
mod honest_databases;
mod honest_full_disk;
mod honest_settings;
mod install;
mod isolation_dump;
mod isolation_index;
mod isolation_statements;
mod keys;
mod keys_command;
mod keys_dump;
mod keys_grants;
mod keys_replaced;
mod keys_rewrap;
mod keys_standby;
mod keys_transfer;
mod keys_usage;
mod keys_wiped;
mod leaks_keys;
mod leaks_scene;
mod leaks_search;
mod leaks_stolen;
mod leaks_stolen_types;
mod leaks_values;
mod newer_postgres;
mod permissions;
mod posture;
mod posture_cases;
mod posture_cases_access;
mod posture_server;
mod posture_state;
mod readme;
mod removal_crashes;
mod removal_elsewhere;
mod roles;
mod strange_tables;
mod subscriptions;
mod verify_memory;
mod verify_parallel;
mod verify_rows;
mod verify_rows_restored;
mod verify_sql;
mod ward_verify;

use ward_tests::postgres::Client;
use ward_tests::run;

/// Makes table `t` and audits it.
fn audited_table(client: &mut Client) {
    run(
        client,
        "CREATE TABLE t (id bigint PRIMARY KEY, note text);
         SELECT ward.enable_audit('t')",
    );
}

/// How many changes of table `t` the trail knows.
const ENTRIES_OF_T: &str = "SELECT count(*) FROM ward.audit_trail WHERE table_name = 't'";
