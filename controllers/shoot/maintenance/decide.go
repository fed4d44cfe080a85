package maintenance

import (
	"fmt"
	"strings"
	"time"

	"github.com/gardener/gardener/pkg/apis/core"
	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	securityv1alpha1 "github.com/gardener/gardener/pkg/apis/security/v1alpha1"
	"k8s.io/utils/ptr"

	"github.com/loam-cloud/loam/controllers/shoot/maintenance/internal/versions"
	"github.com/loam-cloud/loam/garden/offers"
)

// facts are what a plan depends on beside the Shoot.
type facts struct {
	profile *core.CloudProfileSpec
	// secretBinding is the Shoot's, if it has one and it is there.
	secretBinding *gardencorev1beta1.SecretBinding
	// credentialsBindings are those of the Shoot's namespace, when it has a
	// secret binding.
	credentialsBindings []securityv1alpha1.CredentialsBinding
	// restartControlPlane and restartAddons are the operator's wish.
	restartControlPlane, restartAddons, disableNginx bool
	now                                              time.Time
}

// plan is what a maintenance changes.
type plan struct {
	// shoot as it shall be.
	shoot *gardencorev1beta1.Shoot
	// binding has to be created first; nil if none has.
	binding *securityv1alpha1.CredentialsBinding
	// results in the order of the steps.
	results []result
}

// add notes what a step did, or could not do.
func (p *plan) add(r result) { p.results = append(p.results, r) }

// decide goes through the steps of a maintenance in their order: each sees what
// those before it have done. The Shoot that it is given stays as it is.
func decide(observed *gardencorev1beta1.Shoot, facts facts) (*plan, error) {
	p := &plan{shoot: observed.DeepCopy()}
	if err := p.updateImages(facts); err != nil {
		return nil, err
	}
	p.updateControlPlane(facts)
	rotations, err := p.rotations(facts)
	if err != nil {
		return nil, err
	}
	p.removeFields(facts)
	p.updateWorkers(facts)
	p.removeGates()
	p.removePlugins()
	if err := p.operate(rotations, facts); err != nil {
		return nil, err
	}
	p.disableNginx(facts)
	return p, nil
}

// internal is a Shoot as the rules of the API read it.
func internal(shoot *gardencorev1beta1.Shoot) (*core.Shoot, error) {
	converted := &core.Shoot{}
	// Converted types share memory with what they come from.
	if err := gardencorev1beta1.Convert_v1beta1_Shoot_To_core_Shoot(shoot.DeepCopy(), converted, nil); err != nil {
		return nil, fmt.Errorf("converting the shoot: %w", err)
	}
	return converted, nil
}

func (p *plan) updateImages(facts facts) error {
	shoot, err := internal(p.shoot)
	if err != nil {
		return err
	}
	auto := autoUpdate(p.shoot)
	for i := range p.shoot.Spec.Provider.Workers {
		worker := &p.shoot.Spec.Provider.Workers[i]
		image := worker.Machine.Image
		if image == nil || ptr.Deref(image.Version, "") == "" {
			continue // nothing is pinned, nothing to change
		}
		subject, what := pool(worker.Name), fmt.Sprintf("machine image %q", image.Name)
		offered := offers.Image(facts.profile, image.Name)
		if offered == nil {
			p.add(result{subject: subject, kind: imageVersion, what: what, reason: "Machine image is no longer offered",
				problem: fmt.Sprintf("the cloud profile has no machine image %q: move the pool to another image", image.Name)})
			continue
		}
		choice := versions.Image{
			Profile: facts.profile, Image: offered, Need: offers.NeedOf(shoot, &shoot.Spec.Provider.Workers[i], facts.profile),
			Current: *image.Version, Auto: ptr.Deref(auto.MachineImageVersion, true), Now: facts.now,
		}.Choose()
		done := fmt.Sprintf("Updated machine image %q from %q to %q", image.Name, *image.Version, choice.Version)
		if p.chosen(choice, result{subject: subject, kind: imageVersion, what: what, done: done}) {
			image.Version = &choice.Version
		}
	}
	return nil
}

