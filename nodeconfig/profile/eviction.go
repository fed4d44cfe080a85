package profile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The signals by which a kubelet throws out pods. A kubelet that is given some
// thresholds drops its own for the others, so a profile states all of them.
const memoryAvailable = "memory.available"

var (
	signals         = []string{"imagefs.available", "imagefs.inodesFree", memoryAvailable, "nodefs.available", "nodefs.inodesFree", "pid.available"}
	furtherSignals  = []string{"allocatableMemory.available", "containerfs.available", "containerfs.inodesFree"}
	reservedThings  = []string{"cpu", "ephemeral-storage", "memory", "pid"}
	hardPath        = inKubelet("evictionHard")
	softPath        = inKubelet("evictionSoft")
	gracePeriodPath = inKubelet("evictionSoftGracePeriod")
)

// threshold is a part of what there is, or an amount.
type threshold struct {
	percent float64
	amount  resource.Quantity
	isPart  bool
}

func (t threshold) less(other threshold) bool {
	if t.isPart {
		return t.percent < other.percent
	}
	return t.amount.Cmp(other.amount) < 0
}

func readThreshold(text string) (threshold, error) {
	if part, is := strings.CutSuffix(text, "%"); is {
		percent, err := strconv.ParseFloat(part, 64)
		if err != nil || !(percent >= 0 && percent <= 100) {
			return threshold{}, fmt.Errorf("must be from 0%% to 100%%")
		}
		return threshold{percent: percent, isPart: true}, nil
	}
	amount, err := resource.ParseQuantity(text)
	if err != nil || amount.Sign() < 0 {
		return threshold{}, fmt.Errorf("must be an amount such as 500Mi, or a part such as 15%%")
	}
	return threshold{amount: amount}, nil
}

func (r *Resolved) evictions() field.ErrorList {
	hard, errs := readThresholds(r.typed.EvictionHard, hardPath)
	soft, problems := readThresholds(r.typed.EvictionSoft, softPath)
	errs = append(errs, problems...)
	if len(r.typed.EvictionHard) > 0 {
		for _, signal := range signals {
			if r.typed.EvictionHard[signal] == "" {
				errs = append(errs, field.Required(hardPath.Key(signal), "a kubelet that is given some thresholds drops its own for the others: state all"))
			}
		}
	}
	for _, signal := range slices.Sorted(maps.Keys(soft)) {
		at := softPath.Key(signal)
		if _, given := r.typed.EvictionSoftGracePeriod[signal]; !given {
			errs = append(errs, field.Required(gracePeriodPath.Key(signal), fmt.Sprintf("%s is %s: for how long?", at, r.typed.EvictionSoft[signal])))
		}
		h, both := hard[signal]
		if both && h.isPart == soft[signal].isPart && !h.less(soft[signal]) {
			errs = append(errs, against(at, r.typed.EvictionSoft[signal], "must be more than", hardPath.Key(signal), r.typed.EvictionHard[signal]+": pods are thrown out at once before they are asked"))
		}
	}
	for _, signal := range slices.Sorted(maps.Keys(r.typed.EvictionSoftGracePeriod)) {
		text := r.typed.EvictionSoftGracePeriod[signal]
		if d, err := time.ParseDuration(text); err != nil || d < 0 {
			errs = append(errs, field.Invalid(gracePeriodPath.Key(signal), text, "must be a time such as 30s"))
		}
		if _, given := r.typed.EvictionSoft[signal]; !given {
			errs = append(errs, field.Invalid(gracePeriodPath.Key(signal), text, fmt.Sprintf("there is no %s that it is for", softPath.Key(signal))))
		}
	}
	return errs
}

func readThresholds(given map[string]string, at *field.Path) (map[string]threshold, field.ErrorList) {
	all := map[string]threshold{}
	var errs field.ErrorList
	for _, signal := range slices.Sorted(maps.Keys(given)) {
		if known := slices.Concat(signals, furtherSignals); !slices.Contains(known, signal) {
			errs = append(errs, field.NotSupported(at.Key(signal), signal, known))
			continue
		}
		t, err := readThreshold(given[signal])
		if err != nil {
			errs = append(errs, field.Invalid(at.Key(signal), given[signal], err.Error()))
			continue
		}
		all[signal] = t
	}
	return all, errs
}

// reservations has to leave something for pods, and thresholds must not be met by
// pods that use what they were given.
func (r *Resolved) reservations(in Input) field.ErrorList {
	reserved := map[string]resource.Quantity{}
	var errs field.ErrorList
	for _, part := range []struct {
		path   *field.Path
		amount map[string]string
	}{{inKubelet("systemReserved"), r.typed.SystemReserved}, {inKubelet("kubeReserved"), r.typed.KubeReserved}} {
		for _, thing := range slices.Sorted(maps.Keys(part.amount)) {
			text := part.amount[thing]
			amount, err := resource.ParseQuantity(text)
			switch {
			case !slices.Contains(reservedThings, thing):
				errs = append(errs, field.NotSupported(part.path.Key(thing), thing, reservedThings))
				continue
			case err != nil || amount.Sign() < 0:
				errs = append(errs, field.Invalid(part.path.Key(thing), text, "must be an amount such as 512Mi"))
				continue
			}
			sum := reserved[thing]
			sum.Add(amount)
			reserved[thing] = sum
		}
	}
	if len(errs) > 0 {
		return errs
	}
	both := fmt.Sprintf("the sum of %s and %s", inKubelet("systemReserved"), inKubelet("kubeReserved"))
	cpu, memory := reserved["cpu"], reserved["memory"]
	if in.CPUs > 0 && cpu.AsApproximateFloat64() >= in.CPUs {
		errs = append(errs, field.Invalid(field.NewPath("cpus"), in.CPUs, fmt.Sprintf("must be more than %s, which is %s of cpu", both, cpu.String())))
	}
	hard, isHard := r.amount(r.typed.EvictionHard, in)
	if in.MemoryBytes > 0 {
		kept := memory.DeepCopy()
		kept.Add(hard)
		if kept.Value() >= in.MemoryBytes {
			errs = append(errs, field.Invalid(field.NewPath("memoryBytes"), in.MemoryBytes,
				fmt.Sprintf("must be more than %s, which is %s of memory, and %s, which is %s: nothing is left for pods", both, memory.String(), hardPath.Key(memoryAvailable), r.typed.EvictionHard[memoryAvailable])))
		}
	}
	// Without a reservation nobody has said what pods may use.
	soft, isSoft := r.amount(r.typed.EvictionSoft, in)
	if given := memory.DeepCopy(); isHard && isSoft && !memory.IsZero() {
		given.Add(hard)
		if soft.Cmp(given) > 0 {
			errs = append(errs, field.Invalid(softPath.Key(memoryAvailable), r.typed.EvictionSoft[memoryAvailable],
				fmt.Sprintf("must be at most %s, which is %s of memory, with %s, which is %s: pods that use what they were given would be asked to go, although nothing else uses any",
					both, memory.String(), hardPath.Key(memoryAvailable), r.typed.EvictionHard[memoryAvailable])))
		}
	}
	return errs
}

// amount is the threshold of memory in bytes, and whether that can be told.
func (r *Resolved) amount(thresholds map[string]string, in Input) (resource.Quantity, bool) {
	t, err := readThreshold(thresholds[memoryAvailable])
	switch {
	case err != nil:
		return resource.Quantity{}, false
	case !t.isPart:
		return t.amount, true
	case in.MemoryBytes == 0:
		return resource.Quantity{}, false
	}
	return *resource.NewQuantity(int64(float64(in.MemoryBytes)*t.percent/100), resource.BinarySI), true
}
