# Tenant context, and authentication with 2,000 tokens.
psql -o /dev/null -v rounds="$rounds" -f benches/context.sql
cargo run --quiet --release -p ward-tests --example tokens | psql -o /dev/null
psql -o /dev/null -f benches/tokens.sql
