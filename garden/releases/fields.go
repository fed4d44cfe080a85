package releases

// Field is a field of a Shoot that clusters no longer have from a version on.
type Field struct {
	// Path of the field; [*] stands for each element of a list.
	Path string
	// Since is the first minor version without it.
	Since string
	// Instead says what to use; empty if there is nothing.
	Instead string
}

// Gone tells whether a cluster of a version no longer has the field.
func (f Field) Gone(version string) bool { return minorOf(version) >= minorOf(f.Since) }

// The fields that went are the contract of the API: the comments of its types
// v1.150 name the versions.

// PodEvictionTimeout was how long pods of a silent node were kept.
func PodEvictionTimeout() Field {
	return Field{"spec.kubernetes.kubeControllerManager.podEvictionTimeout", "1.33", "use kubeAPIServer.defaultNotReadyTolerationSeconds and defaultUnreachableTolerationSeconds"}
}

// MaxEmptyBulkDelete was the cluster autoscaler's.
func MaxEmptyBulkDelete() Field {
	return Field{"spec.kubernetes.clusterAutoscaler.maxEmptyBulkDelete", "1.33", "use maxScaleDownParallelism"}
}

// SecretBindingName was the way to credentials before CredentialsBindings.
func SecretBindingName() Field {
	return Field{"spec.secretBindingName", "1.34", "use credentialsBindingName"}
}

// AnonymousAuthentication switched access without credentials.
func AnonymousAuthentication() Field {
	return Field{"spec.kubernetes.kubeAPIServer.enableAnonymousAuthentication", "1.35", "use structuredAuthentication"}
}

// KubeMaxPDVols limited the volumes of a node.
func KubeMaxPDVols() Field {
	return Field{"spec.kubernetes.kubeScheduler.kubeMaxPDVols", "1.35", "the CSI driver says how many volumes a node takes"}
}

// DefaultWatchCacheSize was that of resources without a size of their own.
func DefaultWatchCacheSize() Field {
	return Field{"spec.kubernetes.kubeAPIServer.watchCacheSizes.default", "1.35", "the cache sizes itself"}
}

// KubernetesDashboard was an addon.
func KubernetesDashboard() Field {
	return Field{"spec.addons.kubernetesDashboard.enabled", "1.35", "install it with its own chart"}
}

// NginxIngress was an addon.
func NginxIngress() Field {
	return Field{"spec.addons.nginxIngress.enabled", "1.35", "install it with its own chart"}
}

// DNSProviderSecretName named the credentials of a DNS provider.
func DNSProviderSecretName() Field {
	return Field{"spec.dns.providers[*].secretName", "1.35", "use credentialsRef"}
}

// IPVS is a mode of kube-proxy that Kubernetes has deprecated, and still has.
func IPVS() Field {
	return Field{"spec.kubernetes.kubeProxy.mode", "1.35", "use IPTables or NFTables"}
}

// Fields are all that are gone, in the order of the versions without them.
func Fields() []Field {
	return []Field{
		PodEvictionTimeout(), MaxEmptyBulkDelete(), SecretBindingName(), AnonymousAuthentication(), KubeMaxPDVols(),
		DefaultWatchCacheSize(), KubernetesDashboard(), NginxIngress(), DNSProviderSecretName(),
	}
}
