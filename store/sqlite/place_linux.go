package sqlite

import (
	"fmt"
	"syscall"
)

// networkFileSystems are those of statfs(2) on which two machines may write:
// SQLite's locks and its shared memory do not work across machines.
var networkFileSystems = map[uint32]string{
	0x6969:     "NFS",
	0x517b:     "SMB",
	0xff534d42: "CIFS",
	0xfe534d42: "SMB2",
	0x564c:     "NCP",
	0x5346414f: "AFS",
	0x73757245: "Coda",
	0x00c36400: "Ceph",
	0x0bd00bd0: "Lustre",
	0x47504653: "GPFS",
}

// checkFileSystem refuses a folder on a network file system.
func checkFileSystem(dir string) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return fmt.Errorf("folder %s: %w", dir, err)
	}
	if name, ok := networkFileSystems[uint32(st.Type)]; ok {
		return fmt.Errorf("folder %s is on a network file system (%s), SQLite needs a local disk", dir, name)
	}
	return nil
}
