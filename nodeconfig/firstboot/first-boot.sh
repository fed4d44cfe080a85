#!/bin/sh
# Asks the agent, with the ticket of the boot data, for what this machine must not
# find there. The key by which it proves itself is made here and stays here; once
# the ticket is used, it is the key that lets the machine ask again.
set -eu
umask 077
folder={{.Folder}}
work=$(mktemp -d /run/loam-first-boot.XXXXXX)
trap 'rm -rf "$work"' EXIT

if ! [ -s "$folder/machine.crt" ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj '/CN={{.Machine}}' \
    -keyout "$work/key" -out "$work/crt" 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
  mv "$work/key" "$folder/machine.key"
  mv "$work/crt" "$folder/machine.crt"
fi

# Secrets go by files: arguments of a command can be read by everybody.
set -- --data-urlencode 'machine={{.Machine}}' --data-urlencode uuid@/sys/class/dmi/id/product_uuid
if [ -s "$folder/ticket" ]; then
  set -- "$@" --data-urlencode "ticket@$folder/ticket"
fi
code=$(curl --silent --show-error --proto =https --noproxy '*' --max-time 60 --cacert "$folder/ca.crt" \
  --cert "$folder/machine.crt" --key "$folder/machine.key" --output "$work/boot.tar" --write-out '%{http_code}' "$@" '{{.URL}}')
case $code in
200) ;;
403)
  echo 'the agent refuses this machine: its ticket is used or expired, and asking again does not help' >&2
  exit 77
  ;;
*)
  echo "the agent answered $code" >&2
  exit 1
  ;;
esac
tar --extract --file "$work/boot.tar" --directory / --preserve-permissions --no-same-owner
rm -f "$folder/ticket"
: >'{{.Done}}'
