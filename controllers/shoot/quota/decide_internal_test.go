package quota

import (
	"testing"
	"time"

	gardencorev1beta1 "github.com/gardener/gardener/pkg/apis/core/v1beta1"
	v1beta1constants "github.com/gardener/gardener/pkg/apis/core/v1beta1/constants"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestDecide(t *testing.T) {
	born := time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	days := func(n int32) *int32 { return &n }
	text := func(at time.Time) string { return at.Format(time.RFC3339) }
	for name, row := range map[string]struct {
		annotation string
		limit      limit
		age        time.Duration
		want       decision
	}{
		"no quota":                               {age: day, want: decision{}},
		"no quota any more":                      {annotation: text(born.Add(day)), age: 2 * day, want: decision{annotation: remove}},
		"absent":                                 {limit: limit{days: days(7)}, age: day, want: decision{annotation: set, end: born.Add(7 * day)}},
		"absent, and over":                       {limit: limit{days: days(7)}, age: 8 * day, want: decision{annotation: set, end: born.Add(7 * day), expired: true}},
		"put off":                                {annotation: text(born.Add(14 * day)), limit: limit{days: days(7)}, age: 8 * day, want: decision{end: born.Add(14 * day)}},
		"shortened":                              {annotation: text(born.Add(day)), limit: limit{days: days(7)}, age: day, want: decision{end: born.Add(day), expired: true}},
		"just before the end":                    {annotation: text(born.Add(day)), limit: limit{days: days(7)}, age: day - time.Nanosecond, want: decision{end: born.Add(day)}},
		"no time":                                {annotation: "soon", limit: limit{days: days(7)}, age: 30 * day, want: decision{problem: `annotation shoot.gardener.cloud/expiration-timestamp is no time: "soon"`}},
		"missing quota takes nothing away":       {annotation: text(born.Add(day)), limit: limit{missing: []string{"quota a/b"}}, age: 30 * day, want: decision{problem: "there is no quota a/b"}},
		"missing quota does not hide the others": {limit: limit{days: days(7), missing: []string{"quota a/b", "quota a/c"}}, age: 8 * day, want: decision{annotation: set, end: born.Add(7 * day), expired: true, problem: "there is no quota a/b, no quota a/c"}},
	} {
		shoot := &gardencorev1beta1.Shoot{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(born)}}
		if row.annotation != "" {
			metav1.SetMetaDataAnnotation(&shoot.ObjectMeta, v1beta1constants.ShootExpirationTimestamp, row.annotation)
		}
		if got := decide(shoot, row.limit, born.Add(row.age)); got != row.want {
			t.Errorf("%s: %+v, want %+v", name, got, row.want)
		}
	}
}
