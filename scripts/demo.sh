#!/usr/bin/env bash
# The main job, from nothing: a garden on this host, a Shoot of three nodes, a
# pod behind a service, and a page fetched through it. Run again it finds
# everything there and ends the same way.
set -eu -o pipefail
cd "$(dirname "$0")/.."
say() { scripts/say "$@"; }

make --no-print-directory prepare

loam=$PWD/bin/loam
data=${LOAM_DATA_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/loam}
garden=$data/kubeconfig
cluster=$data/demo.kubeconfig
name=demo

kubectl=$(command -v kubectl || true)
if [ -z "$kubectl" ]; then
  # The node image has one.
  kubectl=$PWD/bin/kubectl
  [ -x "$kubectl" ] || scripts/from-image.sh /usr/local/bin/kubectl "$kubectl"
fi

if ! "$loam" status >/dev/null 2>&1; then
  say "Starting the garden"
  "$loam" up --detach
fi

say "Growing cluster $name: one control plane, two workers"
if ! "$loam" cluster get "$name" >/dev/null 2>&1; then
  "$loam" cluster create "$name" --workers 2 --kubeconfig "$cluster"
fi
"$loam" cluster kubeconfig "$name" --print >"$cluster"
chmod 600 "$cluster"

say "kubectl get shoots, on the garden"
"$kubectl" --kubeconfig "$garden" get shoots -A

say "kubectl get nodes, on the cluster"
"$kubectl" --kubeconfig "$cluster" wait --for=condition=Ready nodes --all --timeout=120s >/dev/null
"$kubectl" --kubeconfig "$cluster" get nodes -o wide

say "A pod behind a service, and a page fetched through it"
"$kubectl" --kubeconfig "$cluster" apply -f scripts/demo.yaml
"$kubectl" --kubeconfig "$cluster" rollout status deployment/hello --timeout=120s
node=$("$kubectl" --kubeconfig "$cluster" get nodes -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}')
port=$("$kubectl" --kubeconfig "$cluster" get service hello -o jsonpath='{.spec.ports[0].nodePort}')
# The proxy of the node learns of the service a moment after the pods are ready.
curl --noproxy '*' --silent --fail --retry 20 --retry-delay 1 --retry-all-errors --max-time 5 "http://$node:$port/" ||
  { echo "no page came from http://$node:$port/" >&2; exit 1; }

cat <<END

What to try next:

  export KUBECONFIG=$cluster
  kubectl get pods -A

  export KUBECONFIG=$garden
  kubectl get shoots,seeds,projects,cloudprofiles -A
  kubectl -n garden-local patch shoot $name --type merge -p '{"spec":{"hibernation":{"enabled":true}}}'

  $loam cluster create another
  $loam cluster delete $name
  $loam down
END
