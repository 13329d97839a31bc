package cli

import (
	"runtime"
	"runtime/debug"
)

// versionCommand is "arcd version".
type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(io *console) error {
	return io.print("arcd "+version()+" ("+runtime.Version()+", "+runtime.GOOS+"/"+runtime.GOARCH+")",
		map[string]string{"version": version(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
}

// version is the module's version as the build recorded it; "dev" for a build
// from a working copy.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}
