package strategy

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	serverstorage "k8s.io/apiserver/pkg/server/storage"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	basecompatibility "k8s.io/component-base/compatibility"
)

// configureStorage tells a storage factory how a group is kept in etcd: below
// <group>/<resource>, so that two groups with one plural never share keys, in
// the storage version and media type of each kind.
func (g Group) configureStorage(factory *serverstorage.DefaultStorageFactory, encoding *serverstorage.DefaultResourceEncodingConfig) {
	if g.WithoutProtobuf {
		factory.SetSerializer(schema.GroupResource{Group: g.Name, Resource: serverstorage.AllResources}, runtime.ContentTypeJSON, nil)
	}
	for _, kind := range g.Kinds {
		resource := schema.GroupResource{Group: g.Name, Resource: kind.resource}
		factory.SetResourceEtcdPrefix(resource, g.Name+"/"+kind.resource)
		version := g.Version
		if kind.storageVersion != "" {
			version = kind.storageVersion
		}
		encoding.SetResourceEncoding(resource,
			schema.GroupVersion{Group: g.Name, Version: version},
			schema.GroupVersion{Group: g.Name, Version: runtime.APIVersionInternal})
	}
}

// GroupVersions are those that the group is served in, the preferred one first.
func (g Group) GroupVersions() []schema.GroupVersion {
	versions := []schema.GroupVersion{{Group: g.Name, Version: g.Version}}
	for _, kind := range g.Kinds {
		for _, version := range kind.otherVersions {
			versions = append(versions, schema.GroupVersion{Group: g.Name, Version: version})
		}
	}
	return versions
}

// NewStorageFactory tells an API server how all groups are kept in etcd.
func NewStorageFactory(scheme *runtime.Scheme, groups []Group, config storagebackend.Config, version basecompatibility.EffectiveVersion, served serverstorage.APIResourceConfigSource) *serverstorage.DefaultStorageFactory {
	encoding := serverstorage.NewDefaultResourceEncodingConfigForEffectiveVersion(scheme, version)
	factory := serverstorage.NewDefaultStorageFactory(config, runtime.ContentTypeProtobuf, serializer.NewCodecFactory(scheme), encoding, served, nil)
	for _, group := range groups {
		group.configureStorage(factory, encoding)
	}
	return factory
}

// Priority orders groups, and the versions of one, where a bare resource name
// could mean several.
type Priority struct{ Group, Version int32 }

// Priorities gives every group and version its own, the first group the highest.
// All are below those of Kubernetes' groups, the lowest of which has 15800.
func Priorities(groups []Group) map[schema.GroupVersion]Priority {
	priorities := map[schema.GroupVersion]Priority{}
	for i, group := range groups {
		for j, version := range group.GroupVersions() {
			priorities[version] = Priority{Group: int32(15500 - 100*i), Version: int32(20 - j)}
		}
	}
	return priorities
}

// Provider installs a Group in an API server.
type Provider struct {
	Group          Group
	Scheme         *runtime.Scheme
	Codecs         serializer.CodecFactory
	ParameterCodec runtime.ParameterCodec
	// Options opens the group's resources in etcd. The server's own knows only
	// Kubernetes' scheme.
	Options generic.RESTOptionsGetter
	// Stores, if set, learns each kind's storage.
	Stores *Stores
}

// GroupName implements the control plane's RESTStorageProvider.
func (p Provider) GroupName() string { return p.Group.Name }

// NewRESTStorage implements the control plane's RESTStorageProvider.
func (p Provider) NewRESTStorage(serverstorage.APIResourceConfigSource, generic.RESTOptionsGetter) (genericapiserver.APIGroupInfo, error) {
	info := genericapiserver.NewDefaultAPIGroupInfo(p.Group.Name, p.Scheme, p.ParameterCodec, p.Codecs)
	if p.Group.WithoutProtobuf {
		info.NegotiatedSerializer = withoutProtobuf{info.NegotiatedSerializer}
	}
	for _, kind := range p.Group.Kinds {
		objects, status, err := newStore(p.Scheme, p.Group, kind, p.Options)
		if err != nil {
			return info, fmt.Errorf("installing group %q: %w", p.Group.Name, err)
		}
		if p.Stores != nil {
			p.Stores.add(schema.GroupResource{Group: p.Group.Name, Resource: kind.resource}, objects.Store)
		}
		for _, version := range kind.versions(p.Group) {
			if info.VersionedResourcesStorageMap[version] == nil {
				info.VersionedResourcesStorageMap[version] = map[string]rest.Storage{}
			}
			info.VersionedResourcesStorageMap[version][kind.resource] = objects
			if status != nil {
				info.VersionedResourcesStorageMap[version][kind.resource+"/status"] = status
			}
			for name, make := range kind.subresources {
				info.VersionedResourcesStorageMap[version][kind.resource+"/"+name] = make(objects.Store)
			}
		}
	}
	return info, nil
}

// withoutProtobuf answers a client that prefers protobuf in what it takes
// besides, as servers of custom resources do.
type withoutProtobuf struct{ runtime.NegotiatedSerializer }

// SupportedMediaTypes implements runtime.NegotiatedSerializer.
func (s withoutProtobuf) SupportedMediaTypes() []runtime.SerializerInfo {
	return slices.DeleteFunc(slices.Clone(s.NegotiatedSerializer.SupportedMediaTypes()), func(info runtime.SerializerInfo) bool {
		return info.MediaType == runtime.ContentTypeProtobuf
	})
}
