# Starts a private PostgreSQL server for a script. Source it after lib.sh, with WARD_STAGE set and
# make_scratch called, which also stops it. It listens on a Unix socket in its own directory only.

start_cluster() { # directory; further settings in the array cluster_settings
  local directory=$1
  mkdir -p "$directory"
  head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$directory/master.key"
  chmod 600 "$directory/master.key"
  if [[ $EUID -eq 0 ]]; then chown -R postgres: "$directory"; fi

  export PGHOST=$directory PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
  unset PGOPTIONS PGSERVICE PGPASSWORD
  # With these the server shows its clients where in the program an error was raised.
  unset RUST_BACKTRACE RUST_LIB_BACKTRACE
  (
    cd "$directory" # the server's user may not enter the project's folder
    as_server "$WARD_STAGE/bin/initdb" --no-sync --auth=trust --encoding=UTF8 --locale=C \
      --username=postgres --pgdata=data >initdb.log
    cat >>data/postgresql.conf <<CONF
listen_addresses = ''
unix_socket_directories = '$directory'
port = 5432
max_connections = 100
max_prepared_transactions = 20
max_worker_processes = 16
wal_level = logical
shared_preload_libraries = 'pg_ward'
ward.master_key_file = '$directory/master.key'
CONF
    printf '%s\n' "${cluster_settings[@]+"${cluster_settings[@]}"}" >>data/postgresql.conf
    as_server "$WARD_STAGE/bin/pg_ctl" --silent --wait --pgdata=data --log=server.log start
  ) || {
    cat "$directory/server.log" >&2 2>/dev/null || true
    die "the private server did not start"
  }
}
