package profile

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
	kubelet "k8s.io/kubelet/config/v1beta1"

	"github.com/loam-cloud/loam/api/v1alpha1"
)

// Forms of names that end up in files with rules of their own.
var (
	packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	moduleName  = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	sysctlName  = regexp.MustCompile(`^[a-z0-9_-]+([./][A-Za-z0-9_*-]+)+$`)
	userName    = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	unitName    = regexp.MustCompile(`^[A-Za-z0-9:_.@\\-]+\.(service|socket|timer|path|mount|target|slice)$`)
	serviceName = regexp.MustCompile(`^[A-Za-z0-9:_.@\\-]+\.(service|socket|timer|path)$`)
	flagName    = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	zoneName    = regexp.MustCompile(`^[A-Za-z0-9+_/-]+$`)
	hostName    = regexp.MustCompile(`^[A-Za-z0-9.:-]+$`)
	sshKey      = regexp.MustCompile(`^(ssh|ecdsa|sk)-[a-zA-Z0-9@.-]+ [A-Za-z0-9+/]+={0,3}( [^\n]*)?$`)
)

// checkSettings reports what is wrong with the values of one layer by themselves. What
// their types cannot take was reported by who read them.
func checkSettings(document map[string]any, at *field.Path) field.ErrorList {
	encoded, err := json.Marshal(document)
	if err != nil {
		return field.ErrorList{field.Invalid(orRoot(at), field.OmitValueType{}, err.Error())}
	}
	var s v1alpha1.NodeSettings
	if json.Unmarshal(encoded, &s) != nil {
		return nil
	}
	var errs field.ErrorList
	if s.Kubelet != nil {
		errs = append(errs, strict(s.Kubelet.Raw, &kubelet.KubeletConfiguration{}, child(at, "kubelet"))...)
	}
	errs = append(errs, checkNames(s, at)...)
	errs = append(errs, checkTime(s.Time, child(at, "time"))...)
	errs = append(errs, checkUsers(s.Users, child(at, "users"))...)
	errs = append(errs, checkFiles(s.Files, child(at, "files"))...)
	for _, name := range slices.Sorted(maps.Keys(s.Units)) {
		errs = append(errs, form(child(at, "units").Key(name), name, unitName, "must be the name of a unit such as backup.timer")...)
	}
	return append(errs, checkContainerd(s.Containerd, child(at, "containerd"))...)
}

// form wants a text to match.
func form(at *field.Path, value string, want *regexp.Regexp, what string) field.ErrorList {
	if want.MatchString(value) {
		return nil
	}
	return field.ErrorList{field.Invalid(at, value, what)}
}

func checkNames(s v1alpha1.NodeSettings, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	list := func(name string, values []string, want *regexp.Regexp, what string) {
		seen := map[string]bool{}
		for i, value := range values {
			one := child(at, name).Index(i)
			errs = append(errs, form(one, value, want, what)...)
			if seen[value] {
				errs = append(errs, field.Duplicate(one, value))
			}
			seen[value] = true
		}
	}
	list("packages", s.Packages, packageName, "must be the name of a Debian package")
	list("modules", s.Modules, moduleName, "must be the name of a kernel module")
	list("services", s.Services, serviceName, "must be the name of a unit such as chrony.service")
	for _, name := range slices.Sorted(maps.Keys(s.Sysctls)) {
		one := child(at, "sysctls").Key(name)
		errs = append(errs, form(one, name, sysctlName, "must be the name of a kernel setting such as net.ipv4.ip_forward")...)
		errs = append(errs, line(one, s.Sysctls[name])...)
	}
	if s.ControlPlane != nil {
		for _, program := range []struct {
			name string
			args map[string]string
		}{{"apiServer", s.ControlPlane.APIServer}, {"controllerManager", s.ControlPlane.ControllerManager}, {"scheduler", s.ControlPlane.Scheduler}} {
			for _, flag := range slices.Sorted(maps.Keys(program.args)) {
				errs = append(errs, form(child(at, "controlPlane", program.name).Key(flag), flag, flagName, "must be a flag without dashes at its begin")...)
			}
		}
	}
	return errs
}

