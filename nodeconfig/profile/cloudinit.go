package profile

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"sigs.k8s.io/yaml"
)

// cloud-init reads user-data and vendor-data as one document: of a key that both have
// only that of user-data counts. So they share none. vendor-data is what all machines
// of a site have, user-data what is this machine's.

// cloudConfig is the line by which cloud-init knows what it reads.
const cloudConfig = "#cloud-config\n"

type userDocument struct {
	Hostname         string `json:"hostname,omitempty"`
	FQDN             string `json:"fqdn,omitempty"`
	PreserveHostname bool   `json:"preserve_hostname"`
	// ManageEtcHosts writes the line of the machine's own name, and leaves the others.
	ManageEtcHosts string   `json:"manage_etc_hosts,omitempty"`
	SSHKeys        []string `json:"ssh_authorized_keys,omitempty"`
	// BootCommands run at each boot, before keys are made.
	BootCommands []string    `json:"bootcmd"`
	WriteFiles   []writeFile `json:"write_files"`
	RunCommands  [][]string  `json:"runcmd"`
}

type writeFile struct {
	Path        string `json:"path"`
	Owner       string `json:"owner"`
	Permissions string `json:"permissions"`
	Encoding    string `json:"encoding,omitempty"`
	Content     string `json:"content"`
}

type vendorDocument struct {
	Packages []string `json:"packages,omitempty"`
	Timezone string   `json:"timezone,omitempty"`
	Users    []any    `json:"users,omitempty"`
	// SSHPasswords, DisableRoot: nobody has a password to guess.
	SSHPasswords bool `json:"ssh_pwauth"`
	DisableRoot  bool `json:"disable_root"`
	// DeleteKeys would give the host new keys for each new instance-id.
	DeleteKeys bool `json:"ssh_deletekeys"`
}

type cloudUser struct {
	Name         string   `json:"name"`
	Groups       []string `json:"groups,omitempty"`
	Shell        string   `json:"shell"`
	LockPassword bool     `json:"lock_passwd"`
	// Sudo is one line: cloud-init 22 knows no list.
	Sudo    string   `json:"sudo,omitempty"`
	System  bool     `json:"system,omitempty"`
	SSHKeys []string `json:"ssh_authorized_keys,omitempty"`
}

// forgetKeys throws the host's keys away once: those of a template would be the same in
// all machines that are made of it. cloud-init makes those that are missing.
const forgetKeys = "test -e /var/lib/loam/own-host-keys || { rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub; mkdir -p /var/lib/loam && : >/var/lib/loam/own-host-keys; }"

func userData(in Input, files []File) ([]byte, error) {
	document := userDocument{
		SSHKeys:      in.SSHKeys,
		BootCommands: []string{forgetKeys},
		RunCommands:  [][]string{{ApplyPath}},
	}
	if in.Name != "" {
		document.Hostname, _, _ = strings.Cut(in.Name, ".")
		document.FQDN, document.ManageEtcHosts = in.Name, "localhost"
	}
	for _, f := range files {
		document.WriteFiles = append(document.WriteFiles, asWritten(f))
	}
	return cloudDocument(document)
}

func asWritten(f File) writeFile {
	w := writeFile{Path: f.Path, Owner: "root:root", Permissions: fmt.Sprintf("%04o", uint32(f.Mode.Perm())), Content: string(f.Content)}
	if !isText(f.Content) {
		w.Encoding, w.Content = "b64", base64.StdEncoding.EncodeToString(f.Content)
	}
	return w
}

// isText tells whether content passes through YAML unchanged.
func isText(content []byte) bool {
	return utf8.Valid(content) && strings.IndexFunc(string(content), func(r rune) bool {
		return r != '\n' && r != '\t' && !unicode.IsPrint(r)
	}) < 0
}

// vendorData keeps the image's own user beside those of the profile.
func (r *Resolved) vendorData() ([]byte, error) {
	document := vendorDocument{Packages: r.Packages, DisableRoot: true}
	if r.Time != nil {
		document.Timezone = r.Time.Zone
	}
	if len(r.Users) > 0 {
		document.Users = []any{"default"}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Users)) {
		u := r.Users[name]
		user := cloudUser{Name: name, Groups: u.Groups, Shell: "/bin/bash", LockPassword: true, System: u.System, SSHKeys: u.SSHAuthorizedKeys}
		if u.System {
			user.Shell = "/usr/sbin/nologin"
		}
		if u.Sudo {
			user.Sudo = "ALL=(ALL) NOPASSWD:ALL"
		}
		document.Users = append(document.Users, user)
	}
	return cloudDocument(document)
}

func cloudDocument(document any) ([]byte, error) {
	text, err := yaml.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("writing %T: %w", document, err)
	}
	return append([]byte(cloudConfig), text...), nil
}

type networkDocument struct {
	Version   int             `json:"version"`
	Ethernets map[string]card `json:"ethernets"`
}

type card struct {
	Match       match     `json:"match"`
	DHCP4       bool      `json:"dhcp4"`
	DHCP6       bool      `json:"dhcp6"`
	Addresses   []string  `json:"addresses,omitempty"`
	Routes      []route   `json:"routes,omitempty"`
	NameServers *resolver `json:"nameservers,omitempty"`
	MTU         int       `json:"mtu,omitempty"`
}

type match struct {
	MAC  string `json:"macaddress,omitempty"`
	Name string `json:"name,omitempty"`
}

type route struct {
	To  string `json:"to"`
	Via string `json:"via"`
}

type resolver struct {
	Addresses []string `json:"addresses,omitempty"`
	Search    []string `json:"search,omitempty"`
}

// networkConfig is of version 2, in the form that a seed has it in.
func networkConfig(networks []Network) ([]byte, error) {
	document := networkDocument{Version: 2, Ethernets: map[string]card{}}
	if len(networks) == 0 {
		networks = []Network{{Name: "e*"}}
	}
	for i, n := range networks {
		c := card{Match: match{MAC: strings.ToLower(n.MAC), Name: n.Name}, DHCP4: len(n.Addresses) == 0, MTU: n.MTU}
		for _, a := range n.Addresses {
			c.Addresses = append(c.Addresses, a.String())
		}
		for _, g := range n.Gateways {
			c.Routes = append(c.Routes, route{To: everywhere(g), Via: g.String()})
		}
		if len(n.DNS)+len(n.Search) > 0 {
			c.NameServers = &resolver{Search: n.Search}
			for _, d := range n.DNS {
				c.NameServers.Addresses = append(c.NameServers.Addresses, d.String())
			}
		}
		document.Ethernets[fmt.Sprintf("card%d", i)] = c
	}
	text, err := yaml.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("writing the network's configuration: %w", err)
	}
	return text, nil
}

// everywhere is the range of all addresses of a family: cloud-init 22 knows no word for
// it in routes.
func everywhere(gateway netip.Addr) string {
	if gateway.Is6() {
		return "::/0"
	}
	return "0.0.0.0/0"
}
