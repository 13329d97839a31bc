// Command powercut cuts the power of an arcd that keeps its state in SQLite, and
// counts what was lost of what it had acknowledged:
//
//	disk     ext4 on an image file, mounted through a loop device
//	load     the arcd of -arcd with its store on it, and 32 callers that create tasks
//	cut      arcd is stopped (SIGSTOP), the image copied, arcd killed. The copy has what
//	         the file system had sent to the device, and nothing of what the kernel
//	         still had in memory
//	count    the copy is mounted, which replays the journal; the store is opened, every
//	         acknowledged task looked for, and everything that is there looked through,
//	         by "arcd store check" too
//	go on    arcd is started on the copy and has to complete every acknowledged task
//
// Killing a process shows only that writes have reached the kernel. This shows that
// they were flushed before the answer. That it would see a missing flush is proved as
// well: in control rounds fsync and fdatasync of arcd do nothing (a seccomp filter
// answers them), and something must be lost.
//
// What it cannot show: a drive that lies about its cache, a write that is torn within a
// sector, a cut in the midst of a flush (one that runs is let end before the copy).
//
// It needs Linux, root (for the mounts, in a mount namespace of its own), mkfs.ext4 and
// cp.
package main
