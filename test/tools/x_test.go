package tools_test
import ("testing";"github.com/loam-cloud/loam/test/tools")
func TestX(t *testing.T){ t.Log(tools.Oras(t)); t.Log(tools.Ctr(t)); t.Log(tools.Registry(t)); t.Log(tools.Containerd(t)) }
