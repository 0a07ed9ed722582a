# Encryption of fields: see fields.sql; then the cipher's crate alone, in a loop of its own process.
psql -o /dev/null -v rounds="$rounds" -f benches/fields.sql
cargo run --quiet --release -p ward-crypto --example aes_gcm |
  psql -c 'COPY measurement (what, variant, value) FROM STDIN'
