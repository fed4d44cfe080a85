package operations_test

import (
	"strings"
	"testing"

	"github.com/gardener/gardener/pkg/apis/core"
	"github.com/gardener/gardener/pkg/apis/operations"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	rules "github.com/loam-cloud/loam/garden/validation/operations"
)

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada"

func bastion() *operations.Bastion {
	b := &operations.Bastion{}
	b.Spec.ShootRef.Name, b.Spec.SSHPublicKey = "shop", key
	b.Spec.Ingress = []operations.BastionIngressPolicy{{IPBlock: networkingv1.IPBlock{CIDR: "203.0.113.0/24"}}}
	return b
}

func TestBastionsCluster(t *testing.T) {
	ready := func() *core.Shoot { return &core.Shoot{Spec: core.ShootSpec{SeedName: ptr.To("s")}} }
	closed, ending := ready(), ready()
	closed.Spec.Provider.WorkersSettings = &core.WorkersSettings{SSHAccess: &core.SSHAccess{Enabled: false}}
	ending.DeletionTimestamp = &metav1.Time{}
	for want, shoot := range map[string]*core.Shoot{
		"": ready(), "Not found": nil, "is being deleted": ending, "has no seed yet": {}, "sshAccess disabled": closed,
	} {
		errs := rules.ValidateBastionShoot(bastion(), shoot)
		if want == "" && len(errs) > 0 || want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), want)) {
			t.Errorf("got %v, want %q", errs, want)
		}
	}
}

func TestIngressBlocks(t *testing.T) {
	for block, want := range map[string]int{
		"203.0.113.0/24": 0, "203.0.113.0/24 203.0.113.7/32": 0, "0.0.0.0/0 10.0.0.0/8 192.168.0.0/16": 0, "2001:db8::/32 2001:db8:1::/48": 0,
		"203.0.113.0/24 203.0.113.0/24": 1, "203.0.113.0/24 203.0.112.0/23": 1, "203.0.113.0/24 2001:db8::/64": 1, "nowhere 10.0.0.0/8": 1, "10.0.0.0/8 10.1.0.0": 1,
	} {
		b := bastion()
		parts := strings.Fields(block)
		b.Spec.Ingress[0].IPBlock = networkingv1.IPBlock{CIDR: parts[0], Except: parts[1:]}
		if errs := rules.ValidateBastion(b, nil); len(errs) != want {
			t.Errorf("%s: got %v, want %d", block, errs, want)
		}
	}
}
