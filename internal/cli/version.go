package cli

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync"
)

// versionCommand is "arcd version".
type versionCommand struct{}

// versionData is the result of "version".
type versionData struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func (*versionCommand) row() row {
	return row{instant: true, danger: safe, data: versionData{}, examples: []string{"arcd version"}}
}

func (*versionCommand) run(context.Context, *console) (any, error) {
	return versionData{version(), runtime.Version(), runtime.GOOS, runtime.GOARCH}, nil
}

func (v versionData) show(p *page) { p.line("arcd %s (%s, %s/%s)", v.Version, v.Go, v.OS, v.Arch) }

func (v versionData) plain() []string { return []string{v.Version} }

// release is the version that whoever built the program gave it, for builds that see
// no repository, as those of images:
//
//	go build -ldflags "-X github.com/arcd-io/arcd/internal/cli.release=v1.2.3"
var release string

// version is release, else the module's version as the build recorded it; "dev" for a
// build from a working copy.
var version = sync.OnceValue(func() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
})
