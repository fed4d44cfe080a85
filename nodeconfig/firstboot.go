package nodeconfig

import (
	"bytes"
	_ "embed"
	"regexp"
	"strings"
	"text/template"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// FirstBootPath is what a machine asks the agent for its first boot.
const FirstBootPath = "/v1/boot"

// Paths of the first boot.
const (
	FirstBootUnit    = "loam-first-boot.service"
	firstBootProgram = "/usr/local/lib/loam/first-boot"
	firstBootFolder  = "/etc/loam/first-boot"
	firstBootDone    = firstBootFolder + "/done"
)

// FirstBoot is how a virtual machine gets at its first boot what must not be in its
// boot data.
type FirstBoot struct {
	// Server is host:port of the agent, CA the authority of its certificate, PEM.
	Server string
	CA     []byte
	// Machine is the name by which the ticket was issued.
	Machine string
	// Ticket is worth something once.
	Ticket string
	// Until is a file that is there when nothing more is needed; what was given is
	// refreshed until then. Empty means once.
	Until string
}

//go:embed firstboot/first-boot.sh
var firstBootScript string

//go:embed firstboot/first-boot.service
var firstBootService string

//go:embed firstboot/first-boot.timer
var firstBootTimer string

// serverGrammar is host:port, of which nothing means anything to a shell.
var serverGrammar = regexp.MustCompile(`^([a-z0-9.-]+|\[[0-9a-f:.]+\]):[0-9]{1,5}$`)

var ticketGrammar = regexp.MustCompile(`^[A-Za-z0-9_-]{16,128}$`)

// FirstBootFiles renders the unit that asks the agent, and what it needs for that.
// It names every problem.
func FirstBootFiles(f FirstBoot) ([]File, error) {
	var problems field.ErrorList
	if !serverGrammar.MatchString(f.Server) {
		problems = append(problems, field.Invalid(field.NewPath("server"), f.Server, "must be host:port"))
	}
	if !bytes.Contains(f.CA, []byte("-----BEGIN CERTIFICATE-----")) {
		problems = append(problems, field.Required(field.NewPath("ca"), "is the authority of the server's certificate, PEM"))
	}
	for _, problem := range validation.IsDNS1123Subdomain(f.Machine) {
		problems = append(problems, field.Invalid(field.NewPath("machine"), f.Machine, problem))
	}
	if !ticketGrammar.MatchString(f.Ticket) {
		// Not repeated: it may be one, with something beside it.
		problems = append(problems, field.Invalid(field.NewPath("ticket"), "(not shown)", "must be 16 to 128 letters, digits, - and _"))
	}
	if f.Until != "" && (!strings.HasPrefix(f.Until, "/") || strings.ContainsAny(f.Until, " \t\n\"'\\%$")) {
		problems = append(problems, field.Invalid(field.NewPath("until"), f.Until, "must be an absolute path without spaces and quotes"))
	}
	if len(problems) > 0 {
		return nil, problems.ToAggregate()
	}
	if f.Until == "" {
		f.Until = firstBootDone
	}
	values := map[string]string{
		"URL": "https://" + f.Server + FirstBootPath, "Machine": f.Machine, "Until": f.Until, "Done": firstBootDone,
		"Folder": firstBootFolder, "Program": firstBootProgram, "Unit": FirstBootUnit,
	}
	files := []File{
		{Path: firstBootFolder + "/ca.crt", Content: f.CA, Mode: 0o644},
		{Path: firstBootFolder + "/ticket", Content: []byte(f.Ticket), Mode: private},
	}
	for _, t := range []struct {
		path, text string
		executable bool
	}{
		{firstBootProgram, firstBootScript, true},
		{"/etc/systemd/system/" + FirstBootUnit, firstBootService, false},
		{"/etc/systemd/system/loam-first-boot.timer", firstBootTimer, false},
	} {
		parsed, err := template.New(t.path).Option("missingkey=error").Parse(t.text)
		if err != nil {
			return nil, err
		}
		var text bytes.Buffer
		if err := parsed.Execute(&text, values); err != nil {
			return nil, err
		}
		file := File{Path: t.path, Content: text.Bytes(), Mode: 0o644}
		if t.executable {
			file.Mode = 0o755
		}
		files = append(files, file)
	}
	return files, nil
}
