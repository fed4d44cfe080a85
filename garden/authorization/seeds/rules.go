package seeds

import (
	"slices"
	"strings"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/loam-cloud/loam/garden/authorization/graph"
)

// rule says what an agent may do with one resource. What no rule names is denied.
type rule struct {
	kind graph.Kind
	// verbs are allowed on objects that the seed sees, create where it sees the
	// namespace, list and watch of objects selected by name or by the fields below.
	verbs []string
	// subresources have verbs of their own.
	subresources map[string][]string
	// seedFields select the objects of the seed that is their value.
	seedFields []string
	// otherFields select objects that belong to the one returned.
	otherFields map[string]keyOf
	// open resources are those that everybody who is known may read.
	open bool
	// published are verbs on objects that are named after a cluster: publishedFor.
	published []string
	// inOwnNamespace are verbs in namespace seed-<name>.
	inOwnNamespace []string
	// at and in replace the object itself, and the namespace of what is created,
	// as what has to be seen; nil for most.
	at func(seed, namespace, name string) graph.Key
	in func(seed, namespace string) graph.Key
}

// key is what has to be seen for a verb on a named object.
func (r rule) key(seed, namespace, name string) graph.Key {
	switch {
	case r.open:
		return ownSeed(seed)
	case r.at != nil:
		return r.at(seed, namespace, name)
	}
	return graph.Key{Kind: r.kind, Namespace: namespace, Name: name}
}

// place is what has to be seen to create something.
func (r rule) place(seed, namespace string) graph.Key {
	switch {
	case r.in != nil:
		return r.in(seed, namespace)
	case namespace == "":
		return ownSeed(seed)
	}
	return graph.Key{Kind: graph.Namespace, Name: namespace}
}

// ownSeed is what a seed always sees.
func ownSeed(seed string) graph.Key { return graph.Key{Kind: graph.Seed, Name: seed} }

func read() []string         { return []string{"get", "list", "watch"} }
func readAndWrite() []string { return []string{"get", "list", "watch", "update", "patch"} }
func all() []string {
	return []string{"get", "list", "watch", "create", "update", "patch", "delete"}
}

func status() map[string][]string {
	return map[string][]string{"status": {"get", "update", "patch"}}
}

// clientSubresource is not served. It stands for the right to a certificate.
const clientSubresource = "seedclient"

// rules are all that agents may do.
func rules() map[schema.GroupResource]rule {
	table := map[schema.GroupResource]rule{}
	add := func(group string, rules map[string]rule) {
		for resource, r := range rules {
			table[schema.GroupResource{Group: group, Resource: resource}] = r
		}
	}
	add("core.gardener.cloud", coreRules())
	add("", map[string]rule{
		"secrets":    {kind: graph.Secret, verbs: read(), published: all(), inOwnNamespace: read()},
		"configmaps": {kind: graph.ConfigMap, verbs: read(), published: all(), inOwnNamespace: read()},
		// A request for a namespace is one in that namespace.
		"namespaces": {verbs: read(), at: func(_, _, name string) graph.Key { return graph.Key{Kind: graph.Namespace, Name: name} }},
		"events":     eventRule(),
	})
	add("events.k8s.io", map[string]rule{"events": eventRule()})
	add("coordination.k8s.io", map[string]rule{"leases": {
		verbs: append(readAndWrite(), "create"), inOwnNamespace: all(),
		at: func(_, namespace, name string) graph.Key { return leaseSeed(namespace, name) },
		in: func(seed, namespace string) graph.Key { return leaseSeed(namespace, seed) },
	}})
	add("certificates.k8s.io", map[string]rule{
		// The subresource stands for the right to be given a certificate without
		// anybody's approval.
		"certificatesigningrequests": {kind: graph.CertificateSigningRequest, verbs: append(read(), "create"), subresources: map[string][]string{clientSubresource: {"create"}}},
	})
	add("seedmanagement.gardener.cloud", map[string]rule{
		"managedseeds": {kind: graph.ManagedSeed, verbs: readAndWrite(), subresources: status(), otherFields: map[string]keyOf{"spec.shoot.name": shootNamed}},
		"gardenlets":   {kind: graph.Gardenlet, verbs: readAndWrite(), subresources: status()},
	})
	add("operations.gardener.cloud", map[string]rule{
		"bastions": {kind: graph.Bastion, verbs: readAndWrite(), subresources: status(), seedFields: []string{"spec.seedName"}},
	})
	add("security.gardener.cloud", map[string]rule{
		"credentialsbindings": {kind: graph.CredentialsBinding, verbs: read()},
		"workloadidentities":  {kind: graph.WorkloadIdentity, verbs: read(), subresources: map[string][]string{"token": {"create"}}},
	})
	add("loam.dev", map[string]rule{
		"machines": {kind: graph.Machine, verbs: all(), subresources: status(), otherFields: map[string]keyOf{"spec.shootName": shootNamed}},
	})
	return table
}

