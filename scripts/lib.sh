# What the scripts share. Source it; it changes to the project's top directory.
#
# PG_CONFIG picks the PostgreSQL (default: the machine's pg_config), CARGO_TARGET_DIR the folder
# for everything that is built (default: target).

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PGRX_VERSION=0.18.1
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}

# rustup puts cargo here without always changing the PATH of a running shell
[[ -d $HOME/.cargo/bin && :$PATH: != *:$HOME/.cargo/bin:* ]] && PATH=$PATH:$HOME/.cargo/bin

say() { printf '\n== %s\n' "$*"; }
die() { printf '\nerror: %s\n' "$*" >&2; exit 1; }

# Sets PG_CONFIG, pg_major and what depends on them.
find_postgres() {
  PG_CONFIG=${PG_CONFIG:-$(command -v pg_config || true)}
  [[ -x $PG_CONFIG ]] || die "no pg_config here: run 'make setup', or set PG_CONFIG=/path/to/pg_config"
  pg_major=$("$PG_CONFIG" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
  case $pg_major in
    15 | 16 | 17 | 18) ;;
    *) die "$PG_CONFIG belongs to $("$PG_CONFIG" --version); pg_ward supports 15, 16, 17 and 18" ;;
  esac
  export PG_CONFIG PGRX_HOME=$CARGO_TARGET_DIR/pgrx/pg$pg_major
  export PGRX_PG_CONFIG_PATH=$PG_CONFIG
  pg_bindir=$("$PG_CONFIG" --bindir)
  pg_pkglibdir=$("$PG_CONFIG" --pkglibdir)
  pg_sharedir=$("$PG_CONFIG" --sharedir)
  pg_package=$CARGO_TARGET_DIR/package/pg$pg_major
  cargo_features=(--no-default-features --features "pg$pg_major")
}

# Sets cargo_pgrx to a cargo-pgrx of the right version, if there is one.
find_cargo_pgrx() {
  local candidate
  for candidate in "$(command -v cargo-pgrx || true)" "$CARGO_TARGET_DIR/tools/bin/cargo-pgrx"; do
    if [[ -x $candidate && $("$candidate" pgrx --version) == *" $PGRX_VERSION" ]]; then
      cargo_pgrx=$candidate
      return 0
    fi
  done
  return 1
}

# Runs a command as the user the private servers run as: PostgreSQL refuses to run as root.
as_server() {
  if [[ $EUID -eq 0 ]]; then
    setpriv --reuid=postgres --regid=postgres --clear-groups "$@"
  else
    "$@"
  fi
}

# A temporary directory for everything a script starts, removed at its end whatever happens.
# Sets scratch. Servers whose data directories lie in it are stopped first.
make_scratch() {
  scratch=$(mktemp -d "/tmp/pg_ward.XXXXXX")
  chmod 711 "$scratch"
  trap remove_scratch EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

remove_scratch() {
  local status=$? file
  trap '' INT TERM
  while IFS= read -r file; do
    kill -QUIT "$(head -n 1 "$file")" 2>/dev/null || true
  done < <(find "$scratch" -maxdepth 4 -name postmaster.pid 2>/dev/null)
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf "$scratch" 2>/dev/null && break
    sleep 0.3
  done
  return "$status"
}
