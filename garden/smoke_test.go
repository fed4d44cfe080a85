package garden_test

import (
	"testing"
	"time"

	"github.com/loam-cloud/loam/garden/gardentest"
)

func TestSmoke(t *testing.T) {
	began := time.Now()
	g := gardentest.Start(t)
	t.Log(g.Address(), g.KubeconfigPath(), time.Since(began))
	gardentest.Namespace(t)
}
