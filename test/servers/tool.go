package servers

import "testing"

// Tool is a program below tools/. It is how other packages start servers.
type Tool struct {
	Module  string // its folder below tools/
	Package string
	Flags   []string // of go build
}

// Build gives the path of the program in the tree's .cache/bin.
func (o Tool) Build(t testing.TB) string {
	t.Helper()
	return build(t, o.Module, o.Package, o.Flags...)
}

// Run runs a program until the test ends, and waits until the URL ready answers
// anything, where there is one. It gives what the program has written so far.
func (Tool) Run(t testing.TB, path, ready string, args ...string) (output func() string) {
	t.Helper()
	p := &process{path: path, args: args, ready: ready}
	p.start(t)
	return p.output.String
}

// Address is a loopback address that nothing listens on now.
func (Tool) Address(t testing.TB) string {
	t.Helper()
	return freeAddress(t)
}

// Root is the folder of the project's go.mod.
func (Tool) Root(t testing.TB) string {
	t.Helper()
	return treeRoot(t)
}