// line wants a value that is one line of a file.
func line(at *field.Path, value string) field.ErrorList {
	if value == "" || strings.ContainsAny(value, "\n\r\x00") {
		return field.ErrorList{field.Invalid(at, value, "must be one line, and not empty")}
	}
	return nil
}

func checkTime(t *v1alpha1.TimeSettings, at *field.Path) field.ErrorList {
	if t == nil {
		return nil
	}
	var errs field.ErrorList
	if t.Zone != "" {
		errs = append(errs, form(at.Child("zone"), t.Zone, zoneName, "must be a name of the time zone database such as Europe/Berlin")...)
	}
	for i, server := range t.Servers {
		errs = append(errs, form(at.Child("servers").Index(i), server, hostName, "must be a name or an address")...)
	}
	return errs
}

func checkUsers(users map[string]v1alpha1.NodeUser, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(users)) {
		one := at.Key(name)
		errs = append(errs, form(one, name, userName, "must be the name of a user: at most 32 of a-z, 0-9, _ and -")...)
		if name == "root" || name == "default" {
			errs = append(errs, field.Invalid(one, name, "must be a user of its own"))
		}
		for i, key := range users[name].SSHAuthorizedKeys {
			errs = append(errs, form(one.Child("sshAuthorizedKeys").Index(i), key, sshKey, "must be a public key such as ssh-ed25519 AAAA... name")...)
		}
		for i, group := range users[name].Groups {
			errs = append(errs, form(one.Child("groups").Index(i), group, userName, "must be the name of a group")...)
		}
	}
	return errs
}

func checkFiles(files map[string]v1alpha1.NodeFile, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(files)) {
		one := at.Key(name)
		if !path.IsAbs(name) || path.Clean(name) != name || name == "/" || strings.ContainsAny(name, "\n\r\x00") {
			errs = append(errs, field.Invalid(one, name, "must be an absolute path without . and .. in it"))
		}
		if _, err := mode(files[name].Mode); err != nil {
			errs = append(errs, field.Invalid(one.Child("mode"), files[name].Mode, err.Error()))
		}
		for i, unit := range files[name].Restart {
			errs = append(errs, form(one.Child("restart").Index(i), unit, serviceName, "must be the name of a unit such as chrony.service")...)
		}
	}
	return errs
}

// mode reads an octal mode; empty is 0644.
func mode(text string) (uint32, error) {
	if text == "" {
		return 0o644, nil
	}
	value, err := strconv.ParseUint(text, 8, 32)
	if err != nil || value > 0o777 {
		return 0, fmt.Errorf("must be a mode in octal such as \"0600\"")
	}
	return uint32(value), nil
}

// Bounds that containerd checks when it starts.
const mostPause = 0.5

func checkContainerd(c *v1alpha1.ContainerdSettings, at *field.Path) field.ErrorList {
	if c == nil {
		return nil
	}
	var errs field.ErrorList
	if n := c.MaxConcurrentDownloads; n != nil && *n < 1 {
		errs = append(errs, field.Invalid(at.Child("maxConcurrentDownloads"), *n, "must be at least 1"))
	}
	if c.SandboxImage != "" && strings.ContainsAny(c.SandboxImage, " \n\t\"") {
		errs = append(errs, field.Invalid(at.Child("sandboxImage"), c.SandboxImage, "must be an image such as registry.k8s.io/pause:3.10"))
	}
	if gc := c.Collection; gc != nil {
		at := at.Child("collection")
		if d := gc.ScheduleDelay; d != nil && d.Duration < 0 {
			errs = append(errs, field.Invalid(at.Child("scheduleDelay"), d.Duration.String(), "must not be negative"))
		}
		if p := gc.PauseThreshold; p != nil && (*p <= 0 || *p > mostPause) {
			errs = append(errs, field.Invalid(at.Child("pauseThreshold"), *p, "must be above 0 and at most 0.5"))
		}
		if n := gc.MutationThreshold; n != nil && *n < 0 {
			errs = append(errs, field.Invalid(at.Child("mutationThreshold"), *n, "must not be negative"))
		}
	}
	return errs
}
