package collect

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/loam-cloud/loam/fault"
	"github.com/loam-cloud/loam/registry/store"
)

// Rule says which tags of repositories stay.
type Rule struct {
	// Repositories are names, or beginnings with an asterisk.
	Repositories []string
	// Count is how many of the newest tags stay; negative when the number does not
	// matter.
	Count int
	// Age is how old a tag must be to go; 0 when that does not matter.
	Age time.Duration
	// Keep are patterns, as of path.Match, of tags that stay; they do not count.
	Keep []string
	// Delay is how long a tag is marked before it goes.
	Delay time.Duration
}

// RuleFor returns the first rule for a private repository, nil when there is none.
func RuleFor(rules []Rule, repository string) *Rule {
	for i := range rules {
		for _, pattern := range rules[i].Repositories {
			prefix, begins := strings.CutSuffix(pattern, "*")
			if pattern == repository || begins && strings.HasPrefix(repository, prefix) {
				return &rules[i]
			}
		}
	}
	return nil
}

// ExpiredTag is a tag that a rule wants gone.
type ExpiredTag struct {
	Repository string        `json:"repository"`
	Tag        string        `json:"tag"`
	Digest     digest.Digest `json:"digest"`
	Updated    time.Time     `json:"updated"`
	// Goes is when it goes, or has gone: not before the delay is over.
	Goes time.Time `json:"goes"`
	// Gone says that it was removed, or would have been but for the dry run.
	Gone bool `json:"gone"`
}

// RetentionReport is what rules want gone.
type RetentionReport struct {
	DryRun bool         `json:"dryRun"`
	Tags   []ExpiredTag `json:"tags"`
}

// Retain removes tags of private repositories as rules say. A tag that was pushed
// since it was looked at stays. What tags leave behind, Collect removes.
func (c Collector) Retain(ctx context.Context, rules []Rule, dryRun bool) (RetentionReport, error) {
	report := RetentionReport{DryRun: dryRun, Tags: []ExpiredTag{}}
	repositories, err := c.Store.Repositories("", "", -1)
	if err != nil {
		return report, err
	}
	for _, r := range repositories {
		if err := context.Cause(ctx); err != nil {
			return report, err
		}
		rule := RuleFor(rules, r.String())
		if rule == nil {
			rule = &Rule{Count: -1}
		}
		tags, err := c.Store.Tags(r, "", -1)
		if errors.Is(err, fault.Missing) {
			// It was empty, and a collection has forgotten it.
			continue
		}
		if err != nil {
			return report, err
		}
		expired, err := c.apply(r, *rule, tags, dryRun)
		report.Tags = append(report.Tags, expired...)
		if err != nil {
			return report, err
		}
	}
	c.Log.Info("Looked for old tags", "dryRun", dryRun, "found", len(report.Tags))
	return report, nil
}

func (c Collector) apply(r store.Repository, rule Rule, tags []store.Tag, dryRun bool) (expired []ExpiredTag, err error) {
	now := c.Clock.Now().UTC()
	wanted := Expired(rule, tags, now)
	for _, tag := range tags {
		if !slices.ContainsFunc(wanted, func(w store.Tag) bool { return w.Name == tag.Name }) {
			if !tag.Expiring.IsZero() && !dryRun {
				// The rule, or what is newer, has changed: it stays.
				if _, err := c.Store.ExpireTag(r, tag, time.Time{}); err != nil {
					return expired, err
				}
			}
			continue
		}
		e := ExpiredTag{r.String(), tag.Name, tag.Digest, tag.Updated, now.Add(rule.Delay), rule.Delay == 0}
		if !tag.Expiring.IsZero() {
			e.Goes = tag.Expiring.Add(rule.Delay)
			e.Gone = !now.Before(e.Goes)
		}
		same := true
		switch {
		case dryRun:
		case e.Gone:
			same, err = c.Store.DeleteTagIf(r, tag)
		case tag.Expiring.IsZero():
			same, err = c.Store.ExpireTag(r, tag, now)
		}
		if err != nil {
			return expired, err
		}
		if same {
			expired = append(expired, e)
		}
	}
	return expired, nil
}

// Expired returns the tags that a rule wants gone at a time.
func Expired(rule Rule, tags []store.Tag, now time.Time) []store.Tag {
	if rule.Count < 0 && rule.Age == 0 {
		return nil
	}
	newest := slices.Clone(tags)
	slices.SortStableFunc(newest, func(a, b store.Tag) int { return b.Updated.Compare(a.Updated) })
	newest = slices.DeleteFunc(newest, func(t store.Tag) bool { return kept(rule.Keep, t.Name) })
	if rule.Count >= 0 {
		newest = newest[min(rule.Count, len(newest)):]
	}
	return slices.DeleteFunc(newest, func(t store.Tag) bool { return now.Sub(t.Updated) < rule.Age })
}

func kept(patterns []string, tag string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		// A bad pattern, which the configuration refuses, rather keeps too much.
		match, err := path.Match(pattern, tag)
		return match || err != nil
	})
}
