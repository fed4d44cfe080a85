package quota

import (
	"fmt"
	"strings"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
)

// limit is what the quotas of a Shoot's binding say about its life.
type limit struct {
	// days is the smallest lifetime; nil if none is bounded.
	days *int32
	// missing names what could not be asked because it is not there.
	missing []string
}

// What happens to the annotation with the end of a Shoot's life.
type change int

const (
	keep change = iota
	set
	remove
)

type decision struct {
	annotation change
	// end of the Shoot's life; zero if it has none.
	end     time.Time
	expired bool
	// problem is what only a user can mend.
	problem string
}

// decide bounds a Shoot's life from its creation. An end that is written already
// is respected: users put it off, as far as the API lets them.
func decide(shoot *gardencorev1beta1.Shoot, limit limit, now time.Time) decision {
	var d decision
	if len(limit.missing) > 0 {
		d.problem = "there is no " + strings.Join(limit.missing, ", no ")
	}
	text, found := shoot.Annotations[v1beta1constants.ShootExpirationTimestamp]
	if limit.days == nil {
		// A quota that is not there might have bounded it.
		if found && d.problem == "" {
			d.annotation = remove
		}
		return d
	}
	if found {
		end, err := time.Parse(time.RFC3339, text)
		if err != nil {
			d.problem = fmt.Sprintf("annotation %s is no time: %q", v1beta1constants.ShootExpirationTimestamp, text)
			return d
		}
		d.end = end
	} else {
		d.annotation, d.end = set, shoot.CreationTimestamp.AddDate(0, 0, int(*limit.days))
	}
	d.expired = !now.Before(d.end)
	return d
}
