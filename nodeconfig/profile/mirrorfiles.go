package profile

import (
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// mirrorFiles are a folder for each registry, in the order of mirrors, and the names
// in certificates with their addresses.
func mirrorFiles(mirrors []Mirror) ([]File, error) {
	var files []File
	var order []string
	folders := map[string][]Mirror{}
	for _, m := range mirrors {
		if folders[m.Registry] == nil {
			order = append(order, m.Registry)
		}
		folders[m.Registry] = append(folders[m.Registry], m)
	}
	var names strings.Builder
	for _, registry := range order {
		own, err := registryFiles(path.Join(certsPath, registry), folders[registry])
		if err != nil {
			return nil, err
		}
		files = append(files, own...)
	}
	for _, m := range mirrors {
		if _, line := m.endpoint(); !strings.Contains(names.String(), line) {
			names.WriteString(line)
		}
	}
	if names.Len() > 0 {
		files = append(files, File{Path: hostsPath, Content: []byte(names.String()), Mode: public})
	}
	return files, nil
}

// registryFiles lead to the mirrors of one registry. The tables of hosts are put
// together here: containerd asks in the order of the file, and a map has none.
func registryFiles(folder string, mirrors []Mirror) ([]File, error) {
	var files []File
	var hosts strings.Builder
	server := map[string]any{"server": mirrors[0].server()}
	for i, m := range mirrors {
		endpoint, _ := m.endpoint()
		host := map[string]any{"capabilities": m.capabilities()}
		if u, err := url.Parse(endpoint); err == nil && u.Path != "" {
			host["override_path"] = true
		}
		if len(m.CA) > 0 {
			ca := File{Path: fmt.Sprintf("%s/mirror-%d.crt", folder, i), Content: m.CA, Mode: public}
			host["ca"] = ca.Path
			files = append(files, ca)
		}
		if i == 0 && m.Offline {
			for name, value := range host {
				server[name] = value
			}
		}
		body, err := toml.Marshal(host)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&hosts, "\n[host.%q]\n%s", endpoint, body)
	}
	head, err := toml.Marshal(server)
	if err != nil {
		return nil, err
	}
	return append(files, File{Path: folder + "/hosts.toml", Content: []byte(rendered + string(head) + hosts.String()), Mode: public}), nil
}

// server is who is asked when no mirror answers.
func (m Mirror) server() string {
	switch {
	case m.Offline:
		endpoint, _ := m.endpoint()
		return endpoint
	case m.Upstream != "":
		return m.Upstream
	case m.Registry == "docker.io":
		return "https://registry-1.docker.io"
	}
	return "https://" + m.Registry
}

func (m Mirror) capabilities() []string {
	if m.Offline {
		return []string{"pull", "resolve"}
	}
	return []string{"pull"}
}

// endpoint has the name of the certificate in it, where one is given, and the line of
// /etc/hosts by which that is found.
func (m Mirror) endpoint() (address, line string) {
	u, err := url.Parse(strings.TrimRight(m.Endpoint, "/"))
	if err != nil || m.ServerName == "" {
		return strings.TrimRight(m.Endpoint, "/"), ""
	}
	line = u.Hostname() + " " + m.ServerName + "\n"
	if port := u.Port(); port != "" {
		u.Host = m.ServerName + ":" + port
	} else {
		u.Host = m.ServerName
	}
	return u.String(), line
}
