package profile

import (
	"io/fs"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// File is a file of a node, owned by root.
type File struct {
	// Path is absolute.
	Path    string
	Content []byte
	Mode    fs.FileMode
	// Restart are the services that read the file only when they start.
	Restart []string
}

const (
	public  fs.FileMode = 0o644
	program fs.FileMode = 0o755
)

// Network is one card of a machine.
type Network struct {
	// MAC tells the card apart; with Name instead it is told by a pattern of its name.
	MAC, Name string
	// Addresses are with the length of their network; the card asks for one when there
	// are none.
	Addresses []netip.Prefix
	// Gateways are one of each family at most.
	Gateways []netip.Addr
	// DNS are resolvers, Search the domains that names are looked for in.
	DNS    []netip.Addr
	Search []string
	// MTU is 0 for the card's own.
	MTU int
}

var hardware = regexp.MustCompile(`^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$`)

// smallestMTU is what IPv6 needs.
const smallestMTU = 1280

// checkMachine reports what is wrong with what is one machine's own.
func checkMachine(in Input) field.ErrorList {
	var errs field.ErrorList
	if in.Name != "" {
		for _, problem := range validation.IsDNS1123Subdomain(in.Name) {
			errs = append(errs, field.Invalid(field.NewPath("name"), in.Name, problem))
		}
	}
	for i, n := range in.Networks {
		errs = append(errs, checkNetwork(n, field.NewPath("networks").Index(i))...)
	}
	seen := map[string]bool{}
	for i, f := range in.Files {
		at := field.NewPath("files").Index(i).Child("path")
		if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "/" {
			errs = append(errs, field.Invalid(at, f.Path, "must be an absolute path without . and .. in it"))
		}
		if seen[f.Path] {
			errs = append(errs, field.Duplicate(at, f.Path))
		}
		seen[f.Path] = true
	}
	return errs
}

func checkNetwork(n Network, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if n.MAC != "" {
		errs = append(errs, form(at.Child("mac"), n.MAC, hardware, "must be an address of hardware such as bc:24:11:00:00:01")...)
	}
	if (n.MAC == "") == (n.Name == "") {
		errs = append(errs, field.Required(at.Child("mac"), "or a name, and not both: a card is told by one of them"))
	}
	for i, a := range n.Addresses {
		if !a.IsValid() || a.Addr().IsUnspecified() || a.Addr().IsLoopback() || a.Addr().Zone() != "" {
			errs = append(errs, field.Invalid(at.Child("addresses").Index(i), a.String(), "must be an address with the length of its network, such as 10.0.0.5/24"))
		}
	}
	families := map[bool]bool{}
	for i, g := range n.Gateways {
		one := at.Child("gateways").Index(i)
		reached := slices.ContainsFunc(n.Addresses, func(a netip.Prefix) bool { return a.Masked().Contains(g) }) || g.IsLinkLocalUnicast()
		switch {
		case !g.IsValid() || !reached:
			errs = append(errs, field.Invalid(one, g.String(), "must be in the network of one of the addresses"))
		case families[g.Is4()]:
			errs = append(errs, field.Invalid(one, g.String(), "must be the only one of its family"))
		}
		families[g.Is4()] = true
	}
	for i, d := range n.DNS {
		if !d.IsValid() || d.Zone() != "" {
			errs = append(errs, field.Invalid(at.Child("dns").Index(i), d.String(), "must be an address"))
		}
	}
	for i, domain := range n.Search {
		for _, problem := range validation.IsDNS1123Subdomain(strings.TrimSuffix(domain, ".")) {
			errs = append(errs, field.Invalid(at.Child("search").Index(i), domain, problem))
		}
	}
	if n.MTU != 0 && (n.MTU < smallestMTU || n.MTU > 65535) {
		errs = append(errs, field.Invalid(at.Child("mtu"), n.MTU, "must be from 1280 to 65535"))
	}
	return errs
}
