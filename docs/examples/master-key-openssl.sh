#!/bin/sh
# usage: master-key-openssl.sh ENCRYPTED_KEY PASSPHRASE_FILE
#
# Prints the master key for ward.master_key_command. The key lies encrypted in ENCRYPTED_KEY; its
# passphrase in another file, best on another medium: a mounted secret, a tmpfs that is filled by
# hand after a boot, a credential of the service manager. Made with
#
#   openssl rand -hex 32 |
#     openssl enc -aes-256-cbc -pbkdf2 -iter 600000 -md sha256 -salt \
#       -pass file:PASSPHRASE_FILE -out ENCRYPTED_KEY
#
# Whoever changes ENCRYPTED_KEY gets another key, not one of his choice; the server then does not
# start, or says that it has the wrong master key.
set -eu
umask 077
PATH=/usr/local/bin:/usr/bin:/bin
export PATH

if [ "$#" -ne 2 ]; then
  echo "usage: master-key-openssl.sh ENCRYPTED_KEY PASSPHRASE_FILE" >&2
  exit 2
fi
for file in "$1" "$2"; do
  if [ ! -r "$file" ]; then
    echo "master-key-openssl.sh: $file cannot be read" >&2
    exit 1
  fi
done
# Into a variable first: nothing is printed unless all of it could be decrypted.
if ! key=$(openssl enc -d -aes-256-cbc -pbkdf2 -iter 600000 -md sha256 \
  -pass "file:$2" -in "$1" 2>/dev/null); then
  echo "master-key-openssl.sh: $1 cannot be decrypted with the passphrase in $2" >&2
  exit 1
fi
printf '%s\n' "$key"