func coreRules() map[string]rule {
	return map[string]rule{
		"shoots":                  {kind: graph.Shoot, verbs: readAndWrite(), subresources: status(), seedFields: []string{"spec.seedName", "status.seedName"}},
		"seeds":                   {kind: graph.Seed, verbs: append(readAndWrite(), "create"), subresources: status()},
		"backupbuckets":           {kind: graph.BackupBucket, verbs: all(), subresources: status(), seedFields: []string{"spec.seedName"}},
		"backupentries":           {kind: graph.BackupEntry, verbs: all(), subresources: status(), seedFields: []string{"spec.seedName"}},
		"controllerinstallations": {kind: graph.ControllerInstallation, verbs: readAndWrite(), subresources: status(), seedFields: []string{"spec.seedRef.name"}},
		"controllerregistrations": {kind: graph.ControllerRegistration, verbs: read()},
		"controllerdeployments":   {kind: graph.ControllerDeployment, verbs: read()},
		"cloudprofiles":           {kind: graph.CloudProfile, verbs: read(), open: true},
		"exposureclasses":         {kind: graph.ExposureClass, verbs: read(), open: true},
		"namespacedcloudprofiles": {kind: graph.NamespacedCloudProfile, verbs: read()},
		"projects": {kind: graph.Project, verbs: read(), otherFields: map[string]keyOf{
			"spec.namespace": func(_, value string) graph.Key { return graph.Key{Kind: graph.Namespace, Name: value} },
		}},
		"secretbindings":  {kind: graph.SecretBinding, verbs: read()},
		"quotas":          {kind: graph.Quota, verbs: read()},
		"internalsecrets": {kind: graph.InternalSecret, verbs: read(), published: all()},
		"shootstates": {verbs: all(), at: func(_, namespace, name string) graph.Key {
			return shootNamed(namespace, name)
		}},
	}
}

// keyOf is an object that the value of a field names.
type keyOf func(namespace, value string) graph.Key

func shootNamed(namespace, name string) graph.Key {
	return graph.Key{Kind: graph.Shoot, Namespace: namespace, Name: name}
}

// leaseSeed is the seed that a lease is the heartbeat of; none when it is no
// heartbeat.
func leaseSeed(namespace, name string) graph.Key {
	if namespace != gardencorev1beta1.GardenerSeedLeaseNamespace {
		return graph.Key{}
	}
	return ownSeed(name)
}

// eventRule lets agents write events where objects are that they see. Events of
// objects without a namespace are in "default".
func eventRule() rule {
	place := func(seed, namespace string) graph.Key {
		if namespace == metav1.NamespaceDefault {
			return ownSeed(seed)
		}
		return graph.Key{Kind: graph.Namespace, Name: namespace}
	}
	return rule{
		verbs: []string{"create", "update", "patch"}, in: place,
		at: func(seed, namespace, _ string) graph.Key { return place(seed, namespace) },
	}
}

// publishedFor returns the cluster that an object is published for: an agent
// writes <shoot>.kubeconfig and the like, and nothing else of these kinds.
func publishedFor(kind graph.Kind, name string) (shoot string, published bool) {
	// Names of clusters have no dot.
	shoot, suffix, found := strings.Cut(name, ".")
	if !found || shoot == "" {
		return "", false
	}
	var suffixes []string
	switch kind {
	case graph.Secret:
		suffixes = []string{"kubeconfig", "monitoring", "ssh-keypair", "ssh-keypair.old"}
	case graph.ConfigMap:
		suffixes = []string{"ca-cluster", "ca-kubelet", "ports"}
	case graph.InternalSecret:
		suffixes = []string{"ca-client", "pki"}
	}
	return shoot, slices.Contains(suffixes, suffix)
}
