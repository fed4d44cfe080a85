package insight_test

import (
	"testing"

	"github.com/loam-cloud/loam/shoots/insight"
)

// FuzzProbe holds that whatever a node answers becomes processes with names.
func FuzzProbe(f *testing.F) {
	f.Add(answer)
	f.Add("# units\nNRestarts=x\nId=\n\n# processes\n1 2 3\n-1 -1 -1 etcd\n# logs\n/var/log/pods/a/etcd/-1.log\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, p := range insight.Processes(text) {
			if p.Name == "" || p.Kind == "" || p.Restarts != nil && p.Kind == "process" {
				t.Errorf("%q gives %+v", text, p)
			}
		}
	})
}

// FuzzCertificates holds that files of any content give certificates or nothing.
func FuzzCertificates(f *testing.F) {
	f.Add("/etc/kubernetes/pki/ca.crt", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
	f.Add("/etc/kubernetes/admin.conf", "users: [{name: a, user: {client-certificate-data: LS0t}}]")
	f.Add("/etc/kubernetes/admin.conf", "users: {")
	f.Fuzz(func(t *testing.T, file, content string) {
		for _, c := range insight.Certificates(file, []byte(content), now) {
			if c.File != file || c.Subject == "" || c.State == "" {
				t.Errorf("%q gives %+v", content, c)
			}
		}
	})
}
