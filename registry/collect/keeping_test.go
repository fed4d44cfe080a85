package collect_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/collect"
	"github.com/loam-cloud/loam/registry/store"
)

func names(tags []store.Tag) (all []string) {
	for _, t := range tags {
		all = append(all, t.Name)
	}
	slices.Sort(all)
	return all
}

func TestExpired(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	tags := []store.Tag{
		{Name: "v1", Updated: now.Add(-10 * day)}, {Name: "v2", Updated: now.Add(-5 * day)},
		{Name: "latest", Updated: now.Add(-20 * day)}, {Name: "dev", Updated: now.Add(-1 * day)}, {Name: "today", Updated: now},
	}
	for name, tc := range map[string]struct {
		rule collect.Rule
		want []string
	}{
		"nothing said":        {collect.Rule{Count: -1}, nil},
		"the newest":          {collect.Rule{Count: 2}, []string{"latest", "v1", "v2"}},
		"none":                {collect.Rule{Count: 0}, []string{"dev", "latest", "today", "v1", "v2"}},
		"more than there are": {collect.Rule{Count: 9}, nil},
		"old ones":            {collect.Rule{Count: -1, Age: 6 * day}, []string{"latest", "v1"}},
		"as old as that":      {collect.Rule{Count: -1, Age: 5 * day}, []string{"latest", "v1", "v2"}},
		"both":                {collect.Rule{Count: 2, Age: 6 * day}, []string{"latest", "v1"}},
		"kept do not count":   {collect.Rule{Count: 1, Keep: []string{"latest", "v?"}}, []string{"dev"}},
		"a broken pattern":    {collect.Rule{Count: 0, Keep: []string{"["}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := names(collect.Expired(tc.rule, tags, now)); !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestRetentionWaitsAndIsSeenBefore(t *testing.T) {
	f := newFixture(t)
	for _, tag := range []string{"v1", "v2", "v3"} {
		f.image(app, tag, tag)
		f.step(time.Hour)
	}
	f.image(store.Repository{Name: "other"}, "old", "old")
	rules := []collect.Rule{{Repositories: []string{"team/*"}, Count: 1, Delay: 24 * time.Hour}}
	retain := func(dryRun bool) (wanted, gone []string) {
		t.Helper()
		report, err := f.Retain(t.Context(), rules, dryRun)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range report.Tags {
			wanted = append(wanted, e.Tag)
			if e.Gone {
				gone = append(gone, e.Tag)
			}
		}
		return wanted, gone
	}
	for _, dryRun := range []bool{true, false, true, false} {
		if wanted, gone := retain(dryRun); !slices.Equal(wanted, []string{"v1", "v2"}) || gone != nil {
			t.Fatalf("wanted %v, gone %v", wanted, gone)
		}
	}
	f.step(23 * time.Hour)
	// A push saves a tag.
	f.image(app, "v1", "v1 again")
	if wanted, gone := retain(false); !slices.Equal(wanted, []string{"v2", "v3"}) || gone != nil {
		t.Fatalf("wanted %v, gone %v", wanted, gone)
	}
	f.step(time.Hour)
	if wanted, gone := retain(true); !slices.Equal(wanted, []string{"v2", "v3"}) || !slices.Equal(gone, []string{"v2"}) {
		t.Fatalf("wanted %v, gone %v", wanted, gone)
	}
	if _, gone := retain(false); !slices.Equal(gone, []string{"v2"}) {
		t.Fatalf("gone %v", gone)
	}
	// A rule that is gone unmarks what it had marked.
	rules = nil
	retain(false)
	tags, err := f.Store.Tags(app, "", -1)
	if err != nil || !slices.Equal(names(tags), []string{"v1", "v3"}) || !tags[1].Expiring.IsZero() {
		t.Errorf("got %+v, %v", tags, err)
	}
	if _, err := f.Store.Tag(store.Repository{Name: "other"}, "old"); err != nil {
		t.Error(err)
	}
}

func TestEvictionTakesWholeImagesThatWereNotUsedLongest(t *testing.T) {
	f := newFixture(t)
	manifests := map[string]digest.Digest{}
	for _, name := range []string{"one", "two", "three"} {
		manifests[name], _ = f.image(cached, name, name)
		f.step(time.Hour)
	}
	kept, _ := f.image(app, "v1", "private")
	shared := f.blob(app, "layer of one")
	// Only the manifest is asked for, as by a node that has the layers.
	f.step(time.Hour)
	if _, err := f.Store.Manifest(cached, manifests["one"]); err != nil {
		t.Fatal(err)
	}
	totals, err := f.Store.Totals()
	if err != nil {
		t.Fatal(err)
	}
	report, err := f.Evict(t.Context(), totals.Bytes)
	if err != nil || len(report.Removed) != 0 {
		t.Fatalf("nothing has to go, got %+v, %v", report, err)
	}
	report, err = f.Evict(t.Context(), totals.Bytes-1)
	if err != nil || report.Left != 0 || len(report.Removed) == 0 {
		t.Fatalf("got %+v, %v", report, err)
	}
	two := []digest.Digest{manifests["two"], digest.FromString("config of two"), digest.FromString("layer of two")}
	for _, r := range report.Removed {
		if !slices.Contains(two, r.Digest) {
			t.Errorf("%s went before image two", r.Digest)
		}
	}
	if report, err = f.Evict(t.Context(), 1); err != nil || report.Left == 0 {
		t.Fatalf("got %+v, %v", report, err)
	}
	for _, name := range []string{"one", "two", "three"} {
		if f.has(cached, manifests[name]) {
			t.Errorf("image %s is still there", name)
		}
	}
	if !f.has(app, kept) || !f.has(app, shared) || !f.has(app, digest.FromString("layer of private")) {
		t.Error("what is private was evicted")
	}
	if totals, err := f.Store.Totals(); err != nil || totals.Blobs != 4 {
		t.Errorf("totals are %+v, %v", totals, err)
	}
}

// fetcher puts content into a store as an upstream would.
type fetcher struct {
	store   *store.Store
	content map[digest.Digest]string
}

func (f fetcher) Refetch(_ context.Context, r store.Repository, d digest.Digest) error {
	content, ok := f.content[d]
	if !ok {
		return fault.Missing
	}
	_, err := blob(f.store, r, content)
	return err
}

func TestScrubFindsQuarantinesAndRepairs(t *testing.T) {
	f := newFixture(t)
	f.image(cached, "1", "nginx")
	f.image(app, "v1", "app")
	// The layer is in both: what its upstream gives repairs both.
	f.blob(app, "layer of nginx")
	damage := func(content string) digest.Digest {
		t.Helper()
		d := digest.FromString(content)
		path := filepath.Join(f.Store.Dir(), "blobs", "sha256", d.Encoded()[:2], d.Encoded())
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.WriteString("X"); err != nil {
			t.Fatal(err)
		}
		return d
	}
	shared, own := damage("layer of nginx"), damage("layer of app")
	source := fetcher{f.Store, map[digest.Digest]string{shared: "layer of nginx"}}
	report, err := f.Scrub(t.Context(), collect.Reading{DryRun: true, Fetcher: source})
	if err != nil || len(report.Broken) != 2 || report.Blobs != 6 {
		t.Fatalf("got %+v, %v", report, err)
	}
	report, err = f.Scrub(t.Context(), collect.Reading{Fetcher: source})
	if err != nil || len(report.Broken) != 2 {
		t.Fatalf("got %+v, %v", report, err)
	}
	for _, b := range report.Broken {
		if want := b.Digest == shared; b.Repaired != want || b.Reason == "" {
			t.Errorf("got %+v", b)
		}
	}
	if !f.has(cached, shared) || !f.has(app, shared) || f.has(app, own) {
		t.Error("the wrong ones are back")
	}
	for _, suffix := range []string{"", ".reason"} {
		if _, err := os.Stat(filepath.Join(f.Store.Dir(), "quarantine", "sha256-"+own.Encoded()+suffix)); err != nil {
			t.Error(err)
		}
	}
	// What the image consists of besides is not collected; pushed again, it is whole.
	f.step(48 * time.Hour)
	f.collect(collect.Garbage{Grace: time.Hour, Untagged: untagged})
	f.blob(app, "layer of app")
	if !f.has(app, own) || !f.has(app, digest.FromString("config of app")) {
		t.Error("the image is not whole")
	}
	if report, err = f.Scrub(t.Context(), collect.Reading{}); err != nil || len(report.Broken) != 0 {
		t.Errorf("got %+v, %v", report, err)
	}
}

func TestScrubResumesWhereItWasInterrupted(t *testing.T) {
	f := newFixture(t)
	for i := range 600 {
		f.blob(app, string(rune('a'+i%26))+time.Duration(i).String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first, err := f.Scrub(countdown{ctx, new(400)}, collect.Reading{})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %+v, %v", first, err)
	}
	second, err := f.Scrub(t.Context(), collect.Reading{Resume: true})
	if err != nil || second.Blobs != 600-256 {
		t.Errorf("%d blobs were read, %v", second.Blobs, err)
	}
	if third, err := f.Scrub(t.Context(), collect.Reading{Resume: true}); err != nil || third.Blobs != 600 {
		t.Errorf("%d blobs were read, %v", third.Blobs, err)
	}
}

// countdown ends after so many questions whether it has.
type countdown struct {
	context.Context
	left *int
}

func (c countdown) Err() error {
	if *c.left--; *c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestKeeperDoesWhatIsDue(t *testing.T) {
	f := newFixture(t)
	k := &collect.Keeper{Collector: f.Collector, Plan: collect.Plan{
		Interval: 24 * time.Hour, Garbage: collect.Garbage{Grace: time.Hour, Unfinished: 24 * time.Hour},
		Rules: []collect.Rule{{Repositories: []string{"*"}, Count: 1}},
	}}
	old, _ := f.image(app, "v1", "one")
	f.step(time.Hour)
	f.image(app, "v2", "two")
	look := func() {
		t.Helper()
		if err := k.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// The interval begins with the first look, not before.
	look()
	f.step(23 * time.Hour)
	look()
	if _, err := f.Store.Tag(app, "v1"); err != nil {
		t.Errorf("collected early: %v", err)
	}
	f.step(2 * time.Hour)
	look()
	if _, err := f.Store.Tag(app, "v1"); !errors.Is(err, fault.Missing) {
		t.Errorf("got %v", err)
	}
	// What the tag led to has gone with it.
	if has, err := f.Store.HasBlob(old); err != nil || has {
		t.Errorf("its manifest is there: %v, %v", has, err)
	}
	if report, err := k.CollectNow(t.Context(), true); err != nil || len(report.Removed) != 0 {
		t.Errorf("a second collection removes %+v, %v", report, err)
	}
}