func (p *plan) updateControlPlane(facts facts) {
	kubernetes := &p.shoot.Spec.Kubernetes
	choice := versions.Kubernetes{Offered: facts.profile.Kubernetes.Versions, Current: kubernetes.Version, Auto: autoUpdate(p.shoot).KubernetesVersion, Now: facts.now}.Choose()
	if p.chosen(choice, kubernetesResult(controlPlane, kubernetes.Version, choice.Version)) {
		kubernetes.Version = choice.Version
	}
}

func (p *plan) updateWorkers(facts facts) {
	for i := range p.shoot.Spec.Provider.Workers {
		worker := &p.shoot.Spec.Provider.Workers[i]
		if worker.Kubernetes == nil || worker.Kubernetes.Version == nil {
			continue // follows the control plane
		}
		choice := versions.Kubernetes{
			Offered: facts.profile.Kubernetes.Versions, Current: *worker.Kubernetes.Version, Auto: autoUpdate(p.shoot).KubernetesVersion,
			Ceiling: p.shoot.Spec.Kubernetes.Version, Now: facts.now,
		}.Choose()
		if p.chosen(choice, kubernetesResult(pool(worker.Name), *worker.Kubernetes.Version, choice.Version)) {
			worker.Kubernetes.Version = &choice.Version
		}
	}
}

func kubernetesResult(subject, from, to string) result {
	return result{subject: subject, kind: kubernetesVersion, what: "Kubernetes version", done: fmt.Sprintf("Updated Kubernetes version from %q to %q", from, to)}
}

// chosen notes a choice, and tells whether there is a version to go to.
func (p *plan) chosen(choice versions.Choice, r result) bool {
	r.reason, r.problem = choice.Reason, choice.Problem
	if choice.Version != "" || choice.Problem != "" {
		p.add(r)
	}
	return choice.Version != ""
}

// autoUpdate is what a Shoot wants to have updated; what it does not say is
// wanted (the contract of autoUpdate).
func autoUpdate(shoot *gardencorev1beta1.Shoot) gardencorev1beta1.MaintenanceAutoUpdate {
	if shoot.Spec.Maintenance == nil || shoot.Spec.Maintenance.AutoUpdate == nil {
		return gardencorev1beta1.MaintenanceAutoUpdate{KubernetesVersion: true}
	}
	return *shoot.Spec.Maintenance.AutoUpdate
}

// workerVersion is the version of a pool's kubelets.
func workerVersion(shoot *gardencorev1beta1.Shoot, worker *gardencorev1beta1.Worker) string {
	if worker.Kubernetes != nil && worker.Kubernetes.Version != nil {
		return *worker.Kubernetes.Version
	}
	return shoot.Spec.Kubernetes.Version
}

const controlPlane = "Control Plane"

func pool(name string) string { return fmt.Sprintf("Worker pool %q", name) }

// The kinds of results, which have events of different reasons.
type kind int

const (
	other kind = iota
	imageVersion
	kubernetesVersion
)

// result is what became of one step for one part of a cluster.
type result struct {
	subject string
	kind    kind
	// what is maintained, and what was done to it.
	what, done string
	reason     string
	// problem is why it was not done; empty if it was.
	problem string
}

// text of a result that succeeded. People and tools read it.
func (r result) text() string { return fmt.Sprintf("%s: %s. Reason: %s", r.subject, r.done, r.reason) }

// describe sums results up for status.lastMaintenance. The failure reason is
// empty if nothing failed.
func describe(results []result) (description, failureReason string) {
	var texts, problems []string
	for _, r := range results {
		if r.problem == "" {
			texts = append(texts, r.text())
			continue
		}
		texts = append(texts, fmt.Sprintf("%s: Left %s as it is. It was due because %s", r.subject, r.what, r.reason))
		problems = append(problems, fmt.Sprintf("%s: %s", r.subject, r.problem))
	}
	all := strings.Join(texts, "; ")
	if len(problems) == 0 {
		return "All maintenance operations successful. " + all, ""
	}
	return fmt.Sprintf("(%d/%d) maintenance operations successful. %s", len(results)-len(problems), len(results), all), strings.Join(problems, "; ")
}
