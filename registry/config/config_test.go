package config_test

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/registry/config"
)

func parse(t *testing.T, text string) *config.Configuration {
	t.Helper()
	c := &config.Configuration{}
	if err := yaml.UnmarshalStrict([]byte("apiVersion: loam.dev/v1alpha1\nkind: RegistryConfiguration\n"+text), c); err != nil {
		t.Fatal(err)
	}
	c.Default("/srv/registry")
	return c
}

func TestDefaultsAreRight(t *testing.T) {
	c := parse(t, "")
	if problems := c.Validate(); len(problems) != 0 {
		t.Error(problems)
	}
	if len(c.Upstreams) != 5 || c.Upstreams[0].URL != "https://registry-1.docker.io" || c.Upstreams[3].URL != "https://registry.k8s.io" {
		t.Errorf("got %+v", c.Upstreams)
	}
	c = parse(t, "offline: true\naccess: {htpasswdFile: /etc/htpasswd}\nlisten: 0.0.0.0:5050\nupstreams: [{name: quay.io}]\n")
	if problems := c.Validate(); len(problems) != 0 {
		t.Error(problems)
	}
	if !c.Upstreams[0].Offline || len(c.Access.Grants) != 2 || c.Access.Grants[1].Repositories[0] != "quay.io/*" {
		t.Errorf("got %+v", c)
	}
	c = parse(t, "vault: {address: 'https://vault.example', login: {kubernetes: {role: loam}}}\nupstreams: [{name: quay.io, credentials: {vault: {path: registries/quay}}}]\n")
	if problems := c.Validate(); len(problems) != 0 {
		t.Error(problems)
	}
	if v := c.Upstreams[0].Credentials.Vault; v.UserKey != "user" || v.PasswordKey != "password" || v.Engine() != "secret" {
		t.Errorf("got %+v", v)
	}
}

func TestEveryProblemIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"dataDir: cache": "dataDir",
		"dataDir: /" + strings.Repeat("long/", 20): "dataDir",
		"listen: 5050":             "listen",
		"listen: host:5050":        "listen",
		"listen: 0.0.0.0:5050":     "listen",
		"adminListen: ':5001'":     "adminListen",
		"adminListen: '[::]:5001'": "adminListen",
		"upstreams: [{name: a.io, listen: '127.0.0.1:5050'}]":                 "upstreams[0].listen",
		"upstreams: [{name: a.io}, {name: a.io}]":                             "upstreams[1].name",
		"upstreams: [{name: A_B}]":                                            "upstreams[0].name",
		"upstreams: [{name: a.io, url: ftp://a.io}]":                          "upstreams[0].url",
		"upstreams: [{name: a.io, url: 'https://u:secret@a.io'}]":             "upstreams[0].url",
		"upstreams: [{name: a.io, ttl: -1m}]":                                 "upstreams[0].ttl",
		"upstreams: [{name: a.io, credentials: {}}]":                          "upstreams[0].credentials",
		"upstreams: [{name: a.io, credentials: {environment: {user: A}}}]":    "upstreams[0].credentials.environment.password",
		"upstreams: [{name: a.io, credentials: {vault: {path: a}}}]":          "vault",
		"vault: {address: 'https://v'}":                                       "vault.login",
		"vault: {address: 'https://u:secret@v', login: {token: {file: a}}}":   "vault.address",
		"upstreams: [{name: a.io, credentials: {vault: {path: ../a}}}]":       "upstreams[0].credentials.vault.path",
		"upstreams: [{name: a.io, credentials: {file: a, vault: {path: a}}}]": "upstreams[0].credentials",
		"hosts: [a.io]\nupstreams: [{name: a.io}]":                            "upstreams[0].name",
		"hosts: [https://a.io]":                                               "hosts[0]",
		"tls: {certFile: a}":                                                  "tls.keyFile",
		"access: {grants: [{repositories: [a], actions: [pull]}]}":            "access.grants[0].users",
		"access: {grants: [{users: [a], repositories: [a], actions: [fly]}]}": "access.grants[0].actions[0]",
		"access: {grants: [{users: [a], repositories: ['a*b']}]}":             "access.grants[0].repositories[0]",
		"collection: {grace: 1s}":                                             "collection.grace",
		"cap: {size: '0'}":                                                    "cap.size",
		"scrub: {rate: '1'}":                                                  "scrub.rate",
		"retention: [{repositories: ['*']}]":                                  "retention[0]",
		"retention: [{repositories: [], count: 1}]":                           "retention[0].repositories",
		"retention: [{repositories: ['*'], count: -1}]":                       "retention[0].count",
		"retention: [{repositories: ['*'], count: 1, delay: -1h}]":            "retention[0].delay",
		"retention: [{repositories: ['*'], count: 1, keep: ['[']}]":           "retention[0].keep[0]",
	} {
		problems := parse(t, text).Validate()
		found := false
		for _, p := range problems {
			found = found || p.Field == want
			if strings.Contains(p.Error(), "secret") {
				t.Errorf("%s: the answer shows a password: %v", text, p)
			}
		}
		if !found {
			t.Errorf("%s: %s is not named in %v", text, want, problems)
		}
	}
}

func FuzzConfiguration(f *testing.F) {
	f.Add("upstreams: [{name: a.io, url: 'https://a.io'}]")
	f.Add("retention: [{repositories: ['*'], count: 1, keep: ['[']}]")
	f.Fuzz(func(_ *testing.T, text string) {
		c := &config.Configuration{}
		if yaml.UnmarshalStrict([]byte(text), c) == nil {
			c.Default("/srv")
			c.Validate()
		}
	})
}
