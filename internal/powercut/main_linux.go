package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/tabwriter"
	"time"
)

// The environment variable that says as what this program runs again, and its values.
const (
	asEnv   = "POWERCUT_AS"
	asRoot  = "owner of the mounts"
	asLiar  = "program whose flushes do nothing"
	mibytes = 1 << 20
)

func main() {
	var err error
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch os.Getenv(asEnv) {
	case asRoot:
		err = command(ctx, os.Args[1:], os.Stdout)
	case asLiar:
		err = withoutFlushes(os.Args[1:])
	default:
		err = again(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
		os.Exit(1)
	}
}

// again runs this program in a mount namespace of its own: its mounts, and with them
// the loop devices, are gone when its last process is.
func again(ctx context.Context) error {
	if os.Getuid() != 0 {
		return errors.New("mounting loop devices needs root")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, os.Args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Env = append(os.Environ(), asEnv+"="+asRoot)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the run in a namespace of its own: %w", err)
	}
	return nil
}

// options says how much is tried.
type options struct {
	arcd     string        // the program
	rounds   int           // with arcd as it is
	controls int           // with flushes that do nothing
	callers  int           // at the same time
	load     time.Duration // least time until the cut; the most is half as much again
	disk     int64         // bytes of the image
	dir      string        // of the images
}

func command(ctx context.Context, args []string, out io.Writer) (err error) {
	o := options{rounds: 5, controls: 2, callers: 32, load: 2 * time.Second, disk: 512 * mibytes}
	flags := flag.NewFlagSet("powercut", flag.ContinueOnError)
	flags.StringVar(&o.arcd, "arcd", "bin/arcd", "the program whose power is cut")
	flags.IntVar(&o.rounds, "rounds", o.rounds, "number of rounds")
	flags.IntVar(&o.controls, "controls", o.controls, "number of control rounds, in which flushes do nothing")
	flags.IntVar(&o.callers, "callers", o.callers, "callers at the same time")
	flags.DurationVar(&o.load, "load", o.load, "least time under load before the cut")
	flags.StringVar(&o.dir, "dir", "", "folder for the images, below which a temporary one is made (default: the system's)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.arcd, err = filepath.Abs(o.arcd); err != nil {
		return err
	}
	if o.dir, err = os.MkdirTemp(o.dir, "arcd-powercut-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	return o.judge(ctx, out)
}

// judge runs all rounds and says what came of them. A loss is an error, and a control
// round without one.
func (o options) judge(ctx context.Context, out io.Writer) error {
	var wrong []error
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "round\tflushes\tacknowledged\tlost\tnot acknowledged, there\thalf done\tgone on")
	for n := range o.rounds + o.controls {
		control := n >= o.rounds
		c, err := o.round(ctx, n, control)
		if err != nil {
			return errors.Join(fmt.Errorf("round %d: %w", n+1, err), table.Flush())
		}
		flushes := "as they are"
		if control {
			flushes = "do nothing"
		}
		fmt.Fprintf(table, "%d\t%s\t%d\t%d\t%d\t%d\t%d\n", n+1, flushes, c.acknowledged, c.lost, c.unasked, c.half, c.completed)
		switch {
		case c.acknowledged == 0:
			wrong = append(wrong, fmt.Errorf("round %d: nothing was acknowledged, so nothing is proved", n+1))
		case control && c.lost == 0:
			wrong = append(wrong, fmt.Errorf("round %d: nothing was lost without flushes, so this proves nothing", n+1))
		case !control && (c.lost > 0 || c.half > 0 || c.completed != c.acknowledged):
			wrong = append(wrong, fmt.Errorf("round %d: %d lost, %d half done, %d of %d completed", n+1, c.lost, c.half, c.completed, c.acknowledged))
		}
	}
	return errors.Join(append(wrong, table.Flush())...)
}
