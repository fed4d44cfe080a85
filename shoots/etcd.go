package shoots

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"

	"github.com/loam-cloud/loam/fault"
)

// etcdMember is what etcd tells of a member. Numbers of 64 bits are text in JSON.
type etcdMember struct {
	ID       string   `json:"ID"`
	PeerURLs []string `json:"peerURLs"`
}

// etcdScript asks the etcd of a machine, which answers JSON over HTTP as well as
// gRPC. kubectl is the one program of a node image that speaks TLS with a
// certificate of its own. It listens on the loopback address of the cluster's first
// family.
//
//	$1 path
//	$2 request
const etcdScript = `
pki=/etc/kubernetes/pki/etcd
printf %s "$2" | kubectl --kubeconfig=/dev/null --server=https://localhost:2379 --request-timeout=20s --certificate-authority=$pki/ca.crt \
  --client-certificate=$pki/healthcheck-client.crt --client-key=$pki/healthcheck-client.key create --raw "$1" -f -
`

// askEtcd has the first member answer that can. Fault: Transient.
func (r *run) askEtcd(ctx context.Context, path, request string, answer any) error {
	var problems []error
	for _, m := range r.controlPlanes {
		text, err := r.script(ctx, m.Machine, etcdScript, path, request)
		if err == nil {
			if err := json.Unmarshal([]byte(text), answer); err != nil {
				return fault.New(fault.Internal, "etcd of %q answers %q: %w", m.Hostname, text, err)
			}
			return nil
		}
		problems = append(problems, err)
	}
	return fmt.Errorf("asking etcd: %w", errors.Join(problems...))
}

// etcdMembers are the members as a majority of them knows them.
func (r *run) etcdMembers(ctx context.Context) ([]etcdMember, error) {
	var answer struct {
		Members []etcdMember `json:"members"`
	}
	err := r.askEtcd(ctx, "/v3/cluster/member/list", `{"linearizable":true}`, &answer)
	return answer.Members, err
}

// forgetMembers takes those members out of etcd whose machines are lost.
func (r *run) forgetMembers(ctx context.Context) error {
	members, err := r.etcdMembers(ctx)
	if err != nil {
		return err
	}
	for _, m := range members {
		if slices.ContainsFunc(m.PeerURLs, r.reachesControlPlane) {
			continue
		}
		request, err := json.Marshal(map[string]string{"ID": m.ID})
		if err != nil {
			return err
		}
		var answer struct{}
		if err := r.askEtcd(ctx, "/v3/cluster/member/remove", string(request), &answer); err != nil {
			return err
		}
	}
	return nil
}

// reachesControlPlane tells whether a URL is that of a machine which is not lost.
func (r *run) reachesControlPlane(at string) bool {
	parsed, err := url.Parse(at)
	return err == nil && slices.ContainsFunc(r.controlPlanes, func(m controlPlane) bool {
		return slices.ContainsFunc(m.Addresses, func(a netip.Addr) bool { return a.String() == parsed.Hostname() })
	})
}
