package managerconfig_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	controllermanagerconfigv1alpha1 "github.com/gardener/gardener/pkg/apis/config/controllermanager/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/loam-cloud/loam/cli/managerconfig"
)

type configuration = controllermanagerconfigv1alpha1.ControllerManagerConfiguration

// read a file and give it its defaults.
func read(t *testing.T, text string) *configuration {
	t.Helper()
	c := &configuration{}
	if err := yaml.UnmarshalStrict([]byte(text), c); err != nil {
		t.Fatal(err)
	}
	controllermanagerconfigv1alpha1.SetObjectDefaults_ControllerManagerConfiguration(c)
	return c
}

func TestDefaultsAreValid(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":            "",
		"with events":        "controllers: {event: {}}",
		"a set's own period": "controllers: {managedSeedSet: {maxShootRetries: 0}}",
	} {
		if problems := managerconfig.Validate(read(t, text)); len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

// TestEverySection sets every number and every period of every section below
// what it may be, and wants each of them named.
func TestEverySection(t *testing.T) {
	c := read(t, "controllers: {event: {}}")
	var want []string
	spoil(reflect.ValueOf(&c.Controllers).Elem(), "controllers", &want)
	if len(want) < 45 {
		t.Fatalf("only %d numbers were found: %v", len(want), want)
	}
	var got []string
	for _, problem := range managerconfig.Validate(c) {
		got = append(got, problem.Field)
		if !strings.Contains(problem.Error(), "-1") || !strings.Contains(problem.Detail, "must be ") {
			t.Errorf("%v: does not say the value, or what would be right", problem)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
}

func spoil(section reflect.Value, path string, spoiled *[]string) {
	for i := range section.NumField() {
		name, _, _ := strings.Cut(section.Type().Field(i).Tag.Get("json"), ",")
		value, at := reflect.Indirect(section.Field(i)), path+"."+name
		if !value.IsValid() {
			continue
		}
		switch _, isPeriod := value.Interface().(metav1.Duration); {
		case isPeriod:
			value.Set(reflect.ValueOf(metav1.Duration{Duration: -time.Second}))
		case value.Kind() == reflect.Struct:
			spoil(value, at, spoiled)
			continue
		case value.CanInt():
			value.SetInt(-1)
		default:
			continue
		}
		*spoiled = append(*spoiled, at)
	}
}

func TestValidate(t *testing.T) {
	for name, row := range map[string]struct {
		text string
		// want are the beginnings of the problems, in their order.
		want []string
	}{
		"no workers":          {"controllers: {quota: {concurrentSyncs: 0}}", []string{"controllers.quota.concurrentSyncs: Invalid value: 0: must be 1 or more"}},
		"no time":             {"controllers: {bastion: {maxLifetime: 0s}}", []string{`controllers.bastion.maxLifetime: Invalid value: "0s": must be more than 0s`}},
		"no jitter":           {"controllers: {shootRetry: {retryJitterPeriod: 0s}}", nil},
		"a quota never again": {"controllers: {shootQuota: {syncPeriod: 0s}}", []string{"controllers.shootQuota.syncPeriod:"}},
		"no cache":            {"controllers: {cacheSyncTimeout: 0s}", []string{"controllers.cacheSyncTimeout:"}},
		"log":                 {"logLevel: loud\nlogFormat: xml", []string{`logLevel: Unsupported value: "loud": supported values: "debug", "info", "error"`, `logFormat: Unsupported value: "xml"`}},
		"client": {
			"gardenClientConnection: {qps: -1, burst: -2, contentType: text/plain, acceptContentTypes: 'application/json,;'}",
			[]string{"gardenClientConnection.qps: Invalid value: -1", "gardenClientConnection.burst: Invalid value: -2", "gardenClientConnection.contentType: Unsupported value", "gardenClientConnection.acceptContentTypes: Invalid value"},
		},
		"client in protobuf": {"gardenClientConnection: {contentType: application/vnd.kubernetes.protobuf, acceptContentTypes: 'application/vnd.kubernetes.protobuf,application/json'}", nil},
		"servers": {
			"server: {healthProbes: {port: 99999, bindAddress: localhost}, metrics: {port: -2}}",
			[]string{"server.healthProbes.port: Invalid value: 99999", `server.healthProbes.bindAddress: Invalid value: "localhost"`, "server.metrics.port: Invalid value: -2"},
		},
		"one port for both":         {"server: {healthProbes: {port: 1234}, metrics: {port: 1234}}", []string{"server.metrics.port: Invalid value: 1234: must be another port"}},
		"one port on two addresses": {"server: {healthProbes: {port: 1234, bindAddress: 127.0.0.1}, metrics: {port: 1234, bindAddress: 127.0.0.2}}", nil},
		"no servers":                {"server: {healthProbes: {port: -1}, metrics: {port: -1}}", nil},
		"election": {
			"leaderElection: {resourceLock: configmaps, resourceName: A_B, resourceNamespace: a.b, leaseDuration: 5s, renewDeadline: 6s, retryPeriod: 5s}",
			[]string{"leaderElection.resourceLock:", "leaderElection.resourceName:", "leaderElection.resourceNamespace:", "leaderElection.leaseDuration:", "leaderElection.renewDeadline:"},
		},
		"no election": {"leaderElection: {leaderElect: false, leaseDuration: 5s, renewDeadline: 6s}", nil},
		"thresholds": {
			"controllers: {seedExtensionsCheck: {conditionThresholds: [{type: ExtensionsReady, duration: 1m}, {type: ExtensionsReady, duration: -1m}, {type: BackupBucketsReady, duration: 1m}]}}",
			[]string{
				"controllers.seedExtensionsCheck.conditionThresholds[1].type: Duplicate value", `controllers.seedExtensionsCheck.conditionThresholds[1].duration: Invalid value: "-1m0s"`,
				`controllers.seedExtensionsCheck.conditionThresholds[2].type: Unsupported value: "BackupBucketsReady": supported values: "ExtensionsReady"`,
			},
		},
		"threshold of buckets":       {"controllers: {seedBackupBucketsCheck: {conditionThresholds: [{type: BackupBucketsReady, duration: 1m}, {type: Ready, duration: 0s}]}}", []string{`controllers.seedBackupBucketsCheck.conditionThresholds[1].type: Unsupported value: "Ready"`}},
		"clusters before their seed": {"controllers: {seed: {monitorPeriod: 2m, shootMonitorPeriod: 1m}}", []string{`controllers.seed.shootMonitorPeriod: Invalid value: "1m0s": must be monitorPeriod (2m0s) or more`}},
		"quotas": {
			`controllers: {project: {quotas: [
  {config: {spec: {hard: {count/secrets: "1"}}}},
  {projectSelector: {matchLabels: {"a b": x}, matchExpressions: [{key: tier, operator: Near}]}, config: {metadata: {labels: {x: "a b"}, annotations: {"c d": e}}, spec: {hard: {"count/sec rets": "1", count/secrets: "-1"}}}}]}}`,
			[]string{
				"controllers.project.quotas[1].projectSelector.matchLabels:", `controllers.project.quotas[1].projectSelector.matchExpressions[0].operator: Invalid value: "Near"`,
				"controllers.project.quotas[1].config.metadata.labels:", "controllers.project.quotas[1].config.metadata.annotations:",
				"controllers.project.quotas[1].config.spec.hard[count/sec rets]:", `controllers.project.quotas[1].config.spec.hard[count/secrets]: Invalid value: "-1": must be 0 or more`,
			},
		},
		"gates": {
			"featureGates: {DisableNginxIngressInShoot: true, Teleportation: true, DoNotCopyBackupCredentials: false}",
			[]string{"featureGates[DoNotCopyBackupCredentials]: Invalid value: false", `featureGates: Unsupported value: "Teleportation": supported values: "AllAlpha", "AllBeta", "BackupEntryForGarden"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			problems := managerconfig.Validate(read(t, row.text))
			if len(problems) != len(row.want) {
				t.Fatalf("got %d problems, want %d: %v", len(problems), len(row.want), problems)
			}
			for i, problem := range problems {
				if !strings.HasPrefix(problem.Error(), row.want[i]) {
					t.Errorf("%q does not begin with %q", problem.Error(), row.want[i])
				}
			}
		})
	}
}

// TestReadGates wants the one gate that controllers have read, and others named.
func TestReadGates(t *testing.T) {
	for name, row := range map[string]struct {
		set     map[string]bool
		disable bool
		ignored []string
	}{
		"none":             {},
		"on":               {map[string]bool{"DisableNginxIngressInShoot": true}, true, nil},
		"off":              {map[string]bool{"DisableNginxIngressInShoot": false}, false, nil},
		"all alpha":        {map[string]bool{"AllAlpha": true}, true, nil},
		"all but this one": {map[string]bool{"AllAlpha": true, "DisableNginxIngressInShoot": false}, false, nil},
		"of others":        {map[string]bool{"RemoveVali": true, "InPlaceNodeUpdates": false}, false, []string{"InPlaceNodeUpdates", "RemoveVali"}},
	} {
		gates, problems := managerconfig.ReadGates(row.set)
		if len(problems) > 0 || gates.DisableNginxIngress != row.disable || !slices.Equal(gates.Ignored, row.ignored) {
			t.Errorf("%s: %+v, %v", name, gates, problems)
		}
	}
}
