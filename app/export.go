package app

import (
	"bytes"
	"context"
	"fmt"

	"github.com/loam-cloud/loam/shoots/doctor"
	"github.com/loam-cloud/loam/shoots/export"
	"github.com/loam-cloud/loam/shoots/insight"
)

// ExportLogs writes all that helps to understand a cluster into a folder, the
// page of inspect and the doctor's report included, with secrets taken out.
// Faults: Missing, Invalid (the folder), Transient.
func (i *Insight) ExportLogs(ctx context.Context, known insight.Known, hibernated bool, host doctor.Host, folder string, say func(format string, args ...any)) error {
	// What the user has to change is told before anything takes time.
	if err := export.Prepare(folder); err != nil {
		return err
	}
	say("Looking at cluster %q", known.Name)
	facts, err := i.ClusterFacts(ctx, known, hibernated)
	if err != nil {
		return err
	}
	var page, report bytes.Buffer
	if err := facts.View.Page.Print(&page); err != nil {
		return err
	}
	if err := doctor.NewReport(doctor.ForHost(host), doctor.ForCluster(facts)).Print(&report); err != nil {
		return err
	}
	e := &export.Exporter{
		Machines: i.driver, View: facts.View, Say: say,
		Texts: map[string]string{"inspect.txt": page.String(), "doctor.txt": report.String(), "versions.txt": versions(host, facts.View.Page)},
	}
	if facts.View.Page.API.Ready {
		if e.Objects, err = export.NewObjects(facts.View.Config); err != nil {
			return err
		}
	}
	return e.Export(ctx, folder)
}

func versions(h doctor.Host, p insight.Page) string {
	return fmt.Sprintf("loam %s\nKubernetes %s\ncontainer engine %s on %s, kernel %s\n", Version, p.API.Version, h.Engine.Version, h.Engine.System, h.Kernel.Release)
}
